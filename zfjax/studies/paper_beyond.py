"""The paper's statements that one run cannot bear out alone: those on grids of networks (Fig. 6,
Table 3), on other data sets (Tables 4 to 6, Fig. 9) and on ensembles (Table 2). From saved files,
but for the ensemble.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zfjax.errors import ZfjaxError, quoted
from zfjax.files import read_json
from zfjax.studies.grid_view import GridView, view_of
from zfjax.studies.intervals import CANNOT_TELL, CONFIDENCE, Interval, over_values
from zfjax.studies.paper_claims import CLAIMS, Answer, PaperClaim, answers_of
from zfjax.studies.paper_numbers import SEEDS, THIS_RUN, Judged, Reading, judge, needed
from zfjax.studies.paper_rows import ClaimRow, missing_row
from zfjax.studies.plans import check_plan_folder, load_plan
from zfjax.studies.results import read_results

FIGURES = {"stems": "Fig. 6, section 4.1", "layers": "Table 3, section 5.1"}
GRID_COMMAND = (
    "zfjax ablate --workdir DIR --preset demo --seeds 3 --grid {grid}; then zfjax paper --workdir"
    " RUN --ablation DIR"
)


@dataclass(frozen=True)
class Beyond:
    """A statement on more than one run."""

    id: str
    figure: str
    claim: str
    published: str
    number: str
    side: int = 1


CLIP = Beyond(
    "fig6-clipping",
    "Fig. 6a, section 3",
    "Without a limit on the filters' strength one of them dominates the first layer",
    "pictures only",
    "strongest filter over the median, limited minus without a limit",
    -1,
)
TABLE2 = Beyond(
    "table2-ensemble",
    "Table 2, section 5.1",
    "Several networks' mean answers are right more often than one network's",
    "38.4 to 36.7 % wrong with five networks",
    "accuracy of the mean answer minus the runs' average",
)
TRANSFER = {
    "table4-caltech101": Beyond(
        "table4-caltech101",
        "Table 4, section 5.2",
        "Caltech-101: features trained elsewhere beat a network trained from scratch",
        "86.5 ± 0.5 against 46.5 ± 1.7 % (30 images a class)",
        "mean accuracy of the classes, pretrained minus scratch",
    ),
    "table5-caltech256": Beyond(
        "table5-caltech256",
        "Table 5, section 5.2",
        "Caltech-256: features trained elsewhere beat a network trained from scratch",
        "74.2 ± 0.3 against 38.8 ± 1.4 % (60 images a class)",
        "mean accuracy of the classes, pretrained minus scratch",
    ),
    "table6-voc": Beyond(
        "table6-voc",
        "Table 6, section 5.2",
        "Pascal VOC 2012: the features serve for pictures of several objects, though less well",
        "79.0 % against the 82.2 % of the best system",
        "mean accuracy of the classes, pretrained minus scratch",
    ),
    "fig9-few": Beyond(
        "fig9-few",
        "Fig. 9, section 5.2",
        "A few images a class with these features beat many without them",
        "6 images a class beat the best earlier system at 60",
        "pretrained on the fewest images minus scratch on the most",
    ),
}
TRANSFER_COMMAND = (
    "zfjax transfer --workdir RUN --to NAME; then zfjax paper --workdir RUN --transfer NAME"
)


def open_grid(folder: Path) -> GridView:
    """A grid's results. Raises ZfjaxError for a folder that holds none."""
    if (folder / "config.json").exists():
        raise ZfjaxError(
            f"--ablation {folder}: this is a run; give the folder of a grid, as `zfjax ablate"
            " --workdir DIR` makes it."
        )
    plan = load_plan(check_plan_folder(folder))
    if plan is None:
        raise ZfjaxError(
            f"--ablation {folder}: there is no ablation (no ablation.json); make one with `zfjax"
            f" ablate --workdir {quoted(folder)} --preset demo --grid stems`."
        )
    return view_of(read_results(plan))


def grid_rows(views: Sequence[GridView]) -> Iterator[ClaimRow]:
    """A row for each statement of Fig. 6 and Table 3, from the first grid that has it."""
    known: dict[PaperClaim, tuple[Answer, GridView]] = {}
    for view in views:
        for answer in answers_of(view):
            known.setdefault(answer.claim, (answer, view))
    for claim in CLAIMS:
        statement = _beyond_of(claim)
        command = GRID_COMMAND.format(grid=claim.grid)
        if claim not in known:
            yield missing_row(statement, command)
        else:
            yield _grid_row(statement, *known[claim])
        if claim is [each for each in CLAIMS if each.grid == "stems"][-1]:
            yield _clip_row(views)


