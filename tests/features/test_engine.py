"""evolve, project and report on a trained run: the table against brute force, resume, refusals,
hostile names."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.small import CLASSES, make_config, make_data
from zfjax import config as configs
from zfjax.commands.cli import main
from zfjax.data.dataset import open_dataset
from zfjax.errors import ZfjaxError
from zfjax.features import drawing, evolving, searching, strongest, units
from zfjax.features.evolving import evolve
from zfjax.features.projecting import project
from zfjax.inputs import preparation_of
from zfjax.network.model import feature_maps
from zfjax.report.page import write_report
from zfjax.run import checkpoint
from zfjax.run.folder import load_run
from zfjax.run.summary import update_summary
from zfjax.training.loop import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    data_dir = make_data(folder)
    train(make_config(data_dir), folder / "run", devices=1)
    return folder / "run"


@pytest.fixture(scope="module")
def evolution(trained):
    return evolve(trained, maps=3, top=4)


def maxima(run, step, layer):
    """Image maxima [images, maps] of the training split, one image at a time."""
    dataset = open_dataset("small", run.config.data.dir)
    parameters = checkpoint.load(run.checkpoints / str(step))
    rows = []
    for image_id in range(dataset.count("train")):
        views = dataset.read("train", [image_id], (18, 18))[0].image[None]
        inputs = preparation_of(run.config).inputs(views, None)
        rows.append(
            np.asarray(feature_maps(run.config.model, parameters, inputs)[layer]).max(
                axis=(0, 1, 2)
            )
        )
    return np.stack(rows)


def test_table_equals_brute_force(trained, evolution):
    run = load_run(trained)
    for step in (0, 12):
        expected = maxima(run, step, "conv2")
        for map_ in range(8):
            found = evolution.rows(step=step, layer="conv2", map=map_, selection="top")
            order = np.lexsort((np.arange(len(expected)), -expected[:, map_]))[:4]
            live = [int(image) for image in order if expected[image, map_] > 0]
            assert [row["image_id"] for row in found] == live
            np.testing.assert_allclose(
                [row["activation"] for row in found], expected[live, map_], rtol=1e-5
            )
            low = evolution.rows(step=step, layer="conv2", map=map_, selection="low")
            weakest = sorted(value for value in expected[:, map_] if value > 0)[:4]
            np.testing.assert_allclose([row["activation"] for row in low], weakest, rtol=1e-5)


def test_drawn_units_have_tiles_places_and_boxes(trained, evolution):
    run = load_run(trained)
    for layer in evolution.layers:
        for step in evolution.steps:
            tiles = evolution.tiles(layer, step)
            rows = {
                (row["selection"], row["map"], row["rank"]): row
                for row in evolution.rows(step=step, layer=layer)
            }
            placed = {key: row for key, row in rows.items() if row["y"] is not None}
            assert placed.keys() == {key for key in rows if key[0] in ("top", "fixed")}, (
                "strongest ones have places"
            )
            ranks = 4 if step == evolution.steps[-1] else 1
            drawn = {
                key
                for key in placed
                if key[1] in evolution.maps(layer) and (key[0] == "fixed" or key[2] < ranks)
            }
            assert tiles.keys() == drawn
            for row in placed.values():
                box = run.config.model.window(layer).box(row["y"], row["x"])
                assert (row["box_y0"], row["box_x0"], row["box_y1"], row["box_x1"]) == box
            for tile in tiles.values():
                assert (
                    np.abs(tile.projection).max() > 0 and tile.patch.shape == tile.projection.shape
                )


def test_fixed_rows_hold_the_last_winner_and_jumps_compare_with_the_step_before(evolution):
    last = evolution.steps[-1]
    for layer in evolution.layers:
        winners = {
            (row["step"], row["map"]): row
            for row in evolution.rows(layer=layer, selection="top", rank=0)
        }
        for row in evolution.rows(layer=layer, selection="fixed"):
            assert row["image_id"] == winners[last, row["map"]]["image_id"]
            best = winners.get((row["step"], row["map"]))
            assert best is not None and row["activation"] <= best["activation"] * (1 + 1e-5)
        for (step, map_), row in winners.items():
            before = winners.get((step - 4, map_))
            assert row["jumped"] == (
                None if before is None else before["image_id"] != row["image_id"]
            )


def test_no_image_is_looked_at_twice_and_no_unit_projected_twice(trained, evolution, monkeypatch):
    """The search has followed the fixed images; where one is the strongest, it is one unit."""
    projected = []
    honest = drawing.project_units

    def counted(subject, parameters, way, chosen, *words):
        projected.append([(unit.map, unit.image_id, unit.y, unit.x) for unit in chosen])
        return honest(subject, parameters, way, chosen, *words)

    monkeypatch.setattr(drawing, "project_units", counted)
    monkeypatch.setattr(strongest, "image_maxima", None)  # whoever calls it fails
    again = evolve(trained, maps=3, top=4, name="once")
    assert again.units.equals(evolution.units)
    assert all(len(set(units)) == len(units) for units in projected)
    assert sum(map(len, projected)) < again.meta["checked"]["units"]
    last = again.steps[-1]
    for layer in again.layers:
        tiles, others = again.tiles(layer, last), evolution.tiles(layer, last)
        assert tiles.keys() == others.keys()
        for (selection, map_, rank), tile in tiles.items():
            if selection == "fixed":
                best = tiles["top", map_, 0]
                np.testing.assert_array_equal(tile.projection, best.projection)
                np.testing.assert_array_equal(tile.patch, best.patch)
            np.testing.assert_array_equal(tile.projection, others[selection, map_, rank].projection)


def test_every_recorded_activation_was_reproduced(evolution):
    drawn = sum(
        len(evolution.tiles(layer, step)) for layer in evolution.layers for step in evolution.steps
    )
    assert evolution.meta["checked"]["units"] == drawn > 0
    assert evolution.meta["checked"]["worst"] <= 1e-5


def test_places_are_where_the_maps_are_strongest(trained, evolution):
    run = load_run(trained)
    dataset = open_dataset("small", run.config.data.dir)
    parameters = checkpoint.load(run.checkpoints / "12")
    for row in evolution.rows(step=12, layer="conv2", selection="top")[::5]:
        views = dataset.read("train", [row["image_id"]], (18, 18))[0].image[None]
        inputs = preparation_of(run.config).inputs(views, None)
        one = np.asarray(feature_maps(run.config.model, parameters, inputs)["conv2"])[
            0, :, :, row["map"]
        ]
        assert np.unravel_index(one.argmax(), one.shape) == (row["y"], row["x"])


def test_questions_that_have_no_answer_are_told_so(evolution):
    for ask, says in (
        (lambda: evolution.rows(lyer="conv1"), "no column 'lyer'"),
        (lambda: evolution.rows(layer="conv9"), "no layer 'conv9'"),
        (lambda: evolution.settled("conv9"), "no layer 'conv9'"),
        (lambda: evolution.tiles("conv1", 3), "no step 3; its steps are 0, 4, 8, 12"),
    ):
        with pytest.raises(ZfjaxError, match=says):
            ask()


@pytest.mark.usefixtures("spare_of_figures")
def test_every_rank_is_drawn_and_shown_at_every_step(trained):
    evolution = evolve(
        trained, maps=2, top=3, at=["0", "last"], every_rank=True, name="ranks", rule="guided+norm"
    )
    assert evolution.every_rank
    for step in evolution.steps:
        ranks = {
            rank for selection, _, rank in evolution.tiles("conv2", step) if selection == "top"
        }
        assert ranks == {0, 1, 2}
    page = write_report(load_run(trained), name="ranks", photos=False).read_text()
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    for layer in data["layers"]:
        for map_ in layer["maps"]:
            assert map_["ranks"][-1] == map_["best"] and [shots[:1] for shots in map_["ranks"]] == [
                [top] if top else [] for top in map_["top"]
            ]
    assert (
        data["rule"] == "guided+norm"
        and "differentiated" in page
        and "guided+norm projections" in page
    )
    assert "zfjax report --workdir RUN --name ranks --no-photos" in page


def test_settled_ends_at_one_and_identical_checkpoints_never_jump(evolution):
    for layer in evolution.layers:
        assert evolution.settled(layer)[evolution.steps[-1]] == 1.0
    values, ids = np.ones((2, 1, 3), np.float32), np.arange(3).reshape(1, 1, 3).repeat(2, 0)
    top = units.Top(values, ids, np.zeros((2, 1, 3), np.int32))
    assert units.jumped(top, 1).tolist() == [False] * 3


def test_a_stopped_search_goes_on_to_the_same_table(trained, evolution, monkeypatch):
    class Stop(Exception):
        pass

    monkeypatch.setattr(strongest, "search_batch", lambda network: 1)
    monkeypatch.setattr(searching, "SAVE_SECONDS", -1.0)
    seen = []

    def stop_after_two(stage, done, total, **figures):
        if stage == "searching":
            seen.append(done)
            if len(seen) == 2:
                raise Stop

    with pytest.raises(Stop):
        evolve(trained, maps=3, top=4, name="stopped", progress=stop_after_two)
    with pytest.raises(ZfjaxError, match="not finished"):
        load_run(trained).evolution("stopped")
    resumed = []
    again = evolve(
        trained,
        maps=3,
        top=4,
        name="stopped",
        progress=lambda stage, done, total, **_: (
            resumed.append(done) if stage == "searching" else None
        ),
    )
    assert resumed[0] > 8
    assert again.units.equals(evolution.units)


def test_all_other_settings_are_refused_and_the_same_return_at_once(trained, evolution):
    with pytest.raises(ZfjaxError, match="other settings"):
        evolve(trained, maps=2, top=4)
    calls = []
    assert evolve(trained, maps=3, top=4, progress=lambda *a, **k: calls.append(a)).units.equals(
        evolution.units
    )
    assert not calls


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"maps": 7}, "conv1 has 6 maps"),
        ({"layers": ["conv7"]}, "no convolution 'conv7'"),
        ({"top": 0}, "--top"),
        ({"at": ["9"]}, "saved epochs are 0, 1, 2, 3"),
        ({"at": ["soon"]}, "not an epoch"),
        ({"at": ["step:3"]}, "no checkpoint was saved"),
        ({"split": "odd"}, "odd"),
        ({"rule": "magic"}, "no rule 'magic'"),
        ({"name": "../up"}, "--name"),
        ({"images": 0}, "--images"),
    ],
)
def test_what_cannot_be_evolved_is_said(trained, options, words):
    with pytest.raises(ZfjaxError) as error:
        evolve(trained, **{"maps": 3, "name": "refused", **options})
    assert words in str(error.value)


def test_another_data_set_is_refused(tmp_path, trained):
    other = make_data(tmp_path, per_class=9)
    with pytest.raises(ZfjaxError, match="not the one this run was trained on"):
        evolve(trained, maps=3, data_dir=str(other), name="other")


def test_damaged_checkpoint_is_named(tmp_path, trained):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    for path in (folder / "checkpoints" / "8").rglob("*"):
        if path.is_file() and "/d/" in str(path):
            path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ZfjaxError, match="checkpoints/8"):
        evolve(folder, maps=3, name="damaged")


def test_report_of_a_real_run_is_harmless_and_self_contained(trained, evolution):
    run = load_run(trained)
    summary = update_summary(run, evolution)
    assert set(summary["purity"]) == {"conv1", "conv2"} and 0 <= summary["dead_share"] <= 1
    page = write_report(run).read_text()
    assert "<script>alert(1)" not in page
    assert CLASSES[0] in {row["label_name"] for row in evolution.rows(selection="top")}
    assert str(trained) not in page and run.config.data.dir not in page
    assert "https://" not in page and "http://" not in page.replace("http://www.w3.org/", "")


def test_project_finds_the_strongest_place_of_any_image(tmp_path, trained):
    picture = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)).save(picture)
    found = project(trained, picture, "conv2", 3, at=["0", "last"])
    assert [one.epoch for one in found] == [0, 3]
    assert found[0].tile.projection.shape == (*load_run(trained).config.model.tile_size("conv2"), 3)
    with pytest.raises(ZfjaxError, match="maps 0 to 7"):
        project(trained, picture, "conv2", 8)
    (tmp_path / "no.png").write_bytes(b"no picture")
    with pytest.raises(ZfjaxError, match="not an image"):
        project(trained, tmp_path / "no.png", "conv2", 0)


def test_project_draws_a_winner_again_by_its_number(trained, evolution, capsys):
    row = evolution.rows(step=12, layer="conv2", selection="top", rank=0)[0]
    arguments = [
        "--workdir",
        str(trained),
        "--image-id",
        str(row["image_id"]),
        "--layer",
        "conv2",
        "--map",
        str(row["map"]),
    ]
    assert main(["project", *arguments, "--at", "last"]) == 0
    assert main(["project", *arguments, "--at", "last", "--rule", "gradient"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"activation {row['activation']:.4g} at y {row['y']}, x {row['x']}" in lines[0]
    assert lines[1] != lines[3] and all(Path(line).is_file() for line in (lines[1], lines[3]))
    assert main(["project", *arguments, "--out", "nowhere/strip.png"]) == 1
    assert main(["project", *arguments, "--out", "strip.xyz"]) == 1
    said = capsys.readouterr().err
    assert "there is no folder" in said and "ends in .png" in said


def command(*arguments, **options):
    line = [sys.executable, "-m", "zfjax", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, **options)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--preset", "nope", "--workdir", "x"], "no preset 'nope'"),
        (
            ["train", "--preset", "demo", "--workdir", "x", "--model.conv9.kernel", "3"],
            "no flag --model.conv9.kernel: there is no layer 'conv9'; the layers are conv5, conv4",
        ),
        (["train", "--preset", "demo", "--workdir", "x", "--epochs", "many"], "expected int"),
        (
            ["train", "--preset", "demo", "--workdir", "x", "--model.conv1.kernel", "300"],
            "does not fit",
        ),
        (["train", "--preset", "demo", "--workdir", "gs://bucket/x"], "not a folder"),
        (["train", "--workdir", "x"], "--preset"),
        (["report", "--workdir", "x"], "is not a run"),
        (["info"], "--preset NAME or --workdir RUN"),
    ],
)
def test_mistakes_end_in_a_sentence(tmp_path, arguments, words):
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode not in (0, None)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()


def test_training_on_a_full_place_ends_in_a_sentence_and_goes_on_later(tmp_path):
    record = tmp_path / "config.json"
    record.write_text(json.dumps(configs.to_json(make_config(make_data(tmp_path), epochs=1))))
    arguments = [
        "train",
        "--config",
        str(record),
        "--workdir",
        str(tmp_path / "run"),
        "--devices",
        "1",
    ]
    code = (
        "import resource, signal, sys\nfrom zfjax.commands.cli import"
        " main\nresource.setrlimit(resource.RLIMIT_FSIZE, (3000,"
        " 3000))\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nsys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and "size limit" in done.stderr, done.stderr
    assert command(*arguments).returncode == 0
    assert load_run(tmp_path / "run").steps == (0, 4)


def test_a_read_only_or_full_place_loses_nothing(trained, evolution, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    before = (folder / "evolution" / "meta.json").read_bytes()
    code = (
        "import resource, signal, sys\nfrom zfjax.commands.cli import"
        " main\nresource.setrlimit(resource.RLIMIT_FSIZE, (4096,"
        " 4096))\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nsys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "report", "--workdir", str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "MPLCONFIGDIR": str(tmp_path)},
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and "size limit" in done.stderr
    assert (folder / "evolution" / "meta.json").read_bytes() == before
    assert not list(folder.glob("report/.*.tmp"))


def test_an_activation_that_is_not_reproduced_is_an_error(trained, monkeypatch):
    honest = evolving.search_on

    def altered(*arguments, **options):
        found, seconds = honest(*arguments, **options)
        return dataclasses.replace(found, top_value=found.top_value * np.float32(1.0001)), seconds

    monkeypatch.setattr(evolving, "search_on", altered)
    with pytest.raises(ZfjaxError, match="the search recorded"):
        evolve(trained, maps=3, name="altered")


def test_info_says_what_a_speed_needs(capsys):
    asked = ["info", "--preset", "imagenet-modern", "--batch-size", "256", "--data.dir", "/nowhere"]
    assert main([*asked, "--images-per-second", "5000"]) == 0
    told = capsys.readouterr().out
    assert (
        "batch 256" in told
        and "about 10 cores to decode full-size JPEGs, 5 for those imported" in told
    )
    assert "give one that is to be fed faster --data.processes" in told
    assert f"takes {90 * 1_281_167 / 5000 / 3600:.1f} hours" in told
    assert main([*asked, "--images-per-second", "-3"]) == 1 and "above 0" in capsys.readouterr().err
    assert (
        main([*asked, "--frobnicate", "3"]) == 1
        and "There is no flag --frobnicate" in capsys.readouterr().err
    )
