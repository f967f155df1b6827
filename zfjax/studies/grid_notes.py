"""What a reader of a grid's page must know of its table and of its features. No JAX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from zfjax.studies.costs import MARK, MARKED
from zfjax.studies.feature_charts import missing_note
from zfjax.studies.grid_view import GridView
from zfjax.studies.intervals import CONFIDENCE
from zfjax.studies.paper_claims import Answer
from zfjax.studies.verdict_marks import with_commands


def table_notes(view: GridView, stops: Sequence[float]) -> list[Markup]:
    """Below the table of cells, a paragraph each."""
    return [
        Markup('<p class="note">{}</p>').format(with_commands(note))
        for note in _table_notes(view, stops)
    ] + ([_slider_note()] if stops else [])


def _table_notes(view: GridView, stops: Sequence[float]) -> Iterator[str]:
    if any(abs(float(cell.row["flops_of_base"]) - 1) > MARKED for cell in view.cells):
        yield (
            f"{MARK} More than {100 * MARKED:.0f}% off the base's FLOPs: such a configuration"
            " differs in compute too, and its accuracy is not that of the change alone."
        )
    yield (
        "Seeds: from the lowest to the highest. Training: top-1 on training images, without"
        " augmentation and dropout. Parameters are weights and biases. MFLOPs are millions of"
        " operations of one image's forward pass, two for each multiply-add. Times of training"
        " stand in cells.parquet: each run had whatever machine it had."
    )
    if len({cell.config.epochs for cell in view.plan.cells}) > 1:
        yield (
            "Epochs differ: features and settling are those of each configuration's own last epoch,"
            " and training compute differs by as much, which operations of a forward pass do not"
            " show."
        )
    if several := _changes_words(view):
        yield several
    if stops and any(cell.filters for cell in view.cells):
        yield _filter_words(view)
    if missing := missing_note(view):
        yield missing


def _filter_words(view: GridView) -> str:
    seeds = sorted({seed for cell in view.cells for seed in list(cell.measured)[:1]})
    which = f" (seed {seeds[0]})" if len(seeds) == 1 else ""
    return (
        f"Filters and spectra are of each configuration's first seed{which}; those of other seeds"
        " are in What it did to the features, as numbers. Filters stand by their norm at the last"
        " epoch, the strongest first; all of a configuration share the scale that stands below"
        " them, and no two configurations share one; a pixel is equally large in all. A spectrum"
        " has frequency 0 in its middle and half a cycle a pixel at its edges, 20 dB from light to"
        " dark: the mean over the filters, each set to the same energy before, so that no strong"
        " one rules it. What lies outside the blue frame is above what the stride can carry, and"
        " comes out as a lower frequency."
    )


def _slider_note() -> Markup:
    """Paper has no slider to follow."""
    return Markup(
        '<p class="note onscreen">Filters and spectra follow the slider at the top. There the thick'
        " line is the base's accuracy over the epochs, and each thin one another"
        " configuration's.</p>"
    )


RANGES = {"aliasing": "aliased energy", "coverage": "coverage", "low": "energy at low frequencies"}
"""What the sentence above the features compares, by quantity."""


def feature_summary(view: GridView) -> Markup:
    """Above the features, in a sentence: which cell's first layer has least and most of RANGES, and
    whether any map of it is dead; empty where neither was measured.
    """
    layer = view.cells[0].layers[0]
    ranges = []
    for quantity, words in RANGES.items():
        known = [
            (spread.mean, cell.label)
            for cell in view.cells
            if (spread := cell.spread(layer, quantity)) is not None
        ]
        if len(known) > 1:
            (low, least), (high, most) = min(known), max(known)
            ranges.append(
                f"{words} from {100 * low:.1f}\u2009% ({least}) to {100 * high:.1f}\u2009% ({most})"
                if f"{100 * low:.1f}" != f"{100 * high:.1f}"
                else f"{words} of {100 * low:.1f}\u2009% in all"
            )
    dead = [spread.high for cell in view.cells if (spread := cell.spread(layer, "dead_share"))]
    said = [f"Means over the seeds after training, {layer}: {', '.join(ranges)}"] if ranges else []
    said += [f"no map of {layer} is dead in any run" if not any(dead) else ""] if dead else []
    words = "; ".join(filter(None, said))
    return (
        Markup('<p class="told">{}.</p>').format(words[:1].upper() + words[1:])
        if words
        else Markup("")
    )


def feature_note(answers: Sequence[Answer]) -> str:
    """How the features are to be read, below what is said of the intervals."""
    said = (
        "What it did to the features: at the last epoch, on a fixed sample of training images. A"
        " feature map is one channel of a layer's output. Discs are means over the seeds, rings"
        " single seeds (no intervals), hollow ticks the mean before training; the line is the base."
        " None of these comparisons was declared with the grid, and no verdict is read from that"
        " section.",
        _of_paper(answers),
    )
    return " ".join(filter(None, said))


def _of_paper(answers: Sequence[Answer]) -> str:
    """Which comparisons of features the paper's section reads verdicts from, and why it may."""
    count = sum(not answer.declared for answer in answers)
    if not count:
        return ""
    level = f"{100 * (1 - (1 - CONFIDENCE) / count):.4g}%"
    return (
        f"The paper's claims read {count} of them, each at {level}, which is 95% over the {count}"
        " together: which networks, which number and which direction each compares is the paper's"
        " and stands in a table in zfjax's code, the same for every grid. That table is no part of"
        " this grid's declaration: it may be younger than the runs, hence (not declared) beside its"
        " verdicts."
    )


def _changes_words(view: GridView) -> str:
    """Which cells change more than one field, and why stems do; or ""."""
    base = view.cells[0]
    changed = {
        cell.number: dict(cell.cell.fields) for cell in view.cells if len(cell.cell.fields) > 1
    }
    if not changed:
        return ""
    first, *later = base.layers
    strides = {f"model.{first}.stride", *(f"model.{name}.stride" for name in later[:1])}
    listed = ", ".join(map(str, changed))
    said = [
        f"{'Number' if len(changed) == 1 else 'Numbers'} {listed}: several fields differ from the"
        " base's at once, so a difference is that of all of them together."
    ]
    if len(strides) == 2 and any(strides <= set(fields) for fields in changed.values()):
        said.append(
            f"Where the stride of {first} differs, that of {later[0]} makes up for it, and paddings"
            f" keep the maps' sizes: those of {later[0]} and of all later layers stay comparable,"
            " but it is no change of one factor."
        )
    if any(path.endswith(".padding") for fields in changed.values() for path in fields):
        said.append("Paddings are pixels before and after the image, along both axes.")
    return " ".join(said)
