"""Fields of a config by their dotted paths, layers by name, and given as text. No JAX."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from zfjax import config as configs
from zfjax.config import Config
from zfjax.errors import ZfjaxError

HIDDEN = ("preset", "model.name", "model.layers", "layer_keys")
"""Fields that follow from others, or that nobody chooses."""

PAIRS = ("padding", "input_size")
"""Last words of the fields that hold two numbers."""
PAIR_WORDS = "two numbers of one field are written 3x2"


def settable(base: Config) -> dict[str, Any]:
    """{"model.conv1.kernel": value, ...} of the fields that have a flag."""
    return {path: value for path, value in configs.flatten(base).items() if path not in HIDDEN}


def flag(path: str) -> str:
    """How a field is asked for: "--model.conv1.kernel"."""
    return f"--{path.replace('_', '-')}"


def with_fields(base: Config, texts: Mapping[str, str]) -> Config:
    """``base`` with these fields set, each by its path and as text; the paths are those of
    ``settable``. Raises ZfjaxError for a value of another type or out of its range.
    """
    record = configs.to_json(base)
    if base.rms_clip == configs.OF_RECIPE:  # another recipe brings its own
        del record["rms_clip"]
    for path, text in texts.items():
        _set(record, base, path, text)
    return configs.from_json(record)


def text_of(value: Any) -> str:
    """A field's value as ``with_fields`` reads it: a pair of equal numbers as one, else "1x2"."""
    if isinstance(value, tuple | list):
        return str(value[0]) if len(set(value)) == 1 else "x".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _set(record: dict[str, Any], base: Config, path: str, text: str) -> None:
    """Puts ``text``, as its field's type, where ``path`` lies in ``record``, base's JSON."""
    value, holder = configs.get_field(base, path), record
    *names, field = path.split(".")
    for name in names:
        if name in holder:
            holder = holder[name]
        else:
            holder = next(layer for layer in holder["layers"] if layer["name"] == name)
    try:
        if isinstance(value, bool):
            holder[field] = {"true": True, "false": False}[text.lower()]
        elif isinstance(value, tuple):
            numbers = [int(number) for number in text.replace("x", ",").split(",")]
            if len(numbers) not in (1, len(value)):
                raise ValueError
            holder[field] = numbers * len(value) if len(numbers) == 1 else numbers
        else:
            holder[field] = type(value)(text)
    except (ValueError, KeyError):
        raise ZfjaxError(f"{flag(path)} {text!r}: expected {_kind_words(value, text)}.") from None


def _kind_words(value: Any, text: str) -> str:
    """What a text should have been, in the place of ``value``."""
    if type(value) is int and re.fullmatch(r"[\s(\[]*\d+\s*[x,]\s*\d+[\s)\]]*", text):
        return "one int: it is the same along both axes"
    kinds = {bool: "true or false", tuple: "a number, or two such as 3x2"}
    return kinds.get(type(value), type(value).__name__)
