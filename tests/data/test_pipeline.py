import json
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from tests.data_helpers import encoded, jpeg, make_dataset, picture
from zfjax.data import writing
from zfjax.data.dataset import list_datasets, open_dataset
from zfjax.data.images import view
from zfjax.data.pipeline import evaluation_batches, pixel_sums, training_batches, training_order
from zfjax.data.reading import Reading, Share
from zfjax.errors import ZfjaxError

VIEW = (24, 24)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def dataset(data_dir):
    return open_dataset("tiny", data_dir)


def take(batches, number):
    taken = [next(batches) for _ in range(number)]
    batches.close()
    return taken


def same(first, second):
    return first.keys() == second.keys() and all(
        first[key].dtype == second[key].dtype and np.array_equal(first[key], second[key])
        for key in first
    )


# The evaluation view.


@pytest.mark.parametrize(
    "height, width, size",
    [
        (60, 90, (32, 32)),
        (90, 60, (32, 32)),
        (50, 50, (24, 40)),
        (20, 30, (64, 64)),
        (333, 47, (17, 29)),
    ],
)
def test_view_is_resize_then_central_crop(height, width, size):
    data = encoded(picture(1, height, width), "PNG")
    scale = max(size[0] / height, size[1] / width)
    covering = picture(1, height, width).resize(
        (round(width * scale), round(height * scale)), Image.Resampling.BILINEAR
    )
    left, top = (covering.width - size[1]) // 2, (covering.height - size[0]) // 2
    expected = np.asarray(covering.crop((left, top, left + size[1], top + size[0])), float)
    seen = view(data, size)
    assert seen.shape == (*size, 3) and seen.dtype == np.uint8
    # The oracle rounds the covering size and the crop to whole pixels: up to half a pixel of a
    # smooth picture.
    assert np.abs(seen - expected).mean() < 4


def test_view_of_the_right_size_is_not_resampled():
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    assert np.array_equal(view(encoded(Image.fromarray(noise), "PNG"), (24, 24)), noise)
    wide = np.random.default_rng(0).integers(0, 256, (24, 37, 3), np.uint8)
    assert np.array_equal(view(encoded(Image.fromarray(wide), "PNG"), (24, 24)), wide[:, 6:30])


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "LA", "1", "I;16"])
def test_view_is_rgb_whatever_the_mode(mode):
    if mode == "I;16":
        image = Image.fromarray(np.full((30, 30), 200 << 8, np.uint16))
    else:
        image = Image.new("RGB", (30, 30), (200, 200, 200)).convert(mode)
    seen = view(encoded(image, "JPEG" if mode == "CMYK" else "PNG"), (30, 30)).astype(float)
    assert seen.shape == (30, 30, 3)
    assert abs(seen.mean() - 200) < 8  # of mode "1", dithered, only the mean is 200


def test_what_is_transparent_shows_white():
    clear = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    assert (view(encoded(clear, "PNG"), (8, 8)) == 255).all()


def test_a_bomb_is_refused_before_it_is_decoded():
    header = encoded(Image.new("1", (9000, 9000)), "PNG")
    start = time.monotonic()
    with pytest.raises(ZfjaxError, match="more than 50,000,000 pixels"):
        view(header, VIEW)
    assert time.monotonic() - start < 0.2
    with pytest.raises(ZfjaxError, match="pixels"):
        view(
            encoded(Image.new("1", (20000, 20000)), "PNG"), VIEW
        )  # here Pillow's own limit strikes


# Opening.


def test_open_describes_the_data_set(dataset):
    assert dataset.splits == {"train": 23, "validation": 7}
    assert dataset.class_names == ("ant", "bee", "<b>cat</b>")
    assert (dataset.name, dataset.version) == ("tiny", "1.0.0")
    assert len(dataset.shards("train")) > 3
    assert dataset.bytes("train") == sum(shard.stat().st_size for shard in dataset.shards("train"))


def test_a_missing_data_set_names_those_that_are_there(data_dir, tmp_path):
    with pytest.raises(ZfjaxError, match="no data set 'other'.*it holds: tiny"):
        open_dataset("other", data_dir)
    with pytest.raises(ZfjaxError, match="holds no data set"):
        open_dataset("other", tmp_path / "nowhere")
    with pytest.raises(ZfjaxError, match="not the name"):
        open_dataset("../tiny", data_dir)
    assert list_datasets(tmp_path / "nowhere") == []


