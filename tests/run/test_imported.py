"""``zfjax import-weights``: torch's weights to a checkpoint, and what ``evolve`` knows of it."""

import json
import re
import sys
import warnings

import numpy as np
import pytest

import zfjax
from tests.network.test_torch import SMALL, golden, shapes_in  # noqa: F401 (a fixture)
from tests.network.torch_states import drawn_state
from zfjax.commands.cli import main
from zfjax.errors import ZfjaxError
from zfjax.network.torch_names import ORIGINS, Origin, variables_from
from zfjax.run import imported
from zfjax.run.imported import import_weights, imported_in, state_of

ALEXNET = "torchvision/alexnet"


@pytest.fixture
def small(monkeypatch):
    """The origins, at the width of the tests."""
    for name, net in SMALL.items():
        known = Origin(lambda net=net: net, ORIGINS[name].notes)
        known.build.__name__ = name.rpartition("/")[2]
        monkeypatch.setitem(imported.ORIGINS, name, known)


@pytest.fixture
def state(golden):  # noqa: F811
    return drawn_state(shapes_in(golden, ALEXNET))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npz", "safetensors", "torch"])
def test_weights_are_a_checkpoint_that_evolve_takes(kind, small, state, tmp_path, capsys):
    file = tmp_path / "net.pth"
    if kind == "npz":
        file = tmp_path / "net.npz"
        np.savez(file, **state)
    elif kind == "safetensors":
        from safetensors.numpy import save_file

        file = tmp_path / "net.safetensors"
        save_file({f"module.{name}": array for name, array in state.items()}, file)
    else:
        torch = pytest.importorskip("torch")
        halves = {name: torch.from_numpy(array) for name, array in state.items()}
        torch.save({"state_dict": halves, "epoch": 3}, file)
    out = tmp_path / "weights"
    words = ["import-weights", str(file), "--as", ALEXNET, "--out", str(out)]
    assert main(words) == main(words) == 0
    said = capsys.readouterr().out
    assert "16 arrays" in said and "it has no LRN" in said and "central 224 x 224" in said
    assert f"--model zfjax.network.torch:alexnet --checkpoints {out}" in said
    assert sorted(path.name for path in out.iterdir()) == ["0.npz", "weights.json"]
    subject = zfjax.subject_from(out, model=SMALL[ALEXNET])
    assert subject.steps == (0,) and list(subject.layers)[0] == "conv1"
    assert subject.preparation.mean == (123.675, 116.28, 103.53)
    assert subject.preparation.std == (58.395, 57.12, 57.375)
    assert (subject.foreign["resize"], subject.foreign["input"]) == (256, 224)
    expected = variables_from(state, SMALL[ALEXNET])
    kernel = subject.parameters(0, whole=True)["params"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel, expected["params/conv1/kernel"])
    own = zfjax.subject_from(str(out), model=SMALL[ALEXNET], mean=1, std=2, resize=224)
    assert (own.preparation.mean, own.preparation.view) == ((1.0,) * 3, 224)
    assert main([*words[:3], "torchvision/resnet18", *words[4:]]) == 1
    assert "of another network: it lacks conv1.weight" in capsys.readouterr().err
    other = tmp_path / "other.npz"
    np.savez(other, **{name: array + 1 for name, array in state.items()})
    with pytest.raises(ZfjaxError, match="is not empty: it has 0.npz, weights.json"):
        import_weights(other, origin=ALEXNET, out=out)


def test_every_origin_says_its_lrn_and_normalisation(small, golden, tmp_path):  # noqa: F811
    for name in ("torchvision/resnet18", "pytorchcv/zfnet"):
        np.savez(tmp_path / "net.npz", **drawn_state(shapes_in(golden, name)))
        out = tmp_path / name.replace("/", "-")
        written = import_weights(tmp_path / "net.npz", origin=name, out=out)
        assert imported_in(out) == written and written.sha256
        assert written.model == f"zfjax.network.torch:{name.rpartition('/')[2]}"
    assert "alpha 0.0001 is divided by the 5 maps" in written.notes[0]
    assert "2e-05" in written.notes[0]


def test_what_stands_before_every_name_is_taken_away_where_it_is_no_layer(small, state, tmp_path):
    for number, before in enumerate(("module.", "_orig_mod.module.", "net.", "model.backbone.")):
        np.savez(tmp_path / "net.npz", **{f"{before}{name}": own for name, own in state.items()})
        written = import_weights(tmp_path / "net.npz", origin=ALEXNET, out=tmp_path / str(number))
        assert written.arrays == 16
    part = {name: own for name, own in state.items() if name.startswith("features.")}
    np.savez(tmp_path / "half.npz", **part)
    with pytest.raises(
        ZfjaxError, match=r"network: it lacks classifier.1.weight, [^;]* and 2 more"
    ):
        import_weights(tmp_path / "half.npz", origin=ALEXNET, out=tmp_path / "half")
    np.savez(tmp_path / "other.npz", **{f"net.{name}": np.ones(2) for name in ("a", "b")})
    with pytest.raises(ZfjaxError, match="it has net.a, net.b, which the network has not"):
        import_weights(tmp_path / "other.npz", origin=ALEXNET, out=tmp_path / "other")


