"""Names that mean something else: refused where a set is made, and never silently another set where
one is read."""

from dataclasses import replace

import pytest

from tests.data_helpers import jpeg, make_tree
from zfjax import presets
from zfjax.commands.cli import main
from zfjax.data.dataset import open_dataset
from zfjax.data.fetching import fetch
from zfjax.data.imagenet import import_imagenet
from zfjax.data.importing import import_images
from zfjax.data.scenes import ensure_scenes
from zfjax.errors import ZfjaxError
from zfjax.inputs import open_data

TAKEN = ("scenes", "scenes_0123456789ab", "compiled", "downloads")


@pytest.fixture
def source(tmp_path):
    return make_tree(tmp_path / "in", {"a/1.jpg": jpeg(1), "b/2.jpg": jpeg(2)})


@pytest.mark.parametrize("name", TAKEN)
def test_names_with_a_meaning_are_refused_by_every_door(tmp_path, source, name, capsys):
    out = tmp_path / "out"
    for make in (import_images, import_imagenet):
        with pytest.raises(ZfjaxError, match=f"'{name}' cannot name a data set, as it means the"):
            make(source, name, out)
    for asked in (name, f"{name}:1.0.0", f"{name}/small"):
        with pytest.raises(ZfjaxError, match=f"'{name}' cannot name a data set, as it means the"):
            fetch(asked, out)
    assert main(["data", "import", str(source), "--name", name, "--data-dir", str(out)]) == 1
    told = capsys.readouterr().err
    assert "choose another name" in told and len(told.splitlines()) == 1 and not out.exists()


def test_names_near_to_those_are_free(tmp_path, source):
    for name in ("scenes_of_mine", "my_scenes", "scene", "download", "scenes_0123456789abc"):
        import_images(source, name, tmp_path / "out")
        assert open_dataset(name, tmp_path / "out").splits == {"train": 2}


def test_the_name_of_drawings_is_the_one_that_is_refused(tmp_path, source):
    name, _ = ensure_scenes(tmp_path / "out", train=10, validation=10)
    with pytest.raises(ZfjaxError, match="the drawings that come with zfjax"):
        import_images(source, name, tmp_path / "elsewhere")


def test_an_own_set_called_scenes_is_not_replaced_by_drawings(tmp_path, source):
    out = tmp_path / "out"
    import_images(source, "pets", out)
    (out / "pets").rename(out / "scenes")  # as versions before imported it
    config = presets.preset("demo")
    config = replace(config, data=replace(config.data, dir=str(out)))
    with pytest.raises(ZfjaxError, match=r"scenes is a data set.*mv .*my_scenes"):
        open_data(config)
    (out / "scenes").rename(out / "my_scenes")  # what the sentence says
    assert open_dataset("my_scenes", out).splits == {"train": 2}
    assert not list(out.glob("scenes_*")), "nothing was drawn"


def test_a_fetched_set_never_takes_the_place_of_an_imported_one(tmp_path, source):
    import_images(source, "beans", tmp_path / "out")
    with pytest.raises(ZfjaxError, match="was made by `zfjax data import`"):
        fetch("beans", tmp_path / "out")
    assert open_dataset("beans", tmp_path / "out").splits == {"train": 2}
