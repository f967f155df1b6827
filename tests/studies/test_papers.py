"""The paper on one page, of made-up runs: rows, verdicts, pictures and what is missing; bad input;
and, slow, of a small run that is measured for it.
"""

import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.browser import Browser, find_browser
from tests.reported import Page
from tests.studies.paper_runs import finished_run, write_everything, write_settling_slopes
from zfjax.commands.cli import _parser as build_parser
from zfjax.commands.cli import main
from zfjax.errors import ZfjaxError
from zfjax.features.evolving import evolve
from zfjax.measures.census import MEASURE as CENSUS
from zfjax.measures.choosing import BUILT_IN, find_measure
from zfjax.run.folder import load_run, save_run
from zfjax.run.measured import measures_folder
from zfjax.studies import paper_ensemble, paper_filling, paper_readings, paper_transfers, papers
from zfjax.studies.paper_beyond import ensemble_row
from zfjax.studies.paper_claims import CLAIMS
from zfjax.studies.paper_filling import (
    QUICK,
    command_of,
    fill,
    is_current,
    needed_measures,
    saved_of,
)
from zfjax.studies.paper_numbers import Reading
from zfjax.studies.paper_page import TITLES, head_of, interval_words, value_words
from zfjax.studies.paper_readings import Saved, correlation
from zfjax.studies.paper_rows import CLAIMS_SCHEMA
from zfjax.studies.paper_statements import EVOLUTION, STATEMENTS
from zfjax.studies.paper_transfers import TRANSFER, open_transfers, transfer_statements
from zfjax.studies.papers import write_paper
from zfjax.studies.question_parts import REPORT
from zfjax.studies.questions import QUESTIONS
from zfjax.studies.transferred import open_transferred

FIGURES = ("Fig. 1", "Fig. 2", "Fig. 4", "Fig. 5", "Fig. 6", "Fig. 7", "Fig. 9")
TABLES = tuple(f"Table {number}" for number in range(1, 8))


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    run = finished_run(tmp_path_factory.mktemp("paper") / "run")
    write_everything(run)
    return run


@pytest.fixture(scope="module")
def paper(measured):
    return write_paper(measured, size="saved-only")


def by_id(paper):
    return {row.id: row for row in paper.rows}


def test_every_figure_and_table_of_the_paper_has_statements(paper):
    figures = {row.figure.split(",")[0].replace("6a", "6") for row in paper.rows}
    assert set(FIGURES + TABLES) <= figures
    assert len(by_id(paper)) == len(paper.rows)  # each id once
    assert {head_of(row.figure) for row in paper.rows} == set(TITLES)
    assert len(paper.rows) == len(STATEMENTS) + len(CLAIMS) + len(TRANSFER) + 2
    for name in {statement.needs for statement in STATEMENTS} - {EVOLUTION}:
        assert name in QUICK


def test_numbers_and_verdicts_are_those_of_the_tables(paper):
    rows = by_id(paper)
    assert rows["fig5-translation"].verdict == "holds for this run"
    assert rows["fig5-scale"].verdict.startswith("cannot tell (about ")
    assert rows["fig5-rotation"].verdict == "does not hold for this run"
    assert rows["table7-depth"].reading.value == 0.08
    assert rows["fig7-projection"].reading.value == pytest.approx(0.2)  # of the deepest
    assert rows["table1-features"].reading.value == -0.03
    assert rows["table1-features"].verdict == "holds for this run"
    top = rows["table1-top"].reading
    assert top.value == pytest.approx(0.02)
    assert top.high - top.value == pytest.approx(0.005 * 2**0.5)
    assert rows["fig2-unit"].reading.value == pytest.approx(0)  # half is the image's
    assert rows["fig2-unit"].verdict == "cannot tell"
    assert rows["fig1-switches"].reading.value == pytest.approx(0.2)
    undone = rows["fig7-object"]  # it loses 0.5 [0.4, 0.6]
    assert (undone.reading.value, undone.reading.low) == pytest.approx((0, -0.1))
    assert undone.verdict == "cannot tell"
    assert rows["fig1-switches"].reading.n == 6 and rows["fig1-switches"].reading.over == "maps"
    assert rows["fig2-classes"].verdict == "holds for this run"
    assert rows["fig4-lower"].reading.value == pytest.approx(1.0 - 0.4)  # a tenth of 4 epochs
    assert rows["fig4-upper"].reading.value == pytest.approx(3.0 - 2.0)
    order = rows["fig4-order"]
    assert "have to agree" in order.reading.note  # its own interval is above 0
    assert order.verdict.startswith("cannot tell (about ")  # rewind alone does not agree
    assert "rewind +0.20 [−0.20, +0.60]" in order.reading.note
    assert rows["table6-voc"].verdict == "not measured"
    assert "zfjax transfer --workdir RUN --to NAME" in rows["table6-voc"].command


