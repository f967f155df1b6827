"""Somebody else's network, checkpoints and images: evolved like a run of ours."""

import getpass
import html
import json
import re
import socket

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zfjax
from tests.network import linen_nets
from zfjax.commands.cli import main
from zfjax.errors import ZfjaxError
from zfjax.features.asking import Asked, cost, request_of
from zfjax.features.units import draw_maps
from zfjax.network.ops import RULES
from zfjax.network.traced import TracedForward
from zfjax.run.evolution import open_evolution
from zfjax.run.measured import open_measured

MEAN, STD = (120.0, 110.0, 100.0), 60.0


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.BatchNorm(use_running_average=True)(nn.Conv(6, (5, 5), 2)(x)))
        x = linen_nets.Block(6)(nn.max_pool(x, (2, 2), (2, 2)))
        return nn.Dense(3)(x.mean((1, 2)))


@pytest.fixture(scope="module")
def trees():
    return {step: linen_nets.drawn(Net(), (24, 24), seed=step) for step in (0, 8, 16)}


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (10, 24, 24, 3), np.uint8)


def subject_of(trees, images, **words):
    how = {"mean": MEAN, "std": STD, "input": 24, **words}
    return zfjax.subject_from(trees, model=Net(), images=images, **how)


@pytest.mark.slow
def test_anyone_s_network_is_evolved_like_a_run(trees, pixels, tmp_path):
    labels = np.arange(10) % 3
    with jax.numpy_rank_promotion("allow"):
        pairs = list(zip(pixels, labels.tolist(), strict=True))
        subject = subject_of(trees, pairs, steps_per_epoch=8, labels=("a", "b", "c"))
        assert list(subject.layers) == ["Conv_0", "Block_0/Conv_0", "Block_0"]
        assert subject.steps == (0, 8, 16) and subject.epochs == (0.0, 1.0, 2.0)
        evolution = zfjax.evolve(subject, out=tmp_path / "out", maps=2, top=3)
        again = zfjax.evolve(subject, out=tmp_path / "out", maps=2, top=3)
        assert again.folder == evolution.folder == tmp_path / "out" / "evolution"
        assert evolution.meta["checked"]["units"] > 20 and evolution.meta["checked"]["worst"] < 1e-5
        inputs = (pixels.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
        for step, tree in trees.items():
            maps = _first_layer(tree, inputs)
            rows = evolution.rows(layer="Conv_0", step=step, selection="top", rank=0)
            assert len(rows) == 6
            for row in rows:
                own = maps[..., row["map"]].max((1, 2))
                assert row["image_id"] == own.argmax() and row["label"] == labels[own.argmax()]
                np.testing.assert_allclose(row["activation"], own.max(), rtol=1e-5)
        tiles = evolution.tiles("Block_0/Conv_0", 16)
        assert tiles and all(np.abs(tile.projection).max() > 0 for tile in tiles.values())
        rows = evolution.rows(layer="Block_0/Conv_0", step=16, selection="top", rank=0)
        row = next(row for row in rows if ("top", row["map"], 0) in tiles)
        expected = _projected(subject, trees[16], inputs[row["image_id"]], row)
        found = tiles["top", row["map"], 0].projection
        np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())
        assert evolution.filters[16].shape == (5, 5, 3, 6)
        scores = subject.scores(subject.parameters(8, whole=True), inputs)
        np.testing.assert_allclose(scores, Net().apply(trees[8], inputs), rtol=1e-4, atol=1e-4)
        with pytest.raises(ZfjaxError, match="holds an evolution with other settings"):
            zfjax.evolve(subject, out=tmp_path / "out", maps=1, top=3)
        other = subject_of({step: trees[0] for step in trees}, pairs, steps_per_epoch=8)
        with pytest.raises(ZfjaxError, match="other settings.*foreign"):
            zfjax.evolve(other, out=tmp_path / "out", maps=2, top=3)
    _is_reported(zfjax.write_report(tmp_path / "out"), tmp_path)
    with pytest.raises(ZfjaxError, match="evolutions of Net, which zfjax has not trained"):
        zfjax.load_run(tmp_path / "out")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"format_version": 1}')
    with pytest.raises(ZfjaxError, match="is a run of zfjax; give another folder"):
        zfjax.evolve(subject, out=tmp_path / "run", maps=2)


