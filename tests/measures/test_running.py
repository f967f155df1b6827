"""The pass of the measures on a small run: against brute force, stopped and gone on with, beside
the search, of one's own, and what is refused.
"""

import dataclasses
import importlib
import json
import shutil
import sys

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure

import zfjax
from tests.data_helpers import altered
from tests.small import make_config
from zfjax.commands.cli import main
from zfjax.data.pipeline import evaluation_batches
from zfjax.data.reading import Reading
from zfjax.errors import ZfjaxError
from zfjax.features import searching, strongest
from zfjax.features.evolving import evolve
from zfjax.features.passing import Route
from zfjax.inputs import open_data, preparation_of
from zfjax.measures import boarding, running
from zfjax.measures.along import evolve_along
from zfjax.measures.choosing import find_measure
from zfjax.measures.keeping import Keeping
from zfjax.measures.planning import Chosen, Wanted, plan_of
from zfjax.measures.probing import Gathered, Probing, probe_ids
from zfjax.measures.protocol import Measure, Pictures, Quantity, Told
from zfjax.measures.running import measure, plan_of_run
from zfjax.network.model import feature_maps
from zfjax.run.folder import load_run
from zfjax.run.measured import measure_record, open_measured
from zfjax.run.probe import Probe
from zfjax.subject import images_of
from zfjax.training.loop import train

pytestmark = pytest.mark.slow
OWN = "experiments.own_measure:measure"
IMAGES = 36


@pytest.fixture
def run(unbroken, tmp_path):
    return shutil.copytree(unbroken, tmp_path / "run")


@pytest.fixture(scope="module")
def measured(unbroken, tmp_path_factory):
    """A run with a probe and measures: to read, never to change."""
    folder = shutil.copytree(unbroken, tmp_path_factory.mktemp("measured") / "run")
    names = ("census", "labels", "settling", OWN)
    assert main(["measure", "--workdir", str(folder), *names]) == 0
    return folder


@pytest.fixture(scope="module")
def answers(unbroken):
    """{step: (maxima, means)} [images, maps] of all layers, by whole feature maps."""
    read = load_run(unbroken)
    dataset, config = open_data(read.config), read.config
    reading = Reading((config.data.view,) * 2)
    [batch] = evaluation_batches(dataset, "train", reading, batch_size=IMAGES)
    subject = running.subject_of(read)
    inputs = preparation_of(config).inputs(batch["image"], None)
    found = {}
    for step in read.steps:
        maps = feature_maps(
            config.model, subject.parameters(step), inputs, precision=jax.lax.Precision.HIGHEST
        )
        layers = [np.asarray(maps[name]) for name in ("conv1", "conv2")]
        found[step] = tuple(
            np.concatenate([getattr(each, how)(axis=(1, 2)) for each in layers], axis=1)
            for how in ("max", "mean")
        )
    return found


def table_of(folder, name):
    return pq.read_table(folder / "measures" / f"{name}.parquet")


def test_the_probe_is_what_the_maps_give(measured, answers):
    probe = Probe(measured / "measures" / "probe.npz")
    assert probe.ids.tolist() == list(range(IMAGES)) and probe.kinds == ("maxima", "means")
    for step, (maxima, means) in answers.items():
        for kind, expected in (("maxima", maxima), ("means", means)):
            np.testing.assert_allclose(
                probe.values(step, kind=kind), expected, atol=2**-11 * np.abs(expected).max()
            )
        keys, values = probe.keys(step, "conv2"), probe.values(step, "conv2")
        order = np.argsort(values, axis=0, kind="stable")
        np.testing.assert_array_equal(np.argsort(keys, axis=0, kind="stable"), order)


def test_what_a_measure_keeps_is_what_the_maps_give(measured, answers):
    table = open_measured(measured / "measures", "brightness")
    for step, (maxima, _) in answers.items():
        shares = np.concatenate([table.of_maps("fires", name)[step] for name in ("conv1", "conv2")])
        np.testing.assert_allclose(shares, (maxima > 0).mean(axis=0))
        largest = np.concatenate(
            [table.of_maps("largest", name)[step] for name in ("conv1", "conv2")]
        )
        np.testing.assert_allclose(largest, maxima.max(axis=0), rtol=1e-5)


def test_a_measure_that_is_there_is_not_made_again(measured, monkeypatch, capsys):
    def never(*arguments, **options):
        raise AssertionError("looked again")

    monkeypatch.setattr(running, "ride_on", never)
    monkeypatch.setattr(boarding, "write_measure", never)
    assert main(["measure", "--workdir", str(measured), "labels", "census"]) == 0
    assert "no image excites" in capsys.readouterr().out


