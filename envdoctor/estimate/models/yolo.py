"""YOLOv8 for detection, sizes n and s, 80 classes: C2f backbone, SPPF, two-way neck, decoupled head.

Written from the published structure of Ultralytics' yolov8.yaml, block.py and head.py. The loss is the network's side
of it (class scores and box distributions); the assignment of boxes to cells, which depends on how many boxes an image
has, is not in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.estimate import ops
from envdoctor.estimate.layers import Conv, ConvNorm, sequence
from envdoctor.estimate.models import Architecture
from envdoctor.model.speech import message

if TYPE_CHECKING:
    from collections.abc import Callable

    from envdoctor.estimate.models import Forward
    from envdoctor.estimate.tape import Run, Tensor

    Layer = Callable[[Tensor], Tensor]

CLASSES = 80
BINS = 16  # of the distribution of each side of a box
WIDTHS = {"yolov8n": 0.25, "yolov8s": 0.5}
ASSUMED = message("the memory of assigning boxes to cells is not counted; it grows with the boxes of an image")


def architecture(name: str) -> Architecture:
    """Return one of WIDTHS."""

    def build(run: Run) -> Forward:
        return _YOLO(run, WIDTHS[name])

    return Architecture(
        name=name, kind="image", build=build, default_size=640, loss=detection_loss, assumptions=(ASSUMED,)
    )


def detection_loss(predicted: Tensor) -> Tensor:
    """Score classes (binary cross-entropy) and box distributions (softmax over the bins) of every cell."""
    boxes, classes = ops.split(predicted, (4 * BINS, CLASSES), 1)
    boxes, classes = ops.copied(boxes), ops.copied(classes)
    run = predicted.run
    wanted = run.tensor(classes.shape, classes.item)
    scored = ops.binary_cross_entropy(ops.raised(classes), wanted)
    spread = ops.cross_entropy(boxes.view(boxes.count // BINS, BINS))
    return ops.add(scored, spread)


def _conv(run: Run, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> ConvNorm:
    return ConvNorm(run, inputs, outputs, kernel, stride, activation=ops.silu)


class _Bottleneck:
    def __init__(self, run: Run, channels: int, shortcut: bool) -> None:
        self.layers = [_conv(run, channels, channels, 3), _conv(run, channels, channels, 3)]
        self.shortcut = shortcut

    def __call__(self, x: Tensor) -> Tensor:
        y = sequence(self.layers, x)
        return ops.add(x, y) if self.shortcut else y


class _C2f:
    """Split in two, send one half through bottlenecks, and join every step's output."""

    def __init__(self, run: Run, inputs: int, outputs: int, blocks: int, shortcut: bool = False) -> None:
        self.width = outputs // 2
        self.enter = _conv(run, inputs, 2 * self.width)
        self.leave = _conv(run, (2 + blocks) * self.width, outputs)
        self.blocks = [_Bottleneck(run, self.width, shortcut) for _ in range(blocks)]

    def __call__(self, x: Tensor) -> Tensor:
        steps = ops.split(self.enter(x), (self.width, self.width), 1)
        for block in self.blocks:
            steps.append(block(steps[-1]))
        return self.leave(ops.cat(steps, 1))


class _SPPF:
    def __init__(self, run: Run, channels: int) -> None:
        self.enter = _conv(run, channels, channels // 2)
        self.leave = _conv(run, channels * 2, channels)

    def __call__(self, x: Tensor) -> Tensor:
        steps = [self.enter(x)]
        for _ in range(3):
            steps.append(ops.max_pool2d(steps[-1], 5, 1, 2))
        return self.leave(ops.cat(steps, 1))


class _Detect:
    """Two branches a level, for boxes and for classes; the conversion of bins to a distance is a frozen convolution."""

    def __init__(self, run: Run, channels: tuple[int, ...]) -> None:
        for_boxes = max(16, channels[0] // 4, BINS * 4)
        for_classes = max(channels[0], min(CLASSES, 100))
        self.boxes = [_branch(run, c, for_boxes, 4 * BINS) for c in channels]
        self.classes = [_branch(run, c, for_classes, CLASSES) for c in channels]
        self.bins = run.parameter(1, BINS, 1, 1, trained=False)

    def __call__(self, levels: list[Tensor]) -> Tensor:
        found = []
        for x, boxes, classes in zip(levels, self.boxes, self.classes, strict=True):
            level = ops.cat([sequence(boxes, x), sequence(classes, x)], 1)
            batch, rows, high, wide = level.shape
            found.append(level.view(batch, rows, high * wide))
        joined = ops.cat(found, 2)
        return joined if joined.run.training else self.decode(joined)

    def decode(self, joined: Tensor) -> Tensor:
        """Turn bins into boxes and scores into probabilities."""
        batch, _, cells = joined.shape
        boxes, classes = ops.split(joined, (4 * BINS, CLASSES), 1)
        spread = ops.softmax(boxes.view(batch, BINS, 4, cells))
        sides = ops.conv2d(spread, self.bins).view(batch, 4, cells)
        return ops.cat([ops.scale(sides), ops.sigmoid(classes)], 1)


def _branch(run: Run, inputs: int, width: int, outputs: int) -> list[Layer]:
    return [_conv(run, inputs, width, 3), _conv(run, width, width, 3), Conv(run, width, outputs, bias=True)]


class _YOLO:
    def __init__(self, run: Run, width: float) -> None:
        a, b, c, d, e = (int(channels * width) for channels in (64, 128, 256, 512, 1024))
        self.to_small: list[Layer] = [_conv(run, 3, a, 3, 2), _conv(run, a, b, 3, 2), _C2f(run, b, b, 1, True)]
        self.to_small += [_conv(run, b, c, 3, 2), _C2f(run, c, c, 2, True)]
        self.to_middle: list[Layer] = [_conv(run, c, d, 3, 2), _C2f(run, d, d, 2, True)]
        self.to_large: list[Layer] = [_conv(run, d, e, 3, 2), _C2f(run, e, e, 1, True), _SPPF(run, e)]
        self.up_middle = _C2f(run, d + e, d, 1)
        self.up_small = _C2f(run, c + d, c, 1)
        self.down_middle: list[Layer] = [_conv(run, c, c, 3, 2), _C2f(run, c + d, d, 1)]
        self.down_large: list[Layer] = [_conv(run, d, d, 3, 2), _C2f(run, d + e, e, 1)]
        self.detect = _Detect(run, (c, d, e))

    def __call__(self, pixels: Tensor) -> Tensor:
        small = sequence(self.to_small, pixels)
        middle = sequence(self.to_middle, small)
        large = sequence(self.to_large, middle)
        neck = self.up_middle(ops.cat([ops.upsample(large), middle], 1))
        first = self.up_small(ops.cat([ops.upsample(neck), small], 1))
        down, merge = self.down_middle
        second = merge(ops.cat([down(first), neck], 1))
        down, merge = self.down_large
        third = merge(ops.cat([down(second), large], 1))
        return self.detect([first, second, third])
