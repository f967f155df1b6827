"""What is asked of an ablation becomes named cells, and what cannot be is said."""

import json
from dataclasses import replace

import numpy as np
import pytest

import zfjax
from zfjax import config as configs
from zfjax import presets
from zfjax.errors import ZfjaxError
from zfjax.fields import PAIRS, settable
from zfjax.grids import GRIDS, grid
from zfjax.network.altered import scaled, with_stem, without
from zfjax.studies.cells import (
    BASE,
    MOST_LETTERS,
    Wanted,
    axis_from,
    axis_of,
    cells_of,
    combination_name,
)
from zfjax.studies.costs import training_images
from zfjax.studies.planning import Request, drop_from, file_from, plan_of, seeds_from, wanted_from
from zfjax.studies.tuning import trials

DEMO = presets.preset("demo")


def cells(*vary, base=DEMO, **more):
    return cells_of(base, Wanted(axes=tuple(axis_of(text) for text in vary), **more))


def replaced(layer, **fields):
    return replace(DEMO, model=DEMO.model.replace(layer, **fields))


def names(*vary, **more):
    return [cell.name for cell in cells(*vary, **more)]


def test_tied_fields_change_together_and_several_multiply():
    made = cells(
        "model.conv1.kernel,model.conv1.padding=11:5,9:4",
        "model.conv1.stride,model.conv2.stride=4:1,2:2",
        drops=(("conv3", "conv4"), ("fc7",)),
    )
    assert [cell.name for cell in made] == [
        "base",
        "conv1.kernel=11,conv1.padding=5,conv1.stride=4,conv2.stride=1",
        "conv1.kernel=11,conv1.padding=5",
        "conv1.kernel=9,conv1.padding=4,conv1.stride=4,conv2.stride=1",
        "conv1.kernel=9,conv1.padding=4",
        "without-conv3-conv4",
        "without-fc7",
    ]
    conv1 = made[1].config.model.conv("conv1")
    assert (conv1.kernel, conv1.stride, conv1.padding) == (11, 4, (5, 5))
    assert made[1].config.model.conv("conv2").stride == 1
    assert made[5].without == ("conv3", "conv4") and made[5].fields == ()
    kernels = configs.flatten(made[5].config), made[5].config.model.facts()
    assert "model.conv3.kernel" not in kernels[0]
    assert made[0].config == DEMO and made[2].fields == (
        ("model.conv1.kernel", 11),
        ("model.conv1.padding", (5, 5)),
    )


def test_a_combination_that_is_the_base_is_the_base():
    made = cells("model.conv1.kernel=7,5", "optimizer.learning_rate=0.02,0.04")
    assert [cell.name for cell in made] == [
        "base", "learning_rate=0.04", "conv1.kernel=5", "conv1.kernel=5,learning_rate=0.04"
    ]  # fmt: skip
    assert made[0].also == ("conv1.kernel=7,learning_rate=0.02",)
    [base] = cells(grids=("stems",))[:1]
    assert base.also == ("stem-7-stride-2",)
    assert cells("optimizer.learning_rate=2e-2,0.01")[0].also == ("learning_rate=2e-2",)
    idle = cells("optimizer.patience=3", configs=(("fc8", replaced("fc8", dropout=0.5)),))
    assert len(idle) == 1 and idle[0].also == ("patience=3", "fc8")
    assert len(cells("optimizer.schedule,optimizer.patience=plateau:3,plateau:9")) == 3


@pytest.mark.parametrize(
    ("path", "value", "name"),
    [
        ("optimizer.learning_rate", "0.04", "learning_rate=0.04"),
        ("epochs", "3", "epochs=3"),
        ("model.fc6.dropout", "0.5", "fc6.dropout=0.5"),
        ("model.conv2.padding", "1x2", "conv2.padding=1x2"),
        ("model.input_size", "32", "input_size=32"),
        ("data.flip", "false", "flip=false"),
        ("model.norm1.alpha", "0.1", "norm1.alpha=0.1"),
        ("recipe", "faithful", "recipe=faithful"),
    ],
)
def test_names_are_the_shortest_that_one_field_alone_has(path, value, name):
    assert names(f"{path}={value}") == ["base", name]
    assert names(f"--{path.replace('_', '-')}={value}") == ["base", name]


