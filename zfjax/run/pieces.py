"""Variables of a network that are kept in several pieces: Equinox's module and state, NNX's
parameters and statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zfjax.errors import ZfjaxError
from zfjax.network.modules import Pieces
from zfjax.run.checkpoint import leaf_paths
from zfjax.run.foreign import Part, part_of


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """{path: leaf} as the tree of dicts that the paths are of."""
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *holders, name = path.split("/")
        node = tree
        for holder in holders:
            node = node.setdefault(holder, {})
        node[name] = leaf
    return tree


def together(pieces: Pieces) -> dict[str, Any]:
    """All leaves of the pieces in one tree, under the names that they are called by."""
    return nested(
        {
            f"{name}/{leaf}" if name else leaf: own
            for name, tree in pieces
            for leaf, own in leaf_paths(tree).items()
        }
    )


def _in_one(pieces: Pieces) -> Any:
    """The same, but a tree that Linen has made as it is: with what it may have put around arrays
    (``Partitioned``).
    """
    tree = pieces[0][1]
    by_path = all(hasattr(leaf, "dtype") for leaf in tree.values())
    return together(pieces) if by_path or len(pieces) > 1 else tree


def part_of_pieces(shapes: Any, pieces: Pieces | None, path: str | None) -> Part:
    """The part of a checkpoint's tree that is a network's variables, where those of one piece may
    stand beside those of another under whatever names: (module, state), {"model": ..., "bn": ...}.

    ``pieces``: None for a function; ``path``: below it stand all, or at least the first piece.
    Raises ZfjaxError as ``part_of``.
    """
    path = None if path is None else path.strip("/")
    if pieces is None:
        return part_of(shapes, None, path)
    if not any(name for name, _ in pieces):
        try:
            return part_of(shapes, _in_one(pieces), path)
        except ZfjaxError:
            if len(pieces) == 1:
                raise
    places: dict[str, str] = {}
    for index, (name, tree) in enumerate(pieces):
        try:
            own = _part(shapes, tree, path, index == 0)
        except ZfjaxError as error:
            if not (index and name):
                raise
            raise ZfjaxError(
                f"The checkpoint has no {name} of the network beside its {pieces[0][0]}: save both,"
                f" as the pair (module, {name}). {error}"
            ) from None
        places |= {f"{name}/{leaf}" if name else leaf: at for leaf, at in own.places.items()}
    return Part(together(pieces), places)


def _part(shapes: Any, tree: Any, path: str | None, is_first: bool) -> Part:
    """Below ``path``; what is not the first piece also beside it."""
    if path is None:
        return part_of(shapes, tree, None)
    start = f"{path}/" if path else ""
    inside = {
        name.removeprefix(start): leaf
        for name, leaf in leaf_paths(shapes).items()
        if name.startswith(start)
    }
    try:
        own = part_of(nested(inside), tree, None)
    except ZfjaxError:
        return part_of(shapes, tree, path if is_first else None)
    return Part(own.shapes, {leaf: start + inner for leaf, inner in own.places.items()})
