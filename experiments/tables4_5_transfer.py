"""Tables 4 and 5: the features of a run on other classes, against the same network from scratch.

Command:   python -m experiments.tables4_5_transfer --workdir runs/demo
Hardware:  2 CPU cores shared with eight others.
Time:      6 min 28 s there.
Result:    scenes, preset demo, 10 epochs (top-1 92.9%); 3 folds, 200 steps, one rate (0.06):

           images a class                       5                    15                    30
           from scratch                11.2 ± 1.8            14.1 ± 3.1            13.5 ± 0.2
           epoch 0                      9.0 ± 0.9            10.0 ± 0.7             9.7 ± 0.3
           epoch 10                    44.8 ± 2.0            46.1 ± 1.1            47.8 ± 0.8
           difference, last  +33.6 [+10.6, +56.5]  +32.1 [+11.6, +52.6]  +34.3 [+31.0, +37.6]

           Near 50% is what telling the ten objects alone would give: the run's features know the
           objects, and little of whether a part is missing. 200 steps are few for the control.

           Photographs: 50 classes of Tiny ImageNet, preset tiny-imagenet (16 epochs), to 40 of
           Caltech-101, 5 folds, 100 steps, rates 0.02 and 0.06, 35 minutes beside eight others:

           images a class                       5                    15                    30
           from scratch                 4.6 ± 1.1             4.0 ± 1.1             4.3 ± 2.2
           epoch 0                      6.7 ± 2.6             7.3 ± 1.3             8.2 ± 4.0
           epoch 16                    25.2 ± 1.6            31.9 ± 0.9            33.5 ± 2.7
           difference, last  +20.7 [+13.8, +27.6]  +27.9 [+22.4, +33.4]  +29.3 [+21.1, +37.4]

           100 steps are hardly a training of the control (chance is 2.5%). With 500 steps and
           rates up to 0.6 the heads alone come to 26.4, 36.0 and 40.7.

The other classes are drawn scenes of another seed: each of the ten objects whole, or without its
first part: 20 classes that the run has never had to tell apart. Epoch 0 is the untrained network:
what a softmax reads from random features.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from experiments.drawn_tables import drawn_table
from experiments.gallery import arguments, run_of, save_picture
from zfjax.data.importing import import_images
from zfjax.data.scenes import CLASSES, draw_scene
from zfjax.progress import Reporter
from zfjax.studies.transferred import DIFFERENCE, PRETRAINED, SCRATCH, Transferred
from zfjax.studies.transferring import transfer

NAME = "scenes_lacking"
SEED = 71


def draw_others(folder: Path, images: int) -> str:
    """A data set in ``folder`` of 20 classes with ``images`` each; returns its name."""
    name = f"{NAME}_{images}"
    if (folder / name).exists():
        return name
    source = folder / f"{name}-source"
    for label, object_name in enumerate(CLASSES):
        for lacking in (0, 1):
            of_class = source / f"{object_name}-{'lacking' if lacking else 'whole'}"
            of_class.mkdir(parents=True, exist_ok=True)
            for index in range(images):
                number = (2 * index + lacking) * len(CLASSES) + label
                without = 0 if lacking else None
                scene = draw_scene(SEED, "train", number, without_part=without)
                buffer = io.BytesIO()
                Image.fromarray(scene.image).save(buffer, "PNG")
                (of_class / f"{index:04d}.png").write_bytes(buffer.getvalue())
    import_images(source, name, folder)
    return name


def transferred(workdir: Path, tiny: bool) -> Transferred:
    """The transfer that both Table 4 and Fig. 9 show; at once where it is there."""
    folder = workdir / "transfer" / "data"
    name = draw_others(folder, 6 if tiny else 60)
    words = {
        "images_per_class": (2, 3) if tiny else (5, 15, 30),
        "folds": 2 if tiny else 3,
        "steps": 2 if tiny else 200,
        "learning_rates": (0.02,) if tiny else (0.06,),
    }
    with Reporter() as progress:
        return transfer(
            workdir, name, at=("0", "last"), data_dir=folder, progress=progress, **words
        )


def table_of(told: Transferred) -> Figure:
    """Scratch, the untrained network, the last epoch, and the difference."""
    rows = []
    names = [f"epoch {epoch:g}, {told.meta['asked']['layer']}" for epoch in told.meta["epochs"]]
    arms = [(SCRATCH, None), *((PRETRAINED, step) for step in told.steps)]
    for name, (arm, step) in zip(["from scratch", *names], arms, strict=True):
        means = told.summaries(arm, step).values()
        texts = [f"{100 * mean.mean:.1f} ± {100 * mean.sd:.1f}" for mean in means]
        rows.append((name, texts, [mean.mean for mean in means]))
    gains = told.summaries(DIFFERENCE, told.steps[-1]).values()
    ends = [f"{100 * g.mean:+.1f} [{100 * g.low:+.1f}, {100 * g.high:+.1f}]" for g in gains]
    rows.append(("last minus scratch", ends, [float("nan")] * len(ends)))
    asked = told.meta["asked"]
    words = (
        f"Mean per-class accuracy, %, over {asked['folds']} folds, ± their standard deviation; the",
        "last line with 95% over folds that share images (Nadeau, Bengio 2003).",
        f"20 classes of drawn scenes, objects whole or lacking a part; {asked['training_steps']}",
        "steps in both arms.",
    )
    return drawn_table([f"{size} a class" for size in told.sizes], rows, words)


def main(arguments_: Sequence[str] | None = None) -> None:
    """Draws the table of ``--workdir``'s features."""
    options = arguments(__doc__, arguments_)
    told = transferred(run_of(options), options.tiny)
    print(told.meta["sentence"])
    print(save_picture(table_of(told), options.out, "tables4_5_transfer"))


if __name__ == "__main__":
    main()
