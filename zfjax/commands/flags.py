"""A flag for every field of a config, layers by name: ``--model.conv1.kernel 11``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from zfjax import config as configs
from zfjax.config import Config
from zfjax.errors import ZfjaxError


def config_parser(base: Config) -> argparse.ArgumentParser:
    """A flag for every field of ``base``, layers by name."""
    parser = argparse.ArgumentParser(prog="zfjax train", add_help=False, allow_abbrev=False)
    group = parser.add_argument_group(f"config fields (defaults: {base.preset or 'this run'})")
    ranges = base.ranges()
    for path, value in _fields(base).items():
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
        holder, _, name = path.rpartition(".")
        kind = type(configs.get_field(base, holder)) if holder else type(base)
        may_be = " or ".join(configs.choices(kind, name)) or ranges.get(path, (True, ""))[1]
        words = " ".join(
            [configs.field_words(kind).get(name, ""), may_be and f"[{may_be}]"]
        ).strip()
        group.add_argument(
            _flag(path),
            dest=path,
            default=None,
            metavar=repr(str(shown)),
            help=words.replace("%", "%%") or None,
        )
    return parser


def _fields(base: Config) -> dict[str, Any]:
    """{"model.conv1.kernel": value, ...} of the fields that have a flag."""
    hidden = ("preset", "model.name", "model.layers", "layer_keys")
    return {path: value for path, value in configs.flatten(base).items() if path not in hidden}


def _flag(path: str) -> str:
    return f"--{path.replace('_', '-')}"


def resolve_config(base: Config, flags: Sequence[str]) -> Config:
    """``base`` with config flags applied. Raises ZfjaxError for an unknown flag or a value of the
    wrong type.
    """
    parser = config_parser(base)
    known = {_flag(path) for path in _fields(base)}
    for flag in flags:
        name = flag.split("=", 1)[0]
        if name.startswith("--") and name not in known:
            near = [
                option for option in sorted(known) if name.rsplit(".", 1)[-1].lstrip("-") in option
            ][:3]
            hint = f"did you mean {' or '.join(near)}?" if near else "see `zfjax train --help`."
            raise ZfjaxError(f"There is no flag {name}; {hint}")
    values, rest = parser.parse_known_args(list(flags))
    if rest:
        raise ZfjaxError(
            f"Not understood: {' '.join(rest)}; config fields are given as --name value."
        )
    record = configs.to_json(base)
    if base.rms_clip == configs.OF_RECIPE:  # another recipe brings its own
        del record["rms_clip"]
    for path, text in vars(values).items():
        if text is not None:
            _set_field(record, base, path, text)
    return configs.from_json(record)


def _set_field(record: dict[str, Any], base: Config, path: str, text: str) -> None:
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
        raise ZfjaxError(f"{_flag(path)} {text!r}: expected {kind}.") from None
