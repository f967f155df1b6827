"""More than the strongest: weakest and typical images with places and pictures, against the oracle;
pictures by several rules; how a finished evolution takes more of both.
"""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from tests import oracle
from zfjax.commands.cli import main
from zfjax.data.dataset import open_dataset
from zfjax.errors import ZfjaxError
from zfjax.features import evolving
from zfjax.features.asking import Asked, Request, command_line, widened
from zfjax.features.evolving import evolve
from zfjax.features.selections import grows, is_in_table, plain_selections, quantiles_in_table
from zfjax.features.statistics import bin_of
from zfjax.inputs import central_crop
from zfjax.network.ops import RULES
from zfjax.run import checkpoint
from zfjax.run.folder import load_run

ASKED = {"maps": 3, "top": 3, "at": ["0", "last"]}
MORE = {"selections": ["top", "low", "quantile:0.5"]}


@pytest.fixture(scope="module")
def shown(tmp_path_factory, unbroken):
    """A run with an evolution of the strongest alone, "plain", and one of more, "more"."""
    folder = tmp_path_factory.mktemp("shown") / "run"
    shutil.copytree(unbroken, folder)
    evolve(folder, **ASKED, name="plain")
    evolve(folder, **ASKED, **MORE, name="more", rule=["deconvnet", "guided", "gradient"])
    return load_run(folder)


@pytest.fixture
def run(tmp_path, shown):
    return load_run(shutil.copytree(shown.folder, tmp_path / "run"))


def same_evolution(one, other, rules=("deconvnet",)):
    assert one.units.equals(other.units)
    for layer in one.layers:
        for step in one.steps:
            for rule in rules:
                first, second = one.tiles(layer, step, rule), other.tiles(layer, step, rule)
                assert first.keys() == second.keys() and first
                for key, tile in first.items():
                    np.testing.assert_array_equal(tile.projection, second[key].projection)
                    np.testing.assert_array_equal(tile.patch, second[key].patch)


# ---- words


@pytest.mark.parametrize(
    ("words", "plain"),
    [
        (["top"], ()),
        ([], ()),
        (["low"], ("low",)),
        (
            ["quantile:0.90", "fixed", "low", "quantile:.5", "low"],
            ("low", "quantile:0.5", "quantile:0.9"),
        ),
        (["quantile:1e-3", "quantile:0.001"], ("quantile:0.001",)),
    ],
)
def test_words_of_selections_have_one_form(words, plain):
    assert plain_selections(words) == plain == plain_selections(plain)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("lowest", "there are top, fixed"),
        ("quantile:", "between 0 and 1"),
        ("quantile:half", "between 0 and 1"),
        ("quantile:nan", "between 0 and 1"),
        ("quantile:1", "the ends are low and top"),
        ("quantile:0", "the ends are low and top"),
        ("quantile:-0.5", "between 0 and 1"),
        ("quantile:0.99999999", "six digits"),
        ("quantile", "there are top, fixed"),
        ("", "there are top, fixed"),
    ],
)
def test_other_words_are_refused(word, reason):
    with pytest.raises(ZfjaxError, match=reason) as refusal:
        plain_selections(["top", word])
    assert repr(word) in str(refusal.value)


def test_a_request_keeps_what_is_there_and_says_how_to_ask_for_it_again():
    request = Request((0, 4), ("conv1",), 3, 2, "train", 36, "guided")
    before = {"selections": ["quantile:0.5"], "rules": ["gradient", "deconvnet"]}
    wide = widened(dataclasses.replace(request, selections=("low",)), before)
    assert wide.selections == ("low", "quantile:0.5") and wide.rules == ("deconvnet", "gradient")
    assert widened(wide, {"rules": ["guided"]}).rules == wide.rules, "it is the main one"
    assert widened(request, None) == request
    again = command_line(wide, "x")
    assert "--rule guided deconvnet gradient --selections top low quantile:0.5 --name x" in again
    assert "selections" not in command_line(request, None)


def test_what_a_finished_evolution_takes():
    before = {"steps": [0, 4], "selections": ["low"]}
    more = {"steps": [0, 4], "selections": ["low", "quantile:0.5"]}
    assert grows(before, more, ["selections"]) and not grows(more, before, ["selections"])
    assert grows(before, {**more, "steps": [0, 4, 8]}, ["steps", "selections"])
    assert not grows(before, {**more, "maps": 3}, ["selections", "maps"])
    assert not grows(before, before, [])
    assert is_in_table(before, more), "0.5, 0.9 and 0.99 always are"
    assert not is_in_table(before, {"selections": ["quantile:0.25"]})
    assert quantiles_in_table(["low", "quantile:0.25", "quantile:0.9"]) == (0.25, 0.5, 0.9, 0.99)


