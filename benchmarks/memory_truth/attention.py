"""Route scaled-dot-product attention as a CUDA build on an sm80 or newer card would.

A CPU build would take its own kernels. The conditions are aten/src/ATen/native/transformers/cuda/sdp_utils.cpp's:
flash wants half precision and no mask; memory-efficient takes fp32 and masks but no grouped queries; math takes all.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as functional

_HALF = (torch.float16, torch.bfloat16)
_FLASH_LARGEST_HEAD = 256


def install() -> None:
    """Put the routing in the place of torch's own entry."""
    functional.scaled_dot_product_attention = _routed


def _routed(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    if torch.is_autocast_enabled("cuda"):
        half = torch.get_autocast_dtype("cuda")
        query, key, value = query.to(half), key.to(half), value.to(half)
        if attn_mask is not None and attn_mask.is_floating_point():
            attn_mask = attn_mask.to(half)
    grouped = enable_gqa and query.size(1) != key.size(1)
    width = query.size(-1)
    if attn_mask is None and query.dtype in _HALF and width <= _FLASH_LARGEST_HEAD:
        query, key, value = (_padded(each, 8) for each in (query, key, value))
        scale = scale if scale is not None else 1 / math.sqrt(width)
        flash = torch.ops.aten._scaled_dot_product_flash_attention
        return flash(query, key, value, dropout_p, is_causal, False, scale=scale)[0][..., :width]
    if grouped:
        return _math(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    trained = torch.is_grad_enabled() and any(each.requires_grad for each in (query, key, value))
    bias = _bias(attn_mask, query, key)
    efficient = torch.ops.aten._scaled_dot_product_efficient_attention
    return efficient(query, key, value, bias, trained, dropout_p, is_causal, scale=scale)[0]


def _padded(tensor: Any, multiple: int) -> Any:
    missing = -tensor.size(-1) % multiple
    return functional.pad(tensor, (0, missing)) if missing else tensor


def _bias(mask: Any, query: Any, key: Any) -> Any:
    # A boolean mask becomes an additive one, and its last side is made a multiple of 16 bytes' worth of elements.
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(mask.logical_not(), float("-inf"))
    if mask.size(-1) % 16:
        wanted = mask.size(-1)
        mask = functional.pad(mask, (0, -wanted % 16))[..., :wanted]
    return mask.expand(query.size(0), query.size(1), query.size(2), key.size(2))


def _math(query: Any, key: Any, value: Any, mask: Any, dropout: float, causal: bool, scale: Any, grouped: bool) -> Any:
    return torch.ops.aten._scaled_dot_product_attention_math(
        query, key, value, mask, dropout, causal, None, scale=scale, enable_gqa=grouped
    )[0]
