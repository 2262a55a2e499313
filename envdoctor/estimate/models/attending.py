"""What transformers' modules do around attention: masks, repeated key heads, eager attention with its casts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.estimate import ops
from envdoctor.estimate.tape import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envdoctor.estimate.tape import Run

LARGEST_FLASH_HEAD = 256


def tables(run: Run, tokens: int, width: int, item: int) -> tuple[Tensor, Tensor]:
    """Make the cosines and sines of rotary positions, (1, tokens, width) of the hidden states' type, through fp32."""
    places = run.tensor((1, tokens), 8)
    angles = run.tensor((1, tokens, width), 4)
    cosine = run.tensor(angles.shape, item)
    sine = run.tensor(angles.shape, item)
    del places, angles
    return cosine.view(1, 1, tokens, width), sine.view(1, 1, tokens, width)


def rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate the first part of each head, as wide as the tables; the rest is joined to it again.

    `x * cos + cat((-x[half:], x[:half])) * sin`; each slice's gradient is as large as what it is a slice of.
    """
    width, whole = cosine.shape[-1], x.shape[-1]
    if width == whole:
        return _rotated(x, cosine, sine)
    turned, passed = ops.narrow(x, 3, width), ops.narrow(x, 3, whole - width)
    return ops.cat([_rotated(turned, cosine, sine), passed], 3)


def _rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    return ops.add(ops.mul(x, cosine), ops.mul(_turned(x), sine))


def _turned(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    low, high = ops.narrow(x, 3, half), ops.narrow(x, 3, half)
    return ops.cat([ops.scale(high), low], 3)


def masks(
    run: Run, batch: int, tokens: int, past: Sequence[tuple[int | None, int]], item: int
) -> dict[int | None, Tensor]:
    """Make a mask for each window of `past` (window, keys so far) that needs one.

    sdpa needs none while every key is in the window: a bool a pair of tokens otherwise, shared by the batch. Eager
    attention always needs one, of the hidden states' type, for each sample.
    """
    made: dict[int | None, Tensor] = {}
    for window, before in past:
        keys = before + tokens
        if run.attention == "eager":
            made[window] = run.tensor((batch, 1, tokens, keys), item)
        elif window is not None and keys >= window:
            made[window] = run.tensor((1, 1, tokens, keys), 1)
    return made


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    by_head: bool = False,
    cached: bool = False,
    softcap: bool = False,
    dropped: bool = False,
    causal: bool = True,
    full_softmax: bool = True,
    cast_back: bool = True,
) -> Tensor:
    """Attend as `run.attention` says; (batch, heads, tokens, width) to (batch, tokens, heads * width).

    `by_head`: the queries lie head by head in memory, as `cat` leaves them, and so does what flash returns, which is
    then copied. `cached`: so do keys and values, which a cache has joined. `full_softmax`: eager
    attention asks for fp32. `cast_back`: and takes the queries' type again.
    """
    if query.run.attention == "eager":
        joined = (by_head, by_head or cached, cached)
        return _eager(query, key, value, mask, joined, softcap, dropped, 4 if full_softmax else None, cast_back)
    if query.run.cpu and query.run.training and dropped:
        # The CPU's flash kernel knows no dropout. (aten/src/ATen/native/transformers/sdp_utils_cpp.cpp)
        q, k, v = ops.lowered(query), ops.lowered(key), ops.lowered(value)
        return ops.math_attention(q, k, v, mask, causal, dropped=True)
    return _scaled_dot_product(query, key, value, mask, by_head, causal, dropped)


def _scaled_dot_product(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, by_head: bool, causal: bool, dropped: bool
) -> Tensor:
    """Do sdpa_attention_forward: the kernel groups queries where there is no mask, else keys are repeated."""
    batch, heads, tokens, width = query.shape
    times = heads // key.shape[1]
    if times > 1 and mask is not None and tokens > 1:
        key, value = ops.repeated(key, times), ops.repeated(value, times)
    elif times > 1 and mask is not None:
        query = query.view(batch, key.shape[1], times, width)
    if mask is None and times > 1 and dropped and query.run.training and query.item == 4 and not query.run.autocast:
        return ops.math_attention(query, key, value, None, causal, dropped=True)
    if mask is None:
        out = ops.scaled_dot_product(query, key, value, None, causal)
        flash = (query.run.autocast or query.item == 2) and width <= LARGEST_FLASH_HEAD
        return ops.copied(out) if by_head and flash and tokens > 1 else out
    q, k, v = ops.lowered(query), ops.lowered(key), ops.lowered(value)
    bias = Tensor(q.run, (batch, 1, *mask.shape[2:]), q.item)
    return ops.fused(q, k, v, flash=False, causal=causal, bias=bias).view(batch, tokens, heads * width)


def _eager(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    joined: tuple[bool, bool, bool],
    softcap: bool,
    dropped: bool,
    softmax_item: int | None,
    cast_back: bool,
) -> Tensor:
    """Do eager_attention_forward: softmax in fp32 in most models, then back to the queries' type."""
    batch, heads, tokens, width = query.shape
    times = heads // key.shape[1]
    keys, values = ops.repeated(key, times), ops.repeated(value, times)
    alone = batch == 1
    weights = _product(query, keys, keys.shape[2], width, joined[0] or alone, joined[1] or alone or times > 1)
    weights = ops.scale(weights)
    if softcap:
        weights = ops.scale(weights)
        weights = ops.tanh(weights)
        weights = ops.scale(weights)
    if mask is not None:
        weights = ops.add(weights, mask)
    weights = ops.softmax(weights, softmax_item)
    if cast_back:
        weights = ops.cast(weights, query.item)
    if dropped:
        weights = ops.dropout(weights)
    query.run.held = weights
    out = _product(weights, values, width, keys.shape[2], True, joined[2] or alone or times > 1)
    out = ops.copied(out)
    return out.view(batch, tokens, heads * width)


def _product(a: Tensor, b: Tensor, columns: int, inner: int, a_joined: bool, b_joined: bool) -> Tensor:
    """Multiply batches of matrices: what does not lie head by head is copied first, and the copy is saved."""
    left = ops.lowered(a) if a_joined else ops.copied(ops.lowered(a))
    right = ops.lowered(b) if b_joined else ops.copied(ops.lowered(b))
    batch, heads, tokens, _ = a.shape
    return ops.matmul(left, right, (batch, heads, tokens, columns), inner)
