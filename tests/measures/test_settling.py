"""Settling against layers made to settle when they are told to, and maps that never learnt."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.measures.probed import make_probe, measure_probe, subject_like
from zfjax.errors import ZfjaxError
from zfjax.measures import similarity
from zfjax.measures.layer_order import tell_order
from zfjax.measures.layer_pairs import first_words, order_of_pair, pair_orders
from zfjax.measures.likeness import answers_of, image_groups, representation_of
from zfjax.measures.settling import MEASURE, SettlingOptions
from zfjax.measures.settling_times import never_needed, rewind_shares
from zfjax.report.settling import settling_said
from zfjax.run.measured import Measured, measures_table

IMAGES, MAPS = 1200, 12
EPOCHS = tuple(range(9))
SETTLES = {"conv1": 1.0, "conv2": 2.0, "conv3": 4.0}
"""The epoch by which half of each layer's way is gone."""


def layer_at(seed, gone):
    """Answers [images, maps] of which the share ``gone`` is the last epoch's."""
    first, last = (
        np.random.default_rng([seed, which]).normal(size=(IMAGES, MAPS)) for which in (0, 1)
    )
    return np.maximum(np.sqrt(1 - gone) * first + np.sqrt(gone) * last + 0.5, 0)


def made(settles, epochs=EPOCHS):
    values = {}
    for epoch in epochs:
        values[10 * epoch] = {
            layer: layer_at(index, 1 - 0.5 ** (2 * epoch / half) if epoch < epochs[-1] else 1.0)
            for index, (layer, half) in enumerate(settles.items())
        }
    return values


def rewind_table(settles, groups=10, idle=(), own=0.9, anew=None):
    """A rewind as its own measure writes it: accuracy grows as the layer settles; ``idle`` ones
    cost nothing. ``anew``: accuracy with a layer drawn anew, by layer.
    """
    columns = {name: [] for name in ("step", "epoch", "layer", "map", "quantity", "value", "n")}
    generator = np.random.default_rng(0)
    for layer, half in settles.items():
        for epoch in EPOCHS:
            top1 = own - 0.8 * 0.5 ** (2 * epoch / half) * (layer not in idle)
            names = ["top1", *(f"top1_without_{group}" for group in range(groups))]
            for name in names:
                noise = 0 if name == "top1" else generator.normal(0, 2e-3)
                row = (10 * epoch, epoch, layer, None, name, top1 + noise, 2000)
                for column, value in zip(columns.values(), row, strict=True):
                    column.append(value)
    ends = [("top1", None, own), *(("top1_anew", *each) for each in (anew or {}).items())]
    for name, layer, top1 in ends:
        row = (10 * EPOCHS[-1], EPOCHS[-1], layer, None, name, top1, 2000)
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    nothing = {name: [None] * len(columns["step"]) for name in ("low", "high", "unit")}
    meta = {"steps": [10 * epoch for epoch in EPOCHS], "epochs": list(EPOCHS)}
    return Measured(Path("x"), "rewind", meta, measures_table({**columns, **nothing}))


@pytest.fixture(scope="module")
def values():
    return made(SETTLES)


@pytest.fixture(scope="module")
def probe(values, tmp_path_factory):
    return make_probe(tmp_path_factory.mktemp("settling") / "probe.npz", values, means=values)


@pytest.fixture(scope="module")
def measured(values, probe):
    subject = subject_like(values, epochs=EPOCHS)
    earlier = {"rewind": rewind_table(SETTLES)}
    return measure_probe(MEASURE, probe, values, earlier=earlier, subject=subject)


