"""What a run's features are worth on another data set: a new softmax on frozen features, against
the same network trained from scratch (paper, section 5.2: Tables 4 and 5, Fig. 9).

Each fold of each arm at each size is kept as it is done, so that a stopped transfer goes on where
it was; other epochs are added by the same command to a finished one.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.errors import ZfjaxError, shortened
from zfjax.files import clear_unfinished, read_json, write_atomic, write_json, write_text
from zfjax.inputs import open_data, with_data_dir
from zfjax.measures.layer_features import features_of
from zfjax.progress import Progress, tell_nobody
from zfjax.run.adopted import AdoptedRun, load_any
from zfjax.run.folder import Run, locked_run
from zfjax.studies.folds import Fold, check_enough, folds_of
from zfjax.studies.new_heads import FrozenFeatures, Scored, rows_of
from zfjax.studies.overlaps import (
    Seen,
    left_out_words,
    overlap_words,
    seen_in,
    training_digests,
    usable_images,
)
from zfjax.studies.scratch import FromScratch, config_for, trainings_of
from zfjax.studies.transfer_plans import Asked, TransferPlan, plan_of_transfer
from zfjax.studies.transfer_rows import (
    Cell,
    Key,
    edge_words,
    numbers_of,
    png_of,
    rows_of_cells,
    sentence_of,
    table_lines,
    transfer_figure,
)
from zfjax.studies.transferred import (
    Transferred,
    open_transferred,
    transfer_folder,
    transfer_table,
    write_transfer_table,
)
from zfjax.subject import images_of
from zfjax.values import Place


def transfer(
    run: Run | AdoptedRun | Place, to: str, *, progress: Progress | None = None, **words: Any
) -> Transferred:
    """A transfer of a run, finished: at once where it is there as it was asked for. ``to``: name of
    a prepared data set; ``words``: the other fields of ``transfer_plans.Asked``. Raises ZfjaxError
    for what the run or the data set cannot give.
    """
    fields = {field.name for field in dataclasses.fields(Asked)}
    if unknown := [word for word in words if word not in fields]:
        raise ZfjaxError(
            f"transfer has no {unknown[0]!r}; it takes {', '.join(sorted(fields - {'to'}))}."
        )
    opened = run if isinstance(run, Run | AdoptedRun) else load_any(run)
    return run_transfer(plan_of_transfer(opened, Asked(to, **words), progress), progress)


def run_transfer(plan: TransferPlan, progress: Progress | None = None) -> Transferred:
    """What is not there yet of a plan, then its table, sentence and figure."""
    tell, home = progress or tell_nobody, transfer_folder(plan.run.folder)
    began = time.monotonic()
    with locked_run(plan.run.folder):
        folder = home / f"{plan.asked.stem}.folds"
        home.mkdir(exist_ok=True)
        clear_unfinished(home, locked=True)
        clear_unfinished(folder, locked=True)
        _check_same(plan, folder)
        kept = Kept(folder, plan.subject.checkpoints(plan.steps))
        wanted = _wanted(plan)
        missing = [key for key in wanted if kept.cell(key) is None]
        finished = home / f"{plan.asked.stem}.json"
        if not missing and finished.exists():
            before = open_transferred(plan.run.folder, plan.asked.stem)
            if set(plan.steps) <= set(before.steps):
                return before
        seen, counts = _usable(plan, tell)
        left_out = left_out_words(counts)
        check_enough(seen.labels, plan.class_names, plan.protocol, left_out)
        folds = folds_of(seen.ids, seen.labels, plan.protocol)
        folder.mkdir(exist_ok=True)
        write_json(folder / "asked.json", plan.record())
        for key, scored in _trained(plan, seen, folds, missing, tell):
            kept.keep(key, _cell(scored, folds[key[2]], key[1]))
        return _written(plan, kept, counts, len(seen.ids), time.monotonic() - began)


def _wanted(plan: TransferPlan) -> list[Key]:
    """All trainings of a plan, those of an epoch together, the control last."""
    arms: list[int | None] = [*plan.steps, *([None] if plan.scratch else [])]
    protocol = plan.protocol
    return [
        (step, size, fold)
        for step in arms
        for fold in range(protocol.folds)
        for size in protocol.images_per_class
    ]


def _check_same(plan: TransferPlan, folder: Path) -> None:
    """Raises ZfjaxError where the folder is of other settings."""
    path = folder / "asked.json"
    if not path.exists():
        return
    before, now = read_json(path), json.loads(json.dumps(plan.record()))
    differing = [
        f"{name} {_shown(before.get(name))} -> {_shown(value)}"
        for name, value in now.items()
        if before.get(name) != value
    ]
    if differing:
        raise ZfjaxError(
            f"{folder.with_suffix('')} is of other settings ({shortened(differing, 3, '; ')});"
            " give another --name, or ask as before."
        )


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value.get('split')} of {value.get('name')} ({str(value.get('digest'))[:8]})"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


@dataclasses.dataclass(frozen=True)
class Kept:
    """The trainings that are done, each a file. ``checkpoints``: the digest of each step."""

    folder: Path
    checkpoints: Mapping[str, str]

    def _path(self, key: Key) -> Path:
        step, size, fold = key
        return self.folder / f"{'scratch' if step is None else step}-{size}-{fold}.json"

    def cell(self, key: Key) -> Cell | None:
        """A training that is done; None where it is not, or was of another checkpoint."""
        try:
            record = read_json(self._path(key))
            return Cell(**record["cell"]) if self._is_of(key, record) else None
        except (ZfjaxError, KeyError, TypeError):
            return None

    def _is_of(self, key: Key, record: Mapping[str, Any]) -> bool:
        return bool(record["checkpoint"] == self.checkpoints.get(str(key[0])))

    def keep(self, key: Key, cell: Cell) -> None:
        """Writes one down."""
        checkpoint = self.checkpoints.get(str(key[0]))
        write_json(self._path(key), {"cell": asdict(cell), "checkpoint": checkpoint})


def _cell(scored: Scored, fold: Fold, size: int) -> Cell:
    classes = len(fold.order)
    return Cell(scored.accuracy, scored.rate, classes, classes * size, len(fold.test))


def _usable(plan: TransferPlan, tell: Progress) -> tuple[Seen, dict[str, int | None]]:
    seen = seen_in(plan.images, f"images of {plan.images.name}", tell)
    own = _own_digests(plan, tell)
    return usable_images(seen, own, bool(plan.asked.remove_overlaps), plan.images.name)


def _own_digests(plan: TransferPlan, tell: Progress) -> np.ndarray | None:
    """Of what the run was trained on; None where that is not to be had."""
    run = plan.run
    if not isinstance(run, Run):
        return None
    for config in (with_data_dir(run.config, plan.asked.data_dir), run.config):
        try:
            images = images_of(config, open_data(config, tell), config.data.train_split)
            if images.fingerprint["digest"] == run.fingerprint["digest"]:
                kept = transfer_folder(run.folder) / "training-images.npz"
                return training_digests(images, kept, tell)
        except ZfjaxError:
            continue
    return None


def _trained(
    plan: TransferPlan, seen: Seen, folds: Sequence[Fold], missing: Sequence[Key], tell: Progress
) -> Any:
    """(key, what it gives) of each training that is missing."""
    classes = np.unique(seen.labels)
    labels = np.searchsorted(classes, seen.labels)
    for step in plan.steps:
        keys = [key for key in missing if key[0] == step]
        if not keys:
            continue
        features = features_of(plan.subject, step, plan.images, (plan.layer,), tell)
        values = features.layers[plan.layer][rows_of(features.ids, seen.ids)]
        frozen = FrozenFeatures(seen.ids, labels, values, len(classes))
        epoch = f"new heads, epoch {plan.subject.epoch(step):g}"
        for done, key in enumerate(keys, start=1):
            yield key, frozen.head_on(folds[key[2]], key[1], plan.training, plan.base_rate)
            tell(epoch, done, len(keys))
    keys = [key for key in missing if key[0] is None]
    if keys:
        rates = len(plan.training.rates)
        total = plan.training.steps * sum(trainings_of((key[1],), 1, rates) for key in keys)
        counter = _Counter(tell, total)
        assert isinstance(plan.run, Run)
        config = config_for(plan.run.config, len(classes), plan.training)
        control = FromScratch(config, plan.subject, plan.images, seen.ids, labels, counter.step)
        for key in keys:
            yield key, control.network_on(folds[key[2]], key[1], plan.training, plan.base_rate)


@dataclasses.dataclass
class _Counter:
    """Tells of steps from scratch."""

    tell: Progress
    total: int
    done: int = 0

    def step(self) -> None:
        self.done += 1
        self.tell("steps from scratch", self.done, self.total)


def _written(
    plan: TransferPlan, kept: Kept, counts: dict[str, int | None], usable: int, seconds: float
) -> Transferred:
    """Table, figure and words of all that is done as this plan has it, other epochs too."""
    steps, cells = _all_done(plan, kept)
    folder, stem = transfer_folder(plan.run.folder), plan.asked.stem
    epochs = {step: plan.subject.epoch(step) for step in steps}
    table = transfer_table(rows_of_cells(cells, plan.protocol, epochs, plan.layer))
    notes = [
        *plan.notes,
        *filter(None, [overlap_words(counts, usable, plan.images.name)]),
        *filter(None, [edge_words(cells, plan.training.rates)]),
    ]
    meta: dict[str, Any] = {
        "asked": plan.record(),
        "steps": list(steps),
        "epochs": list(epochs.values()),
        "overlap": counts,
        "scratch": bool(plan.asked.scratch),
        "images": usable,
        "notes": notes,
        "seconds": round(seconds, 1),
    }
    told = Transferred(folder, stem, meta, table)
    meta["sentence"] = sentence_of(told)
    meta["figures"] = _plain(numbers_of(told))
    write_transfer_table(folder / f"{stem}.parquet", table)
    picture = png_of(transfer_figure(told))
    write_atomic(folder / f"{stem}.png", lambda path: path.write_bytes(picture))
    write_text(folder / f"{stem}.txt", words_of_transfer(told) + "\n")
    write_json(folder / f"{stem}.json", meta)
    return told


def _all_done(plan: TransferPlan, kept: Kept) -> tuple[tuple[int, ...], dict[Key, Cell]]:
    """(epochs that are done, their trainings and the control's)."""
    everywhere = dataclasses.replace(kept, checkpoints=plan.subject.checkpoints(plan.subject.steps))
    protocol = plan.protocol
    cells: dict[Key, Cell] = {}
    for step in (*plan.subject.steps, None):
        keys = [
            (step, size, f) for f in range(protocol.folds) for size in protocol.images_per_class
        ]
        done = {key: cell for key in keys if (cell := everywhere.cell(key)) is not None}
        if len(done) == len(keys):
            cells |= done
    return tuple(sorted({key[0] for key in cells if key[0] is not None})), cells


def _plain(value: Any) -> Any:
    """NaN as null."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def words_of_transfer(told: Transferred) -> str:
    """Sentence, table, and what is to be said beside them."""
    notes = [str(note) for note in told.meta["notes"]]
    return "\n".join(
        [told.meta["sentence"], "", *table_lines(told), *(["", *notes] if notes else [])]
    )
