"""The page as a browser runs it: driven once in headless Chromium, where there is one."""

import re

import pytest

from tests.browser import NAMES, Browser, find_browser
from tests.report.test_kit import own_page

pytestmark = pytest.mark.slow

WIDTHS = (1280, 390)


@pytest.fixture(scope="module")
def browser():
    if find_browser() is None:
        pytest.skip(f"none of {', '.join(NAMES)} on PATH")
    with Browser() as started:
        yield started
        assert started.errors == [], "a page has errors in the console, or breaks its own policy"


@pytest.mark.parametrize("name", NAMES)
def test_it_is_found_under_each_of_its_names(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_browser() is None
    (tmp_path / name).write_text("#!/bin/sh\n")
    (tmp_path / name).chmod(0o755)
    assert find_browser() == str(tmp_path / name)


def text(browser, selector):
    return browser.run(f"document.querySelector({selector!r}).innerText")


def too_wide(browser):
    """CSS pixels by which the page is wider than the window."""
    return browser.run(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )


def test_the_slider_is_the_curve(made, browser):
    browser.resize(1280)
    browser.open(made.path)
    names = made.page.data["names"]
    assert text(browser, "#epoch") == f"epoch {names[-1]}"
    assert re.fullmatch(r"\d+\u2009% right", text(browser, "#reading"))
    browser.run("document.getElementById('track').focus()")
    for key, at in (("ArrowLeft", -2), ("Home", 0), ("ArrowUp", 1), ("End", -1)):
        browser.press(key)
        assert text(browser, "#epoch") == f"epoch {names[at]}", key
    browser.click("#track", across=0.5)
    assert text(browser, "#epoch") == "epoch 2"
    left, top = made.page.data["stops"][2]
    box = "[...['left', 'top']].map((side) => document.getElementById('handle').style[side])"
    assert [float(side[:-1]) for side in browser.run(box)] == pytest.approx(
        [100 * left, 100 * top], rel=1e-4
    )
    assert browser.run("document.getElementById('track').ariaValueText").startswith("epoch 2, ")
    browser.press(" ")
    assert browser.run("document.documentElement.classList.contains('playing')")
    browser.press("ArrowLeft")
    assert not browser.run("document.documentElement.classList.contains('playing')")


def test_a_map_opens_and_follows_the_slider(made, browser):
    browser.resize(1280)
    browser.open(made.path)
    data = made.page.data
    layer = data["layers"][0]
    browser.click(".cell")
    heading = f"conv1, map {layer['maps'][0]['map']}"
    assert text(browser, ".panel h3") == heading
    assert browser.run("document.querySelectorAll('.panel .frame').length") == len(data["names"])
    assert browser.run("document.querySelectorAll('.panel .nine .tile').length") == 18
    assert "zfjax project --workdir RUN --image-id" in text(browser, ".panel pre")
    assert browser.run("location.hash") == f"#epoch=4&map=conv1:{layer['maps'][0]['map']}"
    browser.click(".panel .frame:nth-of-type(2)")
    assert text(browser, "#epoch") == "epoch 1" and "epoch 1" in text(browser, ".panel .bar-top p")
    assert text(browser, ".panel .frame[aria-current=true] b").strip() == "1"
    browser.run("document.querySelector('input[value=fixed]').click()")
    assert "image=fixed" in browser.run("location.hash")
    browser.press("Escape")
    assert browser.run("document.querySelector('.panel')") is None
    browser.run("location.hash = '#epoch=0&map=conv2:nothing'")
    browser.run("new Promise((done) => setTimeout(done, 50))")
    assert browser.run("data.names[state.at] === '0' && state.open === null")


def test_paper_has_film_strips(made, browser):
    browser.resize(1280)
    browser.open(made.path)
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    maps = sum(len(layer["maps"]) for layer in made.page.data["layers"])
    assert browser.run("document.querySelectorAll('#printed .film').length") == maps
    browser.prefer(media="print")
    assert browser.run("getComputedStyle(document.querySelector('.layers')).display") == "none"
    assert browser.run("document.getElementById('printed').offsetHeight") > 500
    browser.prefer()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(made, hostile, without_photos, browser, width):
    browser.resize(width)
    for report in (made, hostile, without_photos):
        browser.open(report.path)
        assert too_wide(browser) == 0
        browser.click(".cell")
        assert browser.run("document.querySelector('.panel') !== null")
        assert too_wide(browser) == 0, "with a map opened"


@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_of_ones_own_works_too(tmp_path, browser, width):
    path = tmp_path / "own.html"
    path.write_text(own_page(), encoding="utf-8")
    browser.resize(width)
    browser.open(path)
    assert too_wide(browser) == 0
    assert text(browser, "#loss-now") == "0.5" and text(browser, ".now .caption") == "epoch 5, ±3"
    assert browser.run("document.querySelectorAll('.strip .frame').length") == 3
    browser.run("document.getElementById('track').focus()")
    browser.press("Home")
    assert text(browser, "#loss-now") == "3" and text(browser, ".now .caption") == "epoch 0, ±1"
    browser.run("document.querySelector('input[value=b]').click()")
    assert browser.run("location.hash") == "#epoch=0&cell=b"
    row = "document.querySelector('.data tbody tr:nth-child(2)')"
    bar, cell = (
        browser.run(
            f"(({{left, right}}) => [left, right])({row}.querySelector('{what}')"
            ".getBoundingClientRect())"
        )
        for what in ("line.main", ".interval")
    )
    assert cell[0] < bar[0] < bar[1] < cell[1]
