"""What the paper says, as one table: each statement in our words, where it stands, the number that
was published, and the number of a run that would bear it out.

Source: Zeiler and Fergus, arXiv 1311.2901v3. What a grid of runs says (Fig. 6, Table 3) stands in
``paper_claims``, what another data set says (Tables 4 to 6, Fig. 9) and an ensemble (Table 2) in
``paper_beyond``. Bars that the paper does not give ("a few epochs") are ours, and said to be. No
JAX.
"""

from __future__ import annotations

from dataclasses import dataclass

from zfjax.studies import paper_readings as readings
from zfjax.studies.paper_notes import EVERY, PROJECTION_AGREES, Beside, noted
from zfjax.studies.paper_numbers import OF_CORRELATIONS, OF_SHARES
from zfjax.studies.paper_readings import EVOLUTION, Reader, quantity

PICTURES = "pictures only"


@dataclass(frozen=True)
class Statement:
    """One statement on what a single run can show."""

    id: str
    figure: str
    """Figure or table, and section."""
    claim: str
    published: str
    number: str
    """What the number is, in words."""
    side: int
    """1: it holds where the number is above 0; -1: below."""
    needs: str
    """A measure's name, or EVOLUTION."""
    read: Reader
    quantities: tuple[str, ...] = ()
    """That the measure's table must have to be of use."""
    picture: str = ""
    """Its file, beside the measure's table; of the evolution, among the report's figures."""
    sheet: str = ""
    """What is shown in its stead where it is drawn: a file of RUN/paper."""
    unit: str = ""
    """Of the number on the page: "epochs"; "points" is a share times 100."""


FEATURES = (
    Statement(
        "fig1-switches",
        "Fig. 1, section 2.1",
        "A projection comes down by the switches of its own image: by another image's it is"
        " another picture",
        "a drawing",
        "one half (the bar is ours) less the cosine with the same unit's projection by another"
        " image's switches",
        1,
        "controls",
        readings.switches_matter,
        ("cosine_switches",),
        "controls-pictures.png",
        sheet="figure1.png",
    ),
    Statement(
        "fig2-unit",
        "Fig. 2, section 4",
        "A projection shows what its own map looks for: another map's on the same image"
        " is another picture",
        PICTURES,
        "one half (the bar is ours) less the cosine with another unit's projection on the same"
        " image",
        1,
        "controls",
        readings.unit_matters,
        ("image_share",),
        "controls.png",
    ),
    Statement(
        "fig2-grouping",
        "Fig. 2, section 4",
        "The images that excite a map most belong together",
        PICTURES,
        "share of the commonest class among a map's nine strongest images, less chance",
        1,
        "labels",
        readings.grouping,
        ("purity", "chance_purity"),
        "labels.png",
        unit="points",
    ),
    Statement(
        "fig2-classes",
        "Fig. 2, section 4",
        "Higher layers are more specific to classes than the first",
        PICTURES,
        "share of the commonest class, deepest layer minus the first",
        1,
        "labels",
        readings.class_specific,
        ("purity",),
        "labels.png",
        unit="points",
    ),
    Statement(
        "fig2-invariance",
        "Fig. 2, section 4",
        "Invariance grows with the layers: what excites one map varies more, the higher it is",
        PICTURES,
        "how alike a map's strongest patches are, first layer minus the deepest",
        1,
        EVOLUTION,
        readings.patches_vary,
        (),
        "figure2-{deepest}.png",
        sheet="figure2.png",
    ),
    Statement(
        "fig2-parts",
        "Fig. 2, section 4",
        "Projections bring out what discriminates: they are more alike than the patches",
        PICTURES,
        "how alike a map's projections are, less how alike their patches are",
        1,
        EVOLUTION,
        readings.projections_agree,
        (),
        "figure2-{deepest}.png",
    ),
)

EVOLVING = (
    Statement(
        "fig4-order",
        "Fig. 4, section 4",
        "Lower layers settle before upper ones",
        "lower within a few epochs, upper after 40 to 50 of 70",
        "settling time by layer, epochs for each layer of depth",
        1,
        "settling",
        readings.lower_first,
        ("responses_slope", "rewind_share"),
        "settling.png",
        unit="epochs a layer",
    ),
    Statement(
        "fig4-lower",
        "Fig. 4, section 4",
        "The first layer settles within a few epochs",
        "within a few epochs of 70",
        "its settling time less a tenth of the training, epochs (the bar is ours)",
        -1,
        "settling",
        readings.settles_beyond("first", 0.1),
        ("responses_time",),
        "settling.png",
        unit="epochs",
    ),
    Statement(
        "fig4-upper",
        "Fig. 4, section 4",
        "The upper layers take most of the training",
        "40 to 50 of 70 epochs",
        "settling time of the deepest layer less half of the training, epochs (the bar is ours)",
        1,
        "settling",
        readings.settles_beyond("deepest", 0.5),
        ("responses_time",),
        "settling.png",
        unit="epochs",
    ),
    Statement(
        "fig4-jumps",
        "Fig. 4, section 4",
        "Sudden jumps of a map's picture come of a change of its strongest image",
        PICTURES,
        "how alike neighbouring epochs are where the image stays, less where it changes",
        1,
        EVOLUTION,
        readings.jumps_are_images,
        (),
        "figure4.png",
    ),
)

