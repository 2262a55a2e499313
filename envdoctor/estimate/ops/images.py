"""Convolutions, pools and what else works on (batch, channels, height, width)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.errors import UsageProblem
from envdoctor.estimate.ops.dense import lowered
from envdoctor.estimate.tape import Tensor
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from envdoctor.estimate.tape import Work


class ImageTooSmall(UsageProblem):
    """An image has fewer pixels than a layer needs."""


def _side(side: int, kernel: int, stride: int, padding: int) -> int:
    left = (side + 2 * padding - kernel) // stride + 1
    if left < 1:
        raise ImageTooSmall(say("the image is too small for this model"), say("name more pixels a side"))
    return left


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0, groups: int = 1
) -> Tensor:
    """Convolve with a weight of (out, in / groups, k, k): input and weight are saved, whatever is trained.

    (derivatives.yaml: convolution) On the CPU oneDNN works in blocks of channels: it copies what comes in and what goes
    out for the moment.
    """
    run, shape, weight_shape, given, kernel = x.run, x.shape, weight.shape, lowered(x), lowered(weight)
    added = None if bias is None else lowered(bias)
    item = given.item
    batch, _, height, width = shape
    channels, group_in, k_high, k_wide = weight_shape
    high, wide = _side(height, k_high, stride, padding), _side(width, k_wide, stride, padding)
    blocked = [Tensor(run, s, item) for s in (shape, weight_shape)] if run.cpu else []
    y = Tensor(run, (batch, channels, high, wide), item)
    if run.cpu:
        blocked.append(y.like())
    del blocked
    flops = 2 * y.count * group_in * k_high * k_wide
    moved = given.size + kernel.size + y.size
    kind: Work = "elements" if group_in == 1 else "convolution"  # depthwise: bound by memory, not by products
    run.count(flops, moved, kind)
    if not run.recording:
        return y
    to_x, to_weight = bool(given.edge), bool(kernel.edge)
    bias_shape = added.shape if added is not None and added.edge else None

    def backward(gradient: Tensor, saved: object = (given.storage, kernel.storage)) -> list[Tensor | None]:
        run.count(flops * (to_x + to_weight), moved * (to_x + to_weight), kind)
        blocked = [Tensor(run, s, item) for s in (gradient.shape, shape, weight_shape)] if run.cpu else []
        made = [
            Tensor(run, shape, item) if to_x else None,
            Tensor(run, weight_shape, item) if to_weight else None,
            Tensor(run, bias_shape, item) if bias_shape else None,
        ]
        del blocked
        return made

    return run.record(y, (given, kernel, added), backward)


def max_pool2d(x: Tensor, kernel: int, stride: int, padding: int = 0) -> Tensor:
    """Save the input and an int64 index an output element."""
    run, shape, item = x.run, x.shape, x.item
    batch, channels, height, width = shape
    high, wide = _side(height, kernel, stride, padding), _side(width, kernel, stride, padding)
    y = Tensor(run, (batch, channels, high, wide), item)
    index = Tensor(run, y.shape, 8)
    run.count(y.count * kernel * kernel, x.size + y.size + index.size)

    def backward(gradient: Tensor, saved: object = (x.storage, index.storage)) -> list[Tensor | None]:
        run.count(gradient.count, gradient.size + 8 * gradient.count + x_size)
        return [Tensor(run, shape, item)]

    x_size = x.size
    return run.record(y, (x,), backward)


def avg_pool2d(x: Tensor, side: int = 1) -> Tensor:
    """Average to `side` x `side` (adaptive). To 1 x 1 it is torch's mean, which saves nothing."""
    run, shape, item = x.run, x.shape, x.item
    y = Tensor(run, (*shape[:2], side, side), item)
    run.count(x.count, x.size + y.size)
    saved = x.storage if side != 1 else None

    def backward(gradient: Tensor, saved: object = saved) -> list[Tensor | None]:
        made = Tensor(run, shape, item)
        run.count(made.count, gradient.size + made.size)
        return [made]

    return run.record(y, (x,), backward)


def upsample(x: Tensor, factor: int = 2) -> Tensor:
    """Repeat each pixel `factor` times each way: nothing is saved."""
    run, shape, item = x.run, x.shape, x.item
    batch, channels, height, width = shape
    y = Tensor(run, (batch, channels, height * factor, width * factor), item)
    run.count(0, x.size + y.size)

    def backward(gradient: Tensor) -> list[Tensor | None]:
        made = Tensor(run, shape, item)
        run.count(gradient.count, gradient.size + made.size)
        return [made]

    return run.record(y, (x,), backward)
