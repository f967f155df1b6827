"""Networks of torch's libraries in Linen: their scores are torch's, by numbers that torch gave
(tests/golden/torch.npz) and live where it is installed.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.network.torch_states import drawn_images, drawn_state
from zfjax.errors import ZfjaxError
from zfjax.network import torch as nets
from zfjax.network.named import ZFNET
from zfjax.network.torch_names import ORIGINS, names_of, variables_from
from zfjax.network.traced import layers_of_model
from zfjax.network.tracing import model_of

SMALL = {
    "torchvision/alexnet": nets.AlexNet(4, 12, 5),
    "torchvision/vgg16": nets.VGG16(4, 12, 5),
    "torchvision/vgg16_bn": nets.VGG16(4, 12, 5, normalised=True),
    "torchvision/resnet18": nets.ResNet(nets.RESNET18, False, 4, 5),
    "torchvision/resnet50": nets.ResNet(nets.RESNET50, True, 4, 5),
    "pytorchcv/zfnet": nets.ZFNet(6, 12, 5),
}
PARAMETERS = {
    "torchvision/alexnet": 61_100_840,
    "torchvision/vgg16": 138_357_544,
    "torchvision/vgg16_bn": 138_365_992,
    "torchvision/resnet18": 11_689_512,
    "torchvision/resnet50": 25_557_032,
    "pytorchcv/zfnet": 62_357_608,
}
"""As the libraries state them."""


@pytest.fixture(scope="module")
def golden():
    return np.load(Path(__file__).parents[1] / "golden" / "torch.npz")


def shapes_in(golden, name):
    return json.loads(str(golden[f"{name.replace('/', '-')}-shapes"]))


def nested(variables):
    tree = {}
    for path, array in variables.items():
        node, words = tree, path.split("/")
        for word in words[:-1]:
            node = node.setdefault(word, {})
        node[words[-1]] = array
    return tree


def scored(name, state):
    variables = nested(variables_from(state, SMALL[name]))
    return np.asarray(jax.jit(SMALL[name].apply)(variables, drawn_images(name)))


def close(scores, expected):
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", ORIGINS)
def test_scores_are_those_that_torch_gave(name, golden):
    assert list(SMALL) == list(PARAMETERS) == list(ORIGINS)
    close(
        scored(name, drawn_state(shapes_in(golden, name))),
        golden[f"{name.replace('/', '-')}-scores"],
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ORIGINS)
def test_scores_are_those_of_torch_live(name):
    torch = pytest.importorskip("torch")
    from tests.network.torch_nets import small

    torch.manual_seed(5)
    net = small(name)
    images = torch.from_numpy(drawn_images(name).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        expected = net(images).numpy()
    close(scored(name, {key: array.numpy() for key, array in net.state_dict().items()}), expected)


@pytest.mark.parametrize("name", ORIGINS)
def test_every_array_of_the_whole_network_has_a_name(name):
    net = ORIGINS[name].build()
    variables = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 224, 224, 3)))
    leaves = jax.tree_util.tree_flatten_with_path(variables)[0]
    sizes = {"/".join(key.key for key in keys): leaf.size for keys, leaf in leaves}
    names = names_of(net)
    assert sorted(named.ours for named in names) == sorted(sizes)
    assert len({named.theirs for named in names}) == len(names)
    own = sum(size for path, size in sizes.items() if path.startswith("params/"))
    assert own == PARAMETERS[name]


@pytest.mark.parametrize("name", ["torchvision/alexnet", "torchvision/resnet18"])
def test_another_network_s_weights_are_named(name, golden):
    state, net = drawn_state(shapes_in(golden, name)), SMALL[name]
    kernel = next(iter(state))
    shape = str(state[kernel].shape).replace("(", r"\(").replace(")", r"\)")
    head = [key for key in state if key.endswith("bias")][-1]
    counted = {**state, "bn1.num_batches_tracked": np.array(3)}
    assert variables_from(counted, net).keys() == variables_from(state, net).keys()
    other = ORIGINS["torchvision/vgg16"].build()
    for changed, of, words in (
        ({key: array for key, array in state.items() if key != kernel}, net, f"lacks {kernel}"),
        ({**state, "extra.weight": np.ones(1)}, net, "it has extra.weight, which the network has"),
        ({**state, kernel: state[kernel][:, :1]}, net, rf"{kernel} is of shape .*, not {shape}"),
        ({**state, head: np.ones(9)}, net, rf"{head} is of shape \(9,\), not \(5,\)"),
        ({**state, head: np.full(5, np.nan)}, net, f"{head} has numbers that are not finite"),
        ({}, net, "it lacks .* and .* more"),
        (state, other, "it lacks .*; it has .* which the network has not"),
    ):
        with pytest.raises(ZfjaxError, match=words):
            variables_from(changed, of)


def test_lrn_divides_alpha_by_the_maps_as_torch_does():
    """Against sums written out; zfjax's own does not divide."""
    x = np.random.default_rng(0).normal(0, 300, (2, 3, 3, 8)).astype(np.float32)
    expected = np.empty_like(x)
    for channel in range(8):
        among = x[..., max(0, channel - 2) : channel + 3].astype(np.float64)
        divisor = (2 + 1e-4 / 5 * (among**2).sum(-1)) ** 0.75
        expected[..., channel] = x[..., channel] / divisor
    np.testing.assert_allclose(nets.local_response_norm(jnp.asarray(x)), expected, rtol=1e-5)


@pytest.mark.parametrize("sizes", [(7, 7), (13, 13), (5, 9), (14, 3), (1, 1)])
def test_adaptive_pools_average_what_torch_s_do(sizes):
    x = np.random.default_rng(0).normal(size=(1, *sizes, 2))
    expected = np.empty((1, 7, 7, 2))
    for row in range(7):
        rows = slice(row * sizes[0] // 7, int(np.ceil((row + 1) * sizes[0] / 7)))
        for column in range(7):
            columns = slice(column * sizes[1] // 7, int(np.ceil((column + 1) * sizes[1] / 7)))
            expected[:, row, column] = x[:, rows, columns].mean((1, 2))
    pooled = nets.average_pool_to(jnp.asarray(x, jnp.float32), 7)
    np.testing.assert_allclose(pooled, expected, atol=1e-6)


def layers_of(net):
    variables = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 224, 224, 3)))
    return layers_of_model(model_of(net, variables, (224, 224)))


@pytest.mark.slow
def test_their_layers_are_known_by_name_and_sight():
    by_name = {name: {layer.name: layer for layer in layers_of(net)} for name, net in SMALL.items()}
    convs = [f"conv{number}" for number in range(1, 6)]
    assert list(by_name["torchvision/alexnet"]) == list(by_name["pytorchcv/zfnet"]) == convs
    for name in ("torchvision/vgg16", "torchvision/vgg16_bn"):
        assert list(by_name[name])[::12] == ["conv1_1", "conv5_3"] and len(by_name[name]) == 13
    blocks = list(by_name["torchvision/resnet18"])
    assert blocks[:4] == ["conv1", "layer1_0/conv1", "layer1_0", "layer1_1/conv1"]
    assert len(blocks) == 17 and len(by_name["torchvision/resnet50"]) == 49
    fields = [layer.window.size for layer in by_name["pytorchcv/zfnet"].values()]
    assert fields == [7, 27, 75, 107, 139]
    assert fields == [ZFNET.window(name).size for name in convs]
