"""One pixel limit in every room: the user's, whatever Pillow's own is."""

import io
import threading
import warnings
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from tests import odd_files
from tests.data_helpers import encoded, jpeg, make_tree, picture
from zfjax.commands.cli import main
from zfjax.data import headers, metadata, writing
from zfjax.data.converting import Account, stored_form
from zfjax.data.dataset import UnreadableImage, open_dataset
from zfjax.data.images import MAX_PIXELS, view, view_of_file
from zfjax.data.import_options import Stored
from zfjax.data.importing import import_images
from zfjax.data.workers import Worker
from zfjax.errors import ZfjaxError
from zfjax.features import projecting
from zfjax.run.folder import load_run


def written(folder, name, images, **settings):
    """A data set of encoded images, its first image cut in parts."""
    examples = (
        {
            "image": data,
            "label": 0,
            "file_name": f"{number}",
            "parts": [("left", (0.0, 0.0, 1.0, 0.5))],
        }
        for number, data in enumerate(images)
    )
    with writing.new_folder(folder, name) as target:
        about = writing.About(["a"], with_parts=True, metadata=settings)
        writing.write_dataset(target, name, {"train": examples}, about)
    return open_dataset(name, folder)


def all_kinds(width, height):
    """Flat grey pictures in every format, so large beside Pillow's limit as the caller makes
    that."""
    grey = Image.new("L", (width, height), 90)
    frames = {
        "save_all": True,
        "append_images": [Image.new("L", (width, height), 9)],
        "disposal": 2,
    }
    over = bytearray(encoded(grey, "GIF"))
    over[6:10] = (1).to_bytes(2, "little") * 2  # a screen of one pixel, which the frame exceeds
    return {
        "JPEG": encoded(grey, "JPEG"),
        "PNG": encoded(grey, "PNG"),
        "BMP": encoded(grey, "BMP"),
        "GIF": encoded(grey, "GIF"),
        "GIF that is animated": encoded(grey, "GIF", **frames),
        "GIF beyond its screen": bytes(over),
        "WEBP": encoded(grey.convert("RGB"), "WEBP", lossless=True),
        "WEBP that is animated": encoded(grey.convert("RGB"), "WEBP", **frames, lossless=True),
    }


@pytest.mark.parametrize(
    "pillows", [1000, 300, None]
)  # 1,200 pixels: one that it warns of, one that it refuses
def test_pillows_own_limit_has_no_effect_and_stays(monkeypatch, pillows):
    kinds = all_kinds(40, 30)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillows)
    seen, said = {}, []

    def read_all():
        for kind, data in kinds.items():
            try:
                view(data, (30, 40), 1199)
            except ZfjaxError as error:
                said.append(f"{kind}: {error}")
            seen[kind] = view(data, (30, 40), 1200)

    thread = threading.Thread(target=read_all)
    filters = list(warnings.filters)
    thread.start()
    thread.join()
    assert seen.keys() == kinds.keys() and all((pixels == 90).all() for pixels in seen.values())
    assert said == [f"{kind}: more than 1,199 pixels (40 x 30)" for kind in kinds]
    assert Image.MAX_IMAGE_PIXELS == pillows and warnings.filters == filters
    if pillows == 300:  # the user's own code still has its limit
        with pytest.raises(Image.DecompressionBombError):
            Image.open(io.BytesIO(kinds["PNG"]))


def test_no_memory_is_asked_for_before_the_limit():
    header = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (16_000).to_bytes(3, "little") * 2
    for data, size in (
        (header, "16,001 x 16,001"),
        (odd_files.png_header(99_999, 99_999), "99,999 x 99,999"),
    ):
        with pytest.raises(ZfjaxError, match=rf"^more than 50,000,000 pixels \({size}\)$"):
            view(data, (8, 8))


def test_the_limit_of_an_import_is_that_of_every_reader(tmp_path, monkeypatch, capsys):
    files = {f"a/{side}.jpg": jpeg(side, side, side) for side in (30, 40, 50)}
    source = make_tree(tmp_path / "in", files | {"a/60.png": encoded(picture(60, 50, 60), "PNG")})
    place = ["--data-dir", str(tmp_path / "out")]
    assert (
        main(["data", "import", str(source), "--name", "limited", *place, "--max-pixels", "2000"])
        == 0
    )
    told = capsys.readouterr().out
    assert "skipped, more than 2,000 pixels: 2 (a/50.jpg, a/60.png)" in told
    assert "left out for its pixels has 60 x 50 (a/60.png); --max-pixels 3000 takes it" in told
    dataset = open_dataset("limited", tmp_path / "out")
    assert (dataset.max_pixels, dataset.splits) == (2000, {"train": 2})

    # As if the default were small: a raised limit is kept with the set; without a record there is
    # the default.
    monkeypatch.setattr(metadata, "MAX_PIXELS", 1000)
    import_images(source, "raised", tmp_path / "out", stored=Stored(max_pixels=3000))
    raised, images = open_dataset("raised", tmp_path / "out"), list(files.values())
    assert len(raised.read("train", range(4), (40, 40))) == 4
    bare, ours = (
        written(tmp_path, "bare", images),
        written(tmp_path, "ours", images, max_pixels=1600),
    )
    assert (bare.max_pixels, ours.max_pixels) == (1000, 1600)
    [seen] = ours.read("train", [1], (40, 40))
    assert seen.parts == (("left", (0, 0, 40, 20)),) and np.array_equal(
        seen.image, view(images[1], (40, 40))
    )
    for dataset, number, why in (
        (bare, 1, r"1,000 pixels \(40 x 40\)"),
        (ours, 2, r"1,600 pixels \(50 x 50\)"),
    ):
        with pytest.raises(UnreadableImage, match=f"more than {why}"):
            dataset.read("train", [number], (40, 40))


