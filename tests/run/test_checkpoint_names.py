"""Which files and folders are checkpoints, and of which step and epoch."""

import numpy as np
import pytest

from tests.run.saved import touch
from zfjax.errors import ZfjaxError
from zfjax.run.collecting import open_checkpoints


@pytest.mark.parametrize(
    ("names", "steps", "epochs"),
    [
        (("10.npz", "9.npz"), (9, 10), (0.9, 1.0)),
        (("net-0020.npz", "net-0003.npz"), (3, 20), (0.3, 2.0)),
        (("epoch_2.npz", "Epoch-11.npz"), (20, 110), (2.0, 11.0)),
        (("epoch=1-step=7.npz", "epoch=0-step=3.npz"), (3, 7), (0.0, 1.0)),
        (("step_30_loss_0.21.npz", "step_40_loss_0.19.npz"), (30, 40), (3.0, 4.0)),
        (("run2.step-5.npz", "notes.txt", "best.npz", ".6.npz", "7.tmp"), (5,), (0.5,)),
        (("step-1e3.npz", "step10k.npz", "step_20ema.npz"), (20, 1000, 10000), (2, 100, 1000)),
        (("model_epoch0.5.npz", "model_epoch1.5.npz"), (5, 15), (0.5, 1.5)),
    ],
)
def test_names_say_the_step_and_the_epoch(names, steps, epochs, tmp_path):
    touch(tmp_path, *names)
    stored = open_checkpoints(tmp_path, steps_per_epoch=10)
    assert stored.steps == steps and stored.epochs == epochs


def test_a_pattern_says_which_names_are_meant_and_what_is_in_them(tmp_path):
    touch(tmp_path, "ema-5-v1.npz", "ema-6-v1.npz", "raw-5-v1.npz", "e3of9.npz", "e4of9.npz")
    with pytest.raises(ZfjaxError, match=r"are both of step 9; say which are meant with --steps"):
        open_checkpoints(tmp_path)
    assert open_checkpoints(tmp_path, steps=r"ema-(\d+)").steps == (5, 6)
    by_epoch = open_checkpoints(tmp_path, steps=r"^e(?P<epoch>\d+)of", steps_per_epoch=4)
    assert by_epoch.steps == (12, 16) and by_epoch.epochs == (3.0, 4.0)
    both = open_checkpoints(tmp_path, steps=r"^e(?P<step>\d+)of(?P<epoch>\d+)")
    assert both.steps == (3, 4) and both.epochs == (9.0, 9.0)
    for pattern, words in (
        ("ckpt-(", "no regular expression"),
        (r"ema-\d+", "must have one group"),
        (r"(ema)-(\d+)", "must have one group"),
        ("(ema)", "'ema' of ema-5-v1.npz is no number"),
        (r"none-(\d+)", r"matches no name in .*; it has e3of9.npz, .* and 1 more"),
        (r"(?P<epoch>ema)", "'ema' of"),
    ):
        with pytest.raises(ZfjaxError, match=words):
            open_checkpoints(tmp_path, steps=pattern)
    with pytest.raises(ZfjaxError, match="steps_per_epoch"):
        open_checkpoints(tmp_path, steps_per_epoch=0)
    with pytest.raises(ZfjaxError, match="steps is a pattern of names on disk"):
        open_checkpoints({0: {"w": np.ones(1)}}, steps=r"(\d+)")


def test_a_folder_without_steps_in_its_names_says_how_to_name_them(tmp_path):
    touch(tmp_path, "best.npz", "last.npz")
    with pytest.raises(
        ZfjaxError, match=r"no numbered checkpoints; it has best.npz, last.npz; .*--steps"
    ):
        open_checkpoints(tmp_path)
