"""Geometry against sets of pixels found by counting, and what a bad spec says."""

import numpy as np
import pytest

from zfjax import config as configs
from zfjax import presets
from zfjax.errors import ZfjaxError
from zfjax.network.architecture import Architecture, Conv, Dense, Norm, Pool, output_size
from zfjax.network.named import ALEXNET, ZFNET, ZFNET_WIDE, small_zfnet

HEAD = (Dense("fc", 2),)


def net(*layers, size=(20, 20)):
    return Architecture("net", size, (*layers, *HEAD))


def axis_of(spec):
    return (spec.kernel if isinstance(spec, Conv) else spec.window), spec.stride, spec.padding


def seen_pixels(layers, extent):
    """For every unit along one axis the set of pixels it sees, unclipped: padding cells count as
    pixels beyond."""
    reach = 200
    cells = {
        place: {place} for place in range(-reach, extent + reach)
    }  # what a cell of this layer sees
    count = extent
    for spec in layers:
        if isinstance(spec, Norm):
            continue
        size, stride, padding = axis_of(spec)
        count = len([top for top in range(-padding[0], count + padding[1] - size + 1, stride)])
        above = {}
        for unit in range(-40, count + 40):
            taken = [unit * stride - padding[0] + tap for tap in range(size)]
            if all(place in cells for place in taken):
                above[unit] = set().union(*(cells[place] for place in taken))
        cells = above
    return {unit: pixels for unit, pixels in cells.items() if 0 <= unit < count}


@pytest.mark.parametrize("seed", range(8))
def test_windows_and_sizes_equal_sets_of_pixels(seed):
    generator = np.random.default_rng(seed)
    layers = []
    for index in range(4):
        size, stride = int(generator.integers(1, 5)), int(generator.integers(1, 3))
        padding = tuple(int(p) for p in generator.integers(0, size, 2))
        if index % 2:
            layers.append(Pool(f"pool{index}", size, stride, padding))
        else:
            layers.append(Conv(f"conv{index}", 2, size, stride, padding))
            layers.append(Norm(f"norm{index}"))
    architecture = net(*layers, size=(40, 53))
    for depth, spec in enumerate(layers, 1):
        fact = architecture.fact(spec.name)
        for axis, extent in enumerate((40, 53)):
            seen = seen_pixels(layers[:depth], extent)
            assert len(seen) == fact.shape[axis]
            for unit, pixels in seen.items():
                box = fact.window.box(unit, unit)
                assert pixels == set(range(box[axis], box[axis + 2]))


@pytest.mark.parametrize(
    ("architecture", "count"),
    [(ZFNET, 62_357_608), (ZFNET_WIDE, 107_627_624), (ALEXNET, 62_378_344)],
)
def test_parameter_counts_are_the_papers(architecture, count):
    assert architecture.parameter_count == count


def test_zfnet_sizes_and_windows_are_the_papers():
    facts = {fact.layer.name: fact for fact in ZFNET.facts()}
    sizes = {name: fact.shape[0] for name, fact in facts.items()}
    assert [
        sizes[name]
        for name in ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5")
    ] == [110, 55, 26, 13, 13, 13, 13, 6]
    windows = [(w.size, w.jump, w.start) for w in (ZFNET.window(f"conv{n}") for n in range(1, 6))]
    assert windows == [(7, 2, -1), (27, 8, -1), (75, 16, -17), (107, 16, -33), (139, 16, -49)]
    assert ZFNET.window("conv5").box(0, 1) == (-49, -33, 90, 106)


def test_alexnet_sizes():
    sizes = [
        ALEXNET.fact(name).shape
        for name in ("conv1", "pool1", "conv2", "pool2", "conv3", "conv5", "pool5")
    ]
    assert [shape[0] for shape in sizes] == [55, 27, 27, 13, 13, 13, 6]
    assert [shape[2] for shape in sizes] == [96, 96, 256, 256, 384, 256, 256]
    assert ALEXNET.window("conv1").size == 11 and ALEXNET.window("conv5").size == 163


