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
    package,
    system,
    torch,
    unknown,
    workstation,
    wsl2,
)

from envdoctor.model.snapshot import Container, Cpu, Driver, Framework, Gpu, GpuProcess, Mig, Snapshot, Wsl


def test_a_machine_without_gpu_gets_one_note() -> None:
    finding = only("HW000", cpu_only())
    assert finding.rule == "no-supported-gpu"
    assert finding.severity == "note"
    assert "AMD Ryzen 7 5800X" in finding.title
    assert "inference" in finding.detail
    assert values(finding) == {"gpus": "none", "driver.module_loaded": "no"}
    assert commands(finding) == ["envdoctor provision --cuda cpu"]
    diagnosis = diagnose(cpu_only())
    assert shown(cpu_only()) == ["HW000"]
    assert diagnosis.count("error") == 0


def test_a_machine_whose_driver_left_no_trace_is_the_same() -> None:
    assert shown(cpu_only(driver=None)) == ["HW000"]
    assert values(only("HW000", cpu_only(driver=None))) == {"gpus": "none", "driver": "none"}


def test_graphics_of_the_processor_are_named() -> None:
    finding = only("HW000", cpu_only(gpus=(Gpu(vendor="intel", bus_id="0000:00:02.0", integrated=True),)))
    assert "Intel card at 0000:00:02.0 cannot run CUDA" in finding.detail


@pytest.mark.parametrize(
    "machine",
    [
        workstation(),
        cpu_only(gpus=(Gpu(vendor="amd", name="AMD Radeon RX 7900 XTX"),)),
        cpu_only(gpus=(Gpu(vendor="apple", integrated=True),)),
        cpu_only(gpus=(Gpu(vendor="intel", bus_id="0000:03:00.0"),)),
        cpu_only(
            gpus=(Gpu(vendor="intel", integrated=True),),
            pythons=(env(Framework(name="torch", version="2.8.0+xpu", xpu="20250101")),),
        ),
        container(gpus=(), driver=driver(device_nodes=(), nvml=None)),  # CTR001 speaks
        system(cpu_only(), wsl=Wsl(version=1)),  # WSL001
        system(cpu_only(), wsl=Wsl(version=2, dxg=False)),  # WSL003
        system(cpu_only(), wsl=Wsl(version=2, dxg=True)),  # WSL004
        system(cpu_only(), wsl=Wsl(version=2, dxg=True, libraries=("nvidia-smi",))),  # WSL004
        system(cpu_only(), jetson="NVIDIA Jetson AGX Orin"),
        cpu_only(driver=Driver(nvml=0, version="570.124.06")),
    ],
)
def test_a_gpu_exists_or_may_exist(machine: Snapshot) -> None:
    assert raised("HW000", machine) == ()


def test_wsl_with_an_amd_or_intel_driver_has_no_cuda() -> None:
    machine = system(cpu_only(), wsl=Wsl(version=2, dxg=True, libraries=("libd3d12.so", "libdxcore.so")))
    assert only("HW000", machine).severity == "note"


def test_unknown_gpus_are_not_called_absent() -> None:
    diagnosis = diagnose(unknown(cpu_only(), "gpus"))
    assert "HW000" not in {each.id for each in diagnosis.findings}
    assert "HW000" in {each.id for each in diagnosis.not_checked}


def a100(**changes: Any) -> Gpu:
    return gpu("NVIDIA A100-SXM4-80GB", "8.0", memory_bytes=80 * GIB, **changes)


def test_mig_without_instances() -> None:
    card = a100(index=1, mig=Mig(enabled=True, pending=True, instances=0))
    finding = only("HW001", workstation(gpus=(gpu(), card)))
    assert finding.rule == "mig-hides-device"
    assert (finding.severity, finding.certainty) == ("error", "certain")
    assert "NVIDIA A100-SXM4-80GB (GPU 1)" in finding.title
    assert values(finding)["gpus[1].mig.instances"] == "0"
    assert commands(finding)[0] == "sudo nvidia-smi -i 1 -mig 0"
    assert "reset" not in finding.detail


def test_pending_mig_change_is_told() -> None:
    card = a100(mig=Mig(enabled=True, pending=False, instances=0))
    assert "waits for a reset" in only("HW001", workstation(gpus=(card,))).detail


def test_mig_in_a_container_leaves_the_reason_to_the_host() -> None:
    finding = only("HW001", container(gpus=(a100(mig=Mig(enabled=True, pending=True, instances=0)),)))
    assert (finding.severity, finding.certainty) == ("error", "certain")
    assert "visible here" in finding.title
    assert {fix.where for fix in finding.fixes} == {"host"}


