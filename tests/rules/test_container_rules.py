from __future__ import annotations

from typing import Any

import pytest
from judged import commands, diagnose, only, raised, shown, values
from machines import (
    GIB,
    changed,
    container,
    cpu_only,
    driver,
    env,
    gpu,
    on_bus_only,
    system,
    torch,
    unknown,
    workstation,
    wsl2,
)

from envdoctor.model.snapshot import Container, Cpu, Driver, Memory, Snapshot, Variable, Wsl

MIB = 1 << 20


def kind(machine: Snapshot, name: Any) -> Snapshot:
    return system(machine, container=Container(kind=name))


def without_gpus(**changes: Any) -> Snapshot:
    """A container on a host with the driver, started without --gpus: the module shows, nothing else does."""
    shut = driver(
        device_nodes=(),
        nvml=None,
        nvml_path=None,
        nvml_version=None,
        cuda=None,
        libcuda_path=None,
        libcuda_version=None,
    )
    return container(driver=shut, gpus=(on_bus_only(gpu()),), **changes)


def test_container_without_gpus() -> None:
    finding = only("CTR001", without_gpus())
    assert finding.rule == "container-without-gpu"
    assert finding.severity == "error"
    assert "570.124.06" in finding.title
    assert "/dev/nvidiactl" in finding.title
    assert values(finding) == {
        "driver.module_loaded": "yes",
        "driver.device_nodes": "none",
        "system.container.kind": "docker",
    }
    assert commands(finding) == ["docker run --gpus all IMAGE"]
    assert {fix.where for fix in finding.fixes} == {"host"}


def test_container_without_gpus_hides_what_follows() -> None:
    ids = shown(without_gpus(variables=(Variable(name="CUDA_VISIBLE_DEVICES", value=""),)))
    assert ids == ["CTR001"]


@pytest.mark.parametrize(
    ("name", "command"),
    [("podman", "podman run --device nvidia.com/gpu=all IMAGE"), ("kubernetes", None), ("lxc", None)],
)
def test_the_way_out_fits_the_kind_of_container(name: str, command: str | None) -> None:
    finding = only("CTR001", kind(without_gpus(), name))
    assert commands(finding) == ([command] if command else [])
    if name == "kubernetes":
        assert "nvidia.com/gpu: 1" in finding.fixes[0].summary


def test_a_container_meant_for_the_cpu_gets_a_note() -> None:
    finding = only("CTR001", without_gpus(pythons=(env(torch("2.8.0+cpu", None)),)))
    assert finding.severity == "note"
    assert "CPU builds" in finding.detail


def test_nvidia_visible_devices_is_told() -> None:
    finding = only("CTR001", without_gpus(variables=(Variable(name="NVIDIA_VISIBLE_DEVICES", value="void"),)))
    assert "NVIDIA_VISIBLE_DEVICES is 'void'" in finding.detail
    assert values(finding)["variables.NVIDIA_VISIBLE_DEVICES"] == "void"


def test_docker_in_wsl_needs_dxg() -> None:
    inside = kind(wsl2(), "docker")
    assert raised("CTR001", inside) == ()
    assert inside.system
    assert inside.system.wsl
    shut = system(inside, wsl=Wsl(version=2, dxg=False))
    finding = only("CTR001", shut)
    assert (finding.severity, finding.certainty) == ("warning", "likely")
    assert "/dev/dxg" in finding.title
    assert raised("CTR001", changed(shut, pythons=(env(torch("2.8.0+cpu", None)),))) == ()


@pytest.mark.parametrize(
    "machine",
    [
        container(),
        kind(cpu_only(), "docker"),  # the host has no driver: nothing was held back
        kind(changed(cpu_only(), driver=None), "docker"),
        workstation(driver=driver(device_nodes=())),  # not a container
        container(driver=driver(device_nodes=())),  # NVML answers, so the way is open
    ],
)
def test_no_gpu_is_held_back(machine: Snapshot) -> None:
    assert raised("CTR001", machine) == ()


def shm(size: int | None, **changes: Any) -> Snapshot:
    return container(memory=Memory(total_bytes=64 * GIB, shm_bytes=size), **changes)


def test_docker_default_shm() -> None:
    finding = only("CTR004", shm(64 * MIB))
    assert finding.rule == "shm-too-small"
    assert finding.severity == "warning"
    assert "64 MiB" in finding.title
    assert "num_workers=0" in finding.detail
    assert values(finding)["memory.shm_bytes"] == str(64 * MIB)
    assert commands(finding) == ["docker run --ipc=host IMAGE", "docker run --shm-size=8g IMAGE"]


def test_small_shm_with_several_gpus_is_an_error() -> None:
    two = (gpu(), gpu(index=1))
    finding = only("CTR004", shm(64 * MIB, gpus=two))
    assert finding.severity == "error"
    assert "2 GPUs" in finding.detail
    assert only("CTR004", shm(512 * MIB, gpus=two)).severity == "warning"


def test_small_shm_in_a_pod() -> None:
    finding = only("CTR004", kind(shm(64 * MIB), "kubernetes"))
    assert commands(finding) == []
    assert "emptyDir" in finding.fixes[0].summary


@pytest.mark.parametrize(
    "machine",
    [
        shm(1 * GIB),
        shm(32 * GIB),  # --ipc=host shows the host's
        shm(None),
        workstation(memory=Memory(total_bytes=64 * GIB, shm_bytes=64 * MIB)),
    ],
)
def test_shm_is_fine(machine: Snapshot) -> None:
    assert raised("CTR004", machine) == ()


def test_low_memory_limit() -> None:
    machine = container(memory=Memory(total_bytes=64 * GIB, limit_bytes=4 * GIB, shm_bytes=8 * GIB))
    finding = only("CTR005", machine)
    assert finding.rule == "container-memory-limit"
    assert (finding.severity, finding.certainty) == ("warning", "likely")
    assert finding.title == "This container may use 4 GiB of memory; the machine has 64 GiB"
    assert values(finding)["memory.limit_bytes"] == str(4 * GIB)
    assert commands(finding) == ["docker run --memory=32g IMAGE"]
    assert commands(only("CTR005", kind(machine, "kubernetes"))) == []


@pytest.mark.parametrize(
    "machine",
    [
        container(memory=Memory(total_bytes=4 * GIB)),  # the host's own size is not a limit of the container
        container(memory=Memory(total_bytes=64 * GIB, limit_bytes=8 * GIB)),
        container(memory=Memory(total_bytes=4 * GIB, limit_bytes=6 * GIB)),
        workstation(memory=Memory(total_bytes=64 * GIB, limit_bytes=4 * GIB)),
    ],
)
def test_memory_limit_is_fine(machine: Snapshot) -> None:
    assert raised("CTR005", machine) == ()


def test_unknown_facts_are_not_judged() -> None:
    machine = unknown(without_gpus(), "driver.device_nodes", "memory.shm_bytes", "memory.limit_bytes")
    diagnosis = diagnose(machine)
    assert {"CTR001", "CTR004", "CTR005"} <= {each.id for each in diagnosis.not_checked}
    assert not {"CTR001", "CTR004", "CTR005"} & {each.id for each in diagnosis.findings}


def test_bare_container_facts_are_enough() -> None:
    machine = container(driver=Driver(module_loaded=True, device_nodes=("/dev/nvidiactl",)), cpu=Cpu())
    assert raised("CTR001", machine) == ()
