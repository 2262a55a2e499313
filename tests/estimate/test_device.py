from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envdoctor.estimate import models
from envdoctor.estimate.device import Borrowed, Device, Need, borrowed, need, of_model, overhead, verdict
from envdoctor.estimate.weighing import Scales, Walked
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.names import gpu_named
from envdoctor.model.estimate import Memory, Parts, Workload

FACTS = Knowledge()
GIB, MIB = 1 << 30, 1 << 20
PUBLISHED: list[dict[str, Any]] = json.loads((Path(__file__).parent / "memory_truth.json").read_text())["published"]
MEMORY = Memory(
    parameters=1, parts=Parts(), allocated_bytes=GIB, reserved_bytes=2 * GIB, peak_in="forward", flops=0, bytes_moved=0
)


def device(name: str) -> Device:
    row = gpu_named(FACTS, name)
    assert row is not None
    return of_model(row)[0]


@pytest.mark.parametrize(
    ("torch", "capability", "low", "high"),
    [
        (None, "8.6", 270, 650),
        ("2.7.1", None, 270, 650),
        ("1.13.1+cu117", "8.0", 270, 650),
        ("1.12.1", "8.0", 600, 1900),
        ("1.12", "7.5", 200, 1000),
        ("1.3.0", "nightly", 200, 1000),
    ],
)
def test_the_context_depends_on_the_release_and_the_card(
    torch: str | None, capability: str | None, low: int, high: int
) -> None:
    found = overhead(Device(capability=capability, torch=torch))
    assert (found.low, found.high) == (low, high)
    assert found.low < found.likely < found.high


def test_what_a_process_needs_is_a_range_around_the_likely() -> None:
    inference = need(Workload(model="x"), MEMORY, Device(capability="8.6"), Borrowed())
    assert inference.low == GIB + 270 * MIB + 8_519_680
    assert inference.low < inference.likely < inference.high == 2 * GIB + 650 * MIB + 8_519_680 + 4 * MIB
    hopper = need(Workload(model="x"), MEMORY, Device(capability="9.0"), Borrowed())
    assert hopper.low - inference.low == 32 * MIB - 8_519_680
    training = need(Workload(model="x", mode="training", batch=3), MEMORY, Device(), Borrowed(likely=1, high=7))
    assert training.high - inference.high == 8_519_680 + 21
    assert training.likely - inference.likely == 8_519_680 + 3


def test_convolutions_borrow_by_the_size_of_the_image() -> None:
    assert borrowed("resnet50", 224, "fp32") == Borrowed(likely=10 * MIB, high=20 * MIB)
    assert borrowed("resnet50", 448, "amp-fp16").high == 40 * MIB
    assert borrowed("mobilenetv2", 224, "fp32").high == 10 * MIB
    assert borrowed("vit-b-16", 224, "fp32") == Borrowed()


def test_the_verdict_follows_the_ends() -> None:
    needed = Need(low=10, likely=15, high=20)
    assert [verdict(needed, free) for free in (20, 19, 10, 9, None)] == [
        "fits",
        "tight",
        "tight",
        "out-of-memory",
        "unknown",
    ]


@pytest.mark.parametrize(
    ("name", "sold", "free"),
    [
        ("RTX 3090", 24, 24 * 0.985),
        ("Tesla T4", 16, 15 * 0.985),  # nvidia-smi shows 15360 MiB of a T4
        ("NVIDIA L4", 24, 22.5 * 0.985),  # and 23034 MiB of an L4
        ("A100-SXM4-80GB", 80, 80 * 0.985),  # HBM has its own bits for error correction
        ("AMD Instinct MI250", 128, 64 * 0.985),  # two devices on a card
        ("Jetson Orin Nano", 4, 4 * 0.85),
    ],
)
def test_less_is_free_than_is_sold(name: str, sold: float, free: float) -> None:
    row = gpu_named(FACTS, name)
    assert row is not None and min(row.memory_gib) == sold
    found = of_model(row)[0]
    assert found.free_bytes == pytest.approx(free * GIB, abs=1)
    assert found.assumptions


