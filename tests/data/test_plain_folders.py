"""A folder of images as it lies: class folders, splits, loose images, and what is none."""

import numpy as np
import pytest
from PIL import Image

from zfjax.data.dataset import NO_LABEL
from zfjax.data.held import HeldImages
from zfjax.data.images import view_of_file
from zfjax.data.plain_folders import files_in
from zfjax.errors import ZfjaxError

VIEW = (12, 12)


@pytest.fixture
def drawn(tmp_path):
    """Writes images of these paths, each of another colour."""

    def draw(*paths):
        for index, path in enumerate(paths):
            whole = tmp_path / path
            whole.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 16), (20 * index, 5, 250 - 20 * index)).save(whole)
        return tmp_path

    return draw


def test_class_folders_are_classes_in_the_order_of_names_or_of_the_network(drawn):
    folder = drawn("cat/b.png", "ant/deep/a.JPG", "bee/c.webp", "cat/a.png", ".hidden/d.png")
    (folder / "ant" / "notes.txt").write_text("no image")
    (folder / "ant" / ".x.png").write_bytes(b"")
    files = files_in(folder, None, VIEW, None)
    assert files.paths == ("ant/deep/a.JPG", "bee/c.webp", "cat/a.png", "cat/b.png")
    assert files.class_names == ("ant", "bee", "cat") and len(files) == 4
    assert [files.described(index)[0] for index in range(4)] == [0, 1, 2, 2]
    view, label = files[3]
    np.testing.assert_array_equal(view, view_of_file(folder / "cat/b.png", VIEW))
    assert view.shape == (*VIEW, 3) and label == 2
    named = files_in(folder, None, VIEW, ("cat", "dog", "bee", "ant"))
    assert named.class_names == ("cat", "dog", "bee", "ant")
    assert [named[index][1] for index in range(4)] == [3, 2, 0, 0]
    other = files_in(folder, None, VIEW, ("dog", "cow"))
    assert other.class_names == ("ant", "bee", "cat")


def test_images_in_no_class_folder_have_no_label(drawn):
    files = files_in(drawn("b.png", "a.png"), "all", VIEW, None)
    assert files.paths == ("a.png", "b.png") and files.class_names == ()
    assert files.described(1) == (NO_LABEL, "b.png")
    mixed = files_in(drawn("b.png", "ant/a.png"), None, VIEW, None)
    assert [mixed.described(index)[0] for index in range(3)] == [NO_LABEL, 0, NO_LABEL]


def test_a_split_is_a_folder_of_that_name(drawn):
    folder = drawn("train/ant/a.png", "val/ant/b.png", "val/bee/c.png")
    assert files_in(folder, "val", VIEW, None).paths == ("ant/b.png", "bee/c.png")
    for split, words in ((None, r"splits \(train, val\): choose"), ("test", "no folder of that")):
        with pytest.raises(ZfjaxError, match=words):
            files_in(folder, split, VIEW, None)
    (folder / "empty").mkdir()
    with pytest.raises(ZfjaxError, match="holds no image: none of its files ends in"):
        files_in(folder, "empty", VIEW, None)
    with pytest.raises(ZfjaxError, match="no folder of images"):
        files_in(folder / "train" / "ant" / "a.png", None, VIEW, None)


def test_it_is_looked_at_like_a_data_set(drawn):
    folder = drawn("ant/a.png", "bee/b.png", "bee/c.png")
    images = HeldImages(files_in(folder, None, VIEW, None), VIEW, "all", folder.name)
    [batch] = images.batches_of(4, [2, 0])
    np.testing.assert_array_equal(batch["image"][0], view_of_file(folder / "bee/c.png", VIEW))
    assert batch["label"].tolist()[:2] == [1, 0] and batch["image_id"].tolist() == [2, 0, -1, -1]
    assert batch["weight"].tolist() == [1, 1, 0, 0]
    assert [len(each["image"]) for each in images.batches(2, start=1)] == [2]
    assert images.name == folder.name and images.count == 3
    assert images.describe([1, 0]) == [(1, "bee/b.png"), (0, "ant/a.png")]
    images.check_labelled("this")
    with pytest.raises(ZfjaxError, match="There is no image 3; there are 0 to 2"):
        images.describe([3])
    with pytest.raises(ZfjaxError, match="no split 'train'; these images are of 'all'"):
        images.of_split("train")
    (folder / "bee" / "b.png").write_bytes(b"\x89PNG cut short")
    images.views([1])  # decoded already
    images = HeldImages(files_in(folder, None, VIEW, None), VIEW, "all", folder.name)
    with pytest.raises(ZfjaxError, match=r"b\.png is not an image"):
        images.views([1])
