from __future__ import annotations

from typing import Any

import pytest
from judged import commands, diagnose, only, raised, shown, values
from machines import changed, container, cpu_only, driver, system, unknown, workstation, wsl2

from envdoctor.model.snapshot import Container, Driver, Snapshot, Variable, Wsl

LIBCUDA = "/usr/lib/wsl/lib/libcuda.so.1"


def wsl(machine: Snapshot | None = None, **changes: Any) -> Snapshot:
    machine = machine or wsl2()
    assert machine.system
    assert machine.system.wsl
    return system(machine, wsl=changed(machine.system.wsl, **changes))


def driver_of(machine: Snapshot, **changes: Any) -> Snapshot:
    return changed(machine, driver=changed(machine.driver or Driver(), **changes))


def wsl1() -> Snapshot:
    return system(
        cpu_only(),
        kernel="4.4.0-20236-Microsoft",
        wsl=Wsl(version=1, distribution="Debian"),
        virtual=None,
    )


def test_wsl1_is_the_only_cause_that_is_told() -> None:
    finding = only("WSL001", wsl1())
    assert finding.rule == "wsl1-without-gpu"
    assert finding.severity == "error"
    assert finding.title == "Debian runs on WSL 1, which cannot reach the GPU"
    assert values(finding)["system.kernel"] == "4.4.0-20236-Microsoft"
    assert "wsl --set-version Debian 2" in commands(finding)
    assert {fix.where for fix in finding.fixes} == {"windows"}
    assert shown(wsl1()) == ["WSL001"]


@pytest.mark.parametrize("machine", [wsl2(), workstation(), system(wsl2(), kernel="6.1.21-my-own-kernel")])
def test_wsl2_is_not_wsl1(machine: Snapshot) -> None:
    assert raised("WSL001", machine) == ()


def test_a_distribution_name_that_needs_quoting_does_not_enter_a_command() -> None:
    machine = system(wsl1(), wsl=Wsl(version=1, distribution="x; shutdown"))
    assert "wsl --set-version Ubuntu 2" in commands(only("WSL001", machine))


@pytest.mark.parametrize(
    ("kernel", "severity", "floor"),
    [
        ("4.19.84-microsoft-standard", "error", "4.19.121"),
        ("4.19.128-microsoft-standard", "warning", "5.10.16.3"),
        ("5.4.72-microsoft-standard-WSL2", "warning", "5.10.16.3"),
    ],
)
def test_old_wsl_kernel(kernel: str, severity: str, floor: str) -> None:
    finding = only("WSL002", system(wsl2(), kernel=kernel))
    assert finding.severity == severity
    assert kernel.partition("-")[0] in finding.title
    assert floor in finding.title
    assert commands(finding) == ["wsl --update", "wsl --shutdown"]


@pytest.mark.parametrize(
    "kernel", ["5.10.16.3-microsoft-standard-WSL2", "5.15.167.4-microsoft-standard-WSL2", "6.6.0-mine", "mine"]
)
def test_new_enough_and_custom_wsl_kernels_are_silent(kernel: str) -> None:
    assert raised("WSL002", system(wsl2(), kernel=kernel)) == ()


def test_missing_dxg_hides_what_follows_from_it() -> None:
    machine = driver_of(wsl(dxg=False), version=None, nvml=None, cuda=None)
    finding = only("WSL003", changed(machine, gpus=()))
    assert finding.rule == "wsl-without-gpu-device"
    assert finding.severity == "error"
    assert "/dev/dxg is missing" in finding.title
    assert values(finding) == {"system.wsl.dxg": "no", "system.kernel": "5.15.167.4-microsoft-standard-WSL2"}
    assert "wsl --update" in commands(finding)
    assert shown(changed(machine, gpus=())) == ["WSL003"]


def test_dxg_missing_because_wsl_conf_says_so() -> None:
    machine = driver_of(wsl(dxg=False, gpu_enabled=False), version=None, nvml=None, cuda=None)
    finding = only("WSL009", machine)
    assert shown(changed(machine, gpus=())) == ["WSL009"]
    assert raised("WSL009", wsl(dxg=True, gpu_enabled=False)) == ()
    assert finding.rule == "wsl-gpu-disabled"
    assert "/etc/wsl.conf" in finding.title
    assert "enabled=true" in finding.fixes[0].summary
    assert commands(finding) == ["wsl --shutdown"]


