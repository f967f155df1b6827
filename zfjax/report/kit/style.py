"""Typography and colours of everything that matplotlib draws, and how wide words are. No JAX."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import matplotlib
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.textpath import TextToPath

DPI = 400
"""Of figures on paper."""
INK, QUIET, FAINT, ACCENT = "#1b1b1b", "#6f6f6f", "#c9c9c9", "#c4451c"
RAMP = ("#e8b39c", "#dc8a68", "#c4451c", "#8c2f12", "#3f150a")
"""One hue from light (low layers) to dark (high layers)."""
TEXT_SIZE = 6.2
"""Points."""


@contextmanager
def quiet_style() -> Iterator[None]:
    """Matplotlib's defaults with our typography: no TeX, no math in texts, no warning about a
    letter without glyph. Entered once a figure (``@quiet_style()``), before a word is measured.
    """
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing from font", category=UserWarning
        )
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "text.parse_math": False,
                "text.usetex": False,
                "font.family": list(_families()),
                "font.size": TEXT_SIZE,
                "text.color": INK,
                "axes.edgecolor": QUIET,
                "axes.labelcolor": INK,
                "axes.linewidth": 0.5,
                "xtick.color": QUIET,
                "ytick.color": QUIET,
                "xtick.major.width": 0.5,
                "ytick.major.width": 0.5,
                "xtick.major.size": 2,
                "ytick.major.size": 2,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "pdf.fonttype": 42,
                "axes.unicode_minus": True,
            }
        )
        yield


@lru_cache
def _families() -> tuple[str, ...]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    wanted = ("Helvetica Neue", "Helvetica", "Arial", "Liberation Sans")
    return (*(name for name in wanted if name in installed), "DejaVu Sans")


def text_width(text: str, size: float = TEXT_SIZE, weight: str = "normal") -> float:
    """Pixels that ``text`` takes on a board. Within ``quiet_style``: to enter it for each word took
    a third of the time that a report takes.
    """
    font = font_manager.FontProperties(family=list(_families()), size=size, weight=weight)
    width, _, _ = TextToPath().get_text_width_height_descent(text, font, ismath=False)
    return width * DPI / 72


def wrap(text: str, width: float, size: float = TEXT_SIZE) -> list[str]:
    """``text`` broken into lines of at most ``width`` pixels; a word longer than that is cut.
    Within ``quiet_style``.
    """
    lines = [""]
    for word in text.split():
        while text_width(word, size) > width:
            word = word[: max(1, len(word) // 2)] + "…"
        candidate = f"{lines[-1]} {word}".strip()
        if text_width(candidate, size) <= width:
            lines[-1] = candidate
        else:
            lines.append(word)
    return lines


KINDS = ("png", "pdf")
_DATELESS = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}


def save(
    figure: Figure, stem: str, dpi: int = DPI, kinds: tuple[str, ...] = KINDS
) -> dict[str, bytes]:
    """``figure`` as PNG and PDF, or one of them, without dates or program names."""
    FigureCanvasAgg(figure)
    files = {}
    for kind in kinds:
        handle = io.BytesIO()
        figure.savefig(handle, format=kind, dpi=dpi, metadata=_DATELESS[kind])
        files[f"{stem}.{kind}"] = handle.getvalue()
    return files
