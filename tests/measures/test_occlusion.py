"""Occlusion as a measure: its numbers from loops of another kind, its panels, its refusals."""

import dataclasses
import functools
import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image
from scipy import stats

import zfjax
from tests.network import linen_nets
from tests.small import ARCHITECTURE
from tests.test_foreign_looks import Net
from zfjax.commands.cli import main
from zfjax.data.dataset import open_dataset
from zfjax.data.images import view_of_file
from zfjax.errors import ZfjaxError
from zfjax.features.occluding import map_projections
from zfjax.inputs import central_crop
from zfjax.measures.agreeing import agreements, interval_over_images, pooled
from zfjax.measures.choosing import read_flags, with_options
from zfjax.measures.occlusion import MEASURE, Asked, OcclusionOptions, asked_of, filling_of
from zfjax.measures.occlusion_figure import class_name, diverging, over_image
from zfjax.measures.occlusion_words import tell
from zfjax.measures.protocol import Looked
from zfjax.network.model import class_scores, feature_maps
from zfjax.report.kit import style
from zfjax.run import checkpoint
from zfjax.run.folder import load_run
from zfjax.run.measured import open_measured
from zfjax.subject import network_of

OPTIONS = {"size": 5, "stride": 3, "count": 3, "maps": 3}


# ---- agreement


def test_agreement_is_the_mean_correlation_with_the_own_and_with_other_maps():
    generator = np.random.default_rng(0)
    energies, drops = generator.normal(size=(2, 4, 5, 6))
    drops[1] = 0.3 * drops[1] + energies[1]
    for name, correlate in (("spearman", stats.spearmanr), ("pearson", stats.pearsonr)):
        table = np.array(
            [[correlate(energy.ravel(), drop.ravel())[0] for drop in drops] for energy in energies]
        )
        agreement = agreements(energies, drops)[name]
        assert agreement.own == pytest.approx(np.mean([table[m, m] for m in range(4)]))
        others = [np.mean([table[k, m] for k in range(4) if k != m]) for m in range(4)]
        assert agreement.swapped == pytest.approx(np.mean(others))
        assert agreement.excess == pytest.approx(agreement.own - agreement.swapped)


def test_what_agrees_wholly_and_what_has_no_agreement():
    energies = np.random.default_rng(1).normal(size=(3, 4, 4))
    whole = agreements(energies, 2 * energies + 1)
    assert whole["spearman"].own == whole["pearson"].own == pytest.approx(1)
    one = agreements(np.stack([energies[0]] * 2), np.stack([energies[1]] * 2))
    assert one["pearson"].excess == pytest.approx(0), "the same map twice is no map's own"
    drops = energies.copy()
    drops[2] = 7
    left = agreements(energies, drops)["pearson"]
    assert left.own == pytest.approx(1), "a map that nothing lowers stays out"
    alone = agreements(energies[:1], energies[:1])["spearman"]
    assert np.isnan(alone.own) and np.isnan(alone.excess), "there is no other map"
    assert np.isnan(agreements(energies, np.zeros_like(energies))["spearman"].own)


def test_a_projection_is_pooled_as_the_square_lies():
    tiles = np.random.default_rng(2).normal(size=(2, 9, 11, 3)).astype(np.float32)
    rows, columns = np.array([0, 3, 5]), np.array([0, 2, 7])
    result = pooled(tiles, rows, columns, 4)
    for map_, tile in enumerate(tiles):
        for i, y in enumerate(rows):
            for j, x in enumerate(columns):
                under = np.abs(tile[y : y + 4, x : x + 4]).sum() / 16
                assert result[map_, i, j] == pytest.approx(under, rel=1e-5)


