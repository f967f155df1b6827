"""Data sets as people download them: the archive or what was unpacked from it, imported whole."""

import tarfile
from pathlib import Path

import pytest

from tests.data.test_labelling import table
from tests.data.test_zips import make_zip
from tests.data_helpers import jpeg, make_tar, make_tree
from zfjax.commands.cli import main
from zfjax.data.dataset import open_dataset
from zfjax.data.imagenet_labels import class_wnids, validation_label
from zfjax.data.importing import import_images
from zfjax.errors import ZfjaxError

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
WNIDS = ("n01443537", "n01629819", "n02111889")
TINY = "tiny-imagenet-200"


def tiny_imagenet(train, validation):
    """{path: bytes} as Stanford's zip has them. ``train``: {wnid: images}, ``validation``: [(wnid,
    image)]."""
    files = {}
    for wnid, pictures in train.items():
        names = [f"{wnid}_{n}.JPEG" for n in range(len(pictures))]
        for name, data in zip(names, pictures, strict=True):
            files[f"{TINY}/train/{wnid}/images/{name}"] = data
        boxes = "".join(f"{name}\t0\t10\t63\t58\n" for name in names)
        files[f"{TINY}/train/{wnid}/{wnid}_boxes.txt"] = boxes.encode()
    lines = ""
    for n, (wnid, data) in enumerate(validation):
        files[f"{TINY}/val/images/val_{n}.JPEG"] = data
        lines += f"val_{n}.JPEG\t{wnid}\t0\t32\t44\t62\n"
    files[f"{TINY}/val/val_annotations.txt"] = lines.encode()
    files |= {f"{TINY}/test/images/test_{n}.JPEG": jpeg(900 + n, 64, 64) for n in range(3)}
    files[f"{TINY}/wnids.txt"] = "\n".join(train).encode()
    words = [f"{wnid}\tthe {wnid}, its name\n" for wnid in train] + ["n00001740\tentity\n"]
    files[f"{TINY}/words.txt"] = "".join(words).encode()
    return files


def small_tiny_imagenet():
    train = {
        wnid: [jpeg(10 * place + n, 64, 64) for n in range(4)] for place, wnid in enumerate(WNIDS)
    }
    return tiny_imagenet(train, [(WNIDS[n % 3], jpeg(500 + n, 64, 64)) for n in range(7)])


def described(name, data_dir, split):
    """{file name: class} of a split, and its bytes' digest."""
    dataset = open_dataset(name, data_dir)
    examples = dataset.describe(split, range(dataset.count(split)))
    return {path: dataset.class_names[label] for label, path in examples}


def digests(name, data_dir):
    dataset = open_dataset(name, data_dir)
    return {split: dataset.fingerprint(split)["digest"] for split in dataset.splits}


def test_tiny_imagenet_as_stanford_gives_it(tmp_path, capsys):
    files = small_tiny_imagenet()
    source = make_zip(tmp_path / "tiny-imagenet-200.zip", files)
    out = tmp_path / "out"
    assert main(["data", "import", str(source), "--name", "tiny", "--data-dir", str(out)]) == 0
    said = capsys.readouterr().out
    assert "train: 12 images in 3 classes\nvalidation: 7 images in 3 classes" in said
    assert "there is no test split, as tiny-imagenet-200/test has 3 files" in said
    assert "val_annotations.txt gives the classes of 7 images" in said
    assert described("tiny", out, "validation") == {
        f"val/images/val_{n}.JPEG": f"the {WNIDS[n % 3]}, its name" for n in range(7)
    }
    assert described("tiny", out, "train") == {
        f"train/{wnid}/images/{wnid}_{n}.JPEG": f"the {wnid}, its name"
        for wnid in WNIDS
        for n in range(4)
    }
    make_tree(tmp_path / "unpacked", files)
    make_tar(tmp_path / "tiny.tgz", files, "w:gz")
    inside = tmp_path / "unpacked" / TINY
    for name, source in (("a", tmp_path / "unpacked"), ("b", tmp_path / "tiny.tgz"), ("c", inside)):
        import_images(source, name, out)
        assert digests(name, out) == digests("tiny", out)


