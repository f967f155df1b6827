"""How large a page may be: one file within the budget, else a folder that holds the same."""

import base64
import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from tests.reported import Page, Reported, spare_figures
from tests.synthetic_run import SMALL, make_run
from zfjax.errors import ZfjaxError
from zfjax.progress import Reporter
from zfjax.report import budget
from zfjax.report.page import write_report

pytestmark = pytest.mark.slow

SHAPE = replace(SMALL, epochs=2, layers=("conv1", "conv3"), maps=5, top=4, every_rank=True)


@pytest.fixture(autouse=True)
def few_figures(monkeypatch):
    spare_figures(monkeypatch)


@pytest.fixture(scope="module")
def one_file(tmp_path_factory):
    """The page as one file."""
    with pytest.MonkeyPatch.context() as patch:
        spare_figures(patch)
        return Reported(tmp_path_factory.mktemp("one-file"), SHAPE)


def data_beside(path):
    """What the script beside a page holds."""
    text = (path.parent / re.search(r'<script src="([^"]+)"', path.read_text())[1]).read_text()
    assert text.isascii() and text.startswith("const pageData = JSON.parse(")
    return json.loads(json.loads(text.removeprefix("const pageData = JSON.parse(")[:-3]))


def pictures_of(style):
    """The address of each numbered sheet's picture."""
    return dict(re.findall(r"\.s(\d+)\{background-image:url\(([^)]+)\)", style))


def test_beyond_the_budget_it_is_a_folder_that_says_the_same(one_file, monkeypatch):
    size = len(one_file.text.encode())
    assert size < budget.BUDGET
    folder = one_file.path.parent
    assert [path.name for path in folder.iterdir() if path.is_dir()] == []
    # Too large only when it is there, and too large by the estimate already.
    for allowed in (size - 1, 1000):
        monkeypatch.setattr(budget, "TILES_SHARE", 0.225 * 40e6 / allowed)
        monkeypatch.setattr(budget, "BUDGET", allowed)
        assert budget.one_file_may_hold(one_file.evolution) == (allowed > 1000)
        path = write_report(one_file.run)
        page, data = Page(path.read_text()), data_beside(path)
        assert data["layers"][0] == one_file.page.data["layers"][0], "without loss in both"
        assert [layer["name"] for layer in data["layers"]] == ["conv1", "conv3"]
        for key in ("steps", "labels", "files", "names", "films", "stops"):
            assert data[key] == one_file.page.data[key], key
        [beside] = [child.name for child in folder.iterdir() if child.is_dir()]
        sheets = [map_["sheet"] for layer in data["layers"] for map_ in layer["maps"]]
        addresses = pictures_of(page.held["style"][1])
        assert {str(sheet["number"]) for sheet in sheets if sheet} <= set(addresses)
        used = set(addresses.values()) | {
            value for tag, name, value in page.attributes if tag == "img" and name == "src"
        }
        used |= set(re.findall(r"\.photo\{background-image:url\(([^)]+)\)", page.held["style"][1]))
        files = {f"{beside}/{child.name}" for child in (folder / beside).iterdir()}
        assert files == used | {f"{beside}/data.js"}, "no picture too many, none missing"
        assert all((folder / address).read_bytes()[8:12] == b"WEBP" for address in used)
        assert path.stat().st_size < 250_000, "a small page"


def test_its_policy_lets_in_files_and_nothing_else(one_file, monkeypatch):
    monkeypatch.setattr(budget, "BUDGET", 1000)
    page = Page(write_report(one_file.run).read_text())
    [script] = [text for text in page.held["script"] if text]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = dict(part.strip().split(" ", 1) for part in page.policy.split(";") if part.strip())
    assert policy["default-src"] == "'none'" and policy["img-src"] == "data: 'self' file:"
    assert policy["script-src"] == f"'sha256-{digest}' 'self' file:"
    for _, name, value in page.attributes:
        if name in ("src", "href"):
            assert not re.match(r"(?i)[a-z]+:|/", value), value


def test_each_form_removes_what_the_other_left(one_file, monkeypatch):
    folder = one_file.path.parent
    write_report(one_file.run)
    as_file = one_file.path.read_bytes()
    assert as_file == one_file.text.encode(), "the same again"
    names = []
    for allowed in (1000, 1000, 40_000_000, 1000):
        monkeypatch.setattr(budget, "BUDGET", allowed)
        write_report(one_file.run)
        names.append(sorted(child.name for child in folder.iterdir() if child.is_dir()))
    assert names == [["page-1"], ["page-2"], [], ["page-1"]]


