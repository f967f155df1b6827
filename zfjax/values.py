"""Values as people give them, made plain: numbers of NumPy, one where a list is taken, paths. What
is of another kind is refused in one sentence that names it. No JAX.
"""

from __future__ import annotations

import dataclasses
import numbers
import os
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from zfjax.errors import ZfjaxError

if TYPE_CHECKING:
    Whole: TypeAlias = int | np.integer[Any]
    Epochs: TypeAlias = str | float | Iterable[str | float]
    """As ``--at`` takes them, one or several."""
    Names: TypeAlias = str | Iterable[str]
    Place: TypeAlias = str | os.PathLike[str]
    Truth: TypeAlias = bool | np.bool_
    Text: TypeAlias = str
else:
    # What checks annotations while a program runs leaves these to the functions below, which refuse
    # in a sentence.
    Whole = Epochs = Names = Place = Truth = Text = Any


def _single(value: Any) -> Any:
    """``value``, or what an array without axes holds, of NumPy or JAX."""
    if isinstance(value, np.generic) or getattr(value, "ndim", None) == 0:
        return value.item()
    return value


def _refusal(value: Any, what: str, wanted: str) -> ZfjaxError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return ZfjaxError(f"{what} = {shown} must be {wanted}, not of type {type(value).__name__}.")


def whole_number(value: Any, what: str) -> int:
    """``value`` as an int. Raises ZfjaxError for a bool, a float, and all else."""
    plain = _single(value)
    if isinstance(plain, bool) or not isinstance(plain, numbers.Integral):
        raise _refusal(value, what, "a whole number")
    return int(plain)


def real_number(value: Any, what: str) -> float:
    """``value`` as a float. Raises ZfjaxError for a bool, and for what is no number."""
    plain = _single(value)
    if isinstance(plain, bool) or not isinstance(plain, numbers.Real):
        raise _refusal(value, what, "a number")
    try:
        return float(plain)
    except OverflowError:
        raise ZfjaxError(f"{what} is too large for a number of 64 bits.") from None


def truth(value: Any, what: str) -> bool:
    """``value`` as a bool. Raises ZfjaxError for all else: numbers and texts are none."""
    plain = _single(value)
    if not isinstance(plain, bool):
        raise _refusal(value, what, "True or False")
    return plain


def text(value: Any, what: str) -> str:
    """``value`` as a str. Raises ZfjaxError for all else."""
    plain = _single(value)
    if not isinstance(plain, str):
        raise _refusal(value, what, "a text")
    return str(plain)


def path_text(value: Any, what: str) -> str:
    """A path as a str. Raises ZfjaxError for what is neither a str nor a path."""
    plain = _single(value)
    if isinstance(plain, os.PathLike):
        plain = os.fspath(plain)
    if not isinstance(plain, str):
        raise _refusal(value, what, "a path")
    return str(plain)


def path_of(value: Any, what: str) -> Path:
    """As ``path_text``, a Path."""
    return Path(path_text(value, what))


def several(value: Any) -> tuple[Any, ...]:
    """The items of a list, a tuple, a set, an array or another series; of anything else, a text
    among it, itself alone.
    """
    plain = _single(value)
    if isinstance(plain, str | bytes | Mapping) or not isinstance(plain, Iterable):
        return (plain,)
    return tuple(plain)


def texts(value: Any, what: str) -> tuple[str, ...]:
    """One text or several. Raises ZfjaxError for an item that is none."""
    return tuple(text(item, what) for item in several(value))


def optional(kind: Callable[[Any, str], Any], value: Any, what: str) -> Any:
    """``kind(value, what)``, and None for None."""
    return None if value is None else kind(value, what)


def plain_field(instance: Any, name: str, where: str) -> Any:
    """A dataclass's field as its annotation says it: int, float, bool, str, a choice or a tuple of
    numbers; others as they are. ``where``: what a sentence calls it.
    """
    value, hint = getattr(instance, name), typing.get_type_hints(type(instance))[name]
    kinds = {int: whole_number, float: real_number, bool: truth, str: text}
    if hint in kinds:
        return kinds[hint](value, where)
    if typing.get_origin(hint) is Literal:
        if not isinstance(value, str) or value not in typing.get_args(hint):
            choices = ", ".join(map(repr, typing.get_args(hint)))
            raise ZfjaxError(f"{where} = {value!r}; it must be one of {choices}.")
        return str(value)
    if typing.get_origin(hint) is tuple and set(typing.get_args(hint)) == {int}:
        count, items = len(typing.get_args(hint)), several(value)
        if len(items) != count:
            raise ZfjaxError(f"{where} = {value!r}; it must be a list of {count} numbers.")
        return tuple(whole_number(item, where) for item in items)
    return value


def make_plain(instance: Any, where: str = "") -> None:
    """Makes the fields of a frozen dataclass plain, in place: for ``__post_init__``."""
    for field in dataclasses.fields(instance):
        value = plain_field(instance, field.name, f"{where}{field.name}")
        object.__setattr__(instance, field.name, value)