def test_tiny_imagenet_without_its_annotations_is_refused(tmp_path):
    files = small_tiny_imagenet()
    annotations = files.pop(f"{TINY}/val/val_annotations.txt")
    with pytest.raises(ZfjaxError, match="200/val holds 7 files and no class .* label file"):
        import_images(make_zip(tmp_path / "1.zip", files), "tiny", tmp_path / "out")
    files[f"{TINY}/val/val_annotations.txt"] = annotations.replace(b"val_", b"v_")
    with pytest.raises(ZfjaxError, match="No labels come from label files: .*'v_0.JPEG'"):
        import_images(make_zip(tmp_path / "2.zip", files), "tiny", tmp_path / "out")
    assert not [path for path in (tmp_path / "out").iterdir() if not path.name.endswith(".lock")]


def kaggles_imagenet(train, validation):
    """{path: bytes} as Kaggle's ILSVRC unpacks. ``validation``: {file name: (wnid, image)}."""
    base, notes = "ILSVRC/Data/CLS-LOC", "ILSVRC/Annotations/CLS-LOC"
    files = {
        f"{base}/train/{wnid}/{wnid}_{7 * n}.JPEG": data
        for wnid, pictures in train.items()
        for n, data in enumerate(pictures)
    }
    files |= {f"{notes}/train/{wnid}/{wnid}_0.xml": b"<annotation/>" for wnid in train}
    files |= {f"{base}/val/{name}": data for name, (_, data) in validation.items()}
    files |= {f"{notes}/val/{name[:-5]}.xml": b"<annotation/>" for name in validation}
    files[f"{base}/test/ILSVRC2012_test_00000001.JPEG"] = jpeg(7)
    rows = [(name[:-5], f"{wnid} 1 2 3 4 ") for name, (wnid, _) in validation.items()]
    files["LOC_val_solution.csv"] = table(rows, ("ImageId", "PredictionString")).encode()
    files["LOC_synset_mapping.txt"] = b"".join(
        f"{wnid} name of {wnid}, another\n".encode() for wnid in train
    )
    files["ILSVRC/ImageSets/CLS-LOC/val.txt"] = b"".join(
        f"{name[:-5]} {n}\n".encode() for n, name in enumerate(validation, 1)
    )
    return files


def true_names(wnids, most):
    """{the name of a validation image: its wnid}, ``most`` of each."""
    names = {}
    for number in range(1, 50_001):
        name = f"ILSVRC2012_val_{number:08d}.JPEG"
        wnid = class_wnids()[validation_label(name)]
        if wnid in wnids and list(names.values()).count(wnid) < most:
            names[name] = wnid
        if len(names) == most * len(wnids):
            break
    return names


def test_kaggles_imagenet_unpacked_and_packed(tmp_path):
    train = {wnid: [jpeg(10 * place + n) for n in range(3)] for place, wnid in enumerate(WNIDS)}
    names = true_names(WNIDS, 2)
    validation = {name: (wnid, jpeg(90 + n)) for n, (name, wnid) in enumerate(names.items())}
    files = kaggles_imagenet(train, validation)
    out = tmp_path / "out"
    summary = import_images(make_tree(tmp_path / "in", files), "tree", out)
    assert described("tree", out, "validation") == {
        f"val/{name}": f"name of {wnid}" for name, wnid in names.items()
    }
    assert sum(summary.counts["train"].values()) == 9
    assert "list or annotation beside the images" in summary.skipped
    import_images(make_zip(tmp_path / "in.zip", files), "zip", out)
    import_images(tmp_path / "in" / "ILSVRC" / "Data" / "CLS-LOC", "images", out)
    assert digests("tree", out) == digests("zip", out) == digests("images", out)
    assert open_dataset("images", out).class_names == WNIDS


def test_a_set_with_a_csv_as_the_tree_of_its_classes(tmp_path, capsys):
    truth = {f"{n:012x}": ("pug", "boxer", "borzoi")[n % 3] for n in range(30)}
    pictures = {name: jpeg(n) for n, name in enumerate(truth)}
    files = {f"dogs/train/{name}.jpg": data for name, data in pictures.items()}
    files |= {f"dogs/test/{n:x}.jpg": jpeg(50 + n) for n in range(3)}
    files["dogs/labels.csv"] = table(truth.items(), ("id", "breed")).replace("\n", "\r\n").encode()
    source, out = make_zip(tmp_path / "dogs.zip", files), tmp_path / "out"
    command = ["data", "import", str(source), "--data-dir", str(out), "--holdout", "0.3"]
    assert main([*command, "--name", "dogs"]) == 0
    assert "5 files" not in capsys.readouterr().out
    foldered = {f"{label}/{name}.jpg": pictures[name] for name, label in truth.items()}
    summary = import_images(make_tree(tmp_path / "in", foldered), "tree", out, holdout=0.3)
    for split in ("train", "validation"):
        of_csv, of_tree = (described(name, out, split) for name in ("dogs", "tree"))
        assert {Path(name).stem: label for name, label in of_csv.items()} == {
            Path(name).stem: label for name, label in of_tree.items()
        }
        assert len(of_csv) == sum(summary.counts[split].values())
        assert all(truth[Path(name).stem] == label for name, label in of_csv.items())


