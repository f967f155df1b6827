"""``zfjax import-weights``. No JAX."""

from __future__ import annotations

import argparse
from pathlib import Path

from zfjax.commands.arguments import Subparsers, add_command
from zfjax.errors import quoted


def add_import_weights(subparsers: Subparsers) -> None:
    """``zfjax import-weights`` and its flags."""
    parser = add_command(
        subparsers,
        "import-weights",
        import_torch_weights,
        "Weights that torch's libraries publish, as a checkpoint for evolve --model.",
    )
    parser.add_argument("file", type=Path, help=".safetensors, .npz, or what torch.save wrote")
    parser.add_argument(
        "--as",
        dest="origin",
        required=True,
        help="torchvision/alexnet, vgg16, vgg16_bn, resnet18 or resnet50, or pytorchcv/zfnet",
    )
    parser.add_argument(
        "--out", "--workdir", dest="out", type=Path, required=True, help="folder to write"
    )


def import_torch_weights(options: argparse.Namespace) -> int:
    """``zfjax import-weights``: checks names and shapes, writes the weights in zfjax's order."""
    from zfjax.run.imported import import_weights

    imported = import_weights(options.file, origin=options.origin, out=options.out)
    mean, std = (
        ", ".join(f"{value:g}" for value in numbers) for numbers in (imported.mean, imported.std)
    )
    lines = [
        f"{imported.origin}: {imported.arrays:,} arrays, {imported.numbers:,} numbers, all names"
        " and shapes as expected",
        *imported.notes,
        f"images: shorter side {imported.resize}, central {imported.input} x {imported.input},"
        f" mean {mean}, std {std} of 0..255; evolve takes them from {options.out}",
        f"Next: zfjax evolve --model {imported.model} --checkpoints {quoted(options.out)}"
        " --data.name PHOTOS --workdir OUT",
    ]
    print("\n".join(lines))
    return 0
