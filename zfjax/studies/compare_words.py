"""What a comparison's page says in tables and words. No JAX."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from zfjax.config import RESUMABLE_FIELDS, flatten
from zfjax.errors import shortened
from zfjax.measures.matching import BAR, RATE
from zfjax.report.kit.shell import Piece, section
from zfjax.report.kit.tables import Column, Row, data_table
from zfjax.report.kit.wording import epoch_name, percent, plain
from zfjax.report.words import network_words
from zfjax.run.folder import Run
from zfjax.studies.compared import UNCLEAR, Compared
from zfjax.studies.pairing import LayerPairs
from zfjax.studies.sides import Side


def layer_tables(compared: Compared) -> list[Piece | Markup]:
    """At the last epoch, a row a layer, a table each other run."""
    heads = (
        "maps", "partners", "of the null", "each other's first choice",
        "of one number", "correlation", f"null's {BAR:.0%}", "CKA", "dead",
    )  # fmt: skip
    columns = [Column("layer"), *(Column(head, right=True) for head in heads)]
    tables: list[Piece | Markup] = []
    for other in range(1, len(compared.sides)):
        rows = [Row(plain(each.layer), _cells(each)) for each in compared.of(other)]
        caption = (
            f"{plain(compared.names[0], 60)} with {plain(compared.names[other], 60)}, epoch"
            f" {epoch_name(compared.epochs[-1])}"
        )
        tables.append(data_table(columns, rows, caption))
    tables.append(
        note(
            "Partners: of as many pairs as there can be. Of the null: how much of it is as alike as"
            " the least alike partners. Correlation: mean over all assigned pairs, partners or not;"
            f" in brackets on each half of the images apart. Null's {BAR:.0%}: the correlation"
            " below which so much of the null lies. Of one number: partners that have the same"
            " number in both; by chance one in as many as the layer has maps."
        )
    )
    if compared.lacking:
        tables.append(note(_lacking_words(compared)))
    if began := _equal_starts(compared):
        tables.append(note(began))
    return tables


def _cells(pairs: LayerPairs) -> list[str | Piece | None]:
    now = pairs.last
    matches, partners = now.matches, now.matches.are_partners
    count = int(partners.sum())
    return [
        " | ".join(map(str, dict.fromkeys(pairs.maps))),
        f"{count} of {matches.possible}",
        percent(matches.null_share) if np.isfinite(matches.null_share) else None,
        f"{int((matches.mutual & partners).sum())} of {count}" if count else None,
        f"{int((matches.partner == np.arange(len(partners)))[partners].sum())} of {count}"
        if count
        else None,
        _with_halves(now.alike.correlation),
        f"{matches.bar:.2f}" if np.isfinite(matches.bar) else None,
        _with_halves(now.alike.cka),
        " | ".join(map(str, now.dead)),
    ]


def _with_halves(values: Sequence[float]) -> str | None:
    if not np.isfinite(values[0]):
        return None
    halves = [f"{value:.2f}" for value in values[1:] if np.isfinite(value)]
    apart = f" ({', '.join(halves)})" if halves else ""
    return f"{values[0]:.2f}{apart}"


def _lacking_words(compared: Compared) -> str:
    lacking = "; ".join(
        f"{layer}, which {shortened(names, 4)} {'has' if len(names) == 1 else 'have'} not"
        for layer, names in compared.lacking.items()
    )
    return f"Without a counterpart: {lacking}. Layers are compared by name."


def _equal_starts(compared: Compared) -> str:
    """Of layers whose maps are partners before any training."""
    if compared.epochs[0] > 0:
        return ""
    began = [
        f"{pairs.layer} of {compared.sides[pairs.other].name} ({count} of"
        f" {pairs.by_epoch[0].matches.possible})"
        for pairs in compared.pairs
        if (count := int(pairs.by_epoch[0].matches.are_partners.sum()))
        > 2 * RATE * max(1, pairs.by_epoch[0].matches.possible)
    ]
    if not began:
        return ""
    return (
        f"Partners at epoch 0 already: {shortened(began, 12)}. Such layers began with the same"
        " weights, and what they share later was handed down at least in part."
    )


def settling_section(compared: Compared) -> Piece:
    """Which run's layer settles first, from what was measured of each."""
    columns = [
        Column("layer"),
        *(Column(plain(name, 60), right=True) for name in compared.names),
        Column("settles first", words=True),
    ]
    rows = []
    for layer in compared.layers:
        cells: list[str | Piece | None] = []
        for index in range(len(compared.sides)):
            time = compared.times.get((index, layer))
            interval = time is not None and np.isfinite(time.low)
            cells.append(
                None
                if time is None
                else f"{time.value:.2f} ({time.low:.2f} to {time.high:.2f})"
                if interval
                else f"{time.value:.2f}"
            )
        rows.append(Row(plain(layer), [*cells, compared.settles_first(layer) or None]))
    notes = [
        "Settling times in epochs, from each run's measure settling (responses of its maps), with"
        " their 95% intervals over images: they say something of these runs only. A run is first"
        f" where its interval lies below all others; else {UNCLEAR}."
    ]
    if compared.unsettled:
        notes.append(
            f"Not measured of {shortened(compared.unsettled, 4)}: `zfjax measure --workdir RUN"
            " settling`, then the same zfjax compare."
        )
    if len({time.last for time in compared.times.values()}) > 1:
        notes.append(
            "These runs end at different epochs, and settled means like the last one: their times"
            " cannot be compared."
        )
    return section("Which settles first", data_table(columns, rows), *map(note, notes))