def test_lower_layers_that_settle_first_are_found_to(measured):
    table, told = measured
    last = table.steps[-1]
    for family in ("responses", "representation", "rewind"):
        times = [table.of_layer(f"{family}_time", layer)[last] for layer in SETTLES]
        assert times == sorted(times) and times[2] > times[0] + 1, family
        low, high = table.bounds(f"{family}_slope", None)[last]
        assert 0 < low < table.of_layer(f"{family}_slope", None)[last] < high
        assert told.figures["families"][family]["tau_b"] == pytest.approx(1)
        assert told.figures["families"][family]["p"] == pytest.approx(1 / 6)
    assert told.figures["verdict"] == "holds" and told.figures["over"] == "images"
    assert "Yes, of this run only" in told.sentence and "epoch 8" in told.sentence
    assert told.sentence.count("epochs a layer (a slope above 0") == 3
    weights = told.sentence.split("rewind")[1].split("; ")[1]
    assert weights.startswith("weights, not asked for the verdict"), (
        "the fourth, where the verdict is"
    )
    assert told.lines[-1].split()[0] == "verdict" and told.chart is not None


@pytest.mark.slow
def test_the_other_order_does_not_hold_and_no_order_cannot_tell(tmp_path):
    for name, halves, verdict in (
        ("up", (4.0, 2.0, 1.0), "does not hold"),
        ("flat", (2.0,) * 3, ""),
    ):
        settles = dict(zip(SETTLES, halves, strict=True))
        turned = made(settles)
        probe = make_probe(tmp_path / f"{name}.npz", turned, means=turned)
        subject = subject_like(turned, epochs=EPOCHS)
        earlier = {"rewind": rewind_table(settles)}
        _, told = measure_probe(MEASURE, probe, turned, earlier=earlier, subject=subject)
        assert told.figures["verdict"] == (verdict or "cannot tell")


@pytest.mark.parametrize(
    "anew, named",
    [
        ({"conv1": 0.88, "conv2": 0.1, "conv3": 0.3}, ["conv1"]),
        ({"conv1": 0.88, "conv2": 0.9, "conv3": 0.3}, ["conv1"]),  # conv2 put back costs
        ({"conv1": 0.80, "conv2": 0.1, "conv3": 0.3}, []),  # drawn anew it costs: it has settled
        ({}, []),  # nobody drew it anew
    ],
)
def test_a_layer_that_never_needed_to_move_has_not_settled_first(values, probe, anew, named):
    subject = subject_like(values, epochs=EPOCHS)
    earlier = {"rewind": rewind_table(SETTLES, idle=["conv1"], anew=anew)}
    table, told = measure_probe(MEASURE, probe, values, earlier=earlier, subject=subject)
    last = table.steps[-1]
    assert told.figures["ambient"] == named
    said = "conv1 never needed to move: put back or drawn anew, it costs at most 5% of accuracy"
    assert (said in told.sentence) == bool(named)
    times = [table.of_layer("rewind_time", layer)[last] for layer in SETTLES]
    assert np.isnan(times[0])
    slope = table.of_layer("rewind_slope", None)[last]
    assert slope == pytest.approx(times[2] - times[1])  # of the two others alone
    low, high = table.bounds("rewind_slope", None)[last]
    assert low < slope < high


def test_a_network_that_learnt_nothing_has_no_layer_that_never_needed_to_move(values, probe):
    subject, anew = subject_like(values, epochs=EPOCHS), dict.fromkeys(SETTLES, 0.12)
    rewind = rewind_table(SETTLES, idle=list(SETTLES), own=0.13, anew=anew)
    for classes, named in ((10, []), (100, sorted(SETTLES))):
        meta = {**rewind.meta, "class_names": ["x"] * classes}
        earlier = {"rewind": Measured(Path("x"), "rewind", meta, rewind.table)}
        _, told = measure_probe(MEASURE, probe, values, earlier=earlier, subject=subject)
        assert told.figures["ambient"] == named