def test_numbers_on_the_page_have_their_units_and_what_they_are_differences_of(paper):
    rows = by_id(paper)
    depth = rows["table7-depth"]
    assert (value_words(depth), depth.reading.value) == ("+8 points a layer", 0.08)
    assert interval_words(depth).startswith("[+6, +10], n = 500 ")
    assert value_words(rows["fig4-lower"]) == "+0.6 epochs"
    assert rows["fig7-projection"].reading.note.endswith(
        "The same difference by layer: conv1 +0.00, conv2 +0.10, conv3 +0.20."
    )
    asked = " ".join(Page((paper.folder / "questions.html").read_text()).words)
    assert f"({rows['fig2-unit'].number})" in asked


def test_a_command_on_the_page_breaks_between_its_words_alone(paper):
    text = paper.page.read_text()
    assert "<span>zfjax</span> <span>transfer</span> <span>--workdir</span>" in text
    assert "zfjax transfer --workdir RUN --to NAME" in " ".join(
        re.sub(r"</?span>", "", text).split()
    )


def test_the_table_on_disk_has_the_contracts_columns(paper):
    table = pq.read_table(paper.folder / "claims.parquet")
    assert table.schema.equals(CLAIMS_SCHEMA)
    assert table.column_names == [
        *("id", "figure", "claim", "published", "value", "low", "high", "n", "over", "verdict"),
        *("command", "picture"),
    ]
    for row, record in zip(paper.rows, table.to_pylist(), strict=True):
        assert record == row.record() or np.isnan(row.reading.value)
        if record["verdict"] == "not measured":
            assert record["value"] is None and record["command"]


def test_the_pages_say_what_the_table_says_and_escape_what_data_says(paper):
    text = paper.page.read_text()
    page = Page(text)
    words = " ".join(page.words)
    for row in paper.rows:
        assert f"{row.claim}." in words and f'id="{row.id}"' in text
        assert f"{row.verdict[:1].upper()}{row.verdict[1:]}" in words
    asked = (paper.folder / "questions.html").read_text()
    answers = Page(asked)
    said = " ".join(answers.words)
    for question in QUESTIONS:
        assert question.asked in said and question.answer in said
    assert "occlusion <b>says</b> so." in said and "<b>says" not in asked
    for each in (page, answers):
        assert "default-src 'none'" in each.policy
        assert not [name for _, name, _ in each.attributes if name in ("style", "onclick")]
    assert str(paper.folder) not in text + asked  # no path of this machine
    assert re.findall(r'href="(?!#|index|questions|\.\./report)', text + asked) == []


def test_every_question_leads_somewhere_that_is_there(paper):
    ids = {row.id for row in paper.rows}
    anchors = set(re.findall(r'id="([\w-]+)"', (paper.folder / "questions.html").read_text()))
    numbers = [f"{group}{letter}" for group, letters in
               (("0", "abcdefghijk"), ("1", "abcdefghijk"), ("2", "abcdefgh"), ("3", "abcd"),
                ("4", "abcdefghijklm")) for letter in letters]  # fmt: skip
    assert sorted(question.id for question in QUESTIONS) == numbers
    known = set(needed_measures()) | set(BUILT_IN)
    for question in QUESTIONS:
        assert set(question.claims) <= ids, question.id
        assert set(question.measures) <= known, question.id
        assert question.link in ("", REPORT) or question.link[1:] in anchors, question.id
        leads = question.claims or question.measures or question.command or question.link
        assert leads or question.answer.startswith("Out of scope"), question.id


