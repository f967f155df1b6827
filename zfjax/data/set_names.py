"""What a data set may be called: a name that TFDS takes, and one that means nothing else to zfjax
or TFDS.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from zfjax.errors import ZfjaxError

SCENES = "scenes"
"""The embedded drawings: no folder of this name is ever opened for it."""

_MEANINGS = {
    SCENES: "the drawings that come with zfjax",
    "compiled": "the folder in which zfjax keeps compiled programs",
    "downloads": "the folder in which TFDS keeps what it downloads",
}
_DRAWN = re.compile(rf"{SCENES}_[0-9a-f]{{12}}")  # how scenes.py calls what it has drawn


def is_drawn(name: str) -> bool:
    """Whether drawn scenes are called so."""
    return _DRAWN.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Raises ZfjaxError unless ``name`` can name a new data set."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or len(name) > 100:
        raise ZfjaxError(
            f"'{name}' cannot name a data set: use lower-case letters, digits and _, a letter"
            " first."
        )
    check_meaning(name)


def check_meaning(name: str) -> None:
    """Raises ZfjaxError where ``name`` already means something else in a folder of data sets."""
    if meaning := _MEANINGS.get(SCENES if is_drawn(name) else name):
        raise ZfjaxError(
            f"'{name}' cannot name a data set, as it means {meaning}: choose another name."
        )


def check_no_set_called_scenes(root: Path) -> None:
    """Raises ZfjaxError where ``root`` holds somebody's data set "scenes", which the drawings would
    stand in for.
    """
    folder = root / SCENES
    if any(folder.glob("*/dataset_info.json")) or any(folder.glob("*/*/dataset_info.json")):
        move = shlex.join(["mv", str(folder), str(root / "my_scenes")])
        raise ZfjaxError(
            f"{folder} is a data set, but the name {SCENES} means {_MEANINGS[SCENES]}: rename that"
            f" folder ({move}), then --data.name my_scenes is your set and --data.name {SCENES} the"
            " drawings."
        )


def check_not_imported(root: Path, name: str) -> None:
    """Raises ZfjaxError where ``zfjax data import`` has put a data set of this name: the newest
    version is what is opened, so that a fetched one would take its place in silence.
    """
    for metadata in (root / name).glob("*/metadata.json"):
        try:
            imported = "class_names" in json.loads(metadata.read_bytes())
        except (OSError, ValueError, TypeError):
            continue
        if imported:
            raise ZfjaxError(
                f"{root / name} was made by `zfjax data import`, and a fetched {name} would take"
                " its place: rename that folder, or fetch into another --data-dir."
            )
