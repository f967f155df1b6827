"""Sign changes against loops; boxes, and files of them; whole on drawn scenes."""

import dataclasses
import itertools
import math
from unittest import mock

import numpy as np
import pytest

from tests.measures.held import measured_of, subject_holding
from zfjax.data.dataset import open_dataset
from zfjax.data.held import HeldImages
from zfjax.data.reading import Reading
from zfjax.data.scenes import CLASSES, draw_scene, ensure_scenes
from zfjax.data.views import Images
from zfjax.errors import ZfjaxError
from zfjax.measures.choosing import with_options
from zfjax.measures.correspondence import MEASURE, Options, layers_for, signs_of
from zfjax.measures.hiding import LEAST, Wish, _numbered, hidings_of
from zfjax.measures.part_files import PartBox, boxes_in_file
from zfjax.measures.planning import Chosen, Wanted, plan_of
from zfjax.measures.protocol import Looked, Noted
from zfjax.measures.sign_changes import (
    chance_of,
    distances_of,
    exchanged_gaps,
    exchanges_of,
    hamming,
    pair_mean,
    pair_means_without,
    pair_spread,
)
from zfjax.network.architecture import Architecture, Conv, Dense
from zfjax.network.model import initial_parameters

ARCHITECTURE = Architecture(
    "small",
    (64, 64),
    (Conv("conv1", 4, 5, 4), Conv("conv2", 3, 3, 2), Dense("fc3", 6), Dense("fc4", 10)),
)


def signs(shape, seed=0, share=0.5):
    generator = np.random.default_rng(seed)
    drawn = np.sign(generator.normal(size=shape)).astype(np.int8)
    return drawn * (generator.random(shape) < share).astype(np.int8)


def test_the_same_flipped_and_random_signs():
    own = np.sign(np.random.default_rng(0).normal(size=(1, 400))).astype(np.int8)
    for zeros in (True, False):
        assert hamming(own, own, zeros=zeros) == 0 and hamming(own, -own, zeros=zeros) == 1
    many = np.sign(np.random.default_rng(1).normal(size=(30, 4000))).astype(np.int8)
    assert pair_mean(hamming(many, many)) == pytest.approx(0.5, abs=0.005)
    sparse = signs((30, 4000), 2, 0.1)
    assert pair_mean(hamming(sparse, sparse)) < 0.2
    assert pair_mean(hamming(sparse, sparse, zeros=False)) == pytest.approx(0.5, abs=0.03)
    nothing = np.zeros((2, 5), np.int8)
    assert (hamming(nothing, nothing) == 0).all()
    assert np.isnan(hamming(nothing, nothing, zeros=False)).all()


def distance(one, other, zeros):
    features = [(a, b) for a, b in zip(one, other, strict=True) if zeros or (a != 0 and b != 0)]
    return np.mean([a != b for a, b in features]) if features else np.nan


@pytest.mark.parametrize("zeros", [True, False])
def test_means_and_spreads_are_those_of_loops(zeros):
    own = signs((6, 9), 3)
    own[2] = 0
    table = hamming(own, own, zeros=zeros)
    pairs = {
        pair: distance(own[pair[0]], own[pair[1]], zeros)
        for pair in itertools.combinations(range(6), 2)
    }
    known = [value for value in pairs.values() if not math.isnan(value)]
    assert pair_mean(table) == pytest.approx(np.mean(known))
    assert pair_spread(table) == pytest.approx(np.std(known, ddof=1))
    for image in range(6):
        left = [v for pair, v in pairs.items() if image not in pair and not math.isnan(v)]
        assert pair_means_without(table)[image] == pytest.approx(np.mean(left))
    assert math.isnan(pair_mean(table[:1, :1])) and math.isnan(pair_spread(table[:2, :2]))


@pytest.mark.parametrize("zeros", [True, False])
def test_exchanges_are_those_of_renamed_images(zeros):
    part, random = signs((5, 12), 4), signs((5, 12), 5)
    which, exact = exchanges_of(5, 100, 0)
    assert exact and len(which) == 32 == len({tuple(row) for row in which.tolist()})
    assert not which[0].any()
    gaps = exchanged_gaps(distances_of(part, random, zeros=zeros), which)
    for row, gap in zip(which, gaps, strict=True):
        own = np.where(row[:, None], random, part)
        other = np.where(row[:, None], part, random)
        means = [
            np.nanmean([distance(a, b, zeros) for a, b in itertools.combinations(each, 2)])
            for each in (own, other)
        ]
        assert gap == pytest.approx(means[0] - means[1], abs=1e-6)
    assert chance_of(gaps) == np.mean(gaps <= gaps[0] + 1e-6)
    drawn, exact = exchanges_of(40, 300, 0)
    assert not exact and drawn.shape == (301, 40) and not drawn[0].any()
    assert 0.4 < drawn[1:].mean() < 0.6


