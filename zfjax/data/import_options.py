"""How images are stored on import: the numbers that a command, its help and the imports share. No
JAX.
"""

from __future__ import annotations

from dataclasses import dataclass

from zfjax.errors import ZfjaxError


@dataclass(frozen=True)
class Stored:
    """What is stored of every image. Raises ZfjaxError for numbers that no import can have."""

    size: int | None = None
    """Pixels of the shorter side, to which larger images are resized once; None: as they are."""
    quality: int = 95
    """Of a JPEG where an image is stored anew; up to 90 with halved colour."""
    max_pixels: int = 50_000_000
    """An image whose header announces more is skipped, undecoded."""

    def __post_init__(self) -> None:
        sound_size = self.size is None or self.size >= 1
        if not sound_size or not 1 <= self.quality <= 100 or self.max_pixels < 1:
            raise ZfjaxError(
                "The size and the pixel limit must be at least 1, and the quality between 1 and"
                " 100."
            )


FOLDERS = Stored()
"""Of class folders, and archives of them."""
ILSVRC2012 = Stored(size=256, quality=90)
"""Of ImageNet's tars."""
