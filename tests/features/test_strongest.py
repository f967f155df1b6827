"""The one-pass search against brute force: ties, paddings, merges, bins and samples."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zfjax.errors import ZfjaxError
from zfjax.features import statistics, strongest
from zfjax.features.asking import Request
from zfjax.network.architecture import Architecture, Conv, Dense, Norm, Pool
from zfjax.network.model import feature_maps, kernel_shapes
from zfjax.subject import Subject, network_of

pytestmark = pytest.mark.slow

NET = Architecture(
    "searched",
    (12, 10),
    (
        Conv("conv1", 4, 3, 2, (1, 0)),
        Norm("norm1"),
        Pool("pool1", 2, 2),
        Conv("conv2", 3, 2, 1),
        Dense("fc3", 2),
    ),
)
LAYERS, MAPS, K, STEPS = ("conv1", "conv2"), 7, 4, 3
IDS = np.array([40, 3, 17, 8, 2**31 + 5, 21, 5, 900_000, 12, 33, 0, 7, 64])
"""Not in order and not dense: an id is a name, not a row."""


@pytest.fixture(scope="module")
def pictures():
    generator = np.random.default_rng(1)
    found = {
        image_id: generator.integers(0, 256, (12, 10, 3), np.uint8) for image_id in IDS.tolist()
    }
    for group in ((3, 33, 40), (5, 900_000)):  # the same picture under several ids: ties
        for image_id in group:
            found[image_id] = found[group[0]]
    return found


@pytest.fixture(scope="module")
def checkpoints():
    generator = np.random.default_rng(2)
    found = []
    for _ in range(STEPS):
        tree = {}
        for name, shape in kernel_shapes(NET).items():
            kernel = generator.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape).astype(np.float32)
            tree[name] = {
                "kernel": kernel,
                "bias": generator.normal(0, 0.3, shape[-1]).astype(np.float32),
            }
        tree["conv1"]["bias"][0] = -50  # a dead map
        tree["conv2"]["bias"][1] = -2.3  # silent on some images
        found.append({name: tree[name] for name in LAYERS})
    return found


@dataclasses.dataclass(frozen=True)
class Halved:
    """A preparation of our own: what is not zfjax's is one more value of this kind."""

    def inputs(self, views, mean_image):
        return prepare(views)


@dataclasses.dataclass(frozen=True)
class Broken:
    """Gives the second image of any batch no finite pixel."""

    def inputs(self, views, mean_image):
        noise = np.random.default_rng(0).normal(size=(2, 12, 10, 3)).astype(np.float32)
        noise[1] = np.nan
        return jnp.asarray(noise)


def prepare(views):
    return views.astype(jnp.float32) / 64 - 2


def subject_on(checkpoints, steps, preparation=Halved()):  # noqa: B008 (frozen)
    """These parameters at these steps, to look at; no run, no data set."""
    return Subject(
        network=network_of(NET),
        steps=steps,
        epochs=tuple(float(step) for step in steps),
        load=lambda step, names: checkpoints[steps.index(step)],
        find_steps=lambda words: steps,
        preparation=preparation,
    )


def request_of(steps, layers=LAYERS, k=K, seed=0):
    return Request(steps, layers, None, k, "train", len(IDS), "deconvnet", seed=seed)


def batches(pictures, ids, size):
    """The last batch is padded with a picture brighter than all and the id of a real image, both of
    weight 0."""
    for start in range(0, len(ids), size):
        some = [int(image_id) for image_id in ids[start : start + size]]
        padding = size - len(some)
        bright = np.full((padding, 12, 10, 3), 255, np.uint8)
        yield {
            "image": np.concatenate([np.stack([pictures[image_id] for image_id in some]), bright]),
            "image_id": np.array(some + [3] * padding, np.int64),
            "weight": np.array([1] * len(some) + [0] * padding, np.float32),
        }


@pytest.fixture(scope="module")
def run(pictures, checkpoints):
    def search(ids=IDS, size=5, **options):
        chosen = options.pop("checkpoints", checkpoints)
        steps = options.pop("steps", tuple(range(len(chosen))))
        asked = {name: options.pop(name) for name in ("layers", "k", "seed") if name in options}
        lanes = strongest.Lanes(width=options.pop("width", 1))
        return strongest.search(
            subject_on(chosen, steps),
            request_of(steps, **asked),
            batches(pictures, ids, size),
            lanes=lanes,
            **options,
        )

    return search


