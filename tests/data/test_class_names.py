"""Tables of class names: read in the encoding they have, refused or told where they name too
little; names by class."""

import unicodedata

import pytest

from tests.data.test_imagenet import make_tars
from tests.data_helpers import jpeg, make_tree
from zfjax.commands.cli import main
from zfjax.data import imagenet
from zfjax.data.arranging import arrange
from zfjax.data.class_names import decode_table, distinct_names, tabled_names
from zfjax.data.dataset import open_dataset
from zfjax.data.imagenet import import_imagenet
from zfjax.data.imagenet_labels import class_wnids
from zfjax.data.importing import import_images
from zfjax.errors import ZfjaxError

TEXT = "n1\tcafé, 猫\r\nn2\tcrane\nn3\tcrane\n\nn9\tnot there\n"
CLASSES = ("n1", "n2", "n3")


def named(data, classes=CLASSES):
    return tabled_names(["classes.tsv"], lambda path, limit: data, classes)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"]
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_tables_are_read_in_the_encoding_they_have(encoding, mark):
    if encoding in ("utf-8-sig", "utf-16", "utf-32"):
        mark = ""  # it writes its own
    assert named((mark + TEXT).encode(encoding)) == (["café, 猫", "crane (n2)", "crane (n3)"], [])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["a\t鶴\nb\t鷺\n", "a\tcrane\nb\t鷺\n", "a\t🦩\nb\t🦢\n"])
def test_letters_of_16_bits_without_a_mark_are_not_taken_for_32(encoding, text):
    expected = [line.split("\t")[1] for line in text.splitlines()]
    assert named(text.encode(encoding), ("a", "b")) == (expected, [])


@pytest.mark.parametrize(
    "data",
    [
        "n1\tcafé\n".encode("latin-1"),
        "n1\tкот\n".encode("cp1251"),
        b"n1\tcat\0\n\0\0x",
        TEXT.encode("utf-16")[:-1],
    ],
)
def test_another_encoding_is_refused(data):
    with pytest.raises(
        ZfjaxError, match="classes.tsv is in no encoding that zfjax knows.*save it as UTF-8"
    ):
        named(data)


@pytest.mark.parametrize(
    "data, says",
    [
        (b"", "none of its lines has that form"),
        (b"n1,cat\nn2,dog\n", "none of its lines has that form"),
        (b"0\tcat\n1\tdog\n", "begin with '0', '1'"),
        (b"N1\tcat\n", "begin with 'N1'"),
        (b"n1\t\n", "none of its lines"),
    ],
)
def test_a_table_that_names_no_class_is_refused(data, says):
    with pytest.raises(ZfjaxError, match=f"names none of the 3 classes .'n1', 'n2', 'n3'.*{says}"):
        named(data)


def test_a_table_that_names_some_classes_says_how_many():
    names, notes = named(b"n2\tdog\n")
    assert names == ["n1", "dog", "n3"]
    assert notes == [
        "classes.tsv names 1 of the 3 classes; the others keep the names of their folders (n1, n3)"
    ]


def tables_named(tables):
    return tabled_names(list(tables), lambda path, limit: tables[path].encode(), CLASSES)


def test_words_name_what_classes_tsv_leaves_and_may_be_of_something_else():
    fish = "goldfish, Carassius auratus"
    others = "".join(f"n{number:08d}\tother {number}\n" for number in range(5000))
    assert tables_named({"words.txt": f"n1\t{fish}\n{others}n2\tb\nn3\tc\n"}) == (
        [fish, "b", "c"],
        [],
    )
    both = tables_named({"words.txt": "n1\tno\nn2\tb\n", "CLASSES.tsv": "n1\ta\n"})
    assert both[0] == ["a", "b", "n3"] and both[1] == [
        "CLASSES.tsv, words.txt names 2 of the 3 classes; the others keep the names of their"
        " folders (n3)"
    ]
    names, [note] = tables_named({"words.txt": "the\nof\n"})
    assert names == list(CLASSES)
    assert note.startswith("attention: words.txt names none of the classes ('n1', 'n2', 'n3'")
    whole = tables_named({"words.txt": "the\n", "classes.tsv": TEXT})
    assert whole == (["café, 猫", "crane (n2)", "crane (n3)"], [])


@pytest.mark.parametrize(
    "table",
    [
        "words.txt",
        "Words.TXT",
        "Classes.TSV",
        "train/classes.tsv",
        "train/words.txt",
        "train/images/classes.tsv",
        "val/classes.tsv",
    ],
)
def test_tables_are_found_wherever_they_lie_above_the_classes(tmp_path, table):
    files = {
        f"top/{split}/images/{folder}/{split}.jpg": jpeg(place + 9 * (split == "val"))
        for split in ("train", "val")
        for place, folder in enumerate(CLASSES)
    }
    text = "n0\tother\nn1\tgoldfish, Carassius auratus\nn2\tbee\nn3\tant\n"
    make_tree(tmp_path / "in", {**files, f"top/{table}": text.encode()})
    summary = import_images(tmp_path / "in", "fish", tmp_path)
    dataset = open_dataset("fish", tmp_path)
    assert dataset.class_names == ("goldfish, Carassius auratus", "bee", "ant")
    assert summary.skipped == {} and summary.notes == ()


