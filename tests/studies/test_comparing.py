"""Runs side by side: what is matched against what was put there, runs that differ in layers, maps
and steps, what is refused, and the page.
"""

import dataclasses
import json
import shutil

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import zfjax
from tests.browser import Browser, find_browser
from tests.reported import Page
from tests.small import make_config
from tests.synthetic_run import SMALL, make_run
from zfjax.commands.cli import main
from zfjax.errors import ZfjaxError
from zfjax.files import write_json
from zfjax.measures.probe_images import probe_ids
from zfjax.network.altered import without
from zfjax.report import budget
from zfjax.run.folder import load_run, save_run
from zfjax.run.grid_folders import training_command
from zfjax.run.probe import MAXIMA, Probe, array_name, quantised, write_probe
from zfjax.studies.pair_pictures import Couple, couples_piece, draw, shown_rows, widest_evolution
from zfjax.studies.sides import folder_name, names_of
from zfjax.training.loop import train

LAYERS = ("conv1", "conv2", "conv3")
MAPS, IMAGES = {"conv1": 24, "conv2": 64, "conv3": 96}, 160
FINGERPRINT = {"name": "made", "version": "1", "split": "train", "count": 300, "digest": "ab" * 20}


def responses(seed, maps):
    """Of maps that answer to a few things each, more in bright images: float32 [images, maps]."""
    rng = np.random.default_rng(seed)
    bright = np.random.default_rng(99).lognormal(0, 0.5, (IMAGES, 1))
    things = np.random.default_rng(98).normal(size=(IMAGES, 40))
    mixed = things @ (rng.normal(size=(40, maps)) * (rng.random((40, maps)) < 0.15))
    return (bright * np.maximum(mixed, 0)).astype(np.float32)


def put_probe(folder, by_step, **about):
    """A probe of these answers, {step: {layer: [images, maps]}}, as the measures leave one."""
    ids = probe_ids(300, IMAGES)
    asked = {"split": "train", "searched": 300, "images": IMAGES, "seed": 0}
    asked |= {"fingerprint": FINGERPRINT} | about
    layers = {name: values.shape[1] for name, values in next(iter(by_step.values())).items()}
    meta = {"asked": asked, "steps": sorted(by_step), "layers": layers, "kinds": [MAXIMA]}

    def values():
        for step, of_layers in by_step.items():
            for layer, answers in of_layers.items():
                small, scale = quantised(answers)
                yield array_name(MAXIMA, step, layer), small
                yield array_name(MAXIMA, step, layer, "scale"), scale

    folder.joinpath("measures").mkdir(exist_ok=True)
    write_probe(folder / "measures/probe.npz", meta, (ids, np.zeros(IMAGES)), values())


ORDER = {layer: np.random.default_rng(1).permutation(maps) for layer, maps in MAPS.items()}


def first_answers(epoch):
    return {layer: responses(1 if epoch else 5, maps) for layer, maps in MAPS.items()}


