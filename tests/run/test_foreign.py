"""Checkpoints of others: Orbax roots of every layout, trees in memory, and which part of them is
the network's.
"""

import jax
import numpy as np
import pytest

from zfjax.errors import ZfjaxError
from zfjax.run.collecting import open_checkpoints
from zfjax.run.foreign import part_of
from zfjax.run.pieces import part_of_pieces
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


def renamed(collections):
    """The tree's parameters and statistics by other names: {ours: theirs}."""
    whole = tree(0)
    return {theirs: whole[ours] for theirs, ours in collections.items()}


PLACES = ("params/conv/kernel", "batch_stats/norm/mean")


@pytest.mark.parametrize(
    ("collections", "path", "places"),
    [
        ({"params": "params", "stats": "batch_stats"}, None, ("params", "stats/norm")),
        ({"weights": "params", "running": "batch_stats"}, None, ("weights", "running/norm")),
        ({"w": "params", "a": "batch_stats", "b": "batch_stats"}, "w,b", ("w", "b/norm")),
        ({"w": "params", "v": "params", "s": "batch_stats"}, "v", ("v", "s/norm")),
        ({"w": "params", "batch_stats": "batch_stats", "s": "batch_stats"}, "w", ("w", "batch")),
    ],
)
def test_collections_of_other_names_are_told_by_their_leaves_or_asked_for(
    collections, path, places
):
    stored = stored_trees({0: renamed(collections)})
    for prefix, shapes in (("", stored.shapes), ("all/", {"all": stored.shapes})):
        own = None if path is None else ",".join(f"{prefix}{each}" for each in path.split(","))
        found = part_of(shapes, EXPECTED, own).places
        for name, place in zip(PLACES, places, strict=True):
            assert found[name].startswith(f"{prefix}{place}"), found


def test_collections_that_cannot_be_told_are_asked_for():
    two = {"w": "params", "a": "batch_stats", "b": "batch_stats"}
    shapes = stored_trees({0: renamed(two)}).shapes
    with pytest.raises(ZfjaxError, match="the network's batch_stats: a, b; .* --variables w,a"):
        part_of(shapes, EXPECTED, None)
    assert part_of(shapes, EXPECTED, "w,a").places[PLACES[1]] == "a/norm/mean"
    with pytest.raises(ZfjaxError, match="variables c: the checkpoint has no such part; it has a"):
        part_of(shapes, EXPECTED, "w,c")
    near = {"ema": renamed({"p": "params", "s": "batch_stats"}), "raw": tree(0)}
    shapes = stored_trees({0: near}).shapes
    assert part_of(shapes, EXPECTED, "ema/p").places[PLACES[1]] == "ema/s/norm/mean"
    with pytest.raises(ZfjaxError, match="opt_state: the network has no collection with these"):
        part_of(shapes, EXPECTED, "ema/p,raw/opt_state")


def test_an_optimiser_alone_is_said_to_be_one():
    slots = {"opt_state": tree(0)["opt_state"], "step": np.array(3, np.int32)}
    bare = [{"trace": tree(0)["params"]}, np.array(3)]
    for own, words in ((slots, r"alone \(opt_state\)"), (bare, r"alone \(0/trace\)")):
        for expected in (EXPECTED, None):
            with pytest.raises(ZfjaxError, match=f"an optimiser {words}, no parameters"):
                part_of(stored_trees({0: own}).shapes, expected, None)


def test_a_wider_network_is_told_by_its_shapes_wherever_it_stands():
    whole = tree(0)
    wide = {
        name: jax.tree.map(lambda leaf: np.concatenate([leaf, leaf], -1), whole[name])
        for name in EXPECTED
    }
    for own, place in (
        ({"state": {**wide, "epoch": 3}}, "state/batch_stats/norm/mean"),
        ({"net": {**wide, "batch_stats": whole["batch_stats"]}}, "net/params/conv/bias"),
        ({"weights": wide["params"], "stats": whole["batch_stats"]}, "weights/conv/bias"),
    ):
        with pytest.raises(ZfjaxError, match=rf"{place} is of shape \(8,\), not \(4,\)"):
            part_of(stored_trees({0: own}).shapes, EXPECTED, None)


def test_another_network_s_step_says_what_to_do_about_it():
    narrow = {"params": {"conv": {"kernel": np.zeros((3, 3, 3, 5), np.float32)}}}
    stored = stored_trees({0: tree(0), 12: narrow})
    with pytest.raises(ZfjaxError, match="as at step 0: it is of another network; leave it out"):
        stored.arrays(12, ("params/conv/kernel",))


@pytest.mark.slow
def test_items_of_a_manager_are_named_with_their_name_or_without(tmp_path):
    import orbax.checkpoint as ocp

    whole = tree(5)
    state = {"params": whole["params"], "batch_stats": whole["batch_stats"]}
    ema = {"ema_params": whole["params"], **state}
    for folder, items in (
        ("one", {"state": ema}),
        ("apart", {"params": state["params"], "stats": state["batch_stats"]}),
    ):
        with ocp.CheckpointManager(tmp_path / folder) as manager:
            saved = {name: ocp.args.StandardSave(item) for name, item in items.items()}
            manager.save(5, args=ocp.args.Composite(**saved))
            manager.wait_until_finished()
    stored = open_checkpoints(tmp_path / "one")
    assert stored.item == "state"
    for path in ("params", "state/params", "/state/params/"):
        own = part_of_pieces(stored.shapes, (("", EXPECTED),), stored.path_within(path))
        assert own.places[PLACES[0]] == PLACES[0]
    assert set(part_of(stored.shapes, None, stored.path_within("state")).shapes) == set(ema)
    assert stored.path_within("state") == "" and stored.path_within("ema") == "ema"
    assert stored.path_within("state/params, state/batch_stats") == "params,batch_stats"
    stored = open_checkpoints(tmp_path / "apart")
    arrays = part_of(stored.shapes, EXPECTED, None).load(stored, 5, PLACES)
    np.testing.assert_array_equal(arrays[PLACES[1]], np.full(4, 0.5))
    assert stored.path_within("params") == "params" and stored.item == ""
