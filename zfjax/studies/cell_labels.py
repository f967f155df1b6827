"""What a grid and its cells are called for who reads its page; folders and columns keep the cells'
own names. No JAX.

Where all cells differ in the first layer's filters alone (``altered.with_stem`` makes such, and
other paddings), a cell is called by their size and stride.
"""

from __future__ import annotations

from zfjax.network.architecture import Architecture
from zfjax.run.naming import network_name
from zfjax.studies.cells import BASE, Cell
from zfjax.studies.claims import shown_name
from zfjax.studies.plans import Plan

OF_BASE = " (base)"


def labels_of(plan: Plan) -> dict[str, str]:
    """By cell's name; no two are alike."""
    if stems_only(plan):
        return {
            cell.name: f"{stem_words(cell.config.model)}{OF_BASE * (cell.name == BASE)}"
            for cell in plan.cells
        }
    return {cell.name: shown_name(cell.name) for cell in plan.cells}


def stem_words(model: Architecture) -> str:
    """Of its first layer: "7x7, stride 2"."""
    first = model.conv(model.conv_names[0])
    return f"{first.kernel}x{first.kernel}, stride {first.stride}"


def stems_only(plan: Plan) -> bool:
    """Whether the cells are told apart by their first layer's size and stride, and nothing but what
    keeps the maps' sizes differs beside these.
    """
    names = {stem_words(cell.config.model) for cell in plan.cells}
    return 1 < len(names) == len(plan.cells) and all(map(_of_stem, plan.cells))


def _of_stem(cell: Cell) -> bool:
    first, *later = cell.config.model.conv_names
    changed = {path for path, _ in cell.fields}
    own = {f"model.{first}.{field}" for field in ("kernel", "stride", "padding")}
    own |= {f"model.{name}.{field}" for name in later[:1] for field in ("stride", "padding")}
    return not cell.without and changed <= own


def title_of(plan: Plan) -> str:
    """The page's: "First layer: 7x7 or 11x11, stride 2 or 4"."""
    if not stems_only(plan):
        return f"Ablation of {network_name(plan.base)}"
    firsts = [cell.config.model.conv(cell.config.model.conv_names[0]) for cell in plan.cells]
    kernels = sorted({first.kernel for first in firsts})
    strides = sorted({first.stride for first in firsts})
    sizes = _listed([f"{kernel}x{kernel}" for kernel in kernels])
    return f"First layer: {sizes}, stride {_listed([str(stride) for stride in strides])}"


def _listed(words: list[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