def test_over_seeds_a_statement_holds_without_reserve(tmp_path):
    runs = [finished_run(tmp_path / f"run{seed}", seed) for seed in range(3)]
    for shift, run in zip((0.0, 0.01, 0.02), runs, strict=True):
        write_everything(run, shift)
    paper = write_paper(runs[0], seeds_of=runs[1:], size="saved-only")
    row = by_id(paper)["fig5-translation"]
    assert row.verdict == "holds" and row.reading.value == pytest.approx(0.41)
    assert (row.reading.n, row.reading.over) == (3, "seeds")
    # Each kind of evidence over the seeds: rewind's slopes agree now.
    assert by_id(paper)["fig4-order"].verdict == "holds"
    (measures_folder(runs[2].folder) / "probes.json").unlink()
    row = by_id(write_paper(runs[0], seeds_of=runs[1:], size="saved-only"))["table7-depth"]
    assert row.verdict == "not measured" and "of seed run 3" in row.why


def test_intervals_end_where_numbers_do_and_verdicts_are_of_the_whole_ones(tmp_path):
    runs = [finished_run(tmp_path / f"run{seed}", seed) for seed in range(2)]
    for shift, run in zip((0.0, 0.1), runs, strict=True):  # t of one degree: +-0.64
        write_everything(run, shift)
    rows = by_id(write_paper(runs[0], seeds_of=runs[1:], size="saved-only"))
    undone = rows["fig7-object"].reading
    assert (undone.low, undone.high) == (-0.5, 0.5) and "cut where" in undone.note
    assert rows["fig7-object"].verdict.startswith("cannot tell (about ")
    depth = rows["fig2-classes"].reading
    assert -1 <= depth.low <= depth.high <= 1
    order = rows["fig4-order"].reading
    assert order.high == pytest.approx(1.05 + 0.05 * 12.706, abs=1e-3)  # a slope has no end
    upper = rows["fig4-upper"].reading  # of 4 epochs: 1.05 of at most 2
    assert upper.high == pytest.approx(1.05 + 0.05 * 12.706, abs=1e-3)


def test_settling_without_rewind_tells_what_it_can(tmp_path):
    run = finished_run(tmp_path / "run")
    write_settling_slopes(run, rewind=False)
    rows = by_id(write_paper(run, size="saved-only"))
    assert rows["fig4-order"].verdict == "cannot tell"
    assert "rewind not measured" in rows["fig4-order"].reading.note
    assert rows["fig4-upper"].reading is not None


def test_a_table_of_another_version_of_its_measure_is_made_anew(tmp_path, monkeypatch):
    run, anew = finished_run(tmp_path / "run"), []
    write_everything(run)

    def planned(run, chosen, wanted, *others):
        anew.append(chosen[0].name)
        return SimpleNamespace(images=10)

    monkeypatch.setattr(paper_filling, "plan_of_run", planned)
    monkeypatch.setattr(paper_filling, "measure_runs", lambda *all: SimpleNamespace(failed={}))
    path = measures_folder(run.folder) / "controls.json"
    for version in (1, find_measure("controls").version):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"asked": {"version": version}}))
        anew.clear()
        saved = fill(run, "quick", None)
        assert ("controls" in anew) == (version == 1) and "probes" not in anew
        assert "controls" in saved.measures  # rather the old one than none
    assert not is_current(replace(saved.measures["probes"], meta={"asked": {"version": 0}}))


