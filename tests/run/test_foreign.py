"""Checkpoints of others: Orbax roots of every layout, trees in memory, and which part of them is
the network's.
"""

import jax
import numpy as np
import pytest

from zfjax.errors import ZfjaxError
from zfjax.run.collecting import open_checkpoints
from zfjax.run.foreign import part_of
from zfjax.run.stored import stored_trees


def tree(step):
    kernel = np.full((3, 3, 3, 4), step, np.float32)
    return {
        "params": {"conv": {"kernel": kernel, "bias": np.arange(4, dtype=np.float32)}},
        "batch_stats": {"norm": {"mean": np.full(4, 0.5, np.float32)}},
        "opt_state": [{"mu": {"conv": {"kernel": kernel * 9, "bias": np.zeros(4, np.float32)}}}],
        "step": np.array(step, np.int32),
    }


EXPECTED = {
    name: jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), part)
    for name, part in tree(0).items()
    if name in ("params", "batch_stats")
}


def in_standard(root):
    import orbax.checkpoint as ocp

    saver = ocp.StandardCheckpointer()
    for step in (0, 12):
        saver.save(root / f"epoch_{step}", tree(step))
    saver.wait_until_finished()
    saver.close()


def in_manager(root):
    import orbax.checkpoint as ocp

    with ocp.CheckpointManager(root) as manager:
        for step in (0, 12):
            manager.save(step, args=ocp.args.StandardSave(tree(step)))
        manager.wait_until_finished()


def in_v1(root):
    from orbax.checkpoint import v1

    for step in (0, 12):
        v1.save(root / str(step), tree(step))


@pytest.mark.slow
@pytest.mark.parametrize("write", [in_standard, in_manager, in_v1])
def test_every_layout_of_orbax_is_read_and_no_more_than_is_wanted(write, tmp_path):
    root = (tmp_path / "root").absolute()
    root.mkdir()
    write(root)
    stored = open_checkpoints(root)
    assert stored.steps == (0, 12)
    part = part_of(stored.shapes, EXPECTED, None)
    found = part.load(stored, 12, ("params/conv/kernel", "batch_stats/norm/mean"))
    assert set(found) == {"params/conv/kernel", "batch_stats/norm/mean"}
    np.testing.assert_array_equal(found["params/conv/kernel"], np.full((3, 3, 3, 4), 12))
    np.testing.assert_array_equal(found["batch_stats/norm/mean"], np.full(4, 0.5))


def test_trees_in_memory_are_checked_step_by_step():
    stored = stored_trees({12: tree(12), 0: tree(0)})
    assert stored.steps == (0, 12)
    part = part_of(stored.shapes, EXPECTED, None)
    found = part.load(stored, 12, ("params/conv/kernel",))
    np.testing.assert_array_equal(found["params/conv/kernel"], np.full((3, 3, 3, 4), 12))
    assert stored.digest == stored_trees({0: tree(0), 12: tree(12)}).digest
    assert stored.digest != stored_trees({0: tree(0), 12: tree(13)}).digest
    other = {"params": {"conv": {"kernel": np.zeros((3, 3, 3, 5), np.float32)}}}
    for trees, words in (
        ({}, "no checkpoints"),
        ({"last": tree(0)}, "'last' is no step"),
        ({-1: tree(0)}, "-1 is no step"),
    ):
        with pytest.raises(ZfjaxError, match=words):
            stored_trees(trees)
    with pytest.raises(ZfjaxError, match=r"at step 12 is of shape \(3, 3, 3, 5\)"):
        part.load(stored_trees({0: tree(0), 12: other}), 12, ("params/conv/kernel",))
    with pytest.raises(ZfjaxError, match="step 12 lacks batch_stats/norm/mean"):
        part.load(stored_trees({0: tree(0), 12: other}), 12, ("batch_stats/norm/mean",))


def test_the_network_s_part_is_found_or_asked_for():
    shapes = stored_trees({0: tree(0)}).shapes
    averaged = {**shapes, "ema_params": shapes["params"]}
    with pytest.raises(ZfjaxError, match="params, ema_params; say which with --variables"):
        part_of(averaged, EXPECTED, None)
    places = part_of(averaged, EXPECTED, "ema_params").places
    assert places["params/conv/bias"] == "ema_params/conv/bias"
    assert places["batch_stats/norm/mean"] == "batch_stats/norm/mean"
    nested = part_of({"state": shapes}, EXPECTED, None).places
    assert nested["params/conv/bias"] == "state/params/conv/bias"
    with pytest.raises(ZfjaxError, match="has no such part; it has batch_stats, opt_state"):
        part_of(shapes, EXPECTED, "weights")
    without = {name: part for name, part in shapes.items() if name != "batch_stats"}
    with pytest.raises(ZfjaxError, match="batch_stats/norm/mean is missing"):
        part_of(without, EXPECTED, None)
    wide = {"params": {"conv": {**EXPECTED["params"]["conv"]}}, "batch_stats": shapes["params"]}
    wide["params"]["conv"]["bias"] = jax.ShapeDtypeStruct((5,), np.float32)
    with pytest.raises(ZfjaxError, match="does not fit the network"):
        part_of(shapes, wide, "params")
    of_function = part_of(shapes, None, None)
    assert set(of_function.places) == {"conv/kernel", "conv/bias"}


def test_a_folder_without_checkpoints_is_one_sentence(tmp_path):
    with pytest.raises(ZfjaxError, match="there is no such folder"):
        open_checkpoints(tmp_path / "nowhere")
    with pytest.raises(ZfjaxError, match="holds no numbered checkpoints"):
        open_checkpoints(tmp_path)
    (tmp_path / "_CHECKPOINT_METADATA").write_text("{}")
    with pytest.raises(ZfjaxError, match="it is one checkpoint: give the folder that holds it"):
        open_checkpoints(tmp_path)
    (tmp_path / "3").mkdir()
    with pytest.raises(ZfjaxError, match="no checkpoint of Orbax, or not whole"):
        open_checkpoints(tmp_path)