def _is_reported(path, private):
    """The page says whose network this is, how it was shown its images, and nothing of a training
    that nobody has seen here."""
    text = path.read_text(encoding="utf-8")
    bare = re.sub(r"(base64,|sha256-)[A-Za-z0-9+/=]+", "", text)
    words = html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare)))
    for said in (
        "Net on images",
        "10 images searched",
        "3 checkpoints",
        "no accuracy on record",
        "not trained by zfjax",
        "steps 0, 8, 16",
        "mean 120, 110, 100 and std 60, of pixel values 0 to 255",
        "the central 24 × 24 pixels",
        "Statistics of norms and gates are taken for constants",
        "Block_0/Conv_0 6 × 6 × 6 15 × 15 4",
    ):
        assert said in words, said
    for invented in ("learning", "Learning rate", "Top-1", "Trained", "all images", "accuracy on "):
        assert invented not in words.partition("Where this came from")[0].replace(
            "no accuracy on record", ""
        ), invented
    assert ">Block_0/<wbr>Conv_0</h2>" in text, "a name that is long breaks between its parts"
    assert "how many steps an epoch took was not said" not in words  # it was
    for name in (str(private), getpass.getuser() + "/", socket.gethostname()):
        assert name not in bare
    assert '"subject":true' in bare.replace(" ", "")
    beside = {file.name for file in path.parent.iterdir()}
    links = set(re.findall(r'href="([^":]+)"', bare))
    assert links <= beside and "figure2-Block_0.Conv_0.png" in links and "training.png" not in links


def _first_layer(tree, inputs):
    p, stored = tree["params"], tree["batch_stats"]["BatchNorm_0"]
    x = nn.Conv(6, (5, 5), 2).apply({"params": p["Conv_0"]}, inputs)
    x = (x - stored["mean"]) / jnp.sqrt(stored["var"] + 1e-5)
    return np.maximum(np.asarray(x * p["BatchNorm_0"]["scale"] + p["BatchNorm_0"]["bias"]), 0)


def _projected(subject, tree, image, row):
    """On the whole image, cut to the box afterwards."""
    forward: TracedForward = subject.forward

    def maps(image):
        return forward(tree, image, until=row["layer"], rule=RULES["deconvnet"])[row["layer"]]

    values, down = jax.vjp(maps, jnp.asarray(image)[None])
    seed = jnp.zeros_like(values).at[0, row["y"], row["x"], row["map"]].set(row["activation"])
    window = subject.layer(row["layer"]).window
    padded = np.pad(np.asarray(down(seed)[0])[0], ((64, 64), (64, 64), (0, 0)))
    top, left = row["box_y0"] + 64, row["box_x0"] + 64
    height, width = subject.layer(row["layer"]).tile_size
    assert height == window.size
    return padded[top : top + height, left : left + width]


