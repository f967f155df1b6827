"""Checkpoints as people have them, each written by the library that they use."""

import warnings

import flax
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from flax.training import train_state

STEPS = (0, 12)


def tree(step):
    kernel = np.full((3, 3, 3, 4), step, np.float32)
    return {
        "params": {"conv": {"kernel": kernel, "bias": np.arange(4, dtype=np.float32)}},
        "batch_stats": {"norm": {"mean": np.full(4, 0.5, np.float32)}},
        "opt_state": [{"mu": {"conv": {"kernel": kernel * 9, "bias": np.zeros(4, np.float32)}}}],
        "step": np.array(step, np.int32),
        "epochs_done": step,
    }


def in_pytrees(root, **how):
    import orbax.checkpoint as ocp

    saver = ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**how))
    for step in STEPS:
        saver.save(root / f"ckpt-{step}", tree(step))


def in_plain_files(root):
    in_pytrees(root, use_ocdbt=False)


def in_prefixed_manager(root):
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(step_prefix="model", step_format_fixed_length=6)
    with ocp.CheckpointManager(root, options=options) as manager:
        for step in STEPS:
            manager.save(step, args=ocp.args.StandardSave(tree(step)))
        manager.wait_until_finished()


def in_items(root):
    """Variables, optimiser and settings side by side."""
    import orbax.checkpoint as ocp

    with ocp.CheckpointManager(root) as manager:
        for step in STEPS:
            whole = tree(step)
            optimiser = ocp.args.PyTreeSave({"opt_state": whole.pop("opt_state")})
            saved = ocp.args.Composite(
                model=ocp.args.StandardSave(whole),
                optimiser=optimiser,
                settings=ocp.args.JsonSave({"lr": 0.1}),
            )
            manager.save(step, args=saved)
        manager.wait_until_finished()


def in_checkpointer(root):
    from orbax.checkpoint import v1

    with v1.training.Checkpointer(root) as saver:
        for step in STEPS:
            saver.save(step, tree(step), force=True)


def in_checkpointables(root):
    from orbax.checkpoint import v1

    for step in STEPS:
        v1.save_checkpointables(root / f"step_{step}", {"net": tree(step), "info": {"lr": 0.1}})


def in_state(root):
    import orbax.checkpoint as ocp

    saver = ocp.StandardCheckpointer()
    for step in STEPS:
        whole = tree(step)

        class State(train_state.TrainState):
            batch_stats: dict

        state = State.create(
            apply_fn=None,
            params=whole["params"],
            tx=optax.adam(0.1),
            batch_stats=whole["batch_stats"],
        )
        saver.save(root / f"checkpoint_{step}", state)
        saver.wait_until_finished()
    saver.close()


def in_flax(root, orbax=False):
    from flax.training import checkpoints

    before = flax.config.flax_use_orbax_checkpointing
    flax.config.update("flax_use_orbax_checkpointing", orbax)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # people have such files all the same
            for step in STEPS:
                checkpoints.save_checkpoint(str(root), tree(step), step, keep=9)
    finally:
        flax.config.update("flax_use_orbax_checkpointing", before)


def in_flax_by_orbax(root):
    in_flax(root, orbax=True)


def in_bytes(root):
    for step in STEPS:
        (root / f"step{step}.msgpack").write_bytes(flax.serialization.to_bytes(tree(step)))


def named(step, between):
    whole = {name: part for name, part in tree(step).items() if isinstance(part, dict)}
    return {
        between.join(key.key for key in keys): leaf
        for keys, leaf in jax.tree_util.tree_flatten_with_path(whole)[0]
    }


def in_npz(root):
    for step in STEPS:
        np.savez(root / f"weights_{step:06}.npz", **named(step, "/"))


def in_packed_npz(root):
    for step in STEPS:
        np.savez_compressed(root / f"it{step}.npz", **named(step, "."))


def in_safetensors(root):
    from safetensors.numpy import save_file

    for step in STEPS:
        save_file(named(step, "."), root / f"model.{step}.safetensors", metadata={"format": "np"})


def in_folders(root):
    """As trainers of language models do: a folder a step, the weights beside other files."""
    from safetensors.numpy import save_file

    for step in STEPS:
        folder = root / f"checkpoint-{step}"
        folder.mkdir()
        save_file(named(step, "/"), folder / "model.safetensors")
        (folder / "config.json").write_text("{}")


WAYS = (
    in_pytrees,
    in_plain_files,
    in_prefixed_manager,
    in_items,
    in_checkpointer,
    in_checkpointables,
    in_state,
    in_flax,
    in_flax_by_orbax,
    in_bytes,
    in_npz,
    in_packed_npz,
    in_safetensors,
    in_folders,
)


class OfNNX(nnx.Module):
    def __init__(self, seed):
        rngs = nnx.Rngs(seed)
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.heads = nnx.List([nnx.Linear(4, 3, rngs=rngs)])


def shards(root):
    """Arrays over eight devices."""
    import orbax.checkpoint as ocp

    mesh = jax.make_mesh((8,), ("x",))
    spread = jax.NamedSharding(mesh, jax.P("x"))
    saver = ocp.StandardCheckpointer()
    for step in STEPS:
        kernel = jax.device_put(jnp.full((16, 4), step, jnp.float32), spread)
        saver.save(root / str(step), {"params": {"dense": {"kernel": kernel}}})
        saver.wait_until_finished()
    saver.close()


def touch(root, *names):
    for name in names:
        np.savez(root / "x.npz", w=np.ones(2, np.float32))
        (root / "x.npz").rename(root / name)