def test_the_interval_is_students_over_the_images_that_have_a_value():
    values = np.array([0.1, np.nan, 0.5, 0.4])
    mean, low, high, n = interval_over_images(values)
    expected = stats.ttest_1samp([0.1, 0.5, 0.4], 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert mean == pytest.approx(1 / 3) and n == 3
    mean, low, high, n = interval_over_images(np.array([0.2]))
    assert mean == 0.2 and n == 1 and np.isnan(low) and np.isnan(high)
    assert interval_over_images(np.array([np.nan]))[3] == 0


# ---- pictures


def test_what_rises_has_another_colour_than_what_falls():
    picture = diverging(np.array([[0.0, 0.5, 0.75, 1.0]]), 0.5)
    falls, same, little, rises = picture[0].astype(int)
    assert (same == 255).all()
    assert falls[2] > falls[0] + 60 and rises[0] > rises[2] + 60
    assert ((rises < little) & (little <= 255)).all()
    assert (diverging(np.full((2, 2), 0.3), 0.3) == 255).all()


def test_a_pixel_shows_the_position_whose_middle_is_nearest():
    noted = {"rows": [0, 3, 6], "columns": [0, 5], "size": 4}
    values = np.arange(6).reshape(3, 2)
    picture = over_image(values, noted, (10, 9))
    assert picture.shape == (10, 9)
    for y in range(10):
        for x in range(9):
            row = min(range(3), key=lambda i: (abs(y - noted["rows"][i] - 1.5), i))
            column = min(range(2), key=lambda j: (abs(x - noted["columns"][j] - 1.5), j))
            assert picture[y, x] == values[row, column], (y, x)


# ---- a run


@pytest.fixture(scope="module")
def run(tmp_path_factory, unbroken):
    folder = tmp_path_factory.mktemp("occlusion") / "run"
    shutil.copytree(unbroken, folder)
    return load_run(folder)


@pytest.fixture(scope="module")
def measured(run):
    return zfjax.measure(run, "occlusion", at=["1", "last"], **OPTIONS)


def whole_passes(parameters, images):
    maps = feature_maps(ARCHITECTURE, parameters, images)
    scores = class_scores(ARCHITECTURE, parameters, images, precision=jax.lax.Precision.HIGHEST)
    return {name: maps[name].sum((1, 2)) for name in ("conv1", "conv2")}, jax.nn.softmax(scores)


def by_hand(run, step, seen):
    """(spearman's own and swapped of each layer, the true class's probabilities, the most probable
    classes) of one image, every occluded image made and run whole.
    """
    data = open_dataset("small", run.config.data.dir)
    [example] = data.read("validation", [seen["image_id"]], (18, 18))
    image = (np.float32(central_crop(example.image, (16, 16))) - (123.7, 116.3, 103.5)) / 58
    image = image.astype(np.float32)
    images = [image]
    corners = [(y, x) for y in (0, 3, 6, 9, 11) for x in (0, 3, 6, 9, 11)]
    for y, x in corners:
        images.append(image.copy())
        images[-1][y : y + 5, x : x + 5] = 0
    parameters = checkpoint.load(run.checkpoints / str(step))
    sums, shares = jax.jit(whole_passes)(parameters, np.stack(images))
    agreed = {}
    for name, values in sums.items():
        values = np.asarray(values)
        maps = [map_ for map_ in np.argsort(-values[0], kind="stable")[:3] if values[0, map_] > 0]
        network = network_of(ARCHITECTURE)
        tiles = map_projections(network, parameters, image, name, np.array(maps))
        under = [[np.abs(t[y : y + 5, x : x + 5]).sum() for y, x in corners] for t in tiles]
        drops = [values[0, map_] - values[1:, map_] for map_ in maps]
        table = np.array([[stats.spearmanr(a, b)[0] for b in drops] for a in under])
        off = table[~np.eye(len(maps), dtype=bool)]
        agreed[name] = float(np.diag(table).mean()), float(off.mean())
    shares = np.asarray(shares)
    return agreed, shares[:, seen["label"]], shares.argmax(1)


@pytest.mark.slow
def test_numbers_are_those_of_every_occluded_image_run_whole(run, measured):
    assert measured.steps == (4, 12)
    images = measured.meta["noted"]["images"]
    assert len(images) == 3 and len({image["image_id"] for image in images}) == 3
    for step in measured.steps:
        results = [by_hand(run, step, seen) for seen in images]
        for layer in ("conv1", "conv2"):
            own = np.mean([agreed[layer][0] for agreed, _, _ in results])
            swapped = np.mean([agreed[layer][1] for agreed, _, _ in results])
            assert measured.of_layer("spearman_own", layer)[step] == pytest.approx(own, abs=2e-3)
            assert measured.of_layer("spearman_excess", layer)[step] == pytest.approx(
                own - swapped, abs=4e-3
            )
        before = [shares[0] for _, shares, _ in results]
        drop = [shares[0] - shares[1:].min() for _, shares, _ in results]
        rises = [(shares[1:] > shares[0]).mean() for _, shares, _ in results]
        changes = [(classes[1:] != classes[0]).mean() for _, _, classes in results]
        for name, values in (
            ("probability", before),
            ("probability_drop", drop),
            ("probability_rises", rises),
            ("class_changes", changes),
        ):
            value = measured.of_layer(name, None)[step]
            assert value == pytest.approx(np.mean(values), abs=1e-5), name
        ends = stats.ttest_1samp(drop, 0).confidence_interval(0.95)
        assert measured.bounds("probability_drop", None)[step] == pytest.approx(
            (ends.low, ends.high), abs=1e-5
        )


def test_a_square_shows_the_mean_grey_or_any_brightness():
    view = np.zeros((4, 5, 3), np.uint8)

    def prepared(views):
        assert views.dtype == np.uint8 and views.shape == (1, 4, 5, 3)
        return (np.float32(views) - 100) / 50

    for fill, value in (("mean", 0), ("grey", 28 / 50), ("0", -2), ("255", 155 / 50)):
        filling = filling_of(prepared, view, OcclusionOptions(fill=fill).fill)
        np.testing.assert_allclose(filling, np.full((4, 5, 3), value, np.float32), rtol=1e-6)
    assert OcclusionOptions(fill=7).fill == "7"
    with pytest.raises(ZfjaxError, match="--occlusion.fill 1.5: it is mean or grey"):
        OcclusionOptions(fill=1.5)


@pytest.mark.slow
def test_panels_and_words_are_of_the_same_numbers(run, measured):
    noted = measured.meta["noted"]
    own = noted["steps"]["12"]
    right = sum(i["label"] == o["class"] for i, o in zip(noted["images"], own, strict=True))
    assert f"over 3 images ({right} of them classified rightly)" in measured.meta["sentence"]
    assert "a square of 5 pixels moved by 3" in measured.meta["sentence"]
    one = dataclasses.replace(measured, meta=measured.meta | {"noted": noted | {"size": 1}})
    assert "a square of 1 pixel moved by 3" in tell(one, (), None).sentence
    excess = measured.of_layer("spearman_excess", "conv2")[12]
    assert f"the excess is {excess:.2f}" in measured.meta["sentence"]
    assert measured.meta["figures"]["excess"] == pytest.approx(excess)
    for name in ("occlusion-pictures.png", "occlusion-pictures-epoch1.png"):
        with Image.open(measured.folder / name) as picture:
            assert picture.size[0] == 1400
    probability = measured.pictures("probability")[12][1][..., 0]
    drops = [o["probability"] - p.min() for o, p in zip(own, probability, strict=True)]
    assert measured.of_layer("probability_drop", None)[12] == pytest.approx(
        np.mean(drops), abs=1e-3
    )
    activation = measured.pictures("activation")[12][1]
    assert activation.shape == (3, 5, 5, 1)
    again = zfjax.measure(run, "occlusion", at=["1", "last"], **OPTIONS)
    assert again.meta["created"] == measured.meta["created"], "it is there already"


@pytest.mark.slow
def test_any_image_and_epoch_and_what_has_no_label_says_so(run, tmp_path, capsys):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 50), np.uint8)).save(
        tmp_path / "a, b.png"
    )
    command = ["measure", "--workdir", str(run.folder), "occlusion", "--name", "own", "--at", "2"]
    command += ["--occlusion.image", str(tmp_path / "a, b.png"), "--occlusion.image", "1"]
    command += ["--occlusion.fill", "grey", "--occlusion.layer", "conv1", "--occlusion.stride", "5"]
    assert main(command) == 0
    assert "over 2 images" in capsys.readouterr().out
    table = load_run(run.folder)
    measured = open_measured(table.folder / "measures-own", "occlusion")
    first, second = measured.meta["noted"]["images"]
    assert (first["name"], first["label"], first["image_id"]) == ("a, b.png", -1, None)
    assert second["image_id"] == 1 and second["label"] >= 0
    assert measured.counts("probability") == 1, "of the image that has a label"
    assert measured.meta["noted"]["layer"] == "conv1"
    assert (measured.folder / "occlusion-pictures.png").exists()