def test_what_does_not_fit_together_is_one_sentence(trees, pixels):
    wide = linen_nets.drawn(Net(), (24, 24))
    wide["params"]["Conv_0"]["kernel"] = np.zeros((5, 5, 1, 6), np.float32)
    for words, how in {
        "Give the mean": {"mean": None},
        "give mean 123.675, 116.28, 103.53 and std 58.395, 57.12, 57.375": {
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
        },
        "give mean 124, 116, 104 and std 58.395, 57.12, 57.375": {
            "mean": (124, 116, 104),
            "std": (0.229, 0.224, 0.225),
        },
        "give mean 127.5, 127.5, 127.5 and std 58, 58, 58": {"mean": 0.5, "std": 58},
        "give mean 0, 0, 0 and std 127.5, 127.5, 127.5": {"mean": 0, "std": 0.5},
        "is one number or three": {"mean": (1.0, 2.0)},
        "must be above 0": {"std": 0},
        "resize must be as large as input": {"resize": 20},
        "no layer 'Conv_9'; it has Conv_0": {"layers": ["Conv_9"]},
        "no such part": {"variables": "weights"},
    }.items():
        with pytest.raises(ZfjaxError, match=words):
            subject_of(trees, pixels, **how)
    for words, images in {
        "empty": pixels[:0],
        "float64 of shape": pixels / 255,
        r"shape \(24, 24\)": pixels[..., 0],
        "cannot be looked at": 7,
    }.items():
        with pytest.raises(ZfjaxError, match=words):
            subject_of(trees, images)
    with pytest.raises(ZfjaxError, match=r"params/Conv_0/kernel is of shape \(5, 5, 1, 6\)"):
        subject_of({0: wide}, pixels)
    for dtype in (np.int8, np.bool_, np.complex64):
        odd = jax.tree.map(lambda leaf, own=dtype: np.asarray(leaf).astype(own), trees[8])
        with pytest.raises(ZfjaxError, match=f"is of {np.dtype(dtype)}, not of float32"):
            subject_of({0: odd}, pixels)
        with pytest.raises(ZfjaxError, match=f"at step 8 is of {np.dtype(dtype)}, not of float32"):
            subject_of({0: trees[0], 8: odd}, pixels).parameters(8)
    with pytest.raises(ZfjaxError, match="no checkpoints"):
        subject_of({}, pixels)
    subject = subject_of(trees, pixels)
    assert subject.find_steps(["last", "step:0"]) == (0, 16)
    for words, at in (("no checkpoint was saved there", ["7"]), ("is not an epoch", ["first"])):
        with pytest.raises(ZfjaxError, match=words):
            subject.find_steps(at)
    with pytest.raises(ZfjaxError, match="out=FOLDER"):
        zfjax.evolve(subject)
    assert zfjax.subject_from(trees, model=Net(), mean=0, std=1, input=24).images is None


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"input": "24"}, "input = '24' must be a whole number"),
        ({"input": 24.0}, "input = 24.0"),
        ({"input": True}, "input = True"),
        ({"resize": "30"}, "resize"),
        ({"resize": 0}, "resize must be as large as input"),
        ({"mean": "x"}, "mean = 'x' must be a number"),
        ({"mean": {"r": 1}}, "mean"),
        ({"std": [None]}, "std"),
        ({"layers": 5}, "layers = 5 must be a text"),
        ({"layers": ["Conv_0", None]}, "layers = None"),
        ({"layers": "Conv_9"}, "no layer 'Conv_9'"),
        ({"smooth": 5}, "smooth"),
        ({"smooth": "magic"}, "no rule for 'magic'"),
        ({"statistics": 5}, "statistics = 5"),
        ({"labels": 5}, "labels"),
        ({"steps_per_epoch": 0}, "steps_per_epoch 0 must be 1 or more"),
        ({"steps_per_epoch": "3"}, "steps_per_epoch"),
        ({"variables": 5}, "variables = 5"),
        ({"split": 5}, "split = 5"),
        ({"data_dir": 5}, "data_dir = 5 must be a path"),
    ],
)
def test_a_word_of_another_kind_is_one_sentence(trees, pixels, how, said):
    with pytest.raises(ZfjaxError, match=said):
        subject_of(trees, pixels, **how)


def test_networks_and_checkpoints_of_another_kind_are_one_sentence(trees, pixels, tmp_path):
    how = {"images": pixels, "mean": 0, "std": 1, "input": 24}
    for model in (5, None, [Net()], tmp_path / "net.py"):
        with pytest.raises(ZfjaxError, match=f"model is of type {type(model).__name__}"):
            zfjax.subject_from(trees, model=model, **how)
    for checkpoints, said in (
        (5, "checkpoints = 5 must be a path"),
        ([trees[0]], "checkpoints"),
        ("gs://bucket/run", "is a URL"),
        (tmp_path / "none", "no such folder"),
        ({True: trees[0]}, "True is no step"),
        ({1: 5}, "trees of arrays by step"),
        ({1: {}}, "trees of arrays by step"),
        ({1: {"params": [1.0]}}, "leaves that are no arrays"),
    ):
        with pytest.raises(ZfjaxError, match=said):
            zfjax.subject_from(checkpoints, model=Net(), **how)
    with pytest.raises(ZfjaxError, match="is a URL"):
        zfjax.subject_from(trees, model="gs://bucket/net.py:build", **how)
    with pytest.raises(ZfjaxError, match="is a URL"):
        zfjax.subject_from(trees, model=Net(), **{**how, "images": "x"}, data_dir="gs://bucket")
    subject = zfjax.subject_from(trees, model=Net(), **how)
    for words, said in (
        ({"split": "odd"}, "--split odd: the images of this subject are of split 'all'"),
        ({"data_dir": tmp_path}, "data_dir goes with a run"),
    ):
        with pytest.raises(ZfjaxError, match=said):
            zfjax.evolve(subject, out=tmp_path / "out", maps=1, **words)
    assert not list(tmp_path.iterdir())


