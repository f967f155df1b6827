"""What a training run is: frozen dataclasses, and JSON in and out. No JAX.

An ablation is a replaced field; ``RUN/config.json`` is enough to run it again.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import textwrap
import typing
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from zfjax.building import build
from zfjax.errors import ZfjaxError
from zfjax.keeping import are_kept
from zfjax.network.architecture import LAYER_KINDS, Architecture
from zfjax.values import make_plain, path_text, plain_field


@dataclass(frozen=True)
class Data:
    """Where the images come from and how training varies them."""

    name: str = "scenes"
    """Name of a prepared TFDS data set; "scenes" is the embedded one, never a set of your own."""
    dir: str = ""
    """Folder of prepared data sets; empty: zfjax's own data folder."""
    train_split: str = "train"
    """Split to train on."""
    validation_split: str = "validation"
    """Split that every saved epoch is evaluated on."""
    view: int = 64
    """Pixels: the shorter side is resized to this before cropping."""
    shift: int = 0
    """Pixels of mirrored border added before the random crop in training."""
    flip: bool = True
    """Mirror half of the training images left to right."""
    crops: Literal["random", "ten"] = "random"
    """Where training crops lie: anywhere, or at the paper's ten places (four corners and the
    centre, each mirrored or not). The paper can be read either way (section 3)."""
    threads: int = 2
    """Decoding threads; all together they decode some thousands of images a second, however many
    cores there are."""
    processes: int = 0
    """Decoding processes, in the place of threads: as many as cores, where threads do not
    suffice."""
    on_error: Literal["fail", "skip"] = "fail"
    """What to do with a record that cannot be read: stop and name it, or name it and go on with its
    neighbour instead (evaluation and search leave it out)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "dir", path_text(self.dir, "data.dir"))
        make_plain(self, "data.")


@dataclass(frozen=True)
class Optimizer:
    """Stochastic gradient descent with momentum and its schedule."""

    learning_rate: float = 0.03
    """Peak learning rate."""
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    """"plateau" divides by 10 when the validation error has not improved for ``patience`` epochs
    (paper, section 3)."""
    warmup_epochs: float = 1.0
    """Epochs in which the rate rises linearly to its peak."""
    patience: int = 5
    """Epochs without a better validation error before the plateau schedule divides the rate."""
    momentum: float = 0.9
    """Share of the last update that is kept."""
    weight_decay: float = 0.0
    """Added to the gradient, times the weight; biases are left out."""
    label_smoothing: float = 0.0
    """Share of each target that is spread over all classes."""
    accumulate: int = 1
    """Parts into which a batch's gradient is computed one after the other, to save memory."""

    def __post_init__(self) -> None:
        make_plain(self, "optimizer.")


OF_RECIPE = -1.0
"""``Config.rms_clip`` as the recipe has it."""
RECIPE_CLIPS = {"faithful": 0.1, "modern": 0.0}
"""RMS of a clipped filter; paper, section 3: "a fixed radius of 10^-1"."""


