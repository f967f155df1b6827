"""meta.json as a value: the file's keys and order, what came later, what is not whole."""

import dataclasses
import json
import tarfile

import pytest

from tests.run.test_record import RECORD
from zfjax.errors import ZfjaxError
from zfjax.files import write_json
from zfjax.network.architecture import Window
from zfjax.report.provenance import report_facts
from zfjax.run.evolution import open_evolution
from zfjax.run.evolution_record import (
    FIELDS,
    Begun,
    EvolutionRecord,
    begun_evolution,
    record_from,
    write_begun,
    write_record,
)

OPTIONAL = {
    *("complete", "format_version", "train_split", "every_rank", "unreadable", "asked", "name")
}
"""Fields that an evolution may lack: they came later, or say nothing."""


@pytest.fixture(scope="module")
def stored():
    """meta.json as zfjax wrote it on 2026-11-26."""
    with tarfile.open(RECORD) as archive:
        return json.loads(archive.extractfile("run/evolution/meta.json").read())


def test_what_is_read_is_written_again_in_one_order(stored, tmp_path):
    record = record_from(tmp_path / "meta.json", stored)
    write_record(tmp_path, record)
    assert record.as_json() == stored, "lists where the file has lists"
    written = json.loads((tmp_path / "meta.json").read_text())
    assert written == stored and set(FIELDS) == set(stored)
    assert list(written) == list(FIELDS) == list(record.as_json())
    assert list(FIELDS) == [
        *("complete", "format_version", "created", "steps", "epochs", "layers", "map_count"),
        *("top", "split", "train_split", "images", "rule", "precision", "every_rank", "seed"),
        *("input_size", "windows", "shapes", "tile_size", "method", "maps", "unreadable"),
        *("dead_share", "purity", "checked", "seconds", "asked", "fingerprint", "name", "command"),
    ]
    assert open_evolution(tmp_path).record == record and open_evolution(tmp_path).meta == (
        record.as_json()
    )


def test_values_are_of_their_types(stored, tmp_path):
    record = record_from(tmp_path, stored)
    assert record.steps == (0, 4) and record.input_size == (16, 16)
    assert record.windows["conv2"] == record.window("conv2") == Window(17, 4, -6)
    assert record.shapes["conv1"] == (8, 8, 6) and record.maps["conv1"] == (3, 4, 5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.top = 3
    blind = dataclasses.replace(record, windows={"conv1": None})
    assert blind.window("conv1").box(7, 3) == (0, 0, 16, 16), "the whole image stands for it"
    assert blind.as_json()["windows"] == {"conv1": None}


@pytest.mark.parametrize("name", FIELDS)
def test_what_is_not_there_has_a_default_or_is_damage(stored, tmp_path, name):
    less = {key: value for key, value in stored.items() if key != name}
    if name in OPTIONAL:
        default = next(
            known.default if known.default is not dataclasses.MISSING else known.default_factory()
            for known in dataclasses.fields(EvolutionRecord)
            if known.name == name
        )
        assert getattr(record_from(tmp_path, less), name) == default
    else:
        with pytest.raises(ZfjaxError, match=f"is damaged: .*{name}.*evolve"):
            record_from(tmp_path, less)


@pytest.mark.slow
def test_what_a_later_version_adds_is_kept_and_named(stored, tmp_path, made):
    record = record_from(tmp_path, {**stored, "whiskers": [7], "<b>": 1})
    assert record.later == {"whiskers": [7], "<b>": 1} and record.as_json()["whiskers"] == [7]
    evolution = dataclasses.replace(
        made.evolution, record=dataclasses.replace(made.evolution.record, later=record.later)
    )
    facts = dict(report_facts(made.run, evolution, None, evolution.steps, {}, True))
    assert facts["Not shown here"].startswith("whiskers, <b>: written by a later version")
    before = dict(report_facts(made.run, made.evolution, None, evolution.steps, {}, True))
    assert "Not shown here" not in before
    with pytest.raises(ZfjaxError, match=r"a newer zfjax \(format 2\); update zfjax"):
        record_from(tmp_path / "meta.json", {**stored, "format_version": 2})


@pytest.mark.parametrize(
    "wrong",
    [
        *([], 3, None, "text", {"complete": True}),
        *({"steps": 4}, {"windows": {"conv1": {"size": 3}}}, {"maps": [1]}, {"shapes": None}),
        {"format_version": "1"},
    ],
)
def test_what_makes_no_sense_is_one_sentence(stored, tmp_path, wrong):
    mixed = {**stored, **wrong} if isinstance(wrong, dict) and "complete" not in wrong else wrong
    write_json(tmp_path / "meta.json", mixed)
    with pytest.raises(ZfjaxError, match=r"meta\.json is damaged"):
        open_evolution(tmp_path)


def test_one_that_is_under_way(stored, tmp_path):
    assert begun_evolution(tmp_path) is None
    write_begun(tmp_path, {"steps": [0]})
    assert begun_evolution(tmp_path) == Begun(False, {"steps": [0]})
    with pytest.raises(ZfjaxError, match="not finished"):
        open_evolution(tmp_path)
    write_record(tmp_path, record_from(tmp_path, stored))
    assert begun_evolution(tmp_path) == Begun(True, stored["asked"])
    for wrong in ([], 7, {"asked": 3}):
        write_json(tmp_path / "meta.json", wrong)
        with pytest.raises(ZfjaxError, match=r"meta\.json is damaged"):
            begun_evolution(tmp_path)
