"""A lower bound of what many alike layers allocate, from two models with few of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envdoctor.estimate import models
from envdoctor.estimate.advice import changes
from envdoctor.estimate.device import Device
from envdoctor.estimate.walk import least, walk
from envdoctor.estimate.weighing import Scales, Walked
from envdoctor.model.estimate import Workload

GIB = 1 << 30
CONFIGS = Path(__file__).parent / "configs"
LARGE = models.named("gpt2-large")
QWEN = models.from_config("qwen3", json.loads((CONFIGS / "qwen3-0.6b.json").read_text()))
TRAINED: dict[str, Any] = {"model": "gpt2-large", "mode": "training", "batch": 4, "optimizer": "adamw"}


@pytest.mark.parametrize(
    ("how", "near"),
    [
        ({}, 0.97),
        ({"dtype": "amp-fp16"}, 0.97),
        ({"dtype": "amp-bf16", "checkpointing": True}, 0.8),
        ({"checkpointing": True, "batch": 1}, 0.8),
        ({"optimizer": "sgd", "weight_decay": 0.1}, 0.97),
        ({"lora_rank": 8}, 0.97),
        ({"accumulation": 2, "seq_len": 256}, 0.9),
        ({"zero_stage": 3, "shards": 4}, 0.9),
        ({"attention": "eager", "seq_len": 512}, 0.97),
        ({"mode": "inference", "optimizer": "none", "kv_cache": True, "logits": "last"}, 0.9),
        ({"mode": "inference", "optimizer": "none", "dtype": "int4"}, 0.9),
    ],
)
def test_it_is_below_what_is_allocated_and_near_it(how: dict[str, Any], near: float) -> None:
    workload = Workload(**{**TRAINED, **how})
    bound = least(workload, LARGE)
    assert bound is not None
    allocated = walk(workload, LARGE).allocated_bytes
    assert near * allocated < bound <= allocated


@pytest.mark.parametrize("stage", [1, 2])
def test_there_is_none_where_a_bucket_stops_growing(stage: int) -> None:
    """What is reduced at a time grows with the layers up to 500 million elements, so a straight line runs above it."""
    workload = Workload(**{**TRAINED, "batch": 1, "seq_len": 64, "zero_stage": stage, "shards": 4})
    assert least(workload, LARGE) is None
    on = Device(free_bytes=Scales(Walked(LARGE)).need(workload, Device()).high)
    assert Scales(Walked(LARGE)).too_much(workload, on) is None
    assert Scales(Walked(LARGE)).largest_batch(workload, on) == 1


def test_decoders_of_a_configuration_have_one_too() -> None:
    workload = Workload(model="qwen3", mode="training", batch=2, seq_len=512, dtype="bf16", optimizer="adamw")
    bound = least(workload, QWEN)
    assert bound is not None
    allocated = walk(workload, QWEN).allocated_bytes
    assert 0.97 * allocated < bound <= allocated


@pytest.mark.parametrize("name", ["gpt2", "gpt2-medium", "resnet152"])
def test_a_model_of_few_or_other_layers_is_walked(name: str) -> None:
    assert least(Workload(model=name, batch=1), models.named(name)) is None


def test_layers_that_differ_are_walked() -> None:
    config = json.loads((CONFIGS / "gemma-3-1b.json").read_text())
    assert least(Workload(model="gemma"), models.from_config("gemma", config)) is None


def test_advice_marks_what_is_only_a_bound_and_keeps_what_fits_exact() -> None:
    workload = Workload(**{**TRAINED, "batch": 8})
    on = Device(free_bytes=24 * GIB, capability="8.6")
    found = changes(workload, Scales(Walked(LARGE)), on)
    assert {each.at_least for each in found} == {True, False}
    for each in found:
        needed = Scales(Walked(models.named(each.workload.model))).need(each.workload, on).high
        if each.at_least:
            assert 24 * GIB < each.device_bytes <= needed
        else:
            assert each.device_bytes == needed


def test_the_largest_batch_is_that_of_full_walks() -> None:
    workload = Workload(**{**TRAINED, "batch": 8})
    on = Device(free_bytes=24 * GIB, capability="8.6")
    most = Scales(Walked(LARGE)).largest_batch(workload, on)
    assert most == 1
    ends = [Scales(Walked(LARGE)).need(Workload(**{**TRAINED, "batch": batch}), on).high for batch in (most, most + 1)]
    assert ends[0] <= 24 * GIB < ends[1]


def test_no_batch_fits_where_the_bound_of_one_does_not() -> None:
    assert Scales(Walked(LARGE)).largest_batch(Workload(**TRAINED), Device(free_bytes=4 * GIB)) == 0
