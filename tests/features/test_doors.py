"""What the public functions take: one where several are taken, NumPy's numbers, paths and texts;
and what they refuse, in one sentence. The dry run is refused what the real one is.
"""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import zfjax
from tests.data_helpers import jpeg
from tests.small import make_config
from zfjax import config as configs
from zfjax.commands.cli import main
from zfjax.errors import ZfjaxError
from zfjax.run.folder import load_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, unbroken):
    return shutil.copytree(unbroken, tmp_path_factory.mktemp("doors") / "run")


@pytest.fixture(scope="module")
def evolved(run_folder):
    zfjax.evolve(run_folder, maps=2, top=2)
    return run_folder


# ---- one, several, NumPy's


@pytest.mark.parametrize(
    ("at", "steps"),
    [
        ("last", (12,)),
        ("all", (0, 4, 8, 12)),
        (2, (8,)),
        (np.int64(2), (8,)),
        (np.float32(1), (4,)),
        (np.array(3), (12,)),
        (np.array([0, 2]), (0, 8)),
        (np.array(["0", "last"]), (0, 12)),
        ([np.int8(1), "step:8", 0.0], (0, 4, 8)),
        (range(3), (0, 4, 8)),
        ({1}, (4,)),
        ((step for step in "03"), (0, 12)),
        ("step:4", (4,)),
        (None, (0, 4, 8, 12)),
    ],
)
def test_epochs_are_taken_as_they_come(run_folder, at, steps):
    assert load_run(run_folder).steps_at(at) == steps


@pytest.mark.parametrize(
    "at", [True, [False], np.bool_(True), [None], [["0"]], [[0, 1]], b"last", {}, "conv", 9, -1, ""]
)
def test_epochs_that_are_none_are_refused(run_folder, at):
    with pytest.raises(ZfjaxError, match="--at"):
        load_run(run_folder).steps_at(at)
    with pytest.raises(ZfjaxError, match="--at"):
        zfjax.project(run_folder, 0, "conv1", 0, at=at)


@pytest.mark.parametrize(
    "words",
    [
        {"at": "last", "layers": "conv2", "maps": np.int64(2), "top": np.int32(2)},
        {"at": [3], "layers": np.array(["conv2"]), "maps": np.array(2), "images": np.uint8(36)},
        {"at": ["last"], "layers": ("conv2",), "maps": 2, "every_rank": np.bool_(False)},
        {"at": 3.0, "layers": {"conv2"}, "maps": 2, "split": np.str_("train")},
    ],
)
def test_one_is_as_good_as_a_list_of_it(run_folder, words):
    asked = {"top": 2, **words}
    first = zfjax.evolve(str(run_folder), **asked, name="one", data_dir=None)
    assert first.layers == ("conv2",) and first.steps == (12,)
    assert json.loads((first.folder / "meta.json").read_text())["asked"]["maps"] == 2
    same = zfjax.evolve(Path(run_folder), at=["last"], layers=["conv2"], maps=2, top=2, name="one")
    assert same.meta == first.meta, "the very same request: finished"


def test_all_maps_may_be_said_in_words(run_folder):
    words = {"layers": "conv1", "at": "last", "top": 1, "name": "whole"}
    assert len(zfjax.evolve(run_folder, maps="all", **words).maps("conv1")) == 6
    assert zfjax.evolve(load_run(run_folder), maps=None, **words).meta["asked"]["maps"] is None