def _beyond_of(claim: PaperClaim) -> Beyond:
    figure = FIGURES[claim.grid]
    name = figure.split(",")[0].lower().replace(". ", "").replace(" ", "")
    against = "" if claim.against == "base" else f"-against-{claim.against}"
    what = claim.quantity.replace("_", "-")
    unit = "top-1" if claim.quantity == "top1" else f"{what} of the first layer"
    words = f"{claim.words[:1].upper()}{claim.words[1:]}"
    number = f"difference of {unit}, mean over the seeds"
    return Beyond(f"{name}-{claim.cell}{against}-{what}", figure, words, claim.published, number)


def _grid_row(statement: Beyond, answer: Answer, view: GridView) -> ClaimRow:
    command = f"zfjax ablate --workdir DIR ({len(view.cells)} cells)"
    if answer.difference is None:
        return missing_row(statement, command, answer.why)
    low, high = _ends(answer.interval)
    note = " ".join(filter(None, (_sentence(answer.why), _sentence(answer.beyond))))
    reading = Reading(answer.difference, low, high, answer.seeds, SEEDS, note)
    more = needed(reading) if answer.verdict == CANNOT_TELL and answer.claim.sense else None
    return ClaimRow(
        *(statement.id, statement.figure, statement.claim, statement.published, statement.number),
        reading,
        str(Judged(answer.verdict, SEEDS, more)),
        command,
    )


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (float(interval.low), float(interval.high))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _clip_row(views: Sequence[GridView]) -> ClaimRow:
    """Dominance in the first layer with the recipe's limit and without one, over the seeds."""
    for view in views:
        cells = {cell.cell.config.rms_clip: cell for cell in view.cells}
        limits = sorted(limit for limit in cells if limit)
        if 0.0 not in cells or not limits:
            continue
        limit = 0.1 if 0.1 in limits else limits[0]
        pairs = []
        for seed in sorted(set(cells[limit].measured) & set(cells[0.0].measured)):
            values = [
                cell.measured[seed].get(f"{cell.layers[0]}.dominance")
                for cell in (cells[limit], cells[0.0])
            ]
            if None not in values:
                pairs.append(values[0] - values[1])  # type: ignore[operator]
        if not pairs:
            continue
        low, high = _ends(over_values(np.asarray(pairs, np.float64), CONFIDENCE))
        reading = Reading(sum(pairs) / len(pairs), low, high, len(pairs), SEEDS)
        return ClaimRow(
            *(CLIP.id, CLIP.figure, CLIP.claim, CLIP.published, CLIP.number),
            reading,
            str(judge(reading, CLIP.side)),
            "zfjax ablate --workdir DIR --grid clip",
        )
    return missing_row(CLIP, GRID_COMMAND.format(grid="clip"))


@dataclass(frozen=True)
class Transferred:
    """What RUN/transfer says of one data set."""

    name: str
    meta: dict[str, Any]
    table: pa.Table

    def differences(self) -> list[dict[str, Any]]:
        """Pretrained minus scratch at the last epoch, by images a class."""
        table = self.table.filter(
            pc.and_(pc.equal(self.table["arm"], "difference"), pc.is_null(self.table["fold"]))
        )
        rows: list[dict[str, Any]] = table.to_pylist()
        last = max((row["step"] for row in rows), default=None)
        shown = [row for row in rows if row["step"] == last]
        return sorted(shown, key=lambda row: row["images_per_class"])


def open_transfers(run_folder: Path, names: Sequence[str]) -> list[Transferred]:
    """The finished transfers of a run, or those named. Raises ZfjaxError for one that was not run
    and one that is damaged.
    """
    folder = run_folder / "transfer"
    there = sorted(path.stem for path in folder.glob("*.json"))
    opened = []
    for name in names or there:
        if name not in there:
            known = f"; finished are {', '.join(there)}" if there else ""
            raise ZfjaxError(
                f"--transfer {name}: {run_folder} was not transferred to it{known}. Run `zfjax"
                f" transfer --workdir {quoted(run_folder)} --to {name}` first."
            )
        path = folder / f"{name}.parquet"
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException):
            raise ZfjaxError(
                f"{path} is missing or damaged; delete {name}.json there and run `zfjax transfer"
                f" --workdir {quoted(run_folder)} --to {name}` again."
            ) from None
        opened.append(Transferred(name, read_json(folder / f"{name}.json"), table))
    return opened


