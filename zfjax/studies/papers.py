"""The paper on one page: its statements and its readers' questions, answered by a run.

RUN/paper/index.html, questions.html beside it, and claims.parquet. What is missing is measured
small (``quick``), at the measures' own sizes (``full``), or not at all (``saved-only``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack

from zfjax.errors import ZfjaxError, quoted
from zfjax.files import clear_unfinished, local_path, write_text
from zfjax.measures.running import check_seeds
from zfjax.progress import Progress, tell_nobody
from zfjax.run.adopted import AdoptedRun, load_any
from zfjax.run.folder import Run
from zfjax.run.measured import Measured
from zfjax.spelling import spelled
from zfjax.studies.paper_beyond import ensemble_row, grid_rows, open_grid
from zfjax.studies.paper_ensemble import ensemble_gain
from zfjax.studies.paper_filling import PAPER, Size, command_of, fill
from zfjax.studies.paper_page import Shown, page_text
from zfjax.studies.paper_pictures import draw_figures, draw_sheets
from zfjax.studies.paper_readings import Saved
from zfjax.studies.paper_rows import ClaimRow, counts_of, rows_of_run, write_claims
from zfjax.studies.paper_transfers import open_transfers, transfer_statements
from zfjax.studies.questions_page import questions_text
from zfjax.values import Place, Text, path_of, several

FOLDER, CLAIMS, QUESTIONS = "paper", "claims.parquet", "questions.html"
STAGE = "the paper"


@dataclass(frozen=True)
class Paper:
    """What was written."""

    folder: Path
    rows: tuple[ClaimRow, ...]
    obstacles: tuple[str, ...] = ()
    """Why measures could not be made, each reason once, with the measures' names."""

    @property
    def page(self) -> Path:
        """The page."""
        return self.folder / "index.html"

    @property
    def sentence(self) -> str:
        """How many statements have which verdict."""
        counts = counts_of(self.rows)
        said = ", ".join(f"{count} {words}" for words, count in counts.items())
        return f"Of {len(self.rows)} statements of the paper: {said}."


@dataclass(frozen=True)
class Asked:
    """What beside the run is looked at, and how."""

    ablation: Place | Iterable[Place] = ()
    transfer: Text | Iterable[Text] = ()
    seeds_of: Place | Run | Iterable[Place | Run] = ()
    size: Size = "quick"
    data_dir: Place | None = None
    progress: Progress | None = None


class AskedWords(TypedDict, total=False):
    """``Asked`` as keywords."""

    ablation: Place | Iterable[Place]
    transfer: Text | Iterable[Text]
    seeds_of: Place | Run | Iterable[Place | Run]
    size: Size
    data_dir: Place | None
    progress: Progress | None


@spelled(Asked)
def write_paper(run: Run | AdoptedRun | Place, **words: Unpack[AskedWords]) -> Paper:
    """Measures what is missing, and writes page, answers and table.

    ``ablation``: folders of grids (Fig. 6, Table 3). ``transfer``: data sets that the run's
    features were taken to; none named: all of them. ``seeds_of``: runs that differ in the seed
    alone. ``size``: "quick", "full" or "saved-only". ``data_dir``: where the run's data set is.
    Raises ZfjaxError for a run that has not finished, a folder that is no grid, a data set that the
    run was not transferred to, and runs that differ in more than the seed.
    """
    asked = Asked(**words)
    if asked.size not in ("quick", "full", "saved-only"):
        raise ZfjaxError(f"size {asked.size!r}: it is quick, full or saved-only.")
    return _written(run if isinstance(run, Run | AdoptedRun) else load_any(run), asked)


def _written(run: Run | AdoptedRun, asked: Asked) -> Paper:
    tell = asked.progress if asked.progress is not None else tell_nobody
    runs = [run, *(load_any(other) for other in several(asked.seeds_of))]
    grids = [local_path(path_of(each, "ablation")) for each in several(asked.ablation)]
    for each in runs:
        _check_finished(each)
    check_seeds(runs)
    views = [open_grid(folder) for folder in grids]
    transfers = open_transfers(run.folder, several(asked.transfer))
    saved = []
    for index, each in enumerate(runs):
        tell(STAGE, index, len(runs) + 1)
        saved.append(fill(each, asked.size, asked.data_dir, asked.progress))
    folder = run.folder / FOLDER
    folder.mkdir(exist_ok=True)
    clear_unfinished(folder, locked=False)
    evolution = saved[0].evolution
    figures = folder if evolution is None else draw_figures(run, evolution, folder)
    draw_sheets(run, saved[0], folder)
    gain, why = ensemble_gain(runs, asked.size, asked.data_dir)
    rows = (
        *rows_of_run(saved, partial(_command, saved[0].measures), figures, folder),
        *grid_rows(views),
        *transfer_statements(transfers),
        ensemble_row(gain, why),
    )
    tell(STAGE, len(runs), len(runs) + 1)
    shown = Shown(run, rows, len(runs), asked.size)
    questions = questions_text(shown, saved[0], asked.data_dir)
    write_claims(folder / CLAIMS, rows)
    write_text(folder / QUESTIONS, questions)
    write_text(folder / "index.html", page_text(shown))
    tell(STAGE, len(runs) + 1, len(runs) + 1)
    return Paper(folder, rows, () if asked.size == "saved-only" else _obstacles(saved))


def _obstacles(saved: Iterable[Saved]) -> tuple[str, ...]:
    names: dict[str, dict[str, None]] = {}
    for each in saved:
        for name, reason in each.errors.items():
            if name not in each.measures:
                names.setdefault(reason, {})[name] = None
    return tuple(f"{', '.join(those)}: {reason}" for reason, those in names.items())


def _command(measures: Mapping[str, Measured], name: str) -> str:
    """What made a measure, or would make it at full size."""
    measured = measures.get(name)
    if measured is None or not measured.folder.name.endswith(f"-{PAPER}"):
        return command_of(name)
    return command_of(name, "quick", untrained=measured.epochs[0] == 0)


def _check_finished(run: Run | AdoptedRun) -> None:
    if isinstance(run, AdoptedRun) or run.last_step in run.steps:
        return
    reached = run.epoch(run.steps[-1]) if run.steps else 0
    raise ZfjaxError(
        f"{run.folder} is not finished: epoch {reached:g} of {run.config.epochs} is saved; go on"
        f" with `zfjax train --workdir {quoted(run.folder)}`, then ask again."
    )
