"""Attention: torch's scaled_dot_product_attention with the kernel that CUDA chooses."""

from __future__ import annotations

from envdoctor.estimate.ops.dense import cast, lowered, matmul
from envdoctor.estimate.ops.elementwise import add, add_in_place, dropout, scale
from envdoctor.estimate.ops.shapes import copied
from envdoctor.estimate.tape import Tensor


def scaled_dot_product(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Choose as aten/src/ATen/native/transformers/cuda/sdp_utils.cpp does on sm80 and newer.

    Half precision without a mask takes flash, also with grouped queries; a mask or fp32 takes the memory-efficient
    kernel; fp32 with grouped queries takes math, for memory-efficient refuses `enable_gqa`.
    """
    q, k, v = lowered(query), lowered(key), lowered(value)
    grouped = q.shape[1] != k.shape[1]
    half = q.item == 2
    if grouped and (not half or mask is not None):
        return math_attention(q, k, v, mask, causal)
    return fused(q, k, v, flash=half and mask is None, causal=causal)


def fused(q: Tensor, k: Tensor, v: Tensor, *, flash: bool, causal: bool, bias: Tensor | None = None) -> Tensor:
    """Save query, key, value, output and one fp32 number a row (memory-efficient: rounded up to 32, in training only).

    A `bias` that is added to the scores is saved too.
    """
    run, item = q.run, q.item
    batch, heads, tokens, width = q.shape
    y = Tensor(run, (batch, tokens, heads * width), item)
    rows = None
    if flash or run.recording:
        rows = Tensor(run, (batch, heads, tokens if flash else -(-tokens // 32) * 32), 4)
    flops = 4 * q.count * k.shape[2] // (2 if causal and tokens > 1 else 1)
    run.count(flops, q.size + k.size + v.size + y.size, "product")
    if not run.recording:
        return y
    q_shape, k_shape = q.shape, k.shape
    saved = (q.storage, k.storage, v.storage, y.storage, rows and rows.storage, bias and bias.storage)

    def backward(gradient: Tensor, saved: object = saved) -> list[Tensor | None]:
        made: list[Tensor | None] = [Tensor(run, shape, item) for shape in (q_shape, k_shape, k_shape)]
        run.count(5 * flops // 2, 3 * gradient.size + 2 * sum(m.size for m in made if m), "product")
        return made

    return run.record(y, (q, k, v), backward)


def softmax(x: Tensor, item: int | None = None) -> Tensor:
    """Save the output, which the next matrix product saves too. Autocast runs it in fp32."""
    run = x.run
    given = cast(x, item or (4 if run.autocast else x.item))
    shape, size = given.shape, given.item
    y = Tensor(run, shape, size)
    run.count(4 * y.count, 2 * y.size)

    def backward(gradient: Tensor, saved: object = y.storage) -> list[Tensor | None]:
        made = Tensor(run, shape, size)
        run.count(3 * made.count, 3 * made.size)
        return [made]

    return run.record(y, (given,), backward)


def repeated(x: Tensor, times: int) -> Tensor:
    """Copy each key head for every query head of its group; backward sums them again."""
    if times == 1:
        return x
    run, item = x.run, x.item
    batch, heads, tokens, width = x.shape
    y = Tensor(run, (batch, heads * times, tokens, width), item)
    run.count(0, x.size + y.size)

    def backward(gradient: Tensor) -> list[Tensor | None]:
        made = Tensor(run, (batch, heads, tokens, width), item)
        run.count(gradient.count, gradient.size + made.size)
        return [made]

    return run.record(y, (x,), backward)


def _scores(q: Tensor, k: Tensor) -> Tensor:
    """Multiply queries by keys; a transposed view is copied first, and the copies are saved."""
    batch, heads, tokens, width = q.shape
    return matmul(copied(q), copied(k), (batch, heads, tokens, k.shape[2]), width)


def _weighted(weights: Tensor, v: Tensor) -> Tensor:
    batch, heads, tokens, keys = weights.shape
    width = v.shape[3]
    return matmul(weights, copied(v), (batch, heads, tokens, width), keys)


def math_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, dropped: bool = False) -> Tensor:
    """Do what _scaled_dot_product_attention_math does: scaled copies, scores, mask in place, safe softmax, product."""
    run = q.run
    times = q.shape[1] // k.shape[1]
    keys, values = repeated(k, times), repeated(v, times)
    added = mask
    if causal and mask is None and q.shape[2] > 1:
        added = Tensor(run, (q.shape[2], k.shape[2]), q.item)
    weights = _scores(scale(q), scale(keys))
    if added is not None:
        weights = add_in_place(weights, added.detached()) if added.edge is None else add(weights, added)
    weights = safe_softmax(weights)
    if dropped:
        weights = dropout(weights)
    out = copied(_weighted(weights, values))
    batch, heads, tokens, width = q.shape
    return out.view(batch, tokens, heads * width)


def safe_softmax(x: Tensor) -> Tensor:
    """Give zero where all is masked: for a moment there are the plain result, a bool an element and the choice."""
    run, shape, item = x.run, x.shape, x.item
    plain = Tensor(run, shape, item)
    masked = Tensor(run, shape, 1)
    y = Tensor(run, shape, item)
    run.count(6 * y.count, 4 * y.size + 2 * masked.size)
    del plain, masked

    def backward(gradient: Tensor, saved: object = y.storage) -> list[Tensor | None]:
        made = Tensor(run, shape, item)
        run.count(3 * made.count, 3 * made.size)
        return [made]

    return run.record(y, (x,), backward)