def test_a_failure_leaves_the_page_of_before(one_file, monkeypatch):
    monkeypatch.setattr(budget, "BUDGET", 1000)
    path, folder = write_report(one_file.run), one_file.path.parent
    before = {child: child.read_bytes() for child in folder.rglob("*") if child.is_file()}
    tiles = one_file.run.evolution_folder() / "tiles" / "conv3" / "200.npz"
    whole = tiles.read_bytes()
    tiles.unlink()
    try:
        with pytest.raises(ZfjaxError, match="is missing"):
            write_report(one_file.run)
    finally:
        tiles.write_bytes(whole)
    assert {child: child.read_bytes() for child in folder.rglob("*") if child.is_file()} == before
    assert data_beside(path)["steps"] == list(one_file.evolution.steps)


def test_an_estimate_is_not_above_what_pages_take(one_file, made, monkeypatch):
    """Or a page would become a folder that one file could hold."""
    for report in (one_file, made):  # a deep run, and an ordinary one
        monkeypatch.setattr(budget, "BUDGET", round(len(report.text.encode()) / budget.NEARLY))
        assert budget.one_file_may_hold(report.evolution)


def test_without_photos_the_folder_has_none(one_file, monkeypatch):
    monkeypatch.setattr(budget, "BUDGET", 1000)
    path = write_report(one_file.run, photos=False)
    text, data = path.read_text(), data_beside(path)
    assert ".photo{" not in text and 'class="tile patch' not in text
    frames = [
        frame
        for layer in data["layers"]
        for map_ in layer["maps"]
        for frame in (*map_["top"], *map_["fixed"], *map_["best"])
        if frame
    ]
    assert frames and all(frame["patch"] is None for frame in frames)


def test_tiles_share_the_budget_by_their_pixels(one_file, monkeypatch):
    from zfjax.report.pictures import read_layer

    evolution = one_file.evolution
    layers = [
        read_layer(evolution, name, evolution.steps, evolution.maps(name))
        for name in evolution.layers
    ]
    monkeypatch.setattr(budget, "BUDGET", 40_000_000)
    sheets, qualities = budget.make_sheets(layers)
    assert qualities == [None, budget.QUALITIES[0]]
    sizes = [sheet.byte_count for sheet in sheets[1] if sheet]
    share = budget.TILES_SHARE * budget.BUDGET
    monkeypatch.setattr(budget, "BUDGET", 2.5 * sum(sizes))
    lower, fewer = budget.make_sheets(layers)
    assert fewer[0] is None and fewer[1] in budget.QUALITIES[1:]
    assert sum(sheet.byte_count for sheet in lower[1] if sheet) < sum(sizes) < share
    assert np.prod(layers[1].tile_size) > np.prod(layers[0].tile_size)


# ---- how far it is


def test_off_a_terminal_a_report_speaks_at_once_and_by_stage(tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path, replace(SMALL, epochs=1, layers=("conv1", "conv3"), maps=2, top=1))
    spoken = []

    def first_work(*arguments, **options):
        spoken.append(capsys.readouterr().err)
        return honest(*arguments, **options)

    honest = budget.one_file_may_hold
    monkeypatch.setattr(budget, "one_file_may_hold", first_work)
    with Reporter() as progress:
        write_report(run, progress=progress)
    assert spoken == ["reporting 0/5\n"], "before anything is read"
    told = capsys.readouterr().err
    for stage in ("reading pictures", "drawing figures", "packing pictures", "reporting"):
        [line] = [line for line in told.splitlines() if re.fullmatch(rf"{stage} (\d+)/\1 *", line)]
        assert stage == "reporting" or f"{stage} 0/" in told


def test_a_stage_that_is_told_of_before_it_begins_is_said_at_once(capsys):
    with Reporter() as progress:
        for done in range(3):
            progress("training", done, 9)
            progress("validating", done, 9)
            progress("reading", done, 9)
            progress("searching", done + 1, 9)
    assert capsys.readouterr().err == "reading 0/9\n"