@pytest.mark.parametrize("record", [None, "many", 0, -5, 1.5, True, [3]])
def test_a_senseless_record_of_the_limit_is_none(tmp_path, record):
    assert written(tmp_path, "odd", [jpeg(1)], max_pixels=record).max_pixels == MAX_PIXELS


def test_processes_that_decode_have_the_limit_of_the_set(tmp_path):
    dataset = written(tmp_path, "limited", [jpeg(1, 20, 20), jpeg(2)], max_pixels=1000)
    worker = Worker(dataset.directory.name, dataset.directory.parent, (20, 20))
    try:
        answer = worker.read("train", [0, 1])
    finally:
        worker.close()
    assert np.array_equal(answer.images[0], view(jpeg(1, 20, 20), (20, 20)))
    assert (
        list(answer.unreadable) == [1]
        and "more than 1,000 pixels (40 x 40)" in answer.unreadable[1]
    )


def test_an_image_that_pillow_warns_of_is_kept_and_read(tmp_path):
    data = encoded(Image.new("L", (10_000, 9_001), 90), "JPEG")  # 90 million
    source = make_tree(tmp_path / "in", {"a/large.jpg": data, "a/1.jpg": jpeg(1)})
    summary = import_images(source, "large", tmp_path / "out", stored=Stored(max_pixels=95_000_000))
    assert summary.skipped == {} and summary.counts == {"train": {"a": 2}}
    dataset = open_dataset("large", tmp_path / "out")
    assert data in {dataset._record("train", number).image for number in range(2)}
    by_name = {
        example.file_name: example.image for example in dataset.read("train", range(2), (8, 8))
    }
    assert (by_name["a/large.jpg"] == 90).all()
    with pytest.raises(ZfjaxError, match=r"more than 90,000,000 pixels \(10,000 x 9,001\)"):
        view(data, (8, 8), 90_000_000)


@pytest.mark.slow
def test_project_has_the_limit_of_its_flag_or_of_the_set(tmp_path, unbroken, capsys, monkeypatch):
    (tmp_path / "photo.jpg").write_bytes(jpeg(7, 30, 50))
    arguments = [
        "project",
        "--workdir",
        str(unbroken),
        "--layer",
        "conv1",
        "--map",
        "0",
        "--at",
        "last",
        "--out",
        str(tmp_path / "strip.png"),
        "--image",
    ]
    for path, limit, said in (
        (tmp_path / "photo.jpg", "1499", r"more than 1,499 pixels (50 x 30); --max-pixels"),
        (tmp_path / "photo.jpg", "0", "--max-pixels 0 must be 1 or more"),
        (tmp_path, "9999", "Could not read the image"),
    ):
        assert main([*arguments, str(path), "--max-pixels", limit]) == 1
        assert said in capsys.readouterr().err
    assert main([*arguments, str(tmp_path / "photo.jpg"), "--max-pixels", "1500"]) == 0

    # Without the flag, that of the run's data set, and the default where the set is not there.
    written(tmp_path / "sets", load_run(unbroken).config.data.name, [jpeg(1)], max_pixels=1499)
    photo = [*arguments, str(tmp_path / "photo.jpg"), "--data.dir"]
    assert main([*photo, str(tmp_path / "sets")]) == 1
    assert "more than 1,499 pixels (50 x 30); --max-pixels" in capsys.readouterr().err
    assert main([*photo, str(tmp_path / "sets"), "--max-pixels", "1500"]) == 0
    monkeypatch.setattr(projecting, "MAX_PIXELS", 1498)
    assert main([*photo, str(tmp_path / "nowhere")]) == 1
    assert "more than 1,498 pixels" in capsys.readouterr().err


def test_no_limit_is_advised_that_no_machine_could_hold(tmp_path):
    bomb = odd_files.png_header((1 << 31) - 1, (1 << 31) - 1)
    large, most = odd_files.png_header(8000, 7000), odd_files.png_header(1 << 16, 1 << 15)
    files = {"a/bomb.png": bomb, "a/1.jpg": jpeg(1), "a/large.png": large}
    summary = import_images(make_tree(tmp_path / "in", files), "bombs", tmp_path)
    assert summary.notes[:2] == (
        "the largest image left out for its pixels has 8,000 x 7,000 (a/large.png); --max-pixels"
        " 56000000 takes it",
        "the header of a/bomb.png announces 2,147,483,647 x 2,147,483,647 pixels, too large to read"
        " at all (above 2,147,483,648)",
    )
    parts = Account()
    for number, data in enumerate((bomb, most)):
        account = Account()
        assert account.convert(f"{number}", lambda data=data: data, stored_form) is None
        parts.add(asdict(account))
    assert parts.beyond == ((1 << 31) - 1, (1 << 31) - 1, "0")
    assert parts.largest == (1 << 16, 1 << 15, "1")
    for data, says in ((bomb, "is too large to read at all"), (most, "--max-pixels sets the")):
        (tmp_path / "photo.png").write_bytes(data)
        with pytest.raises(ZfjaxError, match=f"more than 50,000,000 pixels .*; .*{says}"):
            view_of_file(tmp_path / "photo.png", (8, 8))


def test_a_file_of_endless_bytes_is_refused(monkeypatch):
    monkeypatch.setattr(headers, "FILE_BYTES", 1000)
    with pytest.raises(ZfjaxError, match="file larger than 8,000 bytes"):
        view_of_file("/dev/zero", (8, 8), 1000)
