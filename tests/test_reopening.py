"""The folder that somebody else's network was evolved into: reported, projected and measured."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import zfjax
from tests.network import linen_nets
from zfjax.commands.cli import main
from zfjax.commands.features import _accuracy
from zfjax.errors import ZfjaxError
from zfjax.features.asking import Asked, request_of
from zfjax.reopening import subject_at
from zfjax.report.adopted import adopted_command, looked_at
from zfjax.run.adopted import AdoptedRun, load_any

pytestmark = pytest.mark.slow

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
PREPARED = ["--mean", "120", "110", "100", "--std", "60", "--input", "16", "--resize", "20"]


def tree(seed):
    generator = np.random.default_rng(seed)

    def drawn(*shape):
        return generator.normal(size=shape).astype(np.float32)

    first = {"kernel": drawn(3, 3, 3, 4), "bias": drawn(4)}
    head = {"kernel": drawn(4, 3), "bias": drawn(3)}
    return {"params": {"first": first, "Dense_0": head}}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with theirs.py, checkpoints root/{0,5}, photos/{ant,bee,cat} and out, evolved."""
    import orbax.checkpoint as ocp

    home = tmp_path_factory.mktemp("theirs")
    (home / "theirs.py").write_text(BUILD)
    saver = ocp.StandardCheckpointer()
    for step in (0, 5):
        saver.save(home / "root" / str(step), tree(step))
    saver.wait_until_finished()
    saver.close()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 24, 30, 3), np.uint8)
    for index, image in enumerate(pixels):
        folder = home / "photos" / ("ant", "bee", "cat")[index % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        words = ["evolve", "--model", "theirs.py:build", "--checkpoints", "root"]
        words += ["--data.name", "photos", "--workdir", "out", "--maps", "2", "--top", "3"]
        assert main([*words, *PREPARED, "--steps-per-epoch", "5"]) == 0
    return home


@pytest.mark.usefixtures("spare_of_figures")
def test_its_page_says_whose_network_it_is(home, capsys):
    assert main(["report", "--workdir", str(home / "out")]) == 0
    text = (home / "out" / "report" / "index.html").read_text(encoding="utf-8")
    bare = re.sub(r"(base64,|sha256-)[A-Za-z0-9+/=]+", "", text)
    assert "Net on photos" in bare and "built by theirs.py:build" in bare
    assert "9 images searched" in bare and "2 checkpoints" in bare and "how many steps" not in bare
    assert (
        "zfjax evolve --model theirs.py:build --checkpoints CHECKPOINTS --data.name photos"
        " --input 16 --resize 20 --mean 120 110 100 --std 60 60 60 --statistics rule"
        " --steps-per-epoch 5 --workdir RUN --at step:0 step:5"
    ) in bare
    assert re.search(r'"(ant|bee|cat)/\d\.png"', bare) and re.search(r'"(ant|bee|cat)"', bare)
    assert str(home) not in bare and "root/" not in bare
    assert '"subject":false' in bare.replace(" ", "")


def test_it_is_projected_from_any_folder(home, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    out = str(home / "out")
    evolution = load_any(out).evolution()
    [row] = evolution.rows(layer="first", step=5, selection="top", rank=0, map=2)
    words = ["project", "--workdir", out, "--layer", "first", "--map", "2"]
    assert main([*words, "--image-id", str(row["image_id"]), "--at", "1"]) == 0
    said = capsys.readouterr().out
    assert f"activation {row['activation']:.4g} at y {row['y']}, x {row['x']}" in said
    assert len(list((home / "out" / "projections").glob("first-2-all-*-epoch1.png"))) == 1
    path = home / "photos" / row["file_name"]
    [shot] = zfjax.project(out, path, "first", 2, at="last")
    assert shot.activation == pytest.approx(row["activation"], rel=1e-6) and shot.step == 5
    assert shot.box == tuple(row[f"box_{edge}"] for edge in ("y0", "x0", "y1", "x1"))
    for more, sentence in (
        (["--image-id", "9"], "There is no image 9"),
        (["--image-id", "0", "--split", "dev"], "has no folder of that name"),
        (["--image", str(home / "theirs.py")], "theirs.py is"),
    ):
        assert main([*words, *more]) == 1
        assert sentence in capsys.readouterr().err


def test_it_is_measured(home, capsys):
    out = str(home / "out")
    assert main(["info", "--workdir", out]) == 0
    said = capsys.readouterr().out
    assert re.search(r"first +8x8x4 +3 +2 +112", said) and "saved epochs: 0, 1" in said
    assert main(["measure", "--workdir", out, "--dry-run", "census"]) == 0
    assert "2 checkpoints x 9 images" in capsys.readouterr().out
    assert main(["measure", "--workdir", out]) == 0
    said = capsys.readouterr()
    made = ("census", "weights", "labels", "spectrum", "rewind", "identity")
    assert all(f"{name}: " in said.out for name in made)
    assert "without inverse: inverse reads what stands below each layer" in said.err
    again = zfjax.measure(out, "labels")
    assert again.meta["class_names"] == ["ant", "bee", "cat"] and again.steps == (0, 5)
    assert again.meta["asked"]["foreign"]["model"] == "Net"
    subject = subject_at(load_any(out))
    same = zfjax.measure(subject, "labels", out=home / "elsewhere")
    theirs = (home / "out" / "measures" / "labels.txt").read_text()
    assert (same.folder / "labels.txt").read_text() == theirs
    assert zfjax.measure(subject, "rewind", out=home / "elsewhere", images=9).steps == (0, 5)


def test_it_is_compared(home, tmp_path, monkeypatch, capsys):
    """With itself; its images are looked at once, and kept."""
    monkeypatch.chdir(tmp_path)
    out = shutil.copytree(home / "out", tmp_path / "out")
    shutil.rmtree(out / "measures", ignore_errors=True)
    words = ["compare", str(out), str(out), "--out", "both"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "first 4 of 4" in said.out and "a pass over 9 images of 2 checkpoints" in said.err
    assert main([*words, "--layers", "first", "--at", "1"]) == 0
    assert "a pass over" not in capsys.readouterr().err
    text = (tmp_path / "both" / "index.html").read_text(encoding="utf-8")
    assert "no accuracy on record" in text and str(tmp_path) not in text
    assert main(["compare", str(out), str(home / "out"), "--at", "5"]) == 1
    assert "do not share that epoch; they share 0, 1" in capsys.readouterr().err


def test_what_does_not_open_again_says_so(home, tmp_path, monkeypatch):
    def changed(**record):
        folder = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        before = json.loads((home / "out" / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**before, **record}))
        return folder

    words, evolution = load_any(home / "out").opened_from, load_any(home / "out").evolution()
    assert words["images"] == str(home / "photos") and words["checkpoints"] == str(home / "root")
    for record, sentence in (
        ({"opened_from": {}}, "does not say how its network is opened"),
        ({"opened_from": {**words, "model": None}}, "whose model came as Python objects"),
        ({"opened_from": {**words, "images": None}}, "images that came as Python objects"),
        ({"opened_from": {**words, "checkpoints": "/no/where"}}, "no such folder"),
        ({"opened_from": {**words, "model": "/no/net.py:build"}}, "there is no file"),
        ({"opened_from": {**words, "images": "/no/photos"}}, "is no folder of images"),
        ({"network": "0" * 64}, "builds another network now"),
        ({"format_version": 9}, "newer zfjax"),
        ({"opened_from": 3}, "is damaged"),
    ):
        with pytest.raises(ZfjaxError, match=sentence):
            zfjax.project(changed(**record), 0, "first", 0)
    with pytest.raises(ZfjaxError, match="whose checkpoints came as"):
        zfjax.measure(changed(opened_from={**words, "checkpoints": None}), "weights")
    with pytest.raises(ZfjaxError, match="has no convolution 'last'"):
        zfjax.project(home / "out", home / "photos" / "ant" / "0.png", "last", 0)
    other = load_any(changed(network="0" * 64))
    facts = dict(looked_at(other.showing(evolution), evolution))
    assert "built by" not in facts["Network"] and not adopted_command(
        other.showing(evolution), evolution
    ), "the words are of another network than the evolution"
    assert other.showing(evolution).identity == load_any(home / "out").identity
    run = load_any(home / "out")
    assert isinstance(run, AdoptedRun) and run.reopens and run.split == "all"
    with pytest.raises(ZfjaxError, match="is not a run"):
        load_any(tmp_path)


def test_other_seeds_differ_in_their_checkpoints_alone(home, tmp_path, capsys):
    before = json.loads((home / "out" / "config.json").read_text())
    for name, record, sentence in (
        ("twice", {}, "its checkpoints are those of"),
        ("mean", {"mean": [1, 1, 1], "checkpoints": "0" * 64}, "more than the seed (mean"),
        ("net", {"network": "0" * 64}, "its network is not that of"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({**before, **record}))
        words = [
            "measure",
            "weights",
            "--workdir",
            str(home / "out"),
            "--seeds-of",
            str(tmp_path / name),
        ]
        for more in ((), ("--dry-run",)):
            assert main([*words, *more]) == 1
            assert sentence in capsys.readouterr().err


def test_what_opens_it_is_written_down_by_the_same_evolution_alone(home, tmp_path):
    trees, out = {step: tree(step) for step in (0, 5)}, tmp_path / "out"
    how = {"model": f"{home / 'theirs.py'}:build", "images": home / "photos", "mean": 120}
    subject = zfjax.subject_from(home / "root", std=60, input=16, **how)
    zfjax.evolve(subject, out=out, maps=2, top=2)
    written = (out / "config.json").read_text()
    other = zfjax.subject_from({0: trees[5], 5: trees[0]}, std=60, input=16, **how)
    with pytest.raises(ZfjaxError, match="other settings"):
        zfjax.evolve(other, out=out, maps=2, top=2)
    zfjax.measure(other, "weights", out=out)
    assert (out / "config.json").read_text() == written
    older = {name: value for name, value in json.loads(written).items() if name != "opened_from"}
    (out / "config.json").write_text(json.dumps(older))
    zfjax.evolve(subject, out=out, maps=2, top=2)
    assert (out / "config.json").read_text() == written


def test_a_subject_in_hand_is_projected_and_measured(home, tmp_path):
    theirs = {"__name__": "theirs"}
    exec(BUILD, theirs)
    pixels = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), np.uint8)
    how = {"mean": (120, 110, 100), "std": 60, "input": 16}
    trees = {step: tree(step) for step in (0, 5)}
    subject = zfjax.subject_from(trees, model=theirs["Net"](), images=pixels, **how)
    shots = zfjax.project(subject, 1, "first", 2)
    assert [shot.step for shot in shots] == [0, 5]
    inputs = (pixels[1].astype(np.float32) - np.float32([120, 110, 100])) / 60
    window = np.zeros((16 + 2, 16 + 2, 3), np.float32)
    window[:16, :16] = inputs  # SAME of stride 2 pads below and at the right
    first = trees[5]["params"]["first"]
    y, x = shots[1].y, shots[1].x
    patch = window[2 * y : 2 * y + 3, 2 * x : 2 * x + 3]
    value = (patch * first["kernel"][..., 2]).sum() + first["bias"][2]
    assert shots[1].activation == pytest.approx(value, rel=1e-4)
    for words, act in {
        "Say with out=FOLDER": lambda: zfjax.measure(subject, "weights"),
        "split and data_dir go": lambda: zfjax.project(subject, 1, "first", 0, split="test"),
        "and split go": lambda: zfjax.measure(subject, "weights", out=tmp_path, split="test"),
        "out=FOLDER goes with a subject": lambda: zfjax.measure(home / "out", "weights", out="x"),
        "There is no image 4": lambda: zfjax.project(subject, 4, "first", 0),
    }.items():
        with pytest.raises(ZfjaxError, match=words):
            act()
    assert not any(tmp_path.iterdir())
    there = zfjax.subject_from(
        trees, model=theirs["Net"](), data_dir=Path("x"), labels="abc", **how
    )
    assert json.loads(json.dumps(there.opened_from)) == there.opened_from
    assert there.opened_from["data_dir"] == str(Path("x").absolute())
    assert zfjax.measure(subject, "weights", out=tmp_path / "own").steps == (0, 5)
    labels = [0, 1, 2, 0]
    pairs = list(zip(pixels, labels, strict=True))
    for names, known in ((("a", "b", "c"), True), (("a", "b"), False)):
        labelled = zfjax.subject_from(
            trees, model=theirs["Net"](), images=pairs, labels=names, **how
        )
        correct = _accuracy(labelled, request_of(labelled, Asked(maps=2)))
        assert (correct is not None) == known, "three classes, asked about two"
    alone = zfjax.subject_from(trees, model=theirs["Net"](), **how)
    with pytest.raises(ZfjaxError, match="needs images"):
        zfjax.measure(alone, "census", out=tmp_path / "own")


class Standardised(nn.Module):
    """Its first kernel is no parameter as it stands, and a unit may see all that the norm sees."""

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.normal(), (3, 3, 3, 4))
        kernel = kernel / jnp.sqrt((kernel**2).sum((0, 1, 2), keepdims=True))
        how = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
        x = jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", **how)
        return nn.relu(nn.Conv(2, (3, 3), name="second")(nn.GroupNorm(2)(x)))


