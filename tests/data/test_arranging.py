"""Paths to splits and classes: what is known, what is asked about, what is left out by name."""

import re
import shlex
import unicodedata

import pytest

from zfjax.data.arranging import arrange
from zfjax.data.split_names import parse_splits, read_names, split_of
from zfjax.errors import ZfjaxError


def layout_of(*folders, each=3, splits=None):
    """The layout of images in ``folders``; "train/CLASS" stands for class folders cat and dog."""
    files = [
        path
        for folder in folders
        for path in (
            [
                f"{folder.replace('CLASS', name)}/{n}.jpg"
                for name in ("cat", "dog")
                for n in range(each)
            ]
            if "CLASS" in folder
            else [f"{folder}/{n}.jpg" for n in range(each)]
        )
    ]
    return arrange(files, splits=splits)


def splits_of(layout):
    """{split: its top folders}, from the file names."""
    found = {}
    for _, name, split, _ in layout.items:
        found.setdefault(split, set()).add(name.split("/")[0])
    return found


SPELLINGS = {
    "train": (
        "train TRAIN Training training_set trainset TrainSet train-data train2017 Train_2012"
        " images_train train.images trn 2017_train Train%20Images"
    ),
    "validation": (
        "val VAL valid Validation validate dev Devel development eval Evaluation holdout hold_out"
        " held-out val2017 val_2017 val-images valset validation_set dev_set evalset held_out_set"
    ),
    "test": "test Testing TEST test_set testset test2015 test-images tst Test_Data",
    None: (
        "cat images data test_tube train_station crash_test_dummy steam_train valley tests_of_time"
        " device trainval fold1 train1 val_a unlabeled extra contrast latest straining 2017"
    ),
}


@pytest.mark.parametrize("split", SPELLINGS)
def test_names_of_splits(split):
    for name in SPELLINGS[split].split():
        name = name.replace("%20", " ")
        assert split_of(name) == split, name


@pytest.mark.parametrize(
    "training, validation, test",
    [
        ("training", "validation", "testing"),
        ("Training", "Dev", "Eval2012"),
        ("train_set", "val_set", "test_set"),
        ("train2017", "val2017", "test2017"),
        ("trainset", "devset", "testset"),
        ("TRAIN", "HoldOut", "TEST"),
        ("seg_train", "seg_val", "seg_test"),
        ("imagenet64_train", "imagenet64_val", "imagenet64_test"),
        ("train_64x64", "val_64x64", "test_64x64"),
        ("train_small", "val_small", "test_small"),
    ],
)
def test_known_splits_are_used(training, validation, test):
    names = {"train": training, "validation": validation, "test": test}
    names = {
        split: name if split != "test" or "Eval" not in name else "test"
        for split, name in names.items()
    }
    layout = layout_of(*(f"{name}/CLASS" for name in names.values()))
    assert splits_of(layout) == {split: {name} for split, name in names.items()}
    assert (
        layout.classes == ("cat", "dog")
        and len(layout.items) == 18
        and not layout.skipped
        and not layout.notes
    )
    assert all(name.split("/")[1] == folder for _, name, _, folder in layout.items)