def test_a_run_of_its_last_epoch_alone_is_asked_for_that(tmp_path, monkeypatch):
    run, asked = finished_run(tmp_path / "run"), {}

    def planned(run, chosen, wanted, *others):
        asked[chosen[0].name] = wanted.at
        return SimpleNamespace(images=10)

    monkeypatch.setattr(paper_filling, "plan_of_run", planned)
    monkeypatch.setattr(paper_filling, "measure_runs", lambda *all: SimpleNamespace(failed={}))
    fill(run, "quick", None)
    assert asked["invariance"] == asked["probes"] == (0, "last")
    assert "--at 0 last" in command_of("probes", "quick")
    shutil.rmtree(run.checkpoints / "0")
    fill(run, "quick", None)
    assert asked["invariance"] == asked["probes"] == asked["controls"] == ("last",)
    assert "--at last" in command_of("probes", "quick", untrained=False)
    alone = SimpleNamespace(evolved=lambda: SimpleNamespace(steps=(40,)))
    with pytest.raises(paper_readings.Lacking, match="the evolution has one alone"):
        paper_readings.jumps_are_images(alone)


def test_evolution_alone_gives_what_pictures_can_tell(tmp_path):
    run = finished_run(tmp_path / "run")
    rows = by_id(write_paper(run, size="saved-only"))
    evolution = run.evolution()
    # Another way to the same number: by hand over the tiles, map by map.
    expected = []
    for layer in evolution.layers:
        for map_ in evolution.maps(layer):
            likeness = {True: [], False: []}
            for before, after in zip(evolution.steps, evolution.steps[1:], strict=False):
                [row] = evolution.rows(
                    layer=layer, map=map_, step=after, selection="top", rank=0
                ) or [None]
                old = evolution.tiles(layer, before).get(("top", map_, 0))
                new = evolution.tiles(layer, after).get(("top", map_, 0))
                if row and row["jumped"] is not None and old and new:
                    pair = old.projection.ravel(), new.projection.ravel()
                    likeness[row["jumped"]].append(np.corrcoef(*pair)[0, 1])
            if likeness[True] and likeness[False]:
                expected.append(np.mean(likeness[False]) - np.mean(likeness[True]))
    reading = rows["fig4-jumps"].reading
    assert reading.n == len(expected) > 1
    assert reading.value == pytest.approx(np.mean(expected), rel=1e-5)
    assert rows["fig2-parts"].reading is not None
    assert rows["fig2-grouping"].verdict == "not measured"
    assert np.isnan(correlation(np.ones(3), np.arange(3)))


def test_alike_and_unlike_pictures_are_told_apart():
    generator = np.random.default_rng(0)
    shape = generator.normal(size=(9, 9, 3))

    class Made:
        layers, steps = ("conv1", "conv2"), (0,)

        def tiles(self, layer, step):
            alike = layer == "conv1"

            class Tile:
                def __init__(self):
                    self.projection = shape
                    noise = generator.uniform(0, 255, (9, 9, 3))
                    self.patch = (np.abs(shape) * 40 if alike else noise).astype(np.uint8)

            return {("top", map_, rank): Tile() for map_ in range(4) for rank in range(5)}

    saved = paper_readings.Saved(evolution=Made())
    vary, agree = paper_readings.patches_vary(saved), paper_readings.projections_agree(saved)
    assert vary.value > 0.8 and vary.low > 0
    assert agree.value > 0.8 and agree.low > 0


