"""What a source holds. Tars put together with cat, plain and compressed: read to the last, or
refused; never cut in silence. Hard links and what systems leave, in trees and tars alike."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import tarfile

import pytest

from tests.data.test_imagenet import make_tars, tar_bytes
from tests.data_helpers import jpeg, make_tar, make_tree
from zfjax.data import imagenet
from zfjax.data.dataset import open_dataset
from zfjax.data.finding import dataset_names
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


@pytest.mark.parametrize("kind", ["gnu", "pax", "ustar"])
def test_a_tar_holds_the_hard_links_that_its_tree_holds(tmp_path, kind):
    """Written by tar itself, which stores each file once, in the order that it meets the names."""
    tree = make_tree(tmp_path / "in", {"b/1.jpg": b"one", "c/2.jpg": b"two", ".aside/3.jpg": b"3"})
    for other, name in (
        ("b/1.jpg", "a/1.jpg"),
        ("b/1.jpg", "z/deep/1.jpg"),
        ("c/2.jpg", "c/9.jpg"),
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(tree / other, tree / name)
    os.link(tree / ".aside/3.jpg", tree / "z/3.jpg")
    for order in (["."], ["z", "c", "b", "a", ".aside"]):
        command = ["tar", f"--format={kind}", "-cf", tmp_path / "in.tar", "-C", tree, *order]
        subprocess.run(command, check=True)
        with tarfile.open(tmp_path / "in.tar") as archive:
            assert sum(member.islnk() for member in archive) == 4
        in_tar, _ = contents(tmp_path / "in.tar", tmp_path)
        assert in_tar == contents(tree, tmp_path)[0] and len(in_tar) == 6


def link(name, target, kind=tarfile.LNKTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member.tobuf(tarfile.PAX_FORMAT)


def test_links_to_what_comes_later_and_to_nothing(tmp_path):
    links = [
        link("a/before.jpg", "./a/1.jpg"),
        link("a/chain.jpg", "a/before.jpg"),
        link("a/hidden.jpg", "x/../.trash/1.jpg"),
        link("a/gone.jpg", "a/nowhere.jpg"),
        link("a/itself.jpg", "a/itself.jpg"),
        link("a/round.jpg", "a/and round.jpg"),
        link("a/and round.jpg", "a/round.jpg"),
        link("a/up.jpg", "../../etc/passwd"),
        link("a/symbolic.jpg", "1.jpg", tarfile.SYMTYPE),
        link("a/folder.jpg", "a"),
    ]
    after = tar_bytes({"a/1.jpg": b"one", "x/../.trash/1.jpg": b"thrown away"})
    (tmp_path / "in").write_bytes(b"".join(links) + after)
    one = dict.fromkeys(("a/1.jpg", "a/before.jpg", "a/chain.jpg"), b"one")
    lacking = "and round", "folder", "gone", "itself", "round", "up"
    files, skipped = contents(tmp_path / "in", tmp_path)
    assert files == {**one, "a/hidden.jpg": b"thrown away"}
    assert sorted(skipped.pop("hard link to a file that the tar lacks")) == [
        f"a/{name}.jpg" for name in lacking
    ]
    assert skipped == {"link or device": ["a/symbolic.jpg"], "unsafe path": ["x/../.trash/1.jpg"]}


def test_the_last_of_one_name_counts_for_links_too(tmp_path):
    """As unpacking would leave them: a link stays with the bytes that its target had."""
    first, second = tar_bytes({"a/1.jpg": b"one"}), tar_bytes({"a/1.jpg": b"later"})
    (tmp_path / "in").write_bytes(first + link("a/2.jpg", "a/1.jpg") + second)
    files, _ = contents(tmp_path / "in", tmp_path)
    assert files == {"a/1.jpg": b"later", "a/2.jpg": b"one"}
    (tmp_path / "in").write_bytes(first + link("a/1.jpg", "a/1.jpg") + bytes(1024))
    assert contents(tmp_path / "in", tmp_path)[0] == {"a/1.jpg": b"one"}


LEFT_BY_SYSTEMS = (
    "@eaDir/one.jpg/SYNOPHOTO_THUMB_M.jpg",
    "@eaDir/1.jpg",
    "cats/@eaDir/1.jpg/SYNOPHOTO_THUMB_XL.jpg",
    "cats/SYNOFILE_THUMB_S.jpg",
    "@tmp/1.jpg",
    "#recycle/cats/1.jpg",
    "cats/#snapshot/1.jpg",
    "@Recycle/1.jpg",
    ".@__thumb/1.jpg",
    "lost+found/#1234/1.jpg",
    "FOUND.001/1.jpg",
    "RECYCLER/S-1/1.jpg",
    "~snapshot/hourly.0/cat/1.jpg",
    "_gsdata_/1.jpg",
    "LOST.DIR/1",
    ".Trash-1000/files/1.jpg",
    ".Trashes/501/1.jpg",
    ".git/objects/1.jpg",
    ".ipynb_checkpoints/1-checkpoint.jpg",
    "cats/.ipynb_checkpoints/1-checkpoint.jpg",
    ".AppleDouble/1.jpg",
    ".DS_Store",
    "cats/.DS_Store",
    "__MACOSX/cats/._1.jpg",
    "cats/._1.jpg",
    "$RECYCLE.BIN/S-1-5-21/1.jpg",
    "System Volume Information/1.jpg",
    "cats/Thumbs.db",
    "cats/ehthumbs.db",
    "cats/desktop.ini",
    "cats/Icon\r",
    "found.000/1.jpg",
    ".Spotlight-V100/1.jpg",
    ".fseventsd/1.jpg",
    "Network Trash Folder/1.jpg",
    "__pycache__/1.jpg",
)


@pytest.mark.parametrize("split", ["", "train/"])
def test_what_systems_leave_is_neither_image_nor_class(tmp_path, split):
    sound = {f"{split}cats/1.jpg": jpeg(1), f"{split}lost and found/2.jpg": jpeg(2)}
    files = sound | {f"{split}{name}": jpeg(3) for name in LEFT_BY_SYSTEMS}
    tree = make_tree(tmp_path / "in", files)
    tar = make_tar(tmp_path / "in.tar", files, folders=(f"{split}@eaDir", f"{split}lost+found"))
    for number, source in enumerate((tree, tar)):
        summary = import_images(source, f"set_{number}", tmp_path / "data")
        assert summary.counts == {"train": {"cats": 1, "lost and found": 1}}
        assert set(summary.skipped) == {"hidden or system file"}
    assert len(summary.skipped["hidden or system file"]) == len(LEFT_BY_SYSTEMS) + 2
    (tmp_path / "data" / "lost+found" / "1.0.0").mkdir(parents=True)
    assert dataset_names(tmp_path / "data") == ["set_0", "set_1"]


@pytest.mark.parametrize(
    "name, data, what",
    [
        ("cat.jpg", jpeg(1), "JPEG"),
        ("labels.csv", b"image,label\n" * 200, "text"),
        ("train_32x32.mat", b"MATLAB 5.0 MAT-file".ljust(900), "MATLAB"),
        ("set.h5", b"\x89HDF\r\n\x1a\n".ljust(900, b"x"), "HDF5"),
        ("photos.zip", b"<!doctype html><html>Sign in".ljust(900), "an HTML page"),
        ("photos.tar", b"version https://git-lfs.github.com/spec/v1\noid", "a git-lfs pointer"),
        ("mnist.pkl.gz", gzip.compress(b"\x80\4\x95".ljust(900, b"x")), "a Python pickle"),
    ],
    # The bytes are no name: gzip writes the time into them.
    ids=["jpeg", "text", "matlab", "hdf5", "html", "git-lfs", "pickle"],
)
def test_a_file_that_is_no_archive_is_named(tmp_path, name, data, what):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ZfjaxError, match=f"not a whole (tar|zip) file, .* but {what}.*: give a fo"):
        contents(tmp_path / name, tmp_path)