def test_a_card_of_two_sizes_is_two_devices_and_says_so() -> None:
    row = gpu_named(FACTS, "RTX 3060")
    assert row is not None
    found = of_model(row)
    assert [round((each.free_bytes or 0) / GIB, 2) for each in found] == [7.88, 11.82]
    assert "it is sold with 8 and 12 GiB; --memory says which" in found[0].assumptions


def _measured(row: dict[str, Any]) -> Workload | None:
    """Give the workload of a published row, where the row says it all and is not of code that keeps other tensors."""
    dtype = {"fp32 (inferred from slope)": "fp32", "amp_fp16": "amp-fp16"}.get(row.get("dtype", ""), row.get("dtype"))
    known = row["model"] in models.NAMES and row.get("batch") and dtype in ("fp32", "amp-fp16")
    library = row.get("library", "")
    old_code = row["model"].startswith("gpt2") and any(each in library for each in ("2.3 (2019)", "3.x", "nano"))
    if not known or old_code or row["task"] == "train, after forward" or "low" in row.get("trust", ""):
        return None
    training = row["task"].startswith("train")
    name = str(row.get("optimizer", "")).lower()
    optimizer = next((each for each in ("adamw", "adam") if each in name), "sgd") if training else "none"
    return Workload(
        model=row["model"],
        mode="training" if training else "inference",
        batch=row["batch"],
        image_size=row.get("resolution"),
        seq_len=row.get("seq"),
        dtype=dtype,  # type: ignore[arg-type]  # one of two
        optimizer=optimizer,  # type: ignore[arg-type]  # one of four
        weight_decay=1e-4 if optimizer == "sgd" else 0.0,
    )


def _weighed(row: dict[str, Any], workload: Workload, on: Device) -> Need:
    return Scales(Walked(models.named(row["model"]))).need(workload, on)


def test_published_measurements_are_within_a_tenth_for_nine_of_ten() -> None:
    """nvidia-smi's figure against the likely one, torch's own counters against the walk's."""
    off: dict[str, float] = {}
    for row in PUBLISHED:
        workload = _measured(row)
        if workload is None or not row.get("measured_bytes") or row.get("fits"):
            continue  # where a run filled its card, the figure is that of the card
        scales = Scales(Walked(models.named(row["model"])))
        name = f"{row['model']} {workload.mode} {workload.batch}"
        if "nvidia-smi" in row["metric"]:
            # GPUMemNet's stack loaded all of CUDA at once: its one-neuron network took 1237 MiB.
            needed = scales.need(workload, Device(capability="8.0", torch="1.12"))
            off[name] = needed.likely / row["measured_bytes"] - 1
            assert needed.low <= row["measured_bytes"] <= needed.high * 1.1, name
        else:
            memory = scales.memory(workload)
            off[name] = memory.allocated_bytes / row["measured_bytes"] - 1
            if row.get("measured_reserved_bytes"):
                off[f"{name} reserved"] = memory.reserved_bytes / row["measured_reserved_bytes"] - 1
    assert len(off) >= 25
    wrong = {name: round(each, 3) for name, each in off.items() if abs(each) > 0.1}
    assert len(wrong) <= len(off) * 0.1, wrong


def test_no_run_that_happened_is_called_out_of_memory() -> None:
    judged = {}
    for row in PUBLISHED:
        workload = _measured(row)
        if workload is None or not row.get("fits") or not row.get("gpu_capacity_bytes"):
            continue
        older = ("2080", "2070", "V100", "RTX", "Titan", "P100")
        capability = "7.5" if row["gpu"].startswith(older) and "3090" not in row["gpu"] else "8.6"
        free = int(row["gpu_capacity_bytes"] * 0.985)
        on = Device(capability=capability, free_bytes=free, torch="1.12")  # the runs are of 2020 to 2022
        judged[f"{row['gpu']} {workload.dtype} {workload.batch}"] = verdict(_weighed(row, workload, on), free)
    assert len(judged) >= 20
    assert [name for name, each in judged.items() if each == "out-of-memory"] == []
