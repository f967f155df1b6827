"""The first section of a grid's page: what the base is, which cell is best, and a verdict a cell.
No JAX.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from zfjax.report.kit.shell import Piece, section
from zfjax.report.kit.wording import plain
from zfjax.studies.claims import shown_name, summary_of
from zfjax.studies.costs import MARK, MARKED
from zfjax.studies.grid_view import CellView, GridView
from zfjax.studies.intervals import BETTER, WORSE
from zfjax.studies.training_gap import gap_words
from zfjax.studies.verdict_marks import marked_verdict, with_commands


def findings_section(view: GridView) -> Piece:
    """The section, of all cells."""
    claims = [cell.claim for cell in view.cells if cell.claim is not None]
    items = Markup("").join(
        Markup("<li><b>{}</b>: {}. {}{}{}</li>").format(
            label_markup(cell),
            marked_verdict(cell.claim.verdict),
            cell.claim.words,
            gap_words(cell, view.cells[0], view.plan.tuning is not None),
            size_words(cell),
        )
        for cell in view.cells
        if cell.claim is not None
    )
    listed = Markup('<ul class="claims">{}</ul>').format(items) if claims else Markup("")
    said = (base_words(view.cells[0]), best_words(view.cells), summary_of(claims))
    lead = Markup('<p class="lead">{}</p>').format(" ".join(filter(None, said)))
    handicap = handicap_words(view) if claims else ""
    notes = [Markup('<p class="note">{}</p>').format(with_commands(handicap))] if handicap else []
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
    """That a cell differs in compute too, beside its verdict; "" where it hardly does."""
    share = float(cell.row["flops_of_base"])
    if abs(share - 1) <= MARKED:
        return ""
    return f" {MARK} It has {share:.2f} times the base's FLOPs, so it differs in compute too."


def handicap_words(view: GridView) -> str:
    """What one learning rate for all does to the verdicts; "" where each cell has its own."""
    if view.plan.tuning is not None:
        return ""
    rate = view.plan.base.optimizer.learning_rate
    return (
        f"All were trained with the base's learning rate, {rate:g}, tuned for none: one for which"
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
