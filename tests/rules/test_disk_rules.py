from __future__ import annotations

from typing import Any

import pytest
from judged import commands, only, raised, shown, values
from machines import changed, cpu_only, env, system, torch, workstation, wsl2

from envdoctor.model.snapshot import Disk, Snapshot

GB = 10**9


def disk(gigabytes: float | None, **changes: Any) -> Disk:
    free = None if gigabytes is None else int(gigabytes * GB)
    one = Disk(path="/home/me/env", purposes=("environment", "cache"), device="/dev/sda1", free_bytes=free)
    return changed(one, **changes)


def to_install(*disks: Disk, machine: Snapshot | None = None) -> Snapshot:
    """Give a machine with a GPU, and an environment without any framework."""
    return changed(machine or workstation(), disks=disks, pythons=(env(),))


def test_no_room_for_cuda() -> None:
    finding = only("DISK001", to_install(disk(5)))
    assert (finding.severity, finding.certainty) == ("warning", "likely")
    assert finding.title == (
        "5.0 GB are free in /home/me/env, and PyTorch with CUDA takes 6 GB, and 8 GB with pip's cache"
    )
    assert values(finding)["disks[0].free_bytes"] == str(5 * GB)
    assert commands(finding) == [
        "/home/me/env/bin/python -m pip cache purge",
        "export PIP_CACHE_DIR=/large/pip-cache",
    ]


@pytest.mark.parametrize(
    ("disks", "severity"),
    [
        ((disk(7),), "warning"),
        ((disk(7, purposes=("environment",)), disk(90, purposes=("cache",), device="/dev/sdb1")), "warning"),
        # A report may list one file system twice.
        ((disk(7, purposes=("environment",)), disk(7, purposes=("cache",))), "warning"),
        ((disk(11),), "warning"),
        ((disk(12),), None),
    ],
)
def test_thresholds_for_cuda(disks: tuple[Disk, ...], severity: str | None) -> None:
    assert [each.severity for each in raised("DISK001", to_install(*disks))] == [severity] * (severity is not None)


def test_the_processor_alone_needs_little() -> None:
    assert only("DISK001", to_install(disk(1.4), machine=cpu_only())).severity == "warning"
    assert "PyTorch takes 1.5 GB" in only("DISK001", to_install(disk(1.4), machine=cpu_only())).title
    assert raised("DISK001", to_install(disk(2), machine=cpu_only())) == ()


def test_a_cpu_build_beside_a_gpu_is_to_be_replaced() -> None:
    machine = workstation(disks=(disk(3),), pythons=(env(torch("2.8.0+cpu", None)),))
    assert only("DISK001", machine).severity == "warning"
    assert raised("DISK001", cpu_only(disks=(disk(0.5),))) == ()


def test_in_wsl_the_drive_of_windows_is_named_too() -> None:
    assert "Windows drive" in only("DISK001", to_install(disk(3), machine=wsl2())).detail


@pytest.mark.parametrize(
    "machine",
    [
        workstation(disks=(disk(3),)),  # what was to be installed is there
        to_install(disk(None)),
        to_install(disk(3, purposes=("home",))),
        to_install(),
        workstation(),
    ],
)
def test_room_or_nothing_to_install_is_silent(machine: Snapshot) -> None:
    assert raised("DISK001", machine) == ()


# DISK005


def test_an_environment_on_a_hard_disk() -> None:
    machine = workstation(disks=(disk(500, kind="hdd", purposes=("environment", "home")),))
    finding = only("DISK005", machine)
    assert (finding.severity, finding.certainty) == ("note", "likely")
    assert finding.title == "A hard disk (/home/me/env) holds the environment and the home folder"
    assert values(finding)["disks[0].kind"] == "hdd"
    assert shown(machine) == ["DISK005"]


@pytest.mark.parametrize(
    "machine",
    [
        workstation(),
        workstation(disks=(disk(500, kind="virtual"),)),
        workstation(disks=(disk(500, kind="hdd", purposes=("cache",)),)),
        system(workstation(disks=(disk(500, kind="hdd"),)), virtual=True),
        system(workstation(disks=(disk(500, kind="hdd"),)), virtual=None),
    ],
)
def test_other_disks_and_virtual_machines_are_silent(machine: Snapshot) -> None:
    assert raised("DISK005", machine) == ()
