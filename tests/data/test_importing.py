import errno
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data_helpers import encoded, jpeg, kill_when_there, make_tar, make_tree, picture
from zfjax.commands.cli import main
from zfjax.data import headers, importing
from zfjax.data.arranging import arrange
from zfjax.data.converting import stored_form
from zfjax.data.dataset import list_datasets, open_dataset
from zfjax.data.import_options import Stored
from zfjax.data.importing import import_images
from zfjax.errors import ZfjaxError
from zfjax.files import exclusive_lock

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


def tree_files(classes=("ant", "bee", "cat"), each=5):
    return {
        f"{folder}/{number}.JPEG": jpeg(number + 10 * index)
        for index, folder in enumerate(classes)
        for number in range(each)
    }


def digests(name, data_dir):
    dataset = open_dataset(name, data_dir)
    return {split: dataset.fingerprint(split)["digest"] for split in dataset.splits}


def names(dataset, split):
    return [
        example.file_name for example in dataset.read(split, range(dataset.count(split)), (8, 8))
    ]


# Layouts.


def test_a_tree_of_class_folders(tmp_path):
    files = tree_files()
    counted = []
    summary = import_images(
        make_tree(tmp_path / "in", files),
        "pets",
        tmp_path / "out",
        progress=lambda *told: counted.append(told),
    )
    assert summary.counts == {"train": {"ant": 5, "bee": 5, "cat": 5}} and counted[-1] == (
        "importing",
        15,
        15,
    )
    assert summary.converted == {} and summary.skipped == {} and summary.resized == 0
    dataset = open_dataset("pets", tmp_path / "out")
    assert dataset.splits == {"train": 15} and dataset.class_names == ("ant", "bee", "cat")
    examples = dataset.read("train", range(15), (40, 40))
    assert {example.file_name for example in examples} == set(files)
    for example in examples:
        assert dataset.class_names[example.label] == example.file_name.split("/")[0]
        assert np.array_equal(
            example.image, np.asarray(Image.open(io.BytesIO(files[example.file_name])))
        )
    # The order mixes the classes, so that a prefix is a sample.
    assert len({example.label for example in examples[:6]}) > 1


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "VAL", "Dev_Set", "val2017"])
def test_split_folders(tmp_path, validation):
    files = {f"train/{name}": data for name, data in tree_files().items()}
    files |= {f"{validation}/{name}": data for name, data in tree_files(each=2).items()}
    files |= {
        "test/bee/9.jpg": jpeg(9),
        "test/unlabelled/1.jpg": jpeg(1),
        "notes/a/x.jpg": jpeg(2),
        "README": b"hello",
    }
    summary = import_images(make_tree(tmp_path / "in", files), "pets", tmp_path)
    assert {split: sum(counts.values()) for split, counts in summary.counts.items()} == {
        "train": 15,
        "validation": 6,
        "test": 1,
    }
    assert summary.skipped == {
        "class absent from train": ("test/unlabelled/1.jpg",),
        "not in a class folder": ("README",),
        "outside the split folders": ("notes/a/x.jpg",),
    }
    dataset = open_dataset("pets", tmp_path)
    assert all(name.startswith(f"{validation}/") for name in names(dataset, "validation"))


@pytest.mark.parametrize("top", ["", "top/", "one/two/"])
def test_single_top_folders_are_looked_through(tmp_path, top):
    files = {f"{top}train/{name}": data for name, data in tree_files().items()}
    files[f"{top}classes.tsv"] = b"bee\tbumblebee, $\\frac{1}{2}$ [/b]\nant\t<script>\n\nnonsense\n"
    import_images(make_tar(tmp_path / "in.tar", files), "pets", tmp_path)
    dataset = open_dataset("pets", tmp_path)
    assert dataset.class_names == ("<script>", "bumblebee, $\\frac{1}{2}$ [/b]", "cat")
    assert set(names(dataset, "train")) == {f"train/{name}" for name in tree_files()}


def test_arrange_is_pure_and_ignores_the_order_of_listing():
    paths = [
        f"{split}/{folder}/{number}"
        for split in ("train", "val")
        for folder in "abc"
        for number in range(9)
    ]
    shuffled = [paths[index] for index in np.random.default_rng(0).permutation(len(paths))]
    assert arrange(paths) == arrange(shuffled)
    assert arrange(paths).classes == ("a", "b", "c")