def test_what_corresponds_is_seldom_chance():
    same = np.repeat(signs((1, 200), 6), 5, axis=0)
    gaps = exchanged_gaps(distances_of(same, signs((5, 200), 7)), exchanges_of(5, 0, 0)[0])
    assert chance_of(gaps) == 1 / 32 and gaps[0] < 0
    rng = np.random.default_rng(8)
    chances = []
    for _ in range(200):  # where nothing does, p is spread evenly
        table = distances_of(*(np.sign(rng.normal(size=(5, 20))).astype(np.int8) for _ in "ab"))
        chances.append(chance_of(exchanged_gaps(table, exchanges_of(5, 0, 0)[0])))
    assert np.mean(np.array(chances) <= 0.1) < 0.17 and 0.4 < np.mean(chances) < 0.62


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    name, root = ensure_scenes(tmp_path_factory.mktemp("scenes"), train=10, validation=60)
    return Images(open_dataset(name, root), "validation", Reading((64, 64)))


@pytest.fixture(scope="module")
def subject(scenes):
    parameters = {step: initial_parameters(ARCHITECTURE, "modern", step) for step in (0, 1)}
    return subject_holding(ARCHITECTURE, parameters, images=scenes, labels=CLASSES)


@pytest.fixture(scope="module")
def looked(subject):
    return Looked(subject, subject.steps, tuple(subject.layers))


def wish(**changes):
    return dataclasses.replace(Options().wish, **changes)


def test_the_drawn_scenes_own_boxes(looked, scenes):
    hidings = hidings_of(looked, wish(images=5))
    by_name = {hidden.name: hidden for hidden in hidings.parts}
    assert {"face nose", "face eye 1 of 2", "boat porthole 3 of 3"} <= set(by_name)
    assert "clock mark 1 of 12" not in by_name and all(len(h.ids) == 5 for h in hidings.parts)
    for hidden in hidings.parts:
        for image_id, box, other in zip(hidden.ids, hidden.boxes, hidden.elsewhere, strict=True):
            scene = draw_scene(2013, "validation", image_id)
            name = hidden.name.split(" ", 1)[1].split(" ")[0]
            assert CLASSES[scene.label] == hidden.name.split(" ")[0]
            assert tuple(box) in {each.box for each in scene.parts if each.name == name}
            assert (box[2:] - box[:2] == other[2:] - other[:2]).all()
            assert (other >= 0).all() and (other <= 64).all()
            apart = (other[2:] <= box[:2]) | (box[2:] <= other[:2])
            assert apart.any(), (box, other)
    left, right = by_name["face eye 1 of 2"], by_name["face eye 2 of 2"]
    assert left.ids == right.ids and (left.boxes[:, 1] < right.boxes[:, 1]).all()
    again = hidings_of(looked, wish(images=5))
    np.testing.assert_array_equal(again.parts[3].elsewhere, hidings.parts[3].elsewhere)
    assert {len(group) for group in hidings.groups} <= {5, 6} and len(hidings.groups) == 10
    one = hidings_of(looked, wish(only=("face eye", "fish mouth")))
    assert [hidden.name for hidden in one.parts] == [
        *("face eye 1 of 2", "face eye 2 of 2", "fish mouth")
    ]


