"""How images are stored on import: the numbers that a command, its help and the imports share. No
JAX.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImportOptions:
    """What becomes of an image."""

    size: int | None = None
    """Pixels of the shorter side, to which larger images are resized once; None: as they are."""
    quality: int = 95
    """Of a JPEG where an image is stored anew; up to 90 with halved colour."""
    max_pixels: int = 50_000_000
    """Larger images are skipped, undecoded."""


FOLDERS = ImportOptions()
"""Of class folders, and archives of them."""
ILSVRC2012 = ImportOptions(size=256, quality=90)
"""Of ImageNet's tars."""
