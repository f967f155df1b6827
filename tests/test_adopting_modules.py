"""Modules of NNX and Equinox evolved like a run, by Python and by command; what is refused."""

import sys

import equinox as eqx
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx

import zfjax
from tests.network import module_nets
from zfjax.commands.cli import main
from zfjax.errors import ZfjaxError
from zfjax.measures.kernels import kernel_in, map_weights
from zfjax.measures.likeness import weights_of
from zfjax.run.evolution import open_evolution

STEPS, HOW = (0, 3), {"mean": 120, "std": 60, "input": 16}


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Conv(3, 4, (3, 3), 2, padding="VALID", rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.dropout(nnx.relu(self.first(x))).mean((1, 2))


class Eqx(eqx.Module):
    first: eqx.nn.Conv2d
    act: object

    def __init__(self, key):
        self.first, self.act = eqx.nn.Conv2d(3, 4, 3, 2, key=key), jax.nn.relu

    def __call__(self, x):
        return self.act(self.first(x)).mean((1, 2))


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)


def pair_of(step):
    """The same weights as modules of both."""
    ours = Nnx(nnx.Rngs(step))
    theirs = eqx.tree_at(
        lambda module: (module.first.weight, module.first.bias),
        Eqx(jax.random.key(0)),
        (
            np.transpose(ours.first.kernel[...], (3, 2, 0, 1)),
            ours.first.bias[...].reshape(-1, 1, 1),
        ),
    )
    return ours, theirs


@pytest.mark.slow
def test_the_same_weights_in_nnx_and_equinox_are_the_same_evolution(pixels, tmp_path):
    pairs = {step: pair_of(step) for step in STEPS}
    found, measured = [], []
    with jax.numpy_rank_promotion("allow"):
        for name, trees, model in (
            ("nnx", {step: nnx.state(pair[0]) for step, pair in pairs.items()}, Nnx),
            ("equinox", {step: pair[1] for step, pair in pairs.items()}, pairs[0][1]),
        ):
            subject = zfjax.subject_from(trees, model=model, images=pixels, **HOW)
            assert list(subject.layers) == ["first"] and subject.scores is not None
            found.append(zfjax.evolve(subject, out=tmp_path / name, maps=4, top=2))
            assert zfjax.measure(subject, "census", out=tmp_path / name).layers == ("first",)
            names = ("census", "weights", "spectrum")
            measured.append([zfjax.measure(subject, each, out=tmp_path / name) for each in names])
        inputs = (pixels.astype(np.float32) - 120) / 60
        for step, (module, _) in pairs.items():
            maps = np.asarray(jax.nn.relu(module.first(inputs)))
            for row in found[0].rows(layer="first", step=step, selection="top", rank=0):
                own = maps[..., row["map"]].max((1, 2))
                assert row["image_id"] == own.argmax()
                assert row["activation"] == pytest.approx(own.max(), rel=1e-5)
    for step in STEPS:
        ours, theirs = ([*each.rows(layer="first", step=step)] for each in found)
        for a, b in zip(ours, theirs, strict=True):
            assert a["activation"] == pytest.approx(b["activation"], rel=1e-5)
            assert {**a, "activation": 0, "margin": 0} == {**b, "activation": 0, "margin": 0}
        ours, theirs = (each.tiles("first", step) for each in found)
        assert ours and ours.keys() == theirs.keys()
        for key, tile in ours.items():
            np.testing.assert_allclose(tile.projection, theirs[key].projection, atol=2e-3)
    np.testing.assert_array_equal(found[0].filters[3], found[1].filters[3])
    quantities = set()
    for ours, theirs in zip(*measured, strict=True):
        for a, b in zip(ours.table.to_pylist(), theirs.table.to_pylist(), strict=True):
            assert {**a, "value": 0, "low": 0, "high": 0} == {**b, "value": 0, "low": 0, "high": 0}
            values = [np.nan if row["value"] is None else row["value"] for row in (a, b)]
            assert values[0] == pytest.approx(values[1], rel=1e-4, abs=1e-6, nan_ok=True), a
            quantities.add(a["quantity"])
    assert {"weight_rms", "cosine", "inverse_residual", "coverage"} <= quantities


