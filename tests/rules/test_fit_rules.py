from __future__ import annotations

from typing import Any

import pytest
from expecting import fires, silent
from judged import values
from machines import GIB, changed, cpu_only, gpu, unknown, workstation, wsl2

from envdoctor.cli import run
from envdoctor.model.snapshot import Memory, Snapshot

BIG = "gpt2:training:batch=8,seq=1024"


def wanting(machine: Snapshot, *workloads: str) -> Snapshot:
    return changed(machine, wanted=workloads)


def card(gib: float, **changes: Any) -> Snapshot:
    return workstation(gpus=(gpu(memory_bytes=int(gib * GIB), free_bytes=int(gib * GIB), **changes),))


def test_a_workload_that_does_not_fit_is_an_error_with_ways_out() -> None:
    machine = wanting(card(8), BIG)
    finding = fires("MEM006", machine, "error", BIG, "8 GiB free", "4 accumulation steps", slug="gpu-out-of-memory")
    told = {"wanted[0]": BIG, "gpus[0].free_bytes": str(8 * GIB), "gpus[0].memory_bytes": str(8 * GIB)}
    assert values(finding) == told
    assert finding.certainty == "certain"
    assert 1 <= len(finding.fixes) <= 4


def test_only_tensors_that_the_whole_card_cannot_hold_are_an_error() -> None:
    full = workstation(gpus=(gpu(memory_bytes=24 * GIB, free_bytes=8 * GIB),))  # others hold the rest now
    fires("MEM006", wanting(full, BIG), "warning", "8 GiB free", certainty="likely")
    # Windows moves tensors to host memory, slowly.
    shared = wsl2(gpus=(gpu(memory_bytes=8 * GIB, free_bytes=8 * GIB),))
    fires("MEM006", wanting(shared, BIG), "warning", "8 GiB free", certainty="likely")


def test_between_the_two_ends_is_a_warning() -> None:
    fires("MEM006", wanting(card(15), BIG), "warning", "it may not fit", certainty="hint")


def test_the_card_with_the_most_free_memory_counts() -> None:
    two = workstation(gpus=(gpu(free_bytes=4 * GIB), gpu(index=1, memory_bytes=24 * GIB, free_bytes=23 * GIB)))
    silent("MEM006", wanting(two, BIG))


def test_a_card_that_tells_only_its_size_is_judged_by_that() -> None:
    machine = wanting(workstation(gpus=(gpu(memory_bytes=8 * GIB, free_bytes=None),)), BIG)
    assert "gpus[0].memory_bytes" in values(fires("MEM006", machine, "error"))


def test_without_a_card_host_memory_is_judged() -> None:
    little = Memory(total_bytes=64 * GIB, available_bytes=60 * GIB, limit_bytes=4 * GIB, swap_bytes=0)
    small = wanting(changed(cpu_only(), memory=little), BIG)
    finding = fires("MEM006", small, "error", "host memory has 4 GiB free", slug="host-out-of-memory")
    assert "memory.limit_bytes" in values(finding)
    swapping = changed(small, memory=changed(little, swap_bytes=64 * GIB))
    fires("MEM006", swapping, "warning", "host memory has 4 GiB free", certainty="likely")


def test_each_workload_is_judged() -> None:
    machine = wanting(card(8), "gpt2:inference", BIG)
    assert "wanted[1]" in values(fires("MEM006", machine, "error"))


@pytest.mark.parametrize(
    "machine",
    [
        card(8),  # nothing is wanted
        wanting(card(24), BIG),
        wanting(card(8), "resnet50:training:batch=32"),
        wanting(workstation(gpus=(gpu(memory_bytes=None, free_bytes=None),)), BIG),
        wanting(workstation(gpus=(gpu(lost=True),), memory=None), BIG),
        # What a report holds is anything.
        wanting(
            card(8), "", ":", "gpt2", "gpt9:training:", "gpt2:training:batch=999999999999", "gpt2:training:dtype=x"
        ),
        wanting(card(1, capability="nightly"), "gpt2:inference:batch=1,optimizer=adam"),
    ],
)
def test_what_fits_is_unknown_or_no_workload_is_silent(machine: Snapshot) -> None:
    silent("MEM006", machine)


def test_an_odd_capability_does_no_harm() -> None:
    fires("MEM006", wanting(card(8, capability="nightly"), BIG), "error")


def test_a_card_whose_memory_could_not_be_read_is_not_judged() -> None:
    from judged import diagnose

    machine = unknown(wanting(card(8), BIG), "gpus.memory_bytes")
    assert "MEM006" in {each.id for each in diagnose(machine).not_checked}


@pytest.mark.parametrize(
    ("workload", "words"),
    [
        ("gpt2", "is no workload"),
        ("gpt2:train:batch=8", "is no workload"),
        ("gpt9:training", "near: gpt2"),
        ("gpt2:training:batch=0", "batch is a number from 1 to 1048576"),
        ("gpt2:training:batch=" + "9" * 40, "batch is a number from 1"),
        ("gpt2:training:batch=４", "batch is a number from 1"),
        ("gpt2:training:colour=red", "colour is not known"),
        ("gpt2:training:dtype=fp99", "fp99"),
        ("resnet50:inference:cache=yes", "has no --kv-cache"),
    ],
)
def test_words_that_are_no_workload_are_refused(capsys: pytest.CaptureFixture[str], workload: str, words: str) -> None:
    assert run(["diagnose", "--for", workload]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert len(printed.err.splitlines()) <= 2