def test_words_from_python_are_names_too():
    assert Asked(rule="guided", selections="low").plain().selections == ("low",)
    with pytest.raises(ZfjaxError, match="--selections = 3 must be a text"):
        Asked(selections=["low", 3]).plain()


# ---- what is drawn


def network_input(run, image_id):
    pixels = open_dataset("small", run.config.data.dir).read("train", [image_id], (18, 18))[0].image
    return (np.float64(central_crop(pixels, (16, 16))) - (123.7, 116.3, 103.5)) / 58


@pytest.mark.slow
def test_pictures_of_weak_and_typical_images_are_the_oracles(shown):
    evolution, model = shown.evolution("more"), shown.config.model
    assert evolution.selections == ("top", "fixed", "low", "quantile:0.5")
    assert evolution.rules == ("deconvnet", "guided", "gradient")
    compared = {"low": 0, "quantile:0.5": 0}
    for step in evolution.steps:
        parameters = checkpoint.load(shown.checkpoints / str(step))
        for layer in evolution.layers:
            tiles = {rule: evolution.tiles(layer, step, rule) for rule in evolution.rules}
            for row in evolution.rows(step=step, layer=layer):
                selection, map_ = row["selection"], row["map"]
                key = selection, map_, row["rank"]
                if selection not in compared or map_ not in evolution.maps(layer):
                    continue
                drawn = row["rank"] == 0 or (selection == "low" and step == evolution.steps[-1])
                assert drawn == (key in tiles["deconvnet"]) == (row["y"] is not None)
                if not drawn:
                    assert row["box_y0"] is None
                    continue
                pixels = network_input(shown, row["image_id"])
                values, memory = oracle.climb(model, parameters, pixels, layer)
                of_map = values[..., map_]
                assert row["activation"] == pytest.approx(of_map.max(), abs=1e-4 * values.max())
                y, x = row["y"], row["x"]
                assert of_map[y, x] == pytest.approx(of_map.max(), abs=1e-5 * values.max())
                assert (row["box_y0"], row["box_x0"]) == model.window(layer).box(y, x)[:2]
                for rule, of_rule in tiles.items():
                    seed = oracle.one_hot(values, y, x, map_)
                    way = RULES[rule]
                    whole = oracle.descend(parameters, memory, seed, way.relu, way.norm)
                    expected = oracle.cut(whole, model.window(layer).box(y, x), (16, 16))
                    scale = np.abs(expected).max()
                    weak = 1e-5 * values.max() / row["activation"]
                    np.testing.assert_allclose(
                        of_rule[key].projection, expected, atol=(2e-3 + weak) * scale
                    )
                compared[selection] += 1
    assert min(compared.values()) >= 8, compared


@pytest.mark.slow
def test_low_is_the_weakest_that_excites_and_a_quantile_is_of_its_bin(shown):
    evolution = shown.evolution("more")
    step = evolution.steps[-1]
    for layer in evolution.layers:
        counts = evolution.histogram(layer)[-1]
        for map_ in evolution.maps(layer):
            of_map = {"step": step, "layer": layer, "map": map_}
            low = [row["activation"] for row in evolution.rows(**of_map, selection="low")]
            top = [row["activation"] for row in evolution.rows(**of_map, selection="top")]
            assert low == sorted(low) and min(low) > 0 and low[0] <= top[-1]
            typical = evolution.rows(**of_map, selection="quantile:0.5")
            cumulative = np.cumsum(counts[map_])
            median_bin = int(np.argmax(cumulative >= 0.5 * cumulative[-1]))
            assert len(typical) == (median_bin > 0), "no unit where half the images leave it silent"
            assert all(
                int(bin_of(np.float32([row["activation"]]))[0]) == median_bin for row in typical
            )


@pytest.mark.slow
def test_what_is_not_asked_for_costs_and_changes_nothing(shown):
    plain, more = shown.evolution("plain"), shown.evolution("more")
    assert "selections" not in plain.record.asked and "rules" not in plain.record.asked
    assert sorted(path.name for path in plain.folder.iterdir()) == [
        *("example.jpg", "filters.npz", "histograms.npz", "meta.json", "tiles", "units.parquet")
    ]
    strongest = [row for row in more.rows() if row["selection"] in ("top", "fixed")]
    assert strongest == [row for row in plain.rows() if row["selection"] in ("top", "fixed")]
    for row in plain.rows():
        assert (row["y"] is None) == (row["selection"] not in ("top", "fixed"))
    for layer in plain.layers:
        tiles, wider = (evolution.tiles(layer, plain.steps[-1]) for evolution in (plain, more))
        assert set(tiles) == {key for key in wider if key[0] in ("top", "fixed")}
        for key, tile in tiles.items():
            np.testing.assert_array_equal(tile.projection, wider[key].projection)
    with pytest.raises(ZfjaxError, match=r"no pictures by the rule 'guided'; it has deconvnet"):
        plain.tiles("conv1", 0, "guided")


