"""One checkpoint of anyone's, of whatever kind: what it holds, and some of its arrays.

A kind is told by what a file begins with, not by its name alone: an error page is often called
.safetensors.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.errors import ZfjaxError, explain_os_error, first_line, shortened
from zfjax.run import checkpoint
from zfjax.run.checkpoint import leaf_paths
from zfjax.run.checkpoint_faults import DamagedCheckpoint
from zfjax.run.checkpoint_names import WEIGHTS
from zfjax.run.tensor_files import Arrays, read_tensors, tensor_shapes

_PAGE = "is a web page, not a checkpoint: what was downloaded was an error; get it anew"
_BEGINS = (
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file: fetch it by git lfs pull"),
    (b"<!doctype", _PAGE),
    (b"<html", _PAGE),
    (b"<?xml", _PAGE),
    (b"\x1f\x8b", "is compressed: unpack it with gunzip or tar first"),
    (b"\x89hdf", "is of HDF5, which is not read: save its arrays as .npz or .safetensors"),
    (b"\x93numpy", "is a single array of NumPy: save all of them by name, numpy.savez(FILE, ...)"),
)
_PICKLE = (
    "is a pickle, which may run anything when it is opened, so it is not read: save its arrays as"
    " .safetensors or .npz; of torch, save model.state_dict() with torch.save, which `zfjax"
    " import-weights` reads as weights only"
)
_TEXT_PICKLE = re.compile(rb"\([dl]p\d+\n|c[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n")
"""How a pickle of protocol 0 begins: an empty dict or list, or a name that is looked up."""
TORCH = "torch"
"""The kind of what torch.save writes."""
_TORCH_NAMES = (".pt", ".pth", ".bin", ".ckpt")
_PICKLE_NAMES = (".pkl", ".pickle", ".joblib")
EQUINOX = ".eqx"
_SERIALISED = (
    "is what eqx.tree_serialise_leaves writes, which holds arrays without names: in Python, give"
    " zfjax.subject_from trees by step, {STEP: eqx.tree_deserialise_leaves(FILE, like=module)}"
)
_SAYS = {
    TORCH: "what torch.save writes; name it .pth, and see `zfjax import-weights`",
    "npz": "a zip archive, as numpy.savez writes; name it .npz if it is one",
    "safetensors": "of safetensors; name it .safetensors",
}


def described(path: Path) -> Any:
    """What a checkpoint holds: a tree with a shape and a dtype for each array. Raises
    DamagedCheckpoint for one that is not whole, or of a kind that is not read.
    """
    source = _source(path)
    if source.is_dir():
        return checkpoint.described_foreign(source)
    kind = file_kind(source)
    if kind == "msgpack":
        return _unpacked(source)
    _refuse_pickle(source, kind)
    shapes = tensor_shapes(source)
    return _nested({_slashed(shapes)[name]: shape for name, shape in shapes.items()}, source)


def read_arrays(path: Path, names: tuple[str, ...]) -> Arrays:
    """{path: array} of those of ``names`` that a checkpoint has. Raises as ``described``."""
    source = _source(path)
    if source.is_dir():
        return checkpoint.load_foreign(source, names)
    kind = file_kind(source)
    if kind == "msgpack":
        leaves = leaf_paths(_unpacked(source))
        return {name: leaves[name] for name in names if isinstance(leaves.get(name), np.ndarray)}
    _refuse_pickle(source, kind)
    own = {slashed: name for name, slashed in _slashed(tensor_shapes(source)).items()}
    arrays = read_tensors(source, tuple(own[name] for name in names if name in own))
    return {name: arrays[own[name]] for name in names if own.get(name) in arrays}


def file_kind(path: Path) -> str:
    """ "safetensors", "npz", "torch", "pickle" or "msgpack", by what a file begins with. Raises
    DamagedCheckpoint for one that is none of them, or not what its name says.
    """
    try:
        with open(path, "rb") as handle:
            begin = handle.read(64)
    except OSError as error:
        raise explain_os_error(error, f"read {path}:") from error
    if not begin:
        raise DamagedCheckpoint(f"{path} is empty; get it anew.")
    suffix = path.suffix.lower()
    if begin.startswith(b"\x93NUMPY") and suffix == EQUINOX:
        raise DamagedCheckpoint(f"{path} {_SERIALISED}.")
    for magic, words in _BEGINS:
        if begin.lower().lstrip(b"\xef\xbb\xbf \t\r\n").startswith(magic):
            raise DamagedCheckpoint(f"{path} {words}.")
    if _TEXT_PICKLE.match(begin):
        _refuse_pickle(path, "pickle")
    if begin.startswith(b"PK"):
        kind = TORCH if _is_of_torch(path) else "npz"
    elif begin[3:8] == bytes(5) and begin[8:9] == b"{":  # a header's length, and the header
        kind = "safetensors"
    elif begin[0] == 0x80 and len(begin) > 1 and 2 <= begin[1] <= 5 or suffix in _PICKLE_NAMES:
        kind = TORCH if suffix in _TORCH_NAMES else "pickle"
    elif suffix in (".safetensors", ".npz"):
        kind = suffix[1:]
    else:
        kind = "msgpack"
    if suffix in WEIGHTS:
        _refuse_pickle(path, "" if kind == TORCH else kind)
    misnamed = suffix in WEIGHTS and kind != {".flax": "msgpack"}.get(suffix, suffix[1:])
    if misnamed or kind == "safetensors" != suffix[1:]:
        raise DamagedCheckpoint(f"{path} is not what its name says: it is {_SAYS[kind]}.")
    return kind


def _is_of_torch(path: Path) -> bool:
    """Whether a zip archive is one of torch.save's; by its name, where it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.rpartition("/")[2] == "data.pkl" for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return path.suffix.lower() in _TORCH_NAMES


