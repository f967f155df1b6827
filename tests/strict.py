"""What the tests hold the code to beyond what a user meets: shapes and dtypes are checked where it
computes, and JAX promotes neither ranks nor dtypes by itself. Imported before zfjax is.
"""

import jax
from jaxtyping import install_import_hook

CHECKED = (
    "zfjax.network.convolution",
    "zfjax.network.ops",
    "zfjax.network.model",
    "zfjax.features",
)
"""Where jaxtyping's annotations are checked, at every call or trace: a module or a package."""

install_import_hook(CHECKED, "beartype.beartype")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
