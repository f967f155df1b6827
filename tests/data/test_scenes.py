import hashlib
import inspect
import io
import multiprocessing
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests.data_helpers import kill_when_there
from zfjax.commands.cli import _parser, main
from zfjax.data import scenes
from zfjax.data.dataset import list_datasets, open_dataset
from zfjax.data.finding import data_home
from zfjax.data.scene_objects import OBJECTS
from zfjax.data.scenes import CLASSES, SEED, draw_scene, ensure_scenes
from zfjax.errors import ZfjaxError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def many():
    return [draw_scene(SEED, "train", index) for index in range(400)]


def test_a_scene_is_a_function_of_seed_split_and_index():
    first, again = draw_scene(3, "train", 17), draw_scene(3, "train", 17)
    assert first.image.tobytes() == again.image.tobytes() and first.parts == again.parts
    assert first.image.shape == (64, 64, 3) and first.image.dtype == np.uint8 and first.label == 7
    for other in (
        draw_scene(4, "train", 17),
        draw_scene(3, "validation", 17),
        draw_scene(3, "train", 27),
    ):
        assert other.label == 7 and not np.array_equal(first.image, other.image)


def test_the_same_bytes_in_another_process():
    code = (
        "import hashlib; from zfjax.data.scenes import draw_scene;"
        " print(hashlib.sha256(b''.join(draw_scene(1, 'train', n).image.tobytes() for n in"
        " range(10))).hexdigest())"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()
    here = hashlib.sha256(
        b"".join(draw_scene(1, "train", number).image.tobytes() for number in range(10))
    )
    assert elsewhere == here.hexdigest()


def test_the_version_stands_for_what_is_drawn():
    """Twenty scenes as VERSION 1 draws them, pixels, labels and parts. Where they differ, raise
    VERSION with them."""
    digest = hashlib.sha256()
    for split in ("train", "validation"):
        for index in range(10):
            scene = draw_scene(SEED, split, index)
            digest.update(scene.image.tobytes() + repr((scene.label, scene.parts)).encode())
    assert digest.hexdigest() == "1dc6b8b0474a6b24086cd4002c9f4356d1e43c5c82a8e503e2e0262785a44cd3"
    assert scenes.VERSION == 1


def test_no_scene_is_drawn_twice(many):
    everything = [scene.image.tobytes() for scene in many]
    everything += [draw_scene(SEED, "validation", index).image.tobytes() for index in range(100)]
    assert len(set(everything)) == len(everything)


def test_boxes_are_inside_and_not_empty(many):
    for scene in many:
        for part in scene.parts:
            y0, x0, y1, x1 = part.box
            assert 0 <= y0 < y1 <= 64 and 0 <= x0 < x1 <= 64


def test_leaving_a_part_out_changes_its_box_only():
    seen = 0
    for index in range(30):
        scene = draw_scene(SEED, "train", index)
        for number, part in enumerate(scene.parts):
            without = draw_scene(SEED, "train", index, without_part=number)
            assert without.parts == scene.parts
            changed = (without.image != scene.image).any(axis=-1)
            y0, x0, y1, x1 = part.box
            inside = changed[y0:y1, x0:x1].sum()
            assert inside == changed.sum(), (index, part)
            seen += bool(inside)
    assert seen > 0.8 * sum(len(draw_scene(SEED, "train", index).parts) for index in range(30))


def test_boxes_are_tight():
    # Across scenes, the pixels that a part changes span most of its box, unless something hides it.
    shares = []
    for index in range(0, 60):
        scene = draw_scene(SEED, "train", index)
        number = len(scene.parts) - 1  # the last part is drawn on top of all others
        changed = (draw_scene(SEED, "train", index, without_part=number).image != scene.image).any(
            axis=-1
        )
        if not changed.any():
            continue
        rows, columns = np.nonzero(changed)
        y0, x0, y1, x1 = scene.parts[number].box
        shares.append(np.ptp(rows) + 1 >= y1 - y0 - 2 and np.ptp(columns) + 1 >= x1 - x0 - 2)
    assert np.mean(shares) > 0.9


def test_every_class_has_its_parts(many):
    expected = {
        "face": {"eye", "nose", "mouth", "hair"},
        "car": {"wheel", "window", "body"},
        "house": {"roof", "door", "window"},
        "sign": {"letter", "board"},
        "fish": {"fin", "tail", "eye"},
        "clock": {"hand", "mark"},
        "robot": {"eye", "mouth", "button"},
        "boat": {"sail", "hull", "mast"},
        "flower": {"petal", "stem"},
        "butterfly": {"wing", "antenna", "spot"},
    }
    assert expected.keys() == OBJECTS.keys() and len(CLASSES) >= 8
    for scene in many:
        shown = {part.name for part in scene.parts}
        assert len(shown & expected[CLASSES[scene.label]]) >= 2
    textures = {part.name for scene in many for part in scene.parts} & {"stripes", "checks", "dots"}
    assert len(textures) == 3


def test_surroundings_and_colours_do_not_know_the_class(monkeypatch):
    # The strongest form: with the object's own drawing taken away, scenes of the same seed and
    # index are the same picture whatever the class.
    pictures = []
    for chosen in OBJECTS:
        colours = []
        monkeypatch.setitem(
            scenes.OBJECTS, chosen, lambda generator, given, kept=colours: kept.append(given) or []
        )
        monkeypatch.setattr(
            scenes, "CLASSES", (chosen, *(name for name in CLASSES if name != chosen))
        )
        monkeypatch.setattr(scenes, "_stray_parts", lambda generator, width: [])
        pictures.append((draw_scene(5, "train", 30).image.tobytes(), colours[0]))
    assert len({image for image, _ in pictures}) == 1
    assert len({colours for _, colours in pictures}) == 1


def test_colour_alone_does_not_separate_the_classes(many):
    features = np.array(
        [
            np.concatenate([scene.image.mean(axis=(0, 1)), scene.image.std(axis=(0, 1))])
            for scene in many
        ]
    )
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    labels = np.array([scene.label for scene in many])
    half = len(many) // 2
    centres = np.array(
        [features[:half][labels[:half] == label].mean(axis=0) for label in range(10)]
    )
    guesses = ((features[half:, None] - centres) ** 2).sum(axis=-1).argmin(axis=1)
    assert (guesses == labels[half:]).mean() < 0.3  # chance is 0.1


def test_the_data_home_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ZFJAX_DATA", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert data_home() == tmp_path / "a"
    monkeypatch.delenv("ZFJAX_DATA")
    assert data_home() == tmp_path / "b" / "zfjax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert data_home() == tmp_path / "c" / ".cache" / "zfjax"


def test_the_data_set_holds_the_scenes(monkeypatch, tmp_path):
    monkeypatch.setenv("ZFJAX_DATA", str(tmp_path))
    counted = []
    name, data_dir = ensure_scenes(
        train=30, validation=20, progress=lambda *told: counted.append(told)
    )
    assert data_dir == tmp_path and counted == [
        ("drawing scenes", number, 50) for number in range(1, 51)
    ]
    dataset = open_dataset(name, data_dir)
    assert dataset.splits == {"train": 30, "validation": 20} and dataset.class_names == CLASSES
    for split in dataset.splits:
        examples = dataset.read(split, range(20), (64, 64))
        for index, example in enumerate(examples):
            scene = draw_scene(SEED, split, index)
            assert np.array_equal(example.image, scene.image) and example.label == scene.label
            assert example.parts == tuple(
                (part.name, tuple(map(float, part.box))) for part in scene.parts
            )
            assert example.file_name == f"{split}/{CLASSES[scene.label]}/{index:05d}.png"
    half = dataset.read("train", [0], (32, 32))[0]
    whole = dataset.read("train", [0], (64, 64))[0]
    assert np.allclose(
        np.array([box for _, box in half.parts]) * 2, [box for _, box in whole.parts]
    )


def test_drawn_once_and_equal_twice(tmp_path):
    name, _ = ensure_scenes(tmp_path / "one", train=20, validation=10)
    shard = open_dataset(name, tmp_path / "one").shards("train")[0]
    before = shard.stat().st_mtime_ns
    start = time.monotonic()
    assert ensure_scenes(tmp_path / "one", train=20, validation=10) == (name, tmp_path / "one")
    assert time.monotonic() - start < 0.5 and shard.stat().st_mtime_ns == before
    assert ensure_scenes(tmp_path / "two", train=20, validation=10)[0] == name
    one, two = (open_dataset(name, tmp_path / root).fingerprint("train") for root in ("one", "two"))
    assert one == two
    assert ensure_scenes(tmp_path / "one", train=10, validation=10)[0] != name


def test_tfds_itself_reads_the_scenes(tmp_path):
    import tensorflow_datasets as tfds

    name, root = ensure_scenes(tmp_path, train=10, validation=10)
    source = tfds.builder_from_directory(root / name / "1.0.0").as_data_source("train")
    assert np.array_equal(source[4]["image"], draw_scene(SEED, "train", 4).image)
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(scenes._example("train", 4)["image"]))), source[4]["image"]
    )


