"""Weights of torch's libraries as checkpoints of one step: DIR/0.npz, and DIR/weights.json, which
says whose they are and how their images are prepared.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.errors import ZfjaxError, explain_os_error, first_line, shortened
from zfjax.files import atomic_path, check_path, local_path, read_json
from zfjax.network.torch_names import ORIGINS, names_of, variables_from
from zfjax.run.checkpoint_kinds import file_kind
from zfjax.run.tensor_files import Arrays, read_tensors
from zfjax.values import Place, Text, path_of, text

_TERMINAL = re.compile(r"\x1b\[[0-9;]*m")
"""Colours of a terminal, which torch's errors have."""
RECORD = "weights.json"
FORMAT_VERSION = 1
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of pixel values 0..255, a channel: torchvision's 0.485, 0.456, 0.406 and 0.229, 0.224, 0.225."""
RESIZE, INPUT = 256, 224
"""Pixels of the shorter side and of the centre that is cut out of it."""


@dataclass(frozen=True)
class Imported:
    """Whose weights a folder holds, and how their images are prepared."""

    origin: str
    """"torchvision/resnet18"."""
    model: str
    """The words for ``--model``."""
    file_name: str
    sha256: str
    """Of that file."""
    arrays: int
    numbers: int
    notes: tuple[str, ...] = ()
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    resize: int = RESIZE
    input: int = INPUT


def import_weights(file: Place, *, origin: Text, out: Place) -> Imported:
    """Weights that torch's libraries publish, as a folder that ``evolve --checkpoints`` takes.

    ``file``: .safetensors, .npz, or what torch.save wrote, read as weights only where torch is
    installed. ``origin``: one of ``ORIGINS``. ``out``: a folder, new or empty. Raises ZfjaxError
    for a file that is none of these, and for weights of another network: what is missing, not known
    or of another shape is named; nothing is written then.
    """
    name = text(origin, "--as")
    if name not in ORIGINS:
        raise ZfjaxError(f"--as {name}: no such network is known; there are {', '.join(ORIGINS)}.")
    path = local_path(path_of(file, "The weights' file"))
    folder = check_path(path_of(out, "--out"), "imported weights")
    if path.is_dir():
        raise ZfjaxError(f"{path} is a folder; give the file of weights in it.")
    if not path.exists():
        raise ZfjaxError(f"There is no file {path}.")
    known = ORIGINS[name]
    net = known.build()
    state = _bare(state_of(path), {named.theirs for named in names_of(net)})
    variables = variables_from(state, net)
    imported = Imported(
        name,
        f"zfjax.network.torch:{known.build.__name__}",
        path.name,
        _digest_of(path),
        len(variables),
        sum(array.size for array in variables.values()),
        known.notes,
    )
    if folder.exists():
        if imported_in(folder) == imported and (folder / "0.npz").exists():
            return imported
        _check_empty(folder)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        np.savez(temporary / "0.npz", **dict(variables))  # type: ignore[arg-type]
        record = {"format_version": FORMAT_VERSION, **asdict(imported)}
        (temporary / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return imported


def imported_in(folder: Path) -> Imported | None:
    """What ``import_weights`` has written into a folder; None where it has not. Raises ZfjaxError
    for a record that is damaged, or of a newer zfjax.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    record = read_json(path)
    try:
        if record.pop("format_version") > FORMAT_VERSION:
            raise ZfjaxError(f"{path} was written by a newer zfjax; update zfjax.")
        lists = {key: tuple(record[key]) for key in ("notes", "mean", "std")}
        return Imported(**{**record, **lists})
    except (KeyError, TypeError, AttributeError) as error:
        raise ZfjaxError(f"{path} is damaged: {error!r}; import the weights again.") from None


def _check_empty(folder: Path) -> None:
    try:
        there = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise explain_os_error(error, f"write {folder}:") from error
    if there:
        raise ZfjaxError(
            f"--out {folder} is not empty: it has {shortened(there, 3)}; give another folder."
        )


def state_of(path: Path) -> Mapping[str, Any]:
    """The arrays in a file of weights, by the names that they have there."""
    kind = file_kind(path)
    if kind in ("npz", "safetensors"):
        return read_tensors(path)
    if kind == "msgpack":
        raise ZfjaxError(
            f"{path} is no file of weights that is known: give .safetensors, .npz, or a file that"
            " torch.save has written."
        )
    return _of_torch(path)


def _of_torch(path: Path) -> Mapping[str, Any]:
    """What torch.save has written, as weights only: nothing in it is run."""
    try:
        import torch
    except ImportError:
        raise ZfjaxError(
            f"{path} is a file of torch.save, and torch is not installed here: install it, or"
            " where it is, save the state dict as .safetensors (safetensors.torch.save_file)."
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a TorchScript archive, which raises too
            whole = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 (torch raises many kinds for other files)
        said = _TERMINAL.sub("", first_line(error)).partition(". ")[0][:100]
        raise ZfjaxError(
            f"{path} cannot be read as weights only ({said}): it is damaged, or a"
            " pickle of more than arrays; where it is known, save model.state_dict() with"
            " torch.save."
        ) from None
    return _arrays_in(whole, torch, path)


def _arrays_in(whole: Any, torch: Any, path: Path) -> Mapping[str, Any]:
    for name in ("state_dict", "model_state_dict", "model"):  # as trainers save it, beside others
        if isinstance(whole, Mapping) and isinstance(whole.get(name), Mapping):
            whole = whole[name]
    if isinstance(whole, Mapping) and not _has_arrays(whole, torch):
        states = [name for name, own in whole.items() if _has_arrays(own, torch)]
        if len(states) != 1:
            raise ZfjaxError(
                f"{path} holds no state dict at its top, but"
                f" {shortened(map(str, whole), 6) or 'nothing'}"
                f"{', of which several are such' if states else ''}; save the one that is meant"
                " with torch.save."
            )
        whole = whole[states[0]]
    if not isinstance(whole, Mapping) or not all(isinstance(key, str) for key in whole):
        raise ZfjaxError(
            f"{path} holds {type(whole).__name__}, no state dict; save model.state_dict() with"
            " torch.save."
        )
    return {
        name: (array.float() if array.is_floating_point() else array).detach().numpy()
        for name, array in whole.items()
        if isinstance(array, torch.Tensor)
    }


def _has_arrays(own: Any, torch: Any) -> bool:
    """Whether a value is a mapping with arrays directly in it."""
    return isinstance(own, Mapping) and any(isinstance(each, torch.Tensor) for each in own.values())


def _bare(state: Mapping[str, Any], known: Container[str]) -> Arrays:
    """Names without what stands before each: of DataParallel ("module."), torch.compile
    ("_orig_mod."), or, where ``known`` names come out, a trainer's module around the network
    ("model."); slashes as points.
    """
    names = {name: name.replace("/", ".") for name in state}
    wrapped = names
    while not any(bare in known for bare in names.values()):
        before = {bare.partition(".")[0] for bare in names.values()}
        names = {name: bare.partition(".")[2] for name, bare in names.items()}
        if len(before) != 1 or not all(names.values()):  # of another network
            names = wrapped
            break
        wrapped = names if before <= {"module", "_orig_mod"} else wrapped
    return {bare: state[name] for name, bare in names.items()}


def _digest_of(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