def test_a_class_called_train_is_a_class():
    layout = arrange(["train/1.jpg", "plane/2.jpg"])
    assert layout.classes == ("plane", "train") and {item[2] for item in layout.items} == {"train"}


def test_splits_are_asked_about_and_said_on_the_command_line(tmp_path, capsys):
    files = {
        f"{split}/{name}": data
        for split in ("Training", "run_2", "val2017")
        for name, data in tree_files(("ant", "bee"), each=2 + len(split)).items()
    }
    command = [
        "data",
        "import",
        str(make_tree(tmp_path / "in", files)),
        "--name",
        "pets",
        "--data-dir",
        str(tmp_path / "out"),
    ]
    assert (
        main([*command, "--splits", "train=Training", "val=val2017", "--splits", "test=run_2"]) == 0
    )
    assert open_dataset("pets", tmp_path / "out").splits == {
        "train": 20,
        "validation": 18,
        "test": 14,
    }
    (tmp_path / "in" / "run_2").rename(tmp_path / "in" / "train_2")
    command[4] = "asked"
    capsys.readouterr()
    assert main(command) == 1
    told = capsys.readouterr().err
    assert (
        told == "zfjax: These folders may be splits or classes: train_2: say which is which, as in"
        " --splits train=Training train=train_2 validation=val2017, or --splits none where all"
        " folders are classes.\n"
    )
    assert not (tmp_path / "out" / "asked").exists()
    assert main([*command, "--splits", "none"]) == 0
    assert open_dataset("asked", tmp_path / "out").class_names == ("Training", "train_2", "val2017")
    make_tar(tmp_path / "ILSVRC2012_img_train.tar", {})
    assert main(["data", "import", str(tmp_path), "--name", "x", "--splits", "none"]) == 1
    assert "its splits; import it without --splits" in capsys.readouterr().err


def test_a_split_in_a_split_is_never_a_class_and_the_answer_imports_both(tmp_path, capsys):
    files = {f"train/{name}": data for name, data in tree_files(("ant", "bee")).items()}
    inner = tree_files(("ant", "bee"), each=2).items()
    files |= {f"train/val/{name}": data for name, data in inner}
    source = str(make_tree(tmp_path / "in", files))
    command = ["data", "import", source, "--name", "pets", "--data-dir", str(tmp_path / "out")]
    assert main(command) == 1
    answer = "--splits train=train validation=train/val"
    assert f"train/val do not lie on top: say which is which, as in {answer}, or" in (
        capsys.readouterr().err
    )
    assert main([*command, *answer.split()]) == 0
    dataset = open_dataset("pets", tmp_path / "out")
    assert dataset.class_names == ("ant", "bee")
    assert dataset.splits == {"train": 10, "validation": 4}
    assert set(names(dataset, "validation")) == {f"train/val/{name}" for name, _ in inner}


def test_what_would_be_dropped_beside_a_split_is_asked_about(tmp_path, capsys):
    files = {f"train/{name}/{n}.jpg": jpeg(n) for name in ("ant", "bee") for n in range(2)}
    files |= {
        f"photos{number}/{name}/{n}.jpg": jpeg(n)
        for number in "23"
        for name in ("cat", "dog", "elk")
        for n in range(6)
    }
    source = str(make_tree(tmp_path / "in", files))
    command = ["data", "import", source, "--name", "pets", "--data-dir", str(tmp_path / "out")]
    assert main(command) == 1
    assert "Most files lie outside train, in photos2, photos3: say" in capsys.readouterr().err
    assert main([*command, "--splits", "train=train"]) == 0
    said = capsys.readouterr().out
    assert "attention: 36 files are left out" in said and "photos2 (18), photos3 (18)" in said


def test_a_validation_split_of_other_names_is_refused_and_nothing_is_left(tmp_path):
    files = {f"train/{name}/1.jpg": jpeg(1) for name in ("Cat", "Dog")}
    make_tree(tmp_path / "in", files | {f"val/{name}/2.jpg": jpeg(2) for name in ("cat", "dog")})
    says = "validation split in val has no class .* are cat, dog, those for training Cat, Dog"
    with pytest.raises(ZfjaxError, match=says):
        import_images(tmp_path / "in", "pets", tmp_path / "out")
    assert left_over(tmp_path / "out") == []


