"""Networks in torch, with the names that torchvision and pytorchcv give to their arrays, at any
width. Written for the tests; torch is not needed by zfjax.
"""

import torch
from torch import nn


def small(name):
    """What the tests compare: the same settings as ``tests.network.test_torch.SMALL``."""
    return {
        "torchvision/alexnet": lambda: AlexNet(4, 12, 5),
        "torchvision/vgg16": lambda: VGG16(4, 12, 5, False),
        "torchvision/vgg16_bn": lambda: VGG16(4, 12, 5, True),
        "torchvision/resnet18": lambda: ResNet((2, 2, 2, 2), False, 4, 5),
        "torchvision/resnet50": lambda: ResNet((3, 4, 6, 3), True, 4, 5),
        "pytorchcv/zfnet": lambda: ZFNet(6, 12, 5),
    }[name]().eval()


class AlexNet(nn.Module):
    def __init__(self, width, hidden, classes):
        super().__init__()
        a, b, c, d = width, 3 * width, 6 * width, 4 * width
        self.features = nn.Sequential(
            nn.Conv2d(3, a, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(a, b, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(b, c, 3, padding=1), nn.ReLU(),
            nn.Conv2d(c, d, 3, padding=1), nn.ReLU(),
            nn.Conv2d(d, d, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(36 * d, hidden), nn.ReLU(),
            nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, classes),
        )  # fmt: skip

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class VGG16(nn.Module):
    def __init__(self, width, hidden, classes, normalised):
        super().__init__()
        layers, before = [], 3
        for maps in (1, 1, 0, 2, 2, 0, 4, 4, 4, 0, 8, 8, 8, 0, 8, 8, 8, 0):
            if not maps:
                layers.append(nn.MaxPool2d(2, 2))
                continue
            layers.append(nn.Conv2d(before, width * maps, 3, padding=1))
            if normalised:
                layers.append(nn.BatchNorm2d(width * maps))
            layers.append(nn.ReLU())
            before = width * maps
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(49 * before, hidden), nn.ReLU(), nn.Dropout(),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, classes),
        )  # fmt: skip

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class Block(nn.Module):
    def __init__(self, before, maps, stride, bottleneck):
        super().__init__()
        after = 4 * maps if bottleneck else maps
        if bottleneck:
            sizes = ((before, maps, 1, 1), (maps, maps, 3, stride), (maps, after, 1, 1))
        else:
            sizes = ((before, maps, 3, stride), (maps, maps, 3, 1))
        self.count = len(sizes)
        for number, (into, out, kernel, step) in enumerate(sizes, start=1):
            conv = nn.Conv2d(into, out, kernel, step, kernel // 2, bias=False)
            setattr(self, f"conv{number}", conv)
            setattr(self, f"bn{number}", nn.BatchNorm2d(out))
        self.downsample = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x):
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = torch.relu(y) if number < self.count else y
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, blocks, bottleneck, width, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        before, grown = width, 4 if bottleneck else 1
        for stage, count in enumerate(blocks, start=1):
            maps, layer = width * 2 ** (stage - 1), []
            for number in range(count):
                stride = 2 if stage > 1 and number == 0 else 1
                layer.append(Block(before, maps, stride, bottleneck))
                before = maps * grown
            setattr(self, f"layer{stage}", nn.Sequential(*layer))
        self.fc = nn.Linear(before, classes)

    def forward(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class Unit(nn.Module):
    def __init__(self, before, maps, kernel, stride, padding, lrn):
        super().__init__()
        self.conv = nn.Conv2d(before, maps, kernel, stride, padding)
        self.lrn = lrn

    def forward(self, x):
        x = torch.relu(self.conv(x))
        return nn.functional.local_response_norm(x, 5, k=2.0) if self.lrn else x


class Dense(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.fc = nn.Linear(before, after)

    def forward(self, x):
        return torch.relu(self.fc(x))


class ZFNet(nn.Module):
    def __init__(self, width, hidden, classes):
        super().__init__()
        a, b, c = width, width // 3 * 8, width // 3 * 12
        stages = (
            ((3, a, 7, 2, 1, True),),
            ((a, b, 5, 2, 0, True),),
            ((b, c, 3, 1, 1, False), (c, c, 3, 1, 1, False), (c, b, 3, 1, 1, False)),
        )
        self.features = nn.Sequential()
        for stage, units in enumerate(stages, start=1):
            layers = nn.Sequential()
            for number, unit in enumerate(units, start=1):
                layers.add_module(f"unit{number}", Unit(*unit))
            layers.add_module(f"pool{stage}", nn.MaxPool2d(3, 2, ceil_mode=True))
            self.features.add_module(f"stage{stage}", layers)
        self.output = nn.Sequential()
        self.output.add_module("fc1", Dense(36 * b, hidden))
        self.output.add_module("fc2", Dense(hidden, hidden))
        self.output.add_module("fc3", nn.Linear(hidden, classes))

    def forward(self, x):
        return self.output(torch.flatten(self.features(x), 1))
