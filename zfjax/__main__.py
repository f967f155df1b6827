"""``python -m zfjax``."""

from zfjax.commands.cli import console

console()
