"""ILSVRC2012's own tars to a data set: labels, odd images, resuming, any number of workers."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

from tests.data_helpers import (
    encoded,
    jpeg,
    kill_when_there,
    make_tar,
    members,
    picture,
    stop_when_there,
)
from tests.odd_files import png_header, short, with_exif
from zfjax.commands.cli import main
from zfjax.data import imagenet, writing
from zfjax.data.dataset import list_datasets, open_dataset
from zfjax.data.imagenet import import_imagenet
from zfjax.data.imagenet_labels import class_wnids, validation_label
from zfjax.data.imagenet_plan import TARS, Settings, Shard
from zfjax.data.imagenet_shards import make_shard
from zfjax.data.import_options import Stored
from zfjax.data.sources import tar_places
from zfjax.errors import ZfjaxError

pytestmark = pytest.mark.slow

REAL = Path(__file__).parents[3] / "shared" / "data" / "imagenet-fullres-200.tar"
CLASSES = ("n01440764", "n01751748", "n15075141")


def tar_bytes(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def make_tars(folder, images=6, validation=8, classes=CLASSES, odd=True):
    """Miniature tars in the true layout; the validation tar lists its images backwards under
    "./"."""
    folder.mkdir(parents=True, exist_ok=True)
    inner = {}
    for number, wnid in enumerate(classes):
        files = {
            f"{wnid}_{index}.JPEG": jpeg(10 * number + index, 300, 280) for index in range(images)
        }
        if odd and number == 0:
            files[f"{wnid}_900.JPEG"] = encoded(picture(7, 40, 30).convert("CMYK"), "JPEG")
            files[f"{wnid}_901.JPEG"] = encoded(picture(8, 40, 30), "PNG")
            files[f"{wnid}_902.JPEG"] = jpeg(9, 40, 30)[:300]
        inner[f"{wnid}.tar"] = tar_bytes(files)
    make_tar(
        folder / TARS["train"], {**inner, "n99999999.tar": tar_bytes({"n99999999_1.JPEG": b"?"})}
    )
    names = [f"./ILSVRC2012_val_{number:08d}.JPEG" for number in range(validation, 0, -1)]
    with tarfile.open(folder / TARS["validation"], "w") as archive:
        top = tarfile.TarInfo("./")
        top.type = tarfile.DIRTYPE
        archive.addfile(top)
        for name in [*names, "./ILSVRC2012_val_00050001.JPEG", "./readme.txt"]:
            data = jpeg(int(name[-6]) if name[-6].isdigit() else 0, 70, 60)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return folder


def digests(dataset):
    return {split: dataset.fingerprint(split)["digest"] for split in dataset.splits}


def everything(dataset, split):
    return dataset.describe(split, range(dataset.count(split)))


def test_validation_labels_follow_the_file_name():
    wnids = class_wnids()
    assert len(wnids) == 1000 and list(wnids) == sorted(wnids) and wnids[0] == "n01440764"
    assert wnids[validation_label("ILSVRC2012_val_00000001.JPEG")] == "n01751748"
    assert (
        validation_label("ILSVRC2012_val_00050001.JPEG") is None
        and validation_label("1.JPEG") is None
    )
    assert (
        np.bincount(
            [validation_label(f"ILSVRC2012_val_{n:08d}.JPEG") for n in range(1, 1001)]
        ).sum()
        == 1000
    )


def test_import_of_the_true_layout(tmp_path, capsys):
    source = make_tars(tmp_path / "in")
    (source / imagenet.READABLE_NAMES).write_text(
        "n01440764 tench, Tinca tinca\nn01751748 sea snake\n"
    )
    out = tmp_path / "out"
    place = ["--name", "imagenet2012", "--data-dir", str(out)]
    assert (
        main(["data", "import", str(source), *place, "--workers", "1", "--max-pixels", "90000"])
        == 0
    )
    told = capsys.readouterr().out
    dataset = open_dataset("imagenet2012", out)
    assert dataset.splits == {"train": 20, "validation": 8} and dataset.class_names[:2] == (
        "tench",
        "n01443537",
    )
    wnids = class_wnids()
    for label, name in everything(dataset, "train"):
        assert wnids[label] == name.split("_")[0]
    for label, name in everything(dataset, "validation"):
        assert label == validation_label(name)
    [first] = [
        label
        for label, name in everything(dataset, "validation")
        if name == "ILSVRC2012_val_00000001.JPEG"
    ]
    assert wnids[first] == "n01751748"
    names = [name for _, name in everything(dataset, "train")]
    assert names == sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    for expected in (
        "train: 20 images in 3 classes",
        "made smaller: 18",
        "CMYK, stored as RGB: 1 (n01440764_900.JPEG)",
        "PNG, stored as JPEG: 1",
        "n01440764_902.JPEG",
        "n99999999.tar",
        "ILSVRC2012_val_00050001.JPEG",
        "readme.txt",
        "1,281,167 images for train, not 20",
    ):
        assert expected in told, told
    metadata = json.loads((dataset.directory / "metadata.json").read_text())
    assert (metadata["stored_size"], metadata["stored_quality"]) == (256, 90)
    assert metadata["max_pixels"] == dataset.max_pixels == 90_000
    record = dataset._record("train", names.index("n01440764_0.JPEG"))
    assert min(Image.open(io.BytesIO(record.image)).size) == 256
    assert [path.name for path in out.iterdir() if path.is_dir()] == ["imagenet2012"]


def test_a_worker_skips_and_names_odd_images_and_turns_none(tmp_path):
    turned = with_exif(jpeg(7, 30, 50), [(0x0112, 3, 1, short(6)), (0x011A, 2, 6, b"large\0")])
    images = {
        "1.JPEG": jpeg(1, 40, 30),
        "2.JPEG": turned,
        "3.JPEG": encoded(Image.new("L", (65_501, 2)), "PNG"),
        "4.JPEG": jpeg(4, 400, 400),
        "5.JPEG": jpeg(5, 500, 400),
        "6.JPEG": png_header(600_000_000, 1)[:30],
    }
    tar = make_tar(tmp_path / "in.tar", images)
    with open(tar, "rb") as handle:
        offsets, sizes = np.array([*tar_places(tar, handle)[0].values()]).T
    shard = Shard("train", 0, 1, tuple(images), np.arange(6), offsets, sizes)
    settings = Settings(None, 90, 150_000, 6, {})
    found = make_shard(tar, shard, tmp_path / "shard", tmp_path / "account.json", settings)
    assert found["converted"] == {} and found["skipped"] == {
        "a side above 65,500 pixels, which JPEG cannot hold": ["3.JPEG"],
        "truncated or damaged": ["6.JPEG"],
        "more than 150,000 pixels": ["4.JPEG", "5.JPEG"],
    }
    summary = imagenet._summary(
        tmp_path, "one", [(shard, json.loads((tmp_path / "account.json").read_text()))], {}
    )
    assert "has 400 x 500 (5.JPEG); --max-pixels 200000 takes it" in summary.notes[0]
    assert (
        summary.skipped["more than 150,000 pixels"] == ("4.JPEG", "5.JPEG") and found["images"] == 2
    )
    reader = ArrayRecordReader(str(tmp_path / "shard"))
    kept = [tf_example_pb2.Example.FromString(reader.read([row])[0]) for row in range(2)]
    reader.close()
    assert [record.features.feature["image"].bytes_list.value[0] for record in kept] == [
        images["1.JPEG"],
        turned,
    ]


def test_original_bytes_are_kept(tmp_path):
    source = make_tars(tmp_path / "in", images=2, odd=False)
    import_imagenet(source, "whole", tmp_path / "out", stored=Stored(None, 90), workers=1)
    dataset = open_dataset("whole", tmp_path / "out")
    names = [name for _, name in everything(dataset, "train")]
    assert dataset._record("train", names.index("n01440764_1.JPEG")).image == jpeg(1, 300, 280)


def test_a_killed_import_goes_on_and_ends_alike(tmp_path):
    source, out = make_tars(tmp_path / "in", images=12), tmp_path / "out"
    code = (
        "import sys; from zfjax.data.imagenet import import_imagenet as i; "
        "i(sys.argv[1], 'one', sys.argv[2], shard_images=4, workers=1)"
    )
    kill_when_there(code, source, out, folder=out, pattern=".one.partial/*/*.json.part")
    assert not (out / "one").exists() and list_datasets(out) == []
    finished = {
        path.name: path.stat().st_mtime_ns for path in (out / ".one.partial").glob("*/*-of-*")
    }
    told = []
    import_imagenet(
        source, "one", out, shard_images=4, workers=2, progress=lambda *done: told.append(done)
    )
    import_imagenet(source, "other", tmp_path / "at once", shard_images=4, workers=1)
    one, other = open_dataset("one", out), open_dataset("other", tmp_path / "at once")
    assert finished and told[-1] == ("importing", 47, 47) and told[0][1] >= 4, "listed once"
    for name, when in finished.items():
        kept = one.directory / name
        assert not kept.exists() or kept.stat().st_mtime_ns >= when
    assert digests(one) == digests(other)
    assert [everything(one, split) for split in one.splits] == [
        everything(other, split) for split in other.splits
    ]


COMMAND = """
import sys
from zfjax.data import imagenet, writing
imagenet.SHARD_IMAGES = {True: 4, False: 4}
from tests.odd_files import png_header, short, with_exif
from zfjax.commands.cli import main
arguments = [sys.argv[1], "--name", "one", "--data-dir", sys.argv[2], "--workers", "2"]
sys.exit(main(["data", "import", *arguments]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_stops_an_import_and_leaves_nothing(tmp_path, number):
    source, out = make_tars(tmp_path / "in", images=12), tmp_path / "out"
    before = set(os.listdir("/dev/shm"))
    begun = time.monotonic()
    status, said = stop_when_there(
        COMMAND,
        source,
        out,
        folder=out,
        pattern=".one.partial/*/*.json.part",
        how=lambda process: os.killpg(process.pid, number),
    )
    assert (status, said.splitlines()[-1]) == (
        128 + number,
        "zfjax: stopped.",
    ) and "Traceback" not in said
    assert set(os.listdir("/dev/shm")) <= before and list_datasets(out) == []
    assert time.monotonic() - begun < 30
    import_imagenet(source, "one", out, shard_images=4, workers=1)
    assert open_dataset("one", out).count("train") == 38  # one of 39 is damaged


def test_a_worker_that_dies_is_said_in_a_sentence(tmp_path):
    source, out = make_tars(tmp_path / "in", images=12), tmp_path / "out"

    def kill_a_worker(process):
        workers = [
            one
            for one in members(process.pid)
            if "spawn_main" in Path(f"/proc/{one}/cmdline").read_text()
        ]
        os.kill(workers[0], signal.SIGKILL)

    stop = {"folder": out, "pattern": ".one.partial/*/*.json.part", "how": kill_a_worker}
    status, said = stop_when_there(COMMAND, source, out, **stop)
    assert status == 1 and "A worker process of the import died" in said and "Traceback" not in said
    assert list_datasets(out) == []


def test_other_settings_are_refused_and_a_kill_at_the_end_costs_nothing(tmp_path, monkeypatch):
    source, out = make_tars(tmp_path / "in", images=3, odd=False), tmp_path / "out"
    partial = out / ".one.partial"

    def killed(*arguments, **options):
        raise MemoryError

    with monkeypatch.context() as patched, pytest.raises(MemoryError):
        patched.setattr(imagenet.writing, "write_metadata", killed)
        import_imagenet(source, "one", out, workers=1)
    with pytest.raises(ZfjaxError, match=r"other settings \(quality 90 -> 91\)"):
        import_imagenet(source, "one", out, workers=1, stored=Stored(256, 91))
    told = []
    import_imagenet(source, "one", out, workers=1, progress=lambda *done: told.append(done))
    assert {stage for stage, _, _ in told} <= {"importing"}, "neither listed nor decoded again"
    dataset = open_dataset("one", out)
    assert dataset.splits == {"train": 9, "validation": 8} and not partial.exists()
    assert not list(dataset.directory.glob("*.part"))
    (dataset.directory / "index.part").touch()  # what a kill after the last rename leaves
    with pytest.raises(ZfjaxError, match="There is already a data set"):
        import_imagenet(source, "one", out, workers=1)
    assert not list(dataset.directory.glob("*.part"))


def test_labels_are_audited(tmp_path, capsys):
    source = make_tars(tmp_path / "in", images=1, odd=False)
    (source / imagenet.READABLE_NAMES).write_text(
        "n02012849 crane\nn03126707 crane\nn03710637 maillot\nn03710721 maillot, tank suit\n"
    )
    files = {"n01440764_1.JPEG": jpeg(1, 40, 30), "n01751748_2.JPEG": jpeg(2, 40, 30)}
    make_tar(source / TARS["train"], {"n01440764.tar": tar_bytes(files)})
    summary = import_imagenet(source, "one", tmp_path / "out", workers=1)
    told = "\n".join(summary.lines())
    assert "in the tar of another class, by its name: 1 (n01440764.tar/n01751748_2.JPEG)" in told
    assert (
        "999 of 1,000 classes have no training image" in told
        and "1000 of 1,000 classes have not the 50" in told
    )
    names = open_dataset("one", tmp_path / "out").class_names
    assert names[134] == "crane (n02012849)" and {"maillot", "maillot, tank suit"} <= set(names)
    twice = {**files, "a/n01440764_1.JPEG": jpeg(3, 40, 30)}
    make_tar(source / TARS["train"], {"n01440764.tar": tar_bytes(twice)})
    with pytest.raises(ZfjaxError, match="holds n01440764_1.JPEG more than once"):
        import_imagenet(source, "two", tmp_path / "out", workers=1)
    assert main(["data", "import", str(source / TARS["train"]), "--name", "three"]) == 1
    assert "give the folder that holds both" in capsys.readouterr().err


def test_a_set_with_shifted_labels_is_refused(tmp_path):
    wnids = class_wnids()
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 101)]
    right = [validation_label(name) for name in names]
    for name, labels in (("right", right), ("shifted", [0, *right[:-1]])):
        with writing.new_folder(tmp_path, name) as target:
            examples = [
                {"image": jpeg(1, 20, 20), "label": label, "file_name": file_name}
                for label, file_name in zip(labels, names, strict=True)
            ]
            writing.write_dataset(target, name, {"validation": examples}, writing.About(wnids))
    assert open_dataset("right", tmp_path).count("validation") == 100
    with pytest.raises(
        ZfjaxError, match="ILSVRC2012_val_00000001.JPEG is of class n01751748, not n01440764"
    ):
        open_dataset("shifted", tmp_path)


