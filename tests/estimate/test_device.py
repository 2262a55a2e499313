from __future__ import annotations

import pytest
from measured import published_measurements, published_runs

from envdoctor.estimate.device import Borrowed, Device, Need, borrowed, need, of_model, overhead, verdict
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.names import gpu_named
from envdoctor.model.estimate import Workload

FACTS = Knowledge()
GIB, MIB = 1 << 30, 1 << 20


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
    inference = need(Workload(model="x"), GIB, 2 * GIB, Device(capability="8.6"), Borrowed())
    assert inference.low == GIB + 270 * MIB + 8_519_680
    assert inference.low < inference.likely < inference.high == 2 * GIB + 650 * MIB + 8_519_680 + 4 * MIB
    hopper = need(Workload(model="x"), GIB, 2 * GIB, Device(capability="9.0"), Borrowed())
    assert hopper.low - inference.low == 32 * MIB - 8_519_680
    training = need(Workload(model="x", mode="training", batch=3), GIB, 2 * GIB, Device(), Borrowed(likely=1, high=7))
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


def test_published_measurements_are_within_a_tenth_for_nine_of_ten() -> None:
    """nvidia-smi's figure against the likely one, torch's own counters against the walk's."""
    compared = published_measurements()
    assert len(compared) >= 25
    wrong = {each.name: round(each.error, 3) for each in compared if abs(each.error) > 0.1}
    assert len(wrong) <= len(compared) * 0.1, wrong
    assert [each.name for each in compared if not each.in_range] == []


def test_no_run_that_happened_is_called_out_of_memory() -> None:
    judged = published_runs()
    assert len(judged) >= 20
    assert [name for name, each in judged.items() if each == "out-of-memory"] == []
