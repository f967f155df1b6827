"""A layer's weights are found where a network keeps them, nested ones too."""

import numpy as np
import pytest

from zfjax.measures.kernels import map_weights


@pytest.mark.parametrize("root", [(), ("params",)])
@pytest.mark.parametrize("layer", ["conv1", "block_2/conv", "a/b/c"])
def test_weights_of_a_layer_are_its_kernel(root, layer):
    kernel = np.arange(24, dtype=np.float32).reshape(2, 2, 3, 2)
    tree = {"kernel": kernel, "bias": np.zeros(2)}
    for name in reversed([*root, *layer.split("/")]):
        tree = {name: tree}
    found = map_weights(tree, layer)
    assert found.dtype == np.float64 and found.shape == (12, 2)
    np.testing.assert_array_equal(found, kernel.reshape(12, 2))
    assert map_weights(tree, layer + "/kernel") is None and map_weights(tree, "other") is None