def test_a_kept_probe_serves_later_measures(measured, tmp_path, monkeypatch):
    folder = shutil.copytree(measured, tmp_path / "run")
    (folder / "measures" / "census.json").unlink()
    monkeypatch.setattr(running, "ride_on", None)
    again = measure(folder, "census")
    assert again.table.equals(table_of(measured, "census"))


@pytest.mark.parametrize("batch, devices", [(1, 8), (2, 1)])
def test_stopped_and_gone_on_with_gives_the_same(run, measured, monkeypatch, batch, devices):
    monkeypatch.setattr(strongest, "search_batch", lambda network: batch)
    monkeypatch.setattr(searching, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(
        searching,
        "local_mesh",
        lambda: jax.sharding.Mesh(np.array(jax.local_devices()[:devices]), ("batch",)),
    )
    seen = []

    def stop(stage, done, total, **figures):
        seen.append(done)
        if stage == "measuring" and done > 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(run, "census", progress=stop)
    assert (run / "measures" / "pass.npz").exists()
    assert not (run / "measures" / "census.json").exists()
    went_on = []

    def note(stage, done, total, **figures):
        went_on.append((stage, done))

    census = measure(run, "census", progress=note)
    assert min(done for stage, done in went_on if stage == "measuring") > 16
    kept = Probe(measured / "measures" / "probe.npz")
    probe = Probe(run / "measures" / "probe.npz")
    for step in kept.steps:
        np.testing.assert_allclose(probe.values(step), kept.values(step), rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(
        census.of_maps("firing", "conv2")[kept.steps[-1]],
        open_measured(measured / "measures", "census").of_maps("firing", "conv2")[kept.steps[-1]],
    )
    left = {path.name for path in (run / "measures").iterdir()}
    assert not {name for name in left if "scratch" in name or name == "pass.npz"}


def test_along_with_the_search_both_are_what_they_are_alone(run, measured, unbroken, tmp_path):
    alone = shutil.copytree(unbroken, tmp_path / "alone")
    evolve(alone, maps=2, top=3)
    arguments = ["evolve", "--workdir", str(run), "--maps", "2", "--top", "3", "--measure"]
    assert main([*arguments, "settling", "census", OWN, "--brightness.above", "0.0"]) == 0
    units = (folder / "evolution" / "units.parquet" for folder in (run, alone))
    assert pq.read_table(next(units)).equals(pq.read_table(next(units)))
    for name in ("settling", "census", "brightness"):
        assert table_of(run, name).equals(table_of(measured, name)), name
    assert not list((run / "evolution").glob("*scratch*")) and not list(run.glob("*/*.part.npz"))
    # Another one, of a finished evolution: added, not refused.
    assert main([*arguments, "labels"]) == 0
    assert table_of(run, "labels").equals(table_of(measured, "labels"))


def test_a_search_with_measures_goes_on_with_them(run, measured, monkeypatch, capsys):
    monkeypatch.setattr(strongest, "search_batch", lambda network: 1)
    monkeypatch.setattr(searching, "SAVE_SECONDS", -1.0)

    def stop(stage, done, total, **figures):
        if stage == "searching" and done > 16:
            raise KeyboardInterrupt

    asked = {"maps": 2, "top": 3}
    census = [Chosen(find_measure("census"), find_measure("census").options)]
    with pytest.raises(KeyboardInterrupt):
        evolve_along(run, census, asked, progress=stop)
    went_on = []

    def note(stage, done, total, **figures):
        went_on.append((stage, done))

    _, results = evolve_along(run, census, asked, progress=note)
    assert min(done for stage, done in went_on if stage == "searching") > 16
    kept, probe = (Probe(each / "measures" / "probe.npz") for each in (measured, run))
    assert probe.ids.tolist() == kept.ids.tolist() and not results.failed
    assert "begins anew" not in capsys.readouterr().err


def test_a_search_stopped_without_measures_says_that_it_begins_anew(run, monkeypatch, capsys):
    monkeypatch.setattr(strongest, "search_batch", lambda network: 1)
    monkeypatch.setattr(searching, "SAVE_SECONDS", -1.0)

    def stop(stage, done, total, **figures):
        if stage == "searching" and done > 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evolve(run, maps=2, top=3, progress=stop)
    census = [Chosen(find_measure("census"), find_measure("census").options)]
    evolve_along(run, census, {"maps": 2, "top": 3}, images=20)
    said = capsys.readouterr().err
    assert "was without" in said and "begins anew" in said
    probe = Probe(run / "measures" / "probe.npz")
    assert probe.ids.tolist() == probe_ids(IMAGES, 20).tolist()


def test_probe_images_are_a_pure_function_and_fewer_are_some_of_more():
    many, few = probe_ids(5000, 2000), probe_ids(5000, 300)
    assert np.array_equal(many, probe_ids(5000, 2000)) and set(few) <= set(many)
    assert len(set(many.tolist())) == 2000 and many.max() < 5000 and (np.diff(many) > 0).all()
    assert abs(many.mean() - 2500) < 100 and set(probe_ids(5000, 300, 1)) != set(few)
    assert probe_ids(7, 7).tolist() == list(range(7))


def test_shares_of_processes_merge_in_any_order(run, tmp_path):
    chosen = Chosen(find_measure(OWN), find_measure(OWN).options)
    plan = plan_of_run(load_run(run), [chosen], Wanted(at=["0", "last"]))
    subject, route = plan.subject, Route(plan.steps, plan.layers, 0, plan.ids)

    def kept(ids, process):
        gathered = Gathered(tmp_path, plan.ids, plan.kinds, plan.steps, plan.maps, process)
        riders = Probing(gathered), Keeping(chosen.measure, chosen.options, subject, route)
        batches = subject.images.batches_of(4, ids)
        running_lanes = strongest.Lanes()
        strongest.pass_over(subject, route, batches, riders, lanes=running_lanes)
        return riders

    whole = kept(plan.ids.tolist(), 0)
    for order in ((1, 2, 3), (3, 1, 2)):
        parts = {
            process: kept(plan.ids[process - 1 :: 3].tolist(), 10 * process + order[0])
            for process in order
        }
        first, *rest = (parts[process] for process in order)
        for other in rest:
            for mine, theirs in zip(first, other, strict=True):
                mine.merge(theirs.share())
                theirs.clear()
        for index in range(len(plan.steps)):
            merged, expected = first[1].of_step(index), whole[1].of_step(index)
            assert merged.keys() == expected.keys()
            for name in merged:
                np.testing.assert_allclose(merged[name], expected[name], rtol=1e-6)
        probes = [
            rider.finish(tmp_path / f"{name}.npz", {})
            for name, rider in (("whole", whole[0]), ("merged", first[0]))
        ]
        for step in plan.steps:
            np.testing.assert_allclose(*(each.values(step) for each in probes), rtol=1e-3)
        np.testing.assert_array_equal(*(each.labels for each in probes))


def raising(where):
    def rows(looked, options):
        if where == "rows":
            raise RuntimeError("my own fault")
        if where == "exit":
            sys.exit(3)
        yield Quantity(looked.steps[0], "conv1", "x", 1.0)

    def keeps(look, options):
        if where == "keeps":
            raise RuntimeError("my own fault")
        return {"sum": {}}

    def tell(measured, others, options):
        if where == "tell":
            raise RuntimeError("my own fault")
        return Told("x")

    return Measure("mine", rows, tell, keeps=keeps)


@pytest.mark.parametrize("where", ["keeps", "rows", "tell"])
def test_a_measure_that_raises_leaves_the_others_be(run, where, monkeypatch, capsys):
    with pytest.raises(RuntimeError, match="my own fault"):
        measure(run, raising(where))
    assert not (run / "measures" / "mine.json").exists()
    monkeypatch.setattr("tests.measures.test_running.mine", raising(where), raising=False)
    names = ("tests.measures.test_running:mine", "census")
    assert main(["measure", "--workdir", str(run), *names]) == 1
    told = capsys.readouterr()
    assert "the measure mine raised" in told.err and "the others (census) are finished" in told.err
    assert "RuntimeError: my own fault" in told.err and "no image excites" in told.out
    assert (run / "measures" / "census.json").exists()


def test_a_measure_that_ends_the_process_does_not(run):
    with pytest.raises(ZfjaxError, match=r"mine called sys.exit.3."):
        measure(run, raising("exit"))


def wrong(quantity=None, kept=None):
    def rows(looked, options):
        yield quantity or Quantity(looked.steps[0], "conv1", "x", 1.0)

    def keeps(look, options):
        return kept(look)

    return Measure("mine", rows, lambda *ignored: Told("x"), keeps=keeps if kept else None)


@pytest.mark.parametrize(
    "measure_, says",
    [
        (wrong(Quantity(1, "conv1", "x", 1.0)), "which was not asked for"),
        (wrong(Quantity(0, "conv1", "x", np.inf)), "as infinite"),
        (
            wrong(Quantity(0, "conv9", "x", 1.0)),
            "mine gives x of layer 'conv9', and there are conv1",
        ),
        (wrong(Quantity(0, "conv1", "x", "much")), "at step 0 as 'much': a number"),
        (wrong(Quantity(0, "conv1", 3, 1.0)), "mine gives a name or a unit that is no text"),
        (wrong(Quantity(0, "conv1", "x", 1.0, unit=3)), "a name or a unit that is no text"),
        (wrong(Quantity(0, "conv9", "x", np.ones(2))), "mine gives x of layer 'conv9'"),
        (wrong(Pictures(0, "fc", np.arange(1), np.ones((1, 2, 2, 3)))), "pictures of layer 'fc'"),
        (wrong(Pictures(1, "conv1", np.arange(1), np.ones((1, 2, 2, 3)))), "at step 1, which was"),
        (wrong(Pictures(0, "conv1", np.arange(2), np.ones((1, 2, 2, 3)))), r"with maps .2,. and"),
        (wrong((0, "conv1", "x", 1.0)), "are Quantity or Pictures, and it gives .0, 'conv1'"),
        (wrong(Quantity(0, "conv1", "x", np.ones((2, 2)))), "in the shape"),
        (wrong(Quantity(0, "conv1", "x", np.ones(3))), "for 3 maps, and there are 6"),
        (wrong(Quantity(0, "conv1", "x", np.ones(6), np.ones(4))), r"4 ends .low. for 6 values"),
        (dataclasses.replace(wrong(), rows=lambda *ignored: None), "and it gives None"),
        (wrong(kept=lambda look: None), "and it gives None"),
        (wrong(kept=lambda look: {"sum": [1]}), "and it gives {'sum': .1.}"),
        (wrong(kept=lambda look: {"sum": {"x": look.inputs.sum()}}), "sums are of integers"),
        (wrong(kept=lambda look: {"mean": {"x": look.inputs.sum()}}), "not 'mean'"),
    ],
)
def test_what_a_measure_must_not_give(run, measure_, says):
    with pytest.raises(ZfjaxError, match=says):
        measure(run, measure_)
    assert not list((run / "measures").glob("mine.*"))


def telling(**words):
    return dataclasses.replace(wrong(), tell=lambda *ignored: Told("x", **words))


@pytest.mark.parametrize(
    "told, says",
    [
        ({"files": {"../x.txt": b""}}, "mine tells a file '../x.txt': a file's name has no folder"),
        ({"files": {"/x.txt": b""}}, "a file's name has no folder"),
        ({"files": {"sub/x.txt": b""}}, "a file's name has no folder"),
        ({"files": {"..": b""}}, "a file's name has no folder"),
        ({"files": {"": b""}}, "a file's name has no folder"),
        ({"files": {"census.json": b"{}"}}, "'census.json', which zfjax writes itself"),
        ({"files": {"mine.parquet": b""}}, "'mine.parquet', which zfjax writes itself"),
        ({"files": {"probe.npz": b""}}, "'probe.npz', which zfjax writes itself"),
        ({"files": {"x.txt": "words"}}, "of bytes, not 'words'"),
        ({"lines": (3,)}, "mine tells a sentence and lines that are no text"),
        ({"figures": {"x": np.inf}}, "mine tells an infinite figure"),
        ({"figures": {"x": {1, 2}}}, "a figure that is no number or word"),
    ],
)
def test_what_is_told_stands_beside_the_measure(run, told, says):
    with pytest.raises(ZfjaxError, match=says):
        measure(run, telling(**told))
    assert not (run / "measures" / "mine.json").exists()
    assert not list(run.glob("*.txt")) and not list((run / "measures").glob("x.*"))


def test_figures_are_plain_numbers_and_files_stand_beside(run):
    figures = {"a": np.float32(0.5), "b": np.arange(2), "c": [np.nan, 1.0], 4: {"e": None}}
    measured = measure(run, telling(figures=figures, files={"mine-more.csv": b"1,2"}))
    assert measured.meta["figures"] == {"a": 0.5, "b": [0, 1], "c": [None, 1.0], "4": {"e": None}}
    assert (run / "measures" / "mine-more.csv").read_bytes() == b"1,2"


class Raising(Figure):
    def savefig(self, *ignored, **words):
        raise RuntimeError("my own fault")


def test_a_chart_that_raises_leaves_nothing_that_speaks_of_other_numbers(run):
    first = measure(run, telling(), at=["0", "1"])
    assert first.steps == (0, 4)
    with pytest.raises(RuntimeError, match="my own fault"):
        measure(run, telling(chart=Raising()))
    assert not (run / "measures" / "mine.json").exists()


def test_what_is_told_is_a_told(run):
    with pytest.raises(ZfjaxError, match="mine tells a Told, and its tell gives 'x'"):
        measure(run, dataclasses.replace(wrong(), tell=lambda *ignored: "x"))
    assert not (run / "measures" / "mine.json").exists()


@dataclasses.dataclass(frozen=True)
class Listed:
    """Options that JAX cannot compile for."""

    thresholds: list[float] = dataclasses.field(default_factory=list)


def test_options_that_cannot_be_compiled_for_leave_the_others_be(run, monkeypatch, capsys):
    mine = dataclasses.replace(wrong(kept=lambda look: {}), options=Listed())
    monkeypatch.setattr("tests.measures.test_running.mine", mine, raising=False)
    names = ("tests.measures.test_running:mine", "census")
    assert main(["measure", "--workdir", str(run), *names]) == 1
    error = capsys.readouterr().err
    assert "its options cannot be compiled for (unhashable type: 'list')" in error
    assert "Traceback" not in error and (run / "measures" / "census.json").exists()


def test_a_name_is_a_word_and_not_one_of_ours(run):
    with pytest.raises(ZfjaxError, match="'census' is the name of one of zfjax's own"):
        measure(run, dataclasses.replace(wrong(), name="census"))
    with pytest.raises(ZfjaxError, match="letters, digits and '_', not 'my measure'"):
        dataclasses.replace(wrong(), name="my measure")


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["sensus"], "There is no measure 'sensus'; there are spectrum,"),
        (["occlusion", "--occlusion.image", "3", "5"], "values of one option are joined by commas"),
        (["nowhere.mine:measure"], "there is no module nowhere.mine"),
        (["experiments.own_measure:nothing"], "has no zfjax Measure called 'nothing'"),
        (["census", "--census.alive", "1"], "the measure census has no such option; it has"),
        (["census", "--census.almost", "few"], "--census.almost 'few': expected a number"),
        (["census", "--labels.top", "3"], "'labels' is not a measure of this"),
        (["census", "--census.almost"], "--census.almost needs a value"),
        (["census", "--whatever", "3"], "Not understood: --whatever"),
        (["settling", "--at", "last"], "needs 3 checkpoints or more, and 1 is asked for"),
        (["census", "--images", "37"], "split 'train' of small has 36"),
        (["census", "--images", "0"], "--images 0 must be 1 or more"),
        (["settling", "--images", "1"], "settling needs 2 images or more, and the probe has 1"),
        (["census", "--split", "tests"], "tests"),
        (["census", "--layers", "conv9"], "no convolution 'conv9'; it has conv1, conv2"),
        (["census", "--at", "17"], "no checkpoint was saved there"),
        (["census", "--name", "a/b"], "--name 'a/b' must be letters"),
        (["census", "--seeds-of", "RUN"], "--seeds-of names"),
        (["census", "--data.dir", "/nowhere"], "/nowhere"),
    ],
)
def test_what_is_refused(run, arguments, says, capsys):
    told = [str(run) if item == "RUN" else item for item in arguments]
    assert main(["measure", "--workdir", str(run), *told]) == 1
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error
    assert not list(run.glob("measures*/*.json"))


