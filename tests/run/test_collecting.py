"""Checkpoints as people have them, by step: every kind with the library that writes it, and what is
refused.
"""

import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

import zfjax
from tests.run import saved
from tests.run.saved import touch
from zfjax.errors import ZfjaxError
from zfjax.run.collecting import open_checkpoints, without_torn
from zfjax.run.foreign import part_of

ROOT = Path(__file__).parents[2]


def shaped(tree):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)


EXPECTED = {name: shaped(saved.tree(0)[name]) for name in ("params", "batch_stats")}


@pytest.mark.slow
@pytest.mark.parametrize("write", saved.WAYS, ids=lambda write: write.__name__)
def test_what_a_library_has_written_is_read_as_it_is(write, tmp_path, capsys):
    write(tmp_path)
    stored = open_checkpoints(tmp_path)
    assert stored.steps == saved.STEPS and stored.epochs == (0.0, 12.0)
    part = part_of(stored.shapes, EXPECTED, None)
    for step in saved.STEPS:
        arrays = part.load(stored, step, ("params/conv/kernel", "batch_stats/norm/mean"))
        assert list(arrays) == ["params/conv/kernel", "batch_stats/norm/mean"]
        np.testing.assert_array_equal(arrays["params/conv/kernel"], np.full((3, 3, 3, 4), step))
        np.testing.assert_array_equal(arrays["batch_stats/norm/mean"], np.full(4, 0.5))
        assert all(isinstance(array, np.ndarray) for array in arrays.values())
    assert not capsys.readouterr().err
    wrong = {"params": {"conv": {**EXPECTED["params"]["conv"]}}}
    wrong["params"]["conv"]["kernel"] = jax.ShapeDtypeStruct((5, 5, 3, 4), np.float32)
    with pytest.raises(ZfjaxError, match="does not fit the network"):
        part_of(stored.shapes, wrong, None)


@pytest.mark.slow
def test_arrays_over_devices_that_are_not_here_are_read(tmp_path):
    assert jax.device_count() == 8
    saved.shards(tmp_path)
    stored = open_checkpoints(tmp_path)
    arrays = stored.arrays(12, ("params/dense/kernel",))
    np.testing.assert_array_equal(arrays["params/dense/kernel"], np.full((16, 4), 12))
    code = (
        "import sys, jax; assert jax.device_count() == 1\n"
        "from zfjax.run.collecting import open_checkpoints\n"
        "arrays = open_checkpoints(sys.argv[1]).arrays(12, ('params/dense/kernel',))\n"
        "assert (arrays['params/dense/kernel'] == 12).all()\n"
    )
    alone = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=alone, check=True, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("pure", [False, True])
def test_a_state_of_nnx_is_read_with_its_boxes_or_without(pure, tmp_path):
    import orbax.checkpoint as ocp

    state = nnx.state(saved.OfNNX(3))
    bare = nnx.to_pure_dict(nnx.state(saved.OfNNX(3), nnx.Param))
    with ocp.StandardCheckpointer() as saver:
        saver.save(tmp_path / "7", bare if pure else state)
    stored, expected = open_checkpoints(tmp_path), shaped(bare)
    for shapes in (stored.shapes, open_checkpoints({7: state}).shapes):
        part = part_of(shapes, expected, None)
        assert set(part.places) == {"conv/bias", "conv/kernel", "heads/0/bias", "heads/0/kernel"}
        arrays = part.load(
            stored if shapes is stored.shapes else open_checkpoints({7: state}),
            7,
            ("conv/kernel", "heads/0/bias"),
        )
        np.testing.assert_array_equal(arrays["conv/kernel"], bare["conv"]["kernel"])
    boxed = {"conv": {"kernel": {"value": expected["conv"]["kernel"]}}}
    assert set(part_of(stored.shapes, boxed, None).places) == {"conv/kernel/value"}


