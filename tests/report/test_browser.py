"""The page as a browser runs it: driven once in headless Chromium, where there is one."""

import re
from dataclasses import replace
from urllib.parse import unquote

import jax
import numpy as np
import pytest

import zfjax
from tests.browser import NAMES, Browser, find_browser
from tests.measured_run import write_census, write_labels, write_settling
from tests.report.test_kit import own_page
from tests.reported import Reported, spare_figures
from tests.synthetic_run import SMALL
from zfjax.report import budget
from zfjax.report.page import write_report

pytestmark = pytest.mark.slow


def conv_same(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


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
    marked = "document.querySelector('.layer circle').checkVisibility()"
    assert browser.run(marked)
    browser.run("data.layers[0].spark[state.at] = data.layers[0].settled[state.at] = null; show()")
    assert not browser.run(marked), "a layer without a live map has no point on its curve"


def test_on_a_telephone_the_dock_leaves_the_screen_to_the_maps(made, browser):
    """Its choices are a button away, which marks that one is not as it was."""
    browser.resize(1280)
    browser.open(made.path)
    display = "(of) => getComputedStyle(document.querySelector(of)).display"
    shown = f"['#choices', '#options', '#ticks'].map({display})"
    assert browser.run(shown) == ["none", "flex", "block"]
    browser.resize(390)
    assert browser.run(shown) == ["block", "none", "none"]
    high = "document.getElementById('dock').offsetHeight"
    assert browser.run(high) < 90 and too_wide(browser) == 0
    assert browser.run("document.getElementById('track').offsetWidth") == 390 - 32
    browser.run("document.getElementById('choices').focus()")
    for expanded, displayed in (("true", "flex"), ("false", "none"), ("true", "flex")):
        browser.press("Enter")
        assert browser.run("document.getElementById('choices').ariaExpanded") == expanded
        assert browser.run(shown)[1] == displayed
    other = "getComputedStyle(document.querySelector('#choices .dot')).display"
    assert browser.run(other) == "none"
    browser.run("document.querySelector('input[value=fixed]').click()")
    assert browser.run(other) == "inline-block" and browser.run("state.image") == "fixed"
    assert browser.run(high) < 260 and too_wide(browser) == 0
    browser.press("ArrowLeft")
    assert browser.run("state.at === last - 1"), "the arrows still step"


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


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run with measures, its page as one file, and as a folder."""
    with pytest.MonkeyPatch.context() as patch:
        spare_figures(patch)
        shape = replace(SMALL, selections=("low", "quantile:0.5"), rules=("guided", "guided+norm"))
        reported = Reported(tmp_path_factory.mktemp("measured") / "run", shape)
        steps, layers = reported.evolution.steps, reported.evolution.layers
        maps = {layer: reported.evolution.maps(layer) for layer in layers}
        write_settling(reported.run, steps, {layer: (1.0, 0.5, 1.5) for layer in layers})
        write_census(reported.run, steps, {"conv2": maps["conv2"][1]}, ("conv2", 0, steps[1]))
        write_labels(reported.run, steps, "conv3", {maps["conv3"][0]: 1})
        path = write_report(reported.run)
        as_file = path.with_name("one.html")
        as_file.write_bytes(path.read_bytes())
        patch.setattr(budget, "BUDGET", 1000)
        assert write_report(reported.run) == path and "page-1/data.js" in path.read_text()
    return reported, {"file": as_file, "folder": path}


FORMS = ("file", "folder")


def shown(browser, layer):
    """The numbers of a layer's maps that are listed, in the order of the page."""
    cells = f"[...document.querySelectorAll('.layer[data-layer=\"{layer}\"] .cell')]"
    return browser.run(
        f"{cells}.filter((cell) => cell.offsetParent !== null)"
        ".map((cell) => owners.get(cell).map.map)"
    )


def choose(browser, name, value):
    browser.run(
        f"(() => {{ const box = finding.elements['{name}']; box.value = {value!r};"
        " box.dispatchEvent(new Event('change', { bubbles: true })); })()"
    )


def settled(browser):
    """Waits for the next picture, in which cells that came into sight are drawn."""
    browser.run("new Promise((done) => setTimeout(done, 150))")


@pytest.mark.parametrize("form", FORMS)
def test_maps_are_sorted_and_filtered(measured, browser, form):
    reported, paths = measured
    browser.resize(1280)
    browser.open(paths[form])
    layers = browser.run("data.layers.map(({maps}) => maps.map(({map}) => map))")
    assert layers == [list(reported.evolution.maps(layer)) for layer in reported.evolution.layers]
    assert [shown(browser, index) for index in range(3)] == layers
    keys = browser.run(
        "data.layers.map(({maps}) => maps.map((map) => ({map: map.map, settled: map.settled,"
        " emerged: map.emerged, strength: strength(map), jumps: map.top.some(Boolean) ?"
        " jumps(map) : null, purity: commonest(map)[1]})))"
    )
    for sort, sign in (
        ("settled", 1),
        ("emerged", 1),
        ("strength", -1),
        ("jumps", -1),
        ("purity", -1),
    ):
        choose(browser, "sort", sort)
        for index, maps in enumerate(keys):
            known = [map_ for map_ in maps if map_[sort] is not None]
            wanted = sorted(known, key=lambda map_: (sign * map_[sort], map_["map"]))
            wanted += [map_ for map_ in maps if map_[sort] is None]
            assert shown(browser, index) == [map_["map"] for map_ in wanted], (sort, index)
    assert browser.run("location.hash") == "#epoch=4&sort=purity"
    choose(browser, "sort", "name")
    choose(browser, "maps", "dead")
    dead = [[map_["map"] for map_ in maps if map_["strength"] is None] for maps in keys]
    assert [shown(browser, index) for index in range(3)] == dead and dead[1]
    assert browser.run("document.querySelector('.layer[data-layer=\"0\"]').hidden")
    choose(browser, "maps", "live")
    choose(browser, "layer", "conv2")
    live = [map_["map"] for map_ in keys[1] if map_["strength"] is not None]
    assert [shown(browser, index) for index in range(3)] == [[], live, []]
    listed = text(browser, ".listed")
    assert listed == f"{len(live)} of 12 maps"
    choose(browser, "layer", "")
    label = browser.run("finding.elements.label.options[1].value")
    choose(browser, "label", label)
    pure = browser.run(
        "data.layers.map(({maps}) => maps.filter((map) => map.top[last] &&"
        f" data.labels[commonest(map)[0]] === {label!r}).map(({{map}}) => map))"
    )
    assert [shown(browser, index) for index in range(3)] == pure and sum(pure, [])
    # Who comes by the address sees the same.
    address = browser.run("location.hash")
    browser.run("location.hash = ''")
    settled(browser)
    assert [shown(browser, index) for index in range(3)] == layers
    browser.run(f"location.hash = {address!r}")
    settled(browser)
    assert [shown(browser, index) for index in range(3)] == pure


@pytest.mark.parametrize("form", FORMS)
def test_a_link_opens_a_film(measured, browser, form):
    reported, paths = measured
    browser.resize(1280)
    browser.open(paths[form])
    map_ = reported.evolution.maps("conv3")[0]
    choose(browser, "layer", "conv1")
    browser.run(f"location.hash = '#epoch=2&map=conv3:{map_}&rule=deconvnet'")
    settled(browser)
    assert (
        text(browser, ".panel h3") == f"conv3, map {map_}" and text(browser, "#epoch") == "epoch 2"
    )
    link = browser.run("document.querySelector('.panel .link').getAttribute('href')")
    assert link == f"#epoch=2&map=conv3:{map_}&rule=deconvnet"
    tiles = browser.run(
        "Promise.all([...document.querySelectorAll('.panel .tile')].map(async (tile) => {"
        " const picture = new Image();"
        " picture.src = getComputedStyle(tile).backgroundImage.slice(5, -2);"
        " await picture.decode(); return picture.naturalWidth; }))"
    )
    assert len(tiles) > 20 and min(tiles) > 26, "its pictures are there"
    known = text(browser, ".panel .known")
    said = "its strongest images share a class: </script><b>stripes, 3 of 4 of its strongest images"
    assert said in known.replace("\n", " ")
    assert "nearest relative" not in known, "the census was of conv2 alone"
    assert re.search(r"answers steady from epoch \d", text(browser, ".panel .life"))
    relative = reported.evolution.maps("conv2")[0]
    browser.run(f"location.hash = '#map=conv2:{relative}'")
    settled(browser)
    assert f"map {relative + 1}" in text(browser, ".panel .known")
    browser.click(".panel .age")
    assert text(browser, "#epoch") == "epoch 0"
    dead = reported.evolution.maps("conv2")[1]
    browser.run(f"location.hash = '#map=conv2:{dead}'")
    settled(browser)
    assert "Dead at every epoch" in text(browser, ".panel .life").replace("dead at", "Dead at")


@pytest.mark.parametrize("form", FORMS)
def test_an_address_that_asks_for_what_is_not_there_says_so(measured, browser, form):
    """Until the next change; what is there of it is shown."""
    reported, paths = measured
    browser.resize(390)
    browser.open(paths[form])
    map_ = reported.evolution.maps("conv3")[0]
    absent = next(other for other in range(99) if other not in reported.evolution.maps("conv3"))
    heading = "document.querySelector('.panel h3')?.innerText ?? null"
    for address, said, opened in (
        (f"epoch=77&map=conv3:{map_}", "This page has no epoch 77; epoch 4 is shown.", map_),
        (f"epoch=1&map=conv3:{absent}", f"Map {absent} of conv3 is not drawn on this page.", None),
        ("map=conv3%23%3Cb%3E:0", "This page has no layer conv3#<b>.", None),
        ("map=conv3", "A map is named as LAYER:NUMBER, not as conv3.", None),
        ("sort=size", "cannot sort its maps by size; they are in the order of their names.", None),
        ("layer=conv9&label=x", "no layer conv9; all are listed. No map's commonest label", None),
        ("maps=all", "There is no choice of maps called all; live and dead ones are listed.", None),
        ("scale=<i>", "This page has no scale <i>; tile is shown.", None),
        ("rule=odd", "no pictures by the rule odd; these are by deconvnet.", None),
    ):
        browser.run(f"location.hash = {'#' + address!r}")
        settled(browser)
        assert said in text(browser, "#astray")
        assert browser.run(heading) == (None if opened is None else f"conv3, map {opened}")
    assert too_wide(browser) == 0
    browser.press("ArrowLeft")
    assert text(browser, "#astray") == ""
    browser.run(f"location.hash = '#epoch=1&map=conv3:{map_}&rule=guided+norm'")
    settled(browser)
    assert browser.run("state.rule") == "guided+norm" and text(browser, "#astray") == ""
    top = browser.run("state.open.cell.getBoundingClientRect().top")
    assert top >= browser.run("document.getElementById('dock').getBoundingClientRect().bottom")


NAMES_OF_LAYERS = ("a#b&c=d+e", 'it\'s "q"/<b>日本 %41')


def test_links_of_any_layer_name_and_any_epoch_lead_back(tmp_path, browser):
    """Somebody else's layers may be called anything, and steps that nobody counts in epochs are
    millions, or close to each other.
    """
    steps, generator = (0, 1, 1_234_567, 2_000_000_000), np.random.default_rng(0)

    def features(parameters, x):
        maps = {}
        for name in NAMES_OF_LAYERS:
            maps[name] = x = jax.nn.relu(conv_same(x, parameters[f"k{len(maps)}"]))
        return maps

    trees = {
        step: {
            "k0": generator.normal(size=(3, 3, 3, 2)).astype(np.float32),
            "k1": generator.normal(size=(3, 3, 2, 1)).astype(np.float32),
        }
        for step in steps
    }
    pixels = generator.integers(0, 256, (6, 12, 12, 3), np.uint8)
    images = [(picture, 7) for picture in pixels]
    subject = zfjax.subject_from(trees, model=features, images=images, mean=120, std=60, input=12)
    zfjax.evolve(subject, out=tmp_path, top=2, rule=("deconvnet", "guided"))
    page = zfjax.write_report(tmp_path)
    browser.resize(1280)
    browser.open(page)
    assert browser.run("data.names") == ["0", "1", "1234567", "2000000000"]
    assert browser.run("data.labels") == ["class 7"], "known, and without a name"
    for index, name in enumerate(NAMES_OF_LAYERS):
        for at in range(4):
            link = browser.run(f"linkTo(data.layers[{index}], data.layers[{index}].maps[0], {at})")
            browser.run("closeMap(); go(0); state.rule = 'guided'; show()")
            browser.run(f"location.hash = {link!r}")
            settled(browser)
            shown_now = [text(browser, ".panel h3"), browser.run("[state.at, state.rule]")]
            assert shown_now == [f"{name}, map 0", [at, "deconvnet"]]
            assert text(browser, "#astray") == ""
    assert "class 7, no file name (image " in text(browser, ".panel .which")
    listed = "[...document.querySelectorAll('.text a')].map((link) => link.getAttribute('href'))"
    files = [address for address in browser.run(listed) if address.startswith("figure2-")]
    assert len(files) == 4 and all((page.parent / unquote(file)).exists() for file in files)


@pytest.mark.parametrize("form", FORMS)
def test_rules_are_a_toggle(measured, browser, form):
    """By mouse, by keyboard, and by a link; the grid, the film and the weaker images follow."""
    reported, paths = measured
    browser.resize(1280)
    browser.open(paths[form])
    map_ = reported.evolution.maps("conv1")[0]

    def seen():
        """The scales said of the opened map, and where the grid and the film aim."""
        return browser.run(
            "[document.querySelector('.panel .which').innerText.split('scale')[1],"
            " document.querySelector('.panel .others p').innerText.split('scale')[1],"
            " ...['.cell', '.panel .strip', '.panel .others'].map((where) => getComputedStyle("
            "document.querySelector(where + ' .projection')).backgroundPosition)]"
        )

    # A map of conv1 is alive at every epoch, so that its first tile is that of epoch 0.
    browser.run(f"location.hash = '#epoch=1&map=conv1:{map_}&weaker=shown'")
    settled(browser)
    first = seen()
    assert browser.run("state.rule") == "deconvnet"
    browser.run("document.querySelector('input[name=rule][value=guided]').click()")
    guided = seen()
    assert all(one != other for one, other in zip(first, guided, strict=True))
    assert float(guided[0].strip("\u2009 ±")) == pytest.approx(
        float(first[0].strip("\u2009 ±")) / 2, rel=0.02
    )
    address = f"#epoch=1&rule=guided&map=conv1:{map_}&weaker=shown"
    assert browser.run("location.hash") == address
    assert text(browser, ".panel pre").endswith("--rule guided")
    browser.run("document.querySelector('input[name=rule][value=guided]').focus()")
    browser.press("ArrowRight")
    assert browser.run("state.rule") == "guided+norm" and browser.run("state.at") == 1
    link = browser.run("document.querySelector('.panel .link').getAttribute('href')")
    assert link.endswith("rule=guided%2Bnorm")
    apart = text(browser, ".panel .scale-note")
    assert apart.startswith("Each tile is on its own scale: brightness cannot be compared")
    browser.run("document.querySelector('input[name=scale][value=shared]').click()")
    browser.run(f"location.hash = '{address}'")
    settled(browser)
    assert browser.run("state.rule") == "guided"
    for place, frame in ((".which", "best[0]"), (".others p", "others[0][1][0]")):
        shared, own, ratio = browser.run(
            f"(() => {{ const map = state.open.map, own = drawnBy(map.{frame})[1];"
            " return [number(sharedBy(map)), number(own), own / sharedBy(map)]; })()"
        )
        said = f"drawn at scale ±{shared} (its own ±{own})"
        assert text(browser, f".panel {place}").endswith(said)
        tile = place.replace("which", "nine").replace(" p", "") + " .projection"
        drawn = browser.run(f"document.querySelector('.panel {tile}').style.filter")
        assert float(drawn[len("contrast(") : -1]) == pytest.approx(ratio, rel=1e-4), drawn
    assert f"one scale, ±{shared}:" in text(browser, ".panel .scale-note")
    for kind in (link, f"#epoch=1&map=conv1:{map_}&rule=deconvnet"):
        browser.run(f"location.hash = {kind!r}")
        settled(browser)
    browser.run("document.querySelector('input[name=scale][value=tile]').click()")
    assert seen() == first
    browser.open(paths[form])
    browser.run(f"location.hash = {link!r}")
    settled(browser)
    assert browser.run("state.rule") == "guided+norm", "of a page opened by its link"
    browser.run(f"location.hash = '#epoch=1&map=conv1:{map_}&rule=<b>grad'")
    settled(browser)
    said = "; this page has no pictures by the rule <b>grad, these are by guided+norm"
    assert text(browser, ".panel .bar-top p").endswith(said)
    browser.run(f"location.hash = '#epoch=1&map=conv1:{map_}&rule=guided'")
    settled(browser)
    assert "no pictures by" not in text(browser, ".panel .bar-top p")


@pytest.mark.parametrize("form", FORMS)
def test_an_opened_map_shows_its_weaker_images(measured, browser, form):
    reported, paths = measured
    browser.resize(390)
    browser.open(paths[form])
    alive, dead = reported.evolution.maps("conv2")[:2]
    browser.run(f"location.hash = '#epoch=2&map=conv2:{alive}'")
    settled(browser)
    assert text(browser, ".panel .others").endswith("at epoch 2 (weakest 1, typical 1)")
    assert browser.run("document.querySelectorAll('.panel .others .tile').length") == 0
    browser.run("document.querySelector('.panel .others summary').focus()")
    browser.press("Enter")
    assert browser.run("location.hash") == f"#epoch=2&map=conv2:{alive}&weaker=shown"
    shown_ones = text(browser, ".panel .others")
    step = reported.evolution.steps[2]
    for selection in ("low", "quantile:0.5"):
        [row] = reported.evolution.rows(layer="conv2", map=alive, step=step, selection=selection)
        said = f"(image {row['image_id']}), unit y {row['y']}, x {row['x']}, scale"
        assert said in shown_ones.replace("\u200b", "")
    assert browser.run("document.querySelectorAll('.panel .others .tile').length") == 4
    browser.press("ArrowLeft")
    browser.press("ArrowLeft")
    assert text(browser, "#epoch") == "epoch 0"
    assert "silent: 50\u2009% of the images or more do not excite it" in text(
        browser, ".panel .others"
    )
    assert browser.run("document.querySelectorAll('.panel .others .tile').length") == 2
    assert browser.run("document.activeElement.tagName") == "SUMMARY" and too_wide(browser) == 0
    browser.run(f"location.hash = '#epoch=2&map=conv2:{dead}'")
    settled(browser)
    assert browser.run("state.weaker"), "of every map that is opened"
    assert "dead: no image excites it" in text(browser, ".panel .others")
    assert browser.run("document.querySelectorAll('.panel .others .tile').length") == 0
    browser.run("document.querySelector('.panel .others summary').focus()")
    browser.press(" ")
    assert browser.run("[state.weaker, timer]") == [False, None], "space plays nothing there"
    assert "weaker" not in browser.run("location.hash")
    browser.run("location.hash = '#weaker=both'")
    settled(browser)
    assert not browser.run("state.weaker")


def test_a_folder_keeps_the_browser_content(measured, browser):
    """Cells in sight have their pictures, those below wait; the policy has not been broken."""
    _, paths = measured
    browser.resize(1280, 500)
    browser.open(paths["folder"])
    settled(browser)
    drawn = "[...document.querySelectorAll('.cell')].map((cell) => near.has(cell))"
    before = browser.run(drawn)
    assert before[0] and not before[-1]
    browser.run("document.querySelector('.cell:last-child').scrollIntoView()")
    browser.run("[...document.querySelectorAll('.cell')].at(-1).scrollIntoView()")
    settled(browser)
    assert browser.run(drawn)[-1]
    address = browser.run(
        "getComputedStyle([...document.querySelectorAll('.projection')].at(-1)).backgroundImage"
    )
    assert "/page-1/" in address and address.endswith('.webp")')
    at = browser.run("state.at")
    browser.run("document.getElementById('track').focus()")
    browser.press("ArrowLeft")
    assert browser.run("state.at") == at - 1


def test_paper_has_film_strips(made, browser):
    browser.resize(1280)
    browser.open(made.path)
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    maps = sum(len(layer["maps"]) for layer in made.page.data["layers"])
    assert browser.run("document.querySelectorAll('#printed .film').length") == maps
    choose(browser, "layer", "conv2")
    choose(browser, "maps", "live")
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    printed = "[...document.querySelectorAll('#printed .film > b')].map((film) => film.innerText)"
    assert browser.run(printed) == [str(map_) for map_ in shown(browser, 1)], "what is listed"
    choose(browser, "layer", "")
    choose(browser, "maps", "")
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    browser.prefer(media="print")
    displays = "['.layer[data-layer]', '.filters'].map((of) => document.querySelector(of))"
    displays = browser.run(f"{displays}.map((layer) => getComputedStyle(layer).display)")
    assert displays == ["none", "block"], "films for the layers, and the first layer's filters"
    assert browser.run("document.getElementById('printed').offsetHeight") > 500
    browser.prefer()


def test_paper_has_all_of_an_opened_map(measured, browser):
    reported, paths = measured
    browser.resize(1280)
    browser.open(paths["file"])
    alive = reported.evolution.maps("conv2")[0]
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.run("document.querySelector('.opened')") is None
    browser.run(f"location.hash = '#epoch=2&map=conv2:{alive}'")
    settled(browser)
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    browser.prefer(media="print")
    printed = text(browser, "#printed .opened")
    assert printed.startswith(f"conv2, map {alive}") and "What is known of it" in printed
    assert "typical: stronger than" in printed.lower(), "unfolded on paper alone"
    assert not browser.run("state.weaker")
    aims = "[...document.querySelectorAll('.opened .tile')].map((tile) => getComputedStyle(tile)"
    aimed = browser.run(f"{aims}.backgroundPosition)")
    assert len(set(aimed)) > 4 and browser.run(f"{aims}.backgroundImage)").count("none") == 0
    browser.prefer()


@pytest.mark.parametrize("width", (1400, 800, 390))
def test_no_picture_of_a_film_is_cut(made, browser, width):
    """At either end, wherever it is scrolled to."""
    browser.resize(width)
    browser.open(made.path)
    browser.click(".cell")
    # As a run of many epochs: the film's own slots once more.
    browser.run(
        "(() => { const strip = document.querySelector('.panel .strip'), frames ="
        " [...strip.querySelectorAll('.frame')]; for (let i = 0; i < 5; i += 1)"
        " strip.append(...frames.map((frame) => frame.cloneNode(true))); })()"
    )
    cut = (
        "(() => { const strip = document.querySelector('.panel .strip').getBoundingClientRect();"
        " const left = document.querySelector('.panel .labels').getBoundingClientRect().right;"
        " const seen = [...document.querySelectorAll('.panel .slot')].map((slot) =>"
        " slot.getBoundingClientRect()).filter((box) => box.right > left + 1 && box.left <"
        " strip.right - 1); return [seen.length, seen.filter((box) => box.left < left - 0.5 ||"
        " box.right > strip.right + 0.5).length]; })()"
    )
    for scrolled in (0, 37, 150, 401, 1e5):
        browser.run(f"document.querySelector('.panel .strip').scrollLeft = {scrolled}")
        settled(browser)
        count, across = browser.run(cut)
        assert count > 4 and across == 0, scrolled


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
