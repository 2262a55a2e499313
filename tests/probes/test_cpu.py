"""The processor, and the share of it that is really granted."""

from __future__ import annotations

import pytest
from linux_machines import DEBIAN_GUEST, DOCKER_CGROUP1, JETSON, UBUNTU_METAL, host, without

from envdoctor.host import Resources
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.model.snapshot import Cpu
from envdoctor.probes.cpu import PROBE, count, parse


def test_all_instructions_of_a_new_xeon() -> None:
    snapshot = PROBE.read(host(UBUNTU_METAL), None)
    assert snapshot.gaps == ()
    assert snapshot.cpu == Cpu(
        model="Intel(R) Xeon(R) Gold 6430",
        vendor="GenuineIntel",
        logical=64,
        affinity=64,
        features=(
            "avx",
            "avx2",
            "fma",
            "f16c",
            "avx512f",
            "avx512_bf16",
            "avx512_vnni",
            "avx_vnni",
            "amx_tile",
            "amx_bf16",
            "amx_int8",
        ),
    )
    assert snapshot.evidence("cpu.model", "cpu.logical")[1].source == "/sys/devices/system/cpu/online"


def test_an_old_processor_has_none_of_them_which_is_not_unknown() -> None:
    assert parse("vendor_id : GenuineIntel\nmodel name : Pentium(R) G4400\nflags : fpu sse4_2\n").features == ()


def test_a_quota_and_an_affinity_leave_less_than_the_kernel_shows() -> None:
    cpu = PROBE.read(host(DOCKER_CGROUP1, affinity=8), None).cpu
    assert cpu is not None
    assert (cpu.logical, cpu.affinity, cpu.quota, cpu.usable) == (64, 8, 2.5, 2.5)


def test_processors_are_counted_where_the_kernel_lists_none() -> None:
    cpu = PROBE.read(host(DEBIAN_GUEST), None).cpu
    assert cpu is not None
    assert (cpu.logical, cpu.affinity) == (2, 4)


def test_arm_has_numbers_for_names_and_no_x86_flags() -> None:
    snapshot = PROBE.read(host(JETSON), None)
    assert snapshot.gaps == ()
    assert snapshot.cpu is not None
    assert (snapshot.cpu.model, snapshot.cpu.vendor) == ("ARMv8 Processor rev 1 (v8l)", "ARM")
    assert snapshot.cpu.features is None
    grace = parse("processor : 0\nFeatures : fp asimd sve\nCPU implementer : 0x41\nCPU part : 0xd4f\n")
    assert (grace.model, grace.vendor) == ("Neoverse-V2", "ARM")


def test_an_unreadable_quota_costs_only_the_quota() -> None:
    snapshot = PROBE.read(host(UBUNTU_METAL, errors={"/sys/fs/cgroup/cpu.max": "denied"}), None)
    assert [(gap.fact, gap.kind) for gap in snapshot.gaps] == [("cpu.quota", "denied")]
    assert snapshot.cpu is not None
    assert snapshot.cpu.logical == 64


def test_an_unreadable_cpuinfo_is_for_the_runner() -> None:
    with pytest.raises(PermissionError):
        PROBE.read(host(UBUNTU_METAL, errors={"/proc/cpuinfo": "denied"}), None)


def test_a_mac_tells_only_how_many() -> None:
    mac = Recording(
        system="Darwin",
        machine="arm64",
        resources=Resources(logical=12, total_bytes=1, available_bytes=1, swap_bytes=0),
    )
    snapshot = PROBE.read(RecordedHost(mac), None)
    assert snapshot.cpu == Cpu(logical=12)
    assert snapshot.gaps == ()


def test_what_a_mounted_machine_hides_is_unknown() -> None:
    machine = host(without(UBUNTU_METAL, "/proc/cpuinfo", "/sys/devices/system/cpu/online"), affinity=None)
    gaps = PROBE.read(machine, None).gaps
    assert [(gap.fact, gap.kind) for gap in gaps] == [("cpu.features", "unsupported"), ("cpu.logical", "unsupported")]


def test_ranges_of_processors() -> None:
    assert count("0\n") == 1
    assert count("0-1,4,8-11") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        count("all")