@pytest.mark.slow
def test_trees_with_lists_and_modules_are_read_in_their_own_shape(tmp_path):
    """Of a function over a bare tree: it is given the tree that it knows."""
    import equinox
    import orbax.checkpoint as ocp

    net = equinox.nn.MLP(2, 3, 4, 2, key=jax.random.key(0))
    arrays = equinox.filter(net, equinox.is_array)
    with ocp.StandardCheckpointer() as saver:
        saver.save(tmp_path / "1", arrays)
        saver.save(tmp_path / "2", {"net": {"layers": [{"w": np.ones(2)}, {"w": np.ones(3)}]}})
    weight = np.asarray(net.layers[1].weight)
    for stored in (open_checkpoints(tmp_path, steps="^(1)$"), open_checkpoints({1: net})):
        part = part_of(stored.shapes, None, None)
        name = "layers/1/weight"
        np.testing.assert_array_equal(part.load(stored, 1, (name,))[name], weight)
    stored = open_checkpoints(tmp_path, steps="^(2)$")
    part = part_of(stored.shapes, None, "net")
    assert [leaf["w"].shape for leaf in part.shapes["layers"]] == [(2,), (3,)]
    assert set(part.places.values()) == {"net/layers/0/w", "net/layers/1/w"}


def test_what_is_open_already_is_taken_as_it_is(tmp_path):
    touch(tmp_path, "10.npz", "20.npz")
    stored = open_checkpoints(tmp_path, steps_per_epoch=10)
    assert open_checkpoints(stored) is stored
    assert open_checkpoints(stored, steps_per_epoch=5).epochs == (2.0, 4.0)
    assert stored.steps_at(["1", "last"]) == (10, 20)
    with pytest.raises(ZfjaxError, match="goes with a path"):
        open_checkpoints(stored, steps=r"(\d+)")
    touch(tmp_path, "epoch_3.npz")
    named = open_checkpoints(tmp_path, steps=r"epoch_(?P<epoch>\d)", steps_per_epoch=7)
    assert open_checkpoints(named, steps_per_epoch=5).epochs == (3.0,)
    assert named.steps_at("3") == (21,)
    with pytest.raises(ZfjaxError, match="saved epochs are 3"):
        named.steps_at("21")


def test_a_single_file_is_a_checkpoint_of_its_own(tmp_path):
    touch(tmp_path, "weights.npz", "ckpt-8.npz")
    assert open_checkpoints(tmp_path / "weights.npz").steps == (0,)
    assert open_checkpoints(str(tmp_path / "ckpt-8.npz")).steps == (8,)


@pytest.mark.slow
@pytest.mark.parametrize("write", [saved.in_pytrees, saved.in_items], ids=["whole", "items"])
def test_a_single_folder_of_orbax_is_a_checkpoint_of_its_own(write, tmp_path):
    write(tmp_path)
    [newest] = [path for path in tmp_path.iterdir() if "12" in path.name]
    for name, step in ((newest.name, 12), ("best", 0)):
        newest = newest.rename(tmp_path / name)
        stored = open_checkpoints(newest)
        assert stored.steps == (step,)
        kernel = part_of(stored.shapes, EXPECTED, None).load(stored, step, ("params/conv/kernel",))
        np.testing.assert_array_equal(kernel["params/conv/kernel"], np.full((3, 3, 3, 4), 12))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, np.float64])
@pytest.mark.parametrize("kind", ["npz", "safetensors", "msgpack", "memory"])
def test_floats_of_other_widths_are_taken_as_float32(kind, dtype, tmp_path):
    values = np.array([[1.5, -2.0, 0.25]]).astype(dtype)
    if kind == "npz":
        np.savez(tmp_path / "1.npz", **{"conv.w": values})
    elif kind == "safetensors":
        from safetensors.numpy import save_file

        save_file({"conv.w": values}, tmp_path / "1.safetensors")
    elif kind == "msgpack":
        from flax.serialization import to_bytes

        (tmp_path / "1.msgpack").write_bytes(to_bytes({"conv": {"w": values}}))
    stored = open_checkpoints({1: {"conv": {"w": values}}} if kind == "memory" else tmp_path)
    part = part_of(stored.shapes, None, None)
    array = part.load(stored, 1, ("conv/w",))["conv/w"]
    assert array.dtype == np.float32 == part.shapes["conv"]["w"].dtype
    np.testing.assert_array_equal(array, [[1.5, -2.0, 0.25]])
    own = {"conv": {"w": jax.ShapeDtypeStruct((1, 3), jnp.bfloat16)}}
    assert (
        part_of(stored.shapes, own, None).load(stored, 1, ("conv/w",))["conv/w"].dtype
        == jnp.bfloat16
    )


def torn_safetensors(root):
    from safetensors.numpy import save

    whole = save({"w": np.ones(100, np.float32)})
    (root / "2.safetensors").write_bytes(whole[:-40])


