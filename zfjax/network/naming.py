"""Names of a traced network's layers, from the paths of its parameters and the modules it is made
of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from zfjax.network.equations import Value

COLLECTIONS = ("params", "constants", "value")
"""Parts of a parameter's path that are no module's name."""


def module_of(leaf: str) -> str:
    """ "Block_0/Conv_1" of "params/Block_0/Conv_1/kernel"; "w1" of "w1"."""
    words = leaf.split("/")
    if len(words) > 1 and words[0] in COLLECTIONS:
        words = words[1:]
    if len(words) > 1 and words[-1] in COLLECTIONS:
        words = words[:-1]
    return "/".join(words[:-1] if len(words) > 1 else words)


class Names:
    """Names out of the paths of a network's parameters."""

    def __init__(self, leaves: Sequence[str]) -> None:
        self.modules = {module_of(leaf) for leaf in leaves}

    def of_kernel(self, leaves: Sequence[Value]) -> str:
        """Of what a convolution's kernel is made of: the module of the largest parameter."""
        known = [leaf for leaf in leaves if leaf.leaf]
        if not known:
            return "conv"
        return module_of(max(known, key=lambda leaf: math.prod(leaf.shape)).leaf)

    def of_block(self, scope: str, latest: str) -> str:
        """Of a sum of branches: the module that adds them; without one, that which holds the latest
        convolution, or this convolution itself.
        """
        words = scope.split("/")
        for start in range(len(words)):
            module = "/".join(words[start:])
            if any(name.startswith(f"{module}/") for name in self.modules):
                return module
        return latest.rpartition("/")[0] or latest

    def unique(self, name: str, taken: set[str]) -> str:
        """``name``, or "name#2" where it is taken; from then on it is."""
        count, own = 1, name
        while own in taken:
            count += 1
            own = f"{name}#{count}"
        taken.add(own)
        return own
