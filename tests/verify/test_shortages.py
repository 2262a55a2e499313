"""Where memory ran out and what would fit: from what the workload, its end and the allocator said."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from envdoctor.model.outcome import Metrics, Outcome, Shortage
from envdoctor.report import outcomes
from envdoctor.verify.shortages import explained
from envdoctor.verify.verdicts import Asked

MIB = 1 << 20
ASKED = Asked(workload="resnet50", framework="torch", device="auto", timeout=60.0, memory_cap=8192 * MIB)
CUDA = (
    "CUDA out of memory. Tried to allocate {wanted}. GPU 0 has a total capacity of {total} of which 5.56 MiB is free. "
    "{others}Including non-PyTorch memory, this process has {own} memory in use. Of the allocated memory {used} is "
    "allocated by PyTorch, and {unused} is reserved by PyTorch but unallocated."
)
OTHERS = "Process 4711 has 3.40 GiB memory in use. "


def told(device: str = "cpu", peak: int | None = None, **shortage: object) -> Outcome:
    return Outcome(
        workload="resnet50",
        framework="torch",
        device=device,
        status="out-of-memory",
        metrics=Metrics(peak_memory_bytes=peak),
        shortage=Shortage(**shortage) if shortage else None,  # type: ignore[arg-type]
    )


def where(outcome: Outcome, stage: str, asked: Asked = ASKED) -> Shortage:
    found = explained(outcome, asked, stage, quick=True).shortage
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        (("20.00 MiB", "4.00 GiB", OTHERS, "500.00 MiB", "40.00 MiB", "1.00 MiB"), "another-process"),
        (("1.00 GiB", "4.00 GiB", "", "3.90 GiB", "1.50 GiB", "1.90 GiB"), "fragmentation"),
        (("1.00 GiB", "4.00 GiB", "", "3.90 GiB", "3.40 GiB", "1.90 MiB"), "optimizer"),
    ],
)
def test_a_card_says_who_holds_it(figures: tuple[str, ...], expected: str) -> None:
    names = ("wanted", "total", "others", "own", "used", "unused")
    words = CUDA.format(**dict(zip(names, figures, strict=True)))
    found = where(told("cuda", words=words, moment="optimizer"), "train")
    assert found.where == expected
    room = 4096 - (3.4 * 1024 if expected == "another-process" else 0)
    assert found.room_bytes is not None and 0.8 * room * MIB < found.room_bytes <= room * MIB
    assert all(each.device_bytes <= (found.room_bytes or 0) for each in found.changes)


def test_three_changes_fit_and_each_has_its_memory() -> None:
    """A batch of 64 images of 224x224 through a ResNet-50 takes more than a gigabyte of a card."""
    words = CUDA.format(
        wanted="196.00 MiB", total="1.50 GiB", others="", own="1.45 GiB", used="1.10 GiB", unused="2.00 MiB"
    )
    found = where(told("cuda", words=words, moment="forward"), "speed")
    assert found.where == "activations"
    assert found.needed_bytes is not None and found.room_bytes is not None and found.needed_bytes > found.room_bytes
    assert 1 <= len(found.changes) <= 3
    assert all(0 < each.device_bytes <= found.room_bytes for each in found.changes)
    assert len({each.what for each in found.changes}) == len(found.changes)


@pytest.mark.parametrize(
    ("room", "stage", "expected"),
    [
        (300, "build", "weights"),
        (330, "forward", "weights"),
        (600, "train", "optimizer"),
        (450, "speed", "activations"),
    ],
)
def test_what_is_made_first_and_finds_no_room_is_named(room: int, stage: str, expected: str) -> None:
    """torch and its kernels take 241 MiB, a ResNet-50's weights 98, and training it on 32 pixels three times that."""
    asked = replace(ASKED, memory_cap=room * MIB)
    assert where(told(peak=room * MIB), stage, asked).where == expected


def test_a_program_that_others_left_no_room_is_told_so() -> None:
    asked = replace(ASKED, memory_cap=400 * MIB, granted=8192 * MIB)
    assert where(told(peak=400 * MIB), "train", asked).where == "another-process"
    for other in (replace(asked, granted=410 * MIB), replace(asked, chosen=True)):
        assert where(told(peak=400 * MIB), "train", other).where != "another-process"


def test_one_that_was_killed_far_below_its_cap_too() -> None:
    found = where(told(peak=500 * MIB, killed=True), "train")
    assert (found.where, found.room_bytes) == ("another-process", 500 * MIB)
    near = replace(ASKED, granted=450 * MIB)  # by its group, whatever cap was set
    found = where(told(peak=500 * MIB, killed=True), "train", near)
    assert (found.where, found.room_bytes) == ("weights", 450 * MIB)


def test_what_fits_by_itself_is_the_first_change() -> None:
    found = where(told(peak=420 * MIB), "forward", replace(ASKED, memory_cap=560 * MIB))
    assert found.needed_bytes is not None and found.needed_bytes < 560 * MIB
    assert "float64 copy" in found.changes[0].what
    assert found.changes[0].device_bytes == found.needed_bytes


def test_a_workload_that_the_estimator_does_not_know_is_judged_by_its_moment() -> None:
    asked = replace(ASKED, workload="pretrained-cnn")
    assert where(told(moment="backward"), "forward", asked).where == "activations"
    assert where(told(), "weights", asked).where == "weights"
    assert where(told(), "speed", asked).where == "unknown"


def test_what_did_not_run_out_is_left_alone() -> None:
    passed = replace(told(), status="passed")
    assert explained(passed, ASKED, "speed", quick=True) is passed


def test_a_person_reads_it() -> None:
    asked = replace(ASKED, memory_cap=450 * MIB)
    text = " ".join(outcomes.text((explained(told(peak=450 * MIB), asked, "speed", quick=True),)).split())
    assert "where what the layers give found no room beside the weights" in text
    assert "room 450 MiB; a program that does just this needs up to" in text
    assert "would fit" in text
