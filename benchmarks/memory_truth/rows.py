"""Which rows are made where none are named: families and settings that the shared rows do not have.

One kind is left out: SGD with tied embeddings of a large vocabulary in a small batch. Its peak is where the embedding's
two gradients meet, which CUDA adds in place and fake tensors, being subclasses, do not (input_buffer.cpp): such a row
is one embedding too high.
"""

from __future__ import annotations

from typing import Any


def _images(model: str, *settings: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"model": model, "resolution": 224, **each} for each in settings]


def _text(model: str, *settings: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"model": f"{model}.json", **each} for each in settings]


def _trained(optimizer: str = "adamw", **settings: Any) -> dict[str, Any]:
    return {"mode": "train", "optimizer": optimizer, **settings}


ROWS = [
    *_images(
        "vgg16", {"batch": 8}, {"batch": 16, "dtype": "fp16"}, _trained("sgdm", batch=32), _trained("adam", batch=4)
    ),
    *_images(
        "efficientnet_b0",
        {"batch": 16},
        _trained("sgdm", batch=32, dtype="amp_fp16"),
        _trained("adamw", batch=16),
    ),
    *_images(
        "mobilenet_v3_large", {"batch": 32}, _trained("sgdm", batch=64), _trained("adamw", batch=32, accumulation=2)
    ),
    *_images("mobilenet_v3_small", {"batch": 1}, _trained("sgdm", batch=64, dtype="amp_fp16")),
    *_images(
        "vit_b_16",
        {"batch": 32},
        {"batch": 8, "dtype": "fp16"},
        {"batch": 16, "dtype": "amp_fp16"},
        _trained("adamw", batch=32),
        _trained("sgdm", batch=32, dtype="amp_bf16"),
    ),
    *_text(
        "bert-base",
        {"batch": 8, "seq": 512},
        {"batch": 16, "seq": 128, "dtype": "fp16"},
        _trained(batch=16, seq=256),
        _trained(batch=8, seq=512, dtype="amp_fp16"),
        _trained(batch=8, seq=256, attn="eager"),
    ),
    *_text(
        "bert-base-classifier",
        {"batch": 8, "seq": 384, "dtype": "amp_fp16"},
        _trained(batch=32, seq=128),
        _trained(batch=32, seq=256, grad_ckpt=True),
        _trained(batch=16, seq=256, dtype="bf16"),
    ),
    *_text(
        "tinyllama-1.1b",
        {"seq": 1024, "dtype": "bf16", "kv_cache": True, "logits": "last"},
        {"batch": 4, "seq": 512, "dtype": "fp16"},
        {"seq": 512, "dtype": "fp32"},
        _trained(batch=2, seq=1024, dtype="bf16"),
        _trained("sgdm", batch=1, seq=512),
        _trained(batch=4, seq=1024, dtype="bf16", grad_ckpt=True),
        _trained(batch=1, seq=512, dtype="amp_bf16", accumulation=4),
        _trained(batch=1, seq=1024, dtype="bf16", lora_rank=16),
    ),
    *_text(
        "llama-3.2-1b",
        {"batch": 2, "seq": 2048, "dtype": "bf16", "kv_cache": True, "logits": "last"},
        {"seq": 1024, "dtype": "bf16"},
        _trained(batch=2, seq=1024, dtype="amp_bf16", grad_ckpt=True),
        _trained("sgdm", batch=2, seq=512, dtype="bf16", attn="eager"),
    ),
    *_text(
        "qwen2-0.5b",
        {"batch": 4, "seq": 1024, "dtype": "bf16", "kv_cache": True, "logits": "last"},
        _trained(batch=4, seq=512, dtype="bf16"),
        _trained(batch=2, seq=512, dtype="amp_bf16", lora_rank=8),
    ),
    *_text(
        "qwen3-0.6b",
        {"batch": 4, "seq": 1024, "dtype": "bf16", "kv_cache": True, "logits": "last"},
        {"batch": 2, "seq": 512, "dtype": "fp32", "logits": "last"},
        _trained(batch=4, seq=512, dtype="bf16"),
        _trained(batch=2, seq=512),
        _trained(batch=4, seq=1024, dtype="bf16", lora_rank=8, grad_ckpt=True),
    ),
    *_text(
        "mistral-small",
        {"batch": 1, "seq": 4096, "dtype": "bf16", "kv_cache": True, "logits": "last"},
        _trained(batch=4, seq=512, dtype="bf16"),
        _trained(batch=2, seq=2048, dtype="bf16"),
    ),
    *_text(
        "gemma-2b",
        {"batch": 2, "seq": 1024, "dtype": "bf16", "kv_cache": True, "logits": "last"},
        _trained(batch=2, seq=512, dtype="bf16"),
        # Measured too high: fake gradients of the tied embedding are added into a third tensor.
        _trained("sgdm", batch=1, seq=512, dtype="bf16"),
        _trained("sgdm", batch=2, seq=512, dtype="bf16"),
    ),
    *_text(
        "gemma-2-2b",
        {"batch": 1, "seq": 1024, "dtype": "bf16", "attn": "eager", "kv_cache": True, "logits": "last"},
        _trained("sgdm", batch=1, seq=1024, dtype="bf16", attn="eager"),
    ),
    *_text(
        "gemma-3-1b",
        {"batch": 1, "seq": 2048, "dtype": "bf16", "kv_cache": True, "logits": "last"},
        _trained(batch=2, seq=512, dtype="bf16"),
    ),
    *_text(
        "phi-1_5",
        {"batch": 2, "seq": 1024, "dtype": "fp16", "kv_cache": True, "logits": "last"},
        _trained("sgdm", batch=2, seq=1024, dtype="bf16"),
        _trained(batch=2, seq=512, dtype="amp_bf16"),
    ),
    *_text(
        "phi-3-mini",
        {"batch": 1, "seq": 1024, "dtype": "bf16", "kv_cache": True, "logits": "last"},
        _trained("sgdm", batch=1, seq=1024, dtype="bf16"),
    ),
    *_text(
        "pythia-160m",
        {"batch": 4, "seq": 1024, "dtype": "fp16", "kv_cache": True, "logits": "last"},
        _trained(batch=8, seq=512),
        _trained(batch=8, seq=512, dtype="amp_fp16"),
    ),
    *_text(
        "pythia-410m",
        {"batch": 2, "seq": 512},
        _trained(batch=4, seq=1024, dtype="bf16", grad_ckpt=True),
        _trained(batch=4, seq=1024, attn="eager"),
    ),
    *_text(
        "minimind2-small",
        {"batch": 1, "seq": 512, "dtype": "bf16"},
        _trained(batch=32, seq=512, dtype="amp_bf16"),
        _trained(batch=8, seq=512),
    ),
    *_text("minimind3", _trained(batch=16, seq=340, dtype="amp_bf16", accumulation=8)),
    *_text(
        "mixtral-small",
        {"batch": 1, "seq": 512, "dtype": "bf16", "kv_cache": True, "logits": "last"},
        _trained("sgdm", batch=2, seq=512, dtype="bf16"),
    ),
    # Made after the models were written, and first looked at then: settings that none of the rows above has.
    *_text("llama-3.2-1b", {"batch": 2, "seq": 512, "dtype": "amp_fp16", "kv_cache": True, "logits": "last"}),
    *_text("qwen3-0.6b", _trained("sgdm", batch=2, seq=1024, dtype="amp_bf16")),
    *_text("gemma-3-1b", _trained("sgdm", batch=1, seq=1024, dtype="fp32")),
    *_text("mistral-small", _trained(batch=2, seq=2048, dtype="amp_bf16")),
    *_text("bert-base-classifier", _trained(batch=16, seq=384, dtype="amp_bf16", attn="eager")),
    *_text("neox-sequential", _trained(batch=4, seq=512, dtype="bf16")),
    *_text("phi-odd", _trained(batch=4, seq=512, dtype="bf16")),
    *_text("llama-odd", _trained(batch=4, seq=512, dtype="bf16"), _trained(batch=4, seq=512, dtype="fp32")),
    *_text("gpt2", _trained(batch=2, seq=512, dtype="bf16", lora_rank=8)),
    # Chosen and made before any of their estimates was looked at: odd sizes, and settings in new company.
    *_images(
        "vit_b_16",
        _trained("adamw", batch=7, foreach=False),
        _trained("adam", batch=10, dtype="bf16", accumulation=2),
    ),
    *_images("resnet101", _trained("adam", batch=12, dtype="amp_bf16")),
    *_images("resnet34", _trained("sgdm", batch=24, resolution=192, foreach=False, weight_decay=1e-4)),
    *_images("efficientnet_b0", _trained("adam", batch=20, dtype="bf16")),
    *_images("mobilenet_v3_large", {"batch": 7, "resolution": 288, "dtype": "amp_bf16"}),
    *_images("vgg16", _trained("sgdm", batch=6, dtype="amp_bf16", foreach=False)),
    *_text("bert-base", _trained("adam", batch=6, seq=77, dtype="amp_bf16")),
    *_text("bert-base-classifier", _trained("sgdm", batch=9, seq=333, dtype="amp_fp16", accumulation=3)),
    *_text(
        "gpt2",
        _trained("adam", batch=3, seq=640, dtype="amp_bf16", grad_ckpt=True),
        _trained(batch=2, seq=900, dtype="bf16", grad_ckpt=True, attn="eager"),
    ),
    *_text("tinyllama-1.1b", _trained(batch=3, seq=700, dtype="amp_bf16", grad_ckpt=True, foreach=False)),
    *_text("llama-3.2-1b", _trained("sgdm", batch=1, seq=1500)),
    *_text("qwen2-0.5b", _trained("adam", batch=2, seq=777, dtype="amp_fp16", accumulation=2)),
    *_text("qwen3-0.6b", _trained(batch=1, seq=2048, dtype="bf16", grad_ckpt=True, accumulation=2)),
    *_text("phi-1_5", {"batch": 3, "seq": 300, "logits": "last"}),
    *_text("pythia-410m", _trained(batch=2, seq=512, dtype="amp_bf16", lora_rank=32)),
    *_text("mistral-small", {"batch": 2, "seq": 1000, "dtype": "amp_bf16"}),
    *_text("minimind2-small", _trained("sgdm", batch=12, seq=400, dtype="bf16", accumulation=2)),
    *_text("llama-2-7b", {"seq": 2000, "dtype": "fp16", "kv_cache": True, "logits": "last"}),
    *_text("smollm2-135m", _trained(batch=5, seq=300, dtype="amp_bf16")),
]
