"""Modules of NNX and Equinox: as pure functions, against explicit rules, found in checkpoints."""

import copy

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.network import module_nets
from tests.network.compared import compare_units, relaxed
from tests.network.explicit import Tape
from zfjax.network.modules import PureModule, arrays_of, called, kind_of, purified
from zfjax.network.ops import RULES
from zfjax.network.traced import TracedForward, TracedScores, layers_of_model
from zfjax.network.tracing import model_of, scores_output
from zfjax.run.pieces import nested, part_of_pieces, together

OWN = module_nets.weights()


def nnx_pure():
    module = module_nets.nnx_net(OWN)
    return purified(module), nested(arrays_of(nnx.state(module)))


def eqx_pure():
    module, state = module_nets.eqx_net(OWN)
    variables = {"params": nested(arrays_of(module)), "state": nested(arrays_of(state))}
    return purified((module, state)), variables


MADE = {"NNX": nnx_pure, "Equinox": eqx_pure}


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).normal(size=(2, *module_nets.SIZE, 3)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("kind, rule", [("NNX", "guided"), ("Equinox", "deconvnet")])
def test_modules_equal_their_explicit_rules(kind, rule):
    pure, variables = MADE[kind]()
    with relaxed():
        variables = jax.tree.map(np.float64, variables)
        pixels = np.random.default_rng(0).normal(size=(1, *module_nets.SIZE, 3))
        model = model_of(pure, variables, module_nets.SIZE, name=pure.name, dtype=jnp.float64)
        tape = Tape(rule)
        start = tape.node(pixels)
        named = module_nets.explicit(tape, OWN, start)
        layers = {layer.name: layer for layer in layers_of_model(model)}
        assert tuple(layers) == module_nets.LAYERS == tuple(named)
        windows = 0
        for name, layer in layers.items():
            outcome = compare_units(
                TracedForward(model), layer, variables, (tape, start, named), RULES[rule]
            )
            assert outcome.equal >= 2 and outcome.worst < 1e-9, name
            windows += outcome.windows
        assert windows >= 6


def test_both_are_the_same_network_and_see_the_same(pixels):
    seen, outputs = [], []
    for made in MADE.values():
        pure, variables = made()
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            model = model_of(pure, together(pure.pieces), module_nets.SIZE, name=pure.name)
            assert set(model.paths) == set(arrays_of(variables)) - {"dropout/rngs/count"}
            seen.append([(each.name, each.window) for each in layers_of_model(model)])
            outputs.append(TracedScores(model, scores_output(model))(variables, pixels))
    assert seen[0] == seen[1]
    assert [window and (window.size, window.jump) for _, window in seen[0]] == [
        (5, 2), (17, 4), (25, 4), None,
    ]  # fmt: skip
    assert np.abs(outputs[0]).max() > 0.1
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_evaluation_mode_is_set_on_a_copy(pixels):
    """A module comes as it was trained; what its owner holds keeps its mode and its statistics."""
    module = module_nets.nnx_net(OWN)
    owned = nnx.clone(module)
    owned.eval()
    with jax.numpy_rank_promotion("allow"):
        expected = owned(jnp.asarray(pixels))
        before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(module, nnx.BatchStat)))
        pure = purified(module)
        found = pure(nested(arrays_of(nnx.state(module))), jnp.asarray(pixels))
        np.testing.assert_array_equal(found, expected)
        assert not module.norm.use_running_average and not module.dropout.deterministic
        jax.tree.map(
            np.testing.assert_array_equal,
            before,
            jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))),
        )
        pair = module_nets.eqx_net(OWN)
        own = eqx.nn.inference_mode(pair[0])
        key = jax.random.PRNGKey(1)
        expected = [own(image, pair[1], key)[0] for image in jnp.moveaxis(pixels, 3, 1)]
        pure, variables = eqx_pure()
        found = pure(variables, jnp.asarray(pixels))
        np.testing.assert_allclose(found, np.stack(expected), rtol=1e-5, atol=1e-6)
        assert pair[0].dropout.inference is False


def test_what_a_class_is_and_what_it_is_built_with():
    assert kind_of(module_nets.NnxNet) == kind_of(module_nets.nnx_net(OWN)) == "NNX"
    assert kind_of(module_nets.EqxNet) == "Equinox" and kind_of(np.zeros(3)) == kind_of(int) == ""
    assert isinstance(called(module_nets.NnxNet), module_nets.NnxNet)
    # A state is made for a module that was built without one.
    pure = purified(called(module_nets.EqxNet))
    assert isinstance(pure, PureModule) and [name for name, _ in pure.pieces] == ["params", "state"]
    assert called(lambda *rest, width=7: width) == 7 and called(lambda key: key) is not None
    plain = purified(eqx.nn.Conv2d(3, 4, 3, key=jax.random.key(0)))
    assert [name for name, _ in plain.pieces] == [""]


def test_pieces_are_found_under_whatever_names():
    pure, variables = eqx_pure()
    net, state = variables["params"], variables["state"]
    for tree, path, place in (
        ({"params": net, "state": state}, None, "params"),
        ({"0": net, "1": state}, None, "0"),
        ({"run": {"net": net, "bn": state}, "opt_state": {"mu": net}}, None, "run/net"),
        ({"net": net, "ema": net, "bn": state}, "ema", "ema"),
        ({"a": {"net": net, "bn": state}, "b": {"net": net, "bn": state}}, "b", "b/net"),
    ):
        part = part_of_pieces(tree, pure.pieces, path)
        assert part.places["params/stem/weight"] == f"{place}/stem/weight"
        assert len(set(part.places.values())) == len(arrays_of(variables))
    pure, variables = nnx_pure()
    statistics = {name for name in OWN if name.endswith(("/mean", "/var"))}
    apart = {
        "params": nested({name: leaf for name, leaf in OWN.items() if name not in statistics}),
        "batch_stats": nested({name: OWN[name] for name in statistics}),
    }
    for tree, place in ((variables, ""), ({"model": variables}, "model/"), (apart, "params/")):
        part = part_of_pieces(tree, pure.pieces, None)
        assert part.places["stem/kernel"] == f"{place}stem/kernel"
        assert part.places["norm/mean"] == f"{place}norm/mean".replace("params", "batch_stats")


def test_arrays_alone_are_taken_of_trees_that_hold_more():
    module = module_nets.nnx_net(OWN)
    assert set(arrays_of(nnx.state(module))) - set(OWN) == {"dropout/rngs/count"}
    assert set(arrays_of(copy.deepcopy(nnx.to_pure_dict(nnx.state(module, nnx.Param))))) < set(OWN)
    names = set(arrays_of(module_nets.eqx_net(OWN)[0]))
    assert "stem/weight" in names and not any("inference" in name for name in names)
