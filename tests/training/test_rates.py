"""Parameters that are not finite are named and never right; each epoch's rates are out when they
are known."""

import io
import shutil
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from zfjax.commands.cli import main
from zfjax.data.dataset import open_dataset
from zfjax.devices import data_mesh
from zfjax.errors import ZfjaxError
from zfjax.features.projecting import project
from zfjax.progress import Reporter
from zfjax.run import checkpoint
from zfjax.run.folder import load_run
from zfjax.subject import images_of, subject_of
from zfjax.training.evaluation import Batching, correct, evaluate

pytestmark = pytest.mark.slow

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("scores", "hits"),
    [
        ([1, 3, 2, 0, 0, 0, 0], (1, 1)),
        ([9, 3, 8, 7, 6, 5, 4], (0, 0)),
        ([4, 3, 2, 0, 0, 0, 0], (0, 1)),
        ([NAN] * 7, (0, 0)),
        ([0, NAN, 0, 0, 0, 0, 0], (0, 0)),
        ([NAN, 3, 2, 0, 0, 0, 0], (0, 0)),
        ([0, INF, 0, 0, 0, 0, 0], (0, 0)),
        ([INF] * 7, (0, 0)),
        ([-INF] * 7, (0, 0)),
        ([-INF, 3, 2, 0, 0, 0, 0], (0, 0)),
    ],
)
def test_what_is_not_finite_is_never_right(scores, hits):
    found = correct(jnp.array([scores], jnp.float32), jnp.array([1]))
    assert tuple(float(one[0]) for one in found) == hits


@pytest.fixture(scope="module")
def diverged(tmp_path_factory, unbroken):
    """The small run with a NaN among epoch 1's parameters, and infinite scores at epoch 2 of finite
    ones."""
    folder = tmp_path_factory.mktemp("rates") / "run"
    shutil.copytree(unbroken, folder)
    for step, (layer, name), value in ((4, ("conv2", "kernel"), NAN), (8, ("fc4", "kernel"), 3e38)):
        path = folder / "checkpoints" / str(step)
        parameters = checkpoint.load(path)
        spoilt = np.array(parameters[layer][name])
        spoilt.reshape(-1)[3 if np.isnan(value) else slice(None)] = value
        shutil.rmtree(path)
        saver = checkpoint.Saver(path.parent)
        saver.save(step, {**parameters, layer: {**parameters[layer], name: spoilt}})
        saver.wait()
    return folder


@pytest.mark.parametrize("views", [1, 10])
@pytest.mark.parametrize("step", ["4", "8"])
def test_an_evaluation_that_is_not_finite_counts_no_hit(diverged, data_dir, step, views):
    run, dataset = load_run(diverged), open_dataset("small", data_dir)
    parameters = checkpoint.load(run.checkpoints / step)
    subject = subject_of(run, images_of(run.config, dataset, "validation"))
    found = evaluate(subject, parameters, Batching(data_mesh(8, 1), 8), views=views)
    assert not np.isfinite(found["loss"]) and found["images"] == 12
    assert (found["top1"], found["top5"]) == (0, 0)


def test_evaluate_names_the_epochs_that_have_diverged(diverged, unbroken, capsys):
    assert main(["evaluate", "--workdir", str(unbroken), "--devices", "1"]) == 0
    sound = capsys.readouterr().out.splitlines()
    assert main(["evaluate", "--workdir", str(diverged), "--devices", "1"]) == 1
    told = capsys.readouterr()
    assert told.out.splitlines() == [*sound[:3], sound[5]], "epochs 0 and 3, as of the sound run"
    assert told.err.endswith(
        "12/12\n"
        + "zfjax: Epoch 1 (step 4) has parameters that are not finite (conv2/kernel); epoch 2 (step"
        " 8) has scores that are not finite, so they have no error rate; leave them out with --at"
        " 0 3.\n"
    )
    assert main(["evaluate", "--workdir", str(diverged), "--devices", "1", "--at", "1"]) == 1
    told = capsys.readouterr()
    assert not told.out and "so it has no error rate; ask for epochs before it" in told.err
    assert main(["evaluate", "--workdir", str(diverged), "--devices", "1", "--at", "0", "3"]) == 0
    with pytest.raises(
        ZfjaxError, match=r"Epoch 1 \(step 4\) gives activations that are not finite"
    ):
        project(diverged, 0, "conv2", 3)


@pytest.mark.parametrize("fault", [ZfjaxError("the disk is gone"), KeyboardInterrupt()])
def test_what_was_done_is_out_when_a_later_one_fails(unbroken, monkeypatch, fault):
    honest, flushed, written = checkpoint.load, {}, io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, write_through=False))

    def load(path, *layers):
        flushed[path.name] = written.getvalue().decode().splitlines()
        if path.name == "8":
            raise fault
        return honest(path, *layers)

    monkeypatch.setattr("zfjax.training.rates.checkpoint.load", load)
    assert main(["evaluate", "--workdir", str(unbroken), "--devices", "1"]) in (1, 130)
    assert {step: len(lines) for step, lines in flushed.items()} == {"0": 0, "4": 3, "8": 4}
    assert [line.split()[0] for line in flushed["8"][2:]] == ["0", "1"]


@pytest.mark.parametrize("terminal", [True, False])
def test_lines_on_the_terminal_go_above_the_bars_and_others_where_they_are_sent(
    monkeypatch, terminal
):
    before = sys.stdout
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("zfjax.progress.sys.stdout.isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(
        "zfjax.progress.Console", lambda **how: Console(**how, force_terminal=True, width=100)
    )
    with Reporter() as progress:
        progress("evaluating", 1, 2)
        assert (sys.stdout is before) != terminal, (
            "only what shares the terminal is led past the bars"
        )
    assert sys.stdout is before
