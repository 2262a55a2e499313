from __future__ import annotations

from typing import Any

import pytest
from judged import commands, diagnose, only, raised, values
from machines import GIB, changed, container, cpu_only, gpu, system, unknown, workstation, wsl2

from envdoctor.model.snapshot import Memory, Snapshot


def memory(gib: float, machine: Snapshot | None = None, **changes: Any) -> Snapshot:
    """Give a machine with that much memory, most of it available, and swap."""
    total = int(gib * GIB)
    kept = Memory(total_bytes=total, available_bytes=int(total * 0.9), swap_bytes=8 * GIB)
    return changed(machine or workstation(), memory=changed(kept, **changes))


BIG = gpu("NVIDIA A100-SXM4-80GB", "8.0", memory_bytes=80 * GIB)


def test_less_memory_than_the_gpu_has_is_a_warning() -> None:
    finding = only("MEM001", memory(64, workstation(gpus=(gpu(), BIG))))
    assert (finding.severity, finding.certainty) == ("warning", "hint")
    assert finding.title == "64 GiB of host memory stand beside the 80 GiB of the NVIDIA A100-SXM4-80GB (GPU 0)"
    assert values(finding) == {
        "memory.total_bytes": str(64 * GIB),
        "gpus[1].memory_bytes": str(80 * GIB),
    }


def test_less_than_twice_is_a_note() -> None:
    assert only("MEM001", memory(16)).severity == "note"


def test_the_limit_of_a_container_counts() -> None:
    finding = only("MEM001", memory(256, workstation(gpus=(BIG,)), limit_bytes=32 * GIB))
    assert finding.title.startswith("32 GiB of host memory")
    assert "memory.limit_bytes" in values(finding)


@pytest.mark.parametrize(
    "machine",
    [
        memory(32),  # beside 12 GiB
        memory(31.2, workstation(gpus=(gpu(memory_bytes=16376 << 20),))),  # sold as 32 beside 16
        cpu_only(),
        memory(119, workstation(gpus=(gpu("NVIDIA GB10", "12.1", memory_bytes=119 * GIB),))),
        memory(60, workstation(gpus=(gpu("Orin", "8.7", memory_bytes=60 * GIB),))),
        memory(60, workstation(gpus=(gpu("Apple M4", None, integrated=True, memory_bytes=60 * GIB),))),
        memory(60, system(workstation(gpus=(BIG,)), jetson="Jetson AGX Orin")),
        memory(16, workstation(gpus=(gpu(memory_bytes=None),))),
        workstation(memory=None),
    ],
)
def test_enough_shared_or_unknown_memory_is_silent(machine: Snapshot) -> None:
    assert raised("MEM001", machine) == ()


def test_a_limit_that_could_not_be_read_is_not_judged() -> None:
    assert "MEM001" in [each.id for each in diagnose(unknown(memory(16), "memory.limit_bytes")).not_checked]


# MEM002


def test_no_swap_and_little_free() -> None:
    finding = only("MEM002", memory(16, swap_bytes=0, available_bytes=2 * GIB))
    assert (finding.severity, finding.certainty) == ("note", "hint")
    assert finding.title == "There is no swap, and 2 GiB of 16 GiB memory is available"
    assert commands(finding)[0] == "sudo fallocate -l 8G /swapfile"
    assert finding.fixes[0].effect == "needs-root"


def test_in_wsl_swap_is_set_in_windows() -> None:
    finding = only("MEM002", memory(16, wsl2(), swap_bytes=0, available_bytes=2 * GIB))
    assert finding.fixes[0].where == "windows"
    assert commands(finding) == ["wsl --shutdown"]


@pytest.mark.parametrize(
    "machine",
    [
        workstation(),
        memory(16, swap_bytes=0, available_bytes=8 * GIB),
        memory(16, swap_bytes=2 * GIB, available_bytes=1 * GIB),
        memory(16, swap_bytes=None, available_bytes=1 * GIB),
        memory(16, swap_bytes=0, available_bytes=None),
        memory(16, container(), swap_bytes=0, available_bytes=1 * GIB),
        memory(64, swap_bytes=0, available_bytes=1 * GIB, limit_bytes=8 * GIB),
        workstation(memory=None),
    ],
)
def test_swap_or_room_or_a_container_is_silent(machine: Snapshot) -> None:
    assert raised("MEM002", machine) == ()
