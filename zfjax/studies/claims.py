"""What a grid shows, in sentences: a verdict, and the numbers that it stands on. No JAX.

A verdict is read from the headline interval and from nothing else (``intervals.Comparison``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zfjax.report.kit.wording import plain
from zfjax.studies.cells import BASE
from zfjax.studies.intervals import CANNOT_TELL, CONFIDENCE, NEGLIGIBLE, Comparison
from zfjax.studies.results import CellRuns, Results
from zfjax.studies.standings import DIVERGED, FAILED, FINISHED

NO_RESULT = "no result"
REASON_LETTERS = 160
"""Of a failure's sentence that are shown."""


@dataclass(frozen=True)
class CellClaim:
    """What may be said of one cell."""

    cell: str
    verdict: str
    words: str
    """The numbers, and what they are over."""


def claims_of(results: Results) -> tuple[CellClaim, ...]:
    """Of each cell but the base, in their order."""
    return tuple(_claim(results, runs) for runs in results.cells[1:])


def summary_of(claims: Sequence[CellClaim]) -> str:
    """How many cells have which verdict, in a sentence."""
    if not claims:
        return "The base stands alone: nothing is compared."
    counts = Counter(claim.verdict for claim in claims)
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    count = f"{len(claims)} configuration{'s' * (len(claims) != 1)}"
    return f"Of {count} compared with the base: {said}."


def points(share: float, signed: bool = True) -> str:
    """A difference of shares as points: "+1.20", "−0.30"."""
    value = round(100 * share, 2) + 0.0
    sign = "−" if value < 0 else "+" if value > 0 and signed else ""
    return f"{sign}{abs(value):.2f}"


def level_words(interval: Any) -> str:
    """ "98.75%"."""
    return f"{100 * interval.confidence:.4g}%"


def interval_words(interval: Any) -> str:
    """ "from −0.30 to +2.70"; an end near zero has as many digits as show on which side it lies."""
    return f"from {_end_words(float(interval.low))} to {_end_words(float(interval.high))}"


def _end_words(share: float) -> str:
    places = next((count for count in (2, 3, 4) if round(100 * share, count)), 2)
    value = round(100 * share, places) + 0.0
    return f"{'−' if value < 0 else '+' if value > 0 else ''}{abs(value):.{places}f}"


def shown_name(name: str) -> str:
    """A cell's name with a space after each comma: it may break there."""
    return plain(name.replace(",", ", "), 120)


def fate_words(runs: CellRuns, reasoned: bool = True) -> str:
    """What became of those runs of a cell that did not finish: "1 of 3 runs diverged (the loss is
    not finite), 1 of 3 runs not finished (waiting)"; "" where all did. ``reasoned``: with the
    first reason of each kind.
    """
    total, said = len(runs.standings), []
    order = dict.fromkeys((DIVERGED, FAILED, *(item.status for item in runs.standings.values())))
    for status in order:
        if status == FINISHED or not (count := runs.count(status)):
            continue
        reasons = dict.fromkeys(
            plain(item.outcome.message, REASON_LETTERS).rstrip(".")
            for item in runs.standings.values()
            if item.status == status and item.outcome is not None and item.outcome.message
        )
        words = status if status in (DIVERGED, FAILED) else f"not finished ({status})"
        reason = f" ({next(iter(reasons))})" if reasons and reasoned else ""
        said.append(f"{count} of {total} run{'s' * (total != 1)} {words}{reason}")
    return ", ".join(said)


def _claim(results: Results, runs: CellRuns) -> CellClaim:
    name, fate = runs.cell.name, fate_words(runs)
    comparison = results.compared.get(name)
    if comparison is None:
        why = fate or "nothing is there to be compared"
        if runs.finished and not results.cells[0].finished:
            why = "the base has no finished run to compare it with"
        elif runs.finished:
            why = f"it shares no finished seed with the base; {fate}" if fate else why
        return CellClaim(name, NO_RESULT, f"{why}.")
    words = _numbers(comparison, shared_counts(results) is None)
    return CellClaim(name, comparison.words, f"{words} {_capital(fate)}." if fate else words)


def shared_counts(results: Results) -> tuple[int, int] | None:
    """(seeds, images) of all comparisons with a headline; None where they have not the same."""
    counts = {
        (item.seed_count, item.image_count) for item in results.compared.values() if item.both
    }
    return counts.pop() if len(counts) == 1 else None