def test_cost_counts_products_one_by_one():
    architecture = net(
        Conv("conv1", 4, 3, 2, (1, 0)), Norm("norm1"), Pool("pool1", 2, 2), size=(7, 9)
    )
    products = sum(1 for _ in np.ndindex(*architecture.fact("conv1").shape, 3, 3, 3))
    assert architecture.fact("conv1").multiply_adds == products
    assert architecture.fact("conv1").parameters == 4 * (27 + 1)
    assert architecture.fact("norm1").parameters == architecture.fact("pool1").multiply_adds == 0
    rows, columns, maps = architecture.fact("pool1").shape
    assert architecture.fact("fc").parameters == (rows * columns * maps + 1) * 2
    assert architecture.parameter_count == 4 * 28 + (rows * columns * maps + 1) * 2


def test_output_size_is_the_number_of_places():
    for extent in range(1, 12):
        for kernel in range(1, 5):
            for stride in range(1, 4):
                for padding in ((0, 0), (0, 1), (1, 1), (2, 0)):
                    places = range(0, extent + sum(padding) - kernel + 1, stride)
                    assert max(output_size(extent, kernel, stride, padding), 0) == len(places)


def test_tiles_never_exceed_the_input():
    small = small_zfnet("s", input_size=(64, 48), width=0.1, head=8, classes=3)
    assert small.window("conv5").size == 139 and small.tile_size("conv5") == (64, 48)
    assert small.tile_origin("conv5", 0, 0) == small.tile_origin("conv5", 1, 1) == (0, 0)
    y0, x0, _, _ = small.window("conv2").box(3, 2)
    assert small.tile_origin("conv2", 3, 2) == (y0, x0)
    mixed = net(
        Conv("conv1", 2, 9, 1, (4, 4)), size=(9, 30)
    )  # the window covers one axis whole, not the other
    assert mixed.tile_size("conv1") == (9, 9) and mixed.tile_origin("conv1", 2, 0) == (0, -4)


def test_replace_and_with_classes_leave_the_original_alone():
    fewer = ZFNET.with_classes(10)
    assert fewer.classes == 10 and ZFNET.classes == 1000
    assert ZFNET.parameter_count - fewer.parameter_count == 990 * 4097
    assert fewer.fact("fc7") == ZFNET.fact("fc7")
    assert ZFNET.replace("conv1", kernel=7) == ZFNET and hash(
        ZFNET.replace("conv1", kernel=7)
    ) == hash(ZFNET)
    assert ZFNET.conv_names == ("conv1", "conv2", "conv3", "conv4", "conv5")
    assert net(size=(4, 4)).convolutional == ()


def test_one_field_is_an_ablation_and_a_misfit_is_said():
    wider = ZFNET.replace("conv1", kernel=11, stride=4)
    assert wider.fact("conv1").shape[0] == 54 and ZFNET.fact("conv1").shape[0] == 110
    with pytest.raises(ZfjaxError, match="does not fit"):
        ZFNET.replace("conv1", stride=200)
    with pytest.raises(ZfjaxError, match="no layer 'conv9'"):
        ZFNET.replace("conv9", maps=1)
    with pytest.raises(ZfjaxError, match="must be 1 or more"):
        ZFNET.replace("conv1", maps=0)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ((Conv("a", 2, 3), Conv("a", 2, 3)), "called a"),
        ((Dense("fc0", 2), Conv("a", 2, 3)), "after a fully connected"),
        ((Conv("a", 2, 21),), "a of net does not fit"),
        ((Conv("a", 2, 3, 1, (3, 0)),), "a.padding"),
        ((Conv("a", 2, 3, 1, (0, -1)),), "a.padding"),
        ((Pool("a", 2, 1, (0, 2)),), "a.padding"),
        ((Conv("a", 2, 3, 0),), "a.stride"),
        ((Pool("a", 0),), "a.window"),
        ((Norm("a", 4),), "must be odd"),
        ((Norm("a", 0),), "a.size"),
        ((Dense("a", 0),), "a.features"),
        ((Dense("a", 2, 1.0),), "a.dropout"),
    ],
)
def test_bad_specs_are_named(layers, words):
    with pytest.raises(ZfjaxError, match=words):
        net(*layers)


def test_only_convolutions_can_be_asked_for():
    for name in ("pool1", "fc6", "conv9"):
        with pytest.raises(ZfjaxError, match="conv1, conv2, conv3, conv4, conv5"):
            ZFNET.conv(name)
    assert ZFNET.conv("conv2").maps == 256


# --- a config in JSON
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(presets.PRESETS))
def test_presets_survive_json(name):
    assert configs.from_json(configs.to_json(presets.preset(name))) == presets.preset(name)


