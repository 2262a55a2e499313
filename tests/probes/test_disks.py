"""Disks: one per file system, with its purposes, and what kind it is."""

from __future__ import annotations

import pytest
from linux_machines import (
    DEBIAN_GUEST,
    DOCKER_CGROUP1,
    GIB,
    JETSON,
    NVME,
    ROOT_SDA2,
    SDA,
    UBUNTU_METAL,
    WSL2,
    host,
)

from envdoctor.host import Host, Space
from envdoctor.model.snapshot import Disk
from envdoctor.probes import Place
from envdoctor.probes.disks import PROBE, places

MOUNTINFO = "/proc/self/mountinfo"


def place(prefix: str) -> Place:
    return Place(
        executable=f"{prefix}/bin/python",
        prefix=prefix,
        base_prefix="/usr",
        version="3.12.4",
        manager="venv",
        selected_by="VIRTUAL_ENV",
    )


def look(machine: Host, where: Place | None = None) -> tuple[Disk, ...]:
    snapshot = PROBE.read(machine, where)
    assert snapshot.gaps == ()
    return snapshot.disks


def test_one_disk_serves_all_purposes() -> None:
    assert look(host(UBUNTU_METAL)) == (
        Disk(
            path="/home/ann",
            purposes=("environment", "cache", "temporary", "home", "models"),
            device="/dev/sda2",
            filesystem="ext4",
            total_bytes=900 * GIB,
            free_bytes=400 * GIB,
            kind="sata-ssd",
            noexec=False,
        ),
    )


def test_three_file_systems() -> None:
    machine = host(
        UBUNTU_METAL,
        files={
            MOUNTINFO: ROOT_SDA2
            + "40 29 259:3 / /data rw - xfs /dev/nvme0n1p3 rw\n"
            + "41 29 0:50 / /home rw - nfs4 filer:/export/home rw,vers=4.2\n",
            f"{NVME}/queue/rotational": "0",
            f"{NVME}/nvme0n1p3/partition": "3",
        },
        links={"/sys/dev/block/259:3": f"{NVME}/nvme0n1p3"},
        folders=("/home/ann", "/tmp", "/data/envs/torch"),
        spaces={
            "/data": Space(total_bytes=2000 * GIB, free_bytes=1500 * GIB, device=0x10303),
            "/home": Space(total_bytes=10 * GIB, free_bytes=GIB, device=0x32),
        },
    )
    disks = look(machine, place("/data/envs/torch"))
    assert [(d.path, d.purposes, d.kind, d.filesystem, d.device) for d in disks] == [
        ("/data/envs/torch", ("environment",), "nvme", "xfs", "/dev/nvme0n1p3"),
        ("/home/ann", ("cache", "home", "models"), "network", "nfs4", "filer:/export/home"),
        ("/tmp", ("temporary",), "sata-ssd", "ext4", "/dev/sda2"),
    ]
    assert [d.free_bytes for d in disks] == [1500 * GIB, GIB, 400 * GIB]


@pytest.mark.parametrize(("rotational", "kind"), [("1\n", "hdd"), ("0\n", "sata-ssd"), ("", None)])
def test_a_disk_that_turns(rotational: str, kind: str | None) -> None:
    assert look(host(UBUNTU_METAL, files={f"{SDA}/queue/rotational": rotational}))[0].kind == kind


def test_the_slowest_disk_below_an_encrypted_raid_decides() -> None:
    virtual = "/sys/devices/virtual/block"
    second = SDA.replace("ata1", "ata2")[:-3] + "sdb"
    machine = host(
        UBUNTU_METAL,
        files={
            MOUNTINFO: "29 1 253:0 / / rw - ext4 /dev/mapper/crypt rw\n",
            f"{virtual}/dm-0/queue/rotational": "0",
            f"{virtual}/dm-0/slaves/md127/x": "",
            f"{virtual}/md127/slaves/sda2/x": "",
            f"{virtual}/md127/slaves/sdb/x": "",
            f"{second}/queue/rotational": "1",
        },
        links={
            "/sys/dev/block/253:0": f"{virtual}/dm-0",
            "/sys/class/block/md127": f"{virtual}/md127",
            "/sys/class/block/sda2": f"{SDA}/sda2",
            "/sys/class/block/sdb": second,
        },
    )
    assert look(machine)[0].kind == "hdd"


def test_btrfs_is_found_by_the_name_of_its_disk() -> None:
    machine = host(
        UBUNTU_METAL,
        files={MOUNTINFO: "29 1 0:33 /@ / rw - btrfs /dev/sda2 rw,subvol=/@\n"},
        links={"/sys/class/block/sda2": f"{SDA}/sda2"},
    )
    assert [(d.kind, d.filesystem) for d in look(machine)] == [("sata-ssd", "btrfs")]


def test_nothing_is_said_of_the_disks_below_a_guest_or_a_container() -> None:
    assert look(host(DEBIAN_GUEST))[0].kind == "virtual"
    assert [(d.kind, d.filesystem, d.device) for d in look(host(DOCKER_CGROUP1))] == [(None, "overlay", None)]
    assert [(d.kind, d.device) for d in look(host(JETSON))] == [(None, "/dev/mmcblk0p1")]


def test_a_windows_drive_in_wsl() -> None:
    disks = look(host(WSL2), place("/mnt/c/data"))
    assert [(d.path, d.kind, d.filesystem) for d in disks] == [
        ("/mnt/c/data", "virtual", "9p"),
        ("/home/ann", "virtual", "ext4"),
    ]


def test_no_home_is_normal() -> None:
    machine = host(UBUNTU_METAL, environ={"HOME": ""})
    assert [d.purposes for d in look(machine)] == [("temporary",)]
    gone = host(UBUNTU_METAL, environ={"HOME": "/nonexistent"})
    every = ("environment", "cache", "temporary", "home", "models")
    assert [(d.path, d.purposes) for d in look(gone)] == [("/", every)]


def test_variables_move_the_places() -> None:
    assert places({"HOME": "/h", "PIP_CACHE_DIR": "/c", "TMPDIR": "/t"}, None) == {
        "environment": "/h",
        "cache": "/c",
        "temporary": "/t",
        "home": "/h",
        "models": "/h/.cache/huggingface",
    }
    assert places({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, place("/env"))["cache"] == "/x/pip"
    assert places({"TMPDIR": "relative"}, None) == {}


def test_a_closed_folder_is_a_gap_and_the_others_answer() -> None:
    snapshot = PROBE.read(host(UBUNTU_METAL, errors={"/home/ann": "hidden"}), None)
    assert {(gap.fact, gap.kind) for gap in snapshot.gaps} == {("disks", "denied")}
    assert [d.purposes for d in snapshot.disks] == [("temporary",)]
