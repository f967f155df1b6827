"""The paper's claims on a grid's page: a row each, with its number, its interval and its verdict.
No JAX.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from zfjax.report.kit.dots import Dot, Scale, dot_axis, dot_cell, scale_of
from zfjax.report.kit.shell import Piece, join_pieces
from zfjax.report.kit.tables import Column, Row, data_table
from zfjax.report.kit.wording import plain
from zfjax.studies.claims import df_words, interval_words, level_words, points
from zfjax.studies.grid_view import GridView
from zfjax.studies.paper_claims import BESIDE, LITTLE, TOP1, Answer
from zfjax.studies.verdict_marks import BUILT_IN, DOES_NOT_HOLD, HOLDS, marked_verdict

LITTLE_BEFORE = 0.1
"""Of what training did to a difference: with less of it there before, training made it."""
PAPER_SIDE = 224
"""Pixels of the paper's images."""
UNITS = {
    TOP1: "top-1",
    "dead_share": "dead maps of {}",
    "aliased_share": "aliased maps of {}",
    "aliasing": "aliased energy of {}",
    "coverage": "coverage of {}",
    "mid": "energy of {}'s filters at middle frequencies (0.08 to 0.2 cycles a pixel)",
}


def paper_table(view: GridView, answers: Sequence[Answer]) -> list[Piece | Markup]:
    """The claims as a table, a row each, and what such runs cannot show."""
    scale = scale_of([_dot(answer) for answer in answers], signed=True)
    rows = [
        Row(answer.claim.words, [answer.claim.published, _said(answer, scale), _verdict(answer)])
        for answer in answers
    ]
    axis = Piece(Markup("these runs{}").format(dot_axis(scale, numbers=False)))
    columns = [
        Column("the paper says"),
        Column("its number, ImageNet top-1", words=True),
        Column(axis, words=True),
        Column("verdict", words=True),
    ]
    table = data_table(columns, rows)
    html = Markup('<div class="paper">{}</div>').format(table.html)
    notes = [Markup('<p class="note">{}</p>').format(note) for note in _notes(view, answers)]
    above = Markup('<p class="note">{}</p>').format(
        "The paper: M. D. Zeiler and R. Fergus, Visualizing and Understanding Convolutional"
        " Networks, 2013 (ECCV 2014); its numbers are of top-1 on ImageNet's validation images. A"
        " difference here is that of the network named first minus the other, whichever is the"
        " base: signs may be the other way round than in What was found, where all are the"
        " configuration's minus the base's. Dots are means with their intervals, rings single"
        " seeds' pairs, hollow ticks the difference before training."
    )
    return [above, join_pieces([table], html), *notes]


def _dot(answer: Answer) -> Dot:
    if answer.difference is None or answer.interval is None:
        return Dot(None, why=answer.why)
    low, high = (100 * float(end) for end in (answer.interval.low, answer.interval.high))
    untrained = None if answer.untrained is None else 100 * answer.untrained
    rings = tuple(100 * value for value in answer.by_seed)
    return Dot(100 * answer.difference, low, high, rings=rings, before=untrained)


def _verdict(answer: Answer) -> Piece:
    """With what it rests on: a comparison that was declared, or one that was not."""
    verdict = answer.verdict
    small = ""
    if verdict in (HOLDS, DOES_NOT_HOLD, BUILT_IN):
        small = (
            "the declared comparison of What was found again, no new evidence"
            if answer.declared
            else "by our measure, not declared"
            if answer.claim.quantity == "coverage"
            else "not declared"
        )
    small = f"({small})" if small else ""
    return Piece(Markup("{} <small>{}</small>").format(marked_verdict(verdict), small))


def _said(answer: Answer, scale: Scale) -> Piece:
    words = Markup("{}").format(_words(answer))
    if answer.difference is None or answer.interval is None or answer.empty:
        return Piece(words)
    drawn = dot_cell(scale, [_dot(answer)], numbers=False)
    # Where the window is too narrow for the table's head each row has its own axis.
    own = Markup('<div class="own">{}</div>').format(dot_axis(scale, numbers=False))
    return join_pieces([drawn], Markup("{}{}{}").format(own, drawn.html, words))


def _words(answer: Answer) -> str:
    if answer.difference is None or answer.empty:
        return f"{answer.why}."
    unit = UNITS[answer.claim.quantity].format(answer.layer)
    words = f"{points(answer.difference)} points of {unit}"
    if answer.interval is not None:
        interval = f"{level_words(answer.interval)} interval {interval_words(answer.interval)}"
        words += f", {interval}, n = {answer.seeds} seeds, {df_words(answer.interval)}"
        if answer.floor and float(answer.interval.half_width) <= answer.floor * (1 + 1e-9):
            words += " (the floor: the seeds agree)"
    return "; ".join(filter(None, (words, *_more(answer)))) + "."