def test_names_may_stand_after_the_epochs(run, capsys):
    arguments = ["measure", "--workdir", str(run), "--at", "0", "step:8", "last"]
    assert main([*arguments, "census", OWN]) == 0
    assert open_measured(run / "measures", "census").steps == (0, 8, 12)
    assert (run / "measures" / "brightness.json").exists()
    capsys.readouterr()
    assert main([*arguments, "sensus"]) == 1
    assert "There is no measure 'sensus'" in capsys.readouterr().err
    assert main(["measure", "--workdir", str(run), "--at", "census"]) == 1
    assert "not census; the names of measures come before it" in capsys.readouterr().err


def test_a_dry_run_counts_what_rewind_evaluates(run, capsys):
    arguments = ["measure", "--workdir", str(run), "--dry-run", "rewind"]
    assert main([*arguments, "--rewind.images", "10", "--rewind.draws", "2"]) == 0
    out = capsys.readouterr().out  # 2 layers, 3 earlier epochs and 2 draws, and as it is
    assert "rewind: 11 evaluations of 10 images" in out and "no images" not in out
    assert main([*arguments[:-1], "weights"]) == 0
    assert "4 checkpoints, no images: seconds" in capsys.readouterr().out
    evolve_words = ["evolve", "--workdir", str(run), "--dry-run", "--maps", "2", "--measure"]
    assert main([*evolve_words, "rewind", "--rewind.images", "10", "--rewind.draws", "0"]) == 0
    assert "rewind: 7 evaluations of 10 images" in capsys.readouterr().out
    assert not (run / "measures").exists()