@pytest.fixture(scope="module")
def maxima(pictures, checkpoints):
    """{id: float32 [steps, maps]}, one image at a time."""
    found = {}
    for image_id, pixels in pictures.items():
        rows = [feature_maps(NET, one, prepare(jnp.asarray(pixels[None]))) for one in checkpoints]
        found[image_id] = np.stack(
            [
                np.concatenate([np.asarray(row[layer])[0].max(axis=(0, 1)) for layer in LAYERS])
                for row in rows
            ]
        )
    return found


def assert_same(one, other):
    for name, value in statistics.statistics_arrays(one).items():
        np.testing.assert_allclose(getattr(other, name), value, rtol=1e-6, err_msg=name)


def copied(gathered):
    arrays = statistics.statistics_arrays(gathered)
    return statistics.Statistics(**{name: value.copy() for name, value in arrays.items()})


def assert_brute_force(found, maxima, ids, k=K):
    silent = 0
    for step, map_ in np.ndindex(STEPS, MAPS):
        values = {int(image_id): float(maxima[image_id][step, map_]) for image_id in ids.tolist()}
        strong = sorted(values, key=lambda image_id: (-values[image_id], image_id))[:k]
        weak = sorted(
            (i for i in values if values[i] > 0), key=lambda image_id: (values[image_id], image_id)
        )[:k]
        silent += len([i for i in values if values[i] == 0])
        for kind, chosen, empty in (("top", strong, -np.inf), ("low", weak, np.inf)):
            names = getattr(found, f"{kind}_id")[step, :, map_].tolist()
            assert names == chosen + [-1] * (k - len(chosen))
            expected = [values[image_id] for image_id in chosen] + [empty] * (k - len(chosen))
            np.testing.assert_allclose(
                getattr(found, f"{kind}_value")[step, :, map_], expected, rtol=1e-6
            )
        assert found.histogram[step, map_].sum() == len(ids)
        assert found.histogram[step, map_, 0] == len([i for i in values if values[i] == 0])
    assert silent > len(ids)
    assert found.images == len(ids)
    assert_followed(found, maxima)


def assert_followed(found, maxima):
    """The last step's winners through all steps: their maxima, and the place that the ranking has
    where they are ranked."""
    ranked = 0
    for step, map_ in np.ndindex(STEPS, MAPS):
        winner = int(found.top_id[-1, 0, map_])
        assert found.fixed_id[step, map_] == winner
        expected = float(maxima[winner][step, map_])
        assert found.fixed_value[step, map_] == pytest.approx(expected, rel=1e-6)
        for rank in np.flatnonzero(found.top_id[step, :, map_] == winner):
            assert found.fixed_place[step, map_] == found.top_place[step, rank, map_]
            ranked += 1
    assert MAPS < ranked


@pytest.mark.parametrize("size", [1, 3, 7])
def test_search_is_brute_force_for_any_batches_and_order(run, maxima, size):
    assert_brute_force(run(np.random.default_rng(size).permutation(IDS), size), maxima, IDS)


def test_fewer_images_than_places_leave_places_empty(run, maxima):
    few = IDS[:3]
    assert_brute_force(run(few, 7, k=5), maxima, few, k=5)


def test_two_at_a_time_with_one_left_over_equals_one_at_a_time(run):
    one, two = run(size=7), run(size=7, width=2)
    assert_same(one, two)
    np.testing.assert_array_equal(one.top_id, two.top_id)


def test_layers_stand_side_by_side_in_the_order_asked_for(run):
    both, upper = run(size=7), run(size=7, layers=("conv2",))
    np.testing.assert_array_equal(upper.top_id, both.top_id[:, :, 4:])
    turned = run(size=7, layers=("conv2", "conv1"))
    np.testing.assert_array_equal(turned.low_id, np.roll(both.low_id, 3, axis=2))


def test_merging_is_exact_in_any_grouping_and_nothing_is_neutral(run):
    whole = run(size=7)
    a, b, c = run(IDS[:4], 3), run(IDS[4:9], 3), run(IDS[9:], 3)
    merge, nothing = statistics.merge, statistics.empty_statistics(STEPS, MAPS, K)
    for other in (merge(merge(a, b), c), merge(c, merge(b, a)), merge(merge(c, a), b)):
        assert_same(whole, other)
        np.testing.assert_array_equal(whole.top_id, other.top_id)
    for other in (merge(nothing, whole), merge(whole, nothing)):
        assert_same(whole, other)
    assert nothing.images == 0


def test_a_stopped_search_goes_on_where_it_was(run):
    whole = run(size=3)
    seen, kept = [], []

    def stop(gathered, images):
        seen.append(images)
        if len(seen) == 2:
            kept.append(copied(gathered))

    run(size=3, after_batch=stop)
    assert seen == [3, 3, 3, 3, 1]
    assert kept[0].images == 6
    assert_same(whole, run(IDS[6:], 3, state=kept[0]))