def _draw(root):
    ensure_scenes(root, train=30, validation=10)


def test_many_processes_draw_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_draw, args=(tmp_path,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    assert len(list_datasets(tmp_path)) == 1
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_killed_drawing_is_never_read(tmp_path):
    code = (
        f"from zfjax.data.scenes import ensure_scenes; ensure_scenes({str(tmp_path)!r}, train=4000,"
        " validation=10)"
    )
    kill_when_there(code, folder=tmp_path, pattern=".scenes*.tmp/1.0.0/*")
    left = list(tmp_path.glob(".scenes*.tmp"))
    assert left and list_datasets(tmp_path) == []
    # The next drawing of the same scenes clears what was left; here a name of that pattern stands
    # for it.
    name, _ = ensure_scenes(tmp_path, train=10, validation=10)
    stale = tmp_path / f".{name}.1.tmp"
    (tmp_path / name).rename(tmp_path / "elsewhere")
    (stale / "1.0.0").mkdir(parents=True)
    assert ensure_scenes(tmp_path, train=10, validation=10)[0] == name
    assert not stale.exists() and open_dataset(name, tmp_path).splits["train"] == 10


def test_a_folder_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ZfjaxError, match="a part of the path is a file"):
        ensure_scenes(tmp_path / "file" / "below", train=10, validation=10)


