"""Machines that rules are tried on, written down as Snapshots; change one fact at a time with `changed`."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from envdoctor.model.snapshot import (
    Container,
    Cpu,
    Disk,
    Driver,
    Framework,
    Gap,
    Gpu,
    Memory,
    Package,
    PythonEnv,
    Snapshot,
    System,
    Variable,
    Wsl,
)

GIB = 1 << 30
KERNEL = "6.8.0-51-generic"
TORCH_ARCHS = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")

_R = TypeVar("_R", bound=msgspec.Struct)


def changed(record: _R, **changes: Any) -> _R:
    """Give a record with some fields changed."""
    return msgspec.structs.replace(record, **changes)


def gpu(
    name: str | None = "NVIDIA GeForce RTX 3060", capability: str | None = "8.6", index: int = 0, **changes: Any
) -> Gpu:
    """Give a healthy NVIDIA card as NVML and the bus show it."""
    card = Gpu(
        vendor="nvidia",
        index=index,
        name=name,
        uuid=f"GPU-{index}0b4ee4c-3f1c-4b0a-9d3c-27d3bd7e4b1{index}",
        bus_id=f"0000:0{index + 1}:00.0",
        pci_id="10de:2504",
        bound_driver="nvidia",
        power_state="D0",
        capability=capability,
        memory_bytes=12 * GIB,
        used_bytes=300 << 20,
        free_bytes=12 * GIB - (300 << 20),
        minor=index,
        display_active=False,
        processes=(),
    )
    return changed(card, **changes)


def driver(version: str = "570.124.06", cuda: str | None = "12.8", **changes: Any) -> Driver:
    """Give a driver whose two halves are the same release."""
    libraries = "/usr/lib/x86_64-linux-gnu"
    healthy = Driver(
        version=version,
        module_loaded=True,
        module_on_disk=True,
        module_signed=True,
        module_flavour="open",
        blacklisted=False,
        nouveau_loaded=False,
        dkms=(version,),
        headers=True,
        device_nodes=("/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl"),
        nvml=0,
        nvml_path=f"{libraries}/libnvidia-ml.so.{version}",
        nvml_version=version,
        cuda=cuda,
        libcuda_path=f"{libraries}/libcuda.so.{version}",
        libcuda_version=version,
    )
    return changed(healthy, **changes)


def package(name: str, version: str, **changes: Any) -> Package:
    """Give a distribution that pip put into the environment."""
    return changed(
        Package(name=name, version=version, installer="pip", location=f"/home/me/env/{name}.dist-info"), **changes
    )


def torch(version: str = "2.8.0+cu128", cuda: str | None = "12.8", **changes: Any) -> Framework:
    """Give a torch as its files describe it."""
    built = Framework(
        name="torch",
        version=version,
        location="/home/me/env/lib/python3.12/site-packages/torch",
        cuda=cuda,
        cudnn="9.10.2" if cuda else None,
        archs=TORCH_ARCHS if cuda else None,
        gpu_build=cuda is not None,
    )
    return changed(built, **changes)


def env(*frameworks: Framework, packages: tuple[Package, ...] | None = None, **changes: Any) -> PythonEnv:
    """Give an active virtual environment with these frameworks and their distributions."""
    if packages is None:
        built = (package(each.name, each.version) for each in frameworks)
        packages = (package("pip", "25.0"), package("numpy", "2.2.6"), *built)
    python = PythonEnv(
        executable="/home/me/env/bin/python",
        prefix="/home/me/env",
        base_prefix="/usr",
        version="3.12.4",
        bits=64,
        libc="glibc",
        manager="venv",
        selected_by="VIRTUAL_ENV",
        site_dirs=("/home/me/env/lib/python3.12/site-packages",),
        pip_prefix="/home/me/env",
        path_prefix="/home/me/env",
        packages=packages,
        frameworks=frameworks,
    )
    return changed(python, **changes)


def torch_env() -> PythonEnv:
    """Give the environment of the healthy workstation: torch 2.8.0 and the companions that belong to it."""
    return env(
        torch(),
        packages=(
            package("pip", "25.0"),
            package("numpy", "2.2.6"),
            package("torch", "2.8.0+cu128"),
            package("torchvision", "0.23.0+cu128"),
            package("torchaudio", "2.8.0+cu128"),
        ),
    )


def workstation(**changes: Any) -> Snapshot:
    """Give a healthy Ubuntu 22.04 with driver 570.124.06, one RTX 3060 and torch 2.8.0+cu128: no rule speaks of it."""
    healthy = Snapshot(
        system=System(
            os="linux",
            distribution="ubuntu",
            distribution_version="22.04",
            name="Ubuntu 22.04.5 LTS",
            kernel=KERNEL,
            machine="x86_64",
            libc="glibc",
            libc_version="2.35",
            virtual=False,
            secure_boot=False,
        ),
        cpu=Cpu(
            model="AMD Ryzen 7 5800X",
            vendor="AuthenticAMD",
            logical=16,
            affinity=16,
            features=("sse4_2", "avx", "avx2", "fma"),
        ),
        memory=Memory(
            total_bytes=64 * GIB,
            available_bytes=56 * GIB,
            swap_bytes=8 * GIB,
            shm_bytes=32 * GIB,
            shm_free_bytes=32 * GIB,
        ),
        disks=(
            Disk(
                path="/home/me/env",
                purposes=("environment", "cache", "temporary", "home"),
                device="/dev/nvme0n1p2",
                filesystem="ext4",
                total_bytes=900 * GIB,
                free_bytes=500 * GIB,
                kind="nvme",
            ),
        ),
        driver=driver(),
        gpus=(gpu(),),
        pythons=(torch_env(),),
        variables=(Variable(name="VIRTUAL_ENV", value="/home/me/env"),),
    )
    return changed(healthy, **changes)


def system(machine: Snapshot, /, **changes: Any) -> Snapshot:
    """Give the machine with facts of its system changed."""
    assert machine.system is not None
    return changed(machine, system=changed(machine.system, **changes))


def on_bus_only(card: Gpu) -> Gpu:
    """Give the card as the bus alone shows it, when no NVML tells of it."""
    return Gpu(
        vendor=card.vendor,
        bus_id=card.bus_id,
        pci_id=card.pci_id,
        bound_driver=card.bound_driver,
        power_state=card.power_state,
    )


def without_module(machine: Snapshot, **changes: Any) -> Snapshot:
    """Give the machine with its kernel module not loaded: nodes, NVML and everything NVML says of cards is gone."""
    silent = driver(module_loaded=False, nvml=9, cuda=None, device_nodes=())
    cards = tuple(changed(on_bus_only(card), bound_driver=None) for card in machine.gpus)
    return changed(machine, driver=changed(silent, version=None, **changes), gpus=cards)


def cpu_only(**changes: Any) -> Snapshot:
    """Give a server without any GPU, with the CPU build of torch: a legitimate state."""
    server = workstation(
        driver=Driver(device_nodes=(), module_on_disk=False, nouveau_loaded=False, dkms=(), headers=True),
        gpus=(),
        pythons=(env(torch("2.8.0+cpu", None)),),
    )
    return changed(server, **changes)


def wsl2(**changes: Any) -> Snapshot:
    """Give a healthy WSL 2 with the Windows driver 581.15; no module, PCI device or /dev/nvidia* is normal there."""
    libraries = "/usr/lib/wsl/lib"
    machine = workstation(
        driver=Driver(
            version="581.15",
            module_on_disk=False,
            nouveau_loaded=False,
            dkms=(),
            headers=False,
            device_nodes=(),
            nvml=0,
            nvml_path=f"{libraries}/libnvidia-ml.so.1",
            cuda="13.0",
            libcuda_path=f"{libraries}/libcuda.so.1",
        ),
        gpus=(gpu(bound_driver=None, power_state=None, minor=None, display_active=True, processes=None),),
    )
    machine = system(
        machine,
        kernel="5.15.167.4-microsoft-standard-WSL2",
        virtual=True,
        secure_boot=None,
        wsl=Wsl(
            version=2,
            distribution="Ubuntu-22.04",
            dxg=True,
            libraries=("libcuda.so.1", "libd3d12.so", "libdxcore.so", "libnvidia-ml.so.1", "nvidia-smi"),
            on_loader_path=True,
        ),
    )
    return changed(machine, **changes)


def container(**changes: Any) -> Snapshot:
    """Give a Docker container that was handed the GPU of a healthy host: the host's module, the container's nodes."""
    machine = workstation(
        driver=driver(module_on_disk=False, module_signed=None, dkms=(), headers=False),
        memory=Memory(total_bytes=64 * GIB, available_bytes=56 * GIB, shm_bytes=8 * GIB, shm_free_bytes=8 * GIB),
    )
    return changed(system(machine, container=Container(kind="docker"), secure_boot=None), **changes)


def windows(**changes: Any) -> Snapshot:
    """Give a healthy Windows 11 as a report describes it."""
    machine = workstation(driver=Driver(version="581.15", cuda="13.0", nvml=0, module_loaded=True))
    machine = changed(
        machine, system=System(os="windows", name="Microsoft Windows 11 Pro", kernel="10.0.26100", machine="x86_64")
    )
    return changed(machine, **changes)


def unknown(machine: Snapshot, *facts: str) -> Snapshot:
    """Give the machine with facts that could not be looked at."""
    return changed(
        machine,
        gaps=tuple(Gap(probe="test", fact=fact, kind="denied", detail="may not be read") for fact in facts),
    )
