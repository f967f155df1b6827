"""Configs to begin with, by name: a preset is a value. No JAX."""

from __future__ import annotations

from zfjax.config import Config, Data, Optimizer
from zfjax.errors import ZfjaxError
from zfjax.network.named import ALEXNET, UNIT_ALPHA, ZFNET, small_zfnet

PRESETS: dict[str, Config] = {
    preset.preset: preset
    for preset in (
        Config(
            preset="demo",
            model=small_zfnet(
                "zfnet-64-quarter",
                input_size=(64, 64),
                width=0.25,
                head=128,
                classes=10,
                dropout=0.2,
            ),
            data=Data(shift=4, flip=True),
            optimizer=Optimizer(learning_rate=0.02, warmup_epochs=0.5, weight_decay=1e-3),
            epochs=10,
            batch_size=32,
        ),
        Config(
            preset="tiny-imagenet",
            model=small_zfnet(
                "zfnet-64-half", input_size=(64, 64), width=0.5, head=512, classes=200
            ),
            data=Data(name="tiny_imagenet", shift=6),
            optimizer=Optimizer(learning_rate=0.02, warmup_epochs=1.0, weight_decay=5e-4),
            epochs=16,
            batch_size=64,
        ),
        Config(
            preset="imagenet",
            recipe="faithful",
            model=ZFNET,
            data=Data(name="imagenet2012", view=256, threads=8, crops="ten"),
            optimizer=Optimizer(learning_rate=0.01, schedule="plateau", warmup_epochs=0.0),
            epochs=70,
        ),
        Config(
            preset="imagenet-modern",
            model=ZFNET.replace("norm1", alpha=UNIT_ALPHA).replace("norm2", alpha=UNIT_ALPHA),
            data=Data(name="imagenet2012", view=256, threads=8),
            optimizer=Optimizer(
                learning_rate=0.04, warmup_epochs=5.0, weight_decay=5e-4, label_smoothing=0.1
            ),
            epochs=90,
            batch_size=512,
            compute="bfloat16",
        ),
        Config(
            preset="alexnet",
            recipe="faithful",
            model=ALEXNET,
            data=Data(name="imagenet2012", view=256, threads=8),
            optimizer=Optimizer(
                learning_rate=0.01, schedule="plateau", warmup_epochs=0.0, weight_decay=5e-4
            ),
            epochs=70,
        ),
    )
}


def preset(name: str) -> Config:
    """The preset of that name. Raises ZfjaxError naming those there are."""
    if name not in PRESETS:
        raise ZfjaxError(f"There is no preset {name!r}; there are {', '.join(PRESETS)}.")
    return PRESETS[name]
