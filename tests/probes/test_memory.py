"""Host memory, its limits, and shared memory."""

from __future__ import annotations

import pytest
from linux_machines import DEBIAN_GUEST, DOCKER_CGROUP1, GIB, UBUNTU_METAL, host, without

from envdoctor.host import Resources
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.model.snapshot import Memory
from envdoctor.probes.memory import PROBE, parse


def test_a_machine_without_limits() -> None:
    snapshot = PROBE.read(host(UBUNTU_METAL), None)
    assert snapshot.gaps == ()
    assert snapshot.memory == Memory(
        total_bytes=65536000 << 10,
        available_bytes=32768000 << 10,
        swap_bytes=2 * GIB,
        shm_bytes=32 * GIB,
        shm_free_bytes=32 * GIB,
    )


def test_a_container_may_use_less_than_meminfo_says() -> None:
    snapshot = PROBE.read(host(DOCKER_CGROUP1), None)
    assert snapshot.memory is not None
    assert (snapshot.memory.limit_bytes, snapshot.memory.effective_bytes) == (8 * GIB, 8 * GIB)
    assert (snapshot.memory.shm_bytes, snapshot.memory.shm_free_bytes) == (64 << 20, 64 << 20)
    shown = snapshot.evidence("memory.total_bytes", "memory.limit_bytes", "memory.shm_bytes")
    assert [each.source for each in shown] == [
        "/proc/meminfo",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/dev/shm",
    ]


def test_no_shared_memory_is_none_and_not_the_disk_below() -> None:
    memory = PROBE.read(host(DEBIAN_GUEST), None).memory
    assert memory is not None
    assert (memory.shm_bytes, memory.shm_free_bytes) == (None, None)


def test_an_unreadable_limit_costs_only_the_limit() -> None:
    snapshot = PROBE.read(host(UBUNTU_METAL, errors={"/sys/fs/cgroup/memory.max": "denied"}), None)
    assert [(gap.fact, gap.kind) for gap in snapshot.gaps] == [("memory.limit_bytes", "denied")]
    assert snapshot.gap("memory.limit_bytes") is not None
    assert snapshot.memory is not None
    assert snapshot.memory.swap_bytes == 2 * GIB


def test_an_unreadable_or_damaged_meminfo_is_for_the_runner() -> None:
    with pytest.raises(PermissionError):
        PROBE.read(host(UBUNTU_METAL, errors={"/proc/meminfo": "denied"}), None)
    with pytest.raises(ValueError, match="MemTotal"):
        PROBE.read(host(UBUNTU_METAL, files={"/proc/meminfo": "SwapTotal: 0 kB\n"}), None)


def test_a_mac_is_asked_otherwise() -> None:
    resources = Resources(logical=8, total_bytes=16 * GIB, available_bytes=9 * GIB, swap_bytes=GIB)
    snapshot = PROBE.read(RecordedHost(Recording(system="Darwin", resources=resources)), None)
    assert snapshot.memory == Memory(total_bytes=16 * GIB, available_bytes=9 * GIB, swap_bytes=GIB)
    assert snapshot.evidence("memory.total_bytes")[0].source == "psutil"


def test_memory_that_nobody_tells_is_unknown() -> None:
    snapshot = PROBE.read(host(without(UBUNTU_METAL, "/proc/meminfo")), None)
    assert snapshot.memory is None
    assert [(gap.fact, gap.kind) for gap in snapshot.gaps] == [("memory", "unsupported")]


def test_only_sizes_are_read() -> None:
    assert parse("MemTotal: 2 kB\nHugePages_Total: 7\nBroken\nOdd: x kB\n") == {"MemTotal": 2048}