def test_bins_are_quarter_octaves_between_edges():
    edges = (
        2.0**-16
        * np.array([2.0**octave * (1 + part / 4) for octave in range(32) for part in range(4)])[:-1]
    )
    values = np.concatenate([edges, edges * 1.06, np.float32([0, -3, 1e-30, 3e38])]).astype(
        np.float32
    )
    for value, found in zip(values, statistics.bin_of(values), strict=True):
        if value <= 0:
            assert found == 0
        else:
            below = np.searchsorted(edges, value, side="right")  # edges no larger than the value
            assert found == np.clip(below, 1, statistics.BINS - 1)
    ordered = statistics.bin_of(np.sort(values))
    assert (np.diff(ordered) >= 0).all() and ordered[0] == 0 and ordered[-1] == statistics.BINS - 1


def test_histogram_counts_are_the_bins_of_the_top_values(run, maxima):
    found = run(k=len(IDS), size=16)  # every image has its place
    assert_brute_force(found, maxima, IDS, k=len(IDS))
    for step, map_ in np.ndindex(STEPS, MAPS):
        bins = statistics.bin_of(found.top_value[step, :, map_])
        counts = np.bincount(bins, minlength=statistics.BINS)
        np.testing.assert_array_equal(found.histogram[step, map_], counts)


def test_samples_are_of_their_bin_name_their_image_and_depend_on_the_seed_alone(run, maxima):
    one, other = run(size=7, seed=4), run(IDS[::-1], 3, seed=4)
    np.testing.assert_array_equal(one.sample_priority, other.sample_priority)
    names = {}
    for quantile in (0.01, 0.25, 0.5, 0.75, 1.0):
        for step in range(STEPS):
            values, ids = statistics.quantile_samples(one, step, quantile, seed=4)
            names[quantile, step] = ids
            for map_ in range(MAPS):
                ranked = sorted(float(maxima[i][step, map_]) for i in IDS.tolist())
                wanted = ranked[max(int(np.ceil(quantile * len(IDS))), 1) - 1]
                if wanted == 0:
                    assert ids[map_] == -1 and values[map_] == 0
                else:
                    assert ids[map_] in IDS
                    assert values[map_] == pytest.approx(
                        float(maxima[int(ids[map_])][step, map_]), rel=1e-6
                    )
                    assert statistics.bin_of(values[map_]) == statistics.bin_of(np.float32(wanted))
    assert (names[1.0, 0][0], names[0.5, 1][0]) == (-1, -1)  # the dead map
    seeds = [statistics.quantile_samples(run(size=7, seed=s), 0, 1.0, seed=s)[1] for s in range(4)]
    assert all((ids[1:] >= 0).any() for ids in seeds)


def test_the_scrambling_of_ids_is_one_to_one():
    ids = np.concatenate([np.arange(5000), 2**32 - 1 - np.arange(5000)]).astype(np.uint32)
    for seed in (0, 1, 12345, 2**31):
        mixed = statistics.priorities_of(ids, seed)
        assert len(np.unique(mixed)) == len(ids)
        np.testing.assert_array_equal(statistics.ids_of(mixed, seed), ids)
        assert abs(mixed.astype(float).mean() / 2**32 - 0.5) < 0.02


@pytest.mark.parametrize(
    ("layer", "value", "width"),
    [("conv1", np.nan, 1), ("conv1", np.inf, 1), ("conv1", np.nan, 2), ("conv2", np.nan, 1)],
)
def test_parameters_that_are_not_finite_name_step_and_image(run, checkpoints, layer, value, width):
    broken = jax.tree.map(np.copy, checkpoints[1])
    broken[layer]["bias"][2] = value
    with pytest.raises(
        ZfjaxError, match="Step 200 gives activations that are not finite on image 3:"
    ):
        run(
            IDS[:3],
            3,
            checkpoints=[checkpoints[0], broken, checkpoints[2]],
            steps=(100, 200, 300),
            width=width,
        )


def test_what_a_padded_row_holds_is_no_error(pictures, checkpoints):
    batch = {
        "image": np.zeros((2, 12, 10, 3), np.uint8),
        "image_id": np.array([9, 4]),
        "weight": np.array([1, 0], np.float32),
    }
    steps = tuple(range(len(checkpoints)))
    subject = subject_on(checkpoints, steps, Broken())
    found = strongest.search(subject, request_of(steps, k=2), [batch])
    assert (
        found.images == 1 and (found.top_id[:, 0] == 9).all() and (found.top_id[:, 1] == -1).all()
    )
    assert np.isfinite(found.top_value[:, 0]).all()