def test_the_newest_version_is_opened(data_dir, tmp_path):
    for version in ("1.0.0", "1.10.0", "1.9.0"):
        shutil.copytree(data_dir / "tiny" / "1.0.0", tmp_path / "tiny" / version)
        info = tmp_path / "tiny" / version / "dataset_info.json"
        info.write_text(info.read_text().replace('"1.0.0"', f'"{version}"'))
    assert open_dataset("tiny", tmp_path).version == "1.10.0"
    assert open_dataset("tiny/1.9.0", tmp_path).version == "1.9.0"


def _damaged_copy(data_dir, tmp_path, damage):
    shutil.copytree(data_dir / "tiny", tmp_path / "tiny")
    damage(tmp_path / "tiny" / "1.0.0")
    with pytest.raises(ZfjaxError) as caught:
        open_dataset("tiny", tmp_path)
    assert "\n" not in str(caught.value)
    found = []
    assert list_datasets(tmp_path, on_error=found.append) == [] and len(found) == 1
    return str(caught.value)


def _first_shard(folder):
    return sorted(folder.glob("tiny-train*"))[0]


def test_damage_is_found_when_opening(data_dir, tmp_path):
    def cut(folder, share):
        shard = _first_shard(folder)
        shard.write_bytes(shard.read_bytes()[: int(shard.stat().st_size * share)])

    def edit(folder, change):
        info = json.loads((folder / "dataset_info.json").read_text())
        change(info)
        (folder / "dataset_info.json").write_text(json.dumps(info))

    cases = {
        "cut": (lambda folder: cut(folder, 0.5), "damaged"),
        "emptied": (lambda folder: cut(folder, 0), "damaged"),
        "gone": (lambda folder: _first_shard(folder).unlink(), "missing"),
        "swapped": (
            lambda folder: shutil.copy(next(folder.glob("tiny-val*")), _first_shard(folder)),
            "records",
        ),
        "halved": (lambda folder: (folder / "dataset_info.json").write_text("{"), "damaged"),
        "featureless": (lambda folder: (folder / "features.json").write_text("{"), "damaged"),
        "unlisted": (
            lambda folder: (folder / "dataset_info.json").unlink(),
            "dataset_info.json is missing",
        ),
        "tfrecord": (
            lambda folder: edit(folder, lambda info: info.update(fileFormat="tfrecord")),
            "ArrayRecord",
        ),
        "empty": (lambda folder: edit(folder, lambda info: info.update(splits=[])), "empty"),
    }
    for name, (damage, expected) in cases.items():
        assert expected in _damaged_copy(data_dir, tmp_path / name, damage), name


def test_a_set_that_is_not_for_classification_is_refused(tmp_path):
    import tensorflow_datasets as tfds

    folder = tmp_path / "words" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "words-train.array_record-00000-of-00001").write_bytes(b"")
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features={"text": tfds.features.Text()},
        check_data=False,
        split_infos=[tfds.core.SplitInfo(name="train", shard_lengths=[1], num_bytes=1)],
    )
    with pytest.raises(ZfjaxError, match="not one for image classification"):
        open_dataset("words", tmp_path)


def test_damage_inside_a_shard_reaches_the_consumer(data_dir, tmp_path):
    shutil.copytree(data_dir / "tiny", tmp_path / "tiny")
    dataset = open_dataset("tiny", tmp_path)
    shard = dataset.shards("train")[0]
    content = bytearray(shard.read_bytes())
    position = content.find(b"\xff\xd8\xff")
    content[position : position + 400] = bytes(400)
    shard.write_bytes(content)
    with pytest.raises(ZfjaxError, match=r"of split 'train' of tiny"):
        for _ in evaluation_batches(dataset, "train", Reading(VIEW), batch_size=4):
            pass


@pytest.mark.parametrize("threads", [0, 2])
def test_an_undecodable_image_is_named(tmp_path, threads):
    images = [jpeg(0), b"not a picture", jpeg(2)]
    examples = [
        {"image": data, "label": 0, "file_name": f"a/{n}.jpg"} for n, data in enumerate(images)
    ]
    with writing.new_folder(tmp_path, "odd") as folder:
        writing.write_dataset(folder, "odd", {"train": examples}, writing.About(["a"]))
    dataset = open_dataset("odd", tmp_path)
    with pytest.raises(
        ZfjaxError,
        match=r"Image 1 of split 'train' of odd \(a/1.jpg\) cannot be decoded: not an im",
    ):
        list(evaluation_batches(dataset, "train", Reading(VIEW, threads), batch_size=1))
    with pytest.raises(ZfjaxError, match=r"a/1.jpg"):
        take(training_batches(dataset, "train", Reading(VIEW, threads), batch_size=3, seed=0), 1)


