"""ResNet as torchvision writes it: the stride of a bottleneck is at its 3x3 convolution.

(torchvision/models/resnet.py)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.estimate import ops
from envdoctor.estimate.layers import ConvNorm, Linear, sequence
from envdoctor.estimate.models import Architecture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envdoctor.estimate.models import Forward
    from envdoctor.estimate.tape import Run, Tensor

# Blocks of each stage, and whether a block is a bottleneck.
DEPTHS = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
    "resnet152": ((3, 8, 36, 3), True),
}


def architecture(name: str) -> Architecture:
    """Return one of DEPTHS."""
    blocks, bottleneck = DEPTHS[name]

    def build(run: Run) -> Forward:
        return _ResNet(run, blocks, bottleneck)

    return Architecture(name=name, kind="image", build=build, default_size=224)


class _Block:
    def __init__(self, run: Run, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
        outputs = width * 4 if bottleneck else width
        if bottleneck:
            self.layers = [
                ConvNorm(run, inputs, width),
                ConvNorm(run, width, width, 3, stride),
                ConvNorm(run, width, outputs, activation=None),
            ]
        else:
            self.layers = [ConvNorm(run, inputs, width, 3, stride), ConvNorm(run, width, width, 3, activation=None)]
        reshaped = stride != 1 or inputs != outputs
        self.downsample = ConvNorm(run, inputs, outputs, 1, stride, activation=None) if reshaped else None

    def __call__(self, x: Tensor) -> Tensor:
        identity = x
        out = sequence(self.layers, x)
        if self.downsample is not None:
            identity = self.downsample(x)
        return ops.relu(ops.add_in_place(out, identity), inplace=True)


class _ResNet:
    def __init__(self, run: Run, depths: Sequence[int], bottleneck: bool) -> None:
        self.stem = ConvNorm(run, 3, 64, 7, 2)
        self.stages = []
        channels = 64
        for stage, depth in enumerate(depths):
            width = 64 << stage
            blocks = []
            for place in range(depth):
                blocks.append(_Block(run, channels, width, 2 if stage and not place else 1, bottleneck))
                channels = width * 4 if bottleneck else width
            self.stages.append(blocks)
        self.head = Linear(run, channels, 1000)

    def __call__(self, pixels: Tensor) -> Tensor:
        x = first = ops.max_pool2d(self.stem(pixels), 3, 2, 1)
        for blocks in self.stages:
            x = sequence(blocks, x)
        del first  # written as one expression, layer4(layer3(...)), the first stage's input is held through them all
        x = ops.avg_pool2d(x)
        return self.head(x.view(x.shape[0], x.shape[1]))
