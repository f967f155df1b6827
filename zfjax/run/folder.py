"""The run folder: where everything lies, who may write, and what a finished run tells. No JAX.

Layout in ``Run``; the metrics are one JSON object a line, cut back to the resumed step on resume.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from zfjax import config as configs
from zfjax.config import Config
from zfjax.errors import ZfjaxError, explain_os_error, quoted, shortened
from zfjax.files import check_path, exclusive_lock, read_json, write_json, write_text
from zfjax.run.evolution import Evolution, open_evolution
from zfjax.run.grid_folders import not_a_run, training_command
from zfjax.run.starts import Start, start_from
from zfjax.run.starts import current_commit as current_commit
from zfjax.run.starts import current_versions as current_versions
from zfjax.run.steps import chosen_steps, saved_steps
from zfjax.run.tabled import Tabled, lines_of
from zfjax.values import Epochs, Place, Text, optional, path_of, text

FORMAT_VERSION = 1
LONGEST_NAME = 100
"""Letters of the name of an evolution or of measures, which is part of a file's."""
TRAINING, EVALUATION = "training", "evaluation"
"""The kinds of lines in metrics.jsonl."""


@dataclass(frozen=True)
class Run:
    """A run's folder and what its config.json says."""

    folder: Path
    config: Config
    steps_per_epoch: int
    class_names: tuple[str, ...]
    fingerprint: dict[str, Any]
    """Of the training split: name, version, split, count, digest."""
    created: str
    """ISO date and time (UTC) of the first start."""
    versions: dict[str, str]
    """Of the first start."""
    git_commit: str | None
    """zfjax's own, at the first start; None where it is not known."""
    starts: tuple[Start, ...] = ()
    """Every start of its training, in order; one that found it finished is none."""

    @property
    def checkpoints(self) -> Path:
        """Parameters at step 0, each epoch's end and asked-for early steps."""
        return self.folder / "checkpoints"

    @property
    def resume(self) -> Path:
        """Full states, the newest two."""
        return self.folder / "resume"

    @property
    def report(self) -> Path:
        """The page and the figures."""
        return self.folder / "report"

    @property
    def last_step(self) -> int:
        """The step at which training ends."""
        return self.config.epochs * self.steps_per_epoch

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps whose parameters are saved, ascending."""
        return saved_steps(self.checkpoints)

    @property
    def is_finished(self) -> bool:
        """Whether its last epoch's parameters are saved, and its state too, where any is: they are
        written one after the other, and who deletes all states wants no more epochs.
        """
        states = saved_steps(self.resume)
        return self.last_step in self.steps and (self.last_step in states or not states)

    def epoch(self, step: int) -> float:
        """Epochs trained at ``step``."""
        return step / self.steps_per_epoch

    @cached_property
    def metrics(self) -> tuple[dict[str, Any], ...]:
        """All lines of metrics.jsonl, in order; a last line that a crash cut short is left out."""
        return tuple(read_metrics(self.folder / "metrics.jsonl"))

    def is_training_line(self, line: dict[str, Any]) -> bool:
        """Whether a line of metrics sums up training batches; else it is an evaluation of a whole
        split. Each line says so as its "kind". One of before that was so told by its split,
        "train"; where validation has that name too, by the speed and the rate that training lines
        alone have.
        """
        if "kind" in line:
            return line["kind"] == TRAINING
        ambiguous = self.config.data.validation_split == "train"
        rated = "images_per_second" in line or "learning_rate" in line
        return line["split"] == "train" and (rated or not ambiguous)

    @property
    def training_lines(self) -> tuple[dict[str, Any], ...]:
        """The metrics of training batches, in order: network in training mode, images augmented."""
        return tuple(line for line in self.metrics if self.is_training_line(line))

    @property
    def validation_lines(self) -> tuple[dict[str, Any], ...]:
        """The metrics of the validation split, whatever its name, in order."""
        return tuple(line for line in self.metrics if not self.is_training_line(line))

    @property
    def held_out(self) -> bool:
        """Whether validation is on other images than training."""
        return self.config.data.validation_split != self.config.data.train_split

    def evolution_folder(self, name: str | None = None) -> Path:
        """RUN/evolution, or RUN/evolution-NAME."""
        return evolution_folder(self.folder, name)

    def evolution(self, name: str | None = None) -> Evolution:
        """The finished evolution of that name. Raises ZfjaxError when there is none."""
        return open_evolution(self.evolution_folder(name))

    def __repr__(self) -> str:
        return lines_of(self._tabled)

    def _repr_html_(self) -> str:
        return self._tabled().html()

    def _tabled(self) -> Tabled:
        lines = self.validation_lines
        last = next((line for line in reversed(lines) if line.get("top1") is not None), None)
        rows = (
            ("network", self.config.model.name),
            ("data", f"{self.config.data.name}, {self.fingerprint.get('count', 0):,} images"),
            ("epochs saved", len(self.steps)),
            ("top-1", "not measured" if last is None else f"{last['top1']:.1%}"),
        )
        return Tabled("Run", f"In {self.folder.name}, of {self.created[:10]}.", (), rows)

    def steps_at(self, wanted: Epochs | None) -> tuple[int, ...]:
        """Saved steps for ``--at``: epochs ("0", "5", or numbers), "step:32", "last", "all", one of
        them or several; None is all.

        Raises ZfjaxError when nothing is saved or a wanted one is not there.
        """
        if not self.steps:
            raise ZfjaxError(
                f"{self.folder} has no checkpoints yet; run {training_command(self.folder)} first."
            )
        return chosen_steps(self.steps, self.steps_per_epoch, wanted)


def load_run(folder: Place | Run) -> Run:
    """Opens RUN; a run that is open already, anew. Raises ZfjaxError when it is not a run or was
    written by a newer zfjax.
    """
    folder = check_folder(folder.folder if isinstance(folder, Run) else folder)
    path = folder / "config.json"
    if not path.exists():
        raise not_a_run(folder)
    record = read_json(path)
    if record.get("kind") == "foreign":
        raise ZfjaxError(
            f"{folder} holds evolutions of {record.get('model')}, which zfjax has not trained; this"
            " command takes runs of zfjax."
        )
    try:
        if record["format_version"] > FORMAT_VERSION:
            raise ZfjaxError(
                f"{path} was written by a newer zfjax (format {record['format_version']}); update"
                " zfjax."
            )
        return Run(
            folder=folder,
            config=configs.from_json(record),
            steps_per_epoch=int(record["steps_per_epoch"]),
            class_names=tuple(record["class_names"]),
            fingerprint=dict(record["fingerprint"]),
            created=str(record["created"]),
            versions=dict(record["versions"]),
            git_commit=record["git_commit"],
            starts=(
                tuple(start_from(start) for start in record["starts"])
                if "starts" in record
                else (
                    Start(str(record["created"]), dict(record["versions"]), record["git_commit"]),
                )
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ZfjaxError(f"{path} is damaged: {error!r}; restore it from a copy.") from None


def save_run(run: Run) -> None:
    """Writes RUN/config.json."""
    record = {
        "format_version": FORMAT_VERSION,
        "config": configs.to_json(run.config),
        "steps_per_epoch": run.steps_per_epoch,
        "class_names": list(run.class_names),
        "fingerprint": run.fingerprint,
        "created": run.created,
        "versions": run.versions,
        "git_commit": run.git_commit,
        "starts": [asdict(start) for start in run.starts],
    }
    write_json(run.folder / "config.json", record)


def check_folder(folder: Place) -> Path:
    """``folder`` as a path. Raises ZfjaxError for a bucket (appends and renames have no answer
    there yet) and for a name that a library below would misread.
    """
    return check_path(path_of(folder, "The run's folder"), "a run")


def check_same(run: Run, wanted: Config) -> None:
    """Raises ZfjaxError naming the fields in which ``wanted`` differs from what ``run`` was started
    with. More epochs are no difference where the run's schedule does not depend on them.
    """
    before, now = configs.flatten(run.config), configs.flatten(wanted)
    differing = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    differing = [name for name in differing if name not in configs.RESUMABLE_FIELDS]
    if differing == ["epochs"]:
        _check_more_epochs(run, wanted.epochs)
    elif differing:
        changes = (f"{name} {before.get(name)!r} -> {now.get(name)!r}" for name in differing)
        raise ZfjaxError(
            f"{run.folder} holds a run with other settings ({shortened(changes, 4, '; ')}). "
            "Use another --workdir, or start it again without these flags."
        )


def _check_more_epochs(run: Run, wanted: int) -> None:
    """Raises ZfjaxError where ``run`` cannot become one of ``wanted`` epochs."""
    before, schedule = run.config.epochs, run.config.optimizer.schedule
    if wanted < before:
        raise ZfjaxError(
            f"{run.folder} is a run of {before} epochs, and epochs {before} -> {wanted} would take"
            f" some back: go on with it by `zfjax train --workdir {quoted(run.folder)}`, or use"
            " another --workdir."
        )
    if schedule not in configs.GROWING_SCHEDULES:
        raise ZfjaxError(
            f"{run.folder} cannot be given more epochs ({before} -> {wanted}): its"
            f" optimizer.schedule {schedule!r} sets every rate by the number of epochs. Train"
            f" {wanted} in another --workdir, or choose one of"
            f" {' and '.join(configs.GROWING_SCHEDULES)} there, which take more later."
        )
    if run.is_finished and not saved_steps(run.resume):
        raise ZfjaxError(
            f"{run.folder} is finished at epoch {before} and cannot be given more"
            f" ({before} -> {wanted}): {run.resume} holds no state to go on from. Restore one from"
            " a copy, or train anew in another --workdir."
        )


@contextmanager
def locked_run(folder: Path) -> Iterator[None]:
    """Holds the workdir's lock. Raises ZfjaxError when another process trains or evolves there."""
    refusal = f"Another zfjax process is writing to {folder}; wait for it or use another --workdir."
    with exclusive_lock(folder / ".lock", refusal):
        yield


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Complete lines of a metrics file; [] when there is none. Raises ZfjaxError for a damaged
    line.
    """
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # an editor may have put a mark
    except UnicodeDecodeError as error:
        raise ZfjaxError(f"{path} is damaged ({error}); restore it from a copy.") from None
    records = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            raise ZfjaxError(f"Line {number} of {path} is damaged; remove that line.") from None
    return records


def cut_metrics(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Drops the lines that a resumed run will write again, so that it leaves neither gap nor double
    line.
    """
    if path.exists():
        kept = [record for record in read_metrics(path) if keep(record)]
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))


def append_metrics(path: Path, record: dict[str, Any]) -> None:
    """Appends one line in one write."""
    try:
        with open(path, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(record, allow_nan=False) + "\n")
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        raise explain_os_error(error, f"write {path.name} in {path.parent}:") from error


def checked_name(name: Text | None) -> str | None:
    """A name that is part of a folder's, as ``--name`` gives it; None for none. Raises ZfjaxError
    for what is no such name.
    """
    plain = optional(text, name, "--name")
    if plain is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", plain):
        raise ZfjaxError(f"--name {plain!r} must be letters, digits, '.', '_' or '-'.")
    if plain is not None and len(plain) > LONGEST_NAME:
        raise ZfjaxError(f"--name {plain!r} is longer than {LONGEST_NAME} letters.")
    return plain


def evolution_folder(folder: Path, name: Text | None = None) -> Path:
    """FOLDER/evolution, or FOLDER/evolution-NAME. Raises ZfjaxError for a name that is none."""
    name = checked_name(name)
    return folder / ("evolution" if name is None else f"evolution-{name}")
