"""Normalizations."""

from __future__ import annotations

from envdoctor.estimate.ops.dense import cast, raised
from envdoctor.estimate.ops.elementwise import mean_last, mul, power, rsqrt, shift
from envdoctor.estimate.tape import Tensor


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Save the input, and in training two fp32 statistics a channel. The running ones are written in place."""
    run, shape, item = x.run, x.shape, x.item
    y = Tensor(run, shape, item)
    run.count(4 * y.count, 2 * y.size)
    if not run.recording:
        return y
    channels, weight_item = weight.shape, weight.item
    saved = (x.storage, weight.storage, Tensor(run, channels, 4), Tensor(run, channels, 4))

    def backward(gradient: Tensor, saved: object = saved) -> list[Tensor | None]:
        made = Tensor(run, shape, item)
        run.count(8 * made.count, 3 * made.size)
        return [made, Tensor(run, channels, weight_item), Tensor(run, channels, weight_item)]

    return run.record(y, (x, weight, bias), backward)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Save the input and two fp32 statistics a row. Autocast runs it in fp32."""
    run, shape, given = x.run, x.shape, raised(x)
    item = given.item
    y = Tensor(run, shape, item)
    width, weight_item = weight.shape, weight.item
    rows = (y.count // weight.count,)
    statistics = (Tensor(run, rows, 4), Tensor(run, rows, 4))
    run.count(5 * y.count, 2 * y.size)
    if not run.recording:
        return y
    to_weight, to_bias = bool(weight.edge), bias is not None and bool(bias.edge)
    saved = (given.storage, weight.storage, statistics)

    def backward(gradient: Tensor, saved: object = saved) -> list[Tensor | None]:
        made = Tensor(run, shape, item)
        run.count(10 * made.count, 3 * made.size)
        return [
            made,
            Tensor(run, width, weight_item) if to_weight else None,
            Tensor(run, width, weight_item) if to_bias else None,
        ]

    return run.record(y, (given, weight, bias), backward)


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """Do what Hugging Face's LlamaRMSNorm does, in Python and in fp32.

    `h = x.float(); h = h * rsqrt(h.pow(2).mean(-1, keepdim=True) + eps); return weight * h.to(x.dtype)`
    """
    full = cast(x, 4)
    variance = mean_last(power(full))
    full = mul(full, rsqrt(shift(variance)))
    return mul(weight, cast(full, x.item))


def full_rms_norm(x: Tensor, weight: Tensor, plus_one: bool = True) -> Tensor:
    """Do what Gemma's RMSNorm does: as Llama's, but the product with the weight is in fp32 too.

    `h = norm(x.float()); return (h * (1 + weight.float())).to(x.dtype)`; MiniMind's has no 1.
    """
    normed = _normed(cast(x, 4))
    factor = shift(cast(weight, 4)) if plus_one else weight
    normed = mul(normed, factor)
    return cast(normed, x.item)


def _normed(full: Tensor) -> Tensor:
    return mul(full, rsqrt(shift(mean_last(power(full)))))
