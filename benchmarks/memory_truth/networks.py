"""Build the module a row names, with weights nobody ever computes.

`NAME.json` is a Hugging Face config in tests/estimate/configs; anything else is a torchvision model. Both are the
libraries' own classes, so that lifetimes and casts are theirs.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import torch

CONFIGS = Path(__file__).resolve().parents[2] / "tests" / "estimate" / "configs"
_WEIGHTS = {"fp16": torch.float16, "bf16": torch.bfloat16}


def build(model: str, dtype: str, attention: str, rank: int | None) -> Any:
    """Return the module on the current device; every weight in fp32 except for the dtypes "fp16" and "bf16"."""
    _without_kernels()
    half = _WEIGHTS.get(dtype)
    if not model.endswith(".json"):
        return _in_half(_torchvision(model), half) if half else _torchvision(model)
    transformers = importlib.import_module("transformers")
    # A fake tensor counts as traced: the library would then keep a mask of packed sequences that real ones never need.
    masking: Any = importlib.import_module("transformers.masking_utils")
    masking.find_packed_sequence_indices = lambda *_: None
    fields = json.loads((CONFIGS / model).read_text())
    home = _home_of(fields["model_type"], transformers)
    kind = getattr(home, fields["architectures"][0])
    config = kind.config_class(**{name: value for name, value in fields.items() if name != "model_type"})
    chosen = {"attn_implementation": attention} if home is transformers else {}
    built = kind._from_config(config, dtype=half or torch.float32, **chosen)
    return _adapted(built, rank) if rank else built


def _home_of(model_type: str, transformers: Any) -> Any:
    # A model that lives in its own repository: its modeling file, on PYTHONPATH, is called model_<its type>.py.
    own = f"model_{model_type}"
    return importlib.import_module(own) if importlib.util.find_spec(own) else transformers


def _torchvision(name: str) -> Any:
    # This one looks at numbers while it draws them, which fake tensors do not have.
    torch.nn.init.trunc_normal_ = lambda tensor, *_, **__: tensor
    return importlib.import_module("torchvision.models").get_model(name, weights=None)


def _without_kernels() -> None:
    # torchvision's kernels need its own torch build. Only its models are wanted, which use none of them; but its
    # import describes two that must then exist (transformers imports it as well).
    for kernel in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, kernel):
            torch.library.define(f"torchvision::{kernel}", "(Tensor boxes, Tensor scores, float threshold) -> Tensor")


def _adapted(model: Any, rank: int) -> Any:
    # peft moves each new adapter to its layer's device and type by assigning .data, which a fake tensor refuses. They
    # are made there, and in the fp32 that `autocast_adapter_dtype` would give them back.
    peft = importlib.import_module("peft")
    settings = peft.LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear")
    moved = torch.nn.Module.to
    torch.nn.Module.to = lambda module, *_, **__: module
    try:
        return peft.get_peft_model(model, settings)
    finally:
        torch.nn.Module.to = moved


def _in_half(model: Any, half: Any) -> Any:
    # What `model.half()` does; it assigns .data too.
    for module in model.modules():
        for name, weight in list(module._parameters.items()):
            if weight is not None:
                module._parameters[name] = torch.nn.Parameter(weight.detach().to(half))
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and buffer.is_floating_point():
                module._buffers[name] = buffer.to(half)
    return model
