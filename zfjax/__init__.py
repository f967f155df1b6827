"""zfjax: watch a convnet learn. Train ZFNet, keep every epoch, see how each layer's strongest
features evolve.

Importing it starts no backend; the names below load what they need when first used.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Architecture": "zfjax.network.architecture",
    "ZFNET": "zfjax.network.named",
    "ALEXNET": "zfjax.network.named",
    "Config": "zfjax.config",
    "PRESETS": "zfjax.presets",
    "Evolution": "zfjax.run.evolution",
    "ZfjaxError": "zfjax.errors",
    "Run": "zfjax.run.folder",
    "load_run": "zfjax.run.folder",
    "evolve": "zfjax.features.evolving",
    "project": "zfjax.features.projecting",
    "write_report": "zfjax.report.page",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zfjax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
