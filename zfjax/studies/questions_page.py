"""RUN/paper/questions.html: what readers of the paper ask, each answered, with this run's own
numbers and what they are over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from zfjax.report.kit.shell import Piece, main_of, make_page, section
from zfjax.report.kit.tables import Column, Row, data_table
from zfjax.report.kit.wording import number, plain
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run
from zfjax.run.measured import Measured
from zfjax.studies.kept_demonstrations import Told, demonstrations_of
from zfjax.studies.paper_filling import command_of
from zfjax.studies.paper_page import (
    Shown,
    code_words,
    facts_of,
    image_figure,
    interval_words,
    picture_of_bytes,
    style_piece,
    value_words,
)
from zfjax.studies.paper_readings import Saved
from zfjax.studies.paper_rows import ClaimRow
from zfjax.studies.question_parts import REPORT, Question
from zfjax.studies.questions import GLOSSARY, GROUPS
from zfjax.values import Place

ANCHORS = {
    "provenance": "Where patches come from",
    "steps": "One unit's way down",
    "rules": "What rectification takes away",
    "vertical": "A vertical edge stays vertical",
    "inverse": "How far the transpose is from an inverse",
    "derivation": "Deeper layers' weights in the image",
    "glossary": "Glossary",
}
"""Titles of the sections below the questions, by their anchors."""
PROVENANCE_MAPS = 2
"""Of each layer, in the table of where patches come from."""


@dataclass(frozen=True)
class _Answers:
    """What answers are made of."""

    shown: Shown
    saved: Saved
    demonstration: Told | None
    why: str
    """Why nothing is demonstrated."""

    @property
    def rows(self) -> dict[str, ClaimRow]:
        return {row.id: row for row in self.shown.rows}


def questions_text(shown: Shown, saved: Saved, data_dir: Place | None = None) -> str:
    """The page as HTML."""
    answers = _answers_of(shown, saved, data_dir)
    asked = [
        section(title, *(_entry(answers, question) for question in group))
        for title, group in GROUPS
    ]
    back = section(
        "What this is",
        Markup('<p class="lead">{} <a href="index.html">{}</a>.</p>').format(
            "What people have asked about the paper in comments, talks and lecture notes, in our"
            " words. Numbers are of this run; what it has not, is a command. The statements of the"
            " paper stand on",
            "the other page",
        ),
    )
    pieces = [back, *asked, *_sections(answers)]
    return make_page(
        "Readers' questions",
        [main_of(style_piece(), *pieces)],
        heading="What readers of the paper ask",
        facts=facts_of(shown.run),
    )


def _answers_of(shown: Shown, saved: Saved, data_dir: Place | None) -> _Answers:
    run = shown.run
    if not isinstance(run, Run):
        return _Answers(shown, saved, None, "steps are drawn of zfjax's own layers alone")
    if saved.evolution is None:
        why = "there is no evolution: zfjax evolve --workdir RUN, then zfjax paper --workdir RUN"
        return _Answers(shown, saved, None, why)
    compute = shown.size != "saved-only"
    told, why = demonstrations_of(run, saved.evolution, compute=compute, data_dir=data_dir)
    return _Answers(shown, saved, told, why)


def _entry(answers: _Answers, question: Question) -> Markup:
    lines = [Markup("<p>{}</p>").format(question.answer)]
    for name in question.claims:
        if (row := answers.rows.get(name)) is not None:
            lines.append(_claim_line(row))
    for name in question.measures:
        if (first := _first_to_ask(name)) == question.id or name not in answers.saved.measures:
            lines.append(_measure_line(answers.saved, name))
        else:
            lines.append(
                Markup('<p class="note">{}: <a href="#q{}">{}</a>.</p>').format(
                    name, first, "its numbers stand above"
                )
            )
    if question.link == REPORT:
        there = (answers.shown.run.folder / "report" / "index.html").is_file()
        made = Markup('<a href="../report/index.html">The page of the run</a>')
        lines.append(
            Markup("<p>{}.</p>").format(made)
            if there
            else Markup('<p class="code">zfjax report --workdir RUN</p>')
        )
    elif question.link:
        words = ANCHORS[question.link.removeprefix("#")]
        lines.append(Markup('<p>Below: <a href="{}">{}</a>.</p>').format(question.link, words))
    if question.command:
        lines.append(Markup('<p class="code">{}</p>').format(code_words(question.command)))
    return Markup('<article class="ask" id="q{}"><h3>{}</h3>{}</article>').format(
        question.id, question.asked, Markup("").join(lines)
    )


def _first_to_ask(name: str) -> str:
    """The question, the first on the page, that prints a measure's sentence."""
    asked = (question for _, group in GROUPS for question in group)
    return next(question.id for question in asked if name in question.measures)


