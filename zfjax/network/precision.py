"""How exactly a forward pass multiplies: "highest" wherever numbers are kept, less for a search
that ranks its candidates again.

"tf32" rounds what is multiplied to 10 bits of mantissa (NVIDIA's matrix units; a TPU takes three
bfloat16 passes in its place, a CPU rounds nothing); "bfloat16" rounds it to 7 bits everywhere, and
in our own networks what lies between two layers as well.
"""

from __future__ import annotations

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import lax

from zfjax.errors import ZfjaxError

Precision = Literal["highest", "tf32", "bfloat16"]
HIGHEST: Precision = "highest"
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def precision_named(name: str) -> Precision:
    """The precision of that name. Raises ZfjaxError naming those there are."""
    for precision in PRECISIONS:
        if precision == name:
            return precision
    raise ZfjaxError(
        f"There is no precision {name!r} (--search-precision); there are {', '.join(PRECISIONS)}."
    )


def multiplied_at(precision: Precision) -> lax.Precision:
    """In JAX's words. What is multiplied at "bfloat16" is rounded before (``rounded``)."""
    return lax.Precision.HIGH if precision == "tf32" else lax.Precision.HIGHEST


def rounded(x: jax.Array, precision: Precision) -> jax.Array:
    """``x`` as it is multiplied: of bfloat16 where that is the precision and x is a float32."""
    narrow = precision == "bfloat16" and x.dtype == jnp.float32
    return x.astype(jnp.bfloat16) if narrow else x