def once_words(results: Results) -> str:
    """What holds of the numbers of all claims, said once; "" where none has a headline."""
    if not any(item.both for item in results.compared.values()):
        return ""
    counts = shared_counts(results)
    over = "" if counts is None else f", here n = {_counts_words(*counts)}"
    return (
        f"Intervals of verdicts are over other seeds and other images{over}. Detectable: the true"
        " difference that a study like this has an 80% chance of showing, itself an estimate on as"
        " few degrees of freedom and hence rounded; a smaller one is found less often and then"
        " tends to look too large. Differences in training have intervals over other seeds alone"
        " and no verdict: what a network fits within these epochs is no more than that."
    )


def _counts_words(seeds: int, images: int) -> str:
    return f"{seeds} seed{'s' * (seeds != 1)} × {images:,} validation images"


def _numbers(comparison: Comparison, counted: bool) -> str:
    """``counted``: with seeds and images, which are said nowhere else."""
    over = f"n = {_counts_words(comparison.seed_count, comparison.image_count)}"
    both, of_networks = comparison.both, comparison.these_networks
    difference = f"{points(comparison.difference)} points of top-1"
    if both is None:
        return (
            f"{difference}, {over}. One seed says nothing of other seeds: of these two networks"
            f" alone, the {level_words(of_networks)} interval over other images is"
            f" {interval_words(of_networks)}. Two seeds or more give a verdict (--seeds 3)."
        )
    return (
        f"{difference}, {level_words(both)} interval {interval_words(both)} ({df_words(both)})"
        f"{f', {over}' if counted else ''}; detectable: {_power_words(comparison)}."
        f"{_single_words(comparison)}"
    )


def df_words(interval: Any) -> str:
    """ "3.1 degrees of freedom"."""
    df = float(interval.df)
    return f"{df:,.1f} degrees of freedom" if math.isfinite(df) else "no spread over seeds"


def _power_words(comparison: Comparison) -> str:
    assert comparison.both is not None
    least = 100 * float(comparison.both.detectable)
    if least >= 100:
        return "no difference at all"
    if least < 1:
        return f"about {least:.1g} points"
    return f"about {least:.0f} point{'s' * (round(least) != 1)}"


def _single_words(comparison: Comparison) -> str:
    """Why it is undecided though both single intervals exclude zero; "" where that is not so."""
    singles = (comparison.these_images, comparison.these_networks)
    exclude_zero = all(
        single is not None and float(single.low) * float(single.high) > 0 for single in singles
    )
    if comparison.verdict != CANNOT_TELL or comparison.both is None or not exclude_zero:
        return ""
    return (
        " Both single intervals exclude zero, but each asks about other seeds or other images"
        f" alone, at 95%: the verdict needs both at once, at {level_words(comparison.both)}."
    )


def reading_notes(results: Results) -> tuple[str, ...]:
    """How the differences and their intervals are to be read, a paragraph each."""
    count = results.plan.comparisons
    level = f"{100 * (1 - (1 - CONFIDENCE) / max(count, 1)):.4g}%"
    together = ", which is 95% over all comparisons together" if count > 1 else ""
    return (
        "Compared is top-1 on the validation split at the last epoch, never at the best; declared"
        f" before training: {count} comparison{'s' * (count != 1)}, each configuration with the"
        f" {BASE}. A difference is the configuration's minus the base's, in points, paired by seed"
        " and by image. Runs of one seed share the order and the crops of the training images, the"
        " dropout masks, and the first weights of each layer that has the same shape in both, but"
        " for what the configuration changes of these;"
        " filters of another size start from weights of their own, so that pairing takes away the"
        " less of the spread the more two networks differ.",
        "A verdict is read from the headline interval alone: other seeds and other images, at"
        f" {level}{together}. It is better or worse where that interval lies wholly on one side of"
        " zero, no larger difference than its further end where it holds zero and ends within"
        f" {100 * NEGLIGIBLE:g} point of it, and undecided (cannot tell) else. The other two, at"
        " 95%, say where the doubt comes from: other seeds on these images, and these networks on"
        " other images.",
        "The headline interval is a two-way analysis of variance of seeds by images, both random"
        " (Obuchowski and Rockette; a t interval, whose degrees of freedom grow with the images'"
        " share of the doubt and are printed with it). It may be narrower than one over other seeds"
        " alone at the same level, which has as few degrees of freedom as there are seeds, less"
        " one; and, where seeds agree more than chance lets them, narrower than one over other"
        " images alone: it covers 93 to 97% of studies at 3, 5 and 10 seeds (simulated in zfjax's"
        " tests), those whose seeds agree by luck less often than those whose seeds do not.",
        "The detectable difference is of the true one, and of studies to come like this"
        " one: this one's verdict does not hang on it. Of small true differences only the studies"
        " that overestimate them show any.",
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