def test_a_training_split_without_a_readable_image_is_refused(tmp_path):
    make_tree(tmp_path / "in", {"train/a/1.jpg": b"words", "val/a/2.jpg": jpeg(2)})
    with pytest.raises(ZfjaxError, match="no readable image for training, only for validation"):
        import_images(tmp_path / "in", "pets", tmp_path / "out")
    assert left_over(tmp_path / "out") == []


def test_holdout_against_a_validation_split_is_refused(tmp_path):
    files = {"train/a/1.jpg": jpeg(1), "val/a/2.jpg": jpeg(2)}
    with pytest.raises(ZfjaxError, match="validation split of its own"):
        import_images(make_tree(tmp_path / "in", files), "pets", tmp_path / "out", holdout=0.1)
    with pytest.raises(ZfjaxError, match="leaves a split without images"):
        import_images(
            make_tree(tmp_path / "in2", {"a/1.jpg": jpeg(1)}),
            "pets",
            tmp_path / "out",
            holdout=0.01,
        )
    assert list_datasets(tmp_path / "out") == []


# A tree and its tar.


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tree_and_tar_give_the_same_data_set(tmp_path, mode):
    files = tree_files()
    files |= {
        "cat/grey.png": encoded(picture(3).convert("L"), "PNG"),
        "classes.tsv": b"cat\tpuss\n",
    }
    import_images(make_tree(tmp_path / "in", files), "tree", tmp_path, holdout=0.3)
    backwards = {f"./top/{name}": files[name] for name in reversed(files)}
    summary = import_images(
        make_tar(tmp_path / "in.tar", backwards, mode), "tar", tmp_path, holdout=0.3
    )
    assert digests("tree", tmp_path) == digests("tar", tmp_path)
    assert names(open_dataset("tree", tmp_path), "train") == names(
        open_dataset("tar", tmp_path), "train"
    )
    assert "puss" in summary.counts["train"]
    assert not list(tmp_path.glob(".*.tmp"))


# Odd files.


def rotated(image):
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image, "JPEG", quality=95, exif=exif)