def second_answers(epoch):
    """What the first has learnt, in another order; at the start strangers, and one map dead."""
    if not epoch:
        return {layer: responses(6, maps) for layer, maps in MAPS.items()}
    answers = {layer: own[:, ORDER[layer]] for layer, own in first_answers(epoch).items()}
    answers["conv3"][:, 0] = 0
    return answers


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two runs of four epochs with evolutions that draw 4 maps a layer: read, never changed."""
    folder = tmp_path_factory.mktemp("pair")
    for name, answers in (("one", first_answers), ("other", second_answers)):
        shape = dataclasses.replace(SMALL, hostile=name == "other", layers=("conv1", "conv3"))
        make_run(folder / name / "run", shape)
        put_probe(folder / name / "run", {100 * epoch: answers(epoch) for epoch in (0, 1, 2, 4)})
    return folder / "one/run", folder / "other/run"


@pytest.fixture(scope="module")
def compared(pair, tmp_path_factory):
    return zfjax.compare(*pair, out=tmp_path_factory.mktemp("out") / "both")


def rows(comparison, **equal):
    table = comparison.matches
    for name, value in equal.items():
        table = table.filter(pc.equal(table[name], value))
    return table


def value(comparison, quantity, **equal):
    table = comparison.summary.filter(pc.equal(comparison.summary["quantity"], quantity))
    for name, wanted in equal.items():
        table = table.filter(pc.equal(table[name], wanted))
    [row] = table.to_pylist()
    return row


def test_every_map_gets_the_partner_that_was_put_there(compared):
    for layer in LAYERS:
        for epoch in (1.0, 2.0, 4.0):
            found = rows(compared, layer=layer, epoch=epoch).to_pylist()
            wanted = np.argsort(ORDER[layer]).tolist()
            dead = ORDER[layer][0] if layer == "conv3" else None
            for row in found:
                if row["map"] == dead:
                    assert not row["is_partner"]
                    continue
                assert row["partner"] == row["last_partner"] == wanted[row["map"]]
                assert row["is_partner"] and row["mutual"] and row["correlation"] > 0.999
                assert row["last_correlation"] == row["correlation"] > row["null"]
        share = value(compared, "partner_share", layer=layer, epoch=4.0)
        assert share["value"] == share["low"] == share["high"] == 1
        assert share["n"] == MAPS[layer] - (layer == "conv3")
        assert value(compared, "null_share", layer=layer, epoch=4.0)["value"] == 0
        assert value(compared, "partner_share", layer=layer, epoch=0.0)["value"] < 0.1
    assert value(compared, "cka", layer="conv1", epoch=4.0)["value"] == pytest.approx(1, abs=1e-3)
    assert value(compared, "cka", layer="conv1", epoch=0.0)["value"] < 0.9
    assert value(compared, "dead_of_run", layer="conv3", epoch=4.0)["value"] == 1


def test_the_files_and_the_sentence_say_the_same(compared):
    folder = compared.folder
    assert {path.name for path in folder.iterdir()} == {
        "compare.json", "index.html", "matches.parquet", "summary.parquet",
    }  # fmt: skip
    assert pq.read_table(folder / "matches.parquet").equals(compared.matches)
    assert pq.read_table(folder / "summary.parquet").equals(compared.summary)
    record = json.loads((folder / "compare.json").read_text())
    assert record["sentence"] == compared.sentence and record["images"] == IMAGES
    assert record["runs"] == ["one/run", "other/run"] and record["epochs"] == [0, 1, 2, 4]
    assert set(record["null"].values()) == {"before training"}
    assert "conv1 24 of 24" in compared.sentence
    assert "conv3 95 of 95" in compared.sentence
    assert "settling was not measured of one/run, other/run" in compared.sentence


def test_a_run_is_its_own_partner_at_every_epoch(pair, tmp_path):
    alone = zfjax.compare(pair[0], pair[0], out=tmp_path / "self", layers="conv2", at=(0, "last"))
    table = alone.matches
    assert table["epoch"].unique().to_pylist() == [0, 4]
    assert table["map"].equals(table["partner"]) and pc.all(table["is_partner"]).as_py()
    assert pc.min(table["correlation"]).as_py() == pytest.approx(1)
    assert table["run"].unique().to_pylist() == ["run (2)"]


def changed(run, target, **about):
    """A copy whose probe is of another shape: a run like any other."""
    copy = shutil.copytree(run, target)
    read = load_run(copy)
    about = {"steps_per_epoch": 100, "answers": second_answers, "model": read.config.model} | about
    config = dataclasses.replace(read.config, model=about["model"])
    save_run(dataclasses.replace(read, config=config, steps_per_epoch=about["steps_per_epoch"]))
    answers, size = about["answers"], about["steps_per_epoch"]
    put_probe(copy, {size * epoch: answers(epoch) for epoch in about.get("epochs", (0, 1, 4))})
    return copy


def test_three_runs_of_other_layers_maps_and_steps(pair, tmp_path):
    """conv2 dropped, fewer maps in conv3, other steps: epochs and layers that all share."""

    def narrow(epoch):
        answers = second_answers(epoch)
        return {"conv1": answers["conv1"], "conv3": answers["conv3"][:, 1:8]}

    read = load_run(pair[0])
    model = without(read.config.model, ("conv2",))
    thinner = dataclasses.replace(model.conv("conv3"), maps=7)
    layers = tuple(thinner if layer.name == "conv3" else layer for layer in model.layers)
    model = dataclasses.replace(model, layers=layers)
    other = changed(pair[1], tmp_path / "dropped", answers=narrow, steps_per_epoch=30, model=model)
    comparison = zfjax.compare(*pair, other, out=tmp_path / "out")
    record = json.loads((comparison.folder / "compare.json").read_text())
    name = f"{tmp_path.name}/dropped"
    assert record["epochs"] == [0, 1, 4] and record["layers"] == ["conv1", "conv3"]
    assert record["without_counterpart"]["conv2"] == [name]
    found = rows(comparison, run=name, layer="conv3", epoch=4.0)
    partners = {row["map"]: row["partner"] for row in found.to_pylist() if row["is_partner"]}
    assert partners == {int(ORDER["conv3"][place + 1]): place for place in range(7)}
    assert value(comparison, "partner_share", run=name, layer="conv3", epoch=4.0)["n"] == 7
    page = Page(comparison.page.read_text())
    assert any(f"conv2, which {name} has not" in words for words in page.words)
    assert {len(each["cells"]) for each in page.data["couples"]} == {2, 3}


def test_without_a_start_siblings_are_the_null(pair, tmp_path):
    late = changed(pair[1], tmp_path / "late", epochs=(4,))
    comparison = zfjax.compare(pair[0], late, out=tmp_path / "out", layers="conv1")
    record = json.loads((comparison.folder / "compare.json").read_text())
    assert set(record["null"].values()) == {"siblings"} and record["epochs"] == [4]
    assert value(comparison, "partner_share", layer="conv1", epoch=4.0)["value"] == 1
    assert "own layer" in comparison.page.read_text()


def test_layers_without_partners_are_told_with_their_correlation_beside_the_null(pair, tmp_path):
    """Of a network that has learnt other things; where no map is drawn no empty frame is."""

    def strangers(epoch):
        return {layer: responses(7 + epoch, maps) for layer, maps in MAPS.items()}

    other = changed(pair[1], tmp_path / "stranger", answers=strangers)
    comparison = zfjax.compare(pair[0], other, out=tmp_path / "out", layers="conv1")
    assert value(comparison, "partner_share", layer="conv1", epoch=4.0)["value"] == 0
    pairs, null = (
        value(comparison, name, layer="conv1", epoch=4.0)["value"]
        for name in ("correlation", "null_bar")
    )
    assert pairs < null and "Where none has, the pairs are no more alike" in comparison.sentence
    assert f"with an untrained network lie): conv1 {pairs:.2f} beside {null:.2f}." in (
        comparison.sentence
    )
    assert "Where none has" not in zfjax.compare(*pair, out=tmp_path / "same").sentence
    bare = [shutil.copytree(run, tmp_path / run.parent.name) for run in pair]
    for folder in (path for run in bare for path in run.glob("evolution*")):
        shutil.rmtree(folder)
    text = zfjax.compare(*bare, out=tmp_path / "bare", layers="conv1").page.read_text()
    assert len(Page(text).data["couples"]) == 24
    assert "not drawn</span>" not in text and "Each map's strongest image" not in text
    assert "24 of the 24 maps of one are not drawn" in text


def test_fewer_images_are_some_of_more(pair, tmp_path):
    few = zfjax.compare(
        *pair, out=tmp_path / "few", images=np.int64(100), at="last", layers=["conv1"]
    )
    assert json.loads((few.folder / "compare.json").read_text())["images"] == 100
    assert value(few, "partner_share", layer="conv1", epoch=4.0)["value"] == 1


def settling(run, times):
    """What the measure settling says of a run's layers."""
    from zfjax.files import write_json
    from zfjax.run.measured import measures_table, write_measures_table

    columns = {name: [] for name in ("step", "epoch", "layer", "map", "quantity", "value", "low")}
    columns |= {"high": [], "n": [], "unit": []}
    for layer, (low, high) in times.items():
        row = (400, 4.0, layer, None, "responses_time", (low + high) / 2, low, high, 160, "epochs")
        for name, item in zip(columns, row, strict=True):
            columns[name].append(item)
    write_measures_table(run / "measures/settling.parquet", measures_table(columns))
    meta = {"steps": [0, 400], "epochs": [0.0, 4.0], "layers": list(times)}
    write_json(run / "measures/settling.json", meta)


