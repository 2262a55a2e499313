"""MobileNetV2 and V3 as torchvision writes them.

(torchvision/models/mobilenetv2.py, mobilenetv3.py)
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

CLASSES = 1000

# V2: expansion, channels, blocks, stride of the first block.
V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

# V3: kernel, expanded channels, channels, squeeze-and-excite, hardswish (else relu), stride.
LARGE = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)
SMALL = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)


def architecture(name: str) -> Architecture:
    """Return mobilenetv2, mobilenetv3-large or mobilenetv3-small."""

    def build(run: Run) -> Forward:
        if name == "mobilenetv2":
            return _V2(run)
        return _V3(run, LARGE, 1280) if name == "mobilenetv3-large" else _V3(run, SMALL, 1024)

    return Architecture(name=name, kind="image", build=build, default_size=224)


class _V2:
    def __init__(self, run: Run) -> None:
        self.features: list[Callable[[Tensor], Tensor]] = [ConvNorm(run, 3, 32, 3, 2, activation=ops.relu6)]
        channels = 32
        for expansion, outputs, blocks, first in V2:
            for place in range(blocks):
                self.features.append(_V2Block(run, channels, outputs, expansion, 1 if place else first))
                channels = outputs
        self.features.append(ConvNorm(run, channels, 1280, activation=ops.relu6))
        self.head = Linear(run, 1280, CLASSES)

    def __call__(self, pixels: Tensor) -> Tensor:
        x = ops.avg_pool2d(sequence(self.features, pixels))
        return self.head(ops.dropout(x.view(x.shape[0], x.shape[1])))


class _V2Block:
    def __init__(self, run: Run, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        wide = inputs * expansion
        self.layers = [ConvNorm(run, inputs, wide, activation=ops.relu6)] if expansion != 1 else []
        self.layers.append(ConvNorm(run, wide, wide, 3, stride, wide, activation=ops.relu6))
        self.layers.append(ConvNorm(run, wide, outputs, activation=None))
        self.residual = stride == 1 and inputs == outputs

    def __call__(self, x: Tensor) -> Tensor:
        y = sequence(self.layers, x)
        return ops.add(x, y) if self.residual else y


class _V3:
    def __init__(self, run: Run, rows: tuple[tuple[int, int, int, bool, bool, int], ...], hidden: int) -> None:
        self.features: list[Callable[[Tensor], Tensor]] = [ConvNorm(run, 3, 16, 3, 2, activation=ops.hardswish)]
        channels = 16
        for kernel, wide, outputs, squeezed, swish, stride in rows:
            self.features.append(_V3Block(run, channels, wide, outputs, kernel, stride, squeezed, swish))
            channels = outputs
        self.features.append(ConvNorm(run, channels, 6 * channels, activation=ops.hardswish))
        self.hidden = Linear(run, 6 * channels, hidden)
        self.head = Linear(run, hidden, CLASSES)

    def __call__(self, pixels: Tensor) -> Tensor:
        x = ops.avg_pool2d(sequence(self.features, pixels))
        y = ops.hardswish(self.hidden(x.view(x.shape[0], x.shape[1])), inplace=True)
        return self.head(ops.dropout(y))


class _V3Block:
    def __init__(
        self, run: Run, inputs: int, wide: int, outputs: int, kernel: int, stride: int, squeezed: bool, swish: bool
    ) -> None:
        activation = ops.hardswish if swish else ops.relu
        self.layers: list[Callable[[Tensor], Tensor]] = []
        if wide != inputs:
            self.layers.append(ConvNorm(run, inputs, wide, activation=activation))
        self.layers.append(ConvNorm(run, wide, wide, kernel, stride, wide, activation=activation))
        if squeezed:
            self.layers.append(SqueezeExcite(run, wide, _divisible(wide // 4), ops.relu, False, ops.hardsigmoid))
        self.layers.append(ConvNorm(run, wide, outputs, activation=None))
        self.residual = stride == 1 and inputs == outputs

    def __call__(self, x: Tensor) -> Tensor:
        y = sequence(self.layers, x)
        return ops.add_in_place(y, x) if self.residual else y


def _divisible(channels: int) -> int:
    """Round to a multiple of eight, but not down by more than a tenth."""
    rounded = max(8, (channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