def test_kernels_are_the_convolutions_in_whatever_order_they_are_kept(pixels):
    def features(parameters, inputs):
        by_maps = jax.lax.conv_general_dilated(
            inputs, parameters["one"], (2, 2), "VALID", dimension_numbers=("NHWC", "OIHW", "NHWC")
        )
        bent = parameters["two"] / 2
        dimensions = ("NHWC", "HWIO", "NHWC")
        own = jax.lax.conv_general_dilated(
            jax.nn.relu(by_maps), bent, (1, 1), "VALID", dimension_numbers=dimensions
        )
        return {"scores": jax.nn.relu(own).mean((1, 2))}

    tree = {
        "one": np.random.default_rng(0).normal(size=(4, 3, 5, 5)).astype(np.float32),
        "two": np.ones((3, 3, 4, 2), np.float32),
    }
    kernel = np.transpose(tree["one"], (2, 3, 1, 0))
    subject = zfjax.subject_from({0: tree}, model=features, images=pixels, **HOW)
    network, parameters = subject.network, subject.parameters(0)
    assert list(network.layers) == ["one", "two"]
    np.testing.assert_array_equal(kernel_in(parameters, "one", network), kernel)
    assert map_weights(parameters, "one", network).shape == (75, 4)
    assert weights_of([parameters, parameters], "one", network) is not None
    assert weights_of([parameters, parameters], "two", network) is None
    np.testing.assert_array_equal(network.first_kernel(parameters), kernel)
    for layer in ("two", "three", "first"):
        assert kernel_in(parameters, layer, network) is None
    assert kernel_in(parameters, "one") is None

    def named(parameters, inputs):
        dimensions = ("NHWC", "HWIO", "NHWC")
        first, second = (
            lambda x, name=name: jax.nn.relu(
                jax.lax.conv_general_dilated(
                    x, parameters[name], (1, 1), "VALID", dimension_numbers=dimensions
                )
            )
            for name in ("w1", "w2")
        )
        low = first(inputs)
        return {"edges": low, "parts": second(low), "again": second(low[:, 1:])}

    shapes = {"w1": (3, 3, 3, 4), "w2": (3, 3, 4, 2)}
    generator = np.random.default_rng(1)
    tree = {name: generator.normal(size=own).astype(np.float32) for name, own in shapes.items()}
    subject = zfjax.subject_from({0: tree}, model=named, images=pixels, **HOW)
    assert list(subject.layers) == ["edges", "parts", "again"]
    for layer, name in (("edges", "w1"), ("parts", "w2"), ("again", "w2")):
        own = kernel_in(subject.parameters(0), layer, subject.network)
        np.testing.assert_array_equal(own, tree[name])