ASKED = {
    "numbers": ("train1/CLASS", "train2/CLASS"),
    "letters": ("split_a/CLASS", "split_b/CLASS"),
    "folds": ("fold1/CLASS", "fold2/CLASS", "fold3/CLASS"),
    "unlabeled": ("train/CLASS", "test/CLASS", "unlabeled/CLASS"),
    "with a file": ("imagenet_train/CLASS", "docs"),
    "flat and unlabeled": ("train/CLASS", "val/CLASS", "unlabeled"),
    "flat": ("train/CLASS", "train_2"),
    "extra": ("train/CLASS", "extra/CLASS"),
    "twice": ("train/CLASS", "val/CLASS", "validation/CLASS"),
    "case": ("Train/CLASS", "train/CLASS"),
    "training": ("train/CLASS", "training/CLASS"),
    "years": ("train2017/CLASS", "val2014/CLASS", "val2017/CLASS"),
    "trainval": ("trainval/CLASS", "test/CLASS"),
    "dev and eval": ("train/CLASS", "dev/CLASS", "eval/CLASS"),
    "short": ("tr/CLASS", "te/CLASS"),
    "prefixes": ("photos_train/CLASS", "images-v2_val/CLASS"),
    "in context": ("train/CLASS", "imagenet_val/CLASS"),
    "both": ("train/CLASS", "train_val/CLASS"),
    "test-dev": ("train/CLASS", "test-dev/CLASS"),
    "another language": ("entrenamiento/CLASS", "prueba/CLASS"),
    "parts": ("p/CLASS", "q/CLASS", "r/CLASS"),
    "below": ("data/train/CLASS", "data/val/CLASS", "docs/figures"),
    "below one": ("one/train/CLASS", "two/CLASS"),
    "kaggle": ("Data/CLS/train/CLASS", "Data/CLS/val/CLASS", "Notes/CLS/train/CLASS", "Sets/x"),
    "folds of splits": ("train/train/CLASS", "train/val/CLASS", "test/CLASS"),
    "vehicle": ("train/CLASS", "bus", "car", "plane"),
    "a split in the training split": ("train/CLASS", "train/val/CLASS"),
    "a split in training alone": ("training/CLASS", "training/validation/CLASS"),
    "a split in one of two": ("train/CLASS", "test/CLASS", "test/dev/CLASS"),
    "a split in a looked-through folder": ("train/images/CLASS", "train/images/val/CLASS"),
    "a split beside something": ("training/train/CLASS", "training/notes/CLASS"),
    **{
        f"beside the training split, {name}": ("train/CLASS", f"{name}/CLASS")
        for name in "cv vaildation vali tset tuning quiz gallery crossval masks".split()
    },
    "beside several": ("train/CLASS", "val/CLASS", "quiz/images/CLASS"),
    "beside, a single class": ("train/CLASS", "val/CLASS", "more/cat"),
    "beside, called like a class": ("train/CLASS", "cat"),
    "mini": ("minitrain/CLASS", "minival/CLASS", "minitest/CLASS"),
    "more outside": ("train/CLASS", *(f"photos{n}/{kind}" for n in "23" for kind in "xyz")),
}


@pytest.mark.parametrize("case", ASKED)
def test_what_may_be_a_split_is_asked_about_and_the_flag_answers(case):
    with pytest.raises(ZfjaxError) as refused:
        layout_of(*ASKED[case])
    words = shlex.split(re.search(r"as in --splits (.*), or --splits none", str(refused.value))[1])
    first = ASKED[case][0].split("/")[0]
    splits = parse_splits([word.replace("FOLDER", first) for word in words])
    answered = layout_of(*ASKED[case], splits=splits)
    assert splits_of(answered)["train"] and answered.classes == ("cat", "dog")
    assert {split for _, _, split, _ in answered.items} == set(splits.values())
    classes = layout_of(*ASKED[case], splits=parse_splits(["none"]))
    assert {split for _, _, split, _ in classes.items} == {"train"}
    top = {folder.split("/")[0] for folder in ASKED[case]}
    if len(top) > 1:
        assert set(classes.classes) == top
    assert len(classes.items) == sum(3 + 3 * ("CLASS" in f) for f in ASKED[case])


@pytest.mark.parametrize(
    "folders, asked",
    [
        (("train/part1/CLASS", "train/part2/CLASS", "test/CLASS"), "train/part1, train/part2"),
        (("top/train/CLASS", "top/train/unlabeled/CLASS", "top/val/CLASS"), "train/unlabeled"),
        (("x/fold1/CLASS", "y"), "x/fold1"),
        (("train/CLASS", "val/CLASS", "val/extra/CLASS"), "val/extra"),
    ],
)
def test_what_may_be_a_split_below_others_is_asked_about(folders, asked):
    with pytest.raises(ZfjaxError, match=f"The split folders {asked} do not lie on top: say which"):
        layout_of(*folders)


EXAMPLES = {
    "tr te": "train=tr test=te",
    "te tr va": "train=tr validation=va test=te",
    "ts tr vl": "train=tr validation=vl test=ts",
    "treino teste": "train=FOLDER test=teste",
    "minitrain minival minitest": "train=minitrain validation=minival test=minitest",
    "train_2 train val": "train=train train=train_2 validation=val",
    "fold1 fold2": "train=FOLDER",
    "prueba entrenamiento": "train=FOLDER",
    "train cv": "train=train",
    "train crossval": "train=train validation=crossval",
}