def _claim_line(row: ClaimRow) -> Markup:
    said = row.verdict
    if row.reading is not None:
        said = f"{row.verdict}: {value_words(row)} {interval_words(row)} ({row.number})"
    return Markup('<p><a href="index.html#{}">{}</a>: {}.</p>').format(row.id, row.claim, said)


def _measure_line(saved: Saved, name: str) -> Markup:
    measured = saved.measures.get(name)
    if measured is None:
        return Markup('<p class="code">{}</p>').format(code_words(command_of(name)))
    sentence = plain(str(measured.meta.get("sentence", "")), 1200)
    return Markup('<p class="note">{}: {}</p>').format(name, sentence)


def _sections(answers: _Answers) -> Iterator[Piece]:
    if answers.saved.evolution is not None:
        yield _anchored("provenance", *_provenance(answers))
    yield _anchored("steps", *_steps(answers))
    yield _anchored("rules", *_rules(answers))
    yield _anchored("vertical", *_vertical(answers))
    yield _anchored("inverse", *_inverse(answers))
    yield _anchored("derivation", *DERIVATION)
    listed = Markup("\n").join(
        Markup("<dt>{}</dt><dd>{}.</dd>").format(word, meaning)
        for word, meaning in GLOSSARY.items()
    )
    yield _anchored("glossary", Markup('<dl class="facts">{}</dl>').format(listed))


def _anchored(name: str, *contents: Piece | Markup | str) -> Piece:
    return section(
        ANCHORS[name], Markup('<div id="{}"></div>').format(name), *contents, columns=True
    )


def _provenance(answers: _Answers) -> Iterator[Piece | Markup | str]:
    evolution = answers.saved.evolved()
    step = evolution.steps[-1]
    rows = []
    for layer in evolution.layers:
        for map_ in evolution.maps(layer)[:PROVENANCE_MAPS]:
            strongest = evolution.rows(layer=layer, step=step, map=map_, selection="top", rank=0)
            rows += [_source_row(evolution, row) for row in strongest]
    heads = ("map", "split", "image", "file", "class", "(y, x)", "value")
    columns = [Column(head, right=head in ("image", "value")) for head in heads]
    yield (
        "The strongest image of some maps at the last epoch. All maps, ranks and epochs stand in"
        " evolution/units.parquet; on the page of the run the same is under every patch."
    )
    yield data_table(columns, rows)


def _source_row(evolution: Evolution, row: dict[str, Any]) -> Row:
    where = f"({row['y']}, {row['x']})"
    texts = (evolution.record.split, f"{row['image_id']:,}", row["file_name"], row["label_name"])
    cells = [None if each is None else plain(str(each)) for each in texts]
    return Row(f"{row['layer']} {row['map']}", (*cells, where, number(row["activation"])))


def _missing(answers: _Answers) -> Markup:
    return Markup('<p class="note">Not computed: {}.</p>').format(answers.why.rstrip("."))


def _steps(answers: _Answers) -> Iterator[Markup]:
    shown = answers.demonstration
    if shown is None:
        yield _missing(answers)
        return
    unit = shown.unit
    about = (
        f"Map {unit['map']} of {unit['layer']} at ({unit['y']}, {unit['x']}), on image"
        f" {unit['image_id']:,}, with the value {number(unit['activation'])}: all other units are"
        " set to zero, and the signal goes down operation by operation. Grey is zero, each picture"
        " has a scale of its own; size is the root of the sum of squares. The last row is the"
        " projection as the run's page has it, beside the image."
    )
    yield Markup("<p>{}</p>").format(about)
    yield image_figure(
        picture_of_bytes(shown.figure), f"The way down of map {unit['map']} of {unit['layer']}"
    )


def _rules(answers: _Answers) -> Iterator[Piece | Markup | str]:
    shown = answers.demonstration
    yield (
        "A map of the network is never negative; what comes down through a transposed filter is,"
        " in part. The paper sets that part to zero before the next filter, so that what goes on is"
        " a map again. It is no inverse of the ReLU: that would let everything through. Other rules"
        " ask where the ReLU was open in the image (gradient), or both (guided)."
    )
    if shown is None:
        yield _missing(answers)
        return
    rows = [
        Row(
            name,
            (
                _mean(numbers.cut, "{:.0%}"),
                _mean(numbers.cosine, "{:.2f}"),
                _mean(numbers.negative, "{:.0%}"),
            ),
        )
        for name, numbers in shown.rules.items()
    ]
    heads = (
        *("rule", "energy taken at each ReLU", "likeness to the deconvnet's projection"),
        "pixels below zero",
    )
    yield data_table([Column(head, right=index > 0) for index, head in enumerate(heads)], rows)
    count = len(shown.rules["deconvnet"].cut)
    yield Markup('<p class="note">{}</p>').format(
        f"Means over {count} maps of {shown.unit['layer']}, each on its strongest image, in"
        " brackets the least and the most. Pixels are signed by every rule, for the last filter is"
        " followed by no rectification."
    )


