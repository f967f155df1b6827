"""``python -m zfjax``."""

from zfjax.cli import console

console()