def test_which_settles_first_is_read_from_the_intervals(pair, tmp_path):
    runs = [shutil.copytree(run, tmp_path / name) for run, name in zip(pair, "ab", strict=True)]
    settling(runs[0], {"conv1": (1.0, 1.2), "conv2": (2.0, 2.6), "conv3": (3.0, 3.1)})
    settling(runs[1], {"conv1": (1.3, 1.4), "conv2": (2.5, 2.9), "conv3": (2.0, 2.1)})
    comparison = zfjax.compare(*runs, out=tmp_path / "out", at="last")
    assert "conv1 in a; conv3 in b; of conv2 these runs cannot tell" in comparison.sentence
    row = value(comparison, "settled", run="b", layer="conv3")
    assert (row["low"], row["high"], row["n"]) == (2.0, 2.1, 160)


def test_layers_that_began_as_one_are_named(pair, tmp_path):
    """As those that two cells of a grid share: partners without any training."""
    same = changed(pair[0], tmp_path / "same", answers=first_answers)
    comparison = zfjax.compare(pair[0], same, out=tmp_path / "out", layers="conv2")
    assert value(comparison, "same_number_share", layer="conv2", epoch=4.0)["value"] == 1
    assert "began with the same weights" in comparison.page.read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("ONE",), "two runs or more"),
        (("ONE", "OTHER", "--layers", "conv9"), "No run has a convolution 'conv9'"),
        (("ONE", "OTHER", "--at", "3"), "do not share that epoch; they share 0, 1, 2, 4"),
        (("ONE", "OTHER", "--at", "step:100"), "compared by epochs"),
        (("ONE", "OTHER", "--images", "2"), "must be 4 or more"),
        (("ONE", "OTHER", "--out", "ONE"), "holds something else than a comparison"),
        (("ONE", "OTHER", "--out", "ONE/config.json"), "is a file"),
        (("ONE", "OTHER", "--out", "gs://bucket/x"), "is a URL"),
        (("ONE", "ELSEWHERE"), "is of other images"),
        (("ONE", "UNPROBED"), "UNPROBED is of other images than run: "),
        (("ONE", "GRID"), "is an ablation, a folder of many runs: name two of them"),
        (("ONE", "NOWHERE"), "nowhere"),
        (("ONE", "NEVER"), "share no saved epoch"),
        (("ONE", "BARE"), "has no checkpoints yet"),
        (("ONE", "STRANGE"), "share no layer by name"),
    ],
)
def test_what_cannot_be_compared_is_refused(words, sentence, pair, tmp_path, capsys, monkeypatch):
    """In one sentence, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    places = {"ONE": pair[0], "OTHER": pair[1], "NOWHERE": tmp_path / "nowhere"}
    if "ELSEWHERE" in words:
        places["ELSEWHERE"] = changed(pair[1], tmp_path / "elsewhere")
        by_step = {100 * epoch: second_answers(epoch) for epoch in (0, 1, 2, 4)}
        other = FINGERPRINT | {"digest": "cd" * 20}
        put_probe(places["ELSEWHERE"], by_step, fingerprint=other)
    if "UNPROBED" in words:  # told by its config.json, before its data set is looked for
        places["UNPROBED"] = changed(pair[1], tmp_path / "UNPROBED")
        shutil.rmtree(places["UNPROBED"] / "measures")
        for step in (0, 100, 400):
            (places["UNPROBED"] / "checkpoints" / str(step)).mkdir(parents=True, exist_ok=True)
    if "GRID" in words:
        places["GRID"] = tmp_path / "grid"
        places["GRID"].mkdir()
        (places["GRID"] / "ablation.json").write_text("{}")
    if "NEVER" in words:
        places["NEVER"] = changed(pair[1], tmp_path / "never", epochs=(9,))
    if "BARE" in words:
        places["BARE"] = shutil.copytree(pair[1], tmp_path / "bare")
        (places["BARE"] / "measures/probe.npz").write_bytes(b"no probe")
    if "STRANGE" in words:
        model = make_config(tmp_path).model
        layers = tuple(dataclasses.replace(layer, name=f"x{layer.name}") for layer in model.layers)
        model = dataclasses.replace(model, layers=layers)
        places["STRANGE"] = changed(pair[1], tmp_path / "strange", model=model)
    before = set(tmp_path.iterdir())
    arguments = [str(places.get(word.split("/")[0], word)) for word in words]
    arguments = [
        f"{place}/config.json" if word.endswith("config.json") else place
        for word, place in zip(words, arguments, strict=True)
    ]
    assert main(["compare", *arguments]) == 1
    told = capsys.readouterr().err
    assert sentence in told and "Traceback" not in told and told.count("\n") < 5
    assert set(tmp_path.iterdir()) == before


def test_what_is_no_run_of_a_grid_is_told_with_the_folder_or_command_that_was_meant(tmp_path):
    grid = tmp_path / "my grid"
    for name, seeds in (("base", (0, 1, 10)), ("without-fc7", ())):
        (grid / "cells" / name).mkdir(parents=True)
        for seed in seeds:
            write_json(grid / f"cells/{name}/seed-{seed}/config.json", {})
    write_json(grid / "ablation.json", {"seeds": [0, 1, 3, 10]})
    (grid / "cells/base/seed-0/measures").mkdir()
    (tmp_path / "empty").mkdir()
    begin = f"`zfjax ablate --workdir '{grid}'` trains"
    for where, said in (
        (
            "",
            f"is an ablation, a folder of many runs: name one of them, like {grid}/cells/base/see",
        ),
        ("cells", f"{grid / 'cells'} is an ablation, a folder of many runs: name one of them"),
        ("cells/base", f"like {grid}/cells/base/seed-0 (it has seed-0, seed-1, seed-10)."),
        ("cells/without-fc7", f"of which no run has begun; {begin} them."),
        ("cells/odd", f"The ablation {grid} has no cell 'odd'; it has base, without-fc7."),
        ("cells/odd/seed-0", "has no cell 'odd'"),
        ("cells/base/seed-3", f"a run of an ablation that has not begun; {begin} it; base has se"),
        ("cells/base/seed-4", f"is no run of the ablation {grid}, whose seeds are 0, 1, 3, 10; b"),
        ("cells/base/seed-0/measures", f"not a run, but lies within one: name {grid}/cells/base/s"),
        ("../empty", "it has no config.json; train with `zfjax train --workdir"),
    ):
        for folder in (grid / where, str(grid / where)):
            with pytest.raises(ZfjaxError) as error:
                load_run(folder)
            assert said in str(error.value)
    assert training_command(tmp_path / "run") == f"`zfjax train --workdir {tmp_path / 'run'}`"


def test_the_commands_that_a_fuller_comparison_needs_are_told_with_their_folders(
    pair, tmp_path, capsys
):
    bare = changed(pair[0], tmp_path / "bare run")
    zfjax.compare(pair[1], bare, out=tmp_path / "out", at="last", layers="conv1")
    assert capsys.readouterr().err == ""  # without checkpoints nothing can be drawn or measured
    shutil.rmtree(bare / "evolution")
    twin = shutil.copytree(bare, tmp_path / "twin")
    for step in (0, 100, 400):
        for run in (bare, twin):
            (run / "checkpoints" / str(step)).mkdir(parents=True)
    zfjax.compare(pair[1], bare, bare, twin, out=tmp_path / "out", at="last", layers="conv1")
    told = capsys.readouterr().err.splitlines()
    commands = ("evolve --workdir {} --maps all", "measure --workdir {} settling")
    for line, command in zip(told, commands, strict=True):
        words = command.format(f"'{bare}'")
        assert f": `zfjax {words}` (likewise of {twin}), then the same command." in line


def test_words_of_another_kind_are_refused(pair):
    for words, sentence in (
        ({"layer": "conv1"}, "takes layers, at and images, not layer"),
        ({"images": 2.5}, "must be a whole number"),
        ({"layers": 3}, "must be a text"),
        ({"at": True}, "is not an epoch"),
        ({"at": ()}, "names no epoch"),
    ):
        with pytest.raises(ZfjaxError, match=sentence):
            zfjax.compare(*pair, **words)


def test_the_folder_is_named_by_the_runs(pair, tmp_path, monkeypatch, capsys):
    """And a comparison is written over, nothing else."""
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["compare", *map(str, pair), "--at", "last", "--layers", "conv1"]) == 0
    told = capsys.readouterr().out
    assert "compare-one-run-other-run/index.html" in told and "conv1 24 of 24" in told
    assert [path.name for path in tmp_path.iterdir()] == ["compare-one-run-other-run"]


def test_names_are_the_shortest_that_differ(tmp_path):
    base = tmp_path
    assert names_of([base / "a/x/seed-0", base / "a/y/seed-0"]) == ["x/seed-0", "y/seed-0"]
    assert names_of([base / "run", base / "run", None]) == ["run (1)", "run (2)", "network"]
    assert names_of([base / "r/seed-0", base / "r/seed-1"]) == ["seed-0", "seed-1"]
    three = [base / "r/seed-0", base / "r/seed-1", base / "s/seed-0"]
    assert names_of(three) == ["r/seed-0", "r/seed-1", "s/seed-0"]
    grid, other = base / "grid/cells", base / "other/cells"
    assert names_of([grid / "a/seed-0", grid / "a/seed-1"]) == ["seed-0", "seed-1"]
    assert names_of([grid / "a/seed-0", grid / "b/seed-1"]) == ["a/seed-0", "b/seed-1"]
    two = [grid / "a/seed-0", other / "a/seed-1"]
    assert names_of(two) == ["grid/cells/a/seed-0", "other/cells/a/seed-1"]
    assert folder_name(["x/seed-0", "é <b>"]) == "compare-x-seed-0-é-b"
    assert len(folder_name(["a" * 300, "b" * 300]).encode()) <= 120


def test_the_page_opens_anywhere_and_escapes(compared, pair):
    text = compared.page.read_text()
    page = Page(text)
    for link in ("src", "href"):
        for _, name, target in page.attributes:
            assert name != link or target.endswith((".parquet", ".json"))
    assert any("default-src 'none'" in target for _, _, target in page.attributes)
    assert str(pair[0].parent.parent) not in text and "<script>alert" not in text
    couples = page.data["couples"]
    assert [couple["layer"] for couple in couples] == sorted(couple["layer"] for couple in couples)
    drawn = [cell for couple in couples for cell in couple["cells"] if cell is not None]
    assert drawn and {len(cell["frames"]) for cell in drawn} == {4}
    assert any("--maps all --name all" in words for words in page.words)
    assert {couple["partners"][-1] for couple in couples} == {True}
    assert {couple["partners"][0] for couple in couples} <= {True, False}


def test_a_page_beyond_the_budget_shows_fewer_couples(pair, tmp_path, monkeypatch):
    words = {"layers": "conv1", "at": (1, "last")}
    whole = zfjax.compare(*pair, out=tmp_path / "whole", **words).page.read_text()
    monkeypatch.setattr(budget, "BUDGET", len(whole.encode()) - 1)
    less = zfjax.compare(*pair, out=tmp_path / "less", **words).page.read_text()
    counts = [len(Page(text).data["couples"]) for text in (whole, less)]
    assert counts[1] < counts[0] and len(less.encode()) <= budget.BUDGET
    assert "Partners not shown" in less


def test_couples_with_pictures_come_first_and_say_their_epoch(pair):
    evolutions = [widest_evolution(load_run(run)) for run in pair]
    drawn, there = evolutions[0].maps("conv1")[0], evolutions[1].maps("conv1")[0]
    missing = next(map_ for map_ in range(24) if map_ not in evolutions[0].maps("conv1"))
    alike, partners = np.ones((1, 2)), np.array([True, True])
    couples = [
        Couple("conv1", maps, alike, partners)
        for maps in ((missing, None), (missing, there), (drawn, there))
    ]
    assert shown_rows(couples, evolutions, 3) == tuple(couples)
    assert shown_rows(couples, evolutions, 2) == tuple(couples[1:])
    assert shown_rows(couples, [None, None], 1) == (couples[1],)
    piece = couples_piece(
        couples[2:], draw(couples[2:], evolutions, (-1.0, 2.5)), ("one", "other"), (0, 1)
    )
    [couple] = piece.data["couples"]
    first, second = couple["cells"][0]["words"]
    assert first == "not searched so early" and second.startswith("epoch 2: ")
    assert couple["cells"][0]["frames"][0] is None
    assert piece.html.count("not drawn") == 0 and "alike 1.00" in piece.html


@pytest.mark.slow
@pytest.mark.skipif(find_browser() is None, reason="no Chromium on PATH")
def test_the_page_in_a_browser(compared):
    """Slider, filter by layer, address, 390 pixels, print: and no complaint."""
    with Browser() as browser:
        browser.open(compared.page)
        shown = "[...document.querySelectorAll('.couple')].filter((row) => !row.hidden).length"
        every = browser.run(shown)
        browser.click("#options label:nth-of-type(2) span")
        assert 0 < browser.run(shown) < every
        assert "layer=conv1" in browser.run("location.hash")
        assert browser.run("document.querySelectorAll('.alone:not([hidden])').length") == 1
        words = "document.querySelector('.couple:not([hidden]) .alike').textContent"
        last = browser.run(words)
        aimed = "document.querySelector('.couple:not([hidden]) .tile').style.backgroundPosition"
        assert browser.run(aimed) and last.startswith("alike 1.00")
        browser.run("document.activeElement.blur()")  # arrows on a radio button are its own
        browser.press("ArrowLeft")
        assert browser.run("state.at") == 2
        browser.run("go(0)")
        assert browser.run(words) != last
        browser.resize(390)
        assert browser.run("document.documentElement.scrollWidth - innerWidth") <= 0
        browser.prefer("print", dark=True)
        assert browser.run("document.querySelectorAll('.couple').length") == every
        assert browser.errors == []


@pytest.mark.slow
def test_trained_runs_get_their_probe_by_a_pass(unbroken, data_dir, tmp_path, capsys):
    """Two recipes, of other steps, that nothing was measured of, then at once what the pass has
    kept; against a measured run, and a subject in Python.
    """
    other = make_config(data_dir, seed=7, recipe="faithful", batch_size=12)
    one = shutil.copytree(unbroken, tmp_path / "one")
    train(other, tmp_path / "two", devices=1)
    first = zfjax.compare(one, tmp_path / "two", out=tmp_path / "out")
    told = capsys.readouterr().err
    assert "one has no probe of these images: a pass over 36 images of 4 checkpoints" in told
    assert not (one / "measures").exists()
    kept = Probe(one / "measures-compare/probe.npz")
    assert kept.steps == load_run(one).steps and not list(one.glob("measures-compare/*.scratch*"))
    again = zfjax.compare(one, tmp_path / "two", out=tmp_path / "again")
    assert "pass" not in capsys.readouterr().err
    assert again.matches.equals(first.matches) and again.summary.equals(first.summary)
    assert main(["measure", "--workdir", str(tmp_path / "two"), "census"]) == 0
    shutil.rmtree(tmp_path / "two/measures-compare")
    measured = zfjax.compare(one, tmp_path / "two", out=tmp_path / "measured")
    assert measured.matches.equals(first.matches)
    from zfjax.inputs import open_data
    from zfjax.subject import images_of, subject_of

    run = load_run(one)
    images = images_of(run.config, open_data(run.config), "train")
    alone = zfjax.compare(one, subject_of(run, images), out=tmp_path / "subject")
    assert pc.min(alone.matches["correlation"]).as_py() == pytest.approx(1)
    assert pc.all(alone.matches["is_partner"]).as_py()
    assert (tmp_path / "subject/probes/network/probe.npz").exists()
