"""``zfjax info --model``: somebody's network by words, as a table; and what is wrong with words."""

import sys

import pytest

from zfjax.commands.cli import main

NETS = """
import flax.linen as nn
import jax.numpy as jnp

class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        y = nn.relu(nn.BatchNorm(use_running_average=True)(nn.Conv(4, (3, 3))(x)))
        return nn.relu(x + nn.Conv(4, (3, 3))(y))

class Net(nn.Module):
    act: str = "relu"
    train: bool = False

    @nn.compact
    def __call__(self, x):
        x = getattr(nn, self.act)(nn.Conv(4, (5, 5), 2)(x))
        x = Block()(nn.max_pool(x, (2, 2), (2, 2)))
        x = nn.Dropout(0.5, deterministic=not self.train)(x)
        return nn.Dense(7)(x.mean((1, 2)))

class Odd:
    pass

def build():
    return Net()

def smooth():
    return Net("gelu")

def training():
    return Net(train=True)

def updating():
    return nn.Sequential([nn.Conv(4, (3, 3)), nn.BatchNorm(use_running_average=False), nn.relu])

def broken():
    raise RuntimeError("the weights are at home")

def number():
    return 7

def function():
    return lambda parameters, inputs: {"maps": inputs}

def head():
    return nn.Sequential([lambda x: x.reshape(len(x), -1), nn.Dense(3)])
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    (tmp_path / "somebodys_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield "somebodys_nets"
    sys.modules.pop("somebodys_nets", None)


def info(*words):
    return main(["info", "--model", *words])


def test_every_layer_stands_in_the_table_and_nothing_is_run(nets, capsys):
    assert info(f"{nets}:build", "--input", "32") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Net, input 32x32x3, ")
    rows = {line.split()[0]: line for line in lines if line.endswith("ReLU")}
    assert set(rows) == {"Conv_0", "Block_0/Conv_0", "Block_0"}
    assert rows["Conv_0"].split()[1:5] == ["16x16x4", "5", "2", "304"]
    assert rows["Block_0/Conv_0"].split()[1:4] == ["8x8x4", "15", "4"]
    assert "max-pool by switches" in rows["Block_0/Conv_0"]
    assert "class scores: 7 classes" in lines[-1]


def test_a_file_is_as_good_as_a_module_and_what_is_refused_is_said(nets, capsys):
    assert info(f"{nets}.py:smooth", "--input", "32") == 0
    text = capsys.readouterr().out
    assert "REFUSED: gelu" in text and "refused by every rule but gradient: 3 of 3" in text
    assert info(f"{nets}.py:smooth", "--input", "32", "--smooth", "gelu") == 0
    assert "REFUSED" not in capsys.readouterr().out


WRONG = {
    "nets:nothing": "has no function 'nothing'; it has",
    "nets:number": "returns int; it must return a Linen module",
    "nets:broken": "broken() failed:\nRuntimeError: the weights are at home (somebodys_nets.py:",
    "nets:function": "is a function: the shapes of its parameters are in its checkpoints",
    "nets:training": 'for "dropout"\nThis looks like training mode; build the network in',
    "nets:updating": "is immutable.\nThis looks like training mode; build the network in",
    "nets:head": "has no ReLU on maps",
    "nets": "must be pkg.module:build or file.py:build",
    "no_such_package:build": "cannot be imported:\nModuleNotFoundError",
    "no_such_file.py:build": "there is no file no_such_file.py",
}


@pytest.mark.parametrize("words", list(WRONG))
def test_what_is_wrong_with_the_words_is_said_in_a_few_lines(nets, capsys, words):
    given = words.replace("nets", nets) if words.startswith("nets") else words
    assert info(given, "--input", "32") == 1
    said = capsys.readouterr().err
    assert WRONG[words] in said and "Traceback" not in said and len(said.splitlines()) < 8


def test_numbers_and_other_flags_that_make_no_sense(nets, capsys):
    for more, words in (
        (("--input", "0"), "must be 1 or more"),
        (("--preset", "demo"), "goes with neither"),
        (("--smooth", "swish"), "there is for gelu, silu, tanh"),
        (("--statistics", "melted"), "cannot be taken as 'melted'"),
        (("--checkpoints", "nowhere"), "there is no such folder"),
    ):
        assert info(f"{nets}:build", *more) == 1
        assert words in capsys.readouterr().err
