"""Where a page's numbers came from, as its sections say it: headline, tables of layers, facts. No
JAX.
"""

from __future__ import annotations

from urllib.parse import quote

from markupsafe import Markup

from zfjax.report import words
from zfjax.report.adopted import adopted_table
from zfjax.report.kit.shell import Piece
from zfjax.report.kit.tables import Column, Row, data_table
from zfjax.report.kit.wording import date, epoch_name, percent, plain
from zfjax.report.layers import View
from zfjax.report.provenance import architecture_table, layer_table, report_facts
from zfjax.run.adopted import AdoptedRun
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run

CODE = ("Command", "This page")
"""Facts that are commands."""


def numbers_table(evolution: Evolution) -> Piece:
    """A row a layer: what a unit sees, when half of the maps are settled, dead and pure maps."""
    heads = (
        *("layer", "sees, pixels", "maps", "half with final image at epoch", "dead at the end"),
        "purity, first → last",
    )
    rows = [
        Row(
            line["layer"],
            (
                *(line["field"], line["maps"], line["half"], line["dead"]),
                f"{line['first_purity']} → {line['purity']}",
            ),
        )
        for line in layer_table(evolution)
    ]
    return data_table([Column(head) for head in heads], rows)


def numbers_notes(evolution: Evolution) -> Markup:
    """What the columns of that table mean."""
    return Markup(
        '<p class="note"><b>Final image</b>: the strongest image that a live map has at the last'
        " epoch; the column says the first epoch where half of them show it already. <b>Dead</b>:"
        " no image excites the map at all. <b>Purity</b>: how far the {} strongest"
        " images of a map agree on one class, among those whose label is known.</p>"
    ).format(evolution.record.top)


def origin_of(view: View, files: dict[str, bytes]) -> list[Piece | Markup]:
    """Where the numbers came from: facts, the network's layers, the figures beside the page."""
    qualities = dict(zip(view.evolution.layers, view.qualities, strict=True))
    facts = Markup("\n").join(
        Markup("<dt>{}</dt><dd{}>{}</dd>").format(
            what, Markup(' class="code"') if what in CODE else "", value
        )
        for what, value in report_facts(
            view.run, view.evolution, view.name, view.steps, qualities, view.photos
        )
    )
    links = Markup(", ").join(
        Markup('<a href="{}">{}</a>').format(quote(file_name), file_name)
        for file_name in sorted(files)
    )
    return [
        Markup('<dl class="facts">\n{}\n</dl>').format(facts),
        _network_table(view),
        Markup('<p class="note">Figures beside this page, for papers and talks: {}.</p>').format(
            links
        ),
    ]


def _network_table(view: View) -> Piece:
    """The network's layers: all of one of ours, those searched of somebody else's."""
    gives = "gives, height × width × maps"
    if isinstance(view.run, AdoptedRun):
        heads = ("layer", gives, "sees, pixels", "every, pixels", "projected on the")
        lines = adopted_table(view.evolution)
        return data_table([*map(Column, heads)], [Row(name, rest) for name, *rest in lines])
    columns = (
        Column("layer"),
        Column("what it is", words=True),
        *map(Column, (gives, "sees, pixels", "parameters")),
    )
    rows = [
        Row(
            line["layer"],
            (
                line["what"],
                " × ".join(map(str, line["shape"])),
                f"{line['field']} × {line['field']}",
                f"{line['parameters']:,}" if line["parameters"] else "–",
            ),
        )
        for line in architecture_table(view.run.config.model)
    ]
    return data_table(columns, rows)


def adopted_headline(evolution: Evolution) -> list[str]:
    """The facts at the top, of a network that was not trained here."""
    record, count = evolution.record, len(evolution.steps)
    return [
        plain(str(record.fingerprint["name"])),
        f"{words.searched(evolution)} searched",
        f"{count} checkpoint{'' if count == 1 else 's'}",
        *([] if record.rule == "deconvnet" else [f"{plain(record.rule)} projections"]),
        date(record.created),
    ]


def headline_of(run: Run, evolution: Evolution) -> list[str]:
    """The facts at the top: data set, images, epochs, accuracy, date."""
    accuracy = words.final_accuracy(run, evolution.steps[-1])
    epochs = epoch_name(evolution.epochs[-1])
    return [
        words.dataset_words(run),
        f"{run.fingerprint.get('count', evolution.record.images):,} training images",
        f"{epochs} epoch{'' if epochs == '1' else 's'}",
        *(
            []
            if accuracy is None
            else [f"{percent(accuracy)} top-1 ({words.validation_split(run)})"]
        ),
        *(
            []
            if evolution.record.rule == "deconvnet"
            else [f"{plain(evolution.record.rule)} projections"]
        ),
        date(run.created),
    ]