def reading_notes(compared: Compared) -> list[str]:
    """Paragraphs: how pairs are made, what is chance, what can mislead."""
    from_start = all(pairs.from_start for pairs in compared.pairs)
    null = (
        "like the most alike map of the other network before training"
        if from_start
        else "like the most alike map of its own layer, since not all runs have saved their start"
    )
    return [
        "Maps of two networks have no common numbers. Each map of the first run is assigned one of"
        " the other, such that over the layer they answer to the same images as alike as can be:"
        " rank correlation of their strongest response in each image, less what an image does to"
        " all maps together.",
        f"Every map is assigned one, whether there is one or not. It is called a partner only where"
        f" it is more alike than chance: the null is how much a map is {null}. Of a layer's"
        f" partners at most {RATE:.0%} are expected to be false (Benjamini-Hochberg).",
        "Both networks see the same images, and any filter, a random one too, answers more where"
        " there is more to see of its colour or direction. So maps that have learnt nothing in"
        " common are alike already, in the first layers most of all: there a correlation that looks"
        " high may be chance's. A map without a partner is one that these images cannot tell from"
        " such maps; its filter may still be like another's.",
        "A partner need not be the only map of its kind: where it is not each other's first choice,"
        " another map is more like one of the two.",
        "CKA likens the layers as wholes, whatever their maps; networks that were never trained"
        " have a CKA well above 0 too, since they see the same images.",
    ]


def origin_facts(compared: Compared) -> Piece:
    """The runs, in what they differ, and the images; no path of this machine."""
    facts: dict[str, str] = {}
    for side in compared.sides:
        facts[side.name] = _side_words(side)
    if differing := _differing(compared.sides):
        facts["They differ in"] = differing
    probe = compared.sides[0].probe
    assert probe is not None
    about = probe.meta["asked"]
    facts["Images"] = (
        f"{compared.images:,} of split {about['split']} of {about['fingerprint'].get('name')}"
    )
    facts["Command"] = "zfjax compare " + " ".join("RUN" for _ in compared.sides)
    lines = Markup("\n").join(
        Markup("<dt>{}</dt><dd>{}</dd>").format(plain(what, 60), plain(value, 900))
        for what, value in facts.items()
    )
    files = Markup(", ").join(
        Markup('<a href="{0}">{0}</a>').format(name)
        for name in ("summary.parquet", "matches.parquet", "compare.json")
    )
    return Piece(
        Markup('<dl class="facts">{}</dl><p class="note">Beside this page: {}.</p>').format(
            lines, files
        )
    )


def _side_words(side: Side) -> str:
    if side.run is None:
        return "a network that came as a Python object"
    words = network_words(side.run)
    if isinstance(side.run, Run):
        config = side.run.config
        words += f"; {config.recipe}, seed {config.seed}, {config.epochs} epochs"
    return words


def _differing(sides: Sequence[Side]) -> str:
    """Config fields in which runs of ours differ; where they lie and how they are read is none."""
    configs = [flatten(side.run.config) for side in sides if isinstance(side.run, Run)]
    if len(configs) < len(sides):
        return ""
    names = [
        name
        for name in dict.fromkeys(name for config in configs for name in config)
        if name not in RESUMABLE_FIELDS and len({repr(config.get(name)) for config in configs}) > 1
    ]
    return shortened(
        (
            f"{name} {' | '.join(str(config.get(name, '–')) for config in configs)}"
            for name in names
        ),
        12,
        "; ",
    )


def note(text: str) -> Markup:
    """A quiet paragraph, escaped."""
    return Markup('<p class="note">{}</p>').format(text)
