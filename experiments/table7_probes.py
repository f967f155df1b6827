"""Table 7: what a linear classifier reads from each layer, from the untrained network to the last.

Command:   python experiments/table7_probes.py --workdir runs/demo
Hardware:  HARDWARE
Result:    RESULT
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from experiments.drawn_tables import drawn_table
from experiments.gallery import arguments, run_of, save_picture
from zfjax.measures.probes import KINDS
from zfjax.measures.running import measure
from zfjax.progress import Reporter
from zfjax.run.measured import Measured

IMAGES = 1000
"""Half to train the classifiers, half to test them."""


def table_of(measured: Measured) -> Figure:
    """Layers down, classifiers and epochs across."""
    layers = measured.meta["figures"]["layers"]
    epochs = dict(zip(measured.steps, measured.epochs, strict=True))
    steps = list(measured.of_layer("svm_top1", layers[0]))
    head = [f"{name}, {epochs[step]:g}" for name in ("SVM", "softmax") for step in steps]
    rows = []
    for layer in layers:
        values = [
            measured.of_layer(f"{kind}_top1", layer)[step] for kind in KINDS for step in steps
        ]
        rows.append((layer, [f"{100 * value:.1f}" for value in values], values))
    slope, low, high = (100 * number for number in measured.meta["figures"]["slope"])
    words = (
        f"Accuracy of a linear classifier on each layer's features, %, by epoch (after the comma):"
        f" {measured.meta['figures']['test_images']:,} test images.",
        f"A layer more is worth {slope:+.1f} points [{low:+.1f}, {high:+.1f}] to the SVM at the"
        " last epoch, 95% over images.",
    )
    return drawn_table(head, rows, words)


def main(arguments_: Sequence[str] | None = None) -> None:
    """Draws the table of ``--workdir``."""
    options = arguments(__doc__, arguments_)
    words = {"cs": (0.01,)} if options.tiny else {"images": IMAGES}
    with Reporter() as progress:
        measured = measure(run_of(options), "probes", progress=progress, **words)
    print(measured.meta["sentence"])
    print(save_picture(table_of(measured), options.out, "table7_probes"))


if __name__ == "__main__":
    main()
