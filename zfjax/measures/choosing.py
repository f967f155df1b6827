"""Which measures there are, how one is found by its name, and how its options are read."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import os
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zfjax.config import field_words
from zfjax.errors import ZfjaxError
from zfjax.measures.protocol import Measure
from zfjax.values import path_of, real_number, several, truth, whole_number
from zfjax.values import text as plain_text

BUILT_IN: tuple[str, ...] = (
    *("spectrum", "weights", "inverse", "census", "labels"),
    *("rewind", "settling", "identity", "controls"),
    *("invariance", "equivariance", "correspondence", "occlusion", "probes"),
)
"""Each a file beside this one that ends in MEASURE, in the order in which they are run: one that
reads another's table comes after it.
"""


def find_measure(name: str) -> Measure:
    """A measure by its name, or one of anybody's as ``pkg.module:measure``. Raises ZfjaxError for
    what is not there.
    """
    if ":" not in name:
        if name not in BUILT_IN:
            joined = " Several values of one option are joined by commas."
            raise ZfjaxError(
                f"There is no measure {name!r}; there are {', '.join(BUILT_IN)}, and your own as"
                f" pkg.module:measure.{'' if name.isidentifier() else joined}"
            )
        measure: Any = importlib.import_module(f"zfjax.measures.{name}").MEASURE
    else:
        module_name, _, attribute = name.partition(":")
        measure = getattr(_imported(module_name, name), attribute, None)
        if not isinstance(measure, Measure):
            raise ZfjaxError(
                f"{name}: {module_name} has no zfjax Measure called {attribute!r}; see `zfjax"
                " measure --list` and experiments/own_measure.py."
            )
        if measure.name in BUILT_IN:
            raise ZfjaxError(f"{name} calls itself {measure.name!r}, which is one of zfjax's own.")
    return measure


def measure_of(measure: Any) -> Measure:
    """A Measure, or one by its name as in ``find_measure``. Raises ZfjaxError for what is not
    there, and for another's that is called as one of ours.
    """
    if not isinstance(measure, Measure):
        return find_measure(plain_text(measure, "measure"))
    if measure.name in BUILT_IN and measure is not find_measure(measure.name):
        raise ZfjaxError(f"{measure.name!r} is the name of one of zfjax's own measures.")
    return measure


def _imported(module_name: str, name: str) -> types.ModuleType:
    """A module of anybody's; the folder one works in is on the path."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and not module_name.startswith(error.name):
            raise ZfjaxError(f"{name}: {module_name} cannot be imported ({error}).") from error
        raise ZfjaxError(
            f"{name}: there is no module {module_name}; give pkg.module:measure, from the folder"
            " that holds pkg."
        ) from None
    except (Exception, SystemExit) as error:  # a script that ends itself when it is imported
        what = f"{type(error).__name__}: {error}"
        raise ZfjaxError(f"{name}: {module_name} cannot be imported ({what}).") from error


def words_of(measure: Measure) -> str:
    """What its file says at the top, and its options."""
    module = sys.modules[measure.rows.__module__]
    words = inspect.cleandoc(module.__doc__ or measure.name)
    explained, flags = _field_words(measure), []
    for field in dataclasses.fields(measure.options):
        flag = f"--{measure.name}.{field.name.replace('_', '-')}"
        value = _shown(getattr(measure.options, field.name))
        flags.append(f"  {flag} {value}\n      {explained.get(field.name, '')}".rstrip())
    return "\n".join(
        [words, "", *(["Options, with their defaults:", *flags] if flags else [])]
    ).rstrip()


def first_words(measure: Measure) -> str:
    """The first sentence of its file."""
    return " ".join(words_of(measure).split("\n\n")[0].split())


def _field_words(measure: Measure) -> dict[str, str]:
    try:
        return field_words(type(measure.options))
    except (OSError, TypeError):  # defined where there is no file
        return {}


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "none" if value is None else str(value)


def with_options(measure: Measure, texts: Mapping[str, Any]) -> Any:
    """The measure's options with these, text or values, by field. Raises ZfjaxError for an option
    that it does not have, or a text or value of another type.
    """
    fields = {field.name: field for field in dataclasses.fields(measure.options)}
    hints = typing.get_type_hints(type(measure.options))
    values = {}
    for name, text in texts.items():
        if name not in fields:
            there = ", ".join(f"--{measure.name}.{field}" for field in fields) or "none"
            raise ZfjaxError(
                f"--{measure.name}.{name}: the measure {measure.name} has no such option; it has"
                f" {there.replace('_', '-') if fields else there}."
            )
        values[name] = _value(hints[name], text, f"--{measure.name}.{name.replace('_', '-')}")
    try:
        return dataclasses.replace(measure.options, **values)
    except ZfjaxError:
        raise
    except Exception as error:  # anybody's own check of what it is given
        raise ZfjaxError(
            f"The measure {measure.name} does not take these options: {error}."
        ) from error


