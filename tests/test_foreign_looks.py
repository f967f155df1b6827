"""Anyone's network and images are asked what a run is asked: error rates, hits and measures."""

import collections
import dataclasses
import json

import flax.linen as nn
import jax
import numpy as np
import pytest
from PIL import Image

import zfjax
from tests.network import linen_nets
from zfjax.commands.measures import chosen_measures
from zfjax.data.held import HeldImages
from zfjax.data.reading import Share
from zfjax.errors import ZfjaxError
from zfjax.measures.boarding import Target
from zfjax.measures.judging import batching_as_run, some_images
from zfjax.measures.kernels import kernel_in, path_in
from zfjax.measures.planning import Wanted, plan_of
from zfjax.measures.running import measure_subject
from zfjax.run.evolution import open_evolution
from zfjax.training.evaluation import evaluate
from zfjax.training.hits import hits_of

STEPS, COUNT = (0, 8, 16), 70


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), 2)(x))
        return nn.Dense(3)(linen_nets.Block(4)(x).mean((1, 2)))


class Counting:
    """(image, label) pairs behind ``[i]``, as of files; counts how often each is read."""

    def __init__(self, labels):
        self.labels, self.reads = labels, collections.Counter()
        shape = (COUNT, 16, 16, 3)
        self.pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        self.reads[index] += 1
        return self.pixels[index], self.labels[index]


@pytest.fixture(scope="module")
def trees():
    return {step: linen_nets.drawn(Net(), (16, 16), seed=step) for step in STEPS}


def subject_of(trees, images):
    return zfjax.subject_from(trees, model=Net(), images=images, mean=120, std=60, input=16)


def test_error_rates_and_hits_are_those_of_the_network_itself(trees):
    pairs = Counting(np.arange(COUNT) % 3)
    subject = subject_of(trees, pairs)
    parameters, batching = subject.parameters(16, whole=True), batching_as_run(None)
    with jax.numpy_rank_promotion("allow"):
        scores = Net().apply(trees[16], (pairs.pixels.astype(np.float32) - 120) / 60)
        own = np.asarray(scores).argmax(1) == pairs.labels
        figures = evaluate(subject, parameters, batching)
        assert figures["images"] == COUNT and figures["top1"] == pytest.approx(own.mean())
        np.testing.assert_array_equal(hits_of(subject, parameters, batching).top1, own)
        ids = (5, 0, 69)
        np.testing.assert_array_equal(
            hits_of(subject, parameters, batching, ids).top1, own[list(ids)]
        )
        some = dataclasses.replace(subject, images=some_images(subject.images, "all", 7))
        assert evaluate(some, parameters, batching)["images"] == 7
        # A label that has no score is no hit, and makes no loss.
        pairs = Counting(np.where(np.arange(COUNT) < 10, 7, pairs.labels))
        beyond = subject_of(trees, pairs)
        assert not hits_of(beyond, parameters, batching).top1[:10].any()
        assert np.isnan(evaluate(beyond, parameters, batching)["loss"])
    with pytest.raises(ZfjaxError, match="have no labels, and evaluation needs them"):
        evaluate(subject_of(trees, pairs.pixels), parameters, batching)


@pytest.mark.slow
def test_every_measure_takes_it_and_each_image_is_read_once(trees, tmp_path):
    pairs = Counting(np.arange(COUNT) % 3)
    subject = subject_of(trees, pairs)
    names = ["settling", "census", "labels", "rewind", "identity", "spectrum", "weights"]
    with jax.numpy_rank_promotion("allow"):
        pairs.reads.clear()
        zfjax.evolve(subject, out=tmp_path / "out", maps=2, top=3)
        # Those that the fingerprint is made of are read for it, and kept then.
        assert set(pairs.reads.values()) == {1}
        plan = plan_of(subject, chosen_measures(names, []), Wanted())
        results = measure_subject(plan, Target(tmp_path / "measures"))
        assert not results.failed and set(results.measured) == set(names)
        assert set(pairs.reads.values()) == {1}
        accuracy = evaluate(subject, subject.parameters(16, whole=True), batching_as_run(None))
        again = zfjax.measure(subject, "census", out=tmp_path / "out")
        own = results.measured["census"].of_maps("weight_rms", "Conv_0")
        np.testing.assert_array_equal(again.of_maps("weight_rms", "Conv_0")[16], own[16])
        other = subject_of({step: trees[0] for step in trees}, pairs)
        with pytest.raises(ZfjaxError, match="other settings"):
            zfjax.measure(other, "census", out=tmp_path / "out")
        whose = json.loads((tmp_path / "out" / "config.json").read_text())
        assert whose["checkpoints"] == subject.foreign["checkpoints"]
        evolution = open_evolution(tmp_path / "out" / "evolution")
        controls = zfjax.measure(subject, "controls", out=tmp_path / "out")
        assert "Conv_0 is exempt" in controls.meta["sentence"]
        of_maps = controls.of_maps("cosine_swapped", "Block_0")[16]
        assert np.isfinite(of_maps).any() and np.nanmax(np.abs(of_maps)) <= 1
        assert not [name for name in controls.quantities() if "randomised" in name]
        row = evolution.rows(layer="Block_0", step=16, selection="top", rank=0)[1]
        [shot] = zfjax.project(subject, row["image_id"], "Block_0", row["map"], at="last")
        assert (shot.y, shot.x) == (row["y"], row["x"])
        assert shot.activation == pytest.approx(row["activation"], rel=1e-5)
        Image.fromarray(pairs.pixels[row["image_id"]]).save(tmp_path / "own.png")
        [file] = zfjax.project(subject, tmp_path / "own.png", "Block_0", row["map"], at="last")
        assert file.activation > 0 and file.tile.projection.shape == shot.tile.projection.shape
    with pytest.raises(ZfjaxError, match="out=FOLDER"):
        zfjax.measure(subject, "census")
    with pytest.raises(ZfjaxError, match="a subject has its own images"):
        zfjax.project(subject, 0, "Conv_0", 1, split="train")
    assert results.measured["rewind"].of_layer("top1", "Conv_0")[16] == accuracy["top1"]
    sizes = results.measured["census"].of_maps("weight_rms", "Block_0/Conv_0")[8]
    kernel = np.float64(trees[8]["params"]["Block_0"]["Conv_0"]["kernel"])
    np.testing.assert_allclose(sizes, np.sqrt((kernel**2).mean((0, 1, 2))))


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), 2)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=True)(x))
        return nn.Dense(3)(linen_nets.Block(6)(x).mean((1, 2)))