def changed(path, value):
    """The demo's record with one value at a dotted path replaced; numbers index lists."""
    record = configs.to_json(presets.preset("demo"))
    *parents, last = path.split(".")
    inner = record
    for part in parents:
        inner = inner[int(part) if part.isdigit() else part]
    inner[int(last) if last.isdigit() else last] = value
    return record


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("model.layers.0.kernal", 3, r"config.model.layers\[0\] has no field 'kernal'"),
        ("model.layers.0.kind", "lstm", r"config.model.layers\[0\] needs a kind"),
        ("model.layers.0.kind", [], r"config.model.layers\[0\] needs a kind"),
        ("model.layers.0", 7, "needs a kind"),
        ("model.layers", [], "has no layers"),
        ("model.layers.0.name", "a/b", "cannot be called 'a/b'"),
        ("optimizer.patience", 0, "optimizer.patience = 0 is out of range"),
        ("optimizer.weight_decay", -1e-4, "optimizer.weight_decay"),
        ("model.layers.0.kernel", 0, "conv1.kernel is 0"),
        ("model.layers.0.kernel", 3.5, r"layers\[0\].kernel = 3.5; it must be of type int"),
        ("model.layers.0.padding", [1], "a list of 2 numbers"),
        ("model.layers", {}, "must be a list of layers"),
        ("model.input_size", [64, "64"], "config.model.input_size"),
        ("optimizer.momentum", 1.0, "optimizer.momentum = 1.0 is out of range"),
        ("optimizer.learning_rate", float("nan"), "optimizer.learning_rate"),
        ("optimizer.schedule", "linear", "'linear'"),
        ("data", [], "config.data must be a JSON object"),
        ("data.view", 8, "data.view = 8 is out of range"),
        ("data.flip", 1, "config.data.flip"),
        ("epoch", 3, "no field 'epoch'"),
        ("epochs", True, "config.epochs"),
        ("epochs", "many", "config.epochs"),
        ("recipe", "sometimes", "'sometimes'"),
        ("compute", "float16", "'float16'"),
    ],
)
def test_a_wrong_field_is_named(path, value, words):
    with pytest.raises(ZfjaxError, match=words):
        configs.from_json(changed(path, value))


def test_a_missing_field_is_named_and_a_run_file_is_read():
    record = configs.to_json(presets.preset("demo"))
    assert configs.from_json({"config": record, "version": 1}) == presets.preset("demo")
    assert configs.from_json(changed("optimizer.learning_rate", 1)).optimizer.learning_rate == 1.0
    del record["model"]
    with pytest.raises(ZfjaxError, match="lacks model"):
        configs.from_json(record)


def test_flatten_and_get_field_agree_and_tell_changes_apart():
    config = presets.preset("demo")
    flat = configs.flatten(config)
    for path, value in flat.items():
        if path != "model.layers":
            assert configs.get_field(config, path) == value, path
    other = configs.flatten(configs.from_json(changed("model.layers.0.stride", 1)))
    assert {path for path in flat if flat[path] != other[path]} == {"model.conv1.stride"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Architecture("none", (64, 64), ()),
        lambda: Architecture("negative", (-64, 64), (Conv("conv1", 2, 3),)),
        lambda: Architecture("path", (64, 64), (Conv("../conv1", 2, 3),)),
        lambda: Architecture("reserved", (64, 64), (Conv("layers", 2, 3),)),
        lambda: Architecture("norm", (64, 64), (Conv("conv1", 2, 3), Norm("norm1", k=0.0))),
        lambda: ZFNET.replace("conv1", kernal=3),
        lambda: Architecture("headless", (64, 64), (Conv("conv1", 2, 3),)).with_classes(3),
    ],
)
def test_a_network_that_cannot_be_is_refused_in_a_sentence(make):
    with pytest.raises(ZfjaxError, match=r"\.$"):
        make()


def test_below_ends_with_the_layer_that_is_asked_for():
    facts = ZFNET.facts()
    for position, layer in enumerate(ZFNET.layers):
        assert ZFNET.below(layer.name) == facts[: position + 1]
    with pytest.raises(ZfjaxError, match="has no layer 'conv9'"):
        ZFNET.below("conv9")


def test_extent_is_the_kernel_or_the_window():
    assert [Conv("a", 2, 5).extent, Pool("b", 4).extent] == [5, 4]
