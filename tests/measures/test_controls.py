"""Controls of projections, against the explicit deconvnet, and where their answer is known."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr

import zfjax
from tests import oracle
from tests.small import ARCHITECTURE
from zfjax.commands.cli import main
from zfjax.data.dataset import open_dataset
from zfjax.errors import ZfjaxError
from zfjax.features.evolving import evolve
from zfjax.features.units import Unit
from zfjax.inputs import central_crop
from zfjax.measures.controlling import box_within, cosine_within, spearman_within
from zfjax.network.architecture import Architecture, Conv
from zfjax.network.layers import layers_of
from zfjax.network.model import initial_parameters
from zfjax.network.ops import RULES
from zfjax.run import checkpoint
from zfjax.run.folder import load_run


@pytest.fixture(scope="module")
def run(tmp_path_factory, unbroken):
    folder = tmp_path_factory.mktemp("controls") / "run"
    shutil.copytree(unbroken, folder)
    evolve(folder, maps=3, top=2, at=["0", "last"])
    return load_run(folder)


@pytest.fixture(scope="module")
def measured(run):
    return zfjax.measure(run, "controls", at=["0", "1", "last"])


# ---- likeness


def test_likeness_is_within_the_box_and_its_formula():
    generator = np.random.default_rng(0)
    own, other = generator.normal(size=(2, 5, 7, 3)).astype(np.float32)
    box = np.zeros((5, 7), bool)
    box[1:4, 2:] = True
    a, b = own[1:4, 2:].ravel(), other[1:4, 2:].ravel()
    expected = a @ b / np.sqrt((a @ a) * (b @ b))
    assert cosine_within(own, other, box) == pytest.approx(expected, rel=1e-5)
    assert spearman_within(own, other, box) == pytest.approx(spearmanr(abs(a), abs(b))[0])
    assert cosine_within(own, -3 * own, box) == pytest.approx(-1)
    assert spearman_within(own, -3 * own, box) == pytest.approx(1), "of magnitudes"
    own[~box] = 99
    assert cosine_within(own, other, box) == pytest.approx(expected, rel=1e-5)
    assert np.isnan(cosine_within(own, 0 * other, box))
    assert np.isnan(spearman_within(own, 0 * other, box))


@pytest.mark.parametrize("place", [(0, 0), (1, 2), (3, 3)])
@pytest.mark.parametrize("kernel", [5, 11])
def test_the_box_of_a_tile_is_the_windows_pixels_in_the_image(kernel, place):
    convolution = Conv("conv1", 2, kernel, 3, (kernel // 2, kernel // 2))
    architecture = Architecture("box", (10, 12), (convolution,))
    layer = layers_of(architecture)["conv1"]
    unit = Unit("own", 0, 0, 0, 1.0, *place)
    box = box_within(layer, unit, (10, 12))
    top, left = architecture.tile_origin("conv1", *place)
    y0, x0, y1, x1 = architecture.window("conv1").box(*place)
    assert box.shape == layer.tile_size
    for y in range(box.shape[0]):
        for x in range(box.shape[1]):
            row, column = top + y, left + x
            inside = max(0, y0) <= row < min(10, y1) and max(0, x0) <= column < min(12, x1)
            assert box[y, x] == inside, (y, x)


# ---- a run


def network_input(run, image_id):
    pixels = open_dataset("small", run.config.data.dir).read("train", [image_id], (18, 18))[0].image
    return (np.float64(central_crop(pixels, (16, 16))) - (123.7, 116.3, 103.5)) / 58


def projected(run, parameters, row, map_=None, image_id=None):
    """A signal of 1 down to pixels, step by step."""
    pixels = network_input(run, row["image_id"] if image_id is None else image_id)
    values, memory = oracle.climb(ARCHITECTURE, parameters, pixels, "conv2")
    map_ = row["map"] if map_ is None else map_
    seed = np.zeros_like(values)
    seed[row["y"], row["x"], map_] = 1
    way = RULES["deconvnet"]
    return oracle.descend(parameters, memory, seed, way.relu, way.norm)


def cosine(a, b):
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


@pytest.mark.slow
def test_controls_are_those_of_the_explicit_deconvnet(run, measured):
    evolution = run.evolution()
    drawn_anew = initial_parameters(
        run.config.model, run.config.recipe, 1 - run.config.seed, run.config.layer_keys
    )
    before = checkpoint.load(run.checkpoints / "0")
    for step in evolution.steps:
        parameters = checkpoint.load(run.checkpoints / str(step))
        rows = evolution.rows(step=step, layer="conv2", selection="top", rank=0)
        live = {row["map"] for row in rows}
        images = {row["image_id"] for row in evolution.rows(step=step, layer="conv2")}
        for row in rows:
            map_ = row["map"]
            if map_ not in evolution.maps("conv2"):
                continue
            own = projected(run, parameters, row)

            def value(control, map_=map_, step=step):
                return measured.of_maps(f"cosine_{control}", "conv2")[step][map_]

            top_anew = {**parameters, "conv2": drawn_anew["conv2"]}
            for control, tree in (
                ("initial", before),
                ("randomised_1", top_anew),
                ("randomised_2", drawn_anew),
            ):
                expected = cosine(own, projected(run, tree, row))
                assert value(control) == pytest.approx(expected, abs=2e-3), control
            swaps = [cosine(own, projected(run, parameters, row, other)) for other in live - {map_}]
            assert min(abs(value("swapped") - each) for each in swaps) < 2e-3
            if step == run.last_step:
                assert value("others") == pytest.approx(np.mean(swaps), abs=2e-3)
                assert 1 < len(swaps) == measured.of_layer("partners", "conv2")[step] <= 10
            asked = int(measured.of_maps("swapped_map", "conv2")[step][map_])
            assert asked in live - {map_}, "another one that lives"
            other = cosine(own, projected(run, parameters, row, asked))
            assert value("swapped") == pytest.approx(other, abs=2e-3)
            switched = [
                cosine(own, projected(run, parameters, row, None, other))
                for other in images - {row["image_id"]}
            ]
            assert min(abs(value("switches") - each) for each in switched) < 2e-3
            assert value("initial") == pytest.approx(1) if step == 0 else value("initial") < 0.999


@pytest.mark.slow
def test_what_is_said_is_what_was_counted(run, measured):
    last = run.last_step
    assert measured.steps == (0, 4, 12)
    assert set(measured.of_layer("image_share", "conv2")) == {0, last}, "what was evolved"
    shares = measured.of_maps("image_share", "conv2")[last]
    np.testing.assert_array_equal(shares, measured.of_maps("cosine_swapped", "conv2")[last])
    means = measured.of_maps("cosine_others", "conv2")[last]
    known = means[~np.isnan(means)]
    assert 2 <= len(known) <= 3
    assert measured.of_layer("cosine_others", "conv2")[last] == pytest.approx(np.median(known))
    quartiles = tuple(np.quantile(known, (0.25, 0.75)))
    assert measured.bounds("cosine_others", "conv2")[last] == pytest.approx(quartiles)
    assert set(measured.of_layer("cosine_others", "conv2")) == {last}, "where it is said"
    partners = int(measured.of_layer("partners", "conv2")[last])
    assert f" to those of {partners} other maps of the layer," in measured.meta["sentence"]
    chance = measured.of_layer("cosine_two_images", "conv2")[last]
    assert f"conv2 {np.median(known):.2f} ({quartiles[0]:.2f} to " in measured.meta["sentence"]
    assert f"; {chance:.2f})" in measured.meta["sentence"]
    assert "conv1 is exempt: its projection is its filter" in measured.meta["sentence"]
    assert not measured.of_maps("image_share", "conv1")
    assert "randomised_3" not in " ".join(measured.quantities())
    with Image.open(measured.folder / "controls-pictures.png") as picture:
        assert picture.size[0] == 1400
    maps, pixels = measured.pictures("conv2")[last]
    assert set(maps) <= set(run.evolution().maps("conv2"))
    assert pixels.shape[2] == 6 * pixels.shape[1]
    alone = zfjax.measure(run, "controls", layers=["conv1"], at=["last"], name="first")
    assert alone.meta["sentence"].startswith("No layer has controls. conv1 is exempt")


def rewritten(folder, step, change):
    path = folder / "checkpoints" / str(step)
    parameters = change(checkpoint.load(path))
    shutil.rmtree(path)
    saver = checkpoint.Saver(path.parent)
    saver.save(step, parameters)
    saver.wait()


@pytest.mark.slow
def test_where_every_unit_is_the_same_all_of_a_projection_is_the_images(run, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "run")

    def alike(parameters):
        kernel = np.array(parameters["conv2"]["kernel"])
        kernel[:] = kernel[..., :1]
        bias = np.ones_like(parameters["conv2"]["bias"])
        return {**parameters, "conv2": {"kernel": kernel, "bias": bias}}

    shutil.rmtree(folder / "measures", ignore_errors=True)
    rewritten(folder, 12, alike)
    with pytest.raises(ZfjaxError, match="other images or checkpoints than are there now"):
        zfjax.measure(folder, "controls", at=["last"])
    evolve(folder, maps=4, top=2, at=["last"], name="alike")
    table = zfjax.measure(folder, "controls", at=["last"], evolution="alike", name="alike")
    shares = table.of_maps("cosine_swapped", "conv2")[12]
    np.testing.assert_allclose(shares[~np.isnan(shares)], 1, atol=1e-6)
    assert np.isfinite(shares).sum() == 4
    single = zfjax.measure(
        folder, "controls", at=["last"], evolution="alike", name="single", partners=1
    )
    for name in ("cosine_others", "cosine_swapped"):
        np.testing.assert_array_equal(single.of_maps(name, "conv2")[12], shares)
    assert " to those of 1 other map of the layer" in single.meta["sentence"]
    same = table.of_maps("cosine_switches", "conv2")[12]
    np.testing.assert_allclose(same, table.of_maps("cosine_two_images", "conv2")[12], atol=1e-6)
    anew = table.of_maps("cosine_randomised_2", "conv2")[12]
    assert np.nanmax(np.abs(anew)) < 0.9 and abs(np.nanmedian(anew)) < 0.6


@pytest.mark.slow
def test_what_it_lacks_is_said(run, tmp_path, unbroken, capsys):
    bare = shutil.copytree(unbroken, tmp_path / "bare")
    assert main(["measure", "--workdir", str(bare), "controls"]) == 1
    assert "There is no evolution in" in capsys.readouterr().err
    assert main(["measure", "--workdir", str(bare), "controls", "--dry-run"]) == 1
    assert "run `zfjax evolve --workdir" in capsys.readouterr().err
    command = ["evolve", "--workdir", str(bare), "--maps", "2", "--measure", "controls"]
    assert main(command) == 1
    assert "evolve first, then `zfjax measure" in capsys.readouterr().err
    assert not (bare / "evolution").exists()
    with pytest.raises(ZfjaxError, match=r"evolution-x; run `zfjax evolve .* --name x"):
        zfjax.measure(run, "controls", evolution="x", name="x")
    with pytest.raises(ZfjaxError, match="shows none of the epochs"):
        zfjax.measure(run, "controls", at=["2"], name="y")
    for wrong in ({"maps": 0}, {"seed": -1}, {"partners": 0}):
        with pytest.raises(ZfjaxError, match="must be"):
            zfjax.measure(run, "controls", name="z", **wrong)


@pytest.mark.slow
def test_an_evolution_that_has_taken_more_is_controlled_anew(run, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    shutil.rmtree(folder / "measures", ignore_errors=True)
    before = zfjax.measure(folder, "controls")
    assert set(before.of_layer("image_share", "conv2")) == {0, 12}
    about = folder / "measures" / "controls.json"
    stamp = about.read_bytes()
    zfjax.measure(folder, "controls")
    assert about.read_bytes() == stamp, "it is there already"
    record = json.loads(stamp)
    del record["asked"]["version"], record["asked"]["options"]["partners"]
    about.write_text(json.dumps(record))
    assert zfjax.measure(folder, "controls").meta["asked"]["version"] == 2, "of one partner: anew"
    evolve(folder, maps=3, top=2, at=["0", "1", "last"])
    after = zfjax.measure(folder, "controls")
    assert set(after.of_layer("image_share", "conv2")) == {0, 4, 12}
    for step, values in before.of_maps("cosine_swapped", "conv2").items():
        np.testing.assert_array_equal(values, after.of_maps("cosine_swapped", "conv2")[step])


@pytest.mark.slow
def test_a_map_that_is_alone_alive_has_no_swap(run, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    drawn = run.evolution().maps("conv2")[0]

    def alone(parameters):
        bias = np.full_like(parameters["conv2"]["bias"], -1e6)
        bias[drawn] = 1
        return {**parameters, "conv2": {**parameters["conv2"], "bias": bias}}

    rewritten(folder, 12, alone)
    evolve(folder, maps=3, top=2, at=["last"], name="alone")
    options = {"evolution": "alone", "name": "alone", "at": ["last"]}
    table = zfjax.measure(folder, "controls", **options)
    none = {"cosine_swapped", "cosine_others", "partners", "swapped_map"}
    assert not none & set(table.quantities())
    assert np.isfinite(table.of_maps("cosine_switches", "conv2")[12][drawn])
    assert "conv2 - (no two live maps; -)" in table.meta["sentence"]