def test_odd_files_are_converted_or_skipped_and_named(tmp_path):
    whole = jpeg(1, 60, 90)
    files = {
        "a/clean.JPEG": jpeg(0),
        "a/grey.JPEG": encoded(picture(2).convert("L"), "JPEG"),
        "a/cmyk.JPEG": encoded(picture(3).convert("CMYK"), "JPEG"),
        "a/png.JPEG": encoded(picture(4), "PNG"),
        "a/gif.jpg": encoded(picture(5), "GIF"),
        "a/alpha.png": encoded(picture(6).convert("RGBA"), "PNG"),
        "a/turned.JPEG": rotated(picture(7, 30, 50)),
        "a/deep/er/x.JPEG": jpeg(8),
        "a/cut.JPEG": whole[: len(whole) // 2],
        "a/empty.JPEG": b"",
        "a/words.JPEG": b"these are words",
        "a/page.jpg": b"<html>not found</html>",
        "a/bomb.png": encoded(Image.new("1", (9000, 9000)), "PNG"),
        "a/greater.png": encoded(Image.new("1", (20000, 20000)), "PNG"),
        "a/.hidden.JPEG": jpeg(9),
        "__MACOSX/a/._clean.JPEG": b"x",
        ".DS_Store": b"x",
        "loose.JPEG": jpeg(10),
        "b/one.JPEG": jpeg(11),
        "unreadable/x.JPEG": b"x",
    }
    make_tree(tmp_path / "in", files)
    (tmp_path / "in" / "nothing").mkdir()
    (tmp_path / "in" / "a" / "gone.JPEG").symlink_to(tmp_path / "missing")
    (tmp_path / "in" / "a" / "again").symlink_to(tmp_path / "in" / "a")
    os.mkfifo(tmp_path / "in" / "a" / "pipe.JPEG")
    summary = import_images(tmp_path / "in", "odd", tmp_path / "out")
    assert summary.converted == {
        "grayscale, kept": ("a/grey.JPEG",),
        "CMYK, stored as RGB": ("a/cmyk.JPEG",),
        "PNG, stored as JPEG": ("a/alpha.png", "a/png.JPEG"),
        "GIF, stored as JPEG": ("a/gif.jpg",),
        "turned upright as its EXIF says": ("a/turned.JPEG",),
        "nested folder, taken into its class": ("a/deep/er/x.JPEG",),
    }
    assert summary.skipped == {
        "truncated or damaged": ("a/cut.JPEG",),
        "empty file": ("a/empty.JPEG",),
        "not an image but an HTML page": ("a/page.jpg",),
        "not an image but text": ("a/words.JPEG", "unreadable/x.JPEG"),
        "more than 50,000,000 pixels": ("a/bomb.png", "a/greater.png"),
        "hidden or system file": (".DS_Store", "__MACOSX", "a/.hidden.JPEG"),
        "not in a class folder": ("loose.JPEG",),
        "class folder without files": ("nothing",),
        "broken link": ("a/gone.JPEG",),
        "link to a folder above it": ("a/again",),
        "link or device": ("a/pipe.JPEG",),
        "class without a readable image (its label stays)": ("unreadable",),
    }
    assert summary.counts == {"train": {"a": 8, "b": 1, "unreadable": 0}}
    assert any("skipped, empty file: 1 (a/empty.JPEG)" in line for line in summary.lines())
    dataset = open_dataset("odd", tmp_path / "out")
    by_name = {example.file_name: example for example in dataset.read("train", range(9), (40, 40))}
    for name, number in (
        ("a/cmyk.JPEG", 3),
        ("a/png.JPEG", 4),
        ("a/alpha.png", 6),
        ("a/clean.JPEG", 0),
    ):
        assert np.abs(by_name[name].image.astype(float) - np.asarray(picture(number))).mean() < 6, (
            name
        )


def test_clean_bytes_are_kept_and_the_rest_is_made_upright_and_small():
    data = jpeg(1, 60, 90)
    assert stored_form(data) == (data, (), False)
    assert stored_form(data, size=60) == (data, (), False)
    smaller, _, resized = stored_form(data, size=30)
    assert resized and Image.open(io.BytesIO(smaller)).size == (45, 30)
    upright, reasons, _ = stored_form(rotated(picture(7, 30, 50)))
    seen = Image.open(io.BytesIO(upright))
    assert seen.size == (30, 50) and reasons == ("turned upright as its EXIF says",)
    expected = np.rot90(np.asarray(picture(7, 30, 50)), -1).astype(float)
    assert np.abs(np.asarray(seen) - expected).mean() < 4
    assert seen.getexif().get(0x0112, 1) == 1
    damaged_exif = data[:2] + b"\xff\xe1\x00\x10Exif\x00\x00II*\x00\xff\xff\xff\xff" + data[2:]
    assert stored_form(damaged_exif)[0] == damaged_exif


def test_size_is_counted(tmp_path):
    summary = import_images(
        make_tree(tmp_path / "in", {"a/1.jpg": jpeg(1, 60, 90), "a/2.jpg": jpeg(2, 20, 20)}),
        "pets",
        tmp_path,
        stored=Stored(size=32),
    )
    assert summary.resized == 1 and summary.lines()[1] == "made smaller: 1"


def test_hostile_members_of_a_tar(tmp_path):
    path = tmp_path / "in.tar"
    with tarfile.open(path, "w") as archive:

        def add(name, data=b"", kind=tarfile.REGTYPE, link=""):
            member = tarfile.TarInfo(name)
            member.size, member.type, member.linkname = len(data), kind, link
            archive.addfile(member, io.BytesIO(data))

        add("a/1.jpg", jpeg(1))
        add("a/2.jpg", jpeg(2))
        add("a/1.jpg", jpeg(3))
        add("/etc/evil.jpg", jpeg(4))
        add("a/../../evil.jpg", jpeg(5))
        add("a/symbolic.jpg", kind=tarfile.SYMTYPE, link="/etc/passwd")
        add("a/hard.jpg", kind=tarfile.LNKTYPE, link="a/1.jpg")
        add("a/outside.jpg", kind=tarfile.LNKTYPE, link="/etc/passwd")
        add("a/device.jpg", kind=tarfile.CHRTYPE)
        add("a/pipe.jpg", kind=tarfile.FIFOTYPE)
        add("__MACOSX/a/._1.jpg", b"x")
        add("empty/", kind=tarfile.DIRTYPE)
    summary = import_images(path, "hostile", tmp_path / "out")
    assert summary.skipped == {
        "unsafe path": ("/etc/evil.jpg", "a/../../evil.jpg"),
        "link or device": ("a/device.jpg", "a/pipe.jpg", "a/symbolic.jpg"),
        "hidden or system file": ("__MACOSX/a/._1.jpg",),
        "class folder without files": ("empty",),
        "duplicate name (the last one is kept)": ("a/1.jpg",),
        "hard link to a file that the tar lacks": ("a/outside.jpg",),
    }
    dataset = open_dataset("hostile", tmp_path / "out")
    examples = {example.file_name: example for example in dataset.read("train", range(3), (40, 40))}
    assert np.array_equal(examples["a/hard.jpg"].image, examples["a/1.jpg"].image)
    assert np.abs(examples["a/1.jpg"].image.astype(float) - np.asarray(picture(3))).mean() < 4
    assert sorted(os.listdir(tmp_path)) == ["in.tar", "out"]
    assert sorted(os.listdir(tmp_path / "out")) == [".hostile.lock", "hostile"]


def test_hostile_class_names_are_labels_only(tmp_path):
    folders = [
        "<script>alert(1)<|script>",
        "$\\frac{1}$",
        "[b]",
        "größe 猫",
        " spaced ",
        "two\nlines",
        "con\x1b[31m",
        "-rf",
        "a b",
    ]
    summary = import_images(
        make_tar(
            tmp_path / "in.tar", {f"{name}/{n}.jpg": jpeg(n) for name in folders for n in range(2)}
        ),
        "names",
        tmp_path / "out",
    )
    dataset = open_dataset("names", tmp_path / "out")
    assert dataset.class_names == tuple(sorted(folders))
    for example in dataset.read("train", range(len(folders) * 2), (8, 8)):
        assert dataset.class_names[example.label] == example.file_name.rsplit("/", 1)[0]
    assert list(summary.counts["train"].values()) == [2] * len(folders)
    assert not any("\x1b" in line or "\n" in line for line in summary.lines())
    assert sorted(path.name for path in (tmp_path / "out" / "names").iterdir()) == ["1.0.0"]


def test_names_that_are_not_utf8(tmp_path):
    make_tree(tmp_path / "in", {"a/1.jpg": jpeg(1)})
    (tmp_path / os.fsdecode(b"in/a/\xff\xfe.jpg")).write_bytes(jpeg(2))
    import_images(tmp_path / "in", "bytes", tmp_path)
    assert set(names(open_dataset("bytes", tmp_path), "train")) == {"a/1.jpg", "a/\\xff\\xfe.jpg"}


def test_a_file_larger_than_the_limit_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(headers, "FILE_BYTES", 60_000)
    files = {"a/1.jpg": jpeg(1), "a/huge.jpg": jpeg(2) + bytes(1 << 20)}
    summary = import_images(
        make_tree(tmp_path / "in", files), "pets", tmp_path, stored=Stored(max_pixels=10_000)
    )
    assert summary.skipped == {"file larger than 80,000 bytes": ("a/huge.jpg",)}


# Refusals, and nothing left behind.


def left_over(folder):
    return [path for path in folder.iterdir() if path.suffix != ".lock"] if folder.exists() else []


@pytest.mark.parametrize(
    "name", ["", "Pets", "9lives", "a-b", "a/b", "../a", "a b", "ä", "_a", "x" * 200]
)
def test_unfit_names_are_refused(tmp_path, name):
    make_tree(tmp_path / "in", tree_files())
    with pytest.raises(ZfjaxError, match="cannot name a data set"):
        import_images(tmp_path / "in", name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_taken_name_is_refused(tmp_path):
    make_tree(tmp_path / "in", tree_files())
    import_images(tmp_path / "in", "pets", tmp_path / "out")
    before = digests("pets", tmp_path / "out")
    with pytest.raises(ZfjaxError, match="already a data set 'pets'"):
        import_images(tmp_path / "in", "pets", tmp_path / "out")
    assert digests("pets", tmp_path / "out") == before


def test_sources_without_images(tmp_path):
    out = tmp_path / "out"
    cases = {"void": {}, "flat": {"1.jpg": jpeg(1)}, "words": {"a/1.jpg": b"words"}}
    for name, files in cases.items():
        (tmp_path / name).mkdir()
        with pytest.raises(ZfjaxError, match="no class folders|no readable image"):
            import_images(make_tree(tmp_path / name, files), "pets", out)
        with pytest.raises(ZfjaxError, match="no class folders|no readable image"):
            import_images(make_tar(tmp_path / f"{name}.tar", files), "pets", out)
    with pytest.raises(ZfjaxError, match="There is no"):
        import_images(tmp_path / "missing", "pets", out)
    with pytest.raises(ZfjaxError, match="neither a folder nor a tar"):
        import_images("/dev/null", "pets", out)
    assert left_over(out) == []


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("damage", ["half", "tail", "zeroed", "words", "empty"])
def test_a_damaged_tar_is_refused(tmp_path, mode, damage):
    noise = np.random.default_rng(0)
    files = {
        f"a/{n}.jpg": encoded(Image.fromarray(noise.integers(0, 256, (40, 40, 3), np.uint8)))
        for n in range(9)
    }
    path = make_tar(tmp_path / "in.tar", files, mode)
    content = bytearray(path.read_bytes())
    if damage == "half":
        content = content[: len(content) // 2]
    elif (
        damage == "tail"
    ):  # a plain tar ends in 10 kB of zeros: take them all, and the end of the last member
        content = content[: len(content.rstrip(b"\0")) - 30] if mode == "w" else content[:-30]
    elif damage == "zeroed" and mode == "w":  # the third header
        third = content.index(b"a/2.jpg")
        content[third : third + 512] = b"\1" * 512
    elif damage == "zeroed":
        content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    else:
        content = b"just words, no tar" * 100 if damage == "words" else b""
    path.write_bytes(content)
    with pytest.raises(ZfjaxError, match="not a whole tar"):
        import_images(path, "pets", tmp_path / "out")
    assert left_over(tmp_path / "out") == []


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(importing.writing, "write_dataset", full)
    with pytest.raises(ZfjaxError, match="the disk is full"):
        import_images(make_tree(tmp_path / "in", tree_files()), "pets", tmp_path / "out")
    assert left_over(tmp_path / "out") == []


def test_a_second_import_of_the_same_name_is_refused(tmp_path):
    make_tree(tmp_path / "in", tree_files())
    with exclusive_lock(tmp_path / "out" / ".pets.lock", None):
        with pytest.raises(ZfjaxError, match="Another import"):
            import_images(tmp_path / "in", "pets", tmp_path / "out")


def test_a_killed_import_is_never_read_and_is_cleared(tmp_path):
    data = jpeg(1)
    make_tree(tmp_path / "in", {f"a/{number}.jpg": data for number in range(4000)})
    out = tmp_path / "out"
    code = (
        "import sys; from zfjax.data.importing import import_images; import_images(sys.argv[1],"
        " 'pets', sys.argv[2])"
    )
    kill_when_there(code, tmp_path / "in", out, folder=out, pattern=".pets.*.tmp/1.0.0/*")
    assert list(out.glob(".pets.*.tmp")) and list_datasets(out) == []
    import_images(make_tree(tmp_path / "small", tree_files()), "pets", out)
    assert left_over(out) == [out / "pets"] and open_dataset("pets", out).splits == {"train": 15}


# Real images.


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the sample images are not at {REAL}")
def test_caltech_as_it_is(tmp_path):
    summary = import_images(REAL / "caltech101-40.tar", "caltech40", tmp_path, holdout=0.1)
    assert {split: len(counts) for split, counts in summary.counts.items()} == {
        "train": 40,
        "validation": 40,
    }
    assert (
        sum(sum(counts.values()) for counts in summary.counts.values()) == 1800
        and summary.skipped == {}
    )


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the sample images are not at {REAL}")
def test_tiny_imagenet_as_it_is(tmp_path):
    # Eight of the fifty classes, to save time; every byte else as it is in the tar.
    with (
        tarfile.open(REAL / "tiny-imagenet-50.tar") as whole,
        tarfile.open(tmp_path / "in.tar", "w") as part,
    ):
        table = whole.extractfile("tiny-imagenet-50/classes.tsv").read().decode()
        keep = {line.split("\t")[0]: line.split("\t")[1] for line in table.splitlines()[:8]}
        for member in whole:
            if member.name.endswith("classes.tsv") or (
                member.isreg() and member.name.split("/")[2] in keep
            ):
                part.addfile(member, whole.extractfile(member))
    summary = import_images(tmp_path / "in.tar", "tiny", tmp_path)
    dataset = open_dataset("tiny", tmp_path)
    assert dataset.splits == {"train": 4000, "validation": 400}
    assert dataset.class_names == tuple(keep[folder] for folder in sorted(keep))
    assert set(summary.converted) <= {"grayscale, kept"} and summary.skipped == {}
    (example,) = dataset.read("train", [7], (64, 64))
    assert example.file_name.split("/")[0] == "train"
    assert keep[example.file_name.split("/")[1]] == dataset.class_names[example.label]