def test_transfers_fill_the_tables_and_their_figure(tmp_path):
    run = finished_run(tmp_path / "run")
    folder = run.folder / "transfer"
    folder.mkdir()
    rows = [
        {"arm": arm, "step": step, "images_per_class": count, "fold": None, "value": value,
         "low": value - 0.02, "high": value + 0.02, "n": 5, "classes": 40}
        for arm, step, count, value in (
            ("pretrained", 400, 15, 0.8), ("scratch", None, 15, 0.3), ("difference", 0, 15, 0.01),
            ("difference", 400, 5, 0.4), ("difference", 400, 15, 0.5))
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / "caltech101-40.parquet")
    few = {"value": 0.1, "low": -0.1, "high": 0.3, "n": 5}
    (folder / "caltech101-40.json").write_text(json.dumps({"figures": {"few_minus_scratch": few}}))
    made = by_id(write_paper(run, size="saved-only"))
    assert made["table4-caltech101"].reading.value == 0.5
    assert "weak control" not in made["table4-caltech101"].reading.note
    assert made["table4-caltech101"].verdict == "holds for this run"
    assert made["fig9-few"].verdict == "cannot tell"  # more folds would share the same images
    assert made["fig9-few"].command == "zfjax transfer --workdir RUN --to caltech101-40"
    assert made["table5-caltech256"].verdict == "not measured"
    untrained = [{**row, "classes": 4} for row in rows]
    pq.write_table(pa.Table.from_pylist(untrained), folder / "caltech101-40.parquet")

    def rows_of(*names):
        rows = list(transfer_statements(open_transfers(run.folder, names)))
        assert len({row.id for row in rows}) == len(rows)
        return {row.id: row for row in rows}

    weak = rows_of()["table4-caltech101"].reading.note
    assert "A weak control: the network from scratch is right on 30.0%, where chance" in weak
    for end in ("parquet", "json"):
        shutil.copy(folder / f"caltech101-40.{end}", folder / f"caltech101-x.{end}")
    twice = rows_of()
    assert "fig9-few-caltech101-x" in twice
    second = twice["table4-caltech101-caltech101-x"]
    assert second.claim.endswith("(caltech101-x)")  # no two cards alike
    heads = [row for row in rows if row["arm"] == "pretrained"]
    pq.write_table(pa.Table.from_pylist(heads), folder / "caltech101-x.parquet")
    assert not any("caltech101-x" in name for name in rows_of())  # heads alone beat nothing
    alone = rows_of("caltech101-x")["table4-caltech101"]
    assert "no network trained from scratch" in alone.why and alone.command
    # One size has no curve, and a transfer without a control is filled by the command without it.
    asked = {"to": "caltech101-40", "layer": "fc6", "images_per_class": [30], "folds": 5,
             "test_per_class": 50, "seed": 0, "training_steps": 100, "batch_size": 32,
             "learning_rates": [0.02], "remove_overlaps": False,
             "data": {"split": "train"}}  # fmt: skip
    meta = {"asked": asked, "epochs": [4.0], "scratch": False}
    meta |= {"figures": {"few_minus_scratch": {**few, "few": 30, "many": 30}}}
    (folder / "caltech101-40.json").write_text(json.dumps(meta))
    alone = rows_of()["fig9-few"]
    assert alone.verdict == "not measured" and "--images-per-class 6 30" in alone.command
    assert alone.command.endswith("--name curve")
    pq.write_table(pa.Table.from_pylist(untrained[:1]), folder / "caltech101-40.parquet")
    bare = rows_of("caltech101-40")
    for name in ("table4-caltech101", "fig9-few"):
        assert "made with --no-scratch" in bare[name].why
        assert bare[name].command.endswith("--split train --at 4")
    assert paper_transfers.transfer_command("caltech101-40", meta).endswith(" --no-scratch")
    for text in ("[]", "1"):
        (folder / "caltech101-40.json").write_text(text)
        with pytest.raises(ZfjaxError, match="caltech101-40.json is no record of a transfer"):
            rows_of()
        with pytest.raises(ZfjaxError, match="caltech101-40.json is no record of a transfer"):
            open_transferred(run.folder, "caltech101-40")
    (folder / "caltech101-40.json").write_text(json.dumps(meta))
    twice = write_paper(run, size="saved-only")
    assert len(by_id(twice)) == len(twice.rows)
    with pytest.raises(ZfjaxError, match="--transfer flowers: .* not transferred .* caltech101-40"):
        write_paper(run, transfer="flowers", size="saved-only")


def bad(capsys, *words):
    assert main(["paper", *map(str, words)]) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said and len(said.strip().splitlines()) <= 2
    return said