@pytest.mark.parametrize(
    "mig",
    [
        None,
        Mig(enabled=False, pending=False, instances=0),
        Mig(enabled=False, pending=True, instances=0),
        Mig(enabled=True, pending=True, instances=None),
        Mig(enabled=True, pending=True, instances=2),
    ],
)
def test_mig_is_fine(mig: Mig | None) -> None:
    assert raised("HW001", workstation(gpus=(a100(mig=mig),))) == ()


def busy(**changes: Any) -> Gpu:
    return gpu(used_bytes=9 * GIB, free_bytes=3 * GIB, **changes)


def test_memory_held_by_a_process() -> None:
    card = busy(index=1, processes=(GpuProcess(pid=4242, memory_bytes=8 * GIB), GpuProcess(pid=7)))
    finding = only("HW010", workstation(gpus=(gpu(), card)))
    assert finding.rule == "gpu-memory-in-use"
    assert (finding.severity, finding.certainty) == ("warning", "likely")
    assert "(GPU 1) has 9 GiB of 12 GiB in use by process 4242 (8 GiB) and process 7" in finding.title
    assert values(finding)["gpus[1].used_bytes"] == str(9 * GIB)
    assert commands(finding) == ["nvidia-smi", "sudo fuser -v /dev/nvidia0 /dev/nvidia1"]


@pytest.mark.parametrize("base", [container(), wsl2()])
@pytest.mark.parametrize("processes", [None, ()])
def test_memory_held_by_processes_that_cannot_be_seen(base: Snapshot, processes: tuple[GpuProcess, ...] | None) -> None:
    finding = only("HW010", changed(base, gpus=(busy(processes=processes),)))
    assert "by processes that are not visible from here" in finding.title
    assert commands(finding) == ["nvidia-smi"]


@pytest.mark.parametrize(
    "card",
    [
        gpu(),
        gpu(used_bytes=6 * GIB),  # half is not more than half
        gpu(used_bytes=600 << 20, reserved_bytes=600 << 20, memory_bytes=4 * GIB),
        gpu(used_bytes=None),
        gpu(memory_bytes=None),
        busy(mig=Mig(enabled=True, pending=True, instances=2)),
        busy(integrated=True),
        Gpu(vendor="amd", memory_bytes=8 * GIB, used_bytes=7 * GIB),
    ],
)
def test_memory_is_free(card: Gpu) -> None:
    assert raised("HW010", workstation(gpus=(card,))) == ()


def old_cpu(*names: str, **changes: Any) -> Snapshot:
    packages = tuple(package(name, {"jaxlib": "0.7.0"}.get(name, "2.20.0")) for name in names)
    return cpu_only(
        cpu=Cpu(model="Intel Core 2 Duo E7500", vendor="GenuineIntel", logical=2, features=("sse4_1",)),
        pythons=(env(torch("2.8.0+cpu", None), packages=packages),),
        **changes,
    )


def test_processor_without_avx() -> None:
    finding = only("HW011", old_cpu("numpy", "tensorflow", "jaxlib"))
    assert finding.rule == "cpu-without-avx"
    assert finding.severity == "error"
    assert finding.title == "Intel Core 2 Duo E7500 shows no AVX, which tensorflow 2.20.0 and jaxlib 0.7.0 need"
    assert values(finding) == {
        "cpu.features": "sse4_1",
        "pythons[0].packages[1].version": "2.20.0",
        "pythons[0].packages[2].version": "0.7.0",
    }
    assert "host-passthrough" not in finding.fixes[0].summary


def test_a_virtual_machine_may_hide_avx() -> None:
    finding = only("HW011", system(old_cpu("tensorflow"), virtual=True))
    assert "host-passthrough" in finding.fixes[0].summary
    assert finding.fixes[0].where == "host"


@pytest.mark.parametrize(
    "machine",
    [
        old_cpu("numpy", "torch"),
        system(old_cpu("tensorflow"), machine="aarch64"),
        changed(old_cpu("tensorflow"), cpu=Cpu(vendor="VirtualApple", features=("sse4_1",))),
        changed(old_cpu("tensorflow"), cpu=Cpu(features=None)),
        changed(old_cpu("tensorflow"), cpu=Cpu(features=("avx",))),
        changed(old_cpu(), pythons=(env(packages=(package("tensorflow", "1.5.1"),)),)),
    ],
)
def test_avx_is_not_missed(machine: Snapshot) -> None:
    assert raised("HW011", machine) == ()


def test_a_container_on_a_host_without_gpu_is_a_machine_without_gpu() -> None:
    assert shown(system(cpu_only(), container=Container(kind="docker"))) == ["HW000"]
