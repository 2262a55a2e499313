"""Linear layers whose weights are kept in 8 or 4 bits, as bitsandbytes keeps them.

No row of the measured truth covers these; the sizes follow the QLoRA paper (https://arxiv.org/abs/2305.14314), the
LLM.int8 paper (https://arxiv.org/abs/2208.07339) and bitsandbytes' MatMul4Bit and MatMul8bitLt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from envdoctor.estimate.ops.dense import HALF, cast
from envdoctor.estimate.tape import Tensor

if TYPE_CHECKING:
    Packing = Literal["int8", "int4"]

BLOCK = 64  # weights that share a scale in 4 bits
SCALES = 256  # scales that share a second scale: double quantization
CODE = 16 * 4  # the 16 values of nf4


def packed_size(outputs: int, inputs: int, packing: Packing) -> int:
    """Return the bytes of a packed weight with its scales: 4.127 bits a weight for int4, 8 and a little for int8."""
    weights = outputs * inputs
    if packing == "int8":
        return weights + 4 * outputs  # a scale a row
    blocks = -(-weights // BLOCK)
    return -(-weights // 2) + blocks + 4 * -(-blocks // SCALES) + CODE


def packed_linear(x: Tensor, weight: Tensor, packing: Packing) -> Tensor:
    """Multiply by a frozen packed weight, in half precision whatever comes in.

    4 bits: the weight is unpacked to half precision for the product, forward and backward; a single token without a
    gradient has a kernel that need not. 8 bits: the input's rows are quantized, the product is int32, and backward
    unpacks the weight. Only 8 bits saves the input.
    """
    run, shape, given = x.run, x.shape, cast(x, HALF)
    outputs, inputs = weight.shape
    y = Tensor(run, (*shape[:-1], outputs), HALF)
    rows = y.count // outputs
    flops, moved = 2 * y.count * inputs, given.size + packed_size(outputs, inputs, packing) + y.size
    made: tuple[Tensor, ...] = ()
    if packing == "int8":
        made = (Tensor(run, given.shape, 1), Tensor(run, (rows,), 4), Tensor(run, y.shape, 4))
    elif rows > 1 or run.recording:
        made = (Tensor(run, weight.shape, HALF),)
    run.count(flops, moved, "product")
    del made
    saved = given.storage if packing == "int8" else None
    given_shape = given.shape

    def backward(gradient: Tensor, saved: object = saved) -> list[Tensor | None]:
        unpacked = Tensor(run, weight.shape, HALF)
        out = Tensor(run, given_shape, HALF)
        run.count(flops, moved, "product")
        del unpacked
        return [out]

    return cast(run.record(y, (given,), backward), x.item)