def test_projection_takes_numpys_numbers_and_paths(run_folder, tmp_path, data_dir):
    file = tmp_path / "image.jpg"
    file.write_bytes(jpeg(5, 20, 24))
    expected = zfjax.project(run_folder, 3, "conv2", 1, at=["last"])
    for image, map_ in ((np.int64(3), np.int32(1)), (np.array(3), np.uint8(1))):
        found = zfjax.project(load_run(run_folder), image, np.str_("conv2"), map_, at="last")
        assert found[0].activation == expected[0].activation and found[0].tile.map == 1
    one, other = (
        zfjax.project(where, given, "conv1", 0, at=0, data_dir=data)
        for where, given, data in (
            (str(run_folder), str(file), str(data_dir)),
            (Path(run_folder), file, Path(data_dir)),
        )
    )
    assert one[0].activation == other[0].activation
    assert zfjax.project(run_folder, 3, "conv1", 0, at=0, data_dir=Path(data_dir))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"maps": 2.0}, "--maps = 2.0 must be a whole number"),
        ({"maps": True}, "--maps = True must be a whole number"),
        ({"maps": [2]}, "--maps"),
        ({"maps": "2"}, "--maps"),
        ({"maps": np.array([1, 2])}, "--maps"),
        ({"maps": 2, "top": None}, "--top = None must be a whole number"),
        ({"maps": 2, "top": 1.5}, "--top"),
        ({"maps": 2, "images": "all"}, "--images"),
        ({"maps": 2, "images": False}, "--images"),
        ({"maps": 2, "layers": 5}, "--layers"),
        ({"maps": 2, "layers": [["conv1"]]}, "--layers"),
        ({"maps": 2, "layers": ["conv1", None]}, "--layers"),
        ({"maps": 2, "layers": "conv5"}, "no convolution 'conv5'"),
        ({"maps": 2, "rule": None}, "--rule"),
        ({"maps": 2, "rule": ["deconvnet", 3]}, "--rule"),
        ({"maps": 2, "split": 3}, "--split"),
        ({"maps": 2, "every_rank": 1}, "--every-rank = 1 must be True or False"),
        ({"maps": 2, "name": 3}, "--name"),
        ({"maps": 2, "data_dir": 3}, "--data.dir"),
        ({"maps": 2, "locked": "yes"}, "locked"),
    ],
)
def test_evolve_names_what_is_of_another_kind(run_folder, words, says):
    before = set(run_folder.iterdir())
    with pytest.raises(ZfjaxError) as refused:
        zfjax.evolve(run_folder, **words)
    assert says in str(refused.value) and "\n" not in str(refused.value)
    assert {path for path in run_folder.iterdir() if path.name.startswith("evol")} <= before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((True, "conv1", 0), "image"),
        ((None, "conv1", 0), "image"),
        ((1.0, "conv1", 0), "image"),
        (([1], "conv1", 0), "image"),
        ((99, "conv1", 0), "no image 99"),
        ((-1, "conv1", 0), "no image -1"),
        ((0, ["conv1"], 0), "--layer"),
        ((0, None, 0), "--layer"),
        ((0, "conv1", None), "--map"),
        ((0, "conv1", 1.0), "--map"),
        ((0, "conv1", [1]), "--map"),
        ((0, "conv1", 6), "maps 0 to 5"),
    ],
)
def test_project_names_what_is_of_another_kind(run_folder, arguments, says):
    with pytest.raises(ZfjaxError) as refused:
        zfjax.project(run_folder, *arguments)
    assert says in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.usefixtures("spare_of_figures")
def test_a_run_and_its_folder_are_alike_and_nothing_else_is(evolved, tmp_path):
    run = zfjax.load_run(str(evolved))
    assert zfjax.load_run(run) == run == zfjax.load_run(evolved)
    page = zfjax.write_report(str(evolved), photos=np.bool_(True)).read_text()
    assert page == zfjax.write_report(run).read_text()
    for nothing in (None, 3, [str(evolved)], b"run", True):
        for function in (zfjax.load_run, zfjax.write_report, zfjax.evolve):
            with pytest.raises(ZfjaxError, match="The run's folder"):
                function(nothing)
    with pytest.raises(ZfjaxError, match="photos = 0 must be True or False"):
        zfjax.write_report(run, photos=0)
    with pytest.raises(ZfjaxError, match="--name"):
        zfjax.write_report(run, name=["x"])


def test_an_evolution_is_asked_in_numpys_numbers(evolved):
    evolution = load_run(evolved).evolution()
    rows = evolution.rows(layer="conv1", step=np.int64(12), rank=np.array(0), selection="top")
    assert rows == evolution.rows(layer="conv1", step=12, rank=0, selection="top") and rows
    assert evolution.rows(epoch=3) == evolution.rows(step=12)
    assert evolution.tiles("conv1", np.int32(12)).keys() == evolution.tiles("conv1", 12).keys()
    assert not evolution.rows(map=-1)
    for wrong in ({"step": "last"}, {"rank": True}, {"map": 1.0}, {"layer": 3}, {"map": [1, 2]}):
        with pytest.raises(ZfjaxError, match=next(iter(wrong))):
            evolution.rows(**wrong)
    with pytest.raises(ZfjaxError, match="too large"):
        evolution.rows(map=2**40)
    with pytest.raises(ZfjaxError, match="step"):
        evolution.tiles("conv1", 12.0)
    for wrong in (3, None, ["conv1"]):
        with pytest.raises(ZfjaxError, match="layer"):
            evolution.maps(wrong)


