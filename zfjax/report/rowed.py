"""Pictures in rows and columns with a head over each column, as one image: what stands side by side
is to be compared. No JAX.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from zfjax.report.board import enlarge
from zfjax.report.kit.wording import plain
from zfjax.report.pictures import Store, webp
from zfjax.run.colours import MID_GREY, to_bytes

EDGE, GAP = 112, 10
"""Pixels of a picture's longest edge, and between two."""


def signed_bytes(pixels: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """A signed picture, float [height, width, 1 or 3], over its scale: uint8 with 3 channels."""
    return to_bytes(pixels.repeat(3, axis=-1) if pixels.shape[-1] == 1 else pixels, scale)


def rows_image(rows: Sequence[Sequence[np.ndarray | None]]) -> np.ndarray:
    """Pictures (uint8 [height, width, 3]; None: nothing there) in equal cells, transparent between
    and around them: uint8 [rows * EDGE + gaps, columns * (EDGE + GAP), 4].
    """
    columns = max((len(row) for row in rows), default=0)
    height = max(1, len(rows) * (EDGE + GAP) - GAP)
    # Clear grey, so that no dark rim is left where a lossy picture meets what is not there.
    image = np.full((height, max(1, columns * (EDGE + GAP)), 4), MID_GREY, np.uint8)
    image[..., 3] = 0
    for down, row in enumerate(rows):
        for right, picture in enumerate(row):
            if picture is not None:
                shown = enlarge(picture, EDGE)
                tall, wide = shown.shape[:2]
                top = down * (EDGE + GAP) + (EDGE - tall) // 2
                left = right * (EDGE + GAP) + (EDGE - wide) // 2
                image[top : top + tall, left : left + wide, :3] = shown
                image[top : top + tall, left : left + wide, 3] = 255
    return image


def rows_figure(
    rows: Sequence[Sequence[np.ndarray | None]],
    heads: Sequence[str],
    words: tuple[Markup, str],
    store: Store,
) -> Markup:
    """The image with its heads. ``words``: the caption, and what the image is to a screen reader.
    Put it in an element of class "rowed".
    """
    image = rows_image(rows)
    spans = Markup("").join(Markup("<span>{}</span>").format(plain(head)) for head in heads)
    return Markup(
        '<figure><figcaption>{}</figcaption><div class="heads">{}</div>'
        '<img src="{}" width="{}" height="{}" alt="{}"></figure>'
    ).format(words[0], spans, store(webp(image, 85), "webp"), *image.shape[1::-1], words[1])
