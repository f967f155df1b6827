"""Fig. 9: how few images of a class a run's features need, against the same network from scratch.

Command:   python -m experiments.fig9_few_shot --workdir runs/demo
Hardware:  as tables4_5_transfer.py, whose transfer it shows.
Time:      seconds after that.
Result:    scenes, preset demo: 5 images a class with the run's features minus 30 from scratch (200
           steps): +31.3 points [+10.8, +51.8], over 3 folds that share images.
"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.gallery import arguments, run_of, save_picture
from experiments.tables4_5_transfer import transferred
from zfjax.studies.transfer_rows import transfer_figure


def main(arguments_: Sequence[str] | None = None) -> None:
    """Draws the curve of ``--workdir``'s features."""
    options = arguments(__doc__, arguments_)
    told = transferred(run_of(options), options.tiny)
    few = told.meta["figures"]["few_minus_scratch"]
    print(
        f"{few['few']} images a class pretrained minus {few['many']} from scratch:"
        f" {100 * few['value']:+.1f} points [{100 * few['low']:+.1f}, {100 * few['high']:+.1f}]"
    )
    print(save_picture(transfer_figure(told), options.out, "fig9_few_shot"))


if __name__ == "__main__":
    main()
