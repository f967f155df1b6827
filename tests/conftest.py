"""Eight fake CPU devices, and absl flags marked as parsed, which grain reads (google/grain#1355)."""

import jax
from absl import flags

jax.config.update("jax_num_cpu_devices", 8)
flags.FLAGS.mark_as_parsed()
