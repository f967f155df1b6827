"""RUN/paper/index.html: the paper's statements with what this run says to each, made of the kit's
pieces. No JAX.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image

from zfjax.report import words
from zfjax.report.kit.shell import Piece, join_pieces, main_of, make_page, part_text, section
from zfjax.report.kit.wording import date, epoch_name, number, percent, plain
from zfjax.report.pictures import data_uri, webp
from zfjax.run.adopted import AdoptedRun
from zfjax.run.folder import Run
from zfjax.studies.paper_rows import ClaimRow, counts_of

TITLES = {
    "Fig. 1": "Fig. 1: the way down",
    "Fig. 2": "Fig. 2: what excites a map",
    "Fig. 4": "Fig. 4: features while they form",
    "Fig. 5": "Fig. 5: images moved, scaled and turned",
    "Fig. 6": "Fig. 6: the first layer's filters",
    "Fig. 7": "Fig. 7: a part covered",
    "Table 1": "Table 1: the same part in several images",
    "Table 2": "Table 2: several networks together",
    "Table 3": "Table 3: layers left out, widths changed",
    "Table 4": "Tables 4 to 6: other data sets",
    "Fig. 9": "Fig. 9: few images a class",
    "Table 7": "Table 7: the layers' features alone",
}
"""In the order of the page."""
SAME = {"Tables 4": "Table 4", "Table 5": "Table 4", "Table 6": "Table 4", "Fig. 6a": "Fig. 6"}
CHARTS = ("settling", "labels", "controls", "probes")
"""Pictures that are lines alone: shown narrower than those with images in them."""
WIDE = ("figure1", "figure2", "figure4", "correspondence")
"""Beginnings of the names of pictures of many small ones: shown as wide as the page."""
WIDEST = 1600
"""Pixels of a picture on the page."""


@dataclass(frozen=True)
class Shown:
    """What the page shows."""

    run: Run | AdoptedRun
    rows: Sequence[ClaimRow]
    seeds: int
    """Runs, this one among them."""
    size: str
    """ "quick", "full" or "saved-only"."""


def style_piece() -> Piece:
    """The style that both pages share."""
    style = part_text("css", "answers", "grid", "paper", folder="parts")
    return Piece(Markup(), style=style)


def head_of(figure: str) -> str:
    """ "Fig. 4" of "Fig. 4, section 4"; several tables of one kind under one head."""
    name = figure.split(",")[0].split(" to ")[0]
    return SAME.get(name, name)


def anchor_of(figure: str) -> str:
    """Where its section begins on the page."""
    return head_of(figure).lower().replace(". ", "").replace(" ", "")


def page_text(shown: Shown) -> str:
    """The page as HTML."""
    order = list(TITLES)
    rows = sorted(shown.rows, key=lambda row: order.index(head_of(row.figure)))
    first = {row.picture: row.id for row in reversed(rows)}  # a picture stands once
    sections = [
        _figure_section(shown, head, list(group), first)
        for head, group in groupby(rows, key=lambda row: head_of(row.figure))
    ]
    pieces = [style_piece(), _summary(shown, rows), *sections, _reading(shown)]
    return make_page(
        "The paper on this run",
        [main_of(*pieces)],
        heading="Visualizing and Understanding Convolutional Networks, on this run",
        facts=facts_of(shown.run),
    )


def facts_of(run: Run | AdoptedRun) -> list[str]:
    """What was run, in the line at the top."""
    if isinstance(run, AdoptedRun):
        return [words.network_words(run)]
    accuracy = words.final_accuracy(run)
    return [
        words.network_words(run),
        words.dataset_words(run),
        f"{run.config.epochs} epochs",
        *([f"{percent(accuracy)} right"] if accuracy is not None else []),
        f"seed {run.config.seed}",
        date(run.created),
    ]


def _summary(shown: Shown, rows: Sequence[ClaimRow]) -> Piece:
    counts = counts_of(rows)
    tally = Markup("").join(
        Markup("<li><b>{}</b>{}</li>").format(count, words) for words, count in counts.items()
    )
    lead = Markup('<p class="lead">{}</p><ul class="tally">{}</ul>').format(
        f"{len(rows)} statements of Zeiler and Fergus (2013), each with one number of"
        f" {_runs(shown.seeds)} and the verdict that its 95% interval allows.",
        tally,
    )
    items = Markup("").join(
        Markup('<li class="{}"><a href="#{}">{}</a><br><small>{}: </small>{}</li>').format(
            row.word.replace(" ", "-"), row.id, row.claim, row.figure.split(",")[0], row.short
        )
        for row in rows
    )
    asked = Markup('<p class="note">{} <a href="questions.html">{}</a>.</p>').format(
        "What readers of the paper ask, answered with this run's numbers:", "questions and answers"
    )
    listed = Markup('<ul class="contents">{}</ul>').format(items)
    return section("What holds", lead, listed, asked)


def _runs(count: int) -> str:
    return "this run" if count == 1 else f"these {count} runs of other seeds"


def _figure_section(
    shown: Shown, head: str, rows: Sequence[ClaimRow], first: Mapping[str, str]
) -> Piece:
    # Before the section: between the heading and the first statement it would let a printed page
    # end there.
    anchor = Piece(Markup('<div id="{}"></div>').format(anchor_of(head)))
    return join_pieces([anchor, section(TITLES[head], *_contents(shown, rows, first))])


def _contents(shown: Shown, rows: Sequence[ClaimRow], first: Mapping[str, str]) -> Iterator[Markup]:
    for row in rows:
        yield claim_card(row)
    ids = {row.id for row in rows}
    for picture in dict.fromkeys(row.picture for row in rows if row.picture):
        if first[picture] in ids:
            figure = picture_figure(shown.run.folder, picture)
            yield figure if figure is not None else Markup("")


def claim_card(row: ClaimRow) -> Markup:
    """One statement: what is said, what was published, the number and the verdict."""
    kind = row.word.replace(" ", "-")
    if row.reading is None:
        why = f"{plain(row.why, 600)} " if row.why else ""
        told = Markup('<p class="said">{}{}</p><p class="code">{}</p>').format(
            why, "It is filled by:", code_words(row.command)
        )
    else:
        told = Markup(
            '<p class="number"><b>{}</b> {}</p><p class="said">{}</p><p class="code">{}</p>'
        ).format(
            value_words(row), interval_words(row), plain(row.reading.note, 900) if row.reading.note
            else "", code_words(row.command),
        )  # fmt: skip
    return Markup(
        '<article class="claim {}" id="{}"><div><h3>{}</h3><p class="said">{}</p></div>'
        '<div><p class="verdict">{}</p>{}</div></article>'
    ).format(
        kind,
        row.id,
        f"{row.claim}.",
        f"{row.figure}. Published: {row.published}. Here: {row.number}.",
        f"{row.verdict[:1].upper()}{row.verdict[1:]}",
        told,
    )


def code_words(command: str) -> Markup:
    """A command that breaks between its words alone, not within a flag."""
    words = (Markup("<span>{}</span>").format(word) for word in command.split(" "))
    return Markup(" ").join(words)


def value_words(row: ClaimRow) -> str:
    """The number with its sign and its unit."""
    if row.reading is None or not math.isfinite(row.reading.value):
        return "undefined"
    return f"{_signed(row.reading.value * _times(row))} {row.unit}".strip()


def interval_words(row: ClaimRow) -> str:
    """ "[+0.04, +0.09], n = 2,000 images", in the unit of the number."""
    reading = row.reading
    if reading is None:
        return ""
    count = "" if reading.n is None else f"n = {reading.n:,} {reading.over}"
    if not reading.known:
        return f"no interval{', ' * bool(count)}{count}"
    assert reading.low is not None and reading.high is not None
    ends = [_signed(end * _times(row)) for end in (reading.low, reading.high)]
    return f"[{', '.join(ends)}], {count}"


def _times(row: ClaimRow) -> float:
    return 100 if row.unit.startswith("points") else 1


def _signed(value: float) -> str:
    sign = "−" if value < 0 else "+" if value > 0 else ""
    return f"{sign}{number(abs(value))}"


def picture_figure(folder: Path, name: str) -> Markup | None:
    """A picture of RUN within the page; None where it cannot be read."""
    try:
        with Image.open(folder / name) as image:
            image.load()
            picture = image.convert("RGB")
    except (OSError, ValueError):
        return None
    stem = Path(name).stem
    kind = " small" if stem in CHARTS else " wide" if stem.startswith(WIDE) else ""
    return image_figure(picture, f"RUN/{name}", kind)


def image_figure(image: Image.Image, caption: str, kind: str = "") -> Markup:
    """A picture with its caption, at most WIDEST pixels across; ``kind``: " small", " wide"."""
    if image.width > WIDEST:
        height = round(image.height * WIDEST / image.width)
        image = image.resize((WIDEST, height), Image.Resampling.LANCZOS)
    uri = data_uri(webp(np.asarray(image), 85), "webp")
    return Markup(
        '<figure class="shown{}"><img src="{}" width="{}" height="{}" alt="{}">'
        "<figcaption>{}</figcaption></figure>"
    ).format(kind, uri, image.width, image.height, caption, caption)


def picture_of_bytes(data: bytes) -> Image.Image:
    """A PNG's picture."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.convert("RGB")


