"""Label files, however they are written, and what they may lie beside: every image gets the class
that was written down for it, or nothing is imported."""

import csv
import io
import itertools
import json
import random
import re
from pathlib import Path

import pytest

from zfjax.data.arranging import arrange
from zfjax.data.class_numbers import names_of_numbers
from zfjax.data.imagenet_labels import class_wnids, validation_label
from zfjax.data.labelling import labels_of
from zfjax.errors import ZfjaxError

CLASSES = ("cat", "big dog", "crane, the bird", 'a "quoted" one', "été")
TRUTH = {f"IMG {n}.v2.jpg": CLASSES[n % 5] for n in random.Random(0).sample(range(40), 20)}
PLAIN = {f"{n}.jpg": ("ant", "bee", "cow")[n % 3] for n in range(12)}


def read_from(files):
    data = {
        path: text if isinstance(text, bytes) else text.encode() for path, text in files.items()
    }
    return lambda path, limit: data[path]


def labelled(files, splits=None, column=None):
    """{path below the root: (split, class)} and the labels of {path: text or bytes}."""
    labels = labels_of(files, read_from(files), splits, column)
    layout = arrange(files, (), splits, labels)
    return {name: (split, label) for _, name, split, label in layout.items}, labels


def images(names, folder="images"):
    return {f"{folder}/{name}" if folder else name: b"" for name in names}


def table(rows, header=("file_name", "label"), separator=",", **options):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n", **options)
    writer.writerows([header, *rows] if header else rows)
    return text.getvalue()


def in_train(truth):
    return {name: ("train", label) for name, label in truth.items()}


# How a label file is written.

SPELLED = {
    "as it is": lambda name: name,
    "without its ending": lambda name: name.removesuffix(".jpg"),
    "with another ending": lambda name: name.removesuffix("jpg") + "png",
    "with its folder": lambda name: f"images/{name}",
    "from somewhere": lambda name: f"/kaggle/input/pets/images/{name}",
    "of Windows": lambda name: f".\\images\\{name}",
}


@pytest.mark.parametrize("spelled", SPELLED)
def test_names_of_files_are_understood(spelled):
    rows = [(SPELLED[spelled](name), label) for name, label in TRUTH.items()]
    for header, folder in itertools.product((("id", "breed"), None), ("images", "a/b", "")):
        above = f"{folder.rpartition('/')[0]}/" if "/" in folder else ""
        files = images(TRUTH, folder) | {f"{above}labels.csv": table(rows, header)}
        assert labelled(files)[0] == in_train(TRUTH)


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
def test_separators_quotes_ends_of_lines_and_encodings(separator, quoting):
    for header, end, encoding, path in itertools.product(
        (("Image Name", " Class "), None),
        ("\n", "\r\n", "\r"),
        ("utf-8", "utf-8-sig", "utf-16", "utf-16-le"),
        ("labels.csv", "Labels.TSV"),
    ):
        text = table(TRUTH.items(), header, separator, quoting=quoting).replace("\n", end)
        assert labelled(images(TRUTH) | {path: text.encode(encoding)})[0] == in_train(TRUTH)


@pytest.mark.parametrize("header", [True, False])
def test_spaces_separate_where_they_can(header):
    for word in ("ant", "big ant", "big red ant"):
        truth = {name: word if label == "ant" else label for name, label in PLAIN.items()}
        for more in ("", " 0 0 62 62") if word == "ant" else ("",):
            lines = [f"{name}  {label}{more}\n" for name, label in truth.items()]
            text = ("file label\n" if header and not more else "") + "".join(lines)
            assert labelled(images(PLAIN) | {"labels.txt": text})[0] == in_train(truth)
    named = {f"my {name}": label for name, label in PLAIN.items()}
    text = "".join(f"{name} {label}\n" for name, label in named.items())
    assert labelled(images(named) | {"train_list.txt": text})[0] == in_train(named)