def test_numpy_s_numbers_and_single_words_are_taken(trees, pixels):
    plain = subject_of(trees, pixels, resize=30, layers=("Block_0/Conv_1",), steps_per_epoch=8)
    wide = zfjax.subject_from(
        {np.int64(step): tree for step, tree in trees.items()},
        model=Net(),
        images=pixels,
        mean=np.array(MEAN),
        std=np.float64(STD),
        input=np.int64(24),
        resize=np.array(30),
        layers=np.str_("Block_0/Conv_1"),
        steps_per_epoch=np.int32(8),
    )
    assert dict(wide.foreign) == dict(plain.foreign) and list(wide.layers) == list(plain.layers)
    assert json.dumps(wide.foreign) and all(type(epoch) is float for epoch in wide.epochs)


def test_of_a_layer_with_fewer_maps_than_are_drawn_by_default_all_are(trees, pixels):
    subject = subject_of(trees, pixels)
    request = request_of(subject, Asked())
    drawn = draw_maps(subject.layers, request.layers, request.maps, request.seed)
    assert drawn == {name: list(range(6)) for name in subject.layers}
    assert cost(subject, request).tiles == cost(subject, request_of(subject, Asked(maps=6))).tiles
    for maps in (0, 7, 17):
        with pytest.raises(ZfjaxError, match=f"--maps {maps}: Conv_0 has 6 maps; ask for 1 to 6"):
            request_of(subject, Asked(maps=maps))


