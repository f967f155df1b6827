"""Frozen dataclasses of settings out of plain JSON, layers by their kind. No JAX."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Literal

from zfjax.errors import ZfjaxError
from zfjax.network.architecture import LAYER_KINDS


def build(kind: type, value: Any, where: str) -> Any:
    """A frozen dataclass ``kind`` of a JSON object, called ``where`` in what is refused. Raises
    ZfjaxError naming a field that is unknown, absent, or of another type.
    """
    if not isinstance(value, dict):
        raise ZfjaxError(f"{where} must be a JSON object, not {value!r}.")
    hints = typing.get_type_hints(kind)
    known = {item.name: item for item in dataclasses.fields(kind)}
    for name in value:
        if name not in known:
            raise ZfjaxError(f"{where} has no field {name!r}; it has {', '.join(known)}.")
    fields = {
        name: _convert(hints[name], inner, f"{where}.{name}") for name, inner in value.items()
    }
    try:
        return kind(**fields)
    except TypeError:
        required = [
            name
            for name, item in known.items()
            if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        ]
        missing = ", ".join(name for name in required if name not in value)
        raise ZfjaxError(f"{where} lacks {missing}.") from None


def _convert(hint: Any, value: Any, where: str) -> Any:
    if where.endswith(".layers"):
        if not isinstance(value, list):
            raise ZfjaxError(f"{where} must be a list of layers.")
        return tuple(_layer(item, f"{where}[{index}]") for index, item in enumerate(value))
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return build(hint, value, where)
    origin = typing.get_origin(hint)
    if origin is Literal:
        if value not in typing.get_args(hint):
            raise ZfjaxError(
                f"{where} = {value!r}; it must be one of"
                f" {', '.join(map(repr, typing.get_args(hint)))}."
            )
        return value
    if origin is tuple:
        kinds = typing.get_args(hint)
        if not isinstance(value, list | tuple) or len(value) != len(kinds):
            raise ZfjaxError(f"{where} = {value!r}; it must be a list of {len(kinds)} numbers.")
        return tuple(_convert(kind, item, where) for kind, item in zip(kinds, value, strict=True))
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise ZfjaxError(f"{where} = {value!r}; it must be of type {hint.__name__}.")
    return value


def _layer(value: Any, where: str) -> Any:
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in LAYER_KINDS:
        raise ZfjaxError(f"{where} needs a kind: one of {', '.join(LAYER_KINDS)}.")
    return build(
        LAYER_KINDS[kind], {name: inner for name, inner in value.items() if name != "kind"}, where
    )
