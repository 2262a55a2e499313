"""EfficientNet-B0 as torchvision writes it, and Lite0 as timm does: no squeeze-and-excite, relu6, no stochastic depth.

(torchvision/models/efficientnet.py; timm/models/efficientnet.py, efficientnet_lite0)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.estimate import ops
from envdoctor.estimate.layers import ConvNorm, Linear, SqueezeExcite, sequence
from envdoctor.estimate.models import Architecture

if TYPE_CHECKING:
    from collections.abc import Callable

    from envdoctor.estimate.models import Forward
    from envdoctor.estimate.tape import Run, Tensor

# Expansion, kernel, stride of the first block, channels, blocks.
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


def architecture(name: str) -> Architecture:
    """Return efficientnet-b0 or efficientnet-lite0."""

    def build(run: Run) -> Forward:
        return _EfficientNet(run, lite=name == "efficientnet-lite0")

    return Architecture(name=name, kind="image", build=build, default_size=224)


class _EfficientNet:
    def __init__(self, run: Run, lite: bool) -> None:
        activation = ops.relu6 if lite else ops.silu
        self.features: list[Callable[[Tensor], Tensor]] = [ConvNorm(run, 3, 32, 3, 2, activation=activation)]
        channels = 32
        for expansion, kernel, first, outputs, blocks in STAGES:
            for place in range(blocks):
                dropped = not lite and len(self.features) > 1  # the first block's rate is zero
                stride = 1 if place else first
                self.features.append(_Block(run, channels, outputs, expansion, kernel, stride, lite, dropped))
                channels = outputs
        self.features.append(ConvNorm(run, channels, 1280, activation=activation))
        self.head = Linear(run, 1280, 1000)

    def __call__(self, pixels: Tensor) -> Tensor:
        x = ops.avg_pool2d(sequence(self.features, pixels))
        return self.head(ops.dropout(x.view(x.shape[0], x.shape[1])))


class _Block:
    def __init__(
        self, run: Run, inputs: int, outputs: int, expansion: int, kernel: int, stride: int, lite: bool, dropped: bool
    ) -> None:
        activation = ops.relu6 if lite else ops.silu
        wide = inputs * expansion
        self.layers: list[Callable[[Tensor], Tensor]] = []
        if expansion != 1:
            self.layers.append(ConvNorm(run, inputs, wide, activation=activation))
        self.layers.append(ConvNorm(run, wide, wide, kernel, stride, wide, activation=activation))
        if not lite:
            self.layers.append(SqueezeExcite(run, wide, max(1, inputs // 4), ops.silu, True, ops.sigmoid))
        self.layers.append(ConvNorm(run, wide, outputs, activation=None))
        self.residual = stride == 1 and inputs == outputs
        self.lite = lite
        self.dropped = dropped

    def __call__(self, x: Tensor) -> Tensor:
        y = sequence(self.layers, x)
        if not self.residual:
            return y
        if self.lite:
            return ops.add(y, x)
        if self.dropped and x.run.training:
            y = ops.mul(y, x.run.tensor((x.shape[0], 1, 1, 1), x.item))  # stochastic depth: one number a sample
        return ops.add_in_place(y, x)
