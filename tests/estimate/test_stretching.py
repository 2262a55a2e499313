"""Walks of many layers that follow from walks of few are the walks of all layers, event for event."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envdoctor.estimate import models
from envdoctor.estimate.models import Architecture
from envdoctor.estimate.stretching import grown, repeated, stretched
from envdoctor.estimate.walk import Short, plainly_walked, short, walk
from envdoctor.model.estimate import Workload

CONFIGS = Path(__file__).parent / "configs"
TRAINED: dict[str, Any] = {"mode": "training", "optimizer": "adamw", "batch": 2}
NAMES = ["gpt2-medium", "gemma-2b", "llama-2-7b", "phi-1_5", "phi-3-mini", "pythia-410m", "qwen3-0.6b", "smollm2-135m"]


def known(name: str) -> Architecture:
    if name in models.NAMES:
        return models.named(name)
    return models.from_config(name, json.loads((CONFIGS / f"{name}.json").read_text()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "how",
    [
        {**TRAINED},
        {**TRAINED, "dtype": "amp-fp16"},
        {**TRAINED, "dtype": "bf16", "optimizer": "sgd", "weight_decay": 0.1, "batch": 1},
        {**TRAINED, "foreach": False},
        {**TRAINED, "dtype": "amp-bf16", "checkpointing": True},
        {**TRAINED, "lora_rank": 8, "dtype": "int4", "checkpointing": True},
        {**TRAINED, "accumulation": 3, "attention": "eager"},
        {**TRAINED, "seq_len": 1024, "device": "cpu"},
        {"batch": 2, "kv_cache": True, "logits": "last", "kv_dtype": "int8", "dtype": "fp16"},
        {"dtype": "amp-fp16", "attention": "eager"},
    ],
)
def test_it_is_the_walk_of_every_layer(name: str, how: dict[str, Any]) -> None:
    workload = Workload(**{"model": name, "seq_len": 64, "optimizer": "none", **how})
    few = short(workload, known(name))
    assert few is not None
    made, plain = few.whole(), plainly_walked(workload, known(name))
    assert made is not None
    assert made.run.deltas == plain.run.deltas
    assert made.run.mates == plain.run.mates
    assert made.run.marks == plain.run.marks
    assert (made.made, made.ready, made.output_bytes) == (plain.made, plain.ready, plain.output_bytes)
    assert made.work == plain.work
    assert made.memory() == plain.memory()


def test_what_does_not_follow_is_walked() -> None:
    """The second shard's bucket grows with the model: one event of another size, and no layer more."""
    workload = Workload(model="gpt2-medium", seq_len=64, zero_stage=0, shards=4, **TRAINED)
    medium = models.named("gpt2-medium")
    few = short(workload, medium)
    assert few is not None and few.whole() is None
    assert walk(workload, medium) == plainly_walked(workload, medium).memory()


def test_layers_that_differ_are_found_out() -> None:
    """Gemma's second layer looks back further than its first one, and its keys are kept longer."""
    workload = Workload(model="gemma", seq_len=5000, kv_cache=True, logits="last")
    assert Short(workload, known("gemma-2-2b")).whole() is None
    assert short(workload, known("gemma-2-2b")) is None


@pytest.mark.parametrize("name", ["gpt2", "resnet152", "vit-b-16"])
def test_few_layers_or_other_ones_are_walked_as_they_are(name: str) -> None:
    assert short(Workload(model=name), models.named(name)) is None


@given(st.text("ab", max_size=6), st.text("abc", min_size=1, max_size=4), st.text("ab", max_size=6), st.integers(2, 9))
def test_a_text_with_a_repeated_part_grows_by_it(before: str, part: str, after: str, times: int) -> None:
    few, more = list(before + part + after), list(before + 3 * part + after)
    assert stretched(few, more, times) == list(before + part * (1 + times) + after)


@pytest.mark.parametrize(("few", "more"), [("ab", "aXYb"), ("ab", "aXb"), ("abc", "ab"), ("ab", "cb"), ("ab", "cXXb")])
def test_other_differences_are_none(few: str, more: str) -> None:
    assert repeated(few, more) is None


def test_what_is_done_once_grows_with_the_layers() -> None:
    assert grown([("in place", 10, 100)], [("in place", 14, 108)], 5) == [("in place", 20, 120)]
