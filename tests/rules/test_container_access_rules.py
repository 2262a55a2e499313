from __future__ import annotations

from typing import Any

from expecting import fires, silent, variables
from machines import GIB, changed, container, driver, env, system, torch, workstation, wsl2

from envdoctor.model.snapshot import Cdi, DeviceFile, Disk, Docker, Framework, Memory, Setting, Snapshot


def test_capabilities() -> None:
    fires("CTR002", container(driver=driver(libcuda_path=None)), "error", "compute", "compute,utility")
    fires("CTR002", container(driver=driver(nvml_path=None)), "warning", "utility")
    silent(
        "CTR002", container(), workstation(driver=driver(libcuda_path=None)), container(driver=driver(device_nodes=()))
    )


def requiring(value: str, **changes: str) -> Snapshot:
    return container(variables=variables(NVIDIA_REQUIRE_CUDA=value, **changes))


def test_image_demands_a_newer_driver() -> None:
    fires("CTR003", requiring("cuda>=13.0 brand=tesla,driver>=580,driver<581"), "error", "cuda>=13.0", "CUDA 12.8")
    silent(
        "CTR003",
        requiring("cuda>=12.4"),
        requiring("cuda>=13.0 brand=tesla,driver>=535,driver<571"),
        requiring("cuda>=13.0", NVIDIA_DISABLE_REQUIRE="1"),
        container(),
    )


def refused(error: str, mode: int = 0o666) -> tuple[DeviceFile, ...]:
    return (DeviceFile(path="/dev/nvidiactl", mode=mode, group="root", refused=error),)


def test_device_was_taken_away() -> None:
    fires("CTR009", container(devices=refused("EPERM"), driver=driver(nvml=999)), "error", "/dev/nvidiactl")
    silent(
        "CTR009", container(devices=refused("EPERM")), workstation(devices=refused("EPERM"), driver=driver(nvml=999))
    )
    fires("CTR010", container(devices=refused("EACCES"), driver=driver(nvml=4)), "warning", "SELinux")
    silent("CTR010", container(devices=refused("EACCES", 0o660), driver=driver(nvml=4)), container())


def test_visible_devices_of_the_container() -> None:
    tools = driver(device_nodes=("/dev/nvidiactl", "/dev/nvidia-uvm"))
    fires("CTR011", container(driver=tools, variables=variables(NVIDIA_VISIBLE_DEVICES="none")), "error", "none")
    silent(
        "CTR011", container(variables=variables(NVIDIA_VISIBLE_DEVICES="void")), container(driver=tools), container()
    )


def test_rocm_in_a_container() -> None:
    rocm = (env(torch("2.8.0+rocm6.4", None, hip="6.4.1")),)
    fires("CTR013", container(pythons=rocm), "error", "/dev/kfd and /dev/dri", "--device /dev/kfd")
    given = (DeviceFile(path="/dev/kfd"), DeviceFile(path="/dev/dri/renderD128"))
    silent("CTR013", container(pythons=rocm, devices=given), workstation(pythons=rocm), container())


def docker(**facts: Any) -> Snapshot:
    return workstation(docker=Docker(**{"engine": True, "toolkit": True, **facts}))


def test_engines() -> None:
    fires("CTR006", docker(toolkit=False), "warning", "nvidia-container-toolkit", slug="container-toolkit-missing")
    fires("CTR006", docker(toolkit=False, snap=True), "warning", slug="docker-from-snap")
    silent(
        "CTR006",
        docker(),
        docker(toolkit=False, desktop=True),
        changed(docker(toolkit=False), driver=None),
        workstation(),
    )
    fires("CTR007", docker(fault="unexpected end"), "warning", "daemon.json")
    silent("CTR007", docker(runtimes=()), docker())
    late = docker(runtimes=("nvidia",), restart_due=True)
    fires("CTR007", late, "warning", "sudo systemctl restart docker", certainty="likely")
    fires("CTR007", docker(runtimes=(), cdi_feature=True, restart_due=True), "warning")
    silent(
        "CTR007",
        docker(runtimes=("nvidia",), restart_due=False),
        docker(runtimes=("nvidia",), restart_due=None),
        docker(runtimes=(), restart_due=True),  # what was changed has nothing to do with GPUs
        docker(runtimes=("nvidia",), restart_due=True, desktop=True),
    )
    old = docker(cdi=(Cdi(path="/etc/cdi/nvidia.yaml", driver="550.54.15"),))
    fires("CTR008", old, "warning", "550.54.15", "--output=/etc/cdi/nvidia.yaml")
    silent(
        "CTR008", docker(cdi=(Cdi(path="/etc/cdi/nvidia.yaml", driver="570.124.06"),)), docker(cdi=(Cdi(path="/x"),))
    )


def wsl(**facts: Any) -> Snapshot:
    machine = wsl2()
    assert machine.system and machine.system.wsl
    return system(machine, wsl=changed(machine.system.wsl, **facts))


def test_memory_of_wsl() -> None:
    small = changed(wsl(), memory=Memory(total_bytes=8 * GIB, swap_bytes=GIB))
    fires("WSL007", small, "warning", "8 GiB", "By default", slug="wsl-memory-limit")
    limited = changed(wsl(settings=(Setting(name="wsl2.memory", value="8GB", source="x"),)), memory=small.memory)
    fires("WSL007", limited, "warning", "memory=8GB")
    silent("WSL007", wsl(), changed(workstation(), memory=small.memory), changed(small, gpus=()))


def test_files_on_a_drive_of_windows() -> None:
    drive = (Disk(path="/mnt/c/env", purposes=("environment",), filesystem="9p", kind="virtual"),)
    fires("WSL008", changed(wsl(), disks=drive), "warning", "/mnt/c/env")
    silent(
        "WSL008",
        wsl(),
        changed(workstation(), disks=drive),
        changed(wsl(), disks=(changed(drive[0], purposes=("models",)),)),
    )


def test_proxy() -> None:
    local = variables(https_proxy="http://127.0.0.1:7890")
    fires("WSL010", changed(wsl(), variables=local), "warning", "networkingMode=mirrored")
    mirrored = (Setting(name="wsl2.networkingmode", value="mirrored", source="x"),)
    silent(
        "WSL010",
        changed(wsl(settings=mirrored), variables=local),
        changed(wsl(), variables=variables(https_proxy="http://10.0.0.1:7890")),
        workstation(variables=local),
    )


def test_windows_side() -> None:
    fires("WSL011", wsl(drive_free_bytes=5 * 10**9), "note", "5.0 GB")
    silent("WSL011", wsl(drive_free_bytes=50 * 10**9), wsl())
    fires("WSL012", wsl(settings_faults=("memory=8",)), "warning", "memory=8")
    silent("WSL012", wsl(settings=()), wsl())


def test_jax_plugin_is_no_matter_of_containers() -> None:
    silent("CTR013", container(pythons=(env(Framework(name="jax", version="0.8.0", hip="6")),)))