def test_numbers_on_scenes_are_those_of_loops(subject, looked):
    options = {"images": 5, "only": ("face nose", "face mouth"), "every": True}
    table, told = measured_of(MEASURE, subject, **options)
    assert next(MEASURE.rows(looked, with_options(MEASURE, options))) == Noted({"left_out": []})
    assert "left out" not in " ".join(told.lines)
    few = dataclasses.replace(table, meta={**table.meta, "noted": {"left_out": ["'ear' in 2"]}})
    assert MEASURE.tell(few, (), Options()).lines[-1] == "left out, in too few images: 'ear' in 2"
    hidings = hidings_of(looked, with_options(MEASURE, options).wish)
    [nose] = [hidden for hidden in hidings.parts if hidden.name == "face nose"]
    parameters = subject.parameters(1, whole=True)
    inputs = np.asarray(subject.prepare(subject.images.views(nose.ids)))
    for layer in ("conv1", "conv2", "fc3"):
        changes = {"part": [], "random": []}
        for image, *boxes in zip(inputs, nose.boxes, nose.elsewhere, strict=True):
            own = np.float64(subject.network.features(parameters, image[None])[layer][0])
            for name, (y0, x0, y1, x1) in zip(changes, boxes, strict=True):
                covered = image.copy()
                covered[y0:y1, x0:x1] = 0
                other = np.float64(subject.network.features(parameters, covered[None])[layer][0])
                change = np.where(np.abs(own - other) > 1e-6 * np.abs(own).max(), own - other, 0)
                changes[name].append(change)
        for zeros, suffix in ((True, ""), (False, "_nonzero")):
            means = {}
            for name, each in changes.items():
                flat = [np.sign(change).ravel() for change in each]
                pairs = [distance(a, b, zeros) for a, b in itertools.combinations(flat, 2)]
                known = [value for value in pairs if not math.isnan(value)]
                means[name] = np.mean(known) if known else np.nan
            for name, quantity in (("part", "change"), ("random", "random")):
                value = table.of_layer(f"{quantity}{suffix}_of_face nose", layer)[1]
                assert value == pytest.approx(means[name], abs=1e-6, nan_ok=True)
            gap = table.of_layer(f"gap{suffix}_of_face nose", layer)[1]
            assert gap == pytest.approx(means["part"] - means["random"], abs=1e-6, nan_ok=True)
            if math.isnan(gap):
                assert (layer, zeros) == ("conv1", False)  # whose changes never meet
                continue
            others = table.of_layer(f"gap{suffix}_of_face mouth", layer)[1]
            overall = table.of_layer(f"gap{suffix}", layer)[1]
            assert overall == pytest.approx(np.mean([gap, others]))
            p = table.of_layer(f"p{suffix}", layer)[1]
            assert p * 32 == pytest.approx(round(p * 32))  # five faces: all exchanges
        if layer != "fc3":
            summed = [np.sign(change.sum((0, 1))) for change in changes["part"]]
            pairs = [distance(a, b, True) for a, b in itertools.combinations(summed, 2)]
            value = table.of_layer("change_maps_of_face nose", layer)[1]
            assert value == pytest.approx(np.mean(pairs), abs=0.02)
    assert not table.of_layer("change_maps_of_face nose", "fc3")
    assert "at conv2" in told.sentence and "at fc3" in told.sentence and told.chart is not None
    assert len(told.lines) == 3 and "face nose" in "\n".join(told.lines)


def test_the_interval_leaves_out_an_image_of_all_its_parts(subject):
    options = {"images": 5, "only": ("face nose", "face mouth")}
    table, _ = measured_of(MEASURE, subject, **options)
    low, high = table.bounds("gap", "conv2")[1]
    assert low < table.of_layer("gap", "conv2")[1] < high
    assert layers_for(Looked(subject, (0, 1), ("conv1",)), Options()) == ("conv1", "fc3")
    assert set(table.table["layer"].to_pylist()) == {"conv2", "fc3"}


def test_hiding_nothing_changes_no_sign(subject, looked):
    hidings = hidings_of(looked, wish(images=5, only=("face nose",)))
    [nose] = hidings.parts
    nothing = dataclasses.replace(nose, boxes=0 * nose.boxes, elsewhere=nose.boxes)
    inputs = subject.prepare(subject.images.views(nose.ids))
    own = signs_of(
        subject.parameters(0, whole=True),
        subject.network,
        ("conv2", "fc3"),
        dict(zip(nose.ids, np.asarray(inputs), strict=True)),
        dataclasses.replace(hidings, parts=(nothing,)),
    )
    for layer in ("conv2", "fc3"):
        unchanged, changed = own[layer][""]["face nose"]
        assert not unchanged.any() and changed.any()


def test_features_that_are_not_finite_are_undefined(subject):
    def load(step, names):
        tree = subject.load(step, names)
        kernel = np.full_like(tree["fc3"]["kernel"], np.nan)
        return {**tree, "fc3": {**tree["fc3"], "kernel": kernel}}

    diverged = dataclasses.replace(subject, load=load, steps=(1,), epochs=(1.0,))
    table, told = measured_of(MEASURE, diverged, images=5, only=("face nose", "face mouth"))
    assert math.isnan(table.of_layer("gap", "fc3")[1])
    assert not math.isnan(table.of_layer("gap", "conv2")[1])
    assert "at fc3 - of the features" in told.sentence and "nan" not in told.sentence


def table_of(folder, text, name="parts.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8") if isinstance(text, str) else path.write_bytes(text)
    return path


