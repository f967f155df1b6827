"""Arrays by name out of one file: .safetensors and .npz, each read no further than is asked for.

The format of safetensors: 8 bytes, little endian, are the length of a header in JSON, {name: dtype,
shape, begin and end of its bytes}; behind it stand the bytes (its README, "Format").
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zfjax.errors import explain_os_error, first_line
from zfjax.run.checkpoint_faults import DamagedCheckpoint

Arrays = dict[str, np.ndarray]
Shapes = dict[str, jax.ShapeDtypeStruct]

SAFE_TYPES: Mapping[str, Any] = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "U16": np.uint16,
    "I16": np.int16,
    "U32": np.uint32,
    "I32": np.int32,
    "U64": np.uint64,
    "I64": np.int64,
    "F8_E4M3": jnp.float8_e4m3fn,
    "F8_E5M2": jnp.float8_e5m2,
    "F16": np.float16,
    "BF16": jnp.bfloat16,
    "F32": np.float32,
    "F64": np.float64,
}
_LONGEST_HEADER = 100_000_000
"""Bytes, as the format has it."""


def tensor_shapes(path: Path) -> Shapes:
    """{name: shape and dtype} of a .safetensors or .npz file. Raises DamagedCheckpoint for one that
    is cut short or holds something else.
    """
    return _safe_shapes(path) if path.suffix.lower() == ".safetensors" else _npz(path, None)[0]


def read_tensors(path: Path, names: tuple[str, ...] | None = None) -> Arrays:
    """{name: array} of those of ``names`` (None: of all) that the file has. Raises as
    ``tensor_shapes``.
    """
    if path.suffix.lower() == ".safetensors":
        return _safe_arrays(path, names)
    return _npz(path, tuple(_npz(path, None)[0]) if names is None else names)[1]


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The entries of a .safetensors file, checked, and where their bytes begin."""
    try:
        with open(path, "rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            size = path.stat().st_size
            if not 2 <= length <= min(_LONGEST_HEADER, size - 8):
                raise DamagedCheckpoint(
                    f"{path} is no .safetensors file, or cut short: its header of {length:,} bytes"
                    f" is not within its {size:,}; get it anew."
                )
            entries = json.loads(handle.read(length).decode("utf-8"))
        entries.pop("__metadata__", None)
        for name, entry in entries.items():
            begin, end = entry["data_offsets"]
            numbers = math.prod(entry["shape"])
            if (end - begin) != numbers * np.dtype(SAFE_TYPES[entry["dtype"]]).itemsize:
                raise ValueError(f"{name} has other bytes than its shape takes")
            if not 0 <= begin <= end:
                raise ValueError(f"{name} begins behind its end")
            if 8 + length + end > size:
                raise DamagedCheckpoint(
                    f"{path} is cut short: {name} ends at byte {8 + length + end:,} and the file"
                    f" has {size:,}; get it anew."
                )
        return entries, 8 + length
    except OSError as error:
        raise explain_os_error(error, f"read {path}:") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpoint(
            f"{path} is no .safetensors file, or damaged: its header cannot be read"
            f" ({type(error).__name__}: {first_line(error, 80)}); get it anew."
        ) from None


def _safe_shapes(path: Path) -> Shapes:
    return {
        name: jax.ShapeDtypeStruct(tuple(entry["shape"]), SAFE_TYPES[entry["dtype"]])
        for name, entry in _header(path)[0].items()
    }


def _safe_arrays(path: Path, names: tuple[str, ...] | None) -> Arrays:
    entries, start = _header(path)
    arrays = {}
    try:
        with open(path, "rb") as handle:
            for name in entries if names is None else names:
                if name in entries:
                    begin, end = entries[name]["data_offsets"]
                    handle.seek(start + begin)
                    flat = np.frombuffer(
                        handle.read(end - begin), SAFE_TYPES[entries[name]["dtype"]]
                    )
                    arrays[name] = flat.reshape(entries[name]["shape"])
    except OSError as error:
        raise explain_os_error(error, f"read {path}:") from error
    return arrays


def _npz(path: Path, names: tuple[str, ...] | None) -> tuple[Shapes, Arrays]:
    """The shapes of all arrays, and the arrays ``names`` that the file has."""
    shapes, arrays = {}, {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                name = member.removesuffix(".npy")
                if names is not None and name not in names:
                    continue
                if name == member:
                    raise DamagedCheckpoint(
                        f"{path} is a zip archive, but none of arrays: it holds {member}; an .npz"
                        " is what numpy.savez writes."
                    )
                with archive.open(member) as handle:
                    shape, dtype = _npy_header(handle)
                    if dtype.hasobject:
                        raise DamagedCheckpoint(
                            f"{path}: {name} is a pickled object, not an array, and is not read:"
                            " save the arrays themselves, numpy.savez(FILE, **{path: array})."
                        )
                    if (kept := _as_narrow(dtype)).kind == "V" and dtype.str != "|V2":
                        raise DamagedCheckpoint(
                            f"{path}: {name} is of a type whose name .npz does not keep"
                            f" ({dtype.str}: float8, or fields): save it as float32, or as"
                            " .safetensors."
                        )
                    shapes[name] = jax.ShapeDtypeStruct(shape, kept)
                if names is not None:
                    with archive.open(member) as handle:
                        array = np.lib.format.read_array(handle, allow_pickle=False)
                    arrays[name] = array.view(_as_narrow(dtype))
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError) as error:
        raise DamagedCheckpoint(
            f"{path} is no .npz file, or damaged ({first_line(error, 80)}); get it anew."
        ) from None
    except OSError as error:
        raise explain_os_error(error, f"read {path}:") from error
    return shapes, arrays


def _npy_header(handle: Any) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(handle)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(handle)
    return shape, dtype


def _as_narrow(dtype: np.dtype) -> np.dtype:
    """NumPy writes bfloat16 as two bytes of no type."""
    return np.dtype(jnp.bfloat16) if dtype.str == "|V2" else dtype