@pytest.mark.parametrize("folders", EXAMPLES)
def test_the_example_of_an_answer_never_swaps_splits_nor_guesses_by_the_alphabet(folders):
    with pytest.raises(ZfjaxError) as refused:
        layout_of(*(f"{folder}/CLASS" for folder in folders.split()))
    said = str(refused.value)
    assert f"as in --splits {EXAMPLES[folders]}, or --splits none" in said
    unanswered = any(f"={folder}" not in EXAMPLES[folders] for folder in folders.split())
    assert said.endswith("does not name is left out.") == unanswered
    asked = said.split(": say which")[0]
    known = {"train", "val"} if "fold" not in folders else set()
    assert all(folder in asked for folder in folders.split() if folder not in known)


def test_the_example_has_the_splits_that_hold_none():
    with pytest.raises(ZfjaxError, match="--splits train=train validation=train/val test=test, or"):
        layout_of("train/CLASS", "train/val/CLASS", "test/CLASS")
    with pytest.raises(ZfjaxError, match="--splits train=a/train validation=a/val, or"):
        layout_of("a/train/CLASS", "a/val/CLASS", "b/x")


def test_an_answer_may_name_a_split_in_a_split():
    splits = parse_splits(["train=train", "validation=train/val"])
    layout = layout_of("top/train/CLASS", "top/train/val/CLASS", splits=splits)
    names = {
        split: {name for _, name, of, _ in layout.items if of == split}
        for split in ("train", "validation")
    }
    assert names == {
        "train": {f"train/{name}/{n}.jpg" for name in ("cat", "dog") for n in range(3)},
        "validation": {f"train/val/{name}/{n}.jpg" for name in ("cat", "dog") for n in range(3)},
    }
    assert layout.classes == ("cat", "dog") and not layout.skipped and not layout.nested


def test_classes_called_like_splits_may_hold_folders_of_images():
    layout = layout_of("train/test/images", "train/bus/images", "val/test/images")
    assert layout.classes == ("bus", "test") and len(layout.items) == 9


UNLABELLED = {
    "flat": (("train/CLASS", "val"), "val holds 3 files and no class folders.*val/CLASS/IMAGE"),
    "images": (("train/CLASS", "val/images"), "val holds 3 files and no class folders"),
    "other case": (
        ("train/Cat", "train/Dog", "val/CLASS"),
        "validation split in val has no class .*folders are cat, dog, .*training Cat, Dog;",
    ),
    "test": (
        ("train/Cat", "train/Dog", "test/CLASS"),
        "test split in test has no class .*folders are cat, dog, .*training Cat, Dog;",
    ),
    "one": (("train/Cat", "train/Dog", "test/cat"), "test split in test has no class"),
    "more training": (("train/CLASS", "Training Images"), "Training Images holds 3 files"),
}


@pytest.mark.parametrize("case", UNLABELLED)
def test_a_split_that_nothing_labels_is_refused_and_the_flag_leaves_it_out(case):
    folders, says = UNLABELLED[case]
    with pytest.raises(ZfjaxError, match=f"{says}.* out with --splits train=train[.]$"):
        layout_of(*folders)
    layout = layout_of(*folders, splits={"train": "train"})
    assert splits_of(layout) == {"train": {"train"}} and "are left out" in layout.notes[0]


@pytest.mark.parametrize("folders", [("test",), ("test/images",), ("test/unknown",)])
def test_a_test_split_without_labels_is_left_out_with_a_note(folders):
    layout = layout_of("train/CLASS", "val/CLASS", *folders)
    assert splits_of(layout) == {"train": {"train"}, "validation": {"val"}}
    assert sum(map(len, layout.skipped.values())) == 3
    [note] = layout.notes
    assert note.startswith("attention: ") and "3 files" in note


def test_texts_beside_splits_are_no_images():
    files = [f"train/{name}/1.jpg" for name in ("cat", "dog")] + ["val/labels.csv", "val/a.TXT"]
    assert len(arrange(files).items) == 2


@pytest.mark.parametrize(
    "folders",
    [
        ("train", "test"),
        ("Training", "Testing"),
        ("train",),
        ("trainA", "trainB", "testA", "testB"),
        ("fold1", "fold2"),
        ("train", "val", "docs"),
        ("trainval", "test"),
        ("cars_train", "cars_test"),
        ("cars_train", "cars_test", "devkit"),
    ],
)
def test_split_folders_without_class_folders_are_no_classes(folders):
    with pytest.raises(ZfjaxError, match="called like splits but hold images.*--splits none"):
        layout_of(*folders)
    assert layout_of(*folders, splits={}).classes == (tuple(sorted(folders)))


