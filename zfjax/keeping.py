"""Which epochs' parameters stay on disk, in words. No JAX."""

from __future__ import annotations

PAPER_EPOCHS = (0, 1, 2, 5, 10, 20, 30, 40, 64)
"""Shown in the paper's Fig. 4, and the initial network."""


def kept_epochs(words: str) -> frozenset[int] | None:
    """The epochs that "paper" or a list such as "0,1,5" names; None for "all". "last" may stand in
    a list, for the last epoch is always kept. Raises ValueError for other words.
    """
    if words == "all":
        return None
    if words == "paper":
        return frozenset(PAPER_EPOCHS)
    names = words.replace(" ", ",").split(",")
    epochs = frozenset(int(name) for name in names if name not in ("last", ""))
    if min(epochs, default=0) < 0 or not any(names):
        raise ValueError(words)
    return epochs


def are_kept(words: str) -> bool:
    """Whether ``kept_epochs`` understands these words."""
    try:
        kept_epochs(words)
    except ValueError:
        return False
    return True