def _value(hint: Any, text: Any, flag: str) -> Any:
    """``text`` as a value of the type ``hint``."""
    if not isinstance(text, str):
        return _plain(hint, text, flag)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if type(None) in inner and text.lower() == "none":
            return None
        return _value(next(kind for kind in inner if kind is not type(None)), text, flag)
    if origin is typing.Literal:
        if text not in inner:
            raise ZfjaxError(f"{flag} {text!r}: it is {' or '.join(map(str, inner))}.")
        return text
    if origin is tuple:
        return _tuple(inner, text.split(","), flag)
    try:
        if hint is bool:
            return {"true": True, "false": False}[text.lower()]
        if hint is float:
            return _finite(float(text), flag)
        if hint is Path and not text.strip():
            raise ZfjaxError(f"{flag} is empty: give the name of a file, or leave it out.")
        return hint(text) if hint in (int, Path) else text
    except (ValueError, KeyError):
        expected = {bool: "true or false", int: "a whole number", float: "a number"}[hint]
        raise ZfjaxError(f"{flag} {text!r}: expected {expected}.") from None


def _plain(hint: Any, value: Any, flag: str) -> Any:
    """A value that is no text as one of the type ``hint``; of a type that is not known here, as it
    is.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return _plain(next(kind for kind in inner if kind is not type(None)), value, flag)
    if origin is typing.Literal:
        if not any(value == choice and type(value) is type(choice) for choice in inner):
            raise ZfjaxError(f"{flag} {value!r}: it is {' or '.join(map(str, inner))}.")
        return value
    if origin is tuple:
        return _tuple(inner, several(value), flag)
    kinds: dict[Any, Any] = {
        bool: truth,
        int: whole_number,
        float: real_number,
        str: plain_text,
        Path: path_of,
    }
    plain = kinds[hint](value, flag) if hint in kinds else value
    return _finite(plain, flag) if hint is float else plain


def _tuple(inner: tuple[Any, ...], items: Sequence[Any], flag: str) -> tuple[Any, ...]:
    """The items of a tuple, each of its type: as many as there are types, or any number of one."""
    if inner[-1] is Ellipsis:
        inner = inner[:1] * len(items)
    if len(items) != len(inner):
        raise ZfjaxError(f"{flag} takes {len(inner)} values, and {len(items)} are given.")
    return tuple(_value(kind, item, flag) for kind, item in zip(inner, items, strict=True))


def _finite(number: float, flag: str) -> float:
    if not math.isfinite(number):
        raise ZfjaxError(f"{flag} {number}: expected a number that is finite.")
    return number


def read_flags(measures: Sequence[Measure], flags: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``--<measure>.<field> VALUE ...`` as {measure: {field: text}}. A field of several values may
    come several times, and its texts are a list then; of any other the last counts. Raises
    ZfjaxError for another flag, and for a measure that is not asked for.
    """
    tuples = {
        measure.name: {
            field.name
            for field in dataclasses.fields(measure.options)
            if isinstance(getattr(measure.options, field.name), tuple)
        }
        for measure in measures
    }
    names = [measure.name for measure in measures]
    texts: dict[str, dict[str, Any]] = {name: {} for name in names}
    rest = list(flags)
    while rest:
        flag = rest.pop(0)
        name, equals, text = flag.partition("=")
        value: Any = text
        owner, dot, field = name.removeprefix("--").partition(".")
        if not name.startswith("--") or not dot:
            raise ZfjaxError(f"Not understood: {flag}; see `zfjax measure --help`.")
        if owner not in texts:
            asked = f"those asked for are {', '.join(names)}" if names else "none is asked for"
            raise ZfjaxError(
                f"There is no flag {name}: {owner!r} is not a measure of this; {asked}."
            )
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise ZfjaxError(f"{name} needs a value.")
            value = rest.pop(0)
        field = field.replace("-", "_")
        before = texts[owner].get(field)
        if before is not None and field in tuples[owner]:
            value = [*(before if isinstance(before, list) else [before]), value]
        texts[owner][field] = value
    return texts
