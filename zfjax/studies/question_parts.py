"""What a question of the paper's readers and its answer are made of. No JAX."""

from __future__ import annotations

from dataclasses import dataclass

OUT = "Out of scope: "
"""How an answer begins that zfjax does not give."""
REPORT = "report"
"""A link to the run's page."""


@dataclass(frozen=True)
class Question:
    """One question and its answer."""

    id: str
    asked: str
    answer: str
    claims: tuple[str, ...] = ()
    """Of ``paper_statements`` and ``paper_beyond``."""
    measures: tuple[str, ...] = ()
    """Whose sentence is printed."""
    command: str = ""
    link: str = ""
    """REPORT, or an anchor of the same page."""