def test_never_needed_is_by_the_worst_of_all_epochs_and_of_drawing_anew():
    flat, dip = np.array([0.88, 0.9, 0.9]), np.array([0.88, 0.7, 0.9])
    assert never_needed(flat, 0.9, 0.86) and never_needed(flat, 0.9, 0.95)
    assert not never_needed(dip, 0.9, 0.9) and not never_needed(flat, 0.9, 0.84)
    assert not never_needed(np.array([np.nan, 0.9]), 0.9, 0.9)
    assert not never_needed(flat, 0.9, float("nan"))
    higher = np.array([0.86, 0.88, 0.99, 0.9])  # there is room, and yet it costs nothing
    assert np.isfinite(rewind_shares(higher, [higher]).share).all()
    shares = rewind_shares(higher, [higher], needed=False)
    assert np.isnan(shares.share).all() and shares.groups.shape == (1, 4)


def test_over_seeds_it_is_said_in_how_many_a_layer_never_needed_to_move(values, probe):
    subject, tables = subject_like(values, epochs=EPOCHS), []
    for anew in (0.9, 0.2):
        earlier = {"rewind": rewind_table(SETTLES, idle=["conv1"], anew={"conv1": anew})}
        tables.append(measure_probe(MEASURE, probe, values, earlier=earlier, subject=subject)[0])
    assert "conv1 (in 1 of 2 runs) never needed" in tell_order(tables[0], tables[1:], None).sentence
    turned = tell_order(tables[1], tables[:1], None)
    assert "conv1 (in 1 of 2 runs) never needed" in turned.sentence
    assert turned.figures["ambient"] == ["conv1"]


def test_without_rewind_nobody_can_tell(values, probe):
    subject = subject_like(values, epochs=EPOCHS)
    table, told = measure_probe(MEASURE, probe, values, subject=subject)
    assert told.figures["verdict"] == "cannot tell" and "zfjax measure rewind" in told.sentence
    last = table.steps[-1]
    assert (
        table.of_layer("settled", "conv1")[last] == table.of_layer("responses_time", "conv1")[last]
    )
    assert np.isnan(table.of_layer("rewind_slope", None)[last])


def test_seeds_decide_over_seeds(measured):
    table, _ = measured
    told = tell_order(table, [table, table], SettlingOptions())
    assert told.figures["over"] == "seeds" and told.figures["runs"] == 3
    assert "over 3 seeds" in told.sentence and "of this run only" not in told.sentence


def table_of(rows, layers):
    """A table of (quantity, layer, value, low, high), all of one step."""
    names, of_layers, values, lows, highs = map(list, zip(*rows, strict=True))
    columns = {"quantity": names, "layer": of_layers, "value": values, "low": lows, "high": highs}
    same = {"step": 8, "epoch": 8.0, "map": None, "n": 60, "unit": None}
    columns |= {name: [value] * len(rows) for name, value in same.items()}
    meta = {"steps": [8], "epochs": [8.0], "layers": layers, "asked": {"options": {}}}
    return Measured(Path("x"), "settling", meta, measures_table(columns))


def test_the_sentence_names_pairs_out_of_order_and_those_not_told_apart():
    """The slope is above zero all the same: it is of all layers together."""
    spans = {"conv1": (1.0, 1.2), "conv2": (0.6, 0.8), "conv3": (2.0, 2.4), "conv4": (2.3, 2.6)}
    rows = [("responses_time", layer, sum(ends) / 2, *ends) for layer, ends in spans.items()]
    rows += [("responses_slope", None, 0.5, 0.3, 0.7), ("weights_slope", None, -0.5, None, None)]
    said = tell_order(table_of(rows, list(spans)), [], SettlingOptions()).sentence
    assert "(a slope above 0; conv2 before conv1; not told apart conv3 and conv4)" in said
    assert "weights, not asked for the verdict, go the other way: -0.50 epochs a layer" in said