def test_the_flag_chooses_a_column_and_numbers_get_their_names(tmp_path, capsys):
    rows = [(n, ("a", "b")[n % 2], n % 3) for n in range(9)]
    files = {f"images/{n}.jpg": jpeg(n) for n, _, _ in rows}
    files["labels.csv"] = table(rows, ("image", "class", "category")).encode()
    files["classes.txt"] = b"zero\none\ntwo\n"
    source, out = make_tar(tmp_path / "in.tar", files), tmp_path / "out"
    command = ["data", "import", str(source), "--data-dir", str(out), "--name"]
    assert main([*command, "pets"]) == 1
    assert "(class, category): choose one, as in --label-column class" in capsys.readouterr().err
    assert main([*command, "pets", "--label-column", "category"]) == 0
    said = capsys.readouterr().out
    assert "classes.txt names the classes that are numbers" in said and "is not read" not in said
    names = ("zero", "one", "two")
    assert described("pets", out, "train") == {f"{n}.jpg": names[n % 3] for n in range(9)}
    dataset = open_dataset("pets", out)
    assert dataset.class_names == names
    assert [label for label, path in dataset.describe("train", range(9)) if path == "4.jpg"] == [1]


def test_what_nothing_labels_is_refused_with_what_was_there(tmp_path):
    for name, files in {
        "flat": {"1.jpg": jpeg(1), "2.jpg": jpeg(2)},
        "beside": {"a.jpg": jpeg(1), "b.jpg": jpeg(1), "c.txt": b"words"},
    }.items():
        with pytest.raises(ZfjaxError) as refused:
            import_images(make_tree(tmp_path / name, files), "pets", tmp_path / "out")
        says = str(refused.value)
        assert f"{len(files)} files" in says and min(files) in says
        assert "CLASS/IMAGE" in says and "labels.csv" in says
    inner = {"train.zip": b"PK", "test1.zip": b"PK", "sampleSubmission.csv": b"id,label\n1,0\n"}
    packed = make_zip(tmp_path / "outer.zip", inner)
    with pytest.raises(ZfjaxError, match="but an archive: unpack outer.zip, then give test1.zip"):
        import_images(packed, "outer", tmp_path / "data")
    packed = make_zip(tmp_path / "c.zip", {"set/photos.tar.gz": b"\x1f\x8b", "set/show.m": b"%"})
    with pytest.raises(ZfjaxError, match="unpack c.zip, then give set/photos.tar.gz itself"):
        import_images(packed, "outer", tmp_path / "data")
    with pytest.raises(ZfjaxError, match="but an archive: give photos.zip itself"):
        import_images(make_tree(tmp_path / "in", {"photos.zip": b"PK"}), "pets", tmp_path / "out")
    parquet = make_tree(tmp_path / "parquet", {"data/train-00000.parquet": b"PAR1"})
    with pytest.raises(ZfjaxError, match="no readable image .* such as data/train-00000.parquet"):
        import_images(parquet, "pets", tmp_path / "out")


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the sample images are not at {REAL}")
def test_real_images_in_tiny_imagenets_own_zip(tmp_path):
    with tarfile.open(REAL / "tiny-imagenet-50.tar") as tar:
        members = {member.name: member for member in tar if member.isreg()}
        by_class = {"train": {}, "validation": {}}
        for name, member in sorted(members.items()):
            _, split, *below = name.split("/")
            if len(below) == 2 and len(by_class[split].setdefault(below[0], [])) < 30:
                by_class[split][below[0]].append(tar.extractfile(member).read())
    train = dict(list(by_class["train"].items())[:5])
    validation = [(wnid, data) for wnid in train for data in by_class["validation"][wnid]]
    source = make_zip(tmp_path / "tiny-imagenet-200.zip", tiny_imagenet(train, validation[::-1]))
    summary = import_images(source, "tiny", tmp_path)
    assert {split: list(counts.values()) for split, counts in summary.counts.items()} == {
        "train": [30] * 5,
        "validation": [30] * 5,
    }
    assert set(summary.skipped) >= {"class absent from train"}