NETS = """
import equinox as eqx, jax
from flax import nnx
from tests.test_adopting_modules import Eqx, Nnx
from tests.network.module_nets import EqxNet, NnxNet

def with_state():
    return eqx.nn.make_with_state(EqxNet)(jax.random.key(0))

def with_key(key):
    return Eqx(key)

class Two(Eqx):
    def __call__(self, x, y):
        return super().__call__(x)

class Drawing(nnx.Module):
    def __init__(self, rngs):
        self.first, self.rngs = nnx.Conv(3, 4, (3, 3), rngs=rngs), rngs

    def __call__(self, x):
        x = nnx.relu(self.first(x))
        return x * jax.random.bernoulli(self.rngs.params(), 0.5, x.shape)

class DrawingKey(Eqx):
    def __call__(self, x, key):
        x = self.act(self.first(x))
        return x * jax.random.bernoulli(key, 0.5, x.shape)

class Training(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)

    def __call__(self, x):
        return nnx.relu(self.norm(self.first(x), use_running_average=False))

class Gray(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Conv(1, 4, (3, 3), rngs=rngs)

    def __call__(self, x):
        return nnx.relu(self.first(x))

class Sized(nnx.Module):
    def __init__(self, width, rngs):
        self.width = width

class Broken(eqx.Module):
    def __init__(self, key):
        raise RuntimeError("the weights are at home")

class Uncalled(eqx.Module):
    pass

def sequence():
    keys = jax.random.split(jax.random.key(0))
    return eqx.nn.Sequential([
        eqx.nn.Conv2d(3, 4, 3, key=keys[0]), eqx.nn.Lambda(jax.nn.relu), eqx.nn.Dropout(0.5),
        eqx.nn.MaxPool2d(2, 2), eqx.nn.Conv2d(4, 4, 3, key=keys[1]), eqx.nn.Lambda(jax.nn.relu)])

def with_norm():
    return eqx.nn.Sequential([
        eqx.nn.Conv2d(3, 4, 3, key=jax.random.key(0)),
        eqx.nn.BatchNorm(4, "batch", mode="ema"), eqx.nn.Lambda(jax.nn.relu)])

def in_nnx():
    rngs = nnx.Rngs(0)
    return nnx.Sequential(nnx.Conv(3, 4, (3, 3), rngs=rngs), nnx.BatchNorm(4, rngs=rngs), nnx.relu)

def shapes():
    return eqx.filter_eval_shape(lambda: Eqx(jax.random.key(0)))

def shapes_of_nnx():
    return nnx.eval_shape(lambda: Nnx(nnx.Rngs(0)))

def flat():
    return eqx.nn.Sequential([eqx.nn.Lambda(lambda x: x.reshape(-1)),
                              eqx.nn.Linear(768, 3, key=jax.random.key(0))])
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    (tmp_path / "somebodys_modules.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    yield "somebodys_modules"
    sys.modules.pop("somebodys_modules", None)


def info(words, *more):
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        return main(["info", "--model", words, "--input", "16", *more])


@pytest.mark.parametrize("name", ["NnxNet", "EqxNet", "with_state"])
def test_every_layer_of_a_module_stands_in_the_table(nets, capsys, name):
    assert info(f"{nets}:{name}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("EqxNet," if name == "with_state" else f"{name}, input 16x16x3")
    rows = [line.split()[0] for line in lines if line.endswith("ReLU")]
    assert tuple(rows) == module_nets.LAYERS and "class scores: 3 classes" in lines[-1]


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("sequence", ["layers/0", "layers/4"]),
        ("with_norm", ["layers/0"]),
        ("in_nnx", ["layers/0"]),
        ("with_key", ["first"]),
        ("shapes", ["first"]),
        ("shapes_of_nnx", ["first"]),
    ],
)
def test_layers_in_a_row_are_a_network_too(nets, capsys, name, layers):
    assert info(f"{nets}:{name}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.endswith("ReLU")] == layers


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Two", "Two of Equinox takes x, y; it must take one image"),
        ("Drawing", "draws random numbers"),
        ("DrawingKey", "draws random numbers"),
        ("Training", "it is in training mode"),
        ("Gray", "cannot be run on its variables"),
        ("Sized", "failed:\nTypeError"),
        ("Broken", "failed:\nRuntimeError: the weights are at home (somebodys_modules.py:"),
        ("Uncalled", "returns Uncalled; it must return a Linen module, one of NNX or Equinox"),
        ("flat", "no ReLU on maps"),
    ],
)
def test_what_is_wrong_with_a_module_is_said_in_a_few_lines(nets, capsys, name, said):
    assert info(f"{nets}:{name}") == 1
    words = capsys.readouterr().err
    assert said in words and "Traceback" not in words and len(words.splitlines()) < 8


def test_trees_that_are_not_the_module_s_are_one_sentence(pixels):
    ours, theirs = pair_of(0)
    wide = eqx.nn.Conv2d(3, 5, 3, key=jax.random.key(0))
    with_state, state = module_nets.eqx_net(module_nets.weights())
    for tree, model, said in (
        ({"first": {"bias": np.zeros(4, np.float32)}}, ours, "first/kernel is missing"),
        (
            eqx.tree_at(lambda module: module.first, theirs, wide),
            theirs,
            "first/(weight|bias) is of shape",
        ),
        (with_state, (with_state, state), "no state of the network beside its params"),
        ({"a": theirs, "b": theirs}, theirs, "Several parts of the checkpoint fit"),
        (5, ours, "trees of arrays by step"),
        ({}, theirs, "trees of arrays by step"),
    ):
        with pytest.raises(ZfjaxError, match=said):
            zfjax.subject_from({0: tree}, model=model, images=pixels, **HOW)
    with pytest.raises(ZfjaxError, match="no layer 'second'; it has first"):
        zfjax.subject_from({0: ours}, model=ours, images=pixels, layers="second", **HOW)
    for model in ((theirs, 5), [theirs], (ours, ours)):
        with pytest.raises(ZfjaxError, match="model is of type"):
            zfjax.subject_from({0: theirs}, model=model, images=pixels, **HOW)
    subject = zfjax.subject_from({0: ours, 1: {"first": 5}}, model=ours, images=pixels, **HOW)
    with pytest.raises(ZfjaxError, match="step 1 lacks first/"):
        subject.parameters(1)


@pytest.mark.slow
@pytest.mark.parametrize("boxed", [False, True])
def test_the_command_evolves_an_nnx_network_out_of_an_orbax_root(
    nets, tmp_path, data_dir, monkeypatch, capsys, boxed
):
    saver = ocp.StandardCheckpointer()
    for step in STEPS:
        module = pair_of(step)[0]
        pure = nnx.to_pure_dict(nnx.state(module, nnx.Param))
        saver.save(tmp_path / "root" / str(step), nnx.state(module) if boxed else pure)
    saver.wait_until_finished()
    saver.close()
    [name] = [path.name for path in data_dir.iterdir() if path.is_dir()]
    words = ["--model", f"{nets}:Nnx", "--checkpoints", "root", "--workdir", "out", "--input", "16"]
    words += ["--data.name", name, "--data.dir", str(data_dir), "--mean", "120", "--std", "60"]
    words += [] if boxed else ["--maps", "2"]
    assert main(["evolve", *words, "--steps-per-epoch", "3"]) == 0
    assert "recorded activations reproduced" in capsys.readouterr().out
    evolution = open_evolution(tmp_path / "out" / "evolution")
    assert evolution.layers == ("first",) and evolution.steps == STEPS
    kernel = pair_of(STEPS[-1])[0].first.kernel[...]
    np.testing.assert_array_equal(evolution.filters[STEPS[-1]], kernel)
    assert main(["info", "--workdir", "out"]) == 0
    assert "Nnx, input 16x16x3" in capsys.readouterr().out