def test_the_newest_that_is_half_written_is_named_and_left_out(tmp_path, capsys):
    touch(tmp_path, "0.npz", "1.npz")
    whole = (tmp_path / "1.npz").read_bytes()
    (tmp_path / "2.npz").write_bytes(whole[:-30])
    stored = open_checkpoints(tmp_path)
    said = capsys.readouterr().err
    assert stored.steps == (0, 1) and stored.epochs == (0.0, 1.0)
    assert said.startswith("zfjax: left out. ") and "2.npz" in said and said.count("\n") == 1
    torn_safetensors(tmp_path)
    (tmp_path / "2.npz").unlink()
    assert open_checkpoints(tmp_path).steps == (0, 1)
    assert "cut short" in capsys.readouterr().err
    for name in ("3.npz", "4.npz", "5.npz"):
        (tmp_path / name).write_bytes(whole[:60])
    with pytest.raises(ZfjaxError, match="5.npz is no .npz file, or damaged"):
        open_checkpoints(tmp_path)
    assert not capsys.readouterr().err


@pytest.mark.slow
def test_a_step_of_orbax_whose_arrays_are_missing_is_left_out(tmp_path, capsys):
    saved.in_pytrees(tmp_path)
    newest = tmp_path / "ckpt-12"
    for file in (newest / "d").iterdir():
        file.unlink()
    for file in newest.glob("ocdbt.process_*/d/*"):
        file.unlink()
    stored = open_checkpoints(tmp_path)
    part = part_of(stored.shapes, EXPECTED, None)
    kept = without_torn(stored, lambda step: part.load(stored, step, ("params/conv/kernel",)))
    assert kept.steps == (0,) and "left out" in capsys.readouterr().err


