"""zfjax: watch a convnet learn. Train ZFNet, keep every epoch, see how each layer's strongest
features evolve.

Importing it starts no backend; the names below load what they need when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zfjax.adopting import subject_from as subject_from
    from zfjax.config import Config as Config
    from zfjax.errors import ZfjaxError as ZfjaxError
    from zfjax.features.projecting import project as project
    from zfjax.measures.along import evolve as evolve
    from zfjax.measures.running import measure as measure
    from zfjax.network.architecture import Architecture as Architecture
    from zfjax.network.named import ALEXNET as ALEXNET
    from zfjax.network.named import ZFNET as ZFNET
    from zfjax.presets import PRESETS as PRESETS
    from zfjax.report.page import write_report as write_report
    from zfjax.run.collecting import open_checkpoints as open_checkpoints
    from zfjax.run.evolution import Evolution as Evolution
    from zfjax.run.folder import Run as Run
    from zfjax.run.folder import load_run as load_run
    from zfjax.run.imported import import_weights as import_weights
    from zfjax.studies.ablating import ablate as ablate
    from zfjax.studies.comparing import compare as compare
    from zfjax.studies.papers import write_paper as write_paper
    from zfjax.studies.transferring import transfer as transfer

_HOMES = {
    "import_weights": "zfjax.run.imported",
    "open_checkpoints": "zfjax.run.collecting",
    "subject_from": "zfjax.adopting",
    "Architecture": "zfjax.network.architecture",
    "ZFNET": "zfjax.network.named",
    "ALEXNET": "zfjax.network.named",
    "Config": "zfjax.config",
    "PRESETS": "zfjax.presets",
    "Evolution": "zfjax.run.evolution",
    "ZfjaxError": "zfjax.errors",
    "Run": "zfjax.run.folder",
    "load_run": "zfjax.run.folder",
    "evolve": "zfjax.measures.along",
    "project": "zfjax.features.projecting",
    "measure": "zfjax.measures.running",
    "write_report": "zfjax.report.page",
    "ablate": "zfjax.studies.ablating",
    "compare": "zfjax.studies.comparing",
    "transfer": "zfjax.studies.transferring",
    "write_paper": "zfjax.studies.papers",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zfjax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
