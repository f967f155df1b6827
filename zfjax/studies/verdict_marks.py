"""Verdicts as a grid's page shows them: each kind told apart by its sign and its weight, not by its
colour alone. No JAX.
"""

from __future__ import annotations

from markupsafe import Markup

from zfjax.studies.intervals import BETTER, CANNOT_TELL, WORSE

HOLDS, DOES_NOT_HOLD = "holds", "does not hold"
_SIDES = {-1: "less", 1: "more"}
NARROWED = {side: f"{word}, but training narrowed the gap" for side, word in _SIDES.items()}
"""By the difference's sign: untrained filters differ so by more."""
BEFORE = {
    side: f"{word}, already so before training; training's part cannot be told"
    for side, word in _SIDES.items()
}
"""Likewise: what training did to the difference is not shown."""
BUILT_IN = (*NARROWED.values(), *BEFORE.values())
NOTHING = "nothing to compare"
MARKS = {
    BETTER: ("▲", "for"),
    WORSE: ("▼", "against"),
    HOLDS: ("●", "for"),
    DOES_NOT_HOLD: ("×", "against"),
    CANNOT_TELL: ("○", "open"),
    **dict.fromkeys(NARROWED.values(), ("◑", "open")),
    **dict.fromkeys(BEFORE.values(), ("◐", "open")),
    NOTHING: ("∅", "open"),
}
"""(sign, CSS class) of a verdict."""
ALIKE = ("=", "for")
"""Of "no difference larger than 0.80 points shown"."""
OTHER = ("–", "open")
"""Of "no result"."""


def marked_verdict(verdict: str) -> Markup:
    """``verdict`` with its sign before it; those who hear the page hear the words alone."""
    other = ALIKE if verdict.startswith("no difference") else OTHER
    sign, kind = MARKS.get(verdict, other)
    return Markup('<em class="verdict {}"><span aria-hidden="true">{}</span> {}</em>').format(
        kind, sign, verdict
    )


def with_commands(text: str) -> Markup:
    """``text``, escaped, with what stands between backticks set as a command."""
    halves = text.split("`")
    return Markup("").join(
        Markup('<span class="code">{}</span>').format(half) if index % 2 else half
        for index, half in enumerate(halves)
    )
