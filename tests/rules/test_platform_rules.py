from __future__ import annotations

from typing import Any

from expecting import fires, silent, variables
from machines import changed, container, cpu_only, env, system, torch, windows, workstation, wsl2

from envdoctor.model.snapshot import DeviceFile, Framework, Gpu, Snapshot, System

RX = Gpu(vendor="amd", name="AMD Radeon RX 7900 XTX", bound_driver="amdgpu", target="gfx1100")
ROCM = (env(torch("2.8.0+rocm6.4", None, hip="6.4.43482")),)
KFD = (DeviceFile(path="/dev/kfd"), DeviceFile(path="/dev/dri/renderD128"))


def amd(*gpus: Gpu, **changes: Any) -> Snapshot:
    return cpu_only(**{"gpus": gpus or (RX,), "pythons": ROCM, "devices": KFD, **changes})


def test_amd_compute_driver() -> None:
    fires("AMD001", amd(devices=()), "error", "/dev/kfd is missing")
    fires("AMD001", amd(changed(RX, bound_driver=None), devices=()), "error", "amdgpu does not hold it")
    fires("AMD001", amd(devices=(), pythons=(env(torch("2.8.0+cpu", None)),)), "note")
    silent(
        "AMD001",
        amd(),
        amd(changed(RX, integrated=True), devices=()),
        changed(amd(devices=()), system=container().system),
    )


def test_amd_permission() -> None:
    closed = (DeviceFile(path="/dev/kfd", group="render", member=False, refused="EACCES"),)
    fires("AMD002", amd(devices=closed), "error", "render", "usermod -a -G render USER")
    fires("AMD002", amd(devices=(changed(closed[0], member=True),)), "error", "next login")
    silent("AMD002", amd(), workstation(devices=closed))


def test_amd_target() -> None:
    old = changed(RX, target="gfx1036")
    fires("AMD003", amd(old), "warning", "gfx1036", certainty="likely")
    override = variables(HSA_OVERRIDE_GFX_VERSION="10.3.0")
    silent("AMD003", amd(), amd(old, variables=override), amd(old, RX), workstation())
    silent("AMD004", amd(old, variables=override), amd())
    fires("AMD004", amd(variables=override), "warning", "another family")
    fires("AMD004", amd(variables=variables(HSA_OVERRIDE_GFX_VERSION="11.0.0")), "note", "not needed")


def test_several_amd_gpus() -> None:
    inside = changed(RX, target="gfx1036", integrated=True)
    fires("AMD005", amd(RX, inside), "warning", "ROCR_VISIBLE_DEVICES=0")
    silent("AMD005", amd(RX, inside, variables=variables(ROCR_VISIBLE_DEVICES="0")), amd(inside), amd())
    twice = variables(ROCR_VISIBLE_DEVICES="1", HIP_VISIBLE_DEVICES="1")
    fires("AMD006", amd(variables=twice), "warning", "unset HIP_VISIBLE_DEVICES")
    silent(
        "AMD006",
        amd(variables=variables(ROCR_VISIBLE_DEVICES="1", HIP_VISIBLE_DEVICES="0")),
        workstation(variables=twice),
    )
    fires("AMD007", system(amd(RX, RX), iommu_passthrough=False), "note", "iommu=pt")
    silent("AMD007", system(amd(RX, RX), iommu_passthrough=True), system(amd(), iommu_passthrough=False))