def test_of_many_layers_pairs_are_counted_and_listed_apart():
    """Of seventeen layers a sentence with each pair would fill a telephone's screen."""
    spans = {f"a{index}": (index / 4, index / 4 + 0.3) for index in range(16)}
    spans["<b>"] = (-0.5, -0.2)  # the last layer, and the first to settle
    rows = [("responses_time", layer, sum(ends) / 2, *ends) for layer, ends in spans.items()]
    rows += [("responses_slope", None, 0.2, 0.1, 0.3)]
    table = table_of(rows, list(spans))
    told = tell_order(table, [], SettlingOptions())
    counted = "of 136 pairs of layers 105 with the lower one first, 16 with the upper one first, 15"
    assert f"(a slope above 0; {counted} not told apart)" in told.sentence
    assert "First: <b> by responses. Last: a14 or a15 by responses." in told.sentence
    upper = ", ".join(f"<b> before a{index}" for index in range(16))
    unsure = ", ".join(f"a{index} and a{index + 1}" for index in range(15))
    lines = [f"responses, the upper one first: {upper}", f"responses, not told apart: {unsure}"]
    assert list(told.lines[-3:]) == ["", *lines]
    meta = {**table.meta, "sentence": told.sentence, "figures": dict(told.figures)}
    said = settling_said(replace(table, meta=meta))
    short, _, folded = said.partition('<details class="folded">')
    assert "Pairs of layers with the lower one first: by responses 105 of 136." in short
    assert "Cannot tell, of this run only" in short and "like epoch 8, the last one" in short
    assert "a14" not in short and len(short) < 400
    assert f"not told apart: {unsure}." in folded and "&lt;b&gt; before a0" in folded
    # A table of an earlier version has the long sentence alone.
    long = f"Do they? No, of this run: {'a and b, ' * 200}c. Settled means like epoch 8."
    short, _, folded = settling_said(replace(table, meta={"sentence": long})).partition("<details")
    assert short == '<p class="said">Do they? No, of this run. Settled means like epoch 8.</p>'
    assert folded.count("a and b") == 200
    alone = settling_said(replace(table, meta={"sentence": "Do they? <b>."}))
    assert alone == '<p class="said">Do they? &lt;b&gt;.</p>'


def test_curves_rise_from_floor_to_the_last_epoch(measured):
    table, _ = measured
    first, last = table.steps[0], table.steps[-1]
    for layer in SETTLES:
        for name in ("overlap", "spearman", "cka", "procrustes", "cosine"):
            assert table.of_layer(name, layer)[last] == pytest.approx(1, abs=1e-6), (layer, name)
        assert abs(table.of_layer("cka", layer)[first]) < 0.05  # drawn apart: 0 on average
        assert abs(table.of_layer("spearman_floor", layer)[first]) < 0.02
        shares = list(table.of_layer("responses_share", layer).values())
        assert shares[0] < 0.1 and shares[-1] == 1
        for step in table.steps[1:-2]:  # each half apart, about where all are
            low, high = table.bounds("responses_share", layer)[step]
            share = table.of_layer("responses_share", layer)[step]
            assert low <= high and low - 0.1 < share < high + 0.1
        assert table.of_layer("distance_left", layer)[first] == 1
        assert table.of_layer("distance_left", layer)[last] == 0


def test_ranks_are_scipys(values, probe):
    steps, groups = sorted(values), image_groups(IMAGES, 4, 0)
    answers = answers_of(probe, steps, "conv2", groups)
    for index in (0, 3, -1):
        for map_ in (0, 5):
            stored, last = (
                probe.values(step, "conv2")[:, map_] for step in (steps[index], steps[-1])
            )
            expected = stats.spearmanr(stored, last).statistic
            assert answers.spearman.maps[index, map_] == pytest.approx(expected, abs=1e-9)
    rows = groups[1]
    expected = np.mean(
        [
            stats.spearmanr(
                probe.values(steps[2], "conv2")[rows, map_],
                probe.values(steps[-1], "conv2")[rows, map_],
            ).statistic
            for map_ in range(MAPS)
        ]
    )
    assert answers.spearman.groups[1, 2] == pytest.approx(expected, abs=1e-9)