def _more(answer: Answer) -> Iterator[str]:
    yield answer.why
    if answer.change is not None and answer.untrained is not None:
        yield f"before training {points(answer.untrained)}; {trained_words(answer)}"
    elif not answer.declared and answer.interval is not None:
        yield "not measured before training, so untrained filters may differ as much"
    if answer.claim.quantity == "coverage" and answer.levels is not None:
        own, other = (f"{100 * level:.1f}" for level in answer.levels)
        yield (
            f"{own} against {other} by our measure, in which untrained noise is near 100: that of"
            " more coverage is nearer to noise"
        )
    if answer.beside is not None:
        unit = UNITS[BESIDE[answer.claim.quantity]].format(answer.layer)
        other_way = answer.difference is not None and answer.beside * answer.difference < 0
        way = "the other way; " if other_way else ""
        yield f"{unit}: {points(answer.beside)} points ({way}not tested)"
    yield answer.beyond
    yield answer.size


def trained_words(answer: Answer) -> str:
    """What training did to a difference that was measured before it too: "training shrank the gap
    by 15.06 (6.12 to 24.00)". Raises ValueError where it was not.
    """
    change, before = answer.change, answer.untrained
    if change is None or before is None:
        raise ValueError("The difference was not measured before training.")
    added = float(change.center)
    if float(change.low) <= 0 <= float(change.high):
        return (
            f"training's part, {points(added)} ({interval_words(change)}), cannot be told from none"
        )
    ends = sorted(abs(float(end)) for end in (change.low, change.high))
    low, high = (points(end, signed=False) for end in ends)
    by = f"by {points(abs(added), signed=False)} ({low} to {high})"
    if abs(before) < LITTLE_BEFORE * abs(added):
        return f"training made the gap: {points(added)} ({interval_words(change)})"
    if before * (before + added) < 0:
        return f"training reversed the gap, {by}"
    shrank = before * added < 0
    return f"training {'shrank' if shrank else 'widened'} the gap {by}"


def _notes(view: GridView, answers: Sequence[Answer]) -> Iterator[str]:
    base, side = view.plan.base, min(view.plan.base.model.input_size)
    grids = {answer.claim.grid for answer in answers}
    features = any(not answer.declared for answer in answers)
    yield (
        "A claim holds where the whole interval is on its side of zero, does not hold where all of"
        " it is on the other, and is undecided (cannot tell) else. Of accuracy it is the declared"
        f" interval over other seeds and other images.{_feature_words(answers) if features else ''}"
    )
    little = f" Little difference is less than {100 * LITTLE:g} points either way."
    yield (
        f"The paper's are single runs on ImageNet at {PAPER_SIDE} pixels, without intervals; where"
        " it gives pictures, no number of ours can be that of its claim. These are runs on"
        f" {plain(base.data.name)} at {side} pixels, {base.epochs} epochs, recipe {base.recipe}:"
        " what holds here is not shown for ImageNet."
        f"{_size_words(side) if 'stems' in grids else ''}{little if 'layers' in grids else ''}"
    )
    if view.plan.tuning is None:
        yield (
            "The handicap of one learning rate for all (What was found) is in these too: where"
            " training top-1 differs as validation top-1 does, a claim on accuracy that holds says"
            f" that one network fits more within {base.epochs} epochs at this rate, not that it"
            " generalises better."
        )


def _feature_words(answers: Sequence[Answer]) -> str:
    """How verdicts on features are read, and how narrow their intervals can be."""
    floors = sorted({points(item.floor, signed=False) for item in answers if item.floor})
    words = (
        " Of features it is Student's t over other seeds on these images, 95% over all rows of"
        " features together: accuracies and features are two families of 95% each, the page as a"
        " whole is not. A difference of features holds only where what training added to it,"
        " paired by seed and at the same level, lies on the same side too: untrained filters differ"
        " by their size and stride alone."
    )
    if floors:
        words += (
            " Shares of maps come in steps of one map: where the seeds differ by less than that,"
            " what rounding both shares to a step would spread their difference stands for the"
            f" seeds' spread, so that no such interval is narrower than ±{' or ±'.join(floors)}"
            " points."
        )
    return words


def _size_words(side: int) -> str:
    """That filters of as many pixels span another share of a smaller image; "" for the paper's."""
    if side == PAPER_SIDE:
        return ""
    shares = [f"{100 * 11 / pixels:.0f}%" for pixels in (side, PAPER_SIDE)]
    return (
        f" An 11x11 filter spans {shares[0]} of the width of these images, {shares[1]} of the"
        f" paper's: relative to the image these filters are {PAPER_SIDE / side:.2g} times the"
        " paper's."
    )
