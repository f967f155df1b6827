"""The paper's statements that one run cannot bear out alone: those on grids of networks (Fig. 6,
Table 3) and on ensembles (Table 2); those on other data sets stand in paper_transfers.py. From
saved files, but for the ensemble.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from zfjax.errors import ZfjaxError, quoted
from zfjax.studies.grid_view import CellView, GridView, view_of
from zfjax.studies.intervals import CANNOT_TELL, CONFIDENCE, Interval, over_values
from zfjax.studies.paper_claims import CLAIMS, Answer, PaperClaim, answers_of
from zfjax.studies.paper_numbers import OF_SHARES, SEEDS, THIS_RUN, Judged, Reading, judge, needed
from zfjax.studies.paper_rows import ClaimRow, missing_row
from zfjax.studies.plans import check_plan_folder, load_plan
from zfjax.studies.results import read_results
from zfjax.studies.verdict_marks import DOES_NOT_HOLD, HOLDS

FIGURES = {"stems": "Fig. 6, section 4.1", "layers": "Table 3, section 5.1"}
QUANTITIES = {
    "top1": "top-1",
    "dead_share": "the share of dead maps of the first layer",
    "aliasing": "aliased energy of the first layer",
    "coverage": "coverage of frequencies by the first layer (1: all alike)",
}
"""What is compared, in words."""
PAPER_LIMIT = 0.1
"""Of a filter's RMS (section 3)."""
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
    unit: str = ""
    """As of a ``ClaimRow``."""


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
    unit="points",
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
    unit = QUANTITIES[claim.quantity]
    words = f"{claim.words[:1].upper()}{claim.words[1:]}"
    number = f"difference of {unit}, mean over the seeds"
    id_ = f"{name}-{claim.cell}{against}-{what}"
    points = "" if claim.quantity == "coverage" else "points"
    return Beyond(id_, figure, words, claim.published, number, unit=points)


def _grid_row(statement: Beyond, answer: Answer, view: GridView) -> ClaimRow:
    command = f"zfjax ablate --workdir DIR ({len(view.cells)} cells)"
    if answer.difference is None:
        return missing_row(statement, command, answer.why)
    low, high = _ends(answer.interval)
    verdict, own = answer.verdict, ""
    if verdict not in (HOLDS, DOES_NOT_HOLD, CANNOT_TELL):
        verdict, own = CANNOT_TELL, answer.verdict
    notes = (_sentence(text) for text in (own, answer.why, answer.beyond))
    reading = Reading(
        *(answer.difference, low, high, answer.seeds, SEEDS),
        note=" ".join(filter(None, notes)),
        limits=OF_SHARES,
    )
    more = needed(reading) if verdict == CANNOT_TELL and answer.claim.sense and not own else None
    return ClaimRow(
        *(statement.id, statement.figure, statement.claim, statement.published, statement.number),
        reading.cut,
        str(Judged(verdict, SEEDS, more)),
        command,
        unit=statement.unit,
    )


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (float(interval.low), float(interval.high))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _clip_row(views: Sequence[GridView]) -> ClaimRow:
    """Dominance in the first layer with a limit and without one, over the seeds: the paper's limit,
    or where no filter reaches that the largest that is reached.
    """
    for view in views:
        cells = {cell.cell.config.clip_radius: cell for cell in view.cells}
        limits = sorted(
            (limit for limit in cells if limit), key=lambda limit: (limit != PAPER_LIMIT, -limit)
        )
        if 0.0 not in cells or not limits:
            continue
        by_limit = {limit: _dominance(cells[limit], cells[0.0]) for limit in limits}
        reached = [limit for limit, pairs in by_limit.items() if np.ptp(pairs, axis=-1).any()]
        limit = reached[0] if reached else limits[0]
        pairs = by_limit[limit]
        if not len(pairs):
            continue
        differences = pairs[:, 0] - pairs[:, 1]
        low, high = _ends(over_values(differences, CONFIDENCE))
        note = f"{pairs[:, 0].mean():.2f} limited to {limit:g}, {pairs[:, 1].mean():.2f} without."
        if limit not in reached:
            note += " No filter reaches the limit: they are the same networks."
        elif limit != limits[0]:
            note += f" No filter reaches a limit of {limits[0]:g}."
        reading = Reading(float(differences.mean()), low, high, len(pairs), SEEDS, note)
        return ClaimRow(
            *(CLIP.id, CLIP.figure, CLIP.claim, CLIP.published, CLIP.number),
            reading,
            str(judge(reading, CLIP.side)),
            "zfjax ablate --workdir DIR --grid clip",
        )
    return missing_row(CLIP, GRID_COMMAND.format(grid="clip"))


def _dominance(limited: CellView, free: CellView) -> np.ndarray:
    """Strongest filter over the median in both, float64 [seeds that both were measured with, 2]."""
    pairs = [
        [cell.measured[seed].get(f"{cell.layers[0]}.dominance") for cell in (limited, free)]
        for seed in sorted(set(limited.measured) & set(free.measured))
    ]
    return np.asarray([pair for pair in pairs if None not in pair], np.float64).reshape(-1, 2)


def beyond_row(about: Beyond, reading: Reading, command: str, picture: str) -> ClaimRow:
    """The row of a statement that has its number."""
    return ClaimRow(
        *(about.id, about.figure, about.claim, about.published, about.number),
        reading.cut,
        str(judge(reading, about.side)),
        command,
        picture,
        unit=about.unit,
    )


ENSEMBLE_COMMAND = (
    "zfjax evaluate --workdir RUN RUN2 RUN3 --ensemble; zfjax paper --workdir RUN --seeds-of RUN2"
    " RUN3"
)


def ensemble_row(gain: Reading | None, why: str = "") -> ClaimRow:
    """Table 2: what the mean of the runs' answers gains over one run."""
    if gain is None:
        return missing_row(TABLE2, ENSEMBLE_COMMAND, why)
    row = beyond_row(TABLE2, gain, ENSEMBLE_COMMAND, "")
    return replace(row, verdict=row.verdict.replace(THIS_RUN, "for these runs"))
