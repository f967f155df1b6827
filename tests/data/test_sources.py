"""Tars put together with cat, plain and compressed: read to the last, or refused; never cut in
silence."""

import bz2
import gzip
import io
import lzma
import tarfile

import pytest

from tests.data.test_imagenet import make_tars, tar_bytes
from tests.data_helpers import jpeg, make_tar
from zfjax.data import imagenet
from zfjax.data.dataset import open_dataset
from zfjax.data.imagenet import import_imagenet
from zfjax.data.importing import import_images
from zfjax.data.sources import open_source
from zfjax.errors import ZfjaxError

FIRST = {"a/1.jpg": b"one", "b/1.jpg": bytes(2000)}
SECOND = {"a/2.jpg": b"two" * 300, "c/1.jpg": b""}
PACK = {"tar": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def contents(path, scratch):
    with open_source(path, scratch) as source:
        return {name: source.read(name, 10_000) for name in source.files}, source.skipped


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("padding", [0, 512, 10_240, 3 << 20])
def test_tars_put_together_are_read_to_the_last(tmp_path, kind, padding):
    pack = PACK[kind]
    whole = [
        pack(tar_bytes(files) + bytes(padding)) for files in (FIRST, SECOND, {"d/1.jpg": b"three"})
    ]
    (tmp_path / "in").write_bytes(b"".join(whole))
    assert contents(tmp_path / "in", tmp_path) == ({**FIRST, **SECOND, "d/1.jpg": b"three"}, {})


@pytest.mark.parametrize("kind", PACK)
def test_padding_of_any_length_is_no_damage(tmp_path, kind):
    for padding in (1, 511, 700, 4096):
        (tmp_path / "in").write_bytes(PACK[kind](tar_bytes(FIRST)) + bytes(padding))
        assert contents(tmp_path / "in", tmp_path) == (FIRST, {})


def test_the_last_of_one_name_is_kept_and_told_across_tars(tmp_path):
    (tmp_path / "in").write_bytes(tar_bytes(FIRST) + tar_bytes({"a/1.jpg": b"later"}))
    assert contents(tmp_path / "in", tmp_path) == (
        {**FIRST, "a/1.jpg": b"later"},
        {"duplicate name (the last one is kept)": ["a/1.jpg"]},
    )


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("tail", [b"words", b"\0" * 512 + b"x" * 512, "other", "half", "header"])
def test_what_follows_and_is_no_tar_is_damage(tmp_path, kind, tail):
    pack = PACK[kind]
    later = pack(tar_bytes({"a/3.jpg": bytes(range(256)) * 40}))
    tail = {
        "other": PACK["gz" if kind == "tar" else "tar"](tar_bytes(SECOND)),
        "half": later[: len(later) // 2],
        "header": later[:4],
    }.get(tail, tail)
    (tmp_path / "in").write_bytes(pack(tar_bytes(FIRST)) + tail)
    with pytest.raises(ZfjaxError, match="not a whole tar file"):
        contents(tmp_path / "in", tmp_path)
    if kind != "tar":
        (tmp_path / "in").write_bytes(pack(tar_bytes(FIRST) + b"words, no tar"))
        with pytest.raises(ZfjaxError, match="not a whole tar file"):
            contents(tmp_path / "in", tmp_path)


def test_tars_of_other_formats_put_together(tmp_path):
    whole = io.BytesIO()
    for number, kind in enumerate((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
        with tarfile.open(
            fileobj=whole, mode="w", format=kind, pax_headers={"comment": "é"}
        ) as archive:
            member = tarfile.TarInfo(f"{'n' * 90}{number}/{number}.jpg")
            member.size = number
            archive.addfile(member, io.BytesIO(bytes(number)))
    (tmp_path / "in").write_bytes(whole.getvalue())
    assert contents(tmp_path / "in", tmp_path)[0] == {
        f"{'n' * 90}{n}/{n}.jpg": bytes(n) for n in range(3)
    }


def test_an_import_of_tars_put_together_holds_all_images(tmp_path):
    parts = [
        {f"{name}/{n}.jpg": jpeg(10 * place + n) for n in range(4)}
        for place, name in enumerate(("ant", "bee"))
    ]
    (tmp_path / "in.tar").write_bytes(b"".join(map(tar_bytes, parts)))
    make_tar(tmp_path / "at once.tar", {**parts[0], **parts[1]})
    summary = import_images(tmp_path / "in.tar", "both", tmp_path)
    assert summary.counts == {"train": {"ant": 4, "bee": 4}} and not summary.skipped
    import_images(tmp_path / "at once.tar", "once", tmp_path)
    both, once = (
        open_dataset(name, tmp_path).fingerprint("train")["digest"] for name in ("both", "once")
    )
    assert both == once


def test_imagenets_tars_put_together_hold_all_images(tmp_path):
    source = make_tars(tmp_path / "in", images=2, odd=False)
    more = {"n01443537.tar": tar_bytes({f"n01443537_{n}.JPEG": jpeg(60 + n) for n in range(3)})}
    inner = tar_bytes({"n02111889_7.JPEG": jpeg(70)}) + tar_bytes({"n02111889_8.JPEG": jpeg(80)})
    with open(source / imagenet.TARS["train"], "ab") as train:
        train.write(tar_bytes(more) + tar_bytes({"n02111889.tar": inner}))
    import_imagenet(source, "all", tmp_path / "out", workers=1)
    dataset = open_dataset("all", tmp_path / "out")
    names = {name for _, name in dataset.describe("train", range(dataset.count("train")))}
    assert {name for name in names if name[:9] in ("n01443537", "n02111889")} == {
        *(f"n01443537_{n}.JPEG" for n in range(3)),
        "n02111889_7.JPEG",
        "n02111889_8.JPEG",
    }
    assert len(names) == 11
