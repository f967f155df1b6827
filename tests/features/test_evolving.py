"""What evolve ships, against the oracle; what it decodes, compiles, keeps and refuses."""

import dataclasses
import inspect
import json
import math
import shutil
from collections import Counter

import jax
import numpy as np
import pytest

import zfjax
from tests import oracle
from tests.small import make_config
from zfjax.commands.cli import main
from zfjax.data import dataset as datasets
from zfjax.data import views
from zfjax.data.dataset import open_dataset
from zfjax.errors import ZfjaxError
from zfjax.features import asking, statistics
from zfjax.features.asking import Asked, Request
from zfjax.features.evolving import asked_of, evolve
from zfjax.inputs import central_crop, load_mean_image
from zfjax.network.ops import RULES
from zfjax.run import checkpoint
from zfjax.run.folder import load_run
from zfjax.subject import images_of, subject_of
from zfjax.training.loop import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def faithful(tmp_path_factory, data_dir):
    """A run of one epoch that takes the mean image away and clips its filters."""
    folder = tmp_path_factory.mktemp("faithful") / "run"
    config = make_config(data_dir, recipe="faithful", epochs=1)
    slow = dataclasses.replace(config.optimizer, learning_rate=0.002)
    train(dataclasses.replace(config, optimizer=slow), folder, devices=1)
    return folder


@pytest.fixture
def modern(tmp_path, unbroken):
    shutil.copytree(unbroken, tmp_path / "run")
    return tmp_path / "run"


def network_input(run, image_id):
    """By hand: the view's middle, minus the mean image's, or of unit scale."""
    dataset = open_dataset("small", run.config.data.dir)
    pixels = central_crop(dataset.read("train", [image_id], (18, 18))[0].image, (16, 16))
    if run.config.recipe == "faithful":
        return np.float64(pixels) - central_crop(load_mean_image(run), (16, 16))
    return (np.float64(pixels) - (123.7, 116.3, 103.5)) / 58


@pytest.mark.parametrize(
    ("recipe", "rule"), [("modern", "deconvnet"), ("faithful", "deconvnet"), ("faithful", "guided")]
)
def test_shipped_tiles_are_the_oracles(modern, faithful, recipe, rule):
    run = load_run({"modern": modern, "faithful": faithful}[recipe])
    evolution = evolve(run.folder, maps=2, top=2, at=["0", "last"], rule=rule, name=f"o-{rule}")
    model, compared, cut_by_the_border = run.config.model, 0, 0
    for step in evolution.steps:
        parameters = checkpoint.load(run.checkpoints / str(step))
        for layer in evolution.layers:
            tiles = evolution.tiles(layer, step)
            for row in evolution.rows(step=step, layer=layer):
                key = row["selection"], row["map"], row["rank"]
                if key not in tiles:
                    continue
                pixels = network_input(run, row["image_id"])
                values, memory = oracle.climb(model, parameters, pixels, layer)
                y, x, map_ = row["y"], row["x"], row["map"]
                assert row["activation"] == pytest.approx(values[y, x, map_], rel=1e-4)
                assert values[..., map_].max() == pytest.approx(values[y, x, map_], rel=1e-4)
                seed = oracle.one_hot(values, y, x, map_)
                way_down = RULES[rule]
                whole = oracle.descend(parameters, memory, seed, way_down.relu, way_down.norm)
                expected = oracle.cut(whole, model.window(layer).box(y, x), (16, 16))
                found = tiles[key].projection
                np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
                assert np.abs(expected).max() > 0
                compared += 1
                cut_by_the_border += min(row["box_y0"], row["box_x0"]) < 0
    assert compared >= 20 and cut_by_the_border > 0


def spoilt(folder, step, layer, value):
    """Puts ``value`` among the parameters of a saved step."""
    path = folder / "checkpoints" / str(step)
    parameters = checkpoint.load(path)
    kernel = np.array(parameters[layer]["kernel"])
    kernel.reshape(-1)[3] = value
    shutil.rmtree(path)
    saver = checkpoint.Saver(path.parent)
    saver.save(step, {**parameters, layer: {**parameters[layer], "kernel": kernel}})
    saver.wait()


def test_a_step_that_has_diverged_is_named_and_can_be_left_out(modern):
    spoilt(modern, 8, "conv2", np.nan)
    with pytest.raises(
        ZfjaxError,
        match=r"Step 8 gives activations that are not finite on image 0: its parameters have"
        r" diverged; leave this step out with --at",
    ):
        evolve(modern, maps=2, top=2, at=["1", "2"])
    with pytest.raises(ZfjaxError, match="not finished"):
        load_run(modern).evolution()
    assert evolve(modern, maps=2, top=2, at=["1"], name="without").steps == (4,)


COMPILED = "/jax/core/compile/backend_compile_duration"


def test_a_second_evolution_compiles_nothing_anew(modern):
    events = []

    def note(event, duration, **_):
        events.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        evolve(modern, maps=2, top=3, name="first")
        first = events.count(COMPILED)
        evolve(modern, maps=2, top=3, name="second")
    finally:
        jax.monitoring.unregister_event_duration_listener(note)
    assert events.count(COMPILED) == first


