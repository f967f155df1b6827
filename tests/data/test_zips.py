"""Zips as people download them: as good as the tree that was packed, and hostile without harm."""

import io
import os
import stat
import struct
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.data_helpers import encoded, jpeg, make_tar, make_tree
from zfjax.data.dataset import open_dataset
from zfjax.data.importing import import_images
from zfjax.data.sources import open_source
from zfjax.errors import ZfjaxError

METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflate": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}
FILES = {
    f"{split}/{folder}/{number}.jpg": jpeg(number + 10 * place)
    for split in ("train", "val")
    for place, folder in enumerate(("ant", "bée"))
    for number in range(3)
}


def zip_bytes(files, method=zipfile.ZIP_DEFLATED):
    """A zip of {name or ZipInfo: bytes}."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that come twice
        for name, data in files.items():
            archive.writestr(name, data, method)
    return whole.getvalue()


def make_zip(path, files, method=zipfile.ZIP_DEFLATED):
    path.write_bytes(zip_bytes(files, method))
    return path


def contents(path, limit=10_000):
    with open_source(path, path.parent) as source:
        return {name: source.read(name, limit) for name in source.files}, source.skipped


def digests(name, data_dir):
    dataset = open_dataset(name, data_dir)
    return {split: dataset.fingerprint(split)["digest"] for split in dataset.splits}


@pytest.mark.parametrize("method", METHODS)
def test_a_zip_and_its_tree_give_the_same_data_set(tmp_path, method):
    packed = {f"photos-main/{name}": data for name, data in FILES.items()}
    resource_forks = {"__MACOSX/photos-main/train/ant/._0.jpg": b"Mac", "photos-main/._x": b"Mac"}
    path = make_zip(tmp_path / "photos.zip", {**packed, **resource_forks}, METHODS[method])
    summary = import_images(path, "packed", tmp_path / "out")
    assert summary.skipped == {"hidden or system file": tuple(sorted(resource_forks))}
    import_images(make_tree(tmp_path / "in", FILES), "laid", tmp_path / "out")
    assert digests("packed", tmp_path / "out") == digests("laid", tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["in", "out", "photos.zip"], "nothing is unpacked"


def test_any_name_of_a_zip_will_do_and_other_archives_are_named(tmp_path):
    make_zip(tmp_path / "download", FILES)
    assert contents(tmp_path / "download") == (FILES, {})
    # A tar that is called .zip is a tar, and what begins with words is none.
    assert contents(make_tar(tmp_path / "tar.zip", FILES)) == (FILES, {})
    make_zip(tmp_path / "self extracting.zip", FILES)
    packed = (tmp_path / "self extracting.zip").read_bytes()
    (tmp_path / "self extracting.zip").write_bytes(b"#!/bin/sh\n" + packed)
    assert contents(tmp_path / "self extracting.zip") == (FILES, {})
    for data, says in {
        b"Rar!\x1a\x07\x01\0": "a RAR archive.*unrar x",
        b"7z\xbc\xaf\x27\x1c": "a 7z archive.*7z x",
        b"<html>Please log in</html>": "not a whole zip file",
        packed[: len(packed) // 2]: "not a whole zip file",
        packed[:100]: "not a whole zip file",
    }.items():
        (tmp_path / "in.zip").write_bytes(data)
        with pytest.raises(ZfjaxError, match=says):
            contents(tmp_path / "in.zip")


def test_hostile_names_are_left_out_and_said(tmp_path):
    link = zipfile.ZipInfo("a/link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    hostile = {
        "/etc/evil.jpg": b"1",
        "a/../../evil.jpg": b"2",
        "C:/evil.jpg": b"3",
        "..\\..\\evil.jpg": b"4",
        "c:\\windows\\evil.jpg": b"5",
        ".git/a.jpg": b"6",
        link: b"/etc/passwd",
    }
    files, skipped = contents(make_zip(tmp_path / "in.zip", {"a/1.jpg": b"sound", **hostile}))
    assert files == {"a/1.jpg": b"sound"}
    assert skipped == {
        "unsafe path": [
            "/etc/evil.jpg",
            "a/../../evil.jpg",
            "C:/evil.jpg",
            "../../evil.jpg",
            "c:/windows/evil.jpg",
        ],
        "hidden or system file": [".git/a.jpg"],
        "link or device": ["a/link.jpg"],
    }


def test_names_are_read_as_they_were_written(tmp_path):
    path = make_zip(tmp_path / "in.zip", {"b\\ä.jpg": b"1", "./c//2.jpg": b"2", "d/": b""})
    # A Mac says nothing of its UTF-8: the flag of the header and of the directory taken away.
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.index(signature) + at
        flags = struct.unpack_from("<H", data, start)[0]
        struct.pack_into("<H", data, start, flags & ~0x800)
    path.write_bytes(data)
    assert contents(path) == ({"b/ä.jpg": b"1", "c/2.jpg": b"2"}, {})
    with open_source(path, tmp_path) as source:
        assert source.folders == ("d",)


def test_the_last_of_one_name_is_kept_and_said(tmp_path):
    twice = {zipfile.ZipInfo("a/1.jpg"): b"first", zipfile.ZipInfo("a/1.jpg"): b"second"}
    assert contents(make_zip(tmp_path / "in.zip", twice)) == (
        {"a/1.jpg": b"second"},
        {"duplicate name (the last one is kept)": ["a/1.jpg"]},
    )


def changed(data, method=None, flags=0):
    """A zip whose first member says another method, and has more flags."""
    data = bytearray(data)
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.index(signature) + at
        own_flags, own_method = struct.unpack_from("<HH", data, start)
        struct.pack_into(
            "<HH", data, start, own_flags | flags, own_method if method is None else method
        )
    return bytes(data)


UNREADABLE = {
    "encrypted": ({"flags": 1}, "encrypted", "is encrypted: unpack it with its password"),
    "Deflate64": ({"method": 9}, "compressed with Deflate64, which", "compressed with Deflate64"),
    "unknown": ({"method": 77}, "compressed with method 77, which", "compressed with method 77"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_unpacked_is_said(tmp_path, case):
    change, reason, refusal = UNREADABLE[case]
    path = tmp_path / "in.zip"
    path.write_bytes(changed(zip_bytes({"a/1.jpg": b"one", "a/2.jpg": b"two"}), **change))
    files, skipped = contents(path)
    assert files == {"a/2.jpg": b"two"} and [name.startswith(reason) for name in skipped] == [True]
    path.write_bytes(changed(zip_bytes({"a/1.jpg": b"one"}), **change))
    with pytest.raises(ZfjaxError, match=refusal):
        import_images(path, "pets", tmp_path / "out")


def test_a_bomb_is_unpacked_no_further_than_the_limit(tmp_path):
    path = make_zip(tmp_path / "in.zip", {"a/1.jpg": bytes(50 << 20)})
    with open_source(path, tmp_path) as source:
        for limit in (0, 1000):
            with pytest.raises(ZfjaxError, match=f"file larger than {limit:,} bytes"):
                source.read("a/1.jpg", limit)
    # One that says it holds 5 bytes is damaged, and is not unpacked further either.
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(signature) + at, 5)
    path.write_bytes(data)
    with open_source(path, tmp_path) as source:
        with pytest.raises(ZfjaxError, match="damaged within the zip"):
            source.read("a/1.jpg", 1000)


def test_members_laid_over_each_other_are_left_out(tmp_path):
    data = bytearray(zip_bytes({f"a/{n}.jpg": bytes(999) for n in range(3)}, zipfile.ZIP_STORED))
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    struct.pack_into("<I", data, second + 42, 40)  # begins within the first member
    (tmp_path / "in.zip").write_bytes(data)
    files, skipped = contents_of_names(tmp_path / "in.zip")
    assert "a/2.jpg" in files and "a/0.jpg" not in files
    assert "laid over another member of the zip" in skipped


def contents_of_names(path):
    with open_source(path, path.parent) as source:
        return source.files, source.skipped


@pytest.mark.parametrize("method", METHODS)
def test_damage_within_a_zip_costs_one_file(tmp_path, method):
    noise = np.random.default_rng(0)
    files = {
        f"a/{n}.jpg": encoded(Image.fromarray(noise.integers(0, 256, (40, 40, 3), np.uint8)))
        for n in range(4)
    }
    data = bytearray(zip_bytes(files, METHODS[method]))
    middle = data.index(b"a/1.jpg") + 900
    data[middle : middle + 200] = bytes(200)
    (tmp_path / "in.zip").write_bytes(data)
    summary = import_images(tmp_path / "in.zip", "pets", tmp_path / "out")
    assert summary.skipped == {"damaged within the zip": ("a/1.jpg",)}
    assert summary.counts == {"train": {"a": 3}}


def test_zip64_and_an_empty_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for name, data in FILES.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(data)
    assert contents(tmp_path / "in.zip") == (FILES, {})
    with pytest.raises(ZfjaxError, match="no class folders"):
        import_images(make_zip(tmp_path / "in.zip", {}), "pets", tmp_path / "out")