NORM = ("params/{}/bias", "params/{}/scale", "batch_stats/{}/mean", "batch_stats/{}/var")


@pytest.mark.slow
def test_a_layer_is_put_back_with_its_norm_and_statistics(tmp_path):
    trees = {step: linen_nets.drawn(Normed(), (16, 16), seed=step) for step in (0, 8)}
    pairs = Counting(np.arange(COUNT) % 3)
    how = {"images": pairs, "mean": 120, "std": 60, "input": 16}
    subject = zfjax.subject_from(trees, model=Normed(), **how)
    own = {
        name: {"/".join(path) for path in subject.network.own_parameters(name)}
        for name in subject.layers
    }
    conv = ("params/{0}/kernel", "params/{0}/bias")
    norms = [[each.format(f"{path}BatchNorm_{i}") for each in NORM] for path, i in PLACES]
    assert own["Conv_0"] == {each.format("Conv_0") for each in conv} | {*norms[0]}
    assert own["Block_0/Conv_0"] == {"params/Block_0/Conv_0/kernel", *norms[1]}
    kernels = {f"params/Block_0/Conv_{i}/kernel" for i in (1, 2)}
    assert own["Block_0"] == kernels | {*norms[2], *norms[3]}
    with jax.numpy_rank_promotion("allow"):
        rewound = zfjax.measure(subject, "rewind", out=tmp_path / "out", images=COUNT)
        inputs = (pairs.pixels.astype(np.float32) - 120) / 60
        for name, leaves in own.items():
            mixed = jax.tree_util.tree_map_with_path(
                lambda keys, last, first, leaves=leaves: (
                    first if "/".join(key.key for key in keys) in leaves else last
                ),
                trees[8],
                trees[0],
            )
            hits = np.asarray(Normed().apply(mixed, inputs)).argmax(1) == pairs.labels
            assert rewound.of_layer("top1", name)[0] == pytest.approx(hits.mean())


PLACES = (("", 0), ("Block_0/", 0), ("Block_0/", 1), ("Block_0/", 2))
"""Of the norms of ``Normed``: whose, and which."""


def test_a_kernel_used_again_is_the_first_layer_s_own():
    def features(parameters, inputs):
        x = jax.lax.conv(inputs.transpose(0, 3, 1, 2), parameters["a"]["kernel"], (1, 1), "SAME")
        x = jax.nn.relu(x)
        return jax.nn.relu(jax.lax.conv(x, parameters["a"]["kernel"], (1, 1), "SAME"))

    trees = {0: {"a": {"kernel": np.ones((3, 3, 3, 3), np.float32)}}}
    subject = zfjax.subject_from(trees, model=features, mean=0, std=1, input=8)
    assert subject.network.own_parameters("a") == (("a", "kernel"),)
    assert subject.network.own_parameters("a#2") == ()


def test_a_layer_is_looked_up_by_one_way():
    kernel = np.ones((3, 3, 2, 4), np.float32)
    tree = {"Block_0": {"Conv_1": {"kernel": kernel, "bias": np.zeros(4)}}}
    for parameters, root in ((tree, ()), ({"params": tree, "batch_stats": {}}, ("params",))):
        assert path_in(parameters, "Block_0/Conv_1") == (*root, "Block_0", "Conv_1")
        np.testing.assert_array_equal(kernel_in(parameters, "Block_0/Conv_1"), kernel)
        assert kernel_in(parameters, "Block_0") is None and kernel_in(parameters, "conv1") is None


def test_images_in_memory_are_read_as_those_of_a_data_set():
    pairs = Counting(list(range(COUNT)))
    images = HeldImages(pairs, (8, 8))
    [first, second] = images.batches_of(4, [7, 3, 3, 0, 69])
    assert first["image_id"].tolist() == [7, 3, 3, 0] and second["weight"].tolist() == [1, 0, 0, 0]
    assert first["label"].tolist() == [7, 3, 3, 0] and images.describe([3, 69]) == [
        (3, ""),
        (69, ""),
    ]
    np.testing.assert_array_equal(first["image"][0], images.view(7))
    assert set(pairs.reads.values()) == {1}
    assert images.of_split("all") is images
    shares = [HeldImages(pairs, (8, 8), share=Share(index, 2)) for index in (0, 1)]
    ids = list(range(0, 70, 5))
    both = [[batch["image_id"].tolist() for batch in own.batches_of(4, ids)] for own in shares]
    assert both == [[[0, 5, 10, 15], [40, 45, 50, 55]], [[20, 25, 30, 35], [60, 65, -1, -1]]]
    assert [len(list(own.batches(40))) for own in shares] == [1, 1]
    assert shares[1].of_split("all").share == Share()
    with pytest.raises(ZfjaxError, match="no split 'train'"):
        images.of_split("train")
    with pytest.raises(ZfjaxError, match="no image 70"):
        images.describe([70])