def test_evolve_in_python_takes_measures_along(run, measured, monkeypatch):
    monkeypatch.setattr(running, "ride_on", None)  # there is no pass of their own
    words = {"maps": 2, "top": 3, "measures": {"census": {"almost": 0.5}, OWN: {}}}
    evolution = zfjax.evolve(run, **words)
    assert evolution.steps == (0, 4, 8, 12)
    census = open_measured(run / "measures", "census")
    assert census.meta["asked"]["options"]["almost"] == 0.5
    theirs = open_measured(measured / "measures", "brightness")
    assert open_measured(run / "measures", "brightness").table.equals(theirs.table)
    zfjax.evolve(run, **words)  # all is there
    kept = Probe(run / "measures" / "probe.npz")
    assert kept.ids.tolist() == list(range(IMAGES))
    later = zfjax.evolve(run, maps=2, top=3, measures="labels")  # the probe is there
    assert later.folder == evolution.folder and (run / "measures" / "labels.json").exists()
    with pytest.raises(TypeError, match="measure"):
        zfjax.evolve(run, measure="census")


@pytest.mark.parametrize(
    "measures, says",
    [
        ("sensus", "There is no measure 'sensus'"),
        ([3], "measure = 3 must be a text"),
        ({"census": 0.5}, "the options of census are a mapping, not 0.5"),
        ({"census": {"almost": "few"}}, "--census.almost 'few': expected a number"),
        ({"census": {"alive": 1}}, "the measure census has no such option"),
        (["brightness", OWN], "There is no measure 'brightness'"),
        ([Measure("mine", len, len), Measure("mine", max, max)], "Two measures are called 'mine'"),
    ],
)
def test_measures_that_evolve_refuses(run, measures, says):
    with pytest.raises(ZfjaxError, match=says):
        zfjax.evolve(run, maps=2, measures=measures)
    assert not (run / "evolution").exists() and not (run / "measures").exists()