def test_own_kernel_is_named_as_a_possible_cause() -> None:
    finding = only("WSL003", system(wsl(dxg=False), kernel="6.1.21-mine"))
    assert "6.1.21-mine" in finding.detail
    assert any(".wslconfig" in fix.summary for fix in finding.fixes)


def test_container_in_wsl_is_not_told_about_wsl() -> None:
    machine = system(wsl(dxg=False, libraries=(), on_loader_path=None), container=Container(kind="docker"))
    for code in ("WSL003", "WSL004", "WSL005", "WSL009"):
        assert raised(code, machine) == ()


def test_folder_is_not_searched() -> None:
    machine = driver_of(wsl(on_loader_path=False), libcuda_path=None, nvml_path=None, nvml=None, version=None)
    machine = changed(machine, variables=(Variable(name="LD_LIBRARY_PATH", value="/opt/a"),))
    finding = only("WSL004", machine)
    assert finding.rule == "wsl-libcuda-not-on-path"
    assert finding.severity == "error"
    assert "/usr/lib/wsl/lib" in finding.title
    assert values(finding)["system.wsl.on_loader_path"] == "no"
    assert commands(finding) == ["sudo ldconfig", "export LD_LIBRARY_PATH=/usr/lib/wsl/lib:/opt/a"]


@pytest.mark.parametrize(
    ("libraries", "words"),
    [
        (("libdxcore.so", "nvidia-smi", "libnvidia-ml.so.1"), "other NVIDIA files only"),
        ((), "is empty or missing"),  # then the GPU may be another maker's: only a warning
    ],
)
def test_windows_driver_without_cuda(libraries: tuple[str, ...], words: str) -> None:
    finding = only("WSL004", driver_of(wsl(libraries=libraries), libcuda_path=None))
    assert finding.rule == "wsl-driver-without-cuda"
    assert (finding.severity, finding.certainty) == (("error", "certain") if libraries else ("warning", "likely"))
    assert words in finding.title
    assert finding.fixes[0].where == "windows"


@pytest.mark.parametrize(
    "machine",
    [
        wsl(libraries=("libd3d12.so", "libdxcore.so")),  # AMD or Intel: Windows has no libcuda to offer
        wsl(on_loader_path=False),  # [automount] ldconfig=false, and the loader finds it all the same
        wsl(dxg=False),
        wsl(),
        workstation(),
    ],
)
def test_wsl_libraries_are_fine(machine: Snapshot) -> None:
    assert raised("WSL004", machine) == ()


def test_linux_driver_in_wsl() -> None:
    path = "/usr/lib/x86_64-linux-gnu/libcuda.so.535.183.01"
    machine = driver_of(wsl2(), libcuda_path=path, libcuda_version="535.183.01", nvml=9, version=None, cuda=None)
    finding = only("WSL005", machine)
    assert finding.rule == "wsl-linux-driver-installed"
    assert finding.severity == "error"
    assert "535.183.01" in finding.title
    assert values(finding) == {"driver.libcuda_path": path}
    assert commands(finding)[0] == "sudo apt purge libnvidia-compute-535"
    assert commands(finding)[-1] == "sudo ldconfig"
    assert shown(machine) == ["WSL005"]


def test_linux_driver_in_wsl_on_debian() -> None:
    path = "/usr/lib/x86_64-linux-gnu/nvidia/current/libcuda.so.535.183.01"
    machine = driver_of(system(wsl2(), distribution="debian"), libcuda_path=path)
    assert "sudo apt purge libcuda1 libnvidia-ml1" in commands(only("WSL005", machine))


@pytest.mark.parametrize(
    "path",
    [
        LIBCUDA,
        "/usr/lib/wsl/drivers/nv_dispi.inf_amd64_1234/libcuda.so.1.1",
        "/usr/local/cuda-12.4/compat/libcuda.so.550.54.14",
        "/usr/lib/cuda/stubs/libcuda.so",
        "/home/me/env/lib/libcuda.so.1",
        None,
    ],
)
def test_other_copies_are_no_linux_driver(path: str | None) -> None:
    assert raised("WSL005", driver_of(wsl2(), libcuda_path=path)) == ()


def test_healthy_wsl_and_a_linux_host_are_silent() -> None:
    assert shown(wsl2()) == []
    assert shown(workstation(driver=driver())) == []
    assert shown(container()) == []


def test_unknown_kernel_is_not_judged() -> None:
    skipped = {each.id for each in diagnose(unknown(wsl2(), "system")).not_checked}
    assert {"WSL001", "WSL002", "WSL003", "WSL004", "WSL005"} <= skipped