def test_pairs_are_values_as_others_are():
    made = cells("model.conv1.kernel,model.conv1.padding=11:4x5,9:2", "model.input_size=64,48x64")
    assert [cell.name for cell in made] == [
        "base",
        "conv1.kernel=11,conv1.padding=4x5",
        "conv1.kernel=11,conv1.padding=4x5,input_size=48x64",
        "conv1.kernel=9,conv1.padding=2",
        "conv1.kernel=9,conv1.padding=2,input_size=48x64",
    ]
    model = made[2].config.model
    assert model.conv("conv1").padding == (4, 5) and model.input_size == (48, 64)
    pairs = {path.split(".")[-1] for path, value in settable(DEMO).items() if type(value) is tuple}
    assert pairs == set(PAIRS)


def test_marks_in_brackets_divide_nothing():
    made = cells("data.train_split,epochs=train[:50%]:20,train[50%:]:20,train:10")
    splits = [(cell.config.data.train_split, cell.config.epochs) for cell in made]
    assert splits == [("train", 10), ("train[:50%]", 20), ("train[50%:]", 20)]
    assert made[0].also == ("train_split=train,epochs=10",)


@pytest.mark.parametrize(
    ("split", "parts", "count"),
    [
        ("train", ("train[:90%]", "train[90%:]"), 1000),
        ("train[:50%]", ("train[0%:45%]", "train[45%:50%]"), 500),
        ("train[50%:]", ("train[50%:95%]", "train[95%:100%]"), 500),
        ("my-set[20:120]", ("my-set[20:110]", "my-set[110:120]"), 100),
        ("train[:]", ("train[0%:90%]", "train[90%:100%]"), 1000),
        ("train[:1%]", None, 10),
        ("train[500:]", None, 500),
        ("train[10:50%]", None, 490),
        ("train[:1]", None, 1),
    ],
)
def test_slices_are_divided_for_trials_and_counted_for_costs(split, parts, count, tmp_path):
    base = replace(DEMO, data=replace(DEMO.data, train_split=split))
    request = Request(base, seeds=(0,), tune="optimizer.momentum=0.1,0.2")
    if parts is None:
        with pytest.raises(ZfjaxError, match="Cell base: --tune: train.* cannot be divided into 9"):
            plan_of(tmp_path, request)
    else:
        plan = plan_of(tmp_path, request)
        config = next(trials(plan, plan.cells[0]))[1]
        assert (config.data.train_split, config.data.validation_split) == parts
    plan = plan_of(tmp_path, Request(DEMO, seeds=(0,)))
    assert training_images(plan, base, 1000) == count
    assert training_images(plan_of(tmp_path, replace(request, tune=None)), base, 77) == 77


def test_long_names_stay_apart():
    many = {path: "9" for path in settable(DEMO) if path.startswith("model.")}
    one, other = (combination_name(DEMO, {**many, "epochs": epochs}) for epochs in ("3", "4"))
    assert one != other and len(one) == len(other) == MOST_LETTERS
    assert one[:130] == other[:130]


def test_names_stay_when_the_grid_grows():
    few, many = names("model.conv1.kernel=5"), names("model.conv1.kernel=5,9")
    assert many[: len(few)] == few
    assert "conv1.kernel=5" in names("model.conv1.kernel=5,7", "model.conv2.kernel=5,3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model.conv1.kernel", "write FIELD=VALUE"),
        ("=3", "write FIELD=VALUE"),
        ("model.conv1.kernel=", "write FIELD=VALUE"),
        ("model.conv1.kernel,=3:4", "write FIELD=VALUE"),
        ("model.conv1.kernel,model.conv1.padding=11:5,9", "9 has 1 value for 2 fields"),
        ("model.conv1.kernel=11:5", "11:5 has 2 values for 1 field "),
        ("model.conv1.kernel=11,,9", "an empty value of model.conv1.kernel."),
        ("model.conv1.kernel=11, ", "an empty value of model.conv1.kernel."),
        (
            "model.conv1.kernel,model.conv1.stride=11:,9:2",
            "an empty value of model.conv1.stride in 11:.",
        ),
        ("epochs,batch_size=1:2:3", "1:2:3 has 3 values for 2 fields"),
        ("model.conv1.kernel=11,9,11", "11 is given twice"),
        ("epochs,epochs=1:2", "a field is named twice"),
        ("model.conv1.padding=3:2", "1 field (model.conv1.padding); two numbers of one field are"),
        ("epochs,model.conv1.padding=1:3,2", "2 has 1 value for 2 fields (epochs, model.conv1.pa"),
    ],
)
def test_what_is_no_axis_is_said(text, said):
    with pytest.raises(ZfjaxError) as error:
        axis_of(text)
    assert said in str(error.value) and str(error.value).startswith(f"--vary {text}")


