from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from envdoctor.model.estimate import Capacity, Change, Estimate, Memory, Parts, Workload
from envdoctor.report import documents
from envdoctor.report.estimates import capacities, text, title
from envdoctor.report.text import Style

GIB = 1 << 30
WORKLOAD = Workload(model="resnet50", mode="training", batch=32, optimizer="sgd", image_size=224)
FOUND = Estimate(
    workload=WORKLOAD,
    memory=Memory(
        parameters=25557032,
        parts=Parts(weights=GIB // 4, activations=GIB, inputs=1),
        allocated_bytes=2 * GIB,
        reserved_bytes=3 * GIB,
        peak_in="step",
        flops=7,
        bytes_moved=9,
    ),
    device_name="NVIDIA T4",
    free_bytes=8 * GIB,
    device_bytes_low=3 * GIB,
    device_bytes_likely=4 * GIB,
    device_bytes_high=5 * GIB,
    verdict="fits",
    max_batch=99,
    assumptions=("one thing", "another"),
)
CHANGES = (
    Change(what="smaller images", workload=WORKLOAD, device_bytes=2 * GIB, saved_bytes=3 * GIB),
    Change(what="a little less", workload=WORKLOAD, device_bytes=9 * GIB, saved_bytes=GIB),
)
BOUNDS = (Change(what="half", workload=WORKLOAD, device_bytes=9 * GIB, saved_bytes=GIB, at_least=True),)


def test_parts_are_bars_by_their_share() -> None:
    lines = text(FOUND).splitlines()
    assert lines[0] == "resnet50, training, batch 32, 224x224, fp32, sgd"
    bars = {line.split()[0]: line.count("#") for line in lines if "#" in line}
    assert bars == {"weights": 6, "activations": 24, "inputs": 1}
    assert "  allocated           2 GiB  at its peak, in the optimizer's step" in lines
    assert "  the device      3 GiB to 5 GiB in all, most likely 4 GiB" in lines
    assert "+ It fits: 8 GiB are free on NVIDIA T4. The largest batch that surely fits is 99." in lines
    assert lines[-2:] == ["  assuming        one thing", "                  another"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "tight"}, "! It is tight: 8 GiB are free on NVIDIA T4, which lies between the two ends."),
        ({"verdict": "out-of-memory", "max_batch": 0}, "Not even a batch of 1 surely fits."),
        ({"verdict": "unknown", "free_bytes": None, "max_batch": None}, "name a card with --gpu"),
        ({"changes": CHANGES}, "cheaper         smaller images: 2 GiB, 3 GiB less"),
        ({"changes": CHANGES, "verdict": "tight"}, "makes it fit    smaller images: 2 GiB, 3 GiB less"),
        ({"changes": BOUNDS, "verdict": "tight"}, "helps           half: at least 9 GiB, at the most 1 GiB less"),
        ({"changes": CHANGES}, "helps           a little less: 9 GiB, 1 GiB less"),
    ],
)
def test_the_verdict_is_said_in_words(changes: dict[str, Any], words: str) -> None:
    told = text(replace(FOUND, **changes), Style(colour=False, width=100))
    assert " ".join(words.split()) in " ".join(told.split())


def test_a_run_on_the_processor_has_no_allocator_of_cuda() -> None:
    cpu = replace(FOUND, workload=replace(WORKLOAD, device="cpu"), device_name="CPU")
    assert "reserved" not in text(cpu)
    assert "the process" in text(cpu)


def test_every_line_keeps_to_the_width() -> None:
    long = replace(FOUND, changes=CHANGES * 3, assumptions=("a sentence that goes on and on " * 8,))
    assert max(len(line) for line in text(long, Style(colour=False, width=60)).splitlines()) <= 60


def test_what_differs_from_the_defaults_is_in_the_title() -> None:
    workload = Workload(
        model="gpt2",
        mode="training",
        optimizer="adamw",
        attention="eager",
        checkpointing=True,
        accumulation=4,
        lora_rank=8,
    )
    assert title(workload) == (
        "gpt2, training, batch 1, fp32, adamw, checkpointing, eager attention, 4 accumulation steps, LoRA rank 8"
    )


def test_the_document_is_one_of_bytes() -> None:
    found = json.loads(documents.estimate(replace(FOUND, changes=CHANGES)))
    assert found["device_bytes"] == {"low": 3 * GIB, "high": 5 * GIB}
    assert found["likely_device_bytes"] == 4 * GIB
    assert found["parts"]["weights"] == GIB // 4
    assert [each["what"] for each in found["changes"]] == ["smaller images", "a little less"]
    assert found["device"] == {"name": "NVIDIA T4", "free_bytes": 8 * GIB}


def test_cards_are_a_table() -> None:
    found = (
        Capacity(device_name="GTX 750", free_bytes=GIB, max_batch=0),
        Capacity(device_name="A100 80GB", free_bytes=80 * GIB, max_batch=702),
    )
    assert capacities(WORKLOAD, found).splitlines() == [
        "The largest batch that surely fits: resnet50, training, batch 32, 224x224, fp32, sgd",
        "  GTX 750       1 GiB free        -",
        "  A100 80GB    80 GiB free      702",
    ]
    assert json.loads(documents.capacities(WORKLOAD, found))["capacities"][1]["max_batch"] == 702
