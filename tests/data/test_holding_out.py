"""The holdout: by bytes alone, at least one readable image of each class for training, copies on
one side."""

import hashlib
import itertools

import pytest

from tests.data_helpers import jpeg, make_tar, make_tree
from zfjax.data.arranging import arrange
from zfjax.data.dataset import open_dataset
from zfjax.data.holding_out import hold_out
from zfjax.data.images import ImageError
from zfjax.data.importing import import_images
from zfjax.errors import ZfjaxError


def share(data):
    return int.from_bytes(hashlib.sha256(data).digest()[:6], "big") / 2**48


def bytes_below(limit, count, above=False):
    """``count`` different contents that a holdout of ``limit`` would take (or leave)."""
    contents = (b"%d" % number for number in itertools.count())
    return list(
        itertools.islice((data for data in contents if (share(data) < limit) != above), count)
    )


def sides(files, holdout, damaged=(), unreadable=()):
    """{path: split} of files given as {path: bytes}; ``damaged`` contents are no images,
    ``unreadable`` raise."""

    def read(path):
        if files[path] in unreadable:
            raise ImageError("unreadable")
        return files[path]

    layout = hold_out(arrange(files), holdout, read, lambda data: data not in damaged)
    return {path: split for path, _, split, _ in layout.items}


def names(dataset, split):
    return {name for _, name in dataset.describe(split, range(dataset.count(split)))}


def test_who_is_held_out_follows_from_the_bytes_alone():
    files = {f"{'ab'[n % 2]}/{n}": b"%d" % n for n in range(400)}
    found = sides(files, 0.2)
    assert found == {
        path: "validation" if share(data) < 0.2 else "train" for path, data in files.items()
    }
    assert 0.15 < list(found.values()).count("validation") / 400 < 0.25
    renamed = {f"{path}.other.jpg": data for path, data in files.items()}
    assert {
        path.removesuffix(".other.jpg"): split for path, split in sides(renamed, 0.2).items()
    } == found
    more = sides({**files, **{f"c/{n}": b"c%d" % n for n in range(50)}}, 0.2)
    assert {path: more[path] for path in files} == found, "images that come later move none"
    held = {path for path, split in found.items() if split == "validation"}
    assert held < {path for path, split in sides(files, 0.3).items() if split == "validation"}


def test_copies_go_to_one_side_across_names_and_classes():
    files = {name % n: b"%d" % n for n in range(100) for name in ("a/%d", "a/%dx", "b/%d")}
    found = sides(files, 0.3)
    by_bytes = {}
    for path, data in files.items():
        by_bytes.setdefault(data, set()).add(found[path])
    assert all(len(both) == 1 for both in by_bytes.values()) and set(found.values()) == {
        "train",
        "validation",
    }


def test_at_least_one_image_of_each_class_stays():
    taken, left = bytes_below(0.5, 6), bytes_below(0.5, 1, above=True)
    files = {
        "only/1": taken[0],
        "two/1": taken[1],
        "two/2": taken[2],
        "plain/1": taken[3],
        "plain/2": left[0],
    }
    first = min(taken[1:3], key=lambda data: hashlib.sha256(data).digest())
    assert sides(files, 0.5) == {
        "only/1": "train",
        "plain/1": "validation",
        "plain/2": "train",
        **{path: "train" if files[path] == first else "validation" for path in ("two/1", "two/2")},
    }
    copies = {"only/1": taken[0], "other/1": taken[0], "other/2": left[0]}
    assert set(sides(copies, 0.5).values()) == {"train"}, "a copy stays with it"


def test_what_cannot_be_read_is_not_the_image_that_stays():
    taken, left = bytes_below(0.5, 4), bytes_below(0.5, 2, above=True)
    files = {
        "a/good": taken[0],
        "a/bad": left[0],
        "a/gone": left[1],
        "b/1": taken[1],
        "b/2": taken[2],
        "b/3": left[0],
    }
    found = sides(
        files,
        0.5,
        damaged=(left[0], min(taken[1:3], key=lambda data: hashlib.sha256(data).digest())),
        unreadable=(left[1],),
    )
    assert found["a/good"] == "train" and found["a/gone"] == "train"
    later = max(taken[1:3], key=lambda data: hashlib.sha256(data).digest())
    assert next(path for path in ("b/1", "b/2") if files[path] == later) in {
        path for path, split in found.items() if split == "train"
    }
    assert [found["b/1"], found["b/2"]].count("validation") == 1, (
        "the damaged one goes, and is skipped by name"
    )


def test_one_image_a_class_is_decoded_twice_and_no_more():
    files = {f"{folder}/{n}": f"{folder}{n}".encode() for folder in "abc" for n in range(30)}
    seen = []
    layout = arrange(files)
    hold_out(layout, 0.1, files.__getitem__, lambda data: seen.append(data) or True)
    assert len(seen) == 3


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """A tree of 62 images in three classes: two of the same bytes, one class of one, one damaged;
    its tar."""
    folder = tmp_path_factory.mktemp("pets")
    files = {
        f"{name}/{n}.jpg": jpeg(n + 100 * place)
        for place, name in enumerate(("ant", "bee"))
        for n in range(29)
    }
    files |= {"ant/copy of 0.jpg": files["ant/0.jpg"], "bee/also 0.jpg": files["ant/0.jpg"]}
    only = next(data for data in (jpeg(n) for n in range(200, 300)) if share(data) < 0.4)
    damaged = next(
        data for data in (b"\xff\xd8 damaged %d" % n for n in range(100)) if share(data) >= 0.4
    )
    files |= {"cat/only.jpg": only, "cat/damaged.jpg": damaged}
    make_tree(folder / "in", files)
    make_tar(folder / "in.tar", {f"./top/{name}": files[name] for name in reversed(files)})
    return folder, files


def test_a_tree_and_its_tar_are_split_alike_and_the_summary_says_what_stayed(pets):
    folder, files = pets
    told = []
    tree = import_images(
        folder / "in", "tree", folder / "out", holdout=0.4, progress=lambda *now: told.append(now)
    )
    import_images(folder / "in.tar", "tar", folder / "out", holdout=0.4)
    one, other = (open_dataset(name, folder / "out") for name in ("tree", "tar"))
    for split in ("train", "validation"):
        assert one.fingerprint(split)["digest"] == other.fingerprint(split)["digest"]
    expected = {
        path for path, data in files.items() if share(data) < 0.4 and path != "cat/only.jpg"
    }
    assert names(one, "validation") == expected
    assert names(one, "train") == set(files) - expected - {"cat/damaged.jpg"}
    assert tree.counts["train"]["cat"] == 1 and tree.counts["validation"]["cat"] == 0
    assert any("1 of 3 classes have no image in validation (cat)" in line for line in tree.lines())
    assert any("(cat); they have few different images, all kept" in line for line in tree.lines())
    assert told == [("importing", n, 124) for n in range(1, 125)], "hashed, then converted"


@pytest.mark.parametrize("holdout", [0.99999, 0.5])
def test_a_holdout_that_leaves_no_validation_image_is_refused(tmp_path, holdout):
    make_tree(tmp_path / "in", {f"{name}/1.jpg": jpeg(place) for place, name in enumerate("abc")})
    with pytest.raises(
        ZfjaxError, match="leaves a split without images .of each class, at least one stays"
    ):
        import_images(tmp_path / "in", "pets", tmp_path / "out", holdout=holdout)
    assert not (tmp_path / "out" / "pets").exists()