def test_a_quote_that_nothing_closes_swallows_no_line():
    for label in ('"{}', '5" {}'):
        text = "".join(f"{name},{label.format(kind)}\n" for name, kind in PLAIN.items())
        placed, _ = labelled(images(PLAIN) | {"labels.csv": text})
        assert placed == in_train({name: label.format(kind) for name, kind in PLAIN.items()})
    rows = [(name, 'a caption\n"in" lines, two', kind) for name, kind in PLAIN.items()]
    text = table(rows, ("file_name", "text", "label"))
    assert labelled(images(PLAIN) | {"metadata.csv": text})[0] == in_train(PLAIN)


def test_lines_of_json():
    lines = [{"text": "hm", "file_name": name, "label": label} for name, label in TRUTH.items()]
    lines[0]["objects"] = {"bbox": [[1, 2, 3, 4]]}
    text = "\n\n".join(map(json.dumps, lines))
    for folder, path in (("train", "train/metadata.jsonl"), ("", "metadata.jsonl")):
        files = images(TRUTH, folder) | {path: text}
        above = f"{folder}/" if folder else ""
        assert labelled(files)[0] == {f"{above}{n}": ("train", c) for n, c in TRUTH.items()}
    numbers = "".join(f'{{"file_name": "{n}.jpg", "label": {n % 2}}}\n' for n in range(12))
    files = images(PLAIN) | {"metadata.jsonl": numbers}
    assert labelled(files)[0] == in_train({f"{n}.jpg": str(n % 2) for n in range(12)})
    for line in ('{"file_name": "1.jpg", "label"', "[1]", '"1.jpg"'):
        with pytest.raises(ZfjaxError, match="Line 13 of metadata.jsonl is no JSON object"):
            labelled(images(PLAIN) | {"metadata.jsonl": numbers + line})


