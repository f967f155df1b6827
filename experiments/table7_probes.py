"""Table 7: what a linear classifier reads from each layer, from the untrained network to the last.

Command:   python -m experiments.table7_probes --workdir runs/demo
Hardware:  2 CPU cores shared with eight others.
Time:      4 minutes.
Result:    scenes, preset demo, 10 epochs, seed 1, 2,000 images, half of them to test. A linear SVM
           on epoch 10: conv1 73.3%, conv2 83.6, conv3 88.5, conv4 90.6, conv5 91.0, fc6 94.0, fc7
           93.7. A layer more is worth +3.0 points [+2.6, +3.5], over images; 5 of 6 steps up the
           layers gain, and the least gain is -0.3 [-1.2, +0.5]: accuracy grows with depth, and
           whether it does at the last step cannot be told.
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
    words = {"cs": (0.01,)} if options.tiny else {}
    with Reporter() as progress:
        measured = measure(run_of(options), "probes", progress=progress, **words)
    print(measured.meta["sentence"])
    print(save_picture(table_of(measured), options.out, "table7_probes"))


if __name__ == "__main__":
    main()