@pytest.mark.parametrize(
    "harm, says",
    [
        (lambda folder: (folder / TARS["validation"]).unlink(), "both tars are needed"),
        (lambda folder: os.truncate(folder / TARS["train"], 30_000), "not a whole tar"),
        (
            lambda folder: make_tar(folder / TARS["train"], {"cat/1.jpg": b"x"}),
            "holds no image of ILSVRC2012",
        ),
    ],
    ids=["one tar", "cut short", "another tar"],
)
def test_bad_sources_end_in_a_sentence(tmp_path, harm, says):
    source = make_tars(tmp_path / "in", images=2, odd=False)
    harm(source)
    with pytest.raises(ZfjaxError, match=says):
        import_imagenet(source, "one", tmp_path / "out", workers=1)
    assert not (tmp_path / "out" / "one").exists()


def test_a_file_size_limit_ends_in_a_sentence(tmp_path):
    source, out = make_tars(tmp_path / "in", images=6, odd=False), tmp_path / "out"
    code = (
        "import sys, resource; from zfjax.commands.cli import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000)); "
        "sys.exit(main(['data', 'import', sys.argv[1], '--name', 'one', '--data-dir', sys.argv[2], "
        "'--workers', '1', '--size', 'original']))"
    )
    done = subprocess.run([sys.executable, "-c", code, source, out], capture_output=True, text=True)
    assert (
        done.returncode == 1
        and "Traceback" not in done.stderr
        and done.stderr.count("zfjax: ") == 1
    ), done.stderr
    assert not (out / "one").exists()
    import_imagenet(source, "one", out, stored=Stored(None, 90), workers=1)
    assert open_dataset("one", out).count("train") == 18


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL.name} is not beside this checkout")
def test_real_photographs_in_the_true_layout(tmp_path):
    by_class = {}
    with tarfile.open(REAL) as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(".JPEG"):
                wnid = member.name.split("/")[-2]
                by_class[wnid] = archive.extractfile(member).read()
            if len(by_class) == 24:
                break
    folder = tmp_path / "in"
    folder.mkdir()
    train = {f"{wnid}.tar": tar_bytes({f"{wnid}_1.JPEG": data}) for wnid, data in by_class.items()}
    validation = {
        f"ILSVRC2012_val_{number:08d}.JPEG": data
        for number, data in enumerate(by_class.values(), 1)
    }
    make_tar(folder / TARS["train"], train)
    make_tar(folder / TARS["validation"], validation)
    summary = import_imagenet(folder, "imagenet2012", tmp_path / "out", workers=1)
    assert (
        sum(summary.counts["train"].values()) == 24 and summary.counts["train"][min(by_class)] == 1
    )
    dataset = open_dataset("imagenet2012", tmp_path / "out")
    [example] = dataset.read("train", [3], (256, 256))
    assert (
        class_wnids()[example.label] == example.file_name.split("_")[0] and example.image.std() > 10
    )
