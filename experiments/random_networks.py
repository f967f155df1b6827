"""Random small networks traced, against the same networks with explicit backward rules in float64:
branches, concatenations, strides, dilations, groups, norms, gates, pools, scans, kernels used
again, in many spellings. Each must be equal or refused by name; one that is wrong in silence ends
this with status 1.

Command:   python experiments/random_networks.py [--count 500] [--first 0]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import jax

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.network.compared import Outcome, compare  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, help="seed of the first network")
    options = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    outcome, wrong = Outcome(), 0
    for seed in range(options.first, options.first + options.count):
        try:
            outcome += compare(seed, "guided" if seed % 5 == 0 else "deconvnet", layers=1)
        except AssertionError as error:
            wrong += 1
            print(f"wrong: network {seed}: {str(error).strip().splitlines()[0]}", flush=True)
        if (seed + 1) % 10 == 0:
            jax.clear_caches()
            print(f"{seed + 1 - options.first} of {options.count}", file=sys.stderr, flush=True)
    print(
        f"{options.count} networks: {outcome.equal} tiles equal ({outcome.windows} units on their"
        f" windows too), worst {outcome.worst:.1e} of the largest value; {outcome.refused} layers"
        f" refused by name; {wrong} wrong"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
