"""What must hold of every walk, whatever the model."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envdoctor.errors import UsageProblem
from envdoctor.estimate.models import named
from envdoctor.estimate.tape import OPTIMIZER
from envdoctor.estimate.walk import Walk, walk
from envdoctor.model.estimate import Memory, Workload

MODELS = ["resnet18", "mobilenetv2", "mobilenetv3-small", "efficientnet-b0", "vgg16-bn", "yolov8n", "gpt2"]


def memory(model: str, **asked: Any) -> Memory:
    size: dict[str, Any] = {"seq_len": 128} if model.startswith("gpt2") else {"image_size": 128}
    return walk(Workload(model=model, **{**size, **asked}), named(model))


def peak(found: Memory) -> int:
    """Sum the parts. Blocks are up to a MiB larger than what is in them, by chance, so they need not grow with it."""
    return sum(getattr(found.parts, field) for field in found.parts.__struct_fields__)


TRAINED: dict[str, Any] = {"mode": "training", "optimizer": "adamw"}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "amp-fp16"])
@pytest.mark.parametrize("mode", ["inference", "training"])
def test_a_larger_batch_never_needs_less(model: str, dtype: str, mode: str) -> None:
    optimizer = "adamw" if mode == "training" else "none"
    found = [memory(model, mode=mode, dtype=dtype, optimizer=optimizer, batch=batch) for batch in (1, 2, 5, 16)]
    for small, large in pairwise(found):
        assert peak(small) <= peak(large)
        assert small.flops < large.flops
        assert small.bytes_moved < large.bytes_moved
    assert all(m.reserved_bytes >= m.allocated_bytes for m in found)


@pytest.mark.parametrize("model", MODELS)
def test_a_step_leaves_nothing_behind(model: str) -> None:
    size: dict[str, Any] = {"seq_len": 64} if model.startswith("gpt2") else {"image_size": 96}
    for asked in ({"dtype": "fp32"}, {"dtype": "amp-fp16"}, {"accumulation": 4}, {"checkpointing": True}):
        done = Walk(Workload(model=model, batch=2, **TRAINED, **size, **asked), named(model))
        live = done.run.live()
        assert live[-1] == live[done.ready - 1], asked


def test_the_same_question_has_the_same_answer() -> None:
    assert memory("resnet50", **TRAINED, batch=3) == memory("resnet50", **TRAINED, batch=3)


@pytest.mark.parametrize("batch", [1, 4, 16])
@pytest.mark.parametrize("dtype", ["fp32", "amp-fp16"])
def test_checkpointing_never_adds_and_computes_more(batch: int, dtype: str) -> None:
    plain = memory("gpt2", **TRAINED, batch=batch, dtype=dtype, seq_len=512)
    saving = memory("gpt2", **TRAINED, batch=batch, dtype=dtype, seq_len=512, checkpointing=True)
    assert peak(saving) <= peak(plain)
    assert 1.2 < saving.flops / plain.flops < 1.34
    if batch == 16:
        assert saving.allocated_bytes < 0.6 * plain.allocated_bytes


@given(batch=st.integers(1, 8), tokens=st.integers(1, 200), cached=st.booleans(), last=st.booleans())
@settings(max_examples=25, deadline=None)
def test_generating_holds_keys_and_values_of_every_layer(batch: int, tokens: int, cached: bool, last: bool) -> None:
    logits: Any = "last" if last else "all"
    found = memory("gpt2", batch=batch, seq_len=tokens, kv_cache=cached, logits=logits, dtype="fp16")
    least = 2 * found.parameters + (2 * 12 * batch * tokens * 768 * 2 if cached else 0)
    assert found.allocated_bytes >= least
    assert found.parts.gradients == found.parts.optimizer == 0


def test_summing_gradients_adds_them_to_the_forward_pass() -> None:
    once = memory("resnet18", mode="training", optimizer="sgd", batch=32)
    four = memory("resnet18", mode="training", optimizer="sgd", batch=32, accumulation=4)
    weights = 4 * once.parameters
    assert 0.3 * weights < four.allocated_bytes - once.allocated_bytes <= 1.1 * weights
    assert 3.9 < four.flops / once.flops <= 4


def test_the_optimizer_costs_what_it_keeps_and_what_it_makes_for_a_moment() -> None:
    step = memory("gpt2", **TRAINED, seq_len=8)
    weights = 4 * step.parameters
    assert step.peak_in == "step"
    assert step.allocated_bytes == pytest.approx(5 * weights, rel=0.005)
    assert memory("gpt2", mode="training", optimizer="none", seq_len=8).allocated_bytes < 3.3 * weights
    single = memory("gpt2", **TRAINED, seq_len=8, foreach=False)
    embedding = 50257 * 768 * 4
    assert single.allocated_bytes == pytest.approx(4 * weights + 2 * embedding, rel=0.005)
    decayed = memory("gpt2", mode="training", optimizer="sgd", weight_decay=0.1, seq_len=8)
    assert decayed.allocated_bytes - memory("gpt2", mode="training", optimizer="sgd", seq_len=8).allocated_bytes > 0


def test_states_are_counted_from_the_first_step_on() -> None:
    done = Walk(Workload(model="resnet18", batch=1, image_size=64, **TRAINED), named("resnet18"))
    parts = done.run.parts(done.ready)
    assert parts[OPTIMIZER] == pytest.approx(2 * 4 * 11_689_512, rel=0.001)


def test_arithmetic_is_the_published_one() -> None:
    """Multiply-adds of one image: 4.09 G for ResNet-50, 0.30 G for MobileNetV2, 15.5 G for VGG-16 (torchvision)."""
    for model, published in (("resnet50", 4.089e9), ("mobilenetv2", 0.301e9), ("vgg16", 15.47e9)):
        found = walk(Workload(model=model), named(model))
        assert found.flops == pytest.approx(2 * published, rel=0.06), model
        trained = walk(Workload(model=model, mode="training"), named(model))
        assert 2.9 < trained.flops / found.flops < 3.1
    tokens = memory("gpt2", seq_len=1)
    assert tokens.flops == pytest.approx(2 * 124e6, rel=0.02)
    assert tokens.bytes_moved == pytest.approx(4 * 124e6, rel=0.1)


def test_eager_attention_adds_nine_bytes_a_pair_of_tokens() -> None:
    """Softmax 4, dropout's output 4 and its mask 1: for each layer, head and sample."""
    sizes: dict[str, Any] = {"mode": "training", "optimizer": "sgd", "batch": 2, "seq_len": 1024}
    added = memory("gpt2", attention="eager", **sizes).allocated_bytes - memory("gpt2", **sizes).allocated_bytes
    assert added == pytest.approx(9 * 12 * 12 * 2 * 1024 * 1024, rel=0.02)


def test_what_cannot_run_is_said_in_one_line() -> None:
    with pytest.raises(UsageProblem, match="gpt2 takes 1024 tokens at the most, not 1025"):
        memory("gpt2", seq_len=1025)
    with pytest.raises(UsageProblem, match="too small"):
        memory("vgg16-bn", image_size=16)


def test_a_model_says_what_is_not_counted() -> None:
    assert "assigning boxes" in memory("yolov8n", mode="training").assumptions[0]
    assert memory("resnet18").assumptions == ()