# Fingerprints and random access.


def test_the_fingerprint_changes_with_any_byte(data_dir, dataset, tmp_path):
    fingerprint = dataset.fingerprint("train")
    assert fingerprint == open_dataset("tiny", data_dir).fingerprint("train")
    assert (
        fingerprint["count"] == 23
        and fingerprint["digest"] != dataset.fingerprint("validation")["digest"]
    )
    shutil.copytree(data_dir / "tiny", tmp_path / "tiny")
    other = open_dataset("tiny", tmp_path)
    shard = other.shards("train")[-1]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert other.fingerprint("train")["digest"] != fingerprint["digest"]


def test_read_gives_any_images_in_any_order(dataset):
    examples = dataset.read("train", [17, 3, 17], (40, 40))
    assert [example.image_id for example in examples] == [17, 3, 17]
    assert [example.file_name for example in examples] == [
        "train/17.jpg",
        "train/3.jpg",
        "train/17.jpg",
    ]
    assert [example.label for example in examples] == [2, 0, 2]
    assert np.array_equal(examples[1].image, view(jpeg(3), (40, 40)))
    assert examples[0].parts == ()
    for wrong in (-1, 23):
        with pytest.raises(ZfjaxError, match="ids go from 0 to 22"):
            dataset.read("train", [wrong], VIEW)
    with pytest.raises(ZfjaxError, match="no split 'test'; it has: train, validation"):
        dataset.read("test", [0], VIEW)


# Training batches.


def training(dataset, steps, reading=None, **options):
    settings = {"batch_size": 4, "seed": 5, **options}
    return take(training_batches(dataset, "train", reading or Reading(VIEW), **settings), steps)


def test_training_batches_have_the_promised_form(dataset):
    (batch,) = training(dataset, 1)
    assert {key: (value.shape, value.dtype) for key, value in batch.items()} == {
        "image": ((4, 24, 24, 3), np.uint8),
        "label": ((4,), np.int32),
        "image_id": ((4,), np.int64),
    }
    assert np.array_equal(batch["label"], batch["image_id"] % 3)
    assert np.array_equal(batch["image"][2], view(jpeg(int(batch["image_id"][2])), VIEW))


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_order_is_a_function_of_seed_and_step(dataset, threads):
    reference = training(dataset, 15)  # over two epoch borders
    assert all(map(same, reference, training(dataset, 15, Reading(VIEW, threads))))
    for start in (1, 5, 6, 14):
        assert all(
            map(
                same,
                reference[start:],
                training(dataset, 15 - start, Reading(VIEW, threads), start_step=start),
            )
        )
    assert not all(map(same, reference, training(dataset, 15, seed=6)))
    ids = np.concatenate([batch["image_id"] for batch in reference])
    assert np.array_equal(ids, training_order(23, 5, range(60)))


def test_every_image_once_an_epoch_in_a_new_order():
    order = training_order(23, 5, range(23 * 4)).reshape(4, 23)
    assert all(sorted(epoch) == list(range(23)) for epoch in order)
    assert len({tuple(epoch) for epoch in order}) == 4
    assert not np.array_equal(order, training_order(23, 6, range(23 * 4)).reshape(4, 23))


def test_far_steps_are_reached_at_once(dataset):
    start = time.monotonic()
    training(dataset, 1, start_step=10**9)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_the_batches_of_one(dataset, processes):
    reference = training(dataset, 6, batch_size=6, start_step=2)
    shares = [
        training(
            dataset,
            6,
            Reading(VIEW, share=Share(index, processes)),
            batch_size=6 // processes,
            start_step=2,
        )
        for index in range(processes)
    ]
    for step in range(6):
        joined = {
            key: np.concatenate([share[step][key] for share in shares]) for key in reference[step]
        }
        assert same(reference[step], joined)


def test_threads_end_with_their_batches(dataset):
    before = set(threading.enumerate())
    batches = training_batches(dataset, "train", Reading(VIEW, threads=3), batch_size=4, seed=0)
    next(batches)
    ours = set(threading.enumerate()) - before
    assert ours
    batches.close()
    for thread in ours:
        thread.join(timeout=5)
    assert not any(thread.is_alive() for thread in ours)


