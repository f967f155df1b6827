"""The first section of a grid's page: what the base is, which cell is best, and a verdict a cell.
No JAX.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from zfjax.report.kit.shell import Piece, section
from zfjax.report.kit.wording import plain
from zfjax.studies.cell_labels import OF_BASE
from zfjax.studies.claims import once_words, points, shown_name, summary_of
from zfjax.studies.costs import MARK, MARKED
from zfjax.studies.grid_view import CellView, GridView
from zfjax.studies.intervals import BETTER, CANNOT_TELL, NONE_LARGER, WORSE
from zfjax.studies.other_pairs import effect_words
from zfjax.studies.training_gap import gap_words
from zfjax.studies.verdict_marks import marked_verdict, with_commands

RATE = "optimizer.learning_rate"
MOST_TOLD = 6
"""Cells beside the base that the first sentence tells one by one."""
TOLD = {
    WORSE: "{name} beats {cells} points",
    BETTER: "{name} is beaten by {cells} points",
    NONE_LARGER: "{name} differs from {cells} points at most",
    CANNOT_TELL: "against {cells} the grid cannot tell",
}
"""What is said of the base and of the cells of a verdict."""


def findings_section(view: GridView) -> Piece:
    """The section, of all cells."""
    claims = [cell.claim for cell in view.cells if cell.claim is not None]
    items = Markup("").join(
        Markup("<li><b>{}</b>: {}. {}{}{}</li>").format(
            label_markup(cell),
            marked_verdict(cell.claim.verdict),
            cell.claim.words,
            gap_words(cell, view.cells[0]),
            size_words(cell),
        )
        for cell in view.cells
        if cell.claim is not None
    )
    listed = Markup('<ul class="claims">{}</ul>').format(items) if claims else Markup("")
    answers = beaten_words(view.cells)
    said = (base_words(view.cells[0]), answers or best_words(view.cells), summary_of(claims))
    lead = Markup('<p class="lead">{}</p>').format(" ".join(filter(None, said)))
    handicap = handicap_words(view) if claims else ""
    said_once = (once_words(view.results), effect_words(view), handicap)
    notes = [
        Markup('<p class="note">{}</p>').format(with_commands(text)) for text in said_once if text
    ]
    return section("What was found", lead, listed, *notes)


def label_markup(cell: CellView) -> Markup:
    """What readers call a cell, with its folder's name where that is another."""
    own = shown_name(cell.name)
    if own == cell.label:
        return Markup("{}").format(cell.label)
    return Markup('{} <span class="folder">{}</span>').format(cell.label, own)


def base_words(base: CellView) -> str:
    """What the base is: "The base has filters of 7x7 pixels and stride 2 in conv1."."""
    first = base.cell.config.model.conv(base.layers[0])
    also = f" ({', '.join(plain(name) for name in base.cell.also)})" if base.cell.also else ""
    return (
        f"The base{also} has filters of {first.kernel}x{first.kernel} pixels and stride"
        f" {first.stride} in {first.name}."
    )


def beaten_words(cells: Sequence[CellView]) -> str:
    """What the verdicts say, in a sentence, of up to MOST_TOLD cells: "A (the base) beats B by 5.19
    points; it is beaten by C by 1.20 points; against D the grid cannot tell."; "" for more, or
    where none has an interval.
    """
    base, *others = cells
    told = [(cell, item) for cell in others if (item := cell.comparison) and item.both]
    if not told or len(others) > MOST_TOLD:
        return ""
    label = base.label.removesuffix(OF_BASE)
    name = "The base" if label == base.label else f"{label} (the base)"
    sentences: list[str] = []
    for verdict, words in TOLD.items():
        sizes = [
            (cell, abs(item.difference) if verdict != NONE_LARGER else item.largest)
            for cell, item in told
            if item.verdict == verdict
        ]
        listed = _listed([f"{cell.label} by {points(size, signed=False)}" for cell, size in sizes])
        if sizes and verdict == CANNOT_TELL:
            listed = _listed([_apart(cell.label, len(sizes)) for cell, _ in sizes])
        if sizes:
            sentences.append(words.format(name="it" if sentences else name, cells=listed))
    words = "; ".join(sentences)
    return f"{words[:1].upper()}{words[1:]}."


def _apart(label: str, count: int) -> str:
    """In quotes where it has commas of its own and is one of several in a list."""
    return f"\u201c{label}\u201d" if count > 1 and "," in label else label


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def best_words(cells: Sequence[CellView]) -> str:
    """Which cell has the highest mean top-1, and how sure that is; "" without any result."""
    means = [
        (sum(cell.accuracies) / len(cell.accuracies), cell) for cell in cells if cell.accuracies
    ]
    if len(means) < 2:
        return ""
    highest = max(mean for mean, _ in means)
    best = [cell for mean, cell in means if mean == highest]
    base = cells[0]
    names = " and ".join("The base" if cell is base else cell.label for cell in best)
    verb = "has" if len(best) == 1 else "have"
    words = f"{names} {verb} the highest mean top-1, {highest:.1f}\u2009%"
    return f"{words}{_how_sure(best, base, [cell for _, cell in means])}."


def size_words(cell: CellView) -> str:
    """How a cell differs in compute too, beside its verdict; "" where it does not."""
    share = float(cell.row["flops_of_base"])
    if cell.claim is None or f"{share:.2f}" == "1.00":
        return ""
    if abs(share - 1) <= MARKED:
        return f" It has {share:.2f} times the base's FLOPs."
    return f" {MARK} It has {share:.2f} times the base's FLOPs, so it differs in compute too."


def handicap_words(view: GridView) -> str:
    """What one learning rate for all does to the verdicts; "" where each cell has its own."""
    plan = view.plan
    own = [cell for cell in plan.cells if RATE in dict(cell.fields)]
    if (plan.tuning is not None and plan.tuning.path == RATE) or len(own) == plan.comparisons:
        return ""
    rate = f"{plan.base.optimizer.learning_rate:g}"
    whose = "All but those that say another" if own else "All"
    return (
        f"{whose} were trained with the base's learning rate, {rate}, tuned for none: one for which"
        " another rate is better is judged with a handicap. `--tune optimizer.learning_rate=...`"
        " seeks the best of a few for each."
    )


def _how_sure(best: Sequence[CellView], base: CellView, cells: Sequence[CellView]) -> str:
    """What the verdicts say of those that have the highest mean: each is one with the base."""
    verb = "is" if len(best) == 1 else "are"
    if base in best:
        shown = all(cell.claim.verdict == WORSE for cell in cells if cell.claim is not None)
        return f", and {verb} {'' if shown else 'not '}shown to be better than each of the others"
    shown = all(cell.claim is not None and cell.claim.verdict == BETTER for cell in best)
    return f", and {verb} {'' if shown else 'not '}shown to be better than the base"
