"""Networks of linen_nets.py in PyTorch, modules named as in Linen's variables, and what captum
and zennit project on them. Needs torch; captum and zennit where they are asked for.
"""

import sys
import types
import warnings
from collections import OrderedDict

import numpy as np
import torch
from torch import nn

from tests.network.linen_nets import VGG16


class Functional(nn.Module):
    """As ``F.relu`` in somebody's forward: no nn.ReLU that a tool could see."""

    def forward(self, x):
        return nn.functional.relu(x)


def relus(kind):
    """Makes a net's ReLUs: modules of their own, one module for all, or functions."""
    only = nn.ReLU()
    return {"own": nn.ReLU, "shared": lambda: only, "functional": Functional}[kind]


def conv(channels, maps, size, stride=1, bias=False):
    return nn.Conv2d(channels, maps, size, stride, (size - 1) // 2, bias=bias)


class Block(nn.Module):
    def __init__(self, channels, maps, stride, relu):
        super().__init__()
        self.Conv_0, self.BatchNorm_0 = conv(channels, maps, 3, stride), nn.BatchNorm2d(maps)
        self.Conv_1, self.BatchNorm_1 = conv(maps, maps, 3), nn.BatchNorm2d(maps)
        self.relu_0, self.relu_1, self.Conv_2 = relu(), relu(), None
        if stride > 1 or channels != maps:
            self.Conv_2, self.BatchNorm_2 = conv(channels, maps, 1, stride), nn.BatchNorm2d(maps)

    def forward(self, x):
        y = self.relu_0(self.BatchNorm_0(self.Conv_0(x)))
        y = self.BatchNorm_1(self.Conv_1(y))
        return self.relu_1(y + (x if self.Conv_2 is None else self.BatchNorm_2(self.Conv_2(x))))


def resnet18(relu, width):
    layers = OrderedDict(Conv_0=conv(3, width, 7, 2), BatchNorm_0=nn.BatchNorm2d(width))
    layers |= OrderedDict(relu_0=relu(), pool=nn.MaxPool2d(3, 2, 1))
    channels = width
    for index in range(8):
        maps = width * 2 ** (index // 2)
        layers[f"Block_{index}"] = Block(channels, maps, 2 if index in (2, 4, 6) else 1, relu)
        channels = maps
    return nn.Sequential(layers)


def vgg16_bn(relu, width):
    layers, channels, count = OrderedDict(), 3, 0
    for place, maps in enumerate(VGG16):
        if maps == "M":
            layers[f"pool_{place}"] = nn.MaxPool2d(2)
            continue
        layers[f"Conv_{count}"] = conv(channels, width * maps, 3, bias=True)
        layers[f"BatchNorm_{count}"] = nn.BatchNorm2d(width * maps)
        layers[f"relu_{count}"] = relu()
        channels, count = width * maps, count + 1
    return nn.Sequential(layers)


class Branched(nn.Module):
    def __init__(self, relu, width, skips=False):
        super().__init__()
        self.skips = skips
        self.Conv_0, self.Conv_1 = conv(3, width, 5, 2, True), conv(width, width, 3, 1, True)
        self.Conv_2, self.Conv_3 = conv(width, width, 1, 1, True), conv(width, width, 3, 1, True)
        self.Conv_4, self.pool = conv(2 * width, width, 3, 1, True), nn.MaxPool2d(3, 2, 1)
        self.relus = nn.ModuleList(relu() for _ in range(4))

    def forward(self, x):
        x = self.pool(self.Conv_0(x))
        y = self.Conv_1(self.relus[0](x))
        x = x + y if self.skips else y
        left, right = self.Conv_2(x), self.Conv_3(x)
        x = torch.cat((self.relus[1](left), self.relus[2](right)), 1)
        return self.relus[3](self.Conv_4(x))


def skipped(relu, width):
    return Branched(relu, width, skips=True)


NETS = {"vgg16-bn": vgg16_bn, "resnet18": resnet18, "branched": Branched, "skipped": skipped}


def loaded(net, variables):
    """``net`` in evaluation mode with Linen's variables, module by module."""
    for path, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            tree, statistics = variables["params"], variables.get("batch_stats", {})
            for name in path.split("."):
                tree, statistics = tree[name], statistics.get(name, {})
            weight = tree.get("kernel", tree.get("scale"))
            arrays = {"weight": np.transpose(weight, (3, 2, 0, 1)) if weight.ndim == 4 else weight}
            arrays |= {"bias": tree["bias"]} if "bias" in tree else {}
            if statistics:
                arrays |= {f"running_{name}": statistics[name] for name in ("mean", "var")}
            for name, array in arrays.items():
                getattr(module, name).data = torch.tensor(np.asarray(array))
    return net.eval()


def torch_net(name, variables, width, relu="own", until=""):
    """One of NETS, loaded; cut after the module ``until``, if one is named."""
    net = loaded(NETS[name](relus(relu), width), variables)
    if until:
        names = [child for child, _ in net.named_children()]
        net = net[: names.index(until) + 1]
    return net


def selected(units):
    """(map, y, x) of each unit, as captum's targets."""
    return [(int(map_), int(y), int(x)) for y, x, map_ in units]


def by_captum(net, images, units, rule):
    """Signals [units, 3, h, w] from units (y, x, map) of net(images) [units, maps, h, w], each
    seeded with 1.
    """
    from captum.attr import Deconvolution, GuidedBackprop

    method = {"deconvnet": Deconvolution, "guided": GuidedBackprop}[rule](net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum warns that it sets hooks
        return method.attribute(images.clone(), selected(units)).detach()


def by_zennit(net, images, units, rule):
    """As ``by_captum``."""
    composites = zennit_composites()
    composite = {"deconvnet": composites.DeconvNet, "guided": composites.GuidedBackprop}[rule]()
    images = images.clone().requires_grad_()
    with composite.context(net) as modified:
        values = modified(images)
        seed = torch.zeros_like(values)
        for row, place in enumerate(selected(units)):
            seed[(row, *place)] = 1
        (signals,) = torch.autograd.grad(values, images, seed)
    return signals


def zennit_composites():
    """Imported where torchvision is missing too: zennit asks for two classes of it, unused here."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        empty = {name: type(name, (), {}) for name in ("Bottleneck", "BasicBlock")}
        for name in ("torchvision", "torchvision.models", "torchvision.models.resnet"):
            sys.modules[name] = types.ModuleType(name)
            vars(sys.modules[name]).update(empty)
    from zennit import composites

    return composites


TOOLS = {"captum": by_captum, "zennit": by_zennit}
