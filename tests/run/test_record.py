"""What zfjax wrote on 2026-11-26 (golden/record.tar.gz) stays readable, and stays finished."""

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.golden.make_record import ASKED
from zfjax.errors import ZfjaxError
from zfjax.features.evolving import evolve
from zfjax.report.page import write_report
from zfjax.run import checkpoint
from zfjax.run.folder import load_run

pytestmark = pytest.mark.slow

RECORD = Path(__file__).parents[1] / "golden" / "record.tar.gz"


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A folder with RUN as "run" and DATA as "data"."""
    folder = tmp_path_factory.mktemp("record")
    with tarfile.open(RECORD) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_it_is_small_and_names_no_place(record):
    assert RECORD.stat().st_size < 150_000
    for path in record.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(name in content for name in (b"/tmp/", b"/home/", b"/root", b"/Users/"))


def test_the_run_its_checkpoints_and_its_evolution_are_readable(record):
    run = load_run(record / "run")
    assert run.steps == (0, 4) and run.config.model.conv_names == ("conv1", "conv2")
    for step in run.steps:
        parameters = checkpoint.load(run.checkpoints / str(step))
        assert sorted(parameters) == ["conv1", "conv2", "fc3", "fc4"]
        np.testing.assert_array_equal(
            run.evolution().filters[step], np.asarray(parameters["conv1"]["kernel"])
        )
    evolution = run.evolution()
    assert evolution.steps == (0, 4) and evolution.epochs == (0.0, 1.0)
    best = evolution.rows(layer="conv2", step=4, selection="top", rank=0)
    assert len(best) == 8 and all(row["activation"] > 0 for row in best)
    tiles = evolution.tiles("conv2", 4)
    assert {key[1] for key in tiles} == set(evolution.maps("conv2")) and len(tiles) == 9


def test_the_same_request_is_finished_and_another_is_refused(record):
    stamp = (record / "run" / "evolution" / "meta.json").read_bytes()
    said = []
    evolution = evolve(
        record / "run",
        data_dir=str(record / "data"),
        progress=lambda stage, *counts, **figures: said.append(stage),
        **ASKED,
    )
    assert not said and evolution.meta["checked"]["units"] == 30
    assert (record / "run" / "evolution" / "meta.json").read_bytes() == stamp
    with pytest.raises(ZfjaxError, match=r"other settings \(top\)"):
        evolve(record / "run", data_dir=str(record / "data"), **{**ASKED, "top": 3})


def test_evolving_it_again_gives_the_same_table_and_tiles(record, tmp_path):
    shutil.copytree(record / "run", tmp_path / "run")
    before = load_run(record / "run").evolution()
    again = evolve(tmp_path / "run", data_dir=str(record / "data"), name="again", **ASKED)
    assert again.units.drop_columns(["activation", "margin"]).equals(
        before.units.drop_columns(["activation", "margin"])
    )
    np.testing.assert_allclose(again.units["activation"], before.units["activation"], rtol=1e-5)
    for layer in before.layers:
        for key, tile in before.tiles(layer, 4).items():
            np.testing.assert_array_equal(again.tiles(layer, 4)[key].patch, tile.patch)
            np.testing.assert_allclose(
                again.tiles(layer, 4)[key].projection, tile.projection, rtol=2e-3, atol=1e-5
            )


def test_its_report_can_be_written(record, tmp_path):
    shutil.copytree(record / "run", tmp_path / "run")
    page = write_report(load_run(tmp_path / "run")).read_text(encoding="utf-8")
    assert 'id="data"' in page