def test_other_settings_are_refused_and_more_steps_are_not(run, capsys):
    census = measure(run, "census", at=["0", "1"])
    assert census.steps == (0, 4)
    assert main(["measure", "--workdir", str(run), "census", "--census.almost", "0.5"]) == 1
    assert (
        "holds the measure census with other settings (steps, options)" in capsys.readouterr().err
    )
    assert measure(run, "census").steps == (0, 4, 8, 12)
    assert measure(run, "census", name="mine", almost=0.5).folder == run / "measures-mine"


def test_evolve_with_a_measure_of_other_settings_says_the_way_out_before_anything_runs(run, capsys):
    measure(run, "census", images=20)
    words = ["evolve", "--workdir", str(run), "--maps", "2", "--measure", "census"]
    for dry in ([], ["--dry-run"]):
        assert main([*words, *dry]) == 1
        said = capsys.readouterr().err
        assert "holds the measure census with other settings (images); nothing is evolved" in said
        assert "leave census out of --measure to keep that one" in said
        assert not (run / "evolution").exists()
    assert main([*words, "--name", "more", "--dry-run"]) == 0


@pytest.mark.parametrize("text", ["[1]", "{}", "null", '{"steps": [0]}', "{", "\x00"])
def test_what_is_no_record_of_a_measure_is_said(measured, tmp_path, text):
    folder = tmp_path / "measures"
    folder.mkdir()
    shutil.copy(measured / "measures" / "census.parquet", folder)
    (folder / "census.json").write_text(text)
    for look in (lambda: open_measured(folder, "census"), lambda: measure_record(folder, "census")):
        with pytest.raises(ZfjaxError, match=r"census.json is no record of a measure; delete it"):
            look()