def test_a_config_takes_numpys_numbers_and_names_other_kinds(data_dir):
    plain = make_config(data_dir)
    optimizer = dataclasses.replace(plain.optimizer, learning_rate=np.float32(0.5), patience=5)
    data = dataclasses.replace(plain.data, dir=Path(data_dir), view=np.int16(18))
    conv = dataclasses.replace(plain.model.layers[0], maps=np.int64(6), padding=[2, 2])
    model = dataclasses.replace(plain.model, layers=(conv, *plain.model.layers[1:]))
    wide = zfjax.Config(
        model=model, data=data, optimizer=optimizer, epochs=np.int64(3), batch_size=np.array(8)
    )
    assert configs.from_json(json.loads(json.dumps(configs.to_json(wide)))) == wide
    assert wide == dataclasses.replace(
        plain, optimizer=dataclasses.replace(plain.optimizer, learning_rate=0.5)
    )
    for path, value in (
        ("epochs", 2.5),
        ("epochs", True),
        ("epochs", None),
        ("epochs", [3]),
        ("epochs", "3"),
        ("compute", "float16"),
        ("compute", 32),
        ("tensorboard", 1),
        ("save_minutes", "10"),
        ("model", "zfnet"),
        ("data", None),
    ):
        with pytest.raises(ZfjaxError, match=path):
            dataclasses.replace(plain, **{path: value})
    with pytest.raises(ZfjaxError, match=r"data.view"):
        dataclasses.replace(plain.data, view=18.0)
    with pytest.raises(ZfjaxError, match=r"optimizer.schedule = 'linear'"):
        dataclasses.replace(plain.optimizer, schedule="linear")


# ---- measures


def test_a_measure_is_asked_in_numpys_numbers_and_single_words(run_folder, data_dir):
    words = {"at": "last", "layers": "conv2", "images": 8}
    one = zfjax.measure(run_folder, "census", name="one", **words)
    words = {"at": np.int64(3), "layers": [np.str_("conv2")], "images": np.int64(8)}
    other = zfjax.measure(
        Path(run_folder), np.str_("census"), name=np.str_("two"), data_dir=Path(data_dir), **words
    )
    assert one.meta["asked"] == other.meta["asked"] and one.table.equals(other.table)


@pytest.mark.parametrize(
    ("arguments", "words", "says"),
    [
        ((5,), {}, "measure = 5 must be a text"),
        ((["census"],), {}, "measure"),
        (("census",), {"images": "5"}, "--images = '5' must be a whole number"),
        (("census",), {"images": 2.5}, "--images"),
        (("census",), {"images": True}, "--images"),
        (("census",), {"images": 0}, "--images 0 must be 1 or more"),
        (("census",), {"split": 5}, "--split = 5 must be a text"),
        (("census",), {"split": "odd"}, "odd"),
        (("census",), {"layers": 5}, "--layers"),
        (("census",), {"layers": "conv5"}, "no convolution 'conv5'"),
        (("census",), {"at": "first"}, "--at"),
        (("census",), {"name": 5}, "--name = 5"),
        (("census",), {"name": "../up"}, "--name"),
        (("census",), {"name": "x" * 101}, "longer than 100 letters"),
        (("census",), {"data_dir": 5}, "--data.dir"),
        (("census",), {"data_dir": "gs://x"}, "is a URL"),
        (("census",), {"seeds_of": 5}, "folder = 5 must be a path"),
        (("census",), {"seeds_of": "s3://x"}, "is not a folder"),
        (("census",), {"almost": [1]}, "--census.almost"),
    ],
)
def test_measure_names_what_is_of_another_kind(run_folder, arguments, words, says):
    before = {path.name for path in run_folder.iterdir()}
    with pytest.raises(ZfjaxError, match=says):
        zfjax.measure(run_folder, *arguments, **words)
    assert {path.name for path in run_folder.iterdir()} == before
    with pytest.raises(ZfjaxError, match="--seeds-of names"):
        zfjax.measure(run_folder, "census", seeds_of=run_folder)


def test_what_a_run_does_not_take_is_refused(run_folder, tmp_path):
    with pytest.raises(ZfjaxError, match="out goes with a subject"):
        zfjax.evolve(run_folder, out=tmp_path / "out", maps=1)


# ---- the dry run


@pytest.mark.parametrize(
    "flags",
    [
        ["--images", "-5", "--maps", "2"],
        ["--maps", "0"],
        ["--maps", "-1"],
        ["--maps", "2", "--top", "-3"],
        ["--maps", "2", "--rule", "magic"],
        ["--maps", "2", "--split", "odd"],
        ["--maps", "2", "--at", "-1"],
        ["--maps", "2", "--at", "nan"],
        ["--maps", "2", "--name", "../up"],
        ["--maps", "2", "--name", ""],
        ["--maps", "2", "--data.dir", "/nowhere"],
        ["--maps", "2", "--top", "5"],
        ["--maps", "2", "--process-count", "2"],
        ["--maps", "2", "--coordinator", "here"],
        ["--maps", "2", "--coordinator", "here:1", "--process-count", "2", "--process-index", "2"],
    ],
)
def test_the_dry_run_and_the_real_one_refuse_alike(evolved, capsys, flags):
    def told(*more):
        try:
            status = main(["evolve", "--workdir", str(evolved), *flags, *more])
        except SystemExit as ended:
            status = ended.code
        return status, capsys.readouterr().err

    dry, real = told("--dry-run"), told()
    assert dry == real and dry[0] and "Traceback" not in dry[1]