def test_boxes_of_a_file(tmp_path, scenes, looked):
    names = [name for _, name in scenes.describe(range(60))]
    head = "File_Name,part,y0,x0,y1,x1,note\n"
    lines = [f"{names[i]},left eye,{i}, 10,{i + 4}.5,20,x\n" for i in range(6)]
    path = table_of(tmp_path, "\ufeff" + head + "\n".join(lines) + "\n,,,,,,\n")
    boxes = boxes_in_file(path, scenes, "original")
    assert boxes[2] == PartBox(2, "left eye", (2, 10, 6.5, 20)) and len(boxes) == 6
    hidings = hidings_of(looked, wish(file=path, images=6))
    [eye] = hidings.parts
    assert eye.name == "left eye" and eye.ids == (0, 1, 2, 3, 4, 5) and len(hidings.groups) == 1
    assert eye.boxes[2].tolist() == [2, 10, 7, 20]
    rows = [f"{i}\tleft eye\t1\t1\t3\t3\n" for i in range(5)]
    by_id = table_of(tmp_path, "image_id\tpart\ty0\tx0\ty1\tx1\n" + "".join(rows), "b.tsv")
    assert boxes_in_file(by_id, scenes, "view")[4].image_id == 4


def test_boxes_of_a_file_as_programs_save_it(tmp_path, scenes):
    """Other order, quotes, ends of lines and encodings; names from any folder of theirs on."""
    head = 'x1,"part",y1,x0,y0,file_name,score\n'
    names = [name for _, name in scenes.describe(range(6))]
    lines = [f'20,"wheel, ""left""",9,10,{i},"{name}",0.5\n' for i, name in enumerate(names)]
    short = [
        line.replace(name, name.split("/", 1)[1]) for line, name in zip(lines, names, strict=True)
    ]
    expected = [PartBox(i, 'wheel, "left"', (i, 10, 9, 20)) for i in range(6)]
    for rows in (lines, short):
        text = head + "".join(rows)
        for ends in ("\n", "\r\n", "\r"):
            for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le"):
                path = table_of(tmp_path, text.replace("\n", ends).encode(encoding))
                assert boxes_in_file(path, scenes, "original") == expected
    twice = HeldImages(np.zeros((2, 9, 9, 3), np.uint8), (9, 9))
    described = [(None, "a/1.png"), (None, "b/1.png")]
    twice = mock.Mock(wraps=twice, describe=lambda ids: described, count=2)
    path = table_of(tmp_path, "file_name,part,y0,x0,y1,x1\n1.png,a,0,0,5,9\n")
    with pytest.raises(ZfjaxError, match=r"line 2: several images .* called '1.png'; give more"):
        boxes_in_file(path, twice, "original")


def test_pixels_of_larger_originals_are_those_of_the_view(tmp_path):
    images = HeldImages(np.zeros((6, 40, 80, 3), np.uint8), (20, 20))
    path = table_of(
        tmp_path, "image_id,part,y0,x0,y1,x1\n0,a,0,20,40,60\n1,a,10,30,20,80\n2,a,0,0,40,20\n"
    )
    boxes = {each.image_id: each.box for each in boxes_in_file(path, images, "original")}
    # Half as large, and the middle 40 of 80 columns: 2 lies outside, 1 is cut off.
    assert boxes == {0: (0, 0, 20, 20), 1: (5, 5, 10, 20)}
    with pytest.raises(ZfjaxError, match=r"line 2: the box .* reaches beyond the image of 20 x 20"):
        boxes_in_file(path, images, "view")