def test_checkpoints_that_are_the_same_are_settled_and_never_jump(tmp_path):
    same = {step: {"conv1": layer_at(0, 1.0)} for step in (0, 10, 20, 30)}
    probe = make_probe(tmp_path / "same.npz", same, means=same)
    kernel = {"conv1": {"kernel": np.random.default_rng(0).normal(size=(3, 3, 3, MAPS))}}
    subject = subject_like(same, parameters=dict.fromkeys(same, kernel), epochs=(0, 1, 2, 3))
    table, told = measure_probe(MEASURE, probe, same, subject=subject)
    for step in same:
        assert table.of_layer("overlap", "conv1")[step] == 1
        assert table.of_layer("spearman", "conv1")[step] == pytest.approx(1)
        assert table.of_layer("cka", "conv1")[step] == pytest.approx(1)
        assert np.isnan(table.of_layer("cka_excess", "conv1")[step])  # nothing to gain
    assert set(table.of_layer("jump_rate", "conv1").values()) == {0.0}
    assert table.of_layer("responses_time", "conv1")[30] == 0
    assert np.isnan(table.of_layer("representation_time", "conv1")[30])
    assert (table.of_maps("emergence", "conv1")[30] == 0).all()
    assert told.figures["verdict"] == "cannot tell"


def test_maps_emerge_when_they_were_made_to_and_noise_does_not(tmp_path):
    generator = np.random.default_rng(7)
    maps, steps = 40, (0, 10, 20, 30, 40)
    final = generator.normal(size=(IMAGES, maps))
    learnt = {0: 10, 1: 20, 2: 30}  # the step from which on a map is its last self
    values = {}
    for step in steps:
        noise = generator.normal(size=(IMAGES, maps))
        for map_, since in learnt.items():
            if step >= since:
                noise[:, map_] = final[:, map_]
        values[step] = {"conv1": np.maximum((noise if step < 40 else final) + 1, 0)}
    probe = make_probe(tmp_path / "emerging.npz", values, means=values)
    subject = subject_like(values, epochs=(0, 1, 2, 3, 4))
    table, _ = measure_probe(MEASURE, probe, values, subject=subject)
    born = table.of_maps("emergence", "conv1")[40]
    assert [born[map_] for map_ in learnt] == [1, 2, 3]
    by_chance = table.of_layer("emerged_by_chance", "conv1")[40]
    assert 0 < by_chance < 1
    assert np.isfinite(born[3:]).sum() <= 3
    settled = table.of_maps("settled_epoch", "conv1")[40]
    assert [settled[map_] for map_ in learnt] == [1, 2, 3]


def test_a_map_that_is_dead_is_undefined_and_leaves_the_others_be(tmp_path):
    values = {step: dict(layers) for step, layers in made({"conv1": 2.0}, EPOCHS[:4]).items()}
    for layers in values.values():
        layers["conv1"] = layers["conv1"] * (np.arange(MAPS) != 3)
    probe = make_probe(tmp_path / "dead.npz", values, means=values)
    subject = subject_like(values, epochs=EPOCHS[:4])
    table, told = measure_probe(MEASURE, probe, values, subject=subject)
    assert np.isnan(table.of_maps("spearman", "conv1")[30][3])
    assert np.isnan(table.of_maps("emergence", "conv1")[30][3])
    assert np.isfinite(table.of_layer("responses_time", "conv1")[30])
    assert "nan" not in told.sentence


def test_the_jackknife_leaves_out_what_it_says(values, probe):
    steps, groups = sorted(values)[:2] + sorted(values)[-1:], image_groups(IMAGES, 5, 1)
    whole = representation_of(probe, steps, "conv3", groups)
    rest = np.setdiff1d(np.arange(IMAGES), groups[2])
    some = {step: {"conv3": probe.values(step, "conv3")[rest]} for step in steps}
    smaller = make_probe(probe.path.with_name("rest.npz"), some, means=some)
    without = representation_of(smaller, steps, "conv3", image_groups(len(rest), 5, 1))
    np.testing.assert_allclose(whole.cka_excess.groups[2], without.cka_excess.layer, atol=2e-3)