@pytest.mark.parametrize(
    "folders",
    [
        ("train", "bus", "car"),
        ("train", "plane"),
        ("test_tube", "beaker"),
        ("valid", "forged"),
        ("extra", "usual"),
        ("a", "b"),
        ("steam_train/old", "car"),
        ("test_tube/glass", "beaker/glass"),
        ("train", "bus", "car/old"),
    ],
)
def test_classes_called_like_splits_stay_classes(folders):
    layout = layout_of(*folders)
    assert (
        layout.classes == tuple(sorted(folder.split("/")[0] for folder in folders))
        and not layout.skipped
    )
    assert {split for _, _, split, _ in layout.items} == {"train"}


def test_a_class_called_train_within_splits():
    layout = layout_of("train/train", "train/bus", "val/train", "val/bus")
    assert layout.classes == ("bus", "train") and splits_of(layout) == {
        "train": {"train"},
        "validation": {"val"},
    }


@pytest.mark.parametrize(
    "folders",
    [
        ("val/CLASS", "test/CLASS"),
        ("test/CLASS",),
        ("Testing/CLASS", "notes/x"),
        ("train", "val/CLASS"),
        ("valid/CLASS", "control/CLASS"),
    ],
)
def test_no_split_for_training_is_refused(folders):
    with pytest.raises(
        ZfjaxError, match="no class folders for training in .*--splits train=FOLDER"
    ):
        layout_of(*folders)


def test_what_lies_outside_the_splits_is_named():
    layout = layout_of("train/CLASS", "val/CLASS", "notes/a", "masks/x", "test")
    assert layout.skipped["outside the split folders"] == [
        f"{folder}/{n}.jpg" for folder in ("masks/x", "notes/a") for n in range(3)
    ]
    assert len(layout.skipped["not in a class folder"]) == 3
    [note] = layout.notes
    assert "9 files are left out" in note and note.endswith("in masks (3), notes (3), test (3)")


@pytest.mark.parametrize(
    "folders, root",
    [
        (("seg_train/seg_train/CLASS", "seg_test/seg_test/CLASS"), ""),
        (("train/images/CLASS", "test/images/CLASS"), ""),
        (("top/Training/data/CLASS", "top/Testing/data/CLASS"), "top/"),
        (("training/train/CLASS", "training/test/CLASS"), "training/"),
    ],
)
def test_folders_between_splits_and_classes_are_looked_through(folders, root):
    layout = layout_of(*folders)
    assert layout.classes == ("cat", "dog") and not layout.nested and not layout.skipped
    assert {
        split: len([item for item in layout.items if item[2] == split])
        for split in ("train", "test")
    } == {"train": 6, "test": 6}
    assert all(path == root + name for path, name, _, _ in layout.items)


def test_tiny_imagenets_images_folders_are_no_question():
    layout = layout_of("train/CLASS/images", "val/CLASS", "test/images")
    assert layout.classes == ("cat", "dog") and len(layout.nested) == 6
    assert layout.skipped == {"class absent from train": [f"test/images/{n}.jpg" for n in range(3)]}
    with pytest.raises(ZfjaxError, match="val holds 3 files and no class folders"):
        layout_of("train/CLASS/images", "val/images")


def test_a_split_may_have_several_folders():
    splits = parse_splits(["train=part one", "train=p2/", "test=./p3"])
    layout = layout_of(
        "top/part one/CLASS", "top/p2/CLASS", "top/p3/CLASS", "top/p4/CLASS", splits=splits
    )
    assert (
        splits_of(layout) == {"train": {"part one", "p2"}, "test": {"p3"}}
        and len(layout.items) == 18
    )
    assert layout.notes[0].endswith("in p4 (6)")


@pytest.mark.parametrize(
    "words, says",
    [
        (["train=nowhere"], "there is no folder 'nowhere'.*it holds a, b"),
        (["validation=a"], "no class folders for train"),
        (["none", "train=a"], "expected train"),
        (["train=a", "test=a/cat"], "a/cat lies in a"),
        (["train=a", "val=a"], "to train and to validation"),
        (["train"], "expected train=FOLDER"),
        (["left=a"], "expected train=FOLDER"),
        (["train="], "expected train=FOLDER"),
    ],
)
def test_flags_that_cannot_be(words, says):
    with pytest.raises(ZfjaxError, match=says):
        layout_of("a/CLASS", "b/CLASS", splits=parse_splits(words))