def test_intel() -> None:
    arc = Gpu(vendor="intel", name="Intel Arc A770", pci_id="8086:56a0", bus_id="0000:03:00.0")
    fires("INTEL001", cpu_only(gpus=(arc,)), "note", "index xpu", "https://download.pytorch.org/whl/xpu")
    xpu = (env(Framework(name="torch", version="2.8.0+xpu", xpu="20250101")),)
    uhd = Gpu(vendor="intel", pci_id="8086:3e9b", integrated=True)
    silent(
        "INTEL001",
        cpu_only(gpus=(uhd,)),
        cpu_only(gpus=(arc,), pythons=xpu),
        workstation(gpus=(*workstation().gpus, arc)),
    )
    closed = (DeviceFile(path="/dev/dri/renderD128", group="render", refused="EACCES"),)
    fires("INTEL002", cpu_only(gpus=(arc,), pythons=xpu, devices=closed), "error", "renderD128")
    silent("INTEL002", cpu_only(gpus=(arc,), pythons=xpu), wsl2(pythons=xpu, devices=closed))
    both = changed(arc, missing_runtime=("libze_loader.so.1", "libze_intel_gpu.so.1"))
    fires("INTEL002", cpu_only(gpus=(both,), pythons=xpu), "error", "apt install libze1", certainty="certain")
    alone = changed(arc, missing_runtime=("libze_loader.so.1",))
    fires("INTEL002", cpu_only(gpus=(alone,), pythons=xpu), "warning", "libze_loader.so.1", certainty="likely")
    silent(
        "INTEL002",
        cpu_only(gpus=(changed(arc, missing_runtime=()),), pythons=xpu),
        cpu_only(gpus=(both,)),  # a torch that has no use for it
        wsl2(gpus=(both,), pythons=xpu),
    )


def jetson(version: str = "2.8.0", archs: tuple[str, ...] = ("sm_90",), **facts: Any) -> Snapshot:
    machine = system(workstation(), jetson="NVIDIA Jetson AGX Orin", machine="aarch64", **{"jetpack": 6, **facts})
    return changed(machine, pythons=(env(torch(version, archs=archs), version="3.10.12"),))


def test_jetson() -> None:
    fires("JET001", jetson(), "warning", "JetPack 6")
    silent("JET001", jetson("2.5.0a0+872d972e41.nv24.08"), jetson(jetpack=7), jetson(archs=("sm_87",)), workstation())
    without = changed(jetson(), pythons=(env(version="3.12.4"),))
    fires("JET002", without, "warning", "Python 3.10")
    silent("JET002", jetson(), changed(without, pythons=(env(version="3.10.12"),)))


def mac(version: str = "14.5", torch_version: str = "2.8.0", **facts: Any) -> Snapshot:
    built = (env(torch(torch_version, None)),)
    described = System(os="macos", **{"machine": "arm64", "distribution_version": version, **facts})
    return Snapshot(system=described, gpus=(Gpu(vendor="apple", integrated=True),), pythons=built)


def test_macos() -> None:
    fires("MAC001", mac("13.6"), "warning", "macOS 14")
    silent("MAC001", mac(), mac("13.6", "2.7.1"), mac("13.6", machine="x86_64"), mac("13.6", virtual=True))
    fires("MAC002", mac(translated=True, machine="x86_64"), "error", "translated", "arch -arm64")
    silent("MAC002", mac(), mac(translated=False))
    bare = changed(mac(machine="x86_64"), pythons=(env(),))
    fires("MAC003", bare, "note", "torch==2.2.2")
    silent("MAC003", mac(machine="x86_64"), mac())
    only_jax = changed(mac(), pythons=(env(Framework(name="jax", version="0.8.0")),))
    fires("MAC004", only_jax, "note", "JAX")
    silent("MAC004", mac(), workstation())


def test_windows() -> None:
    missing = changed(windows(), system=System(os="windows", missing_runtime=("vcruntime140_1.dll",)))
    fires("WIN001", missing, "error", "vcruntime140_1.dll", "winget install")
    conda = changed(missing, pythons=(env(torch(), manager="conda"),))
    silent("WIN001", conda, windows(), changed(missing, system=System(os="windows", missing_runtime=())))
    jax = (env(Framework(name="jax", version="0.8.0")),)
    fires("WIN002", windows(pythons=jax), "warning", "WSL 2")
    silent("WIN002", workstation(pythons=jax), windows(pythons=jax, gpus=()), windows())