_SMALL = "how far a small {} moves the features, first layer minus the last (of random pairs)"
CHANGING = (
    *(
        Statement(
            f"fig5-{kind}",
            "Fig. 5, section 4",
            f"A small {kind} changes the first layer dramatically and the top one little",
            published,
            _SMALL.format(kind),
            1,
            "invariance",
            noted(
                quantity("invariance", f"small_gap_{kind}"),
                "invariance",
                Beside(f"small_{kind}", "{value} at {layer}", "first"),
                Beside(f"small_{kind}", "{value} at {layer}", "top"),
            ),
            (f"small_gap_{kind}",),
            "invariance.png",
        )
        for kind, published in (
            ("translation", "axes up to 10 in layer 1, 0.8 in layer 7"),
            ("scale", "axes up to 12 in layer 1, 0.7 in layer 7"),
            ("rotation", "axes up to 15 in layer 1, 1.4 in layer 7"),
        )
    ),
    Statement(
        "fig5-linear",
        "Fig. 5, section 4",
        "The top layer answers to a translation almost in a straight line, more so than the first",
        PICTURES,
        "R2 of a straight line, top layer minus the first",
        1,
        "invariance",
        noted(
            quantity("invariance", "linearity_gap_translation"),
            "invariance",
            Beside("linearity_translation", "R2 {value} at {layer}", "first"),
            Beside("linearity_translation", "{value} at {layer}", "top"),
        ),
        ("linearity_gap_translation",),
        "invariance.png",
    ),
    Statement(
        "fig5-output",
        "Fig. 5, section 4",
        "The output bears translation, but not rotation",
        PICTURES,
        "loss of the true class's probability by rotation minus that by translation",
        1,
        "invariance",
        noted(
            quantity("invariance", "rotation_gap", limits=OF_CORRELATIONS),
            "invariance",
            Beside("drop_rotation", "a loss of {value} by rotation"),
            Beside("drop_translation", "{value} by translation"),
        ),
        ("rotation_gap",),
        "invariance.png",
    ),
    Statement(
        "fig7-projection",
        "Fig. 7, section 4.2",
        "What a projection shows is what excites the map: covering it makes the map fall",
        PICTURES,
        "rank correlation of projection and drop, less the same for another map's projection",
        1,
        "occlusion",
        PROJECTION_AGREES,
        ("spearman_excess",),
        "occlusion-pictures.png",
    ),
    Statement(
        "fig7-object",
        "Fig. 7, section 4.2",
        "The network looks at the object: covering a part of the image undoes its answer",
        PICTURES,
        "what the true class's probability loses under the worst square, less one half (the bar is"
        " ours)",
        1,
        "occlusion",
        readings.answer_undone,
        ("probability_drop",),
        "occlusion-pictures.png",
    ),
    Statement(
        "table1-features",
        "Table 1, Fig. 8, section 4.3",
        "The same part hidden in several images changes the deepest feature maps in the same way,"
        " more than random places do",
        "0.067 to 0.079 for parts, 0.107 for random places (layer 5)",
        "mean sign change of parts minus that of random places",
        -1,
        "correspondence",
        noted(
            quantity("correspondence", "gap", "deepest", limits=OF_SHARES),
            "correspondence",
            Beside("change", "{value} for parts", "deepest", "{:.3f}"),
            Beside("random", "{value} for random places", "deepest", "{:.3f}"),
        ),
        ("gap",),
        "correspondence.png",
    ),
    Statement(
        "table1-top",
        "Table 1, Fig. 8, section 4.3",
        "In the top hidden layer parts stand out less from random places than in the feature maps",
        "difference 0.001 to 0.005 in layer 7, 0.028 to 0.040 in layer 5",
        "mean sign change of parts minus that of random places, top layer minus deepest maps",
        1,
        "correspondence",
        readings.gap_shrinks,
        ("gap",),
        "correspondence.png",
    ),
    Statement(
        "table7-depth",
        "Table 7, section 5.3",
        "Each layer's features classify better than those of the layer below",
        "44.8, 66.2, 72.3, 76.6, 86.2 and 85.5 % (SVM on layers 1 to 5 and 7, Caltech-101)",
        "accuracy of a linear SVM gained for each layer of depth",
        1,
        "probes",
        noted(
            quantity("probes", "svm_slope", limits=OF_SHARES),
            "probes",
            Beside("svm_top1", "{layer} {value}", EVERY, "{:.1%}"),
        ),
        ("svm_slope",),
        "probes.png",
        unit="points a layer",
    ),
    Statement(
        "table7-every",
        "Table 7, section 5.3",
        "No layer's features classify worse than those of the layer below",
        "one of five steps falls: layer 7 after layer 5, by 0.7 points",
        "the smallest gain from a layer to the next",
        1,
        "probes",
        quantity("probes", "svm_least_gain", limits=OF_SHARES),
        ("svm_least_gain",),
        "probes.png",
        unit="points",
    ),
)

STATEMENTS = (*FEATURES, *EVOLVING, *CHANGING)
"""In the paper's order, as far as one run goes."""


def measures_needed() -> dict[str, tuple[str, ...]]:
    """By measure, the quantities that its table must have."""
    wanted: dict[str, dict[str, None]] = {}
    for statement in STATEMENTS:
        if statement.needs != EVOLUTION:
            wanted.setdefault(statement.needs, {}).update(dict.fromkeys(statement.quantities))
    return {name: tuple(names) for name, names in wanted.items()}
