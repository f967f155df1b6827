"""What each start of a run was computed with: versions, zfjax's own commit, devices. No JAX."""

from __future__ import annotations

import dataclasses
import os
import platform
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

RECORDED_PACKAGES = (
    "zfjax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "tensorflow-datasets",
    "numpy",
    "pillow",
)


@dataclass(frozen=True)
class Start:
    """One start of a training; None is what is not known of it (starts of zfjax 0.1.0 kept
    less).
    """

    when: str
    """ISO date and time, UTC."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of Python and of the packages that results depend on."""
    git_commit: str | None = None
    system: str | None = None
    """Operating system and processor: "Linux x86_64"."""
    platform: str | None = None
    """What JAX computes on: "cpu", "gpu" or "tpu"."""
    device_kind: str | None = None
    devices: int | None = None
    """Of all processes together."""
    processes: int | None = None
    deterministic: bool | None = None
    """Whether NVIDIA chips were asked for bit-exact sums."""

    def device_words(self) -> str | None:
        """ "8 × NVIDIA H100 80GB HBM3"; None where it is not known."""
        return None if self.device_kind is None else f"{self.devices} × {self.device_kind}"


def start_from(record: dict[str, Any]) -> Start:
    """A start as config.json has it; fields that a later zfjax has added are left out."""
    known = [item.name for item in dataclasses.fields(Start)]
    return Start(**{name: value for name, value in record.items() if name in known})


def changes_between(starts: Sequence[Start]) -> list[str]:
    """What was not the same at one start as at the one before: "jax 0.10.2 → 0.10.3", "1 × cpu → 8
    × cpu"; what is not known of either is left out.
    """
    told: list[str] = []
    for before, after in zip(starts, starts[1:], strict=False):
        pairs: list[tuple[str, object, object]] = [
            (f"{name} ", before.versions.get(name), version)
            for name, version in after.versions.items()
        ]
        pairs += [
            ("commit ", before.git_commit, after.git_commit),
            ("", before.system, after.system),
            ("", before.device_words(), after.device_words()),
            ("processes ", before.processes, after.processes),
            ("deterministic ", before.deterministic, after.deterministic),
        ]
        told += [
            f"{name}{old} → {new}"
            for name, old, new in pairs
            if None not in (old, new) and old != new
        ]
    return told


def current_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on; one that is not installed is
    left out.
    """
    versions = {}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from a folder on the path
            continue
    return {**versions, "python": platform.python_version()}


def current_system() -> str:
    """Operating system and processor, without the machine's name."""
    return f"{platform.system()} {platform.machine()}"


def current_commit(package: Path | None = None) -> str | None:
    """The git commit of zfjax's own checkout, "-dirty" when files differ from it; None outside of
    one.

    Own is a repository whose root holds zfjax's pyproject.toml and that tracks the file that asks:
    an environment may lie within any other repository, whose commits say nothing of zfjax.
    ``package``: zfjax's folder (None: this one).
    """
    package = Path(__file__).resolve().parents[1] if package is None else package.resolve()
    root = _git(package, "rev-parse", "--show-toplevel")
    if (
        root is None
        or package.parent != Path(root).resolve()
        or _project_name(Path(root)) != "zfjax"
    ):
        return None
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return _git(package, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


def _project_name(root: Path) -> str | None:
    try:
        return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "name"
        ]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _git(folder: Path, *words: str) -> str | None:
    """What git says in ``folder``, whatever repository the environment points to; None where it
    fails.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            # A lock on the index would stay where this process is killed.
            ["git", "--no-optional-locks", *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip() or None


def asks_deterministic(flags: str) -> bool:
    """Whether XLA_FLAGS ask for bit-exact sums on NVIDIA chips; the last mention counts."""
    mentions = [
        word.partition("=")[2]
        for word in flags.split()
        if word.startswith("--xla_gpu_deterministic_ops")
    ]
    return bool(mentions) and mentions[-1].lower() in ("", "true", "1")
