"""A flag for every field of a config, layers by name: ``--model.conv1.kernel 11``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from zfjax import config as configs
from zfjax.config import Config
from zfjax.errors import ZfjaxError
from zfjax.fields import flag, settable, with_fields
from zfjax.unknown_fields import unknown_field


def config_parser(base: Config) -> argparse.ArgumentParser:
    """A flag for every field of ``base``, layers by name."""
    parser = argparse.ArgumentParser(prog="zfjax train", add_help=False, allow_abbrev=False)
    group = parser.add_argument_group(f"config fields (defaults: {base.preset or 'this run'})")
    ranges = base.ranges()
    for path, value in settable(base).items():
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
        holder, _, name = path.rpartition(".")
        kind = type(configs.get_field(base, holder)) if holder else type(base)
        may_be = " or ".join(configs.choices(kind, name)) or ranges.get(path, (True, ""))[1]
        words = " ".join(
            [configs.field_words(kind).get(name, ""), may_be and f"[{may_be}]"]
        ).strip()
        group.add_argument(
            flag(path),
            dest=path,
            default=None,
            metavar=repr(str(shown)),
            help=words.replace("%", "%%") or None,
        )
    return parser


def resolve_config(base: Config, flags: Sequence[str]) -> Config:
    """``base`` with config flags applied. Raises ZfjaxError for an unknown flag or a value of the
    wrong type.
    """
    parser = config_parser(base)
    known = {flag(path) for path in settable(base)}
    for word in flags:
        name = word.split("=", 1)[0]
        if name.startswith("--") and name not in known:
            path = name.removeprefix("--").replace("-", "_")
            if path.startswith("model.") and path.count(".") > 1:
                raise ZfjaxError(f"There is no flag {name}{unknown_field(base, path)}")
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
    return with_fields(
        base, {path: text for path, text in vars(values).items() if text is not None}
    )