GOOD = "image_id,part,y0,x0,y1,x1\n"


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "is empty; it needs a head with file_name or image_id, part"),
        ("image_id,part,y0,y0,x0,y1,x1\n", "has the column y0 twice"),
        (GOOD + "0,a,0,0,1,1\n0,b,0,0,1,1\n0,a,0,0.0,1,1\n", "line 4: this is the box of line 2"),
        ("image,part,y0,x0,y1,x1\n0,a,0,0,1,1\n", "has the columns image, part.*needs file_name"),
        ("image_id,part,y0,x0,y1\n0,a,0,0,1\n", "needs file_name or image_id, part, y0"),
        (GOOD, "no line below its head"),
        (GOOD + "0,a,0,0,1\n", "line 2: 5 values for 6 columns"),
        (GOOD + "0,a,0,0,1,1\n60,a,0,0,1,1\n", "line 3: there is no image '60' in split 'valid"),
        (GOOD + "-1,a,0,0,1,1\n", "line 2: there is no image '-1'"),
        (GOOD + "0,a,0,zero,1,1\n", "line 2: x0 is 'zero', which is no number"),
        (GOOD + "0,a,0,nan,1,1\n", "line 2: x0 is 'nan'"),
        (GOOD + "0,a,5,5,5,9\n", "line 2: the box .* holds no pixel"),
        (GOOD + "0,a,0,0,65,9\n", "line 2: the box .* reaches beyond the image of 64 x 64"),
        (GOOD + "0,a,-1,0,5,9\n", "line 2: .* reaches beyond"),
        (GOOD + "0, ,0,0,5,9\n", "line 2: the part has no name"),
        ("file_name,part,y0,x0,y1,x1\nno.png,a,0,0,5,9\n", "line 2: there is no image 'no.png'"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "is no CSV"),
        ("a\0b,part\n", "is no CSV"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_files_that_are_refused(tmp_path, scenes, text, words):
    path = table_of(tmp_path, text)
    with pytest.raises(ZfjaxError, match=f"parts.csv.*{words}") as error:
        boxes_in_file(path, scenes, "original")
    assert str(error.value).count("\n") == 0


def test_what_cannot_be_hidden_is_refused(tmp_path, looked, subject, scenes):
    with pytest.raises(ZfjaxError, match=r"absent.csv"):
        hidings_of(looked, wish(file=tmp_path / "absent.csv"))
    with pytest.raises(ZfjaxError, match=r"cannot|is a"):
        hidings_of(looked, wish(file=tmp_path))
    rows = "".join(f"{i},a,0,0,5,9\n" for i in range(LEAST - 1))
    few = table_of(tmp_path, GOOD + rows)
    with pytest.raises(ZfjaxError, match=r"No part is in 5 or more images .* 'a' in 4"):
        hidings_of(looked, wish(file=few))
    large = table_of(tmp_path, GOOD + "".join(f"{i},a,0,0,60,60\n" for i in range(6)))
    with pytest.raises(ZfjaxError, match=r"leaves room .* 'a' in 0; .* smaller"):
        hidings_of(looked, wish(file=large))
    alike = table_of(tmp_path, GOOD + "".join(f"0,a,0,{i},5,{i + 2}\n" for i in range(4)))
    with pytest.raises(ZfjaxError, match=r"an image has more than 3 of each name"):
        hidings_of(looked, wish(file=alike))
    with pytest.raises(ZfjaxError, match=r"--correspondence.only 'tail fin': there is no such"):
        hidings_of(looked, wish(only=("tail fin",)))
    with pytest.raises(ZfjaxError, match="nothing"):
        hidings_of(looked, wish(split="nothing"))


def test_boxes_beside_the_view_are_said_to_be(tmp_path, subject, looked):
    """Of 40 x 80 pixels the view shows the middle 40 columns."""
    images = HeldImages(np.zeros((8, 40, 80, 3), np.uint8), (64, 64))
    beside = dataclasses.replace(looked, subject=dataclasses.replace(subject, images=images))
    rows = "".join(f"{i},a,0,0,5,9\n" for i in range(8))
    with pytest.raises(ZfjaxError, match=r"parts.csv has no box that the view of .* 64 x 64"):
        hidings_of(beside, wish(file=table_of(tmp_path, GOOD + rows)))


def test_images_without_boxes_are_refused_at_the_door(subject):
    plain = HeldImages(np.zeros((8, 64, 64, 3), np.uint8), (64, 64))
    bare = dataclasses.replace(subject, images=plain)
    chosen = [Chosen(MEASURE, Options())]
    with pytest.raises(ZfjaxError, match=r"needs boxes of the parts.*--correspondence.parts FILE"):
        plan_of(bare, chosen, Wanted())
    assert plan_of(subject, chosen, Wanted()).chosen[0].name == "correspondence"


@pytest.mark.parametrize("wrong", [{"images": 4}, {"permutations": 99}, {"seed": -1}], ids=str)
def test_options_that_make_no_sense(wrong):
    with pytest.raises(ZfjaxError, match=f"--correspondence.{next(iter(wrong))} .* must be"):
        Options(**wrong)
    with pytest.raises(ZfjaxError, match="--correspondence.frame is of the boxes in a file"):
        Options(frame="view")


def test_parts_of_one_name_are_counted_from_left_to_right():
    boxes = [PartBox(0, "eye", (0, x, 1, x + 1)) for x in (5, 2)]
    boxes += [PartBox(1, "eye", (0, x, 1, x + 1)) for x in range(4)] + [PartBox(2, "eye", (0,) * 4)]
    names = [(item.image_id, item.name, item.box[1]) for item in _numbered(boxes)]
    assert names == [(0, "eye 1 of 2", 2), (0, "eye 2 of 2", 5), (2, "eye", 0)]
    assert isinstance(Options().wish, Wish)