def test_a_transfer_is_asked_for_as_it_was_asked(tmp_path):
    words = (
        "--workdir RUN --to flowers --images-per-class 5 --folds 3 --steps 100"
        " --learning-rates 0.02 0.06 --remove-overlaps --layer fc6 --at 0 4 --name few"
    ).split()
    options = build_parser().parse_args(["transfer", *words])
    asked = {"to": "flowers", "layer": "fc6", "images_per_class": [5], "folds": 3,
             "test_per_class": 50, "seed": 0, "training_steps": 100, "batch_size": 32,
             "learning_rates": [0.02, 0.06], "remove_overlaps": True,
             "data": {"split": "train"}}  # fmt: skip
    meta = {"asked": asked, "epochs": [0.0, 4.0]}
    line = paper_transfers.transfer_command("flowers-few", meta).split()
    assert line[0] == "zfjax"
    again = build_parser().parse_args(line[1:])
    for name in ("to", "images_per_class", "folds", "steps", "layer", "name", "remove_overlaps"):
        assert getattr(again, name) == getattr(options, name)
    assert again.learning_rates == options.learning_rates and again.at == ["0", "4"]


def test_why_measures_are_missing_is_told_once(tmp_path, monkeypatch, capsys):
    run = finished_run(tmp_path / "run")
    errors = {"probes": "There is no data set.", "census": "There is no data set."}
    monkeypatch.setattr(papers, "fill", lambda *words: Saved(errors=errors))
    assert main(["paper", "--workdir", str(run.folder)]) == 0
    assert capsys.readouterr().out.count("Not measured: probes, census: There is no data set.") == 1
    assert main(["paper", "--workdir", str(run.folder), "--saved-only"]) == 0
    assert "There is no data set" not in capsys.readouterr().out


def test_bad_input_is_one_clear_sentence(measured, tmp_path, capsys):
    at = ("--workdir", measured.folder, "--saved-only")
    assert "--quick and --full say" in bad(
        capsys, "--workdir", measured.folder, "--quick", "--full"
    )
    assert "--full and --saved-only say" in bad(capsys, *at, "--full")
    assert "is not a run" in bad(capsys, "--workdir", tmp_path / "nowhere")
    grid = tmp_path / "no-grid"
    grid.mkdir()
    assert "there is no ablation (no ablation.json)" in bad(capsys, *at, "--ablation", grid)
    assert "this is a run; give the folder of a grid" in bad(
        capsys, *at, "--ablation", measured.folder
    )
    assert "zfjax transfer --workdir" in bad(capsys, *at, "--transfer", "flowers")
    assert "names" in bad(capsys, *at, "--seeds-of", measured.folder)
    unfinished = finished_run(tmp_path / "unfinished")
    (unfinished.checkpoints / str(unfinished.last_step)).rmdir()
    said = bad(capsys, "--workdir", unfinished.folder, "--saved-only")
    assert "is not finished: epoch 3 of 4 is saved" in said and "zfjax train --workdir" in said
    other = finished_run(tmp_path / "other", seed=1)
    config = replace(other.config, data=replace(other.config.data, name="others"))
    save_run(replace(other, config=config))
    assert "differs from" in bad(capsys, *at, "--seeds-of", other.folder)
    with pytest.raises(ZfjaxError, match="it is quick, full or saved-only"):
        write_paper(measured, size="small")


def test_a_measure_that_fails_leaves_a_row_that_says_so(measured, monkeypatch):
    def fails(runs, chosen, wanted, home, progress):
        raise ZfjaxError("The disk is full.")

    (measures_folder(measured.folder) / "probes.json").rename(measured.folder / "probes.json")
    monkeypatch.setattr(paper_filling, "plan_of_run", lambda *words: type("P", (), {"images": 9}))
    monkeypatch.setattr(paper_filling, "measure_runs", fails)
    monkeypatch.setattr(paper_filling, "find_measure", lambda name: replace(CENSUS, name=name))
    saved = fill(measured, "quick", None)
    assert saved.errors["probes"] == "The disk is full."
    assert "invariance" in saved.measures
    # One that is damaged is not asked for together with others, which it would stop.
    damaged = measures_folder(measured.folder, "paper") / "probes.json"
    damaged.parent.mkdir()
    damaged.write_text("{")
    shutil.copy(measures_folder(measured.folder) / "probes.parquet", damaged.parent)
    saved = fill(measured, "quick", None)
    assert "probes.json is no record of a measure; delete it" in saved.errors["probes"]
    shutil.rmtree(damaged.parent)
    (measured.folder / "probes.json").rename(measures_folder(measured.folder) / "probes.json")
    assert "probes" in saved_of(measured, "saved-only").measures