def _refuse_pickle(path: Path, kind: str) -> None:
    if kind in (TORCH, "pickle"):
        raise DamagedCheckpoint(f"{path} {_PICKLE}.")


def is_single(folder: Path) -> bool:
    """Whether a folder is one checkpoint of Orbax itself, rather than one of them by step."""
    marked = (folder / "_CHECKPOINT_METADATA").exists() and any(folder.glob("*/_METADATA"))
    return marked or (folder / "_METADATA").exists()


def only_item(path: Path) -> str:
    """The name by which the only tree in a checkpoint of Orbax was saved; "" for one that has none,
    or several.
    """
    items = [child.parent.name for child in path.glob("*/_METADATA")]
    return items[0] if len(items) == 1 and not (path / "_METADATA").exists() else ""


def _source(path: Path) -> Path:
    """The file or folder that holds a step's arrays: a folder that is none of Orbax may hold one
    file of weights. Raises ZfjaxError where it holds several.
    """
    if not path.is_dir() or any(path.glob("_*METADATA")) or any(path.glob("*/_METADATA")):
        return path
    files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in WEIGHTS]
    if len(files) > 1:
        names = shortened([file.name for file in files], 4)
        raise DamagedCheckpoint(
            f"{path} holds several files of weights ({names}): put those that are meant into a"
            " folder of their own, a file for each step."
        )
    return files[0] if files else path


def _unpacked(path: Path) -> Any:
    """A file of flax.serialization, as a tree."""
    from flax.serialization import msgpack_restore

    try:
        tree = msgpack_restore(path.read_bytes())
    except OSError as error:
        raise explain_os_error(error, f"read {path}:") from error
    except Exception as error:  # noqa: BLE001 (msgpack and NumPy raise many kinds for other bytes)
        raise DamagedCheckpoint(
            f"{path} is no checkpoint of flax.serialization, or not whole"
            f" ({first_line(error, 80)})."
        ) from None
    if not isinstance(tree, Mapping):
        raise DamagedCheckpoint(
            f"{path} is no checkpoint of flax.serialization: it holds {type(tree).__name__}."
        )
    return tree


def _slashed(names: Mapping[str, Any]) -> dict[str, str]:
    """{name: path}: names are split at slashes where any has one, else at points."""
    between = "/" if any("/" in name for name in names) else "."
    return {name: "/".join(name.split(between)) for name in names}


def _nested(leaves: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """{path: leaf} as a tree of dicts. Raises ZfjaxError where a name is a leaf's and a part's."""
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        *holders, last = name.split("/")
        node = tree
        for holder in holders:
            node = node.setdefault(holder, {})
            if not isinstance(node, dict):
                break
        if not isinstance(node, dict) or last in node:
            raise ZfjaxError(
                f"{path}: {name} is both an array and what others are below; rename one of them."
            )
        node[last] = leaf
    return tree
