"""VGG-16 as torchvision writes it, with or without batch norm.

(torchvision/models/vgg.py)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.estimate import ops
from envdoctor.estimate.layers import BatchNorm, Conv, Linear
from envdoctor.estimate.models import Architecture

if TYPE_CHECKING:
    from envdoctor.estimate.models import Forward
    from envdoctor.estimate.tape import Run, Tensor

# Channels of the convolutions between two pools.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
SIDE = 7  # of what the classifier sees


def architecture(name: str) -> Architecture:
    """Return vgg16 or vgg16-bn."""

    def build(run: Run) -> Forward:
        return _VGG(run, normed=name == "vgg16-bn")

    return Architecture(name=name, kind="image", build=build, default_size=224)


class _VGG:
    def __init__(self, run: Run, normed: bool) -> None:
        self.stages: list[list[tuple[Conv, BatchNorm | None]]] = []
        channels = 3
        for widths in STAGES:
            stage = []
            for width in widths:
                conv = Conv(run, channels, width, 3, bias=True)
                stage.append((conv, BatchNorm(run, width) if normed else None))
                channels = width
            self.stages.append(stage)
        self.first = Linear(run, channels * SIDE * SIDE, 4096)
        self.second = Linear(run, 4096, 4096)
        self.head = Linear(run, 4096, 1000)

    def __call__(self, pixels: Tensor) -> Tensor:
        x = pixels
        for stage in self.stages:
            for conv, norm in stage:
                x = conv(x)
                if norm is not None:
                    x = norm(x)
                x = ops.relu(x, inplace=True)
            x = ops.max_pool2d(x, 2, 2)
        x = ops.avg_pool2d(x, SIDE)
        x = x.view(x.shape[0], x.count // x.shape[0])
        x = ops.dropout(ops.relu(self.first(x), inplace=True))
        x = ops.dropout(ops.relu(self.second(x), inplace=True))
        return self.head(x)