def test_groups_are_a_pure_function_and_cover_all():
    for images, groups in ((1000, 10), (100, 10), (30, 10), (4001, 7)):
        parts = image_groups(images, groups, 3)
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(images))
        assert 2 <= len(parts) <= groups
        again = image_groups(images, groups, 3)
        assert all(np.array_equal(*pair) for pair in zip(parts, again, strict=True))


def test_too_few_groups_are_refused(values, probe):
    with pytest.raises(ZfjaxError, match="--settling.groups 1 must be 2 or more"):
        measure_probe(MEASURE, probe, values, groups=1)


def test_a_rewind_is_resampled_by_groups_of_images():
    whole = np.array([0.1, 0.5, 0.9, 0.9])
    groups = [whole + 0.02, np.array([0.1, 0.6, 0.8, 0.9])]
    shares = rewind_shares(whole, groups)
    assert shares.jackknifed and shares.share.tolist() == pytest.approx([0, 0.5, 1, 1])
    assert shares.groups[0] == pytest.approx(shares.share)
    assert shares.groups[1] == pytest.approx([0, 5 / 7, 1, 1])
    idle = rewind_shares(np.array([0.88, 0.9, 0.9, 0.9]), groups)
    assert np.isnan(idle.share).all() and np.isnan(idle.groups).all()
    assert rewind_shares(whole, []).groups.shape == (0, 4)


