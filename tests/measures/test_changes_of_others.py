"""Invariance, equivariance and correspondence of anyone's network, its head included."""

import flax.linen as nn
import jax
import numpy as np
import pytest

import zfjax
from tests.network import linen_nets
from zfjax.errors import ZfjaxError


class Headed(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), 2)(x)).reshape(len(x), -1)
        return nn.Dense(3)(nn.relu(nn.Dense(5, name="fc1")(x)))


def subject_of(images):
    trees = {step: linen_nets.drawn(Headed(), (16, 16), seed=step) for step in (0, 8)}
    return zfjax.subject_from(trees, model=Headed(), images=images, mean=120, std=60, input=16)


@pytest.mark.slow
def test_anyones_network_is_asked_like_a_run(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 20, 24, 3), np.uint8)
    pairs = [(image, index % 3) for index, image in enumerate(pixels)]
    out = {"out": tmp_path / "out"}
    points = {"translation_points": 3, "scale_points": 3, "rotation_points": 3}
    with jax.numpy_rank_promotion("allow"):
        subject = subject_of(pairs)
        moved = zfjax.measure(subject, "invariance", images=4, drawn=1, **points, **out)
        assert list(moved.of_layer("small_translation", "fc1")) == [0, 8]
        assert moved.of_layer("l2_rotation_0", "Conv_0") == {0: 0, 8: 0}
        assert moved.of_layer("probability", None)[8] > 0 and moved.counts("pair_l2") == 4
        assert (tmp_path / "out/measures/invariance-layers.png").is_file()
        codes = zfjax.measure(subject, "equivariance", images=3, points=3, **out)
        assert codes.of_layer("place_slope", "Conv_0")[8] == pytest.approx(1, abs=0.2)
        assert "rate_change" in codes.quantities()
        file = tmp_path / "boxes.csv"
        rows = [f"{index},tip,2,{2 + index},6,{7 + index}" for index in range(6)]
        file.write_text("image_id,part,y0,x0,y1,x1\n" + "\n".join(rows))
        parts = zfjax.measure(subject, "correspondence", parts=file, **out)
        assert set(parts.table["layer"].to_pylist()) == {"Conv_0", "fc1"}
        assert parts.meta["asked"]["options"]["parts"].startswith(f"{file} (sha256 ")
        file.write_text(file.read_text().replace("tip", "top"))
        with pytest.raises(ZfjaxError, match="other settings"):  # the same file, other boxes
            zfjax.measure(subject, "correspondence", parts=file, **out)
        with pytest.raises(ZfjaxError, match="needs boxes of the parts"):
            zfjax.measure(subject, "correspondence", **out, name="own")
        unlabelled = zfjax.measure(
            subject_of(pixels), "invariance", images=4, **points, out=tmp_path / "plain"
        )
        assert "no labels" in unlabelled.meta["sentence"]
        assert "same_class_scale_1.8" in unlabelled.quantities()
