"""Fields of a config by their dotted paths, layers by name, and given as text. No JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zfjax import config as configs
from zfjax.config import Config
from zfjax.errors import ZfjaxError

HIDDEN = ("preset", "model.name", "model.layers", "layer_keys")
"""Fields that follow from others, or that nobody chooses."""


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
            holder[field] = numbers * len(value) if len(numbers) == 1 else numbers
        else:
            holder[field] = type(value)(text)
    except (ValueError, KeyError):
        kind = {bool: "true or false", tuple: "numbers like 1,1"}.get(
            type(value), type(value).__name__
        )
        raise ZfjaxError(f"{flag(path)} {text!r}: expected {kind}.") from None
