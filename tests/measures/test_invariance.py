"""Distances under changes of images against loops in double precision; what is refused."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from tests.measures.held import measured_of
from zfjax.errors import ZfjaxError
from zfjax.inputs import open_data
from zfjax.measures.curves_of_changes import linearity, of_layer, of_output
from zfjax.measures.distances import Compared
from zfjax.measures.invariance import MEASURE, Options, images_for
from zfjax.measures.jackknife import jackknifed, jackknifed_in_groups, mean_of, means_without
from zfjax.measures.protocol import Looked
from zfjax.measures.warping import mean_view, warped
from zfjax.run.folder import load_run
from zfjax.subject import images_of, subject_of

SMALL = {"images": 5, "translation_points": 5, "scale_points": 3, "rotation_points": 3, "drawn": 2}


@pytest.fixture(scope="module")
def run(unbroken):
    return load_run(unbroken)


@pytest.fixture(scope="module")
def subject(run):
    dataset = open_data(run.config)
    whole = subject_of(run, images_of(run.config, dataset, run.config.data.train_split))
    return dataclasses.replace(whole, steps=run.steps[-2:], epochs=whole.epochs[-2:])


@pytest.fixture(scope="module")
def measured(run, subject):
    return measured_of(MEASURE, subject, run, **SMALL)


def expected_of(run, subject, options):
    """{layer: float64 [images, changes, features]}, probabilities, features as they are."""
    looked = Looked(subject, subject.steps, tuple(subject.layers), run=run)
    chosen = images_for(looked, options)
    outside = mean_view(subject.preparation, subject.mean_image)
    parameters = subject.parameters(subject.steps[-1], whole=True)
    features, classes, own = {}, [], {}
    for view in chosen.views():
        matrices = np.stack([change.matrix((16, 16), "vertical") for change in options.changes])
        pixels = warped(np.repeat(view[None], len(matrices), axis=0), matrices, outside, "mean")
        inputs = subject.preparation.inputs(pixels, subject.mean_image)
        for name, values in subject.network.features(parameters, inputs).items():
            flat = np.float64(values).reshape(len(inputs), -1)
            features.setdefault(name, []).append(flat)
        for name, values in subject.network.features(
            parameters, subject.prepare(view[None])
        ).items():
            own.setdefault(name, []).append(np.float64(values).ravel())
        scores = np.float64(subject.scores(parameters, inputs))
        classes.append(np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True))
    return features, np.array(classes), own, chosen


def test_distances_are_those_of_loops(run, subject, measured):
    table, _ = measured
    options, last = Options(**SMALL), subject.steps[-1]
    features, classes, own, chosen = expected_of(run, subject, options)
    assert list(features) == ["conv1", "conv2", "fc3"]
    for name, by_image in features.items():
        for column, change in enumerate(options.changes):
            l2, relative, cosine = [], [], []
            for image, base in zip(by_image, own[name], strict=True):
                l2.append(math.sqrt(sum((image[column] - base) ** 2)))
                relative.append(l2[-1] / math.sqrt(sum(base**2)))
                dot = sum(image[column] * base) / math.sqrt(sum(base**2) * sum(image[column] ** 2))
                cosine.append(1 - dot)
            for what, values in (("l2", l2), ("relative", relative), ("cosine", cosine)):
                quantity = f"{what}_{change.name}"
                value = table.of_layer(quantity, name)[last]
                assert value == pytest.approx(np.mean(values), rel=1e-3, abs=2e-5)
                if change.extent == 0:
                    assert value == 0  # the same way through the network: exactly
                    continue
                reach = stats.t.ppf(0.975, 4) * np.std(values, ddof=1) / math.sqrt(5)
                low, high = table.bounds(quantity, name)[last]
                assert (high - low) / 2 == pytest.approx(reach, rel=1e-3, abs=2e-5)
    for column, change in enumerate(options.changes):
        truth = [classes[row, column, chosen.labels[row]] for row in range(5)]
        value = table.of_layer(f"probability_{change.name}", None)[last]
        assert value == pytest.approx(np.mean(truth), rel=1e-4)
        stays = [classes[r, column].argmax() == classes[r, 2].argmax() for r in range(5)]
        assert table.of_layer(f"same_class_{change.name}", None)[last] == np.mean(stays)
    assert table.of_layer("same_class_rotation_0", None)[last] == 1
    own_rows = [2, 5, 8]  # the changes that change nothing
    assert [options.changes[row].extent for row in own_rows] == [0, 0, 0]
    base = np.array([classes[row, 2, chosen.labels[row]] for row in range(5)])
    after = [classes[row, [9, 10], chosen.labels[row]].mean() for row in range(5)]
    drop = table.of_layer("drop_rotation", None)[last]
    assert drop == pytest.approx((base - after).mean(), abs=1e-5)


def test_pairs_are_of_different_images_each_once(run, subject, measured):
    table, _ = measured
    _, _, own, _ = expected_of(run, subject, Options(**SMALL))
    every = {
        (i, j): np.linalg.norm(own["conv2"][i] - own["conv2"][j])
        for i in range(5)
        for j in range(i + 1, 5)
    }  # five images: two neighbours each, all ten pairs
    mean = table.of_layer("pair_l2", "conv2")[subject.steps[-1]]
    assert mean == pytest.approx(np.mean(list(every.values())), rel=1e-5)


def made_up(images=6, changes=15, seed=0):
    generator = np.random.default_rng(seed)
    pairs = np.array([(i, (i + k) % images) for i in range(images) for k in (1, 2)])
    return Compared(
        l2={name: generator.uniform(1, 2, (images, changes)) for name in ("a", "b")},
        cosine={name: generator.uniform(0, 1, (images, changes)) for name in ("a", "b")},
        length={name: generator.uniform(1, 2, images) for name in ("a", "b")},
        pairs=pairs,
        pair_l2={name: generator.uniform(2, 3, len(pairs)) for name in ("a", "b")},
        classes=None,
    )


def without(compared, image):
    """The same as if that image had never been there."""
    kept = [i for i in range(len(compared.length["a"])) if i != image]
    pairs = [row for row, pair in enumerate(compared.pairs) if image not in pair]
    numbers = {old: new for new, old in enumerate(kept)}
    return Compared(
        *(
            {name: values[kept] for name, values in each.items()}
            for each in (compared.l2, compared.cosine, compared.length)
        ),
        np.array([[numbers[i] for i in compared.pairs[row]] for row in pairs]),
        {name: values[pairs] for name, values in compared.pair_l2.items()},
        None,
    )


def test_intervals_leave_out_each_image_with_its_pairs():
    options = Options(translation_points=7, scale_points=4, rotation_points=4)
    compared = made_up()
    curves = {name: of_layer(compared, name, options.changes) for name in "ab"}
    fewer = [without(compared, image) for image in range(6)]
    again = [{name: of_layer(each, name, options.changes) for name in "ab"} for each in fewer]
    for quantity in ("normalised_scale_1.8", "small_translation", "mean_rotation", "pair_l2"):
        own = curves["a"].estimates[quantity]
        left = np.array([each["a"].estimates[quantity].value for each in again])
        error = math.sqrt(5 / 6 * ((left - left.mean()) ** 2).sum())
        assert own.high - own.value == pytest.approx(stats.t.ppf(0.975, 5) * error)
    gap = curves["a"].gaps_to(curves["b"])["small_gap_translation"]
    values = [each["a"].gaps_to(each["b"])["small_gap_translation"].value for each in again]
    error = math.sqrt(5 / 6 * ((values - np.mean(values)) ** 2).sum())
    assert gap.high - gap.value == pytest.approx(stats.t.ppf(0.975, 5) * error)
    # By loops: the smallest translations are the two beside the middle one.
    pair = np.mean(compared.pair_l2["a"])
    small = np.mean([compared.l2["a"][:, 2].mean(), compared.l2["a"][:, 4].mean()]) / pair
    assert curves["a"].estimates["small_translation"].value == pytest.approx(small)
    assert "linearity_rotation" not in curves["a"].estimates


def test_how_straight_a_curve_is():
    extents = np.array([3.0, 2, 1, 0, 1, 2, 3])
    assert linearity(2 * extents, extents) == pytest.approx(1)
    jump = np.array([1.0, 1, 1, 0, 1, 1, 1])
    slope = sum(extents * jump) / sum(extents**2)
    left = sum((jump - slope * extents) ** 2)
    assert linearity(jump, extents) == pytest.approx(1 - left / sum((jump - 6 / 7) ** 2))
    falling = np.array([0.5, 1, 2, 0, 2, 1, 0.5])
    assert linearity(falling, extents) < 0 and np.isnan(linearity(0 * extents, extents))


def test_means_over_images_are_the_usual_ones():
    values = np.array([1.0, 4, 2, np.nan, 8])
    own = mean_of(values)
    known = values[np.isfinite(values)]
    ends = stats.t.interval(0.95, 3, known.mean(), stats.sem(known))
    assert (own.value, own.n) == (3.75, 4) and (own.low, own.high) == pytest.approx(ends)
    assert math.isnan(mean_of(values[3:4]).value) and math.isnan(mean_of(values[:1]).low)
    groups = [known[:2], known[2:]]
    grouped = jackknifed_in_groups(
        3.75, [known.mean() + (known.mean() - group) / 3 for group in groups]
    )
    error = sum(1 / 2 * ((group - group.mean()) ** 2).sum() / 9 for group in groups)
    assert grouped.high - 3.75 == pytest.approx(stats.t.ppf(0.975, 2) * math.sqrt(error))
    np.testing.assert_allclose(means_without(known), [(15 - value) / 3 for value in known])
    assert jackknifed(1.0, np.ones(1)).n == 1


def test_without_scores_or_labels_it_says_so(run, subject, measured):
    _, told = measured
    assert "probability of the true class" in told.sentence and len(told.lines) == 4
    assert set(told.files) == {"invariance-layers.png"} and told.chart is not None
    bare = dataclasses.replace(subject, scores=None, steps=subject.steps[:1], epochs=(1.0,))
    table, told = measured_of(MEASURE, bare, run, **SMALL)
    assert not [name for name in table.quantities() if "class" in name or "probab" in name]
    assert "no class scores, so no probabilities" in told.sentence
    classes = np.full((3, 5, 4), 0.25)
    changes = Options(translation_points=3).changes[:4]
    no_label = of_output(classes, np.array([-1, -1, -1]), changes).estimates
    assert no_label and not [name for name in no_label if "probability" in name]


def test_features_that_are_not_finite_are_undefined(run, subject):
    def load(step, names):
        tree = subject.load(step, names)
        kernel = np.full_like(tree["conv2"]["kernel"], np.nan)
        return {**tree, "conv2": {**tree["conv2"], "kernel": kernel}}

    diverged = dataclasses.replace(
        subject, load=load, steps=subject.steps[:1], epochs=subject.epochs[:1]
    )
    table, told = measured_of(MEASURE, diverged, run, **SMALL)
    assert math.isnan(table.of_layer("l2_scale_1.8", "conv2")[diverged.steps[0]])
    assert not math.isnan(table.of_layer("l2_scale_1.8", "conv1")[diverged.steps[0]])
    assert "nan" not in told.sentence


@pytest.mark.parametrize(
    "wrong",
    [
        *({"images": 2}, {"drawn": 0}, {"translation": 0.0}, {"scale": 1.0}, {"rotation": 721.0}),
        *({"translation_points": 4}, {"rotation_points": 2}, {"scale": -2.0}, {"scale": 0.001}),
    ],
    ids=str,
)
def test_options_that_make_no_sense(wrong):
    flag = next(iter(wrong)).replace("_", "-")
    with pytest.raises(ZfjaxError, match=f"--invariance.{flag} .* must be"):
        Options(**wrong)


def test_a_split_that_is_not_there_or_too_small(run, subject):
    looked = Looked(subject, subject.steps, ("conv1",), run=run)
    with pytest.raises(ZfjaxError, match="nothing"):
        images_for(looked, Options(split="nothing"))
    few = dataclasses.replace(looked, subject=dataclasses.replace(subject, images=Few()))
    with pytest.raises(ZfjaxError, match="--invariance.images 50: split .* 2 images to take, and"):
        images_for(few, Options(split="all"))
    assert images_for(looked, Options(images=4)).images.split == "validation"


class Few:
    """Two images in memory, as ``images_for`` asks of them."""

    name, split, count, view_size = "few", "all", 2, (16, 16)

    def of_split(self, split):
        return self

    def describe(self, ids):
        return [(0, "") for _ in ids]