@pytest.mark.slow
def test_own_files_have_the_labels_that_are_given(run, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (2, 20, 20, 3), np.uint8)
    files = [tmp_path / f"{index}.png" for index in range(2)]
    for file, own in zip(files, pixels, strict=True):
        Image.fromarray(own).save(file)
    options = {"size": 8, "stride": 8, "maps": 2, "at": ["last"]}
    images = (files[0], "1", files[1])
    two = zfjax.measure(run, "occlusion", image=images, label=(2, 0), name="two", **options)
    noted = two.meta["noted"]["images"]
    assert [image["label"] for image in (noted[0], noted[2])] == [2, 0]
    parameters = checkpoint.load(run.checkpoints / "12")
    view = central_crop(view_of_file(files[0], (18, 18)), (16, 16))
    inputs = (np.float32(view)[None] - np.float32((123.7, 116.3, 103.5))) / np.float32(58)
    _, shares = jax.jit(whole_passes)(parameters, inputs)
    [first, _, _] = two.meta["noted"]["steps"]["12"]
    assert first["probability"] == pytest.approx(float(shares[0, 2]), abs=1e-5)
    assert two.counts("probability") == 3 and "without labels" not in two.meta["sentence"]
    # Another picture under the same name is another measure.
    kept = files[0].read_bytes()
    files[0].write_bytes(files[1].read_bytes())
    again = functools.partial(zfjax.measure, run, "occlusion", image=images, name="two", **options)
    with pytest.raises(ZfjaxError, match=r"other settings \(files\)"):
        again(label=(2, 0))
    files[0].write_bytes(kept)
    assert again(label=(2, 0)).meta["created"] == two.meta["created"]
    with pytest.raises(ZfjaxError, match="0.png twice"):
        zfjax.measure(run, "occlusion", image=(files[0], files[0]), name="bad", **options)
    for label, says in (
        (("none such",), "'none such': the network has no such class"),
        ((99,), "'99': the network has no such class"),
        ((0, 1, 2), "names 3 classes for 2 image files"),
    ):
        with pytest.raises(ZfjaxError, match=says):
            zfjax.measure(run, "occlusion", image=images, label=label, name="bad", **options)
    with pytest.raises(ZfjaxError, match="names 1 class for 0 image files"):
        zfjax.measure(run, "occlusion", image=(1,), label=0, name="bad", **options)
    with pytest.raises(ZfjaxError, match="name them with --occlusion.image"):
        OcclusionOptions(label="0")