COLUMNS = {
    "by name": ("file,weight,label", "{name},0.{n},{label}"),
    "in another order": ("Species;Width;Image_ID", "{label};{n};{stem}"),
    "index of a table": (",path,target", "{n},{name},{label}"),
    "an id beside": ("id,filename,breed", "{n},{name},{label}"),
    "number and name of a class": ("path,class_id,class_name", "{name},{number},{label}"),
    "number after name": ("path,category,category id", "{name},{label},{number}"),
    "names that say nothing": ("foto,art", "{name},{label}"),
    "no header, boxes": (None, "{name}\t{label}\t0\t32\t44\t{n}"),
    "no header, the class first": (None, "{label},{name}"),
    "one constant": ("image,label,class", "{name},{label},animal"),
    "sizes before it": ("Filename;Width;Roi.X1;Art", "{name};3{number};5;{label}"),
    "sizes in words": ("image,size", "{name},{label}"),
    "boxes in brackets": ("image,box,kind", '{name},"[1, 2, 3, {number}]",{label}'),
    "a column for each class": ("image_id,ant,bee,cow", "{stem},{flags}"),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_the_columns_are_found(case):
    header, form = COLUMNS[case]
    rows = [header] if header else []
    for n, (name, label) in enumerate(PLAIN.items()):
        number = ("ant", "bee", "cow").index(label)
        flags = ",".join(("0", "1.0")[number == place] for place in range(3))
        stem = name.removesuffix(".jpg")
        rows.append(form.format(n=n, name=name, label=label, number=number, stem=stem, flags=flags))
    assert labelled(images(PLAIN) | {"labels.csv": "\n".join(rows)})[0] == in_train(PLAIN)


def test_an_image_may_be_called_as_columns_are():
    truth = {"image.jpg": "ant", "label.jpg": "bee", "id.jpg": "ant", "0.jpg": "bee"}
    files = images(truth) | {"labels.csv": table(truth.items(), ("image", "label"))}
    assert labelled(files)[0] == in_train(truth)
    assert labelled(files | {"labels.csv": table(truth.items(), None)})[0] == in_train(truth)


def test_several_columns_of_classes_are_asked_about_and_the_flag_answers():
    rows = [(name, label, "xy"[n % 2]) for n, (name, label) in enumerate(PLAIN.items())]
    files = images(PLAIN) | {"labels.csv": table(rows, ("file", "species", "The breed"))}
    assert labelled(files, column="The breed")[0] == {
        name: ("train", kind) for name, _, kind in rows
    }
    assert labelled(files, column="2")[0] == labelled(files, column="SPECIES")[0]
    named = images(PLAIN) | {"labels.csv": table(rows, ("file", "species", "category"))}
    with pytest.raises(ZfjaxError, match=r"\(species, category\): choose one, .*-column species"):
        labelled(named)
    unnamed = images(PLAIN) | {"labels.csv": table(rows, ("file", "art", "die sorte"))}
    with pytest.raises(ZfjaxError, match=r"\(art, die sorte\)"):
        labelled(unnamed)
    for column, says in {
        "sex": "no column 'sex'.*it has file, species",
        "4": "no column '4'",
    }.items():
        with pytest.raises(ZfjaxError, match=f"--label-column {column}: labels.csv has {says}"):
            labelled(named, column=column)
    with pytest.raises(ZfjaxError, match="--label-column sex: there is no label file"):
        labelled(images(PLAIN), column="sex")
    assert set(labelled(named, column="none")[0].values()) == {("train", "images")}


# Lines and images that do not meet.


def test_lines_and_images_without_each_other_are_counted():
    rows = [*list(PLAIN.items())[:10], ("absent.jpg", "ant"), ("gone.jpg", "bee"), ("10.jpg", "")]
    placed, labels = labelled(images(PLAIN) | {"labels.csv": table(rows)})
    assert placed == in_train(dict(list(PLAIN.items())[:10]))
    assert labels.skipped == {"no class in labels.csv": ["images/10.jpg", "images/11.jpg"]}
    assert labels.notes == (
        "labels.csv gives the classes of 10 images",
        "2 of 13 lines of labels.csv name an image that is not there",
        "1 of 13 lines of labels.csv give no class",
    )


def test_contradictions_are_refused_and_repetitions_are_none():
    rows = list(PLAIN.items())
    twice = images(PLAIN) | {"labels.csv": table([*rows, rows[0]])}
    assert labelled(twice)[0] == in_train(PLAIN)
    for again in ("0.jpg", "0", "images/0.jpg"):
        files = images(PLAIN) | {"labels.csv": table([*rows, (again, "bee")])}
        with pytest.raises(
            ZfjaxError, match="images/0.jpg two classes: ant in line 2 and bee in line"
        ):
            labelled(files)
    files = images(PLAIN) | {"labels.csv": table(rows), "train.csv": table([("0.jpg", "cow")])}
    with pytest.raises(
        ZfjaxError, match="labels.csv says that images/0.jpg is of class ant, and t"
    ):
        labelled(files)
    files = images(PLAIN) | {"labels.csv": table(rows), "train.csv": table(rows[:4])}
    assert labelled(files)[0] == in_train(PLAIN) | {
        name: ("train", label) for name, label in rows[:4]
    }


@pytest.mark.parametrize(
    "text, says",
    [
        ("file,label\nx.jpg,a\ny.jpg,b\n", "names none of the images .*'x.jpg', 'y.jpg'"),
        ("", "names none of the images"),
        ("file,label\n", "names none of the images"),
        ("file\n1.jpg\n2.jpg\n", r"no column that may be the classes \(it has file"),
        (
            "Filename;Width;Height;Roi.X1\n1.jpg;29;30;5\n2.jpg;29;30;6\n",
            r"no column that may be the classes \(it has Filename, Width",
        ),
        ("image,partition\n1.jpg,0\n2.jpg,0\n3.jpg,2\n", "no column that may be the classes"),
        (b"file,label\n1.jpg,caf\xe9\n", "in no encoding that zfjax knows"),
    ],
)
def test_a_label_file_of_no_use_is_said(text, says):
    for folder in ("images", "train", ""):
        with pytest.raises(ZfjaxError, match=f"labels.csv (has |is )?{says}"):
            labelled(images(PLAIN, folder) | {"labels.csv": text})
    for path in ("labels.xlsx", "metadata.parquet", "setid.mat"):
        unread = f"{path} is no kind of label file that is read (.csv, .tsv, .txt, .jsonl)"
        with pytest.raises(
            ZfjaxError, match=f"No image has a class .12, .*, as {re.escape(unread)}"
        ):
            labelled(images(PLAIN, "jpg") | {path: b""})
        assert labelled(images(PLAIN, "cats") | {path: b""})[1].unused == (unread,)
        assert len(labelled(images(PLAIN) | {path: b""}, column="none")[0]) == len(PLAIN)
    splits = images(PLAIN, "cars_train") | images(PLAIN, "cars_test")
    with pytest.raises(ZfjaxError, match="No image has a class .*, as devkit/cars_meta.mat is no"):
        labelled(splits | {"devkit/cars_meta.mat": b""})


def test_a_name_in_two_folders_needs_its_folder():
    files = {f"{folder}/{name}": b"" for folder in ("photos", "pictures") for name in PLAIN}
    with pytest.raises(ZfjaxError, match="names 0.jpg, which may be photos/0.jpg, pictures/0.jpg"):
        labelled(files | {"labels.csv": table(PLAIN.items())})
    names = {"train/1.jpg": "a", "val/1.jpg": "b", "train/2.jpg": "b", "val/2.jpg": "a"}
    files = dict.fromkeys(names, b"") | {"labels.csv": table(names.items())}
    assert labelled(files)[0] == {
        name: ("train" if name[0] == "t" else "validation", label) for name, label in names.items()
    }
    rows = [(Path(name).name, Path(name).parent.name, label) for name, label in names.items()]
    files |= {"labels.csv": table(rows, ("file", "split", "label"))}
    assert labelled(files)[0] == {
        name: ("train" if name[0] == "t" else "validation", label) for name, label in names.items()
    }
    files |= {"labels.csv": table(names.items())}
    # A line about an image of the other split is not about this one.
    del files["val/1.jpg"]
    assert labelled(files)[0]["train/1.jpg"] == ("train", "a")


# Where splits come from.


def split_in_three(truth):
    splits = itertools.cycle(("train", "train", "validation", "test"))
    return {
        name: (split, label) for (name, label), split in zip(truth.items(), splits, strict=False)
    }


def test_splits_by_folder_file_and_column():
    placed = split_in_three(TRUTH)
    rows = {
        split: [(name, label) for name, (own, label) in placed.items() if own == split]
        for split in ("train", "validation", "test")
    }
    by_folder = {
        f"{split}/{name}": (split, label) for split, of in rows.items() for name, label in of
    }
    beside = {f"{split}/metadata.csv": table(of) for split, of in rows.items()}
    above = {f"{split}.csv": table(of) for split, of in rows.items()}
    lists = {f"{split}_labels.csv": table(of, None) for split, of in rows.items()}
    folders = dict.fromkeys(by_folder, b"")
    whole = {"labels.csv": table([(path, label) for path, (_, label) in by_folder.items()])}
    for tables in (beside, above, lists, whole):
        assert labelled(folders | tables)[0] == by_folder
    for tables in (above, lists):
        assert labelled(images(TRUTH) | tables)[0] == placed
    column = [(name, split, label) for name, (split, label) in placed.items()]
    files = images(TRUTH) | {"metadata.csv": table(column, ("id", "Set", "label"))}
    assert labelled(files)[0] == placed
    assert set(split for split, _ in labelled(files, splits={})[0].values()) == {"train"}


def test_a_column_of_splits_names_one_in_every_line():
    for odd, says in (("pool", "'pool'"), ("", "''")):
        rows = [(name, ("train", odd)[n % 2], "ab"[n % 2]) for n, name in enumerate(PLAIN)]
        files = images(PLAIN) | {"labels.csv": table(rows, ("file", "split", "label"))}
        with pytest.raises(ZfjaxError, match=f"split of labels.csv .* has {says}: .*--splits none"):
            labelled(files)
        assert len(labelled(files, splits={})[0]) == 12
    rows = [(name, "AB"[n % 2], label) for n, (name, label) in enumerate(PLAIN.items())]
    files = images(PLAIN) | {"labels.csv": table(rows, ("file", "set", "label"))}
    assert labelled(files)[0] == in_train(PLAIN)


def test_a_test_folder_without_lines_is_left_out():
    for test, name in (("test", "labels.csv"), ("test_images", "train.csv")):
        train = test.replace("test", "train")
        files = images(TRUTH, train) | images(PLAIN, test)
        files |= {name: table(TRUTH.items(), ("id", "breed")), "sample_submission.csv": "id,a\n0,1"}
        files |= {"test.csv": "id\n" + "\n".join(PLAIN)}
        assert labelled(files)[0] == {f"{train}/{n}": ("train", c) for n, c in TRUTH.items()}


def test_folders_that_the_user_calls_splits():
    files = {f"{'ab'[n % 2]}/{n}.jpg": b"" for n in range(12)} | {
        "labels.csv": table(PLAIN.items())
    }
    placed, _ = labelled(files, splits={"a": "train", "b": "validation"})
    assert placed == {
        f"{'ab'[n % 2]}/{n}.jpg": (("train", "validation")[n % 2], PLAIN[f"{n}.jpg"])
        for n in range(12)
    }


def test_classes_may_be_called_like_splits_and_folders():
    names = ("train", "test", "images", "2012", "a/b")
    truth = {f"{n}.jpg": names[n % 5] for n in range(20)}
    assert labelled(images(truth) | {"labels.csv": table(truth.items())})[0] == in_train(truth)


# Beside class folders.

TREE = {f"{label}/{name}": b"" for name, label in PLAIN.items()}


def test_class_folders_need_no_label_file():
    expected = {f"{label}/{name}": ("train", label) for name, label in PLAIN.items()}
    for text in (
        table(PLAIN.items()),
        table([(name, label.upper()) for name, label in PLAIN.items()]),
        table([(name, f"caption {name[0]}") for name in PLAIN], ("file_name", "text")),
        table([("absent.jpg", "ant")]),
        b"\xff\xe9\x81,",
        "1.jpg,a\n1.jpg,b\n",
    ):
        placed, labels = labelled(TREE | {"labels.csv": text})
        assert placed == expected and not labels.notes


def test_a_label_file_that_contradicts_class_folders_is_asked_about():
    other = {name: "xyz"[n // 4] for n, name in enumerate(PLAIN)}
    files = TREE | {"metadata.csv": table(other.items(), ("file", "dx"))}
    says = r"metadata.csv gives .* \(ant, bee, cow: x, y, z\): say --label-column dx where"
    with pytest.raises(ZfjaxError, match=says + ".*--label-column none where the folders are"):
        labelled(files)
    path_of = {name: path for path in TREE for name in PLAIN if path.endswith(f"/{name}")}
    assert labelled(files, column="dx")[0] == {
        path_of[name]: ("train", label) for name, label in other.items()
    }
    assert labelled(files, column="none")[0] == {
        path: ("train", path.split("/")[0]) for path in TREE
    }


def test_one_class_of_a_folder_and_its_label_file():
    files = {f"cat/{n}.jpg": b"" for n in range(3)} | {
        "labels.csv": table([(f"{n}.jpg", "cat") for n in range(3)])
    }
    assert labelled(files)[0] == {f"cat/{n}.jpg": ("train", "cat") for n in range(3)}


def test_one_folder_tells_no_classes_apart():
    files = images(PLAIN, "my_pets") | {"preview.png": b"", "labels.csv": table(PLAIN.items())}
    assert labelled(files)[0] == {f"my_pets/{n}": ("train", c) for n, c in PLAIN.items()}
    files = images(["1.jpg"], "train/ant") | images(["2.jpg"], "val") | {"val.csv": "2.jpg,ant\n"}
    assert labelled(files)[0] == {
        "train/ant/1.jpg": ("train", "ant"),
        "val/2.jpg": ("validation", "ant"),
    }


def test_lists_beside_a_folder_of_images_are_no_class():
    files = {f"food-101/images/{path}": b"" for path in TREE}
    files |= {"food-101/meta/train.txt": "ant/0\n", "food-101/meta/classes.txt": "ant\nbee\n"}
    placed, labels = labelled(files)
    assert placed == {path: ("train", path.split("/")[0]) for path in TREE}
    lists = arrange(files, (), None, labels).skipped["list or annotation beside the images"]
    assert lists == ["food-101/meta/classes.txt", "food-101/meta/train.txt"]


# ImageNet.

WNIDS = ("n01443537", "n01629819", "n02111889")
TRUE = {
    name: class_wnids()[label]
    for name in (f"ILSVRC2012_val_{n:08d}.JPEG" for n in range(1, 3000))
    if (label := validation_label(name)) is not None and class_wnids()[label] in WNIDS
}
ILSVRC = {f"train/{wnid}/{wnid}_{n}.JPEG": b"" for wnid in WNIDS for n in range(4)}
ILSVRC |= {f"val/{name}": b"" for name in TRUE}
EXPECTED = {name: ("train", name.split("/")[1]) for name in ILSVRC if name.startswith("train")}
EXPECTED |= {f"val/{name}": ("validation", wnid) for name, wnid in TRUE.items()}


def test_unpacked_imagenet_is_labelled_by_its_file_names():
    placed, labels = labelled(ILSVRC)
    assert placed == EXPECTED and len(TRUE) > 3
    assert labels.notes == (f"ILSVRC2012's file names give the classes of {len(TRUE)} images",)
    flat = {re.sub("/n[0-9]+/", "/", path): b"" for path in ILSVRC}
    assert labelled(flat)[0] == {
        re.sub("/n[0-9]+/", "/", path): value for path, value in EXPECTED.items()
    }
    assert labelled(flat | {"notes.csv": "a,b\n"})[0] == labelled(flat)[0]
    # Numbers of classes in a list of another order are no classes of this set.
    numbers = "".join(f"{name} {n % 7}\n" for n, name in enumerate(TRUE))
    assert labelled(ILSVRC | {"val.txt": numbers})[0] == EXPECTED
    renamed = {path.replace("train/", "ILSVRC2012_img_train/"): b"" for path in ILSVRC}
    renamed = {path.replace("val/", "ILSVRC2012_img_val/"): b"" for path in renamed}
    assert [value for _, value in sorted(labelled(renamed)[0].items())] == [
        value for _, value in sorted(EXPECTED.items())
    ]
    # Not a set of ImageNet's: names alone say nothing.
    with pytest.raises(ZfjaxError, match="val holds .* files and no class folders"):
        labelled({path.replace("n0", "m0"): b"" for path in ILSVRC})


def kaggle(truth):
    base = "ILSVRC/Data/CLS-LOC/"
    files = {f"{base}{path}": b"" for path in ILSVRC}
    files |= {f"{base}test/ILSVRC2012_test_{n:08d}.JPEG": b"" for n in range(1, 4)}
    stems = {name.removesuffix(".JPEG"): wnid for name, wnid in truth.items()}
    files |= {f"ILSVRC/Annotations/CLS-LOC/val/{stem}.xml": b"" for stem in stems}
    files |= {
        f"ILSVRC/Annotations/CLS-LOC/train/{wnid}/{wnid}_{n}.xml": b""
        for wnid in WNIDS
        for n in range(20)
    }
    sets = "ILSVRC/ImageSets/CLS-LOC"
    files[f"{sets}/val.txt"] = "".join(f"{stem} {n}\n" for n, stem in enumerate(stems, 1))
    files[f"{sets}/train_cls.txt"] = "".join(
        f"{path[6:-5]} {n}\n" for n, path in enumerate(ILSVRC, 1) if path.startswith("train")
    )
    form = "{} 85 1 499 272 {} 3 4 5 6 "
    files["LOC_val_solution.csv"] = table(
        [(stem, form.format(wnid, wnid)) for stem, wnid in stems.items()],
        ("ImageId", "PredictionString"),
    )
    files["LOC_sample_submission.csv"] = "ImageId,PredictionString\nILSVRC2012_test_00000001,1 2\n"
    files["LOC_synset_mapping.txt"] = "n01443537 goldfish, Carassius auratus\n"
    return files


@pytest.mark.parametrize("top", ["", "imagenet-object-localization-challenge/"])
def test_kaggles_imagenet(top):
    files = {f"{top}{path}": data for path, data in kaggle(TRUE).items()}
    placed, labels = labelled(files)
    assert placed == EXPECTED
    assert labels.notes == (f"{top}LOC_val_solution.csv gives the classes of {len(TRUE)} images",)
    layout = arrange(files, (), None, labels)
    assert layout.class_tables == (f"{top}LOC_synset_mapping.txt",)
    annotations = layout.skipped["list or annotation beside the images"]
    assert len([path for path in annotations if path.endswith(".xml")]) == 60 + len(TRUE)
    del files[f"{top}LOC_val_solution.csv"]
    assert labelled(files)[0] == EXPECTED


def test_a_label_file_counts_before_the_names_of_files_and_what_differs_is_said():
    other = dict(zip(TRUE, [*list(TRUE.values())[1:], list(TRUE.values())[0]], strict=True))
    placed, labels = labelled(kaggle(other))
    assert {name[4:]: label for name, (split, label) in placed.items() if split != "train"} == other
    differ = sum(other[name] != TRUE[name] for name in TRUE)
    assert labels.notes[0].startswith(f"attention: {differ} images have another class")


# What numbers mean.


@pytest.mark.parametrize(
    "path, text",
    [
        ("classes.txt", "ant\nbee\ncow\n"),
        ("class_names.txt", "0 ant\n1 bee\n2 cow\n"),
        ("labels.txt", "ant: 0\nbee: 1\ncow: 2"),
        ("meta/classes.csv", "id,name\n0,ant\n1,bee\n2,cow\n"),
        ("label_map.tsv", "name\tid\nant\t0\nbee\t1\ncow\t2\n"),
        ("label_num_to_disease_map.json", '{"0": "ant", "1": "bee", "2": "cow"}'),
        ("class_to_idx_map.json", '{"ant": 0, "bee": 1, "cow": 2}'),
        ("classes.json", '["ant", "bee", "cow"]'),
        (
            "imagenet_class_index.json",
            '{"0": ["n0", "ant"], "1": ["n1", "bee"], "2": ["n2", "cow"]}',
        ),
    ],
)
def test_a_list_says_what_numbers_mean(path, text):
    files = {path: text, "a.jpg": b""}

    def names(*numbers):
        return names_of_numbers(list(files), read_from(files), numbers)

    assert names("0", "1", "2") == (["ant", "bee", "cow"], path)
    assert names("2", "0") == (["cow", "ant"], path)
    assert names("0", "3") is None and names("0", "cow") is None and names() is None


def test_numbers_stand_in_their_order():
    truth = {f"{n}.jpg": str(n % 11) for n in range(33)}
    files = images(truth) | {"labels.csv": table(truth.items())}
    layout = arrange(files, (), None, labels_of(files, read_from(files)))
    assert layout.classes == tuple(map(str, range(11)))
    lists = {"classes.txt": "".join(f"{letter}\n" for letter in "abc")}
    assert names_of_numbers(list(lists), read_from(lists), ["1", "2", "3"]) == (
        ["a", "b", "c"],
        "classes.txt",
    )


def test_a_number_is_that_of_a_class_folder_however_it_is_padded():
    files = {f"Training/{n:05d}/{n}{i}.ppm": b"" for n in range(3) for i in range(2)}
    files |= {f"Test/{n}.ppm": b"" for n in range(6)}
    text = table([(f"{n}.ppm", n % 3) for n in range(6)], ("Filename", "ClassId"), ";")
    placed, _ = labelled(files | {"Test/GT.csv": text})
    assert placed["Test/4.ppm"] == ("test", "00001")
    files |= {"Training/1/1.ppm": b""}
    assert labelled(files | {"Test/GT.csv": text})[0]["Test/4.ppm"] == ("test", "1")


@pytest.mark.parametrize("boxes", ["{}/labels/{}.txt", "{}/Annotations/{}.xml", None])
def test_images_with_boxes_alone_are_refused(boxes):
    """As those that detectors train on."""
    files = {f"{split}/images/{n}.jpg": b"" for split in ("train", "valid") for n in range(4)}
    if boxes:
        files |= {boxes.format(s, n): b"0 1 1 1" for s in ("train", "valid") for n in range(4)}
    with pytest.raises(ZfjaxError, match="No image has a class .*CLASS/IMAGE"):
        labelled(files)
    pascal = {f"VOC2012/JPEGImages/{n}.jpg": b"" for n in range(4)}
    pascal |= {"VOC2012/SegmentationClass/1.png": b"", "VOC2012/ImageSets/train.txt": b"1\n2\n"}
    with pytest.raises(ZfjaxError, match="No image has a class .4,.*train.txt has no column"):
        labelled(pascal)


def test_masks_are_no_images():
    truth = {f"{kind}_{n}.jpg": kind for kind in ("Bengal", "pug") for n in range(4)}
    files = images(truth) | {f"annotations/trimaps/{name[:-3]}png": b"" for name in truth}
    lines = [f"{name[:-4]} {1 + (kind == 'pug')} 2 1\n" for name, kind in truth.items()]
    files |= {"annotations/list.txt": "".join(lines), "annotations/test.txt": "".join(lines[::2])}
    placed, labels = labelled(files, column="2")
    assert placed == {
        name: (("test", "train")[n % 2], "12"[kind == "pug"])
        for n, (name, kind) in enumerate(truth.items())
    }
    [(reason, masks)] = labels.skipped.items()
    assert reason == "mask or annotation of an image" and len(masks) == len(truth)
    folders = {f"CUB/images/{kind}/{name}": b"" for name, kind in truth.items()}
    folders |= {f"segmentations/{kind}/{name[:-3]}png": b"" for name, kind in truth.items()}
    assert labelled(folders)[0] == in_train({f"{k}/{n}": k for n, k in truth.items()})
    for form in ("{kind}/masks/{name}", "{kind}/images/{name}_mask_1.png"):
        scans = {f"{kind}/images/{name}": b"" for name, kind in truth.items()}
        names = {
            name.removesuffix(".jpg" if "_mask" in form else ""): truth[name] for name in truth
        }
        scans |= {form.format(kind=kind, name=name): b"" for name, kind in names.items()}
        assert len(scans) == 2 * len(labelled(scans)[0]) == 16
    faces = {f"{kind}/{n}.jpg": b"" for kind in ("masks", "none") for n in range(4)}
    assert len(labelled(faces | {"masks/a_mask.jpg": b""})[0]) == 9


def test_a_labelled_folder_beside_splits_is_asked_about_and_all_answers_work():
    """As in Kaggle's traffic signs."""
    files = {f"{folder}/{n}.png": b"" for folder in ("Meta", "Test") for n in range(3)}
    files |= {f"Train/{n}/{n}{i}.png": b"" for n in range(3) for i in range(2)}
    for folder in ("Meta", "Test"):
        rows = [(n, f"{folder}/{n}.png") for n in range(3)]
        files[f"{folder}.csv"] = table(rows, ("ClassId", "Path"))
    with pytest.raises(ZfjaxError, match="Meta: 0, 1, 2.* with --splits train=Train test=Test"):
        labelled(files)
    training = {f"Train/{n}/{n}{i}.png": ("train", str(n)) for n in range(3) for i in range(2)}
    testing = {f"Test/{n}.png": ("test", str(n)) for n in range(3)}
    placed, _ = labelled(files, splits={"Train": "train", "Test": "test"})
    assert placed == training | testing
    icons = {f"Meta/{n}.png": ("train", str(n)) for n in range(3)}
    assert labelled(files, column="ClassId")[0] == training | testing | icons
    assert labelled(files, column="none")[0] == training


def test_a_split_at_the_end_of_a_label_files_name():
    truth = {
        split: {f"{n}.jpg": "abc"[(n + shift) % 3] for n in range(6)}
        for shift, split in enumerate(("train", "test"))
    }
    files = {}
    for split, labels in truth.items():
        files |= images(labels, f"cars_{split}/cars_{split}")
        files[f"cardataset{split}.csv"] = table(labels.items(), ("image", "Class"))
    placed, _ = labelled(files)
    assert placed == {
        f"cars_{split}/cars_{split}/{name}": (split, kind)
        for split, labels in truth.items()
        for name, kind in labels.items()
    }
    only = {"latest.csv": table(truth["test"].items())}
    assert labelled(images(truth["test"]) | only)[0] == in_train(truth["test"])