def test_what_is_no_checkpoint_is_one_sentence(tmp_path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme.txt", "hello")
    of_torch = io.BytesIO()
    with zipfile.ZipFile(of_torch, "w") as file:
        file.writestr("net/data.pkl", "x")
    of_objects, single = io.BytesIO(), io.BytesIO()
    np.savez(of_objects, params=np.array({"w": 1}, dtype=object))
    np.save(single, np.ones(3))
    narrow = io.BytesIO()
    np.savez(narrow, w=np.asarray(jnp.ones(3, jnp.float8_e4m3fn)))
    header = json.dumps({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}).encode()
    safe, serialised = safetensors.numpy.save({"w": np.ones(3)}), io.BytesIO()
    eqx.tree_serialise_leaves(serialised, {"b": np.zeros(2), "w": np.ones(3)})
    pickled = pickle.dumps({"w": np.ones(3)})
    page = b"\n<!DOCTYPE html><html>404</html>"
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"
    for name, content, words in (
        ("1.npz", archive.getvalue(), "holds readme.txt"),
        ("1.npz", of_objects.getvalue(), "params is a pickled object"),
        ("1.npz", narrow.getvalue(), "w is of a type whose name .npz does not keep .*float8"),
        ("1.npz", b"not a zip", "is no .npz file"),
        ("1.npz", b"", "is empty"),
        ("1.npz", page, "is a web page"),
        ("1.safetensors", page, "is a web page"),
        ("1.safetensors", b"<HTML><body>no</body>", "is a web page"),
        ("1.safetensors", pointer, "pointer of Git LFS"),
        ("1.npz", pointer, "pointer of Git LFS"),
        ("1.safetensors", archive.getvalue(), "is not what its name says: it is a zip"),
        ("1.safetensors", b'\x10\0\0\0\0\0\0\0{"w": {', "no .safetensors file, or cut short"),
        (
            "1.safetensors",
            (8).to_bytes(8, "little") + b'{"w": {}' + b"0" * 9,
            "header cannot be read",
        ),
        ("1.safetensors", len(header).to_bytes(8, "little") + header + b"0" * 12, "header cannot"),
        ("1.safetensors", b"\x02\0\0\0\0\0\0\0{}", "holds no arrays"),
        ("1.safetensors", b"abc", "cut short"),
        ("1.pkl", pickled, "is a pickle, which may run anything"),
        ("ckpt_1", pickled, "is a pickle, which may run anything"),
        ("1.pth", pickled, "import-weights"),
        ("1.npz", pickled, "is a pickle, which may run anything"),
        ("1.safetensors", pickled, "is a pickle, which may run anything"),
        ("1.msgpack", pickled, "is a pickle, which may run anything"),
        ("1.pkl", pickle.dumps({"w": np.ones(3)}, protocol=0), "is a pickle"),
        *(
            (f"1{suffix}", pickle.dumps(content, protocol=0), "is a pickle, .* torch.save")
            for suffix in (".npz", ".ckpt", ".pt", ".msgpack", ".safetensors", "")
            for content in ({"w": np.ones(3)}, [1.0], np.ones(3))
        ),
        ("1.msgpack", safe, "not what its name says: it is of safetensors; name it .safetensors"),
        ("1.npz", safe, "not what its name says: it is of safetensors"),
        ("ckpt_1", safe, "not what its name says: it is of safetensors"),
        ("1.eqx", serialised.getvalue(), r"zfjax.subject_from trees by step, .*like=module"),
        ("1.ckpt", of_torch.getvalue(), "is a pickle"),
        ("1.npz", of_torch.getvalue(), "not what its name says: it is what torch.save writes"),
        ("1.npy", single.getvalue(), "single array of NumPy"),
        ("1.h5", b"\x89HDF\r\n\x1a\n", "is of HDF5"),
        ("checkpoint_1", b"plain words", "no checkpoint of flax.serialization"),
        ("1.msgpack", b"\x93\x01\x02\x03", "it holds list"),
        ("1.msgpack", gzip.compress(b"x"), "is compressed"),
        ("1.msgpack", b"\x80", "holds no arrays"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ZfjaxError, match=words) as raised:
            open_checkpoints(tmp_path)
        assert "\n" not in str(raised.value), raised.value
        path.unlink()
    folder = tmp_path / "step_1"
    folder.mkdir()
    touch(folder, "a.npz", "b.npz")
    with pytest.raises(ZfjaxError, match="several files of weights .a.npz, b.npz."):
        open_checkpoints(tmp_path)


def test_names_that_are_an_array_and_a_part_are_refused(tmp_path):
    np.savez(tmp_path / "1.npz", **{"a": np.ones(2), "a.b": np.ones(2)})
    with pytest.raises(ZfjaxError, match="is both an array and what others are below"):
        open_checkpoints(tmp_path)


def test_other_steps_with_other_leaves_are_one_sentence(tmp_path):
    np.savez(tmp_path / "1.npz", **{"a/w": np.ones(2, np.float32), "a/b": np.ones(1, np.float32)})
    np.savez(tmp_path / "2.npz", **{"a/w": np.ones(3, np.float32)})
    stored = zfjax.open_checkpoints(tmp_path)
    for name, words in (("a/b", "step 2 lacks a/b"), ("a/w", r"a/w at step 2 is of shape \(3,\)")):
        with pytest.raises(ZfjaxError, match=words):
            stored.arrays(2, (name,))
    with pytest.raises(ZfjaxError, match="no step 3; saved are 1, 2"):
        stored.arrays(3, ("a/w",))


def test_where_several_parts_fit_they_are_listed():
    one = {"params": {"w": np.ones(2)}}
    many = {"params": {"w": np.ones(2)}, "ema_params": {"w": np.ones(2)}}
    shapes = open_checkpoints({0: {"state": many}}).shapes
    with pytest.raises(ZfjaxError, match="state/ema_params, state/params; say which"):
        part_of(shapes, None, None)
    assert part_of(shapes, None, "state/ema_params").places == {"w": "state/ema_params/w"}
    with pytest.raises(ZfjaxError, match="state/ema_params, state/params; say which"):
        part_of(shapes, shaped(one), None)
    assert part_of(open_checkpoints({0: {"model": one}}).shapes, None, None).places == {
        "w": "model/params/w"
    }
    bare = {"student": {"w": np.ones(2), "rng": np.ones(1)}}
    two = open_checkpoints({0: {**bare, "teacher": bare["student"]}}).shapes
    with pytest.raises(ZfjaxError, match="student, teacher; say which with --variables"):
        part_of(two, {"w": jax.ShapeDtypeStruct((2,), np.float32)}, None)


def test_names_with_slashes_of_their_own_keep_them():
    """As Haiku's: {"net/~/conv": {"w": ...}}."""
    stored = open_checkpoints({0: {"params": {"net/~/conv": {"w": np.ones(2, np.float32)}}}})
    part = part_of(stored.shapes, None, None)
    assert list(part.shapes) == ["net/~/conv"]
    assert part.load(stored, 0, ("net/~/conv/w",))["net/~/conv/w"].shape == (2,)
