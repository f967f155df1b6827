"""Eight fake CPU devices, absl flags marked as parsed (which grain reads: google/grain#1355), and shared reports."""

from dataclasses import replace

import jax
import pytest
from absl import flags

from tests.reported import Reported
from tests.synthetic_run import SMALL

jax.config.update("jax_num_cpu_devices", 8)
flags.FLAGS.mark_as_parsed()


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return Reported(tmp_path_factory.mktemp("run") / "deep" / "run", SMALL)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    shape = replace(SMALL, epochs=2, layers=("conv1", "conv3"), hostile=True, early_steps=(1, 8), maps=3)
    return Reported(tmp_path_factory.mktemp("hostile"), shape)


@pytest.fixture(scope="session")
def without_photos(tmp_path_factory):
    return Reported(tmp_path_factory.mktemp("bare"), replace(SMALL, epochs=2, layers=("conv1", "conv3")), photos=False)