@pytest.mark.parametrize(
    ("vary", "more", "said"),
    [
        (
            ["model.conv9.kernel=3"],
            {},
            "no field model.conv9.kernel to vary: there is no layer 'conv9'; the layers are conv5,"
            " conv4, conv3, conv2, conv1, pool1, norm1, pool2, norm2, pool5, fc6, fc7, fc8.",
        ),
        (["fc9.dropout=0"], {}, "there is no layer 'fc9'; the layers are fc8, fc7, fc6, conv1,"),
        (
            ["model.conv1.radius=3"],
            {},
            "no field model.conv1.radius to vary: conv1 is a convolution and has no radius; it has"
            " maps, kernel, stride, padding.",
        ),
        (["model.pool1.kernel=3"], {}, "a max-pooling and has no kernel; it has window, stride, p"),
        (["model.fc6.drop=0"], {}, "a fully connected layer and has no drop; it has dropout, f"),
        (["norm1.maps=3"], {}, "norm1 is a contrast normalisation and has no maps; it has size, k"),
        (["conv1.stride=3"], {}, "no field conv1.stride to vary; did you mean model.conv1.stride?"),
        (["window=3"], {}, "did you mean model.pool1.window or model.pool2.window or model.pool5."),
        (["model.name=a"], {}, "the layers are conv1, pool1, norm1, conv2,"),
        (["momntum=0.5"], {}, "did you mean optimizer.momentum?"),
        (["data.kernel=3"], {}, "no field data.kernel to vary; data has name, dir,"),
        (["data.momentum=0.5"], {}, "did you mean optimizer.momentum?"),
        (["data.train_split=validation[:9]"], {}, "of the images that all cells are compared on"),
        (["model.conv1.padding=(3,2)"], {}, "'(3': expected a number, or two such as 3x2."),
        (["model.conv1.padding=3x2x1"], {}, "'3x2x1': expected a number, or two such as 3x2."),
        (["model.conv1.kernel=7x5"], {}, "expected one int: it is the same along both axes."),
        (["optimizer.rate=3"], {}, "no field optimizer.rate to vary; optimizer has learning_rate,"),
        (["epoch=3"], {}, "no field epoch to vary; did you mean epochs?"),
        (["lr=3"], {}, "no field lr to vary; there are model, "),
        (["seed=1,2"], {}, "give --seeds"),
        (["data.name=other"], {}, "compared on the same images"),
        (["data.validation_split=test"], {}, "compared on the same images"),
        (["data.threads=3"], {}, "does not touch what is learnt"),
        (["save_minutes=3"], {}, "does not touch what is learnt"),
        (["model.fc8.features=3"], {}, "number of classes"),
        (["layer_keys=by_order"], {}, "no field layer_keys"),
        (["model.conv1.kernel=200"], {}, "Cell conv1.kernel=200: conv1 of zfnet"),
        (["model.conv1.padding=7"], {}, "Cell conv1.padding=7: conv1.padding is"),
        (["model.conv1.kernel=big"], {}, "Cell conv1.kernel=big: --model.conv1.kernel 'big'"),
        (["optimizer.momentum=1.5"], {}, "Cell momentum=1.5: optimizer.momentum = 1.5 is"),
        (["epochs=1,1.0"], {}, "epochs=1.0"),
        (["optimizer.momentum=0.5,5e-1"], {}, "the same network"),
        (["epochs=1,2", "epochs=3,4"], {}, "Two --vary name epochs"),
        ([], {"drops": (("conv9",),)}, "Cell without-conv9: zfnet-64-quarter has no layer 'conv9'"),
        ([], {"drops": (("fc8",),)}, "fc8 gives the scores"),
        ([], {"drops": (("fc6", "fc7", "fc8"),)}, "fc8 gives the scores"),
        ([], {"drops": (tuple(f"conv{n}" for n in range(1, 6)),)}, "no convolution"),
        ([], {"drops": (("fc7", "fc7"),)}, "fc7 of zfnet-64-quarter is to be dropped twice"),
        ([], {"drops": (("fc7",), ("fc7",))}, "without-fc7 and without-fc7 are the same network"),
        ([], {"drops": (("conv3", "conv4"), ("conv4", "conv3"))}, "are the same network"),
        ([], {"grids": ("stem",)}, "There is no grid 'stem'; there are stems, layers, clip"),
        (["rms_clip=0.05"], {"grids": ("clip",)}, "rms_clip=0.05 are the same network"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence_that_names_cell_and_field(vary, more, said):
    with pytest.raises(ZfjaxError) as error:
        cells(*vary, **more)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_cell_from_a_file(tmp_path):
    def asked(name, value):
        (tmp_path / "cell.json").write_text(value if isinstance(value, str) else json.dumps(value))
        return cells(files=((name, tmp_path / "cell.json"),))[-1]

    some = asked("mine", {"model.conv1.maps": 30, "optimizer.momentum": 0.8, "data.flip": False})
    assert some.name == "mine" and some.config.model.conv("conv1").maps == 30
    assert [path for path, _ in some.fields] == [
        "model.conv1.maps", "data.flip", "optimizer.momentum"
    ]  # fmt: skip
    whole = replace(DEMO, seed=5, batch_size=64, data=replace(DEMO.data, dir="/other", threads=7))
    cell = asked("whole", configs.to_json(whole))
    assert cell.fields == (("batch_size", 64),) and cell.config == replace(DEMO, batch_size=64)
    assert asked("run", {"config": configs.to_json(whole), "more": 1}).fields == cell.fields
    assert asked("same", configs.to_json(DEMO)).name == BASE
    for value, said in (
        ("{", "is damaged"),
        ([1], "holds no JSON object"),
        ({"model.conv9.maps": 3}, "no field model.conv9.maps"),
        ({"model.conv1.maps": "many"}, "expected int"),
        ({"model": 3}, "must be a JSON object"),
        (configs.to_json(replace(DEMO, data=replace(DEMO.data, name="other"))), "same images"),
    ):
        with pytest.raises(ZfjaxError, match=said):
            asked("odd", value)
    with pytest.raises(ZfjaxError, match="cannot be called"):
        asked("../up", {"epochs": 3})
    with pytest.raises(ZfjaxError, match="There is no"):
        cells(files=(("gone", tmp_path / "gone.json"),))


def test_values_are_read_as_words_are():
    asked = wanted_from(
        {
            "vary": {
                "model.conv1.kernel": [11, 9],
                ("model.conv1.stride", "model.conv2.padding"): [(4, (1, 2))],
                "data.flip": [False],
            },
            "drop": ["fc7", ("conv3", "conv4"), "norm1,norm2"],
            "grids": "stems",
            "cells": {"wide": replace(DEMO, epochs=3)},
        }
    )
    assert asked.axes == (
        axis_of("model.conv1.kernel=11,9"),
        axis_of("model.conv1.stride,model.conv2.padding=4:1x2"),
        axis_of("data.flip=false"),
    )
    assert asked.drops == (("fc7",), ("conv3", "conv4"), ("norm1", "norm2"))
    assert asked.grids == ("stems",) and asked.configs[0][0] == "wide"
    assert axis_from("epochs", (3,)) == axis_of("epochs=3")
    assert wanted_from(None) == Wanted() and wanted_from(asked) is asked
    with pytest.raises(ZfjaxError, match="no 'seeds'"):
        wanted_from({"seeds": 3})


def test_one_is_as_good_as_a_list_and_numpy_s_numbers_are_numbers():
    for kernel in (9, np.int64(9), [9], (9,), np.array([9]), "9"):
        asked = wanted_from({"vary": {"model.conv1.kernel": kernel}, "grids": ["stems"]})
        assert asked.axes == (axis_of("model.conv1.kernel=9"),) and asked.grids == ("stems",)
    assert wanted_from({"vary": {"optimizer.schedule": "constant"}}).axes == (
        axis_of("optimizer.schedule=constant"),
    )
    for two in (
        2,
        np.int64(2),
        "2",
        np.array(2),
        range(2),
        [0, 1],
        {0, 1},
        np.array([0, 1]),
        "0,1",
    ):
        assert seeds_from(two) == (0, 1)
    assert seeds_from([2]) == seeds_from((np.int32(2),)) == seeds_from(np.array([2])) == (2,)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("stems", "a mapping of vary, drop, grids, cells"),
        (5, "a mapping of vary"),
        ([1], "a mapping of vary"),
        ({"vary": 5}, "vary = 5 must be a text"),
        ({"vary": None}, "vary = None"),
        ({"vary": {5: [1]}}, "vary = 5 must be a text"),
        ({"drop": 5}, "drop = 5 must be a text"),
        ({"drop": [["conv3", 5]]}, "drop = 5"),
        ({"grids": 5}, "grids = 5"),
        ({"cells": ["x"]}, "cells is a mapping"),
        ({"cells": {"a": {"epochs": 3}}}, "The cell a must be a Config"),
        ({"cells": {"a": None}}, "The cell a must be a Config"),
        ({"cells": {5: DEMO}}, "cells = 5 must be a text"),
    ],
)
def test_what_is_of_another_kind_is_one_sentence(asked, said):
    with pytest.raises(ZfjaxError, match=said):
        wanted_from(asked)


def test_an_ablation_names_what_is_of_another_kind(tmp_path):
    for arguments, words, said in (
        ((5,), {}, "folder = 5 must be a path"),
        ((tmp_path, "demo"), {}, "The base must be a Config"),
        ((tmp_path, {"epochs": 3}), {}, "The base must be a Config"),
        ((tmp_path, DEMO), {"seeds": 2.5}, "--seeds 2.5"),
        ((tmp_path, DEMO), {"seeds": True}, "--seeds True"),
        ((tmp_path, DEMO), {"seeds": ()}, "--seeds"),
        ((tmp_path, DEMO), {"tune": 5}, "tune = 5 must be a text"),
        ((tmp_path, DEMO), {"work": 5}, "work must be a Work"),
        ((tmp_path, replace(DEMO, data=replace(DEMO.data, dir="gs://x"))), {}, "is a URL"),
    ):
        with pytest.raises(ZfjaxError, match=said):
            zfjax.ablate(*arguments, **words)
    assert not list(tmp_path.iterdir())


def test_seeds_drops_and_files_in_words():
    assert seeds_from("3") == seeds_from(3) == (0, 1, 2)
    assert seeds_from("0,7,9") == seeds_from([0, 7, 9]) == (0, 7, 9)
    assert seeds_from([4]) == (4,)
    for wrong in ("0", "-1", "two", "1,1", "1,", "0,-3", "0,2147483648", "1.5"):
        with pytest.raises(ZfjaxError, match=f"--seeds {wrong}"):
            seeds_from(wrong)
    assert drop_from("conv3, conv4") == ("conv3", "conv4")
    for wrong in ("", ",", "conv3,,conv4"):
        with pytest.raises(ZfjaxError, match="--drop"):
            drop_from(wrong)
    assert file_from("a=b=c.json")[1].name == "b=c.json"
    for wrong in ("a", "=b", "a="):
        with pytest.raises(ZfjaxError, match="--cell"):
            file_from(wrong)


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_ready_grids_fit_every_preset(preset):
    base = presets.preset(preset)
    sizes = [fact.shape for fact in base.model.facts()]
    for name in GRIDS:
        made = cells_of(base, Wanted(grids=(name,)))
        asked = {variant.name for variant in grid(name)}
        assert {cell.name for cell in made[1:]} | set(made[0].also) == asked
        for cell in made:
            if name == "stems":
                # From the second convolution's maps on nothing but the stem has changed.
                facts = cell.config.model.facts()
                second = [fact.layer.name for fact in facts].index("conv2")
                assert [fact.shape for fact in facts][second:] == sizes[second:]
                strides = [cell.config.model.conv(layer).stride for layer in ("conv1", "conv2")]
                assert strides[0] * strides[1] == 4


def test_the_layers_grid_is_the_papers_table_3():
    made = {cell.name: cell for cell in cells(grids=("layers",), base=presets.preset("imagenet"))}
    assert [cell.without for cell in made.values() if cell.without] == [
        ("conv3", "conv4"),
        ("fc7",),
        ("fc6", "fc7"),
        ("conv3", "conv4", "fc6", "fc7"),
    ]
    assert made["fc6-fc7-half"].config.model.layer("fc6").features == 2048
    assert made["fc6-fc7-twice"].config.model.layer("fc7").features == 8192
    assert made["conv3-conv5-twice"].config.model.conv("conv4").maps == 768


def test_a_network_altered():
    model = DEMO.model
    assert without(model, ("conv4",)).conv_names == ("conv1", "conv2", "conv3", "conv5")
    assert scaled(model, ("conv1", "fc6"), 0.5).conv("conv1").maps == 12
    assert scaled(model, ("conv1",), 1e-9).conv("conv1").maps == 1
    assert with_stem(model, 7, 2) is model
    for make in (
        lambda: scaled(model, ("pool1",), 2),
        lambda: scaled(model, ("conv9",), 2),
        lambda: with_stem(model, 7, 3),
        lambda: with_stem(without(model, ("conv2", "conv3", "conv4", "conv5")), 11, 4),
    ):
        with pytest.raises(ZfjaxError):
            make()