# ---- what a finished evolution takes


@pytest.mark.slow
def test_a_finished_evolution_takes_more_without_a_search(run, capsys, monkeypatch):
    monkeypatch.setattr(evolving, "search_on", None)  # whoever calls it fails
    grown = evolve(run.folder, **ASKED, selections=["low"], name="plain")
    assert "evolution-plain takes low: nothing is searched again" in capsys.readouterr().err
    assert grown.selections == ("top", "fixed", "low")
    grown = evolve(
        run.folder, **ASKED, selections="quantile:0.5", rule=["deconvnet", "gradient"], name="plain"
    )
    assert grown.selections[2:] == ("low", "quantile:0.5"), "what was there stays"
    grown = evolve(run.folder, **ASKED, rule=["deconvnet", "guided"], name="plain")
    same_evolution(grown, run.evolution("more"), ("deconvnet", "guided", "gradient"))
    stamp = (grown.folder / "meta.json").read_bytes()
    assert evolve(run.folder, **ASKED, name="plain").rules == grown.rules
    assert (grown.folder / "meta.json").read_bytes() == stamp, "less than is there is there"
    with pytest.raises(ZfjaxError, match=r"other settings \(rule"):
        evolve(run.folder, **ASKED, rule="guided", name="plain")


@pytest.mark.slow
def test_epochs_and_selections_are_added_at_once_and_a_rare_quantile_is_searched(run, capsys):
    more = {"maps": 3, "top": 3, "at": ["0", "1", "last"]}
    grown = evolve(run.folder, **more, selections=["low", "quantile:0.9"], name="plain")
    words = capsys.readouterr().err
    assert "takes 1 more saved epochs beside its 2 and low, quantile:0.9: they alone" in words
    at_once = evolve(run.folder, **more, selections=["low", "quantile:0.9"], name="once")
    same_evolution(grown, at_once)
    again = evolve(run.folder, **more, selections=["quantile:0.25"], name="plain")
    assert "its table lacks a quantile among them, and all is searched again" in (
        capsys.readouterr().err
    )
    assert again.rows(selection="quantile:0.25", step=again.steps[0])
    whole = evolve(run.folder, **more, selections=again.selections, name="whole")
    same_evolution(again, whole)


@pytest.mark.slow
def test_a_stopped_drawing_goes_on_without_a_search(run, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(evolving.drawing, "draw", stop)
        evolve(run.folder, **ASKED, **MORE, name="plain")
    with pytest.raises(ZfjaxError, match="not finished"):
        run.evolution("plain")
    monkeypatch.setattr(evolving, "search_on", None)
    gone_on = evolve(run.folder, **ASKED, name="plain", selections="low")
    same_evolution(gone_on, run.evolution("more"))


@pytest.mark.slow
def test_a_map_that_nothing_excites_has_neither_row_nor_picture(run):
    for step in (0, 12):
        path = run.checkpoints / str(step)
        parameters = checkpoint.load(path)
        bias = np.array(parameters["conv2"]["bias"])
        bias[:] = -1e6
        shutil.rmtree(path)
        saver = checkpoint.Saver(path.parent)
        saver.save(step, {**parameters, "conv2": {**parameters["conv2"], "bias": bias}})
        saver.wait()
    dead = evolve(run.folder, **ASKED, **MORE, name="dead")
    assert not dead.rows(layer="conv2") and not dead.tiles("conv2", 12)
    assert dead.rows(layer="conv1", selection="low")


@pytest.mark.slow
def test_the_command_draws_and_foresees_them(run, capsys):
    command = [
        "evolve",
        "--workdir",
        str(run.folder),
        "--maps",
        "3",
        "--top",
        "3",
        "--at",
        "0",
        "last",
    ]
    asked = [*command, "--name", "c", "--selections", "top", "low", "quantile:0.99"]
    assert main([*asked, "--rule", "deconvnet", "guided", "--dry-run"]) == 0
    counted = capsys.readouterr().out
    # 2 layers x 3 maps x (1 + 3 strongest, 2 fixed, 1 + 3 weakest, 2 typical) x 2 rules
    assert "144 tiles" in counted
    assert main([*asked, "--rule", "deconvnet", "guided"]) == 0
    evolution = run.evolution("c")
    assert json.loads((evolution.folder / "meta.json").read_text())["asked"]["rules"] == ["guided"]
    capsys.readouterr()
    assert main([*command, "--name", "c", "--dry-run", "--selections", "quantile:0.5"]) == 0
    foreseen = capsys.readouterr().out
    assert (
        "0 checkpoints x 36 images" in foreseen and "other 2 checkpoints are searched" in foreseen
    )
    assert main([*command, "--name", "c", "--selections", "weak"]) == 1
    assert "--selections 'weak': there are top" in capsys.readouterr().err
