"""Where prepared data sets lie: DATA_DIR/NAME/[CONFIG/]VERSION, by the names of folders alone."""

from __future__ import annotations

import os
import re
from pathlib import Path

from zfjax.data.set_names import is_drawn
from zfjax.data.system_names import is_system_name
from zfjax.errors import ZfjaxError, explain_os_error
from zfjax.files import data_folder, local_path
from zfjax.homes import can_be_made, home_folder, temporary_home

_VERSION = re.compile(r"\d+\.\d+\.\d+")


def dataset_names(data_dir: Path | str) -> list[str]:
    """The names under ``data_dir`` that ``open_dataset`` could open ("name", or "name/config"),
    sorted.
    """
    root = data_folder(data_dir)
    names = []
    for folder in _folders(root):
        if _versions(folder):
            names.append(folder.name)
        names.extend(
            f"{folder.name}/{config.name}" for config in _folders(folder) if _versions(config)
        )
    return names


def _folders(root: Path) -> list[Path]:
    """Folders directly under ``root``; a dot marks what is half written, and no system's folders
    (lost+found) are looked into.
    """
    if not root.is_dir():
        return []
    try:
        return sorted(
            path for path in root.iterdir() if path.is_dir() and not is_system_name(path.name)
        )
    except OSError as error:
        raise explain_os_error(error, "list") from error


def _versions(folder: Path) -> list[Path]:
    """Version folders under ``folder``, oldest first."""
    versions = [path for path in _folders(folder) if _VERSION.fullmatch(path.name)]
    return sorted(versions, key=lambda path: tuple(int(number) for number in path.name.split(".")))


def newest_version(name: str, root: Path) -> Path:
    """The folder that holds the newest version of ``name``. Raises ZfjaxError where there is
    none.
    """
    if not name or Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        raise ZfjaxError(
            f"'{name}' is not the name of a data set; use the name given to 'zfjax data import"
            " --name'."
        )
    folder = root / name
    if _VERSION.fullmatch(folder.name) and folder.is_dir():
        return folder
    if versions := _versions(folder):
        return versions[-1]
    configs = [config.name for config in _folders(folder) if _versions(config)]
    if len(configs) == 1:
        return _versions(folder / configs[0])[-1]
    if configs:
        raise ZfjaxError(
            f"Data set {name} comes in several kinds; choose one: "
            f"{', '.join(f'{name}/{config}' for config in configs)}."
        )
    there = dataset_names(root)
    holds = (
        f"it holds: {', '.join(there)}"
        if there
        else "it holds no data set (see 'zfjax data import --help')"
    )
    made = f"If TFDS knows it by this name, `zfjax data fetch {name}` prepares it."
    if is_drawn(name):
        made = "`zfjax data scenes` draws it, asked for as many scenes as it had."
    raise ZfjaxError(f"There is no data set '{name}' in {root}; {holds}. {made}")


def data_home() -> Path:
    """Where zfjax keeps data of its own: $ZFJAX_DATA, else $XDG_CACHE_HOME/zfjax, else
    ~/.cache/zfjax; a temporary folder where there is no such place to read or write.

    Raises ZfjaxError for a URL, and where there is no temporary folder either.
    """
    if chosen := os.environ.get("ZFJAX_DATA"):
        return local_path(chosen)
    cache, home = os.environ.get("XDG_CACHE_HOME"), home_folder()
    root = local_path(cache) if cache else home / ".cache" if home else None
    if root is not None and (can_be_made(root / "zfjax") or _folders(root / "zfjax")):
        return root / "zfjax"
    return temporary_home()