def test_a_torn_checkpoint_in_the_middle_says_how_to_do_without_it(trees, pixels, tmp_path):
    for step, tree in trees.items():
        leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
        named = {"/".join(key.key for key in keys): np.asarray(leaf) for keys, leaf in leaves}
        np.savez(tmp_path / f"{step}.npz", **named)
    whole = (tmp_path / "8.npz").read_bytes()
    (tmp_path / "8.npz").write_bytes(whole[: len(whole) // 2])
    subject = subject_of(tmp_path, pixels)
    assert subject.steps == (0, 8, 16) and subject.parameters(16)
    with pytest.raises(ZfjaxError, match=r"8.npz is no .*, move it away, or .* others with --at"):
        subject.parameters(8)


class Spread(nn.Module):
    """Its kernel stands in a box of Linen's, which says over which devices it is spread."""

    @nn.compact
    def __call__(self, x):
        draw = nn.with_partitioning(nn.initializers.lecun_normal(), (None, None, None, "x"))
        return nn.relu(nn.Conv(4, (3, 3), kernel_init=draw)(x))


def test_arrays_that_linen_has_put_in_boxes_are_taken_with_them_and_without(pixels):
    boxed = Spread().init(jax.random.key(0), jnp.zeros((1, 24, 24, 3)))
    how = {"mean": MEAN, "std": STD, "input": 24, "images": pixels}
    inputs = jnp.asarray(pixels[:2], jnp.float32) / 255
    expected = np.asarray(Spread().apply(boxed, inputs))
    for tree in (boxed, nn.meta.unbox(boxed)):
        subject = zfjax.subject_from({0: tree}, model=Spread(), variables="params/", **how)
        maps = subject.network.forward(subject.parameters(0), inputs, until="Conv_0")["Conv_0"]
        np.testing.assert_allclose(np.asarray(maps), expected, atol=1e-5)


BUILD = """
import flax.linen as nn

class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), 2, name="first")(x))
        return nn.Dense(3)(x.mean((1, 2)))

def build():
    return Net()
"""


@pytest.mark.slow
def test_the_command_reads_an_orbax_root_and_a_data_set(tmp_path, data_dir, monkeypatch, capsys):
    import orbax.checkpoint as ocp

    (tmp_path / "theirs.py").write_text(BUILD)
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    saver = ocp.StandardCheckpointer()
    for step in (0, 5):
        kernel = generator.normal(size=(3, 3, 3, 4)).astype(np.float32)
        dense = generator.normal(size=(4, 3)).astype(np.float32)
        first = {"kernel": kernel, "bias": np.zeros(4, np.float32)}
        head = {"kernel": dense, "bias": np.zeros(3, np.float32)}
        tree = {"params": {"first": first, "Dense_0": head}, "opt_state": [np.zeros(2)]}
        saver.save(tmp_path / "root" / str(step), tree)
    saver.wait_until_finished()
    saver.close()
    [name] = [path.name for path in data_dir.iterdir() if path.is_dir()]
    words = ["evolve", "--model", "theirs.py:build", "--checkpoints", "root", "--workdir", "out"]
    words += ["--data.name", name, "--data.dir", str(data_dir), "--input", "16", "--maps", "2"]
    assert main([*words, "--mean", "120", "--std", "60", "--dry-run"]) == 0
    assert "2 checkpoints x" in capsys.readouterr().out and not (tmp_path / "out").exists()
    assert main([*words, "--mean", "120", "--std", "60"]) == 0
    said = capsys.readouterr().out
    assert "top-1 of step 5 on" in said and "recorded activations reproduced" in said
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert f"images of train: {summary['top1']:.1%};" in said
    assert (summary["step"], summary["epoch"], summary["split"]) == (5, 5.0, "train")
    riding = [*words, "--mean", "120", "--std", "60", "--name", "two", "--measure", "census"]
    assert main([*riding, "--dry-run"]) == 0
    assert "measures: a probe of" in capsys.readouterr().out
    assert main([*riding, "--layers", "first"]) == 0
    assert "census" in capsys.readouterr().out
    alone = zfjax.measure(tmp_path / "out", "census", name="alone", layers=("first",))
    own = open_measured(tmp_path / "out" / "measures-two", "census").table
    assert own.equals(alone.table)
    assert open_evolution(tmp_path / "out" / "evolution").layers == ("first",)
    known = [*words, "--mean", "120", "--std", "60"]
    assert main([*known, "--dry-run"]) == 0
    assert "finished: nothing would be run" in capsys.readouterr().out
    theirs = tmp_path / "theirs" / "config.json"
    theirs.parent.mkdir()
    theirs.write_text("{}")
    for more, sentence in (
        (["--top", "3"], "with other settings (top)"),
        (["--top", "0"], "--top 0 must be 1 or more"),
        (["--name", "../up"], "--name"),
        (["--workdir", "theirs"], "is a run of zfjax"),
        (["--workdir", "gs://bucket"], "is not a folder"),
        (["--measure", "cencus"], "cencus"),
        (["--process-count", "2"], "--coordinator"),
    ):
        for dry in ([], ["--dry-run"]):
            assert main([*known, *more, *dry]) == 1
            assert sentence in capsys.readouterr().err, (more, dry)
    for more, sentence in (
        (["--mean", "0.5", "--std", "0.2"], "give mean 127.5"),
        (["--mean", "1", "2", "--std", "60"], "one number or three"),
        (["--mean", "120"], "Give the std"),
        (["--mean", "120", "--std", "60", "--layers", "last"], "no layer 'last'; it has first"),
    ):
        assert main([*words, *more]) == 1
        assert sentence in capsys.readouterr().err
    assert main(["evolve", "--workdir", "out", "--mean", "3"]) == 1
    assert "--mean goes with --model" in capsys.readouterr().err
    assert main([*words[:3], "--workdir", "out"]) == 1
    assert "--model needs --checkpoints" in capsys.readouterr().err