def test_each_image_is_decoded_once(modern, monkeypatch):
    decoded = Counter()
    honest = datasets.Dataset.read

    def read(self, split, image_ids, view_size, **options):
        decoded.update(int(image_id) for image_id in image_ids)
        return honest(self, split, image_ids, view_size, **options)

    monkeypatch.setattr(datasets.Dataset, "read", read)
    evolution = evolve(modern, maps=None, top=3, every_rank=True)
    assert decoded == Counter(range(36)), "the example too, which is looked for before the pass"
    assert evolution.meta["checked"]["units"] > 100


def test_views_beyond_the_budget_make_way_for_the_latest(modern, monkeypatch):
    run = load_run(modern)
    images = images_of(run.config, open_dataset("small", run.config.data.dir), "train")
    monkeypatch.setattr(views, "most_kept", lambda view_size: 8)
    [batch] = images.batches(36, keep=True)
    assert len(images._kept) == 8
    np.testing.assert_array_equal(images.views([30, 2, 30]), batch["image"][[30, 2, 30]])
    assert list(images._kept)[-2:] == [30, 2] and 0 not in images._kept
    np.testing.assert_array_equal(images.views(range(36)), batch["image"])
    assert list(images._kept) == list(range(28, 36))
    with pytest.raises(ZfjaxError, match="no image 36"):
        images.view(36)


# ---- what is asked


def test_a_field_that_is_added_later_leaves_finished_evolutions_finished(monkeypatch):
    now = {**Request((0, 4), ("conv1",), 3, 2, "train", 36, "deconvnet").__dict__, "fingerprint": 1}
    assert not asking.differing(now, now)
    older = {name: value for name, value in now.items() if name != "every_rank"}
    assert not asking.differing(older, now), "as if it had been written before there were ranks"
    assert asking.differing(older, {**now, "every_rank": True}) == ["every_rank"]
    assert asking.differing({**now, "whiskers": 7}, now) == ["whiskers"], "of a later version"
    assert asking.differing(now, {**now, "top": 3, "steps": (0,)}) == ["steps", "top"]
    bare = {name: value for name, value in now.items() if name != "top"}
    assert asking.differing(bare, now) == ["top"], "what has no default was always there"
    assert asking.differing(None, now)


def test_checkpoints_are_the_same_where_both_records_know_them():
    now = {"steps": [0, 4, 8], "checkpoints": {"0": "a", "4": "b", "8": "c"}}
    assert not asking.differing({"steps": [0, 4, 8]}, now), "recorded before digests were"
    assert not asking.differing({**now, "checkpoints": {}}, now)
    changed = {**now, "checkpoints": {"0": "a", "4": "B", "8": "C"}}
    assert asking.differing(changed, now) == ["checkpoints"]
    assert asking.changed_steps(changed, now) == ["4", "8"]
    fewer = {"steps": [0, 4], "checkpoints": {"0": "a", "4": "b"}}
    assert asking.differing(fewer, now) == ["steps"], "a run that has gained an epoch"
    assert asking.differing({**fewer, "checkpoints": {"0": "a", "4": "B"}}, now) == [
        *("steps", "checkpoints")
    ]


def test_a_checkpoint_that_has_changed_is_not_shown_as_finished(modern):
    asked = {"maps": 2, "top": 2, "at": ["0", "last"]}
    evolution = evolve(modern, **asked)
    recorded = evolution.record.asked["checkpoints"]
    assert list(recorded) == ["0", "12"] and len(set(recorded.values())) == 2
    stamp = (modern / "evolution" / "meta.json").read_bytes()
    spoilt(modern, 4, "conv2", 3.0)  # a step that it does not show
    assert evolve(modern, **asked).units.equals(evolution.units)
    spoilt(modern, 12, "conv2", 3.0)
    with pytest.raises(ZfjaxError, match=r"evolution shows checkpoints that have changed since"):
        evolve(modern, **asked)
    assert (modern / "evolution" / "meta.json").read_bytes() == stamp
    again = evolve(modern, name="again", **asked)
    assert again.record.asked["checkpoints"]["0"] == recorded["0"]
    assert again.record.asked["checkpoints"]["12"] != recorded["12"]
    # As it was recorded before checkpoints were: what is not known is not held against it.
    record = json.loads(stamp)
    del record["asked"]["checkpoints"]
    (modern / "evolution" / "meta.json").write_text(json.dumps(record))
    assert evolve(modern, **asked).units.equals(evolution.units)


def test_a_pass_that_was_stopped_begins_anew_with_changed_checkpoints(modern, monkeypatch):
    """And one that was stopped while projecting draws all of it again."""
    asked = {"maps": 2, "top": 2, "at": ["last"]}

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("zfjax.features.table.write_table", stop)
        evolve(modern, **asked)
    assert (modern / "evolution" / "search.npz").exists()
    spoilt(modern, 12, "conv1", 3.0)
    changed, anew = evolve(modern, **asked), evolve(modern, name="anew", **asked)
    assert changed.units.equals(anew.units)
    assert changed.record.asked == anew.record.asked