@pytest.fixture(scope="module")
def measured(evolved):
    zfjax.measure(evolved, "census", images=8)
    return evolved


@pytest.mark.parametrize(
    "words",
    [
        ["measure", "census", "--images", "9"],
        ["measure", "census", "--images", "-5"],
        ["measure", "census", "--images", "8", "--name", "../up"],
        ["measure", "census", "--images", "8", "--split", "odd"],
        ["measure", "census", "--images", "8", "--layers", "conv9"],
        ["measure", "census", "--images", "8", "--at", "-1"],
        ["measure", "census", "--images", "8", "--data.dir", "/nowhere"],
        ["measure", "census", "--images", "8", "--seeds-of", "/nowhere"],
        ["measure", "census", "--images", "8", "--seeds-of", "RUN"],
        ["measure", "census", "--images", "8", "--process-count", "2"],
        ["measure", "census", "--images", "8", "--census.almost", "nan"],
        ["measure", "magic"],
        ["evolve", "--maps", "2", "--top", "2", "--measure", "census"],
        ["evolve", "--maps", "2", "--top", "2", "--measure", "magic"],
        ["evolve", "--maps", "2", "--top", "2", "--name", "x", "--measure", "rewind", "odd"],
    ],
)
def test_the_dry_run_of_measures_and_the_real_one_refuse_alike(measured, capsys, words):
    """Among them a measure that is there of another probe, alone and along with an evolution."""
    words = [str(measured) if word == "RUN" else word for word in words]

    def told(*more):
        try:
            status = main([*words, "--workdir", str(measured), *more])
        except SystemExit as ended:
            status = ended.code
        return status, capsys.readouterr().err

    dry, real = told("--dry-run"), told()
    assert dry == real and dry[0] and "Traceback" not in dry[1]


def test_the_dry_run_says_what_is_there_already(evolved, capsys):
    asked = ["evolve", "--workdir", str(evolved), "--dry-run", "--maps", "2", "--top", "2"]
    assert main(asked) == 0
    assert "finished: nothing would be run" in capsys.readouterr().out
    zfjax.evolve(evolved, maps=2, top=2, at=["0", "1"], name="few")
    assert main([*asked, "--name", "few"]) == 0
    told = capsys.readouterr().out
    assert "2 checkpoints x 36 images" in told
    assert "the other 2 checkpoints are searched already" in told


# ---- strips


def strips(folder):
    return {path.name for path in (folder / "projections").glob("*.png")}


def test_images_of_one_name_have_strips_of_their_own(run_folder, tmp_path):
    shutil.rmtree(run_folder / "projections", ignore_errors=True)
    base = ["project", "--workdir", str(run_folder), "--layer", "conv1", "--map", "1"]
    files = [tmp_path / name for name in ("a/cat.jpg", "b/cat.jpg", "b/cat.jpeg", "b/CAT.jpg")]
    for number, file in enumerate(files):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(jpeg(number, 20, 24))
        assert main([*base, "--image", str(file)]) == 0
    first = strips(run_folder)
    assert len({name.lower() for name in first}) == 4
    assert all(name.startswith("conv1-1-") and "deconvnet-epoch0-3" in name for name in first)
    for file in files:
        assert main([*base, "--image", str(file)]) == 0
    assert strips(run_folder) == first, "the same image has the same name"
    moved = shutil.copy(files[0], tmp_path / "cat.jpg")
    assert main([*base, "--image", str(moved)]) == 0
    assert strips(run_folder) == first, "wherever it lies"


def test_other_epochs_rules_and_numbers_have_strips_of_their_own(run_folder, tmp_path):
    shutil.rmtree(run_folder / "projections", ignore_errors=True)
    base = ["project", "--workdir", str(run_folder), "--layer", "conv1", "--map", "1"]
    (tmp_path / "train-5.jpg").write_bytes(jpeg(9, 20, 24))
    asked = (
        ["--image-id", "5"],
        ["--image-id", "5", "--at", "0", "3"],
        ["--image-id", "5", "--at", "0", "1", "3"],
        ["--image-id", "5", "--at", "3"],
        ["--image-id", "5", "--rule", "guided"],
        ["--image-id", "5", "--split", "validation"],
        ["--image", str(tmp_path / "train-5.jpg")],
    )
    for count, flags in enumerate(asked, start=1):
        assert main([*base, *flags]) == 0
        assert len(strips(run_folder)) == count, flags
    assert "conv1-1-train-5-deconvnet-epoch0-3.png" in strips(run_folder)
    assert "conv1-1-train-5-deconvnet-epoch3.png" in strips(run_folder)