def test_scenes_are_drawn_in_numbers_of_the_users(tmp_path, capsys):
    folder = ["--data-dir", str(tmp_path)]
    assert main(["data", "scenes", *folder, "--train", "20", "--validation", "12"]) == 0
    name, said = capsys.readouterr().out.strip().split(": ", 1)
    assert said == f"train 20, validation 12; train with --data.name {name}"
    assert open_dataset(name, tmp_path).splits == {"train": 20, "validation": 12}
    assert ensure_scenes(tmp_path, train=20, validation=12)[0] == name
    # Without a number the command draws what is drawn unasked.
    usual = inspect.signature(ensure_scenes).parameters
    asked = _parser().parse_args(["data", "scenes"])
    assert all(getattr(asked, split) == usual[split].default for split in ("train", "validation"))


@pytest.mark.parametrize(("split", "count"), [("train", 9), ("validation", -1), ("train", 10**9)])
def test_numbers_of_scenes_that_cannot_be_are_refused(split, count, tmp_path, capsys):
    assert main(["data", "scenes", "--data-dir", str(tmp_path), f"--{split}", str(count)]) == 1
    said = capsys.readouterr().err
    assert f"{count} {split} scenes cannot be drawn: give a whole number from 10" in said
    assert not list(tmp_path.iterdir())


def test_drawn_scenes_that_are_gone_are_to_be_drawn_again(tmp_path):
    with pytest.raises(ZfjaxError, match=r"no data set 'scenes_0{12}' .*`zfjax data scenes` draws"):
        open_dataset("scenes_000000000000", tmp_path)
