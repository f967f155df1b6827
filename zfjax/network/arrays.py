"""Names for the arrays that the network computes with, axes and all; jaxtyping checks them in the
tests (tests/strict.py): any float, for training may compute in bfloat16.

To a type checker an Array is JAX's; where it is checked at run time NumPy's will do, as JAX takes
them everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    Array = jax.Array
else:
    Array = jax.Array | np.ndarray

Images = Float[Array, "n h w c"]
"""Maps too: what goes into a layer."""
Kernel = Float[Array, "k k c maps"]
Maps = Float[Array, "n rows columns maps"]
"""What comes out of a convolution."""
Origins = tuple[Int[Array, " n"], Int[Array, " n"]]
"""Row and column where each image's crop begins."""