@dataclass(frozen=True)
class Config:
    """A whole training run."""

    model: Architecture
    preset: str = ""
    recipe: Literal["faithful", "modern"] = "modern"
    """"faithful": raw inputs of about -128..128 minus the mean image, N(0, 0.01) weights, filters
    clipped to an RMS of
    0.1 (paper, section 3). "modern": inputs of unit scale, He weights, of which the first layer has
    a fifth (its filters stay readable). Never mixed: the one does not train with the other's
    inputs."""
    data: Data = field(default_factory=Data)
    optimizer: Optimizer = field(default_factory=Optimizer)
    epochs: int = 10
    """How many times every training image is seen."""
    batch_size: int = 128
    """Images a step, on all devices together. The learning rate is not scaled with it."""
    seed: int = 0
    """Of the first weights, the order of the images, crops and dropout."""
    compute: Literal["float32", "bfloat16"] = "float32"
    """Precision of the convolutions in training; parameters, loss and normalisation stay
    float32."""
    rms_clip: float = OF_RECIPE
    """RMS beyond which a convolution's filter is scaled back to it after each step; 0: off, -1: as
    the recipe has it, 0.1 in the faithful and off in the modern."""
    layer_keys: Literal["by_name", "by_order"] = "by_name"
    """What each layer's first weights and dropout follow from beside the seed: its name, or, in
    runs begun before this was recorded, its place among the layers."""
    precision: Literal["default", "highest"] = "default"
    """Matmul precision in training ("default" is TF32 on recent NVIDIA chips); search and
    projection use highest."""
    snapshots: int = 0
    """Checkpoints within the first epoch, at steps evenly spaced in their logarithm: features
    change fastest there."""
    keep: str = "all"
    """Epochs whose parameters stay on disk: all, paper (0 1 2 5 10 20 30 40 64), or a list such as
    0,1,5; the last always does."""
    tensorboard: bool = False
    """Also write RUN/tensorboard (pip install -e '.[tensorboard]')."""
    save_minutes: float = 10.0
    """Minutes between saves of the full state within an epoch."""

    def __post_init__(self) -> None:
        self._check_kinds()
        if self.rms_clip == RECIPE_CLIPS.get(self.recipe):
            # One spelling of one value: equal runs are equal configs, and a replaced recipe brings
            # its own clipping.
            object.__setattr__(self, "rms_clip", OF_RECIPE)
        for name, (passed, wanted) in self.ranges().items():
            if not passed:
                raise ZfjaxError(
                    f"{name} = {get_field(self, name)} is out of range: it must be {wanted}."
                )
        if not self.model.conv_names:
            raise ZfjaxError(
                f"{self.model.name} has no convolution; there would be no feature maps to follow."
            )
        if not self.model.classes:
            raise ZfjaxError(
                f"The last layer of {self.model.name} is not fully connected; training needs"
                " scores."
            )

    def _check_kinds(self) -> None:
        """Makes every field plain, NumPy's numbers among them: JSON takes no others. Raises
        ZfjaxError for one of another kind.
        """
        for name, kind in (("model", Architecture), ("data", Data), ("optimizer", Optimizer)):
            if not isinstance(getattr(self, name), kind):
                raise ZfjaxError(f"{name} must be of type {kind.__name__}, as zfjax.config has it.")
        make_plain(self)
        layers = tuple(
            replace(
                layer,
                **{
                    item.name: plain_field(layer, item.name, f"model.{layer.name}.{item.name}")
                    for item in dataclasses.fields(layer)
                },
            )
            for layer in self.model.layers
        )
        object.__setattr__(self, "model", replace(self.model, layers=layers))

    @property
    def clip_radius(self) -> float:
        """``rms_clip`` as a number; 0: no filter is clipped."""
        return RECIPE_CLIPS.get(self.recipe, 0.0) if self.rms_clip == OF_RECIPE else self.rms_clip

    def ranges(self) -> dict[str, tuple[bool, str]]:
        """{field by dotted path: (whether its value is in its range, the range in words)}."""
        optimizer = self.optimizer
        return {
            "epochs": (self.epochs >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "seed": (0 <= self.seed < 2**31, "0 or more, and below 2^31"),
            "data.view": (
                self.data.view >= max(self.model.input_size),
                "no smaller than the network's input",
            ),
            "data.shift": (0 <= self.data.shift < self.data.view, "0 or more, and below data.view"),
            "data.threads": (self.data.threads >= 1, "at least 1"),
            "data.processes": (self.data.processes >= 0, "0 or more"),
            "optimizer.learning_rate": (0 < optimizer.learning_rate < math.inf, "above 0"),
            "optimizer.warmup_epochs": (0 <= optimizer.warmup_epochs < math.inf, "0 or more"),
            "optimizer.patience": (optimizer.patience >= 1, "at least 1"),
            "optimizer.momentum": (0 <= optimizer.momentum < 1, "0 or more, and below 1"),
            "optimizer.weight_decay": (0 <= optimizer.weight_decay < math.inf, "0 or more"),
            "optimizer.label_smoothing": (
                0 <= optimizer.label_smoothing < 1,
                "0 or more, and below 1",
            ),
            "optimizer.accumulate": (
                optimizer.accumulate >= 1 and self.batch_size % optimizer.accumulate == 0,
                "a divisor of batch_size",
            ),
            "rms_clip": (0 <= self.clip_radius < math.inf, "0 or more"),
            "snapshots": (self.snapshots >= 0, "0 or more"),
            "keep": (are_kept(self.keep), "all, paper or a list of epochs such as 0,1,5"),
            "save_minutes": (0 < self.save_minutes < math.inf, "above 0"),
        }


# Fields that a resumed run may change: they do not touch what is learnt.
RESUMABLE_FIELDS = frozenset(
    {
        "preset",
        "data.dir",
        "data.threads",
        "data.processes",
        "data.on_error",
        "save_minutes",
        "keep",
        "tensorboard",
    }
)


GROWING_SCHEDULES = ("constant", "plateau")
"""Schedules of which no rate depends on how many epochs there are: a run may be given more."""


def field_words(kind: type) -> dict[str, str]:
    """What the text under each field of a dataclass says of it, on one line; fields without one are
    left out.
    """
    definition = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(definition, ast.ClassDef)
    words = {}
    for item, after in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(item, ast.AnnAssign)
            and isinstance(item.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            words[item.target.id] = " ".join(str(after.value.value).split())
    return words


def choices(kind: type, name: str) -> tuple[str, ...]:
    """The values that a dataclass field may have; () where they are not a list."""
    hint = typing.get_type_hints(kind)[name]
    return typing.get_args(hint) if typing.get_origin(hint) is Literal else ()


def get_field(config: Config, path: str) -> Any:
    """The value at a dotted path, layers by name: ``get_field(config, "model.conv1.kernel")``."""
    if path == "rms_clip":
        return config.clip_radius
    value: Any = config
    for name in path.split("."):
        is_layer = isinstance(value, Architecture) and name not in ("name", "input_size", "layers")
        value = value.layer(name) if is_layer else getattr(value, name)
    return value


def flatten(config: Config) -> dict[str, Any]:
    """Every field by dotted path, layers by name; what a resumed run is compared on."""
    flat: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, Architecture):
            flat[f"{prefix}name"] = value.name
            flat[f"{prefix}input_size"] = tuple(value.input_size)
            flat[f"{prefix}layers"] = tuple(layer.name for layer in value.layers)
            for layer in value.layers:
                walk(f"{prefix}{layer.name}.", layer)
        elif dataclasses.is_dataclass(value):
            for item in dataclasses.fields(value):
                if not (prefix.count(".") > 1 and item.name == "name"):
                    inner = getattr(value, item.name)
                    nested = dataclasses.is_dataclass(inner)
                    (
                        walk(f"{prefix}{item.name}.", inner)
                        if nested
                        else flat.update({f"{prefix}{item.name}": inner})
                    )

    walk("", config)
    return {**flat, "rms_clip": config.clip_radius}


def to_json(config: Config) -> dict[str, Any]:
    """Plain JSON values; layers carry their kind."""
    kinds = {kind: name for name, kind in LAYER_KINDS.items()}
    value = dataclasses.asdict(config)
    layers = config.model.layers
    value["rms_clip"] = config.clip_radius
    value["model"]["layers"] = [
        {"kind": kinds[type(layer)], **dataclasses.asdict(layer)} for layer in layers
    ]
    return value


def from_json(value: Any) -> Config:
    """The config in ``value``. Raises ZfjaxError naming an unknown, missing or mistyped field."""
    if isinstance(value, dict) and "config" in value:  # RUN/config.json holds more than the config
        value = value["config"]
        if isinstance(value, dict):  # a run of before it was recorded
            value = {"layer_keys": "by_order", **value}
    built: Config = build(Config, value, "config")
    return built
