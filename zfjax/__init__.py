"""zfjax: watch a convnet learn. Train ZFNet, keep every epoch, see how each layer's strongest
features evolve.

Importing it starts no backend; the names below load what they need when first used.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Architecture": "zfjax.architecture",
    "ZFNET": "zfjax.architecture",
    "ALEXNET": "zfjax.architecture",
    "Config": "zfjax.config",
    "PRESETS": "zfjax.config",
    "Evolution": "zfjax.evolution",
    "ZfjaxError": "zfjax.files",
    "Run": "zfjax.run",
    "load_run": "zfjax.run",
    "evolve": "zfjax.engine",
    "project": "zfjax.engine",
    "write_report": "zfjax.report.page",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zfjax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