def test_the_way_out_names_the_folder_of_its_name(measured, tmp_path):
    folder = tmp_path / "measures-paper"
    folder.mkdir()
    shutil.copy(measured / "measures" / "census.json", folder)
    with pytest.raises(ZfjaxError, match=r"is missing; run `.* census --name paper` again"):
        open_measured(folder, "census")
    with pytest.raises(ZfjaxError, match=r"no measure 'labels' .* labels --name paper` first"):
        open_measured(folder, "labels")


def test_another_data_set_is_refused(run, data_dir, tmp_path):
    other = shutil.copytree(data_dir, tmp_path / "data")
    from tests.small import make_data

    shutil.rmtree(other)
    made = make_data(tmp_path / "made", per_class=8)
    with pytest.raises(ZfjaxError, match="not the one this run was trained on"):
        measure(run, "census", data_dir=str(made))


def test_seeds_are_measured_and_decide(run, data_dir, tmp_path, capsys):
    other = tmp_path / "seed-1"
    train(make_config(data_dir, seed=1), other, devices=1)
    arguments = ["measure", "--workdir", str(run), "settling"]
    assert main(arguments) == 0
    assert "of this run only" in capsys.readouterr().out
    assert main([*arguments, "--seeds-of", str(other)]) == 0
    assert "over 2 seeds" in capsys.readouterr().out
    assert (other / "measures" / "settling.json").exists()
    told = (run / "measures" / "settling.txt").read_text()
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "of this run only" in out and "(settling.txt says it over 2 seeds.)" in out
    assert (run / "measures" / "settling.txt").read_text() == told and "over 2 seeds" in told
    assert open_measured(run / "measures", "settling").meta["seeds_of"] == ["seed-1"]


