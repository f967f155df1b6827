"""Which files and folders of a folder are checkpoints, and of which step and epoch, by their names
or a pattern of the user's. No JAX.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zfjax.errors import ZfjaxError, shortened
from zfjax.run.written_steps import AS_WRITTEN, has_date, last_number, two_ways, whole_steps

WEIGHTS = (".safetensors", ".npz", ".msgpack", ".flax")
"""What files of arrays are called that can be read."""
OTHERS = (
    *(".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle", ".joblib"),
    *(".npy", ".eqx", ".h5", ".hdf5"),
)
"""What checkpoints are called too: a sentence says why they are not read."""
_UNFINISHED = re.compile(
    r"(^|.*[._-])te?mp([._-].*)?|.*orbax-checkpoint-tmp.*|.*\.(replaced|deleted|part|lock)"
    r"|.*\.set-aside-\d+",
    re.IGNORECASE,
)
"""What programs that save call what is not whole, or no longer wanted."""
_EPOCH = re.compile(r"(?:^|[^a-z])(?:epochs?|ep)[ =_.-]?(\d+(?:\.\d+)?)", re.IGNORECASE)
_STEP = re.compile(
    r"(?:^|[^a-z])(?:steps?|globalsteps?|iterations?|iters?|it|updates?)[ =_.-]?"
    rf"({AS_WRITTEN})",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Saved:
    """A checkpoint by its name."""

    path: Path
    step: int
    epoch: float | None
    """None where the name does not say it."""


@dataclass(frozen=True)
class Naming:
    """How names are read."""

    pattern: str | None = None
    """A regular expression for a place in each name: its group ``step``, or its only one, is the
    step; a group ``epoch`` is the epoch. None: as names are written commonly.
    """
    steps_per_epoch: int = 1
    """Makes steps of names that hold epochs alone."""


def saved_in(root: Path, naming: Naming) -> tuple[Saved, ...]:
    """The checkpoints in a folder, by step; what bears no step is none. Raises ZfjaxError where
    there are none, where two are of one step, where a name may say two steps, or for a pattern that
    is none.
    """
    names = [path for path in sorted(root.iterdir()) if not path.name.startswith(".")]
    saved: dict[int, Saved] = {}
    for path, words in _candidates(names, naming):
        if naming.pattern is None:
            _check_plain(path)
        entry = _numbered(path, words, naming.steps_per_epoch)
        if entry.step in saved:
            raise ZfjaxError(
                f"--checkpoints {root}: {saved[entry.step].path.name} and {path.name} are both of"
                f" step {entry.step}; say which are meant with --steps and a regular expression for"
                r" their names, like 'ckpt-(\d+)'."
            )
        saved[entry.step] = entry
    if not saved:
        raise _none_in(root, names, naming.pattern)
    return tuple(saved[step] for step in sorted(saved))


def step_in_name(path: Path, naming: Naming) -> Saved:
    """A checkpoint that is named itself: of step 0 where its name bears none."""
    for candidate, words in _candidates([path], naming):
        return _numbered(candidate, words, naming.steps_per_epoch)
    return Saved(path, 0, None)


Words = tuple[str | None, str | None]
"""(step, epoch) as a name says them; not both None."""


def _candidates(names: list[Path], naming: Naming) -> Iterator[tuple[Path, Words]]:
    """Each path whose name bears a step or an epoch."""
    if naming.pattern is not None:
        expression = _compiled(naming.pattern)
        for path in names:
            if match := expression.search(path.name):
                yield path, _groups(match)
        return
    for path in names:
        stem = _stem(path)
        if stem is None or _UNFINISHED.fullmatch(path.name):
            continue
        step, epoch = _STEP.search(stem), _EPOCH.search(stem)
        if step or epoch:
            yield path, (step and step[1], epoch and epoch[1])
        elif last := last_number(stem):
            yield path, (last, None)


def _check_plain(path: Path) -> None:
    """Raises ZfjaxError for a name whose number may be read in two ways."""
    stem = _stem(path) or path.name
    if _EPOCH.search(stem):
        return
    ways = two_ways(stem)
    if ways is not None and (not (step := _STEP.search(stem)) or stem[step.end() :] == "_000"):
        end = f"{re.escape(path.suffix)}$" if path.is_file() else "$"
        raise ZfjaxError(
            f"{path} may be {ways[0]} or {ways[1]}: say how its step is read with --steps, like"
            f" '(\\d[\\d_]*){end}' or '[_-](\\d+){end}'."
        )


def _stem(path: Path) -> str | None:
    """What of a name may bear a step: a folder's whole, a file's without the suffix; None for a
    file that is called like no checkpoint.
    """
    if path.is_dir():
        return path.name
    if path.suffix.lower() in (*WEIGHTS, *OTHERS):
        return path.stem
    return path.name if "." not in path.name else None  # flax's "checkpoint_100"


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ZfjaxError(
            f"--steps {pattern!r} is no regular expression ({error}); give one like"
            r" 'ckpt-(\d+)'."
        ) from None
    named = set(expression.groupindex) & {"step", "epoch"}
    if not named and expression.groups != 1:
        raise ZfjaxError(
            f"--steps {pattern!r} must have one group, the step, like 'ckpt-(\\d+)', or groups"
            r" named step and epoch, like 'epoch(?P<epoch>\d+)'."
        )
    return expression


def _groups(match: re.Match[str]) -> Words:
    named = match.groupdict()
    if "step" in named or "epoch" in named:
        return named.get("step"), named.get("epoch")
    return match[1], None


def _numbered(path: Path, words: Words, steps_per_epoch: int) -> Saved:
    """Raises ZfjaxError for words that are no numbers, and an epoch that ends between steps."""
    step, epoch = words
    try:
        if epoch is not None and not 0 <= float(epoch) < float("inf"):
            raise ValueError
        if step is not None:
            number = whole_steps(step)
            if number is None:
                raise ValueError
            return Saved(path, number, None if epoch is None else float(epoch))
        if epoch is None:
            raise ValueError
        steps = float(epoch) * steps_per_epoch
        whole = round(steps)
    except (ValueError, OverflowError):
        number_words = epoch if step is None or whole_steps(step) is not None else step
        raise ZfjaxError(
            f"--steps: {number_words!r} of {path.name} is no number of a step; change the pattern"
            " (understood are 100, 10k, 1e3 and 1_000)."
        ) from None
    if abs(steps - whole) > 1e-6 * max(1.0, steps):
        raise ZfjaxError(
            f"{path} is of epoch {epoch}, which is no whole step at {steps_per_epoch} steps an"
            " epoch; give the right number with --steps-per-epoch."
        )
    return Saved(path, whole, float(epoch))


def _none_in(root: Path, names: list[Path], pattern: str | None) -> ZfjaxError:
    there = f"; it has {shortened([path.name for path in names], 4)}" if names else ""
    if pattern is not None:
        return ZfjaxError(f"--steps {pattern!r} matches no name in {root}{there}.")
    if (root / "_CHECKPOINT_METADATA").exists() or (root / "_METADATA").exists():
        there = "; it is one checkpoint: give the folder that holds it"
    elif names:
        if any(has_date(path.name) for path in names):
            there += "; a date is no step"
        there += r"; where their names hold the step otherwise, say how: --steps 'ckpt-(\d+)'"
    return ZfjaxError(f"--checkpoints {root} holds no numbered checkpoints{there}.")
