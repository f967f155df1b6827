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
        (("10k.npz", "5K.npz", "1.5M.npz"), (5000, 10000, 1500000), (500, 1000, 150000)),
        (("ckpt-1e3.npz", "net-2e4.npz", "ckpt_1.5k.npz"), (1000, 1500, 20000), (100, 150, 2000)),
        (("step_1,000.npz", "1,500.npz"), (1000, 1500), (100, 150)),
        (("imagenet-1k.npz", "vit-86m.npz", "5.npz"), (5,), (0.5,)),
        (("2024-05-31_10.npz", "20240601-20.npz", "2024-06-02.npz"), (10, 20), (1, 2)),
        (("run_2024.05.31_12-30-00_7.npz", "5_20240601T120000.npz"), (5, 7), (0.5, 0.7)),
        (("20240531120000_step_3.npz", "20300000.npz"), (3, 20300000), (0.3, 2030000)),
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
        (r"e(?P<step>\d)of(?P<epoch>.*)", "'9.npz' of"),
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


@pytest.mark.parametrize(
    ("words", "step"),
    [
        ("10k", 10000),
        ("1_000", 1000),
        ("1,250,000", 1250000),
        ("1e3", 1000),
        ("2.5M", 2500000),
        ("007", 7),
        ("3.0", 3),
        ("1.5", None),
        ("9_99", None),
        ("-5", None),
        ("0x10", None),
        ("1e30", None),
        ("1_000k", 1000000),
    ],
)
def test_a_pattern_s_number_is_understood_as_it_is_written_or_refused(words, step, tmp_path):
    touch(tmp_path, f"net@{words}.npz")
    if step is not None:
        assert open_checkpoints(tmp_path, steps=r"@(.+)\.npz").steps == (step,)
        return
    with pytest.raises(
        ZfjaxError, match=f"--steps: '{words}' of .* is no number of a step"
    ) as said:
        open_checkpoints(tmp_path, steps=r"@(.+)\.npz")
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    ("names", "ways", "steps"),
    [
        (("1_000.npz", "1_500.npz"), "of step 1000 or of step 0", (1000, 1500)),
        (("step_10_000.npz",), "of step 10000 or of step 0", (10000,)),
        (("20240501-120000.npz",), "of step 120000 or of a time of day", (120000,)),
    ],
)
def test_a_name_that_may_say_two_things_is_asked_about(names, ways, steps, tmp_path):
    touch(tmp_path, *names)
    with pytest.raises(ZfjaxError, match=f"may be {ways}: say how its step is read") as said:
        open_checkpoints(tmp_path)
    patterns = str(said.value).partition("--steps, like '")[2].rstrip(".'").split("' or '")
    found = [open_checkpoints(tmp_path, steps=pattern).steps for pattern in patterns]
    assert steps in found


def test_names_that_are_dates_alone_hold_no_steps(tmp_path):
    touch(tmp_path, "2024-05-31.npz", "01.06.2024.npz", "20240602.npz")
    with pytest.raises(ZfjaxError, match=r"no numbered .*; a date is no step; .*--steps"):
        open_checkpoints(tmp_path)
    assert open_checkpoints(tmp_path / "2024-05-31.npz").steps == (0,)
    assert open_checkpoints(tmp_path, steps=r"^(2024\d+)").steps == (20240602,)