def test_what_cannot_be_imported_is_one_sentence(small, state, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)  # as where it is not installed
    good, out = tmp_path / "net.npz", tmp_path / "out"
    np.savez(good, **state)
    (tmp_path / "page.safetensors").write_text("<!DOCTYPE html>")
    (tmp_path / "net.pth").write_bytes(b"\x80\x02}q\x00.")
    (tmp_path / "net.pkl").write_bytes(b"\x80\x04}\x94.")
    (tmp_path / "words.txt").write_text("no weights")
    np.savez(tmp_path / "half.npz", **dict(list(state.items())[:3]))
    for file, origin, words in (
        (good, "torchvision/vgg19", "no such network is known; there are torchvision/alexnet"),
        (tmp_path / "none.npz", ALEXNET, "There is no file"),
        (tmp_path, ALEXNET, "is a folder; give the file"),
        (tmp_path / "page.safetensors", ALEXNET, "is a web page"),
        (tmp_path / "net.pth", ALEXNET, "torch is not installed here"),
        (tmp_path / "net.pkl", ALEXNET, "torch is not installed here"),
        (tmp_path / "words.txt", ALEXNET, "is no file of weights that is known"),
        (tmp_path / "half.npz", ALEXNET, "it lacks features.3.bias"),
        (good, "torchvision/resnet18", "it lacks conv1.weight, .*; it has features.0.weight"),
    ):
        command = ["import-weights", str(file), "--as", origin, "--out", str(out)]
        assert main(command) == 1
        said = capsys.readouterr().err
        assert re.search(words, said) and said.count("\n") == 1, said
        assert not out.exists()
    for place, words in (("gs://bucket/out", "is not a folder"), (good, "not a directory|a file")):
        with pytest.raises(ZfjaxError, match=words):
            import_weights(good, origin=ALEXNET, out=place)
    import_weights(good, origin=ALEXNET, out=out)
    record = json.loads((out / "weights.json").read_text())
    for changed, words in (({"format_version": 9}, "newer zfjax"), ({"colour": 1}, "is damaged")):
        (out / "weights.json").write_text(json.dumps({**record, **changed}))
        with pytest.raises(ZfjaxError, match=words):
            imported_in(out)


def test_torch_files_are_read_as_weights_only(small, state, tmp_path):
    torch = pytest.importorskip("torch")
    arrays = {name: torch.from_numpy(array) for name, array in state.items()}
    for number, content in enumerate(
        (
            arrays,
            {"model": arrays},
            {f"_orig_mod.{name}": array for name, array in arrays.items()},
            {"epoch": 1, "model_state_dict": {f"module.{n}": a for n, a in arrays.items()}},
            {"epoch": 1, "net": arrays, "optimizer": {"state": {}, "lr": 1.0}},
            {"state_dict": {f"model.{name}": array for name, array in arrays.items()}},
            {name: torch.nn.Parameter(array) for name, array in arrays.items()},
        )
    ):
        torch.save(content, tmp_path / "net.pth", _use_new_zipfile_serialization=number != 1)
        import_weights(tmp_path / "net.pth", origin=ALEXNET, out=tmp_path / str(number))
    halves = {name: array.bfloat16() for name, array in arrays.items()}
    torch.save(halves, tmp_path / "half.pth")
    read = state_of(tmp_path / "half.pth")["features.0.weight"]
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, state["features.0.weight"], rtol=1e-2)
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pth")
    with pytest.raises(ZfjaxError, match="cannot be read as weights only"):
        import_weights(tmp_path / "whole.pth", origin=ALEXNET, out=tmp_path / "no")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # people have such files all the same
        scripted = torch.jit.script(torch.nn.Linear(2, 2))
    scripted.save(str(tmp_path / "script.pth"))
    for content, words in (
        ({"raw": arrays, "ema": arrays}, "but raw, ema, of which several are such"),
        ({"state": {0: {"step": 1}}, "param_groups": []}, "at its top, but state, param_groups;"),
        ({}, "holds no state dict at its top, but nothing"),
        (None, "script.pth cannot be read as weights only"),
    ):
        file = tmp_path / ("script.pth" if content is None else "other.pth")
        if content is not None:
            torch.save(content, file)
        with pytest.raises(ZfjaxError, match=words) as raised:
            import_weights(file, origin=ALEXNET, out=tmp_path / "no")
        assert "\n" not in str(raised.value) and "\x1b" not in str(raised.value)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ZfjaxError, match="holds list, no state dict"):
        import_weights(tmp_path / "list.pth", origin=ALEXNET, out=tmp_path / "no")