def _mean(values: np.ndarray, form: str) -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return "undefined"
    ends = f"{form.format(known.min())} to {form.format(known.max())}"
    return f"{form.format(known.mean())} ({ends})"


def _vertical(answers: _Answers) -> Iterator[Markup | str]:
    yield (
        "The convolution is one large matrix W from all pixels to all units. Its transpose W' sends"
        " a unit's value back to the pixels that it was computed from, each with the weight that it"
        " had: the kernel comes back in its own shape. Written as a convolution, the kernel is"
        " turned by 180 degrees, and inputs and outputs trade places. Transposing the small matrix"
        " of a kernel instead is a mistake, and would turn vertical edges into horizontal ones."
    )
    if answers.demonstration is None or answers.demonstration.edges is None:
        yield _missing(answers)
        return
    edges = answers.demonstration.edges
    yield (
        f"Computed: a 3 by 3 filter for vertical edges answers {edges.answers[0]:g} to a vertical"
        f" edge and {edges.answers[1]:g} to a horizontal one. What its strongest unit sends back"
        f" changes by {edges.down[0]:g} across and by {edges.down[1]:g} down: a vertical edge. By"
        f" the transposed small matrix it would be {edges.swapped[0]:g} and {edges.swapped[1]:g}."
    )
    yield (
        "That W' belongs to W is checked on the run's first layer: for random x and y, <Wx, y> and"
        f" <x, W'y> differ by less than {max(edges.adjoint, 5e-8) * 2:.0e} of their size: rounding."
    )


def _inverse(answers: _Answers) -> Iterator[Piece | Markup | str]:
    yield (
        "If the filters were orthogonal and equally long, W' would give back all that a layer sees"
        " of a patch. The number is the distance of the best scaled W'W p from what the layer sees"
        " of p, as a share of it: 0 for an inverse, 1 for nothing in common."
    )
    tables = [
        (words, answers.saved.measures[name])
        for name, words in (("inverse", "patches of images"), ("weights", "white noise"))
        if name in answers.saved.measures
    ]
    if not tables:
        yield _measure_line(answers.saved, "inverse")
        return
    layers = tables[0][1].layers
    rows = [
        Row(layer, [_last(measured, "inverse_residual", layer) for _, measured in tables])
        for layer in layers
    ]
    heads = ("layer", *(f"distance on {words}" for words, _ in tables))
    yield data_table([Column(head, right=index > 0) for index, head in enumerate(heads)], rows)


def _last(measured: Measured, quantity: str, layer: str) -> str | None:
    values = measured.of_layer(quantity, layer)
    value = values[max(values)] if values else float("nan")
    return None if np.isnan(value) else f"{value:.2f}"


DERIVATION: Sequence[str] = (
    "Without an image. Write a layer's convolution as a matrix, W1 for the first and W2 for the"
    " second, and leave out rectification, pools and normalisation. What the second layer's unit k"
    " computes of the pixels x is then row k of W2 W1 x, so its filter in pixels is column k of"
    " W1' W2': the second layer's filter, each of its weights replaced by the first layer's filter"
    " for that map, shifted by the first layer's stride, and all added. For layer n it is W1' W2'"
    " ... Wn'. A pool stands in this product as the one cell that is taken to have won; its middle"
    " one, for want of an image. This is what the measure weights draws, and it means little above"
    " the third layer, for rectification is most of what a deep layer does.",
    "With an image. The image says which cell of each pool won: a matrix P1 of zeros and ones that"
    " picks the winners, whose transpose puts a value back where it was won. It also says where"
    " each ReLU was open: a diagonal matrix D1. The network is then linear around this image, and"
    " the gradient of a unit is W1' D1 P1' W2' D2 ... applied to the unit. The deconvnet takes the"
    " same product, but in place of D, which asks what the image did, it sets to zero what comes"
    " down negative. So layer by layer: unpool (P'), rectify, filter (W').",
    "A pool's windows overlap: one cell may win in two, and what comes back to it is added. Where a"
    " window holds nothing but zeros the first cell counts as its winner. Biases play no part, for"
    " what comes down is linear in the unit's value but for the rectification, which scales along.",
)