@pytest.mark.slow
def test_what_was_measured_before_an_option_came_still_stands(run, measured):
    path = measured.folder / "occlusion.json"
    kept = path.read_text()
    record = json.loads(kept)
    del record["asked"]["options"]["label"]
    path.write_text(json.dumps(record))
    try:
        again = zfjax.measure(run, "occlusion", at=["1", "last"], **OPTIONS)
        assert again.meta["created"] == measured.meta["created"]
        with pytest.raises(ZfjaxError, match="other settings"):
            other = {**OPTIONS, "size": 6}
            zfjax.measure(run, "occlusion", at=["1", "last"], **other)
    finally:
        path.write_text(kept)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("size", "17"), "--occlusion.size 17: the network's input is 16x16 pixels; give 16"),
        (("size", "0"), "--occlusion.size 0 must be 1 or more"),
        (("stride", "0"), "--occlusion.stride 0 must be 1 or more"),
        (("stride", "-2"), "--occlusion.stride -2 must be 1 or more"),
        (("batch", "0"), "--occlusion.batch 0 must be 1 or more"),
        (("maps", "1"), "--occlusion.maps 1 must be 2 or more"),
        (("count", "0"), "--occlusion.count 0 must be 1 or more"),
        (("size", "x"), "expected a whole number"),
        (("fill", "black"), "it is mean or grey, or a whole number from 0"),
        (("fill", "256"), "it is mean or grey, or a whole number from 0"),
        (("layer", "conv9"), "has no convolution 'conv9'"),
        (("split", "nowhere"), "nowhere"),
        (("image", "absent.jpg"), "absent.jpg"),
        (("image", "12"), "split 'validation' of small has images 0 to 11"),
        (("image", "-1"), "has images 0 to 11"),
        (("image", __file__), "is not an image"),
        (("image", "."), "irectory"),
        (("image", ""), "--occlusion.image has an empty name"),
        (("image", "1,"), "--occlusion.image has an empty name"),
        (("image", "3,1,3"), "--occlusion.image names 3 twice"),
        (("image", "--5"), "--5"),
    ],
)
def test_what_cannot_be_occluded_is_one_sentence(run, capsys, flags, says):
    name, value = flags
    command = ["measure", "--workdir", str(run.folder), "occlusion", "--name", "bad"]
    assert main([*command, f"--occlusion.{name}={value}"]) == 1
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error
    assert not (run.folder / "measures-bad").exists(), "refused before anything is written"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["evolve", "--measure", "occlusion", "--occlusion.image", "12"], "has images 0 to 11"),
        (["measure", "probes", "--probes.split", "nowhere"], "no split 'nowhere'"),
        (["measure", "rewind", "--rewind.split", "nowhere"], "no split 'nowhere'"),
        (["measure", "correspondence", "--correspondence.parts="], "parts is empty"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_run(run, capsys, words, says):
    """Riding along with an evolution too, of the validation split as without it."""
    assert main([*words, "--workdir", str(run.folder), "--at", "last", "--name", "bad"]) == 1
    assert says in capsys.readouterr().err
    assert not list(run.folder.glob("*-bad"))


def test_a_flag_of_several_values_may_come_several_times():
    flags = ["--occlusion.image", "a,b.png", "--occlusion.image", "3", "--occlusion.size", "4"]
    flags += ["--occlusion.size", "5"]
    texts = read_flags([MEASURE], flags)["occlusion"]
    assert texts == {"image": ["a,b.png", "3"], "size": "5"}
    assert with_options(MEASURE, texts).image == ("a,b.png", "3")
    assert with_options(MEASURE, {"image": "a,3"}).image == ("a", "3")
    assert OcclusionOptions(image=(3, 4)).image == ("3", "4")
    assert OcclusionOptions(image="a.png").image == ("a.png",)


# ---- anyone's network


def branched(steps=(0, 1), **more):
    trees = {step: linen_nets.drawn(Net(), (16, 16), seed=step) for step in steps}
    pixels = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), np.uint8)
    images = [(pixel, index % 3) for index, pixel in enumerate(pixels)]
    how = {"model": Net(), "images": images, "mean": 120, "std": 60, "input": 16}
    return trees, pixels, zfjax.subject_from(trees, **{**how, **more})


