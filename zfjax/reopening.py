"""``subject_at``: somebody else's network, opened again by what its folder says."""

from __future__ import annotations

from zfjax.adopting import subject_from
from zfjax.errors import ZfjaxError, quoted
from zfjax.network.describing import describe_model
from zfjax.network.traced import TracedForward
from zfjax.run.adopted import AdoptedRun
from zfjax.subject import Subject
from zfjax.values import Place, Text, path_text, text


def describe_adopted(run: AdoptedRun) -> list[str]:
    """Every layer of what was evolved into a folder, as of ``zfjax info --model``, and its saved
    steps; its images are not opened.
    """
    subject = subject_at(run, with_images=False)
    forward = subject.forward
    assert isinstance(forward, TracedForward)
    epochs = ", ".join(f"{epoch:g}" for epoch in subject.epochs)
    return [*describe_model(forward.model), "", f"saved epochs: {epochs}"]


def subject_at(
    run: AdoptedRun,
    *,
    data_dir: Place | None = None,
    split: Text | None = None,
    with_images: bool = True,
) -> Subject:
    """What was evolved into a folder, as what is looked at. ``data_dir``: of its data set, where
    that has moved; ``split``: another one; ``with_images=False``: its images are not opened. Raises
    ZfjaxError where words do not open it, or open another network now.
    """
    words, identity = run.opened_from, run.identity
    if not words:
        raise ZfjaxError(
            f"{run.folder} does not say how its network is opened: the same `zfjax evolve --model"
            " ...` into it writes that down, and draws nothing anew."
        )
    if not run.reopens:
        objects = [what for what in ("model", "checkpoints") if not words.get(what)]
        raise ZfjaxError(
            f"{run.folder} is of a network whose {' and '.join(objects)} came as Python objects,"
            " which cannot be opened again from there: in Python, zfjax.project(subject, ...) and"
            " zfjax.measure(subject, ..., out=FOLDER) take the subject itself."
        )
    home = words.get("data_dir") if data_dir is None else path_text(data_dir, "--data.dir")
    subject = subject_from(
        words["checkpoints"],
        model=words["model"],
        images=words.get("images") if with_images else None,
        mean=identity["mean"],
        std=identity["std"],
        input=identity["input"],
        resize=identity["resize"],
        steps=words.get("steps"),
        variables=words.get("variables"),
        layers=tuple(words.get("layers") or ()),
        smooth=tuple(identity["smooth"]),
        statistics=identity["statistics"],
        data_dir=home,
        split=words.get("split") if split is None else text(split, "--split"),
        steps_per_epoch=int(words.get("steps_per_epoch") or 1),
        labels=words.get("labels"),
    )
    assert subject.foreign is not None
    if subject.foreign["network"] != identity["network"]:
        raise ZfjaxError(
            f"{words['model']} builds another network now than the one that {quoted(run.folder)}"
            " was evolved of; evolve it into another --workdir."
        )
    if with_images and not words.get("images"):
        raise ZfjaxError(
            f"{run.folder} is of images that came as Python objects: in Python,"
            " zfjax.project(subject, ...) and zfjax.measure(subject, ..., out=FOLDER) take the"
            " subject itself; a file is projected with --image FILE."
        )
    return subject
