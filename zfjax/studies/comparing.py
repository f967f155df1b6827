"""``compare``: runs side by side, their maps matched by what they answer to the same images.

What is read is saved already where the runs were measured: then no JAX is needed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from zfjax.errors import ZfjaxError, quoted, shortened
from zfjax.files import clear_unfinished, local_path, write_json
from zfjax.progress import Progress, tell_nobody
from zfjax.run.adopted import AdoptedRun
from zfjax.run.folder import Run
from zfjax.run.grid_folders import PLAN
from zfjax.studies.compare_page import write_compare_page
from zfjax.studies.compared import Compared, write_tables
from zfjax.studies.pair_pictures import widest_evolution
from zfjax.studies.pairing import pair_layers
from zfjax.studies.same_images import Look, with_probes
from zfjax.studies.sides import Asked, folder_name, shared_epochs, shared_layers, sides_of
from zfjax.values import Place, path_of

if TYPE_CHECKING:
    from zfjax.subject import Subject

FORMAT_VERSION = 1
RECORD, PAGE = "compare.json", "index.html"
FEWEST_EPOCHS = 3
"""Saved, of which settling can be measured."""


@dataclass(frozen=True)
class Comparison:
    """Runs compared: a folder of two tables and a page."""

    folder: Path
    summary: pa.Table
    """Columns in ``compared.SUMMARY_SCHEMA``; summary.parquet."""
    matches: pa.Table
    """Columns in ``compared.MATCHES_SCHEMA``; matches.parquet."""
    sentence: str

    @property
    def page(self) -> Path:
        """index.html: opens anywhere."""
        return self.folder / PAGE


def compare(
    *runs: Run | AdoptedRun | Subject | Place,
    out: Place | None = None,
    data_dir: Place | None = None,
    progress: Progress | None = None,
    **words: Any,
) -> Comparison:
    """Runs side by side: every map of the first matched with each other run's, at every layer and
    epoch that all share.

    ``runs``: two or more: runs, folders (of somebody else's evolved network too), or subjects.
    ``words``: ``layers``, ``at`` (epochs), ``images`` (of the probe). ``out``: the folder written
    to, by default ./compare-NAMES. Answers are read from the probes that the measures have kept;
    where one is lacking, a pass is made, said on standard error, and kept in RUN/measures-compare.
    Raises ZfjaxError for what the runs do not share: data sets, epochs, layers.
    """
    if unknown := sorted(set(words) - set(Asked.__dataclass_fields__)):
        raise ZfjaxError(f"compare takes layers, at and images, not {', '.join(unknown)}.")
    asked, told = Asked(**words), progress if progress is not None else tell_nobody
    sides = sides_of(runs)
    folder = _checked_out(out, folder_name([side.name for side in sides]))
    epochs = shared_epochs(sides, asked.at)
    wanted, images = cast("tuple[str, ...] | None", asked.layers), cast("int | None", asked.images)
    layers, lacking = shared_layers(sides, wanted)
    look = Look(epochs, layers, images, folder, data_dir, told, _say)
    sides = with_probes(sides, look)
    pairs = tuple(pair_layers(sides, layers, epochs, told))
    compared = Compared(sides, layers, lacking, pairs)
    clear_unfinished(folder, locked=False)
    # First of all: a folder with this file is one that the next comparison may write over.
    write_json(folder / RECORD, _record(compared, asked))
    write_tables(folder, compared)
    write_compare_page(folder / PAGE, compared, told)
    for sentence in _ways_on(compared):
        _say(sentence)
    return Comparison(folder, compared.summary, compared.matches, compared.sentence)


def _ways_on(compared: Compared) -> Iterator[str]:
    """Commands that a fuller comparison needs first, with the folders of this machine."""
    runs = {
        side.run.folder: side
        for side in compared.sides
        if isinstance(side.run, Run) and side.run.steps
    }
    undrawn = [folder for folder, side in runs.items() if widest_evolution(side.run) is None]
    if undrawn:
        yield f"The page draws no maps of runs without an evolution: {_each('evolve', undrawn)}."
    unsettled = [
        folder
        for folder, side in runs.items()
        if side.name in compared.unsettled and len(side.step_of) >= FEWEST_EPOCHS
    ]
    if unsettled:
        yield f"Which settles first has to be measured: {_each('measure', unsettled)}."


def _each(command: str, folders: Sequence[Path]) -> str:
    first, *others = folders
    rest = {"evolve": " --maps all", "measure": " settling"}[command]
    likewise = f" (likewise of {shortened(others, 4)})" if others else ""
    words = f"`zfjax {command} --workdir {quoted(first)}{rest}`"
    return f"{words}{likewise}, then the same command"


def _checked_out(out: Place | None, name: str) -> Path:
    """The folder written to. Raises ZfjaxError for one that holds something else."""
    folder = Path(name) if out is None else local_path(path_of(out, "--out"))
    if folder.exists() and not folder.is_dir():
        raise ZfjaxError(f"--out {folder} is a file; give a folder.")
    others = ("config.json", PAGE, PLAN)
    if not (folder / RECORD).exists() and any((folder / other).exists() for other in others):
        raise ZfjaxError(
            f"{folder} holds something else than a comparison; give another folder with"
            f" --out, such as {quoted(folder / 'compare')}."
        )
    return folder


def _record(compared: Compared, asked: Asked) -> dict[str, Any]:
    """What compare.json says; no path of this machine."""
    probe = compared.sides[0].probe
    assert probe is not None
    about = {name: probe.meta["asked"][name] for name in ("split", "fingerprint")}
    return {
        "format_version": FORMAT_VERSION,
        "kind": "comparison",
        "runs": [side.name for side in compared.sides],
        "asked": {name: _plain(value) for name, value in asdict(asked).items()},
        "images": compared.images,
        **about,
        "layers": list(compared.layers),
        "without_counterpart": {layer: list(names) for layer, names in compared.lacking.items()},
        "epochs": list(compared.epochs),
        "null": {
            f"{compared.sides[pairs.other].name}, {pairs.layer}": (
                "before training" if pairs.from_start else "siblings"
            )
            for pairs in compared.pairs
        },
        "sentence": compared.sentence,
    }


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, int | str):
        return value
    return [str(item) for item in value] if not isinstance(value, float) else value


def _say(sentence: str) -> None:
    print(f"zfjax: {sentence}", file=sys.stderr, flush=True)