@pytest.mark.slow
def test_a_network_with_branches_is_run_whole(tmp_path):
    trees, pixels, subject = branched()
    options = {"image": (4,), "size": 6, "stride": 5, "at": ["last"]}
    measured = zfjax.measure(subject, "occlusion", out=tmp_path, **options)
    inputs = (np.float32(pixels[4]) - 120) / 60
    images = [inputs]
    for y in (0, 5, 10):
        for x in (0, 5, 10):
            images.append(inputs.copy())
            images[-1][y : y + 6, x : x + 6] = 0
    scores = Net().apply(trees[1], np.stack(images))
    shares = np.asarray(jax.nn.softmax(scores))[:, 4 % 3]
    drop = measured.of_layer("probability_drop", None)[1]
    assert drop == pytest.approx(shares[0] - shares[1:].min(), abs=1e-5)
    assert (tmp_path / "measures" / "occlusion-pictures.png").exists()
    assert set(measured.layers) == set(subject.layers)


def test_what_has_no_scores_or_costs_much_is_said_at_the_door(tmp_path):
    _, _, subject = branched()
    looked = Looked(subject, subject.steps, tuple(subject.layers))
    asked = asked_of(looked, OcclusionOptions())
    assert isinstance(asked, Asked) and asked.steps == (0, 1)
    assert asked_of(looked, OcclusionOptions(epochs="last")).steps == (1,)
    much = OcclusionOptions(size=1, stride=1, count=10**7)
    assert asked_of(looked, much).steps == (1,), "what takes long is measured at the last epoch"
    assert asked_of(
        looked, OcclusionOptions(size=1, stride=1, count=10**7, epochs="all")
    ).steps == (0, 1)
    mute = dataclasses.replace(subject, scores=None)
    with pytest.raises(ZfjaxError, match="The measure occlusion needs class scores"):
        zfjax.measure(mute, "occlusion", out=tmp_path)


def test_a_classs_name_stays_under_its_panel():
    names = ["crane, bird", "crane, machine", "koala, koala bear", "W" * 30, "a\nb"]
    with style.quiet_style():
        told = [class_name(number, names, 257) for number in range(6)]
        assert all(style.text_width(name, style.TEXT_SIZE - 1.4) <= 257 for name in told)
    assert told[:3] == ["crane, bird", "crane, machine", "koala"]
    assert told[3][:5] == "WWWWW" and told[3][-1] == "…" and told[4:] == ["a b", "class 5"]