def test_a_copy_of_the_whole_within_it_is_asked_about():
    for whole, answer in (("flowers/", "flowers/flowers"), ("", "flowers")):
        folders = [f"{whole}CLASS", f"{whole}flowers/CLASS"]
        with pytest.raises(ZfjaxError, match=f"copy of the whole.*--splits train={answer}, or"):
            layout_of(*folders)
        layout = layout_of(*folders, splits={answer: "train"})
        assert layout.classes == ("cat", "dog") and len(layout.items) == 6
        assert len(layout_of(*folders, splits={}).classes) == 3


@pytest.mark.parametrize("flat", ["test", "val_256", "Validation"])
def test_a_flat_split_beside_a_folder_of_classes_is_asked_about(flat):
    with pytest.raises(ZfjaxError, match=f"{flat} may be.*no class.*--splits train=data_256"):
        layout_of("data_256/CLASS", flat)
    with pytest.raises(ZfjaxError, match="say which is which"):
        layout_of("red/CLASS", "blue/LASS", flat)
    layout = layout_of("data_256/CLASS", "test", splits={"data_256": "train"})
    assert splits_of(layout) == {"train": {"data_256"}}
    assert layout_of("bus/old", "bus/new", "tram", "train").classes == ("bus", "train", "tram")


@pytest.mark.parametrize("folder", ["101_ObjectCategories", "Images", "set/photos"])
@pytest.mark.parametrize("form", ["{}.mat", "{}", "{}.pts"])
def test_annotations_in_folders_like_the_classes_are_no_split(folder, form):
    """As those of Caltech-101 and of the Stanford Dogs."""
    names = ("accordion", "ant", "bee")
    pictures = [f"{folder}/{name}/{n}.jpg" for name in names for n in range(3)]
    files = [f"Annotation/{name}/{form.format(n)}" for name in names for n in range(9)]
    layout = arrange([*pictures, *files, "show.m"])
    assert layout.classes == names and len(layout.items) == len(pictures)
    assert sum(map(len, layout.skipped.values())) == len(files) + 1
    pictures = [f"{folder}/{name}/{n}.jpg" for name in names for n in range(3)]
    unnamed = [f"val/{name}/{n}" for name in names for n in range(9)]
    with pytest.raises(ZfjaxError, match="splits"):
        arrange([*pictures, *unnamed])


def test_the_order_of_listing_and_letters_for_terminals_do_not_matter():
    paths = [
        f"{split}/{name}/{n}" for split in ("Training", "dev") for name in "abc" for n in range(5)
    ]
    assert arrange(paths) == arrange(paths[::-1])
    with pytest.raises(ZfjaxError) as refused:
        layout_of("train \x1b[31m1/CLASS", "train \x1b[31m2/CLASS")
    assert "\x1b" not in str(refused.value) and r"\x1b" in str(refused.value)


def test_folders_that_mean_one_split_are_never_chosen_between():
    splits, asked = read_names(["train", "val", "Validation", "cat"])
    assert splits == {"train": "train"} and asked == ["Validation", "val"]


def test_unicode_forms_of_a_class_are_one_class():
    composed, apart = "café", unicodedata.normalize("NFD", "café")
    files = [
        f"train/{composed}/1.jpg",
        f"train/{apart}/1.jpg",
        "train/bar/1.jpg",
        f"val/{apart}/2.jpg",
    ]
    layout = arrange(files, [f"train/{apart}", "train/empty"])
    assert layout.classes == ("bar", composed) and {folder for *_, folder in layout.items} == {
        "bar",
        composed,
    }
    assert (
        sorted(path for path, *_ in layout.items)
        == sorted(files)
        == sorted(name for _, name, *_ in layout.items)
    )
    assert layout.skipped == {"class folder without files": ["train/empty"]}
    assert layout.notes == (
        f"the class {composed} has 2 folders, whose names differ in their Unicode form alone",
    )
    assert arrange(["Café/1", "café/2"]).classes == ("Café", "café")
    top = unicodedata.normalize("NFD", "données")
    assert arrange([f"données/train/a/{n}" for n in "12"] + [f"{top}/val/a/3"]).classes == ("a",)