@pytest.mark.parametrize("every_rank", [False, True])
def test_the_dry_run_is_the_requests_cost(modern, capsys, every_rank):
    asked = {"maps": 2, "top": 3, "images": 20, "every_rank": every_rank}
    subject, request = asked_of(load_run(modern), Asked(**asked))
    takes = asking.cost(subject, request)
    steps = len(request.steps)
    assert (takes.checkpoints, takes.images) == (steps, 20)
    each = steps * 4 if every_rank else 2 * steps + 2
    assert takes.tiles == 2 * 2 * each
    assert takes.tile_bytes == 2 * each * 9 * (5 * 5 + 16 * 16)
    macs = sum(fact.multiply_adds for fact in load_run(modern).config.model.below("conv2"))
    assert takes.flops == 2 * macs * 20 * steps
    flags = ["--maps", "2", "--top", "3", "--images", "20"]
    flags += ["--every-rank"] if every_rank else []
    assert main(["evolve", "--workdir", str(modern), "--dry-run", *flags]) == 0
    told = capsys.readouterr().out
    assert f"{steps} checkpoints x 20 images: 0.0 TFLOP to search" in told
    assert f"{takes.tiles} tiles, at most {math.floor(takes.tile_bytes / 2**20 + 0.5)} MiB" in told
    assert not (modern / "evolution").exists()
    evolution = evolve(modern, **asked)
    assert evolution.meta["checked"]["units"] <= takes.tiles


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--maps", "16"], "--maps 16: conv1 has 6 maps"),
        (["--maps", "2", "--top", "0"], "--top 0"),
        (["--maps", "2", "--images", "0"], "--images 0"),
        (["--layers", "conv7"], "no convolution 'conv7'"),
        (["--maps", "2", "--rule", "magic"], "no rule 'magic'"),
        (["--maps", "2", "--split", "odd"], "no split 'odd'"),
        (["--maps", "2", "--at", "9"], "no checkpoint was saved there"),
    ],
)
def test_the_dry_run_refuses_what_the_real_one_refuses(modern, capsys, flags, words):
    try:
        status = main(["evolve", "--workdir", str(modern), "--dry-run", *flags])
    except SystemExit as ended:
        status = ended.code
    assert status and words in capsys.readouterr().err


def test_what_a_subject_lacks_is_said(unbroken):
    subject = subject_of(load_run(unbroken))
    with pytest.raises(ZfjaxError, match="A search needs images, and what is looked at has none"):
        asking.request_of(subject, Asked(maps=2))
    bare = dataclasses.replace(subject, scores=None, initial=None)
    with pytest.raises(ZfjaxError, match="An error rate needs class scores"):
        bare.need("scores", "An error rate")
    assert subject.need("initial", "A comparison") is subject.initial
    assert jax.tree.all(
        jax.tree.map(np.array_equal, subject.initial(0), subject.parameters(0, whole=True))
    )


# ---- what is kept


def test_histograms_stay_and_count_every_image(modern):
    evolution = evolve(modern, maps=2, top=36, at=["0", "last"])
    edges = evolution.bin_edges
    assert edges.shape == (statistics.BINS + 1,) and (np.diff(edges) > 0).all()
    assert edges[0] == 0 and np.isinf(edges[-1])
    for layer, maps in (("conv1", 6), ("conv2", 8)):
        counts = evolution.histogram(layer)
        assert counts.dtype == np.int64 and counts.shape == (2, maps, statistics.BINS)
        for step_index, step in enumerate(evolution.steps):
            rows = evolution.rows(layer=layer, step=step, selection="top")
            for map_ in range(maps):
                values = [row["activation"] for row in rows if row["map"] == map_]
                expected, _ = np.histogram(np.float32(values), edges)
                expected[0] += 36 - len(values)
                np.testing.assert_array_equal(counts[step_index, map_], expected)
    (evolution.folder / "histograms.npz").unlink()
    older = load_run(modern).evolution()
    assert older.rows(layer="conv1", step=0)
    with pytest.raises(ZfjaxError, match="histograms.npz is missing"):
        older.histogram("conv1")
    with pytest.raises(ZfjaxError, match="no layer 'conv9'"):
        older.histogram("conv9")


def test_edges_and_bins_agree():
    edges = statistics.bin_edges()
    inside = np.concatenate([edges[:-1], np.nextafter(edges[1:], np.float32(0))])
    bins = np.concatenate([np.arange(statistics.BINS)] * 2)
    np.testing.assert_array_equal(statistics.bin_of(inside), bins)


def test_public_functions_spell_out_what_they_take():
    parameters = inspect.signature(zfjax.evolve).parameters
    assert next(iter(parameters)) == "workdir"
    assert {"out", "data_dir", "name", "selections", "measures"} <= set(parameters)
    assert {
        name: parameters[name].default for name in ("at", "maps", "top", "rule", "every_rank")
    } == {"at": None, "maps": "few", "top": 9, "rule": "deconvnet", "every_rank": False}
    assert "max_pixels" in inspect.signature(zfjax.project).parameters
    with pytest.raises(TypeError, match="unexpected keyword argument 'layer'"):
        zfjax.evolve("nowhere", layer="conv1")
