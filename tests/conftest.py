"""Strictness (strict.py, first of all), eight fake CPU devices, programs compiled quickly and kept
for all processes, absl flags marked as parsed (for grain: google/grain#1355), shared runs and
reports.
"""

import os
import signal
from dataclasses import replace
from pathlib import Path

import jax
import pytest
from absl import flags

from tests import strict as strict
from tests.data_helpers import altered, jpeg, make_tree
from tests.reported import Reported, spare_figures
from tests.small import make_config, make_data
from tests.synthetic_run import SMALL
from zfjax.data.importing import import_images
from zfjax.training.loop import train

# The small runs' programs take most of their time to compile, and are the same in every process.
COMPILED = {
    "jax_compilation_cache_dir": str(Path(__file__).parent.parent / ".pytest_cache" / "compiled"),
    "jax_persistent_cache_min_compile_time_secs": 0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}
for name, value in COMPILED.items():
    jax.config.update(name, value)
    os.environ[name.upper()] = str(value)

# They are compiled in a third of the time with these two; a run's parameters and its table came out
# the same to the bit. test_whole_run.py compiles as users do. One's own flags come last, and win.
QUICKLY = ("--xla_backend_optimization_level=1", "--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join((*QUICKLY, os.environ.get("XLA_FLAGS", ""))).strip()

# A shell's background jobs ignore SIGINT, and so would the processes that tests send it to.
signal.signal(signal.SIGINT, signal.default_int_handler)

jax.config.update("jax_num_cpu_devices", 8)
flags.FLAGS.mark_as_parsed()


LONGEST = (
    "test_gallery.py",
    "test_processes.py",
    "test_ablating.py",
    "test_train.py",
    "test_running.py",
    "test_more_epochs.py",
    "test_faults.py",
    "test_traced.py",
    "test_engine.py",
    "test_papers.py",
    "test_own_network.py",
    "test_paths.py",
    "test_browser.py",
    "test_whole_run.py",
    "test_doors.py",
    "test_ops.py",
)


def pytest_collection_modifyitems(items):
    """The longest files come first, so that no worker of ``make test`` is left alone with them."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """The data folder of tests/small.py."""
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory, data_dir):
    """Its small run, trained on one device without a break: to read and to copy, never to
    change.
    """
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    train(make_config(data_dir), folder, devices=1)
    return folder


@pytest.fixture(scope="session")
def with_a_bad_record(tmp_path_factory):
    """A data set of 24 and 6 images in which training image 5 and validation image 2 are no
    JPEGs.
    """
    folder = tmp_path_factory.mktemp("bad")
    files = {
        f"{split}/{name}/{n}.jpg": jpeg(10 * n + place, 20, 24)
        for split, count in (("train", 8), ("val", 2))
        for place, name in enumerate("abc")
        for n in range(count)
    }
    import_images(make_tree(folder / "source", files), "sound", folder / "data")
    bad = {("train", 5), ("validation", 2)}

    def change(*record):
        return {"image": b"no picture at all"} if record in bad else {}

    return altered(folder / "data", "sound", "bad", change)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return Reported(tmp_path_factory.mktemp("run") / "deep" / "run", SMALL)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    shape = replace(
        SMALL, epochs=2, layers=("conv1", "conv3"), hostile=True, early_steps=(1, 8), maps=3
    )
    return Reported(tmp_path_factory.mktemp("hostile"), shape)


@pytest.fixture(scope="session")
def without_photos(tmp_path_factory):
    return Reported(
        tmp_path_factory.mktemp("bare"),
        replace(SMALL, epochs=2, layers=("conv1", "conv3")),
        photos=False,
    )


@pytest.fixture
def spare_of_figures(monkeypatch):
    """For reports of which a test reads the page's words alone."""
    spare_figures(monkeypatch)