def test_wrong_arguments_are_refused_at_once(dataset):
    good = {"batch_size": 2, "seed": 0}
    for wrong in ({"batch_size": 0}, {"start_step": -1}, {"seed": -1}, {"seed": 2**32}):
        with pytest.raises(ZfjaxError):
            training_batches(dataset, "train", Reading(VIEW), **{**good, **wrong})
    for wrong in ({"view_size": (0, 4)}, {"threads": -1}):
        with pytest.raises(ZfjaxError):
            Reading(**{"view_size": VIEW, **wrong})
    for index, count in ((1, 1), (-1, 2), (0, 0)):
        with pytest.raises(ZfjaxError, match=f"no process {index} among {count}"):
            Share(index, count)
    with pytest.raises(ZfjaxError, match="no split"):
        evaluation_batches(dataset, "other", Reading(VIEW), batch_size=2)


# Evaluation batches.


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize(
    "start, limit", [(0, None), (0, 8), (5, None), (20, 100), (4, 9), (23, None), (0, 0)]
)
def test_evaluation_sees_each_image_once_and_pads_the_last_batch(dataset, start, limit, threads):
    batches = list(
        evaluation_batches(
            dataset, "train", Reading(VIEW, threads), batch_size=4, start=start, limit=limit
        )
    )
    expected = list(range(start, 23 if limit is None else min(23, start + limit)))
    ids = np.concatenate([batch["image_id"] for batch in batches]) if batches else np.array([])
    assert [number for number in ids if number >= 0] == expected
    assert len(batches) == -(-len(expected) // 4)
    for batch in batches:
        assert batch["image"].shape == (4, *VIEW, 3) and batch["weight"].dtype == np.float32
        assert np.array_equal(batch["weight"], batch["image_id"] >= 0)
        assert (batch["image"][batch["weight"] == 0] == 0).all()


def test_views_in_memory_are_not_decoded_when_evaluating(dataset, monkeypatch):
    whole = list(evaluation_batches(dataset, "train", Reading(VIEW), batch_size=8))
    decoded, honest = [], type(dataset).read

    def read(self, split, image_ids, *view, **options):
        decoded.extend(int(image_id) for image_id in image_ids)
        return honest(self, split, image_ids, *view, **options)

    monkeypatch.setattr(type(dataset), "read", read)
    known = {number: np.full((*VIEW, 3), number, np.uint8) for number in (0, 9, 10)}
    reading = Reading(VIEW, known=known)
    batches = list(evaluation_batches(dataset, "train", reading, batch_size=8))
    assert sorted(decoded) == [number for number in range(23) if number not in known]
    for batch, expected in zip(batches, whole, strict=True):
        for number in known.keys() & set(batch["image_id"].tolist()):
            expected["image"][expected["image_id"] == number] = number
        assert same(batch, expected), "labels and ids are the data set's"
    del decoded[:]
    take(training_batches(dataset, "train", reading, batch_size=23, seed=0), 1)
    assert len(decoded) >= 23, "training shows what is in the data set"


@pytest.mark.parametrize("processes", [2, 4])
def test_evaluation_processes_run_equally_many_steps(dataset, processes):
    whole = list(evaluation_batches(dataset, "train", Reading(VIEW), batch_size=8))
    shares = [
        list(
            evaluation_batches(
                dataset,
                "train",
                Reading(VIEW, share=Share(index, processes)),
                batch_size=8 // processes,
            )
        )
        for index in range(processes)
    ]
    assert {len(share) for share in shares} == {len(whole)}
    for step, batch in enumerate(whole):
        assert same(
            batch, {key: np.concatenate([share[step][key] for share in shares]) for key in batch}
        )


def test_pixel_sums_are_sums_and_shares_of_them_add_up(dataset):
    views = np.stack([view(jpeg(number), VIEW) for number in range(23)]).astype(np.int64)
    counted = []
    sums, images = pixel_sums(
        dataset, "train", Reading(VIEW), progress=lambda *told: counted.append(told)
    )
    assert sums.dtype == np.int64 and np.array_equal(sums, views.sum(axis=0)) and images == 23
    assert counted[-1] == ("mean image", 23, 23)
    shares = [
        pixel_sums(dataset, "train", Reading(VIEW, share=Share(index, 3))) for index in range(3)
    ]
    assert (
        np.array_equal(sum(share[0] for share in shares), sums)
        and sum(share[1] for share in shares) == 23
    )


def test_reading_needs_no_tensorflow_and_importing_is_cheap():
    code = (
        "import sys, zfjax.data.pipeline, zfjax.data.scenes, zfjax.data.importing; heavy = {'jax',"
        " 'orbax', 'matplotlib', 'tensorflow', 'tensorflow_datasets', 'grain'} & set(sys.modules);"
        " assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
