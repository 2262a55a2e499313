"""What models are made of: each operation with its shape, what it saves, its arithmetic and the bytes it moves.

A function never gives one of its arguments another value: torch holds a call's arguments until it returns.
"""

from envdoctor.estimate.ops.attention import (
    fused,
    math_attention,
    repeated,
    scaled_dot_product,
    softmax,
)
from envdoctor.estimate.ops.cache import Cache
from envdoctor.estimate.ops.dense import cast, embedding, linear, lowered, matmul, raised
from envdoctor.estimate.ops.elementwise import (
    add,
    add_in_place,
    dropout,
    from_input,
    from_output,
    gelu,
    gelu_new,
    hardsigmoid,
    hardswish,
    mean_last,
    mul,
    power,
    relu,
    relu6,
    rsqrt,
    scale,
    shift,
    sigmoid,
    silu,
    summed_to,
    tanh,
)
from envdoctor.estimate.ops.images import avg_pool2d, conv2d, max_pool2d, upsample
from envdoctor.estimate.ops.loss import binary_cross_entropy, causal_loss, cross_entropy, log_softmax
from envdoctor.estimate.ops.norms import batch_norm, full_rms_norm, layer_norm, rms_norm
from envdoctor.estimate.ops.quantized import packed_linear, packed_size
from envdoctor.estimate.ops.recompute import checkpoint
from envdoctor.estimate.ops.shapes import cat, copied, narrow, split

__all__ = [
    "Cache",
    "add",
    "add_in_place",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "cast",
    "cat",
    "causal_loss",
    "checkpoint",
    "conv2d",
    "copied",
    "cross_entropy",
    "dropout",
    "embedding",
    "from_input",
    "from_output",
    "full_rms_norm",
    "fused",
    "gelu",
    "gelu_new",
    "hardsigmoid",
    "hardswish",
    "layer_norm",
    "linear",
    "log_softmax",
    "lowered",
    "math_attention",
    "matmul",
    "max_pool2d",
    "mean_last",
    "mul",
    "narrow",
    "packed_linear",
    "packed_size",
    "power",
    "raised",
    "relu",
    "relu6",
    "repeated",
    "rms_norm",
    "rsqrt",
    "scale",
    "scaled_dot_product",
    "shift",
    "sigmoid",
    "silu",
    "softmax",
    "split",
    "summed_to",
    "tanh",
    "upsample",
]
