"""Ready ablations, by name: what is otherwise than in the config they begin with. No JAX.

A grid is a value, as a preset is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from zfjax.config import Config
from zfjax.errors import ZfjaxError
from zfjax.fields import with_fields
from zfjax.network.altered import scaled, with_stem, without


@dataclass(frozen=True)
class Variant:
    """One change of a config; what is left at its default is not changed."""

    name: str
    fields: tuple[tuple[str, str], ...] = ()
    """(dotted path, value as text)."""
    drop: tuple[str, ...] = ()
    """Layers that go."""
    stem: tuple[int, int] | None = None
    """Kernel and stride of the first convolution; the second makes up for the stride."""
    widths: tuple[tuple[tuple[str, ...], float], ...] = ()
    """(layers, factor of their maps or features)."""

    def apply(self, base: Config) -> Config:
        """``base`` so changed. Raises ZfjaxError where that cannot be."""
        model = base.model
        if self.stem is not None:
            model = with_stem(model, *self.stem)
        for names, factor in self.widths:
            model = scaled(model, names, factor)
        if self.drop:
            model = without(model, self.drop)
        return with_fields(replace(base, model=model), dict(self.fields))


def _stem(kernel: int, stride: int) -> Variant:
    return Variant(f"stem-{kernel}-stride-{stride}", stem=(kernel, stride))


def _dropping(*names: str) -> Variant:
    return Variant(f"without-{'-'.join(names)}", drop=names)


def _widths(name: str, factor: float, *layers: str) -> Variant:
    return Variant(name, widths=((layers, factor),))


def _clip(radius: str) -> Variant:
    return Variant(f"rms_clip={radius}", fields=(("rms_clip", radius),))


GRIDS: dict[str, tuple[Variant, ...]] = {
    # The paper's section 4.1, apart: kernel and stride were changed together there.
    "stems": (_stem(11, 4), _stem(7, 4), _stem(11, 2), _stem(7, 2)),
    # The paper's Table 3; its widths are absolute, these are relative to the base.
    "layers": (
        _dropping("conv3", "conv4"),
        _dropping("fc7"),
        _dropping("fc6", "fc7"),
        _dropping("conv3", "conv4", "fc6", "fc7"),
        _widths("fc6-fc7-half", 0.5, "fc6", "fc7"),
        _widths("fc6-fc7-twice", 2.0, "fc6", "fc7"),
        _widths("conv3-conv5-half", 0.5, "conv3", "conv4", "conv5"),
        _widths("conv3-conv5-twice", 2.0, "conv3", "conv4", "conv5"),
    ),
    # Section 3: filters clipped to an RMS of 0.1, "especially in the first layer".
    "clip": (_clip("0"), _clip("0.05"), _clip("0.1"), _clip("0.2")),
}


def grid(name: str) -> tuple[Variant, ...]:
    """The grid of that name. Raises ZfjaxError naming those there are."""
    if name not in GRIDS:
        raise ZfjaxError(f"There is no grid {name!r}; there are {', '.join(GRIDS)}.")
    return GRIDS[name]