@pytest.mark.parametrize("name", ["classes.txt", "Classes.csv", "labels.txt", "train/classes.txt"])
def test_a_list_of_classes_that_is_not_read_is_said(name):
    files = [f"{split}/{folder}/1" for split in ("train", "val") for folder in CLASSES] + [name]
    [note] = arrange(files).notes
    assert note == (
        f"attention: {name} is not read; for readable class names, have a classes.tsv with lines of"
        " the form class folder TAB name"
    )
    assert arrange([*files, "classes.tsv"]).notes == ()
    assert arrange([*files[:-1], "train/n1/labels.txt"]).notes == ()


def test_a_table_and_a_folder_may_write_a_name_in_other_unicode_forms():
    apart = unicodedata.normalize("NFD", "é")
    assert named(f"{apart}\tcat\n  dog \thound".encode(), ("é", " dog "))[0] == ["cat", "hound"]
    assert decode_table(b"a\rb\r\nc\nd\xc2\x85e", "x") == ["a", "b", "c", "d\x85e"]


def test_names_are_told_apart_in_every_case():
    assert distinct_names(["a", "b", "a"], ["1", "2", "3"]) == ["a (1)", "b", "a (3)"]
    assert distinct_names(["a", "a (1)", "a"], ["1", "2", "3"]) == ["1", "2", "3"]


def test_an_import_counts_classes_and_not_their_names(tmp_path):
    files = {
        f"{split}/{folder}/{n}.jpg": jpeg(n + 20 * place)
        for place, folder in enumerate(CLASSES)
        for split, count in (("train", 12), ("val", 3))
        for n in range(count)
    }
    make_tree(tmp_path / "in", {**files, "classes.tsv": TEXT.encode("utf-16")})
    summary = import_images(tmp_path / "in", "birds", tmp_path)
    assert summary.counts == {
        "train": {"café, 猫": 12, "crane (n2)": 12, "crane (n3)": 12},
        "validation": {"café, 猫": 3, "crane (n2)": 3, "crane (n3)": 3},
    }
    assert summary.lines() == ["train: 36 images in 3 classes", "validation: 9 images in 3 classes"]
    dataset = open_dataset("birds", tmp_path)
    assert dataset.class_names == ("café, 猫", "crane (n2)", "crane (n3)")
    for label, name in dataset.describe("train", range(36)):
        assert CLASSES[label] == name.split("/")[1]


def test_two_unicode_forms_become_one_class_of_a_data_set(tmp_path, capsys):
    apart = unicodedata.normalize("NFD", "é")
    make_tree(tmp_path / "in", {"é/1.jpg": jpeg(1), f"{apart}/1.jpg": jpeg(2), "x/1.jpg": jpeg(3)})
    assert (
        main(
            ["data", "import", str(tmp_path / "in"), "--name", "forms", "--data-dir", str(tmp_path)]
        )
        == 0
    )
    told = capsys.readouterr().out
    assert "train: 3 images in 2 classes" in told and "the class é has 2 folders" in told
    dataset = open_dataset("forms", tmp_path)
    assert dataset.class_names == ("x", "é")
    assert sorted(dataset.describe("train", range(3))) == [
        (0, "x/1.jpg"),
        (1, f"{apart}/1.jpg"),
        (1, "é/1.jpg"),
    ]


@pytest.mark.parametrize(
    "data, says",
    [
        (b"01440764 tench\n", "LOC_synset_mapping.txt names none of the 1,000 classes"),
        (b"", "names none of the 1,000"),
        ("n01440764 café\n".encode("latin-1"), "in no encoding that zfjax knows"),
    ],
)
def test_a_list_of_imagenets_names_that_cannot_be_used_is_refused_before_anything_is_read(
    tmp_path, data, says
):
    source = make_tars(tmp_path / "in", images=1, validation=1, odd=False)
    (source / imagenet.READABLE_NAMES).write_bytes(data)
    with pytest.raises(ZfjaxError, match=says):
        import_imagenet(source, "imagenet2012", tmp_path / "out", workers=1)
    assert not list((tmp_path / "out").glob("*imagenet2012*/*"))


def test_a_list_of_imagenets_names_in_utf16_is_read(tmp_path):
    text = "n01440764 tench, Tinca tinca\r\nn01751748\tCafé\r\n"
    (tmp_path / imagenet.READABLE_NAMES).write_bytes(text.encode("utf-16"))
    names, notes = imagenet._readable(tmp_path, class_wnids())
    assert names[:2] == ["tench", "n01443537"] and names[class_wnids().index("n01751748")] == "Café"
    assert "names 2 of the 1,000 classes" in notes[0]
    assert imagenet._readable(tmp_path / "none", class_wnids()) == (list(class_wnids()), [])
