"""What people use today, as an expert would write it: builders for the benchmarks' contenders.

captum 0.9 (NeuronDeconvolution), zennit-crp 0.6 (FeatureVisualization), and a deconvnet and a
search written by hand in PyTorch, with one forward pass for each unique image. None of them is
needed to use or to test zfjax."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from networks import Units, normalised, torch_layers

from zfjax.network.architecture import Architecture, Conv, Pool

HAVE_TORCH, HAVE_CAPTUM, HAVE_CRP = ("torch",), ("torch", "captum"), ("torch", "zennit", "crp")


def _torch(threads: int) -> Any:
    import torch

    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")  # captum warns that it sets hooks
    return torch


def _format(torch: Any, channels_last: bool) -> Any:
    return torch.channels_last if channels_last else torch.contiguous_format


def _tensor(torch: Any, images: np.ndarray, channels_last: bool) -> Any:
    tensor = torch.from_numpy(normalised(images).transpose(0, 3, 1, 2).copy())
    return tensor.contiguous(memory_format=_format(torch, channels_last))


def _module(
    torch: Any, architecture: Architecture, arrays: dict, until: str, channels_last: bool
) -> tuple[Any, Any]:
    """(the model cut at ``until``'s ReLU, that ReLU)."""
    from collections import OrderedDict

    kept: OrderedDict[str, Any] = OrderedDict()
    for name, module in torch_layers(architecture, arrays).items():
        kept[name] = module
        if name == f"{until}_relu":
            break
    model = torch.nn.Sequential(kept).eval().to(memory_format=_format(torch, channels_last))
    return model, kept[f"{until}_relu"]


def captum_naive(
    architecture: Architecture,
    arrays: dict,
    images: np.ndarray,
    layer: str,
    units: Units,
    threads: int,
) -> Callable[[], np.ndarray]:
    """One call a unit on the whole stack, as captum's documentation shows it."""
    torch = _torch(threads)
    from captum.attr import NeuronDeconvolution

    model, _ = _module(torch, architecture, arrays, architecture.conv_names[-1], False)
    deconvolution = NeuronDeconvolution(model, dict(model.named_children())[f"{layer}_relu"])
    inputs = _tensor(torch, images, False)

    def work() -> np.ndarray:
        found = []
        for map_, y, x, row in zip(units.maps, units.ys, units.xs, units.rows, strict=True):
            selected = (int(map_), int(y), int(x))
            found.append(
                deconvolution.attribute(inputs[row : row + 1].clone(), selected)[0].detach().numpy()
            )
        return np.stack(found).transpose(0, 2, 3, 1)

    return work


def captum_cut(
    architecture: Architecture,
    arrays: dict,
    images: np.ndarray,
    layer: str,
    units: Units,
    threads: int,
    channels_last: bool,
    batch_size: int = 16,
    device: str = "cpu",
) -> Callable[[], np.ndarray]:
    """Batched over units with a selector of its own, on the model cut at the layer: captum at its
    best."""
    torch = _torch(threads)
    from captum.attr import NeuronDeconvolution

    model, module = _module(torch, architecture, arrays, layer, channels_last)
    deconvolution = NeuronDeconvolution(model.to(device), module)
    inputs = _tensor(torch, images, channels_last).to(device)

    def work() -> np.ndarray:
        found = []
        for start in range(0, len(units.maps), batch_size):
            some = slice(start, start + batch_size)
            maps, ys, xs = (
                torch.from_numpy(part[some]).long().to(device)
                for part in (units.maps, units.ys, units.xs)
            )
            order = torch.arange(len(maps), device=device)

            def select(out):
                return out[order, maps, ys, xs]  # noqa: B023 (used at once)

            rows = torch.from_numpy(units.rows[some]).to(device)
            batch = inputs[rows].contiguous(memory_format=_format(torch, channels_last))
            found.append(deconvolution.attribute(batch, select).detach().cpu().numpy())
        return np.concatenate(found).transpose(0, 2, 3, 1)

    return work


class HandWritten:
    """A deconvnet in plain PyTorch: one forward pass an image, then each unit's way down over whole
    maps."""

    def __init__(
        self, torch: Any, architecture: Architecture, arrays: dict, until: str, channels_last: bool
    ):
        self.torch, self.architecture, self.until = torch, architecture, until
        self.layout = _format(torch, channels_last)
        self.layers = torch_layers(architecture, arrays)
        for module in self.layers.values():
            module.to(memory_format=self.layout)

    def up(self, inputs: Any) -> tuple[dict[str, Any], list]:
        """Every convolution's map up to ``until``, and what the way down needs: pool indices and
        sizes."""
        functional, record, values, x = self.torch.nn.functional, [], {}, inputs
        for layer in self.architecture.layers:
            size = x.shape[2:]
            if isinstance(layer, Conv):
                if pad := self.layers.get(f"{layer.name}_pad"):
                    x = pad(x)
                x = functional.relu(self.layers[layer.name](x))
                record.append((layer, size, None))
                values[layer.name] = x
            elif isinstance(layer, Pool):
                ceil = layer.padding == (0, 1)
                x, indices = functional.max_pool2d(
                    x, layer.window, layer.stride, ceil_mode=ceil, return_indices=True
                )
                record.append((layer, size, indices))
            else:
                x = self.layers[layer.name](x)
            if layer.name == self.until:
                break
        return values, record

    def down(
        self, name: str, maps_of: dict[str, Any], record: list, units: Units, some: slice
    ) -> Any:
        """Pixels [units, 3, h, w] of units[some] of the layer ``name``."""
        torch, functional, values = self.torch, self.torch.nn.functional, maps_of[name]
        record = record[
            : 1 + next(place for place, (layer, _, _) in enumerate(record) if layer.name == name)
        ]
        maps, ys, xs, rows = (
            torch.from_numpy(np.ascontiguousarray(part[some])).long()
            for part in (units.maps, units.ys, units.xs, units.rows)
        )
        order = torch.arange(len(maps))
        signal = torch.zeros(len(maps), *values.shape[1:]).contiguous(memory_format=self.layout)
        signal[order, maps, ys, xs] = values[rows, maps, ys, xs]
        for layer, (height, width), indices in reversed(record):
            if isinstance(layer, Pool):
                flat = torch.zeros(len(maps), signal.shape[1], height * width)
                flat.scatter_add_(
                    2, indices[rows].flatten(2), signal.flatten(2)
                )  # overlapping windows add
                signal = flat.unflatten(2, (height, width)).contiguous(memory_format=self.layout)
                continue
            (before, after), weight = layer.padding, self.layers[layer.name].weight
            padded = height + before + after, width + before + after
            extra = [
                extent - ((out - 1) * layer.stride + layer.kernel)
                for extent, out in zip(padded, signal.shape[2:], strict=True)
            ]
            signal = functional.conv_transpose2d(
                functional.relu(signal), weight, None, layer.stride, 0, extra
            )
            signal = signal[:, :, before : before + height, before : before + width]
        return signal


def by_hand(
    architecture: Architecture,
    arrays: dict,
    images: np.ndarray,
    layer: str,
    units: Units,
    threads: int,
    channels_last: bool,
    batch_size: int = 16,
    only_down: bool = False,
) -> Callable[[], np.ndarray]:
    """HandWritten on all units; ``only_down``: the forward passes are done beforehand."""
    torch = _torch(threads)
    network = HandWritten(torch, architecture, arrays, layer, channels_last)
    inputs = _tensor(torch, images, channels_last)

    def up() -> tuple[dict[str, Any], list]:
        parts = [
            network.up(inputs[start : start + batch_size])
            for start in range(0, len(inputs), batch_size)
        ]
        record = [
            (
                spec,
                size,
                None if indices is None else torch.cat([part[1][place][2] for part in parts]),
            )
            for place, (spec, size, indices) in enumerate(parts[0][1])
        ]
        return {layer: torch.cat([part[0][layer] for part in parts])}, record

    @torch.no_grad()
    def work() -> np.ndarray:
        values, record = before or up()
        found = [
            network.down(layer, values, record, units, slice(start, start + batch_size)).numpy()
            for start in range(0, len(units.maps), batch_size)
        ]
        return np.concatenate(found).transpose(0, 2, 3, 1)

    before = None
    if only_down:
        with torch.no_grad():
            before = up()
    return work


def torch_forward(
    architecture: Architecture,
    arrays: dict,
    images: np.ndarray,
    layer: str,
    threads: int,
    channels_last: bool,
    batch_size: int = 16,
) -> Callable[[], None]:
    """The bare forward pass to ``layer`` in PyTorch."""
    torch = _torch(threads)
    model, _ = _module(torch, architecture, arrays, layer, channels_last)
    inputs = _tensor(torch, images, channels_last)

    @torch.no_grad()
    def work() -> None:
        for start in range(0, len(inputs), batch_size):
            model(inputs[start : start + batch_size])

    return work


def torch_search(
    architecture: Architecture,
    arrays: dict,
    images: np.ndarray,
    k: int,
    threads: int,
    channels_last: bool,
    batch_size: int = 16,
) -> Callable[[], dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """A forward pass with a running top-k a map, written by hand: {layer: (values [k, maps], image
    ids, places)}."""
    torch = _torch(threads)
    modules = torch_layers(architecture, arrays)
    for module in modules.values():
        module.to(memory_format=_format(torch, channels_last))
    inputs = _tensor(torch, images, channels_last)
    convolutions = architecture.conv_names

    @torch.no_grad()
    def work() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        best: dict[str, tuple[Any, ...]] = {}
        for start in range(0, len(inputs), batch_size):
            x = inputs[start : start + batch_size]
            ids = torch.arange(start, start + len(x))
            for name, module in modules.items():
                x = module(x)
                layer = name.removesuffix("_relu")
                if name.endswith("_relu") and layer in convolutions:
                    values, places = x.flatten(2).max(2)
                    new = values, ids[:, None].expand(-1, x.shape[1]), places
                    if layer in best:
                        new = tuple(torch.cat(pair) for pair in zip(best[layer], new, strict=True))
                    values, order = new[0].topk(min(k, len(new[0])), dim=0)
                    best[layer] = values, new[1].gather(0, order), new[2].gather(0, order)
        return {layer: tuple(part.numpy() for part in parts) for layer, parts in best.items()}

    return work


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def _import_crp() -> Any:
    """zennit and crp import torchvision for a blur and a few canonizers that a search does not
    use."""
    import importlib.util

    if importlib.util.find_spec("torchvision") is None:

        class Unused:
            """Stands for torchvision's residual blocks."""

        for name, members in {
            "torchvision": {},
            "torchvision.models": {},
            "torchvision.transforms": {},
            "torchvision.models.resnet": {
                "Bottleneck": Unused,
                "BasicBlock": type("BasicBlock", (), {}),
            },
            "torchvision.transforms.functional": {"gaussian_blur": None},
        }.items():
            module = types.ModuleType(name)
            vars(module).update(members)
            sys.modules[name] = module
    import crp.attribution
    import crp.concepts
    import crp.visualization

    return crp


def crp_search(
    architecture: Architecture, arrays: dict, images: Any, threads: int, batch_size: int = 16
) -> Callable[[], dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """zennit-crp's search with the paper's target, the strongest single activation: {layer:
    (values, ids, places)}.

    ``images``: uint8 [n, h, w, 3], or a list of JPEG bytes, decoded anew by every call as its data
    set would."""
    torch = _torch(threads)
    crp = _import_crp()
    decoded = isinstance(images, np.ndarray)
    tensors = _tensor(torch, images, False) if decoded else None
    top = architecture.conv_names[-1]
    cut, _ = _module(torch, architecture, arrays, top, False)
    model = torch.nn.Sequential(cut, torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten()).eval()

    class Pictures(torch.utils.data.Dataset):
        """(picture, target) by index."""

        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            if decoded:
                return tensors[index].clone(), 0
            from zfjax.data.images import view

            pixels = view(images[index], architecture.input_size)
            return _tensor(torch, pixels[None], False)[0], 0

    layer_map = {
        f"0.{name}_relu": crp.concepts.ChannelConcept() for name in architecture.conv_names
    }

    def work() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        with tempfile.TemporaryDirectory() as folder, _quiet():
            attribution = crp.attribution.CondAttribution(model, no_param_grad=True)
            search = crp.visualization.FeatureVisualization(
                attribution, Pictures(), layer_map, max_target="max", abs_norm=False, path=folder
            )
            search.run(None, 0, len(images), batch_size)
            found = {}
            for name in architecture.conv_names:
                ids, values, places = crp.helper.load_maximization(
                    search.ActMax.PATH, f"0.{name}_relu"
                )
                found[name] = np.asarray(values), np.asarray(ids), np.asarray(places)
        return found

    return work