def representation_by_definition(seen, groups):
    """(CKA, Procrustes, CKA's excess without each group, that of the first half) of responses
    [images, maps] of each step, one comparison after the other, in float64.
    """

    def excess_of(rows):
        curve = np.array([similarity.cka(x[rows], seen[-1][rows]) for x in seen], float)
        return curve, similarity.excess(curve, curve[0])

    everyone = np.arange(len(seen[0]))
    aligned = [similarity.procrustes(x, seen[-1]) for x in seen]
    without = [excess_of(np.setdiff1d(everyone, group))[1] for group in groups]
    half = np.concatenate(groups[: (len(groups) + 1) // 2])
    return excess_of(everyone)[0], np.array(aligned), np.array(without), excess_of(half)[1]


def seen_in(probe, layer, steps):
    return [
        np.concatenate([probe.values(step, layer, kind) for kind in ("maxima", "means")], axis=1)
        for step in steps
    ]


def heavy(x):
    """Few images make most of it, and maps differ by orders of magnitude."""
    spread = np.random.default_rng(1).lognormal(0, 1, (IMAGES, 1))
    return x * spread * 10.0 ** np.arange(-6, 18, 2)


def outstanding(x):
    """One image outweighs all others."""
    return np.where(np.arange(IMAGES)[:, None] == 7, 100.0 * (1 + np.arange(MAPS)), x)


@pytest.mark.parametrize("change", [np.asarray, heavy, outstanding])
def test_a_representation_is_what_its_images_give_one_comparison_after_the_other(tmp_path, change):
    """To 1e-5: its products are float32, or float64 where that could be seen."""
    values = {step: {"conv1": change(layer_at(3, step / 4))} for step in range(4)}
    means = {step: {"conv1": change(layer_at(5, step / 4)) / 3} for step in range(4)}
    probe = make_probe(tmp_path / "probe.npz", values, means=means)
    groups = image_groups(IMAGES, 5, 0)
    representation = representation_of(probe, range(4), "conv1", groups)
    expected = representation_by_definition(seen_in(probe, "conv1", range(4)), groups)
    own = representation.cka_excess
    numbers = (representation.cka, representation.procrustes, own.groups, own.halves[0])
    for value, by_definition in zip(numbers, expected, strict=True):
        np.testing.assert_allclose(value, by_definition, atol=1e-5)


@pytest.mark.parametrize("images", [3, 30])
def test_a_layer_that_tells_no_images_apart_has_no_representation(tmp_path, images):
    flat = {step: {"conv1": np.full((images, 4), 0.1 + step)} for step in range(3)}
    lone = {step: {"conv1": np.eye(images, 4)[::-1] * (np.arange(4) == 2)} for step in range(3)}
    for values in (flat, lone):
        probe = make_probe(tmp_path / "flat.npz", values, means=values)
        representation = representation_of(probe, range(3), "conv1", image_groups(images, 2, 0))
        assert np.isnan(representation.cka).all()
        assert np.isnan(representation.cka_excess.groups).all()


def test_pairs_are_judged_by_the_interval_of_their_difference():
    """Two layers whose intervals overlap are told apart where all images agree on the order."""
    ends = {"conv1": (1.0, 3.0), "conv2": (1.2, 3.2), "conv3": (4.0, 4.4)}
    rows = [("rewind_time", layer, sum(pair) / 2, *pair) for layer, pair in ends.items()]
    rows += [("rewind_gap_conv2", "conv1", 0.2, 0.1, 0.3), ("rewind_slope", None, 1.1, 0.8, 1.4)]
    rows += [("rewind_gap_conv3", "conv1", 2.2, -0.2, 4.6)]
    table = table_of(rows, list(ends))
    assert order_of_pair("rewind", [table], "conv1", "conv2") == "holds"
    assert order_of_pair("rewind", [table], "conv1", "conv3") == "cannot tell"
    assert order_of_pair("rewind", [table], "conv2", "conv3") == "holds", "of an older table"
    assert order_of_pair("weights", [table], "conv1", "conv2") is None
    orders = pair_orders("rewind", [table])
    assert orders.unsure == (("conv1", "conv3"),) and not orders.turned, "all pairs, not neighbours"
    assert first_words(("rewind", "weights"), [table]) == "conv1 or conv3 by rewind"


def test_slopes_without_the_first_layer_and_gaps_are_measured(measured):
    table, told = measured
    last, layers = table.steps[-1], list(SETTLES)
    for family in ("responses", "representation", "rewind"):
        times = np.array([table.of_layer(f"{family}_time", each)[last] for each in layers])
        slope = table.of_layer(f"{family}_slope_above_first", None)[last]
        assert slope == pytest.approx(np.polyfit(np.arange(len(times) - 1), times[1:], 1)[0])
        low, high = table.bounds(f"{family}_slope_above_first", None)[last]
        assert low <= slope <= high
        for lower, upper in combinations(range(len(layers)), 2):
            name = f"{family}_gap_{layers[upper]}"
            gap = table.of_layer(name, layers[lower])[last]
            assert gap == pytest.approx(times[upper] - times[lower])
            low, high = table.bounds(name, layers[lower])[last]
            assert low <= gap <= high
    assert not table.of_layer("weights_gap_conv2", "conv1"), "weights see no images"
    assert (
        f"Without conv1: responses {table.of_layer('responses_slope_above_first', None)[last]:+.2f}"
        in told.sentence
    )


def test_an_order_that_one_layer_carries_holds_in_part():
    spans = {"conv1": 1.0, "conv2": 4.0, "conv3": 4.1, "conv4": 3.9}
    rows = []
    for family in ("responses", "representation", "rewind"):
        rows += [(f"{family}_time", layer, time, time, time) for layer, time in spans.items()]
        rows += [(f"{family}_slope", None, 0.9, 0.8, 1.0)]
        rows += [(f"{family}_slope_above_first", None, -0.05, -0.2, 0.1)]
    told = tell_order(table_of(rows, list(spans)), [], SettlingOptions())
    assert told.figures["verdict"] == "holds", "the rule is of all layers"
    assert "settle first? In part, of this run only, one seed" in told.sentence
    assert "Without conv1: responses -0.05 [-0.20, +0.10] (a slope of unsure sign)" in told.sentence
    rising = [
        (*row[:2], 0.1, 0.05, 0.15) if row[0].endswith("above_first") else row for row in rows
    ]
    rising = [row for row in rising if row[1] != "conv4"]
    assert (
        "settle first? Yes"
        in tell_order(table_of(rising, ["conv1", "conv2", "conv3"]), [], SettlingOptions()).sentence
    )