def _reading(shown: Shown) -> Piece:
    alone = (
        " One run's images and maps say nothing of other runs: what holds, holds for this run, and"
        " --seeds-of adds runs of other seeds, over which intervals are then."
        if shown.seeds == 1
        else " Intervals over seeds are Student's t over the runs, on the same images."
    )
    size = {
        "quick": " Numbers that were not there were measured at a small size, in"
        " RUN/measures-paper; --full takes the measures' own sizes.",
        "full": " Numbers that were not there were measured at the measures' own sizes.",
        "saved-only": " Nothing was measured for this page.",
    }[shown.size]
    notes = (
        "A statement holds where the whole 95% interval lies on its side of no effect, does not"
        " hold where it lies on the other; else nobody can tell, and about how many more would be"
        f" needed is said.{alone}",
        "What stands as resampled, stands beside n. Statements are many: of twenty that say"
        " nothing, one would be expected to hold or not to hold by chance. The paper's network saw"
        " 1.3 million photographs at 224 pixels for 70 epochs; what holds here is not shown for"
        f" that network, nor the other way round.{size}",
        f"Beside this page: claims.parquet, a row a statement.{_when(shown.run)}",
    )
    return section("How to read this", *notes, columns=True)


def _when(run: Run | AdoptedRun) -> str:
    if isinstance(run, AdoptedRun):
        return ""
    optimizer = run.config.optimizer
    return (
        f" The learning rate was {optimizer.schedule} from {optimizer.learning_rate:g} to epoch"
        f" {epoch_name(run.epoch(run.last_step))}: what settles under a falling rate settles for"
        " that reason too."
    )