@pytest.mark.slow
@pytest.mark.skipif(find_browser() is None, reason="there is no Chromium")
def test_a_browser_finds_nothing_to_complain_of(paper):
    for name in ("index.html", "questions.html"):
        with Browser() as browser:
            browser.open(paper.folder / name)
            for width in (390, 1400):
                browser.resize(width)
                assert browser.run("document.documentElement.scrollWidth") <= width
            assert browser.errors == []


@pytest.mark.slow
def test_what_is_missing_is_measured_small_and_told(unbroken, tmp_path):
    shutil.copytree(unbroken, tmp_path / "run")
    evolve(tmp_path / "run", maps=3)
    paper = write_paper(tmp_path / "run")
    rows = by_id(paper)
    run = load_run(tmp_path / "run")
    assert not measures_folder(run.folder).exists()
    made = measures_folder(run.folder, "paper")
    assert {"settling", "labels", "rewind", "controls"} <= {path.stem for path in made.iterdir()}
    assert json.loads((made / "settling.json").read_text())["read"] == ["rewind"]
    for name in ("fig4-order", "fig4-lower", "fig2-grouping", "fig2-unit"):
        assert rows[name].reading is not None, (name, rows[name].why)
        assert "--name paper" in rows[name].command
    before = {path: path.stat().st_mtime_ns for path in made.glob("*.json")}
    again = write_paper(tmp_path / "run")
    assert {path: path.stat().st_mtime_ns for path in made.glob("*.json")} == before
    assert [row.record() for row in again.rows] == [row.record() for row in paper.rows]
    said = (paper.folder / "questions.html").read_text()
    assert "One unit's way down" in said.replace("&#39;", "'") and "data:image/webp" in said
    write_paper(tmp_path / "run", size="saved-only")  # what was computed lies there
    assert (paper.folder / "questions.html").read_text() == said
    (paper.folder / "demonstrations.npz").write_bytes(b"PK broken")
    write_paper(tmp_path / "run", size="saved-only")
    said = (paper.folder / "questions.html").read_text()
    assert "zfjax paper --workdir RUN computes it" in said


def test_an_ensemble_is_evaluated_once_and_kept(tmp_path, monkeypatch):
    runs = [finished_run(tmp_path / f"run{seed}", seed) for seed in range(2)]
    calls = []

    def evaluated(own, data_dir):
        calls.append(own)
        return Reading(0.02, 0.01, 0.03, 500, "images", "The mean of 2 networks.")

    monkeypatch.setattr(paper_ensemble, "_evaluated", evaluated)
    assert paper_ensemble.ensemble_gain(runs, "saved-only", None) == (
        None,
        "It is not evaluated yet.",
    )
    assert "no ensemble" in paper_ensemble.ensemble_gain(runs[:1], "quick", None)[1]
    for size in ("quick", "saved-only"):
        gain, why = paper_ensemble.ensemble_gain(runs, size, None)
        assert (gain.value, gain.n, why) == (0.02, 500, "")
    assert len(calls) == 1
    assert ensemble_row(gain).verdict == "holds for these runs"
    monkeypatch.setattr(paper_ensemble, "_evaluated", lambda own, data_dir: 1 / 0)
    (runs[0].folder / paper_ensemble.FILE).write_text("{}")
    assert paper_ensemble.ensemble_gain(runs, "saved-only", None)[0] is None