def transfer_statements(transfers: Sequence[Transferred]) -> Iterator[ClaimRow]:
    """The tables and the figure of transfer: for each data set that the features were taken to, or
    how to fill them.
    """
    few = TRANSFER["fig9-few"]
    known: set[str] = set()
    for transfer in transfers:
        statement = _table_of(transfer.name)
        if statement.id in known:  # a second transfer to a set of that kind
            statement = replace(statement, id=f"{statement.id}-{transfer.name}")
        known.add(statement.id)
        command = transfer_command(transfer.name, transfer.meta)
        picture = f"transfer/{transfer.name}.png"
        rows = transfer.differences()
        if not rows:
            why = f"The transfer to {transfer.name} has no network trained from scratch beside it."
            yield missing_row(statement, command, why)
        else:
            row = rows[-1]
            note = f"{row['images_per_class']} images a class."
            number = Reading(row["value"], row["low"], row["high"], row["n"], "folds", note)
            yield _transfer_row(statement, number, command, picture)
        figures = (transfer.meta.get("figures") or {}).get("few_minus_scratch")
        about = few if few.id not in known else replace(few, id=f"{few.id}-{transfer.name}")
        about = replace(about, claim=f"{transfer.name}: {few.claim[:1].lower()}{few.claim[1:]}")
        known.add(about.id)
        if figures:
            value, low, high, n = (figures[end] for end in ("value", "low", "high", "n"))
            yield _transfer_row(about, Reading(value, low, high, n, "folds"), command, picture)
        else:
            yield missing_row(about, command, "One number of images a class has no curve.")
    for name, table in TRANSFER.items():
        if name not in known:
            yield missing_row(table, TRANSFER_COMMAND)


def transfer_command(stem: str, meta: Mapping[str, Any]) -> str:
    """What a person types for this very transfer: with other settings it is refused. ``stem``: of
    its files.
    """
    asked = meta.get("asked")
    words = ["zfjax", "transfer", "--workdir", "RUN", "--to", asked["to"] if asked else stem]
    if asked:
        for flag, name in TRANSFER_FLAGS.items():
            values = asked[name] if isinstance(asked[name], list) else [asked[name]]
            words += [
                flag,
                *(f"{value:g}" if isinstance(value, float) else str(value) for value in values),
            ]
        words += [
            "--split",
            asked["data"]["split"],
            "--at",
            *(f"{each:g}" for each in meta["epochs"]),
        ]
        words += ["--remove-overlaps"] * bool(asked["remove_overlaps"])
        name = stem.removeprefix(asked["to"]).removeprefix("-")
        words += ["--name", name] if name else []
    return shlex.join(words)


def _table_of(name: str) -> Beyond:
    """The paper's table of a data set of that name, or one that stands for all of them."""
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    for known, table in (("caltech101", "table4-caltech101"), ("caltech256", "table5-caltech256"),
                         ("voc", "table6-voc")):  # fmt: skip
        if known in plain:
            return TRANSFER[table]
    example = TRANSFER["table4-caltech101"]
    return Beyond(
        f"table4-{name}",
        "Tables 4 to 6, section 5.2",
        f"{name}: features trained elsewhere beat a network trained from scratch",
        f"Caltech-101: {example.published}",
        example.number,
    )


def _transfer_row(about: Beyond, reading: Reading, command: str, picture: str) -> ClaimRow:
    return ClaimRow(
        *(about.id, about.figure, about.claim, about.published, about.number),
        reading,
        str(judge(reading, about.side)),
        command,
        picture,
    )


TRANSFER_FLAGS = {
    "--images-per-class": "images_per_class",
    "--folds": "folds",
    "--test-per-class": "test_per_class",
    "--seed": "seed",
    "--layer": "layer",
    "--steps": "training_steps",
    "--batch-size": "batch_size",
    "--learning-rates": "learning_rates",
}
ENSEMBLE_COMMAND = (
    "zfjax evaluate --workdir RUN RUN2 RUN3 --ensemble; zfjax paper --workdir RUN --seeds-of RUN2"
    " RUN3"
)


def ensemble_row(gain: Reading | None, why: str = "") -> ClaimRow:
    """Table 2: what the mean of the runs' answers gains over one run."""
    if gain is None:
        return missing_row(TABLE2, ENSEMBLE_COMMAND, why)
    row = _transfer_row(TABLE2, gain, ENSEMBLE_COMMAND, "")
    return replace(row, verdict=row.verdict.replace(THIS_RUN, "for these runs"))
