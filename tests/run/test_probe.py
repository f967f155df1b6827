"""A probe on disk: what is read back, how it is ordered, and a damaged one."""

import numpy as np
import pytest

from tests.measures.probed import make_probe
from zfjax.errors import ZfjaxError
from zfjax.run.probe import MEANS, Probe, quantised


@pytest.fixture
def values():
    generator = np.random.default_rng(0)
    large = generator.normal(size=(200, 7)) * 10.0 ** np.arange(-20, 15, 5)
    large[:, 2] = 0
    large[:5, 3] = -0.0
    return {step: {"a/b": large * (step + 1), "conv1": np.abs(large[:, :3])} for step in (0, 5)}


def test_values_come_back_within_half_precision_of_each_maps_scale(values, tmp_path):
    labels = np.arange(200)
    probe = make_probe(tmp_path / "probe.npz", values, labels)
    assert probe.steps == (0, 5) and probe.columns == {"a/b": slice(0, 7), "conv1": slice(7, 10)}
    np.testing.assert_array_equal(probe.labels, labels)
    for step, layers in values.items():
        for layer, expected in layers.items():
            found = probe.values(step, layer)
            scale = np.abs(expected).max(axis=0)
            assert found.dtype == np.float32
            assert (np.abs(found - expected) <= 2.0**-11 * scale + 1e-37).all()
        joined = np.concatenate(list(layers.values()), axis=1)
        assert probe.values(step).shape == joined.shape


def test_keys_order_images_as_their_values_do(values, tmp_path):
    probe = make_probe(tmp_path / "probe.npz", values)
    for layer in ("a/b", "conv1"):
        keys, found = probe.keys(5, layer).astype(int), probe.values(5, layer)
        for first, second in ((slice(0, 100), slice(100, 200)),):
            np.testing.assert_array_equal(
                np.sign(keys[first] - keys[second]), np.sign(found[first] - found[second])
            )
        np.testing.assert_array_equal(probe.excites(5, layer), found > 0)
    small, scale = quantised(np.float32([[-1e-30, 1], [1, -0.0]]))
    assert not np.signbit(small[0, 0]) and not np.signbit(small[1, 1]) and scale.tolist() == [1, 1]


def test_what_it_does_not_have_and_a_damaged_one_are_said(values, tmp_path):
    path = tmp_path / "probe.npz"
    probe = make_probe(path, values)
    with pytest.raises(ZfjaxError, match="has no maxima of step 3; it has maxima of 0, 5"):
        probe.values(3, "conv1")
    with pytest.raises(ZfjaxError, match="has no means of step 0"):
        probe.values(0, "conv1", MEANS)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ZfjaxError, match="is damaged; delete it"):
        Probe(path).values(0, "conv1")
    with pytest.raises(ZfjaxError, match="is missing; delete it"):
        Probe(tmp_path / "none.npz").ids  # noqa: B018