def test_a_page_shows_no_filters_and_windows_that_are_not_there(tmp_path):
    trees = {3: linen_nets.drawn(Standardised(), (12, 12), seed=3)}
    grey = np.random.default_rng(0).integers(0, 256, (3, 16, 12, 1), np.uint8)
    subject = zfjax.subject_from(
        trees, model=Standardised(), images=grey, mean=0, std=1, input=12, statistics="identity"
    )
    evolution = zfjax.evolve(subject, out=tmp_path, maps=1, top=1)
    assert evolution.record.windows == {"second": None} and not evolution.filters[3].size
    page = zfjax.write_report(tmp_path, photos=False)
    text = page.read_text(encoding="utf-8")
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))
    assert "one unit may see the whole image" in words and " filters themselves" not in words
    assert "second 6 × 6 × 2 all – image" in words and "1 checkpoint " in words
    assert "Norms and gates are passed through as they are." in words
    assert not (page.parent / "filters.png").exists()
    assert "How many steps an epoch took was not said" in words


def test_files_by_epoch_are_evolved_by_a_pattern_and_opened_again(home, tmp_path, capsys):
    flat = {
        f"ema_params/{layer}/{name}": array.astype(np.float16)
        for layer, arrays in tree(1)["params"].items()
        for name, array in arrays.items()
    }
    for epoch in (3, 4):
        np.savez(tmp_path / f"e{epoch}of9.npz", **flat)
        np.savez(tmp_path / f"raw{epoch}of9.npz", junk=np.ones(2))
    whole = (tmp_path / "e4of9.npz").read_bytes()
    (tmp_path / "e5of9.npz").write_bytes(whole[: len(whole) // 2])
    looking = ["--model", f"{home / 'theirs.py'}:build", "--checkpoints", str(tmp_path)]
    pattern = r"^e(?P<epoch>\d+)of"
    looking += ["--steps", pattern, "--variables", "ema_params", "--input", "16"]
    assert main(["info", *looking]) == 0
    assert "first" in capsys.readouterr().out
    words = ["evolve", *looking, "--data.name", str(home / "photos"), "--workdir"]
    words += [str(tmp_path / "out"), "--maps", "1", "--top", "1", *PREPARED]
    assert main([*words, "--steps-per-epoch", "10", "--at", "5"]) == 1
    assert "saved epochs are 3, 4." in capsys.readouterr().err
    assert main([*words, "--steps-per-epoch", "10", "--at", "4", "last", "3"]) == 0
    assert "left out. " in capsys.readouterr().err
    run = load_any(tmp_path / "out")
    evolution = run.evolution()
    assert evolution.steps == (30, 40) and evolution.epochs == (3.0, 4.0)
    assert run.opened_from["steps"] == pattern and run.opened_from["named_epochs"]
    assert subject_at(run, with_images=False).epochs == (3.0, 4.0)
    assert "--steps '^e(?P<epoch>" in adopted_command(run, evolution)
    assert not any("was not said" in value for _, value in looked_at(run, evolution))
    assert main(["evolve", "--workdir", str(tmp_path / "out"), "--steps", "x"]) == 1
    assert "--steps goes with --model" in capsys.readouterr().err


def test_its_features_are_carried_over_without_a_control(home, tmp_path, capsys, monkeypatch):
    from zfjax.data.importing import import_images
    from zfjax.studies import transfer_plans

    import_images(home / "photos", "pictures", tmp_path)
    words = ["transfer", "--workdir", str(home / "out"), "--to", "pictures", "--folds", "2"]
    words += ["--data.dir", str(tmp_path), "--images-per-class", "1", "2", "--steps", "3"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "Without the control from scratch: it needs an initialiser and an optimiser" in said
    assert "features are those of first, averaged to at most 4 x 4 cells" in said
    assert "was not checked" in said and "of first of epoch" not in said
    assert "a new softmax on first of epoch 1" in said and "scratch for" not in said
    assert main([*words[:-1], "4"]) == 1 and "of other settings" in capsys.readouterr().err

    def gray(*words, **more):
        subject = subject_at(*words, **more)
        model = replace(subject.forward.model, channels=1)
        forward = replace(subject.forward, model=model)
        return replace(subject, network=replace(subject.network, forward=forward))

    monkeypatch.setattr(transfer_plans, "subject_at", gray)
    assert main([*words, "--name", "gray"]) == 1
    assert "takes inputs of 1 channel" in capsys.readouterr().err
