"""``zfjax info``. No JAX."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from zfjax import presets
from zfjax.commands.arguments import Subparsers, add_command, model_arguments, takes_config_fields
from zfjax.commands.flags import resolve_config
from zfjax.config import Config
from zfjax.errors import ZfjaxError
from zfjax.files import data_folder

if TYPE_CHECKING:
    from zfjax.data.dataset import Dataset


def add_info(subparsers: Subparsers) -> None:
    """``zfjax info`` and its flags."""
    parser = add_command(
        subparsers,
        "info",
        show_info,
        "Layer table, costs, and a run's epochs; nothing is run. Takes config fields, as train.",
    )
    parser.add_argument("--preset", default=None, help=f"one of {', '.join(presets.PRESETS)}")
    parser.add_argument("--workdir", type=Path, default=None, help="run folder")
    model_arguments(parser)
    parser.add_argument(
        "--images-per-second",
        type=float,
        default=None,
        help="a training's speed: the cores to feed it, and its hours",
    )
    takes_config_fields(parser)


def show_info(options: argparse.Namespace) -> int:
    """``zfjax info``: prints the layer table and what a run costs; takes config fields, like
    ``train``.
    """
    from zfjax.run.adopted import AdoptedRun, load_any
    from zfjax.run.info import describe_config, describe_run

    if options.model is not None:
        return _show_model(options)
    if (options.preset is None) == (options.workdir is None):
        raise ZfjaxError("Give --preset NAME or --workdir RUN.")
    if options.workdir and options.config_flags:
        raise ZfjaxError("A run keeps its settings; config fields go with --preset.")
    run = load_any(options.workdir) if options.workdir else None
    if isinstance(run, AdoptedRun):
        from zfjax.reopening import describe_adopted

        print("\n".join(describe_adopted(run)))
        return 0
    config = (
        run.config if run else resolve_config(presets.preset(options.preset), options.config_flags)
    )
    images = run.fingerprint["count"] if run else _prepared_images(config)
    print(
        "\n".join(
            describe_config(config, options.images_per_second, images)
            + (describe_run(run) if run else [])
        )
    )
    return 0


def _show_model(options: argparse.Namespace) -> int:
    """The layers of anyone's network, and what would be refused."""
    from zfjax.network.describing import describe_model
    from zfjax.network.opening import Looking, built, expected_pieces, model_named
    from zfjax.run.collecting import open_checkpoints
    from zfjax.run.pieces import part_of_pieces, together

    if options.preset or options.workdir or options.config_flags:
        raise ZfjaxError("--model goes with neither --preset nor --workdir nor config fields.")
    looking = Looking(
        input_size=(options.input, options.input),
        channels=options.channels,
        smooth=tuple(options.smooth),
        statistics=options.statistics,
    )
    if options.input < 1 or options.channels < 1:
        raise ZfjaxError("--input and --channels must be 1 or more.")
    network = built(options.model)
    pieces = expected_pieces(options.model, network, looking)
    if options.checkpoints is not None:
        stored = open_checkpoints(options.checkpoints, steps=options.steps)
        own = stored.path_within(options.variables)
        variables = part_of_pieces(stored.shapes, pieces, own).shapes
    elif pieces is not None:
        variables = together(pieces)
    else:
        raise ZfjaxError(
            f"--model {options.model} is a function: the shapes of its parameters are in its"
            " checkpoints; give them with --checkpoints DIR."
        )
    print("\n".join(describe_model(model_named(options.model, network, variables, looking))))
    return 0


def prepared_images(config: Config) -> int | None:
    """Images of the training split, where they are known: of a set that is prepared, and of one
    that presets name; else None.
    """
    from zfjax.run.info import TRAINING_IMAGES

    return _prepared_images(config) or TRAINING_IMAGES.get(config.data.name)


def prepared_classes(config: Config) -> int | None:
    """Classes of the data set, where it is prepared already."""
    dataset = prepared_data(config)
    return None if dataset is None else len(dataset.class_names)


def _prepared_images(config: Config) -> int | None:
    """Images of the training split, where the data set is prepared already; None for the drawings,
    always as many.
    """
    dataset = prepared_data(config)
    try:
        return None if dataset is None else dataset.count(config.data.train_split)
    except ZfjaxError:
        return None


def prepared_data(config: Config) -> Dataset | None:
    """The data set, where it is prepared already; None for the drawings, always the same."""
    from zfjax.data.dataset import open_dataset
    from zfjax.data.finding import data_home
    from zfjax.data.set_names import SCENES

    if config.data.name == SCENES:
        return None
    folder = data_folder(config.data.dir) if config.data.dir else data_home()
    try:
        return open_dataset(config.data.name, folder)
    except ZfjaxError:
        return None