def test_what_differs_in_more_than_the_seed_is_no_other_seed(run, data_dir, tmp_path):
    again = shutil.copytree(run, tmp_path / "again")
    with pytest.raises(ZfjaxError, match="its seed is 0 like that of .* counted twice"):
        measure(run, "weights", seeds_of=[again])
    written = json.loads((again / "config.json").read_text())
    written["config"]["seed"] = 1
    (again / "config.json").write_text(json.dumps(written))
    twice = shutil.copytree(again, tmp_path / "twice")
    with pytest.raises(ZfjaxError, match="its seed is 1 like that of .*again"):
        measure(run, "weights", seeds_of=[again, twice])
    shutil.rmtree(twice / "checkpoints" / "12")
    with pytest.raises(ZfjaxError, match="its last checkpoint is of step 8, that of .* of step 12"):
        measure(run, "weights", seeds_of=[twice])
    written["config"]["optimizer"]["learning_rate"] = 0.123
    (again / "config.json").write_text(json.dumps(written))
    with pytest.raises(
        ZfjaxError, match="more than the seed .optimizer.learning_rate .* and 0.123"
    ):
        measure(run, "weights", seeds_of=[again])
    assert not list(tmp_path.glob("*/measures*/*.json"))


def test_a_run_of_an_ablation_keeps_fewer_images(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("zfjax.measures.planning.GRID_IMAGES", 20)
    cell = shutil.copytree(run, tmp_path / "grid" / "cells" / "base" / "seed-0")
    chosen = [Chosen(find_measure("census"), find_measure("census").options)]
    assert plan_of_run(load_run(cell), chosen, Wanted()).images == IMAGES
    (tmp_path / "grid" / "ablation.json").write_text("{}")
    assert plan_of_run(load_run(cell), chosen, Wanted()).images == 20
    assert plan_of_run(load_run(cell), chosen, Wanted(images=30)).images == 30
    evolving = ["evolve", "--workdir", str(cell), "--maps", "2", "--measure", "census"]
    assert main([*evolving, "--dry-run"]) == 0 and "a probe of 20 images" in capsys.readouterr().out


def test_help_list_and_dry_run(run, capsys):
    assert main(["measure", "--list"]) == 0
    listed = capsys.readouterr().out
    assert "census" in listed and "settling" in listed and "A census of the maps" in listed
    with pytest.raises(SystemExit):
        main(["measure", "census", "--help"])
    told = capsys.readouterr().out
    assert "--census.almost 0.001" in told and "What can mislead" in told
    assert main(["measure", "--workdir", str(run), "settling", "census", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "4 checkpoints x 36 images" in told and "MiB" in told and "TFLOP" in told
    evolving = ["evolve", "--workdir", str(run), "--maps", "2", "--measure", "census"]
    assert main([*evolving, "--dry-run"]) == 0 and "a probe of 36 images" in capsys.readouterr().out
    assert not (run / "measures").exists()


def test_without_a_name_all_that_the_data_can_give(run, capsys, monkeypatch):
    monkeypatch.setattr("zfjax.measures.choosing.BUILT_IN", ("census", "labels", "settling"))
    assert main(["measure", "--workdir", str(run), "--at", "0", "1"]) == 0
    told = capsys.readouterr()
    assert "without settling: " in told.err
    assert {path.stem for path in (run / "measures").glob("*.json")} == {"census", "labels"}


def test_labels_are_needed_before_anything_runs(run, data_dir, tmp_path):
    copy = shutil.copytree(data_dir, tmp_path / "data")
    made = altered(copy, "small", "bare", lambda *record: {"label": -1})
    config = dataclasses.replace(load_run(run).config.data, name="bare", dir=str(made))
    bare = dataclasses.replace(load_run(run).config, data=config)
    subject = running.subject_of(load_run(run), images_of(bare, open_data(bare), "train"))
    labels = Chosen(find_measure("labels"), find_measure("labels").options)
    with pytest.raises(ZfjaxError, match="label"):
        plan_of(subject, [labels], Wanted())
    census = Chosen(find_measure("census"), find_measure("census").options)
    assert plan_of(subject, [census], Wanted()).images == IMAGES


def test_what_is_no_run_is_measured_likewise(run, measured, tmp_path):
    census = Chosen(find_measure("census"), find_measure("census").options)
    plan = plan_of_run(load_run(run), [census], Wanted())
    results = running.measure_subject(plan, boarding.Target(tmp_path / "measures"))
    assert results.measured["census"].table.equals(table_of(measured, "census"))


def test_a_search_that_an_earlier_version_stopped_goes_on(run, monkeypatch):
    monkeypatch.setattr(strongest, "search_batch", lambda network: 1)
    monkeypatch.setattr(searching, "SAVE_SECONDS", -1.0)

    def stop(stage, done, total, **figures):
        if stage == "searching" and done > 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evolve(run, maps=2, top=3, progress=stop)
    path = run / "evolution" / "search.npz"
    with np.load(path) as stored:
        older = {name: stored[name] for name in stored.files if name != "riders"}
    np.savez(path, **older)
    went_on = []
    evolve(run, maps=2, top=3, progress=lambda stage, done, *more: went_on.append((stage, done)))
    assert min(done for stage, done in went_on if stage == "searching") > 16


def test_a_table_that_is_read_is_made_first(run):
    assert main(["measure", "--workdir", str(run), "census", "identity"]) == 0
    before = open_measured(run / "measures", "identity")
    told = (run / "measures" / "identity.txt").read_text()
    assert "nothing shown" not in told  # what labels are about was not asked
    assert np.isnan(before.of_maps("born", "conv1")[12]).all()
    assert main(["measure", "--workdir", str(run), "settling", "census", "labels", "identity"]) == 0
    after = open_measured(run / "measures", "identity")
    assert set(after.meta["read"]) == {"settling", "census", "labels"}
    settling = open_measured(run / "measures", "settling")
    np.testing.assert_array_equal(
        after.of_maps("born", "conv1")[12], settling.of_maps("emergence", "conv1")[12]
    )


def test_a_plan_needs_a_measure(run):
    with pytest.raises(ZfjaxError, match="No measure is asked for"):
        plan_of(running.subject_of(load_run(run)), [], Wanted())


OWN_CODE = """
from zfjax.measures.protocol import Measure, Pictures, Quantity, Told
from .numbers import AMOUNT

def rows(looked, options):
    yield Quantity(looked.steps[0], "conv1", "amount", AMOUNT)

def tell(measured, others, options):
    return Told("An amount.")

measure = Measure("amount", rows, tell)
"""


def test_a_measure_whose_code_changed_is_made_anew(run, tmp_path, monkeypatch, capsys):
    package = tmp_path / "somebodys"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "own.py").write_text(OWN_CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def amount_with(amount, more=""):
        (package / "numbers.py").write_text(f"AMOUNT = {amount}\n")
        (package / "own.py").write_text(OWN_CODE + more)
        for name in [name for name in sys.modules if name.partition(".")[0] == "somebodys"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        assert main(["measure", "--workdir", str(run), "somebodys.own:measure"]) == 0
        table = open_measured(run / "measures", "amount")
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("zfjax:")]
        return table.of_layer("amount", "conv1")[0], said

    assert amount_with(1) == (1, [])
    with monkeypatch.context() as patch:
        patch.setattr(boarding, "write_measure", None)  # would raise, were it made again
        assert amount_with(1) == (1, [])
    changed = "changed since amount was measured: it is measured anew."
    assert amount_with(20) == (20, [f"zfjax: somebodys.numbers {changed}"])
    assert amount_with(20, "# and more\n")[1] == [f"zfjax: somebodys.own {changed}"]
    record = run / "measures" / "amount.json"
    known = json.loads(record.read_text())
    assert set(known["sources"]) == {"somebodys", "somebodys.own", "somebodys.numbers"}
    record.write_text(json.dumps({**known, "sources": {}}))  # as before they were noted
    assert amount_with(3) == (20, [])
