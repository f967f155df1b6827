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
    for path, value in configs.flatten(base).items():
        if path not in ("preset", "model.name", "model.layers"):
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            holder, _, name = path.rpartition(".")
            kind = type(configs.get_field(base, holder)) if holder else type(base)
            may_be = " or ".join(configs.choices(kind, name)) or ranges.get(path, (True, ""))[1]
            words = " ".join(
                [configs.field_words(kind).get(name, ""), may_be and f"[{may_be}]"]
            ).strip()
            group.add_argument(
                f"--{path.replace('_', '-')}",
                dest=path,
                default=None,
                metavar=repr(str(shown)),
                help=words.replace("%", "%%") or None,
            )
    return parser


def resolve_config(base: Config, flags: Sequence[str]) -> Config:
    """``base`` with config flags applied. Raises ZfjaxError for an unknown flag or a value of the
    wrong type."""
    parser = config_parser(base)
    known = {action.option_strings[0] for action in parser._actions}
    for flag in flags:
        name = flag.split("=", 1)[0]
        if name.startswith("--") and name not in known:
            near = [
                option for option in sorted(known) if name.rsplit(".", 1)[-1].lstrip("-") in option
            ][:3]
            hint = f"did you mean {' or '.join(near)}?" if near else "see `zfjax train --help`."
            raise ZfjaxError(f"There is no flag {name}; {hint}")
    given, rest = parser.parse_known_args(list(flags))
    if rest:
        raise ZfjaxError(
            f"Not understood: {' '.join(rest)}; config fields are given as --name value."
        )
    record = configs.to_json(base)
    for path, text in vars(given).items():
        if text is not None:
            _set_field(record, base, path, text)
    return configs.from_json(record)


def _set_field(record: dict[str, Any], base: Config, path: str, text: str) -> None:
    value, place, parts = configs.get_field(base, path), record, path.split(".")
    for part in parts[:-1]:
        if part in place:
            place = place[part]
        else:
            place = next(layer for layer in place["layers"] if layer["name"] == part)
    flag = f"--{path.replace('_', '-')}"
    try:
        if isinstance(value, bool):
            place[parts[-1]] = {"true": True, "false": False}[text.lower()]
        elif isinstance(value, tuple):
            numbers = [int(part) for part in text.replace("x", ",").split(",")]
            place[parts[-1]] = numbers * len(value) if len(numbers) == 1 else numbers
        else:
            place[parts[-1]] = type(value)(text)
    except (ValueError, KeyError):
        kind = {bool: "true or false", tuple: "numbers like 1,1"}.get(
            type(value), type(value).__name__
        )
        raise ZfjaxError(f"{flag} {text!r}: expected {kind}.") from None
