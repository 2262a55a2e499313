from __future__ import annotations

from typing import Any

from expecting import fires, silent, variables
from judged import values
from machines import changed, container, cpu_only, driver, env, gpu, package, system, torch, workstation

from envdoctor.model.snapshot import Compiler, Extension, Framework, Library, Package, Snapshot, Toolkit, Variable


def with_packages(*packages: Package, framework: Framework | None = None, **python: Any) -> Snapshot:
    built = framework or torch()
    base = (package("torch", built.version),)
    return workstation(pythons=(env(built, packages=(*base, *packages), **python),))


def test_xformers() -> None:
    def xformers(wanted: str) -> Snapshot:
        return with_packages(package("xformers", "0.0.33", requires=(wanted,)))

    fires("TORCH006", xformers("torch==2.9.0"), "error", "2.9.0", "2.8.0+cu128", slug="companion-built-for-other-torch")
    silent("TORCH006", xformers("torch==2.8.0"), xformers("torch>=2.8"), with_packages(package("xformers", "0.0.33")))


def flash(**facts: Any) -> Snapshot:
    return with_packages(package("flash-attn", "2.8.3"), extensions=(Extension(package="flash-attn", **facts),))


def test_flash_attention_for_another_torch() -> None:
    name = "flash_attn-2.8.3+cu12torch{}cxx11abiTRUE-cp312-cp312-linux_x86_64"
    fires("TORCH007", flash(tags=name.format("2.6")), "error", "made for PyTorch 2.6")
    fires("TORCH007", flash(tags=name.format("2.8"), cudart="13"), "error", "CUDA 13")
    silent("TORCH007", flash(tags=name.format("2.8"), cudart="12"), flash(), flash(cudart="12"))


def mmcv(lacks: tuple[str, ...] | None, *requires: str) -> Snapshot:
    one = Extension(package="mmcv", library="/site/mmcv/_ext.so", lacks=lacks)
    return with_packages(package("mmcv", "2.1.0", requires=requires), extensions=(one,))


def test_an_extension_that_asks_torch_for_what_it_lacks() -> None:
    symbol = "_ZNK3c106SymInt6sym_neERKS0_"
    finding = fires("TORCH007", mmcv((symbol,)), "error", symbol, "uninstall --yes mmcv", certainty="certain")
    assert values(finding)["pythons[0].extensions[0].lacks"] == symbol
    fires("TORCH007", mmcv(("libtorch_cuda.so",)), "error", "needs libtorch_cuda.so, which this PyTorch does not have")
    silent("TORCH007", mmcv(()), mmcv(None), mmcv((symbol,), "torch==2.6.0"))  # TORCH004 and its like speak

    one = Extension(package="torchvision", library="/site/torchvision/_C.so", lacks=(symbol,))
    vision = with_packages(package("torchvision", "0.22.1"), extensions=(one,))
    fires("TORCH007", vision, "error", "torchvision==0.23.0 --index-url https://download.pytorch.org/whl/cu128")

    # The name is another torch's, and all symbols are there: it may work.
    name = "flash_attn-2.8.3+cu12torch2.6cxx11abiTRUE-cp312-cp312-linux_x86_64"
    fires("TORCH007", flash(tags=name, lacks=()), "warning", "made for PyTorch 2.6", certainty="likely")
    fires("TORCH007", flash(tags=name, lacks=(symbol,)), "error", symbol)
    fires("TORCH007", flash(cudart="13", lacks=()), "error", "CUDA 13")


def test_cxx_library_older_than_an_extension() -> None:
    own = "/usr/lib/x86_64-linux-gnu/libstdc++.so.6"
    old = flash(glibcxx="3.4.32", libstdcxx=own, libstdcxx_version="3.4.30")
    fires("PY017", old, "error", "needs GLIBCXX_3.4.32", own, slug="libstdcxx-too-old", certainty="certain")
    silent("PY017", flash(glibcxx="3.4.9", libstdcxx=own, libstdcxx_version="3.4.30"))  # 9 is before 30
    silent("PY017", flash(glibcxx="3.4.32"), flash())


def test_flash_attention_on_an_old_card() -> None:
    old = (gpu("Tesla T4", "7.5"),)
    fires("TORCH008", changed(flash(), gpus=old), "error", "T4", "uninstall")
    silent("TORCH008", flash(), changed(flash(), gpus=(*old, gpu(index=1))), with_packages(), changed(flash(), gpus=()))


def test_triton_pin() -> None:
    def pinned(*packages: Package) -> Snapshot:
        owner = package("torch", "2.8.0+cu128", requires=('triton==3.4.0; platform_system == "Linux"',))
        return workstation(pythons=(env(torch(), packages=(owner, *packages)),))

    fires("TORCH009", pinned(package("triton", "3.3.1")), "error", "3.4.0", "3.3.1 is installed")
    fires("TORCH009", pinned(), "warning", "not installed")
    silent("TORCH009", pinned(package("triton", "3.4.0")), system(pinned(), os="windows"))


def bitsandbytes(*builds: str, **changes: Any) -> Snapshot:
    extension = Extension(package="bitsandbytes", cuda_builds=builds)
    return changed(with_packages(package("bitsandbytes", "0.45.0"), extensions=(extension,)), **changes)


def test_bitsandbytes() -> None:
    fires("TORCH018", bitsandbytes("117", "118"), "error", "12.8", "11.7 and 11.8", "--upgrade bitsandbytes")
    other = variables(BNB_CUDA_VERSION="130")
    fires("TORCH018", bitsandbytes("128", variables=other), "error", "13.0", "unset BNB_CUDA_VERSION")
    silent("TORCH018", bitsandbytes("128"), bitsandbytes("124"), bitsandbytes("118", gpus=()))


def test_compiler_and_headers() -> None:
    gcc = (Compiler(name="gcc", path="/usr/bin/gcc", version=11),)
    machine = changed(with_packages(package("triton", "3.4.0"), headers=True), compilers=())
    fires("TORCH013", machine, "warning", "C compiler", "apt install gcc")
    without = changed(with_packages(package("triton", "3.4.0"), headers=False), compilers=gcc)
    fires("TORCH013", without, "warning", "Python.h")
    inside = changed(machine, system=container().system)
    fires("TORCH013", inside, "note")
    silent(
        "TORCH013",
        changed(machine, compilers=gcc),
        changed(machine, compilers=None),
        changed(machine, variables=variables(CC="clang")),
        changed(machine, gpus=()),
        changed(with_packages(), compilers=()),
    )


def test_libcuda_for_triton() -> None:
    nix = driver(libcuda_path="/run/opengl-driver/lib/libcuda.so.570.124.06")
    machine = changed(with_packages(package("triton", "3.4.0")), driver=nix)
    fires("TORCH014", machine, "warning", "TRITON_LIBCUDA_PATH=/run/opengl-driver/lib")
    silent(
        "TORCH014",
        changed(machine, driver=driver()),
        changed(machine, variables=variables(TRITON_LIBCUDA_PATH="/x")),
        changed(machine, variables=variables(LD_LIBRARY_PATH="/a:/run/opengl-driver/lib")),
        changed(with_packages(), driver=nix),
    )


def test_old_card_and_compile() -> None:
    machine = changed(with_packages(package("triton", "3.4.0")), gpus=(gpu("NVIDIA GeForce GTX 1080", "6.1"),))
    fires("TORCH017", machine, "note", "GTX 1080")
    silent("TORCH017", with_packages(package("triton", "3.4.0")), changed(machine, gpus=(*machine.gpus, gpu(index=1))))


def test_cuda_home() -> None:
    gone = workstation(
        variables=(Variable(name="CUDA_HOME", value="/usr/local/cuda-11", missing="/usr/local/cuda-11"),)
    )
    fires("CUDA002", gone, "warning", "/usr/local/cuda-11", "unset CUDA_HOME")
    kits = (
        Toolkit(path="/opt/a", version="12.4", found_by=("CUDA_HOME",)),
        Toolkit(path="/opt/b", version="11.8", found_by=("CUDA_PATH",)),
    )
    fires("CUDA002", workstation(toolkits=kits), "warning", "/opt/a", "/opt/b")
    same = (Toolkit(path="/opt/a", version="12.4", found_by=("CUDA_HOME", "CUDA_PATH")),)
    silent("CUDA002", workstation(toolkits=same), workstation(), workstation(toolkits=kits[:1]))


def test_host_compiler() -> None:
    kit = (Toolkit(path="/usr/local/cuda", version="12.4", nvcc="/usr/local/cuda/bin/nvcc", gcc_limit=13),)

    def gcc(version: int | None, **changes: Any) -> Snapshot:
        return workstation(
            toolkits=kit, compilers=(Compiler(name="gcc", path="/usr/bin/gcc", version=version),), **changes
        )

    fires("CUDA004", gcc(14), "note", "up to 13", "NVCC_CCBIN=g++-13")
    fires("CUDA004", gcc(14, pythons=(env(packages=(package("deepspeed", "0.17"),)),)), "warning", "deepspeed")
    silent("CUDA004", gcc(13), gcc(None), gcc(14, variables=variables(NVCC_CCBIN="g++-13")))


def test_stub() -> None:
    stub = driver(libcuda_path="/usr/local/cuda/lib64/stubs/libcuda.so.1", libcuda_version=None)
    path = variables(LD_LIBRARY_PATH="/usr/local/cuda/lib64/stubs:/x")
    fires("CUDA005", workstation(driver=stub, variables=path), "error", "error 34", "export LD_LIBRARY_PATH=/x")
    fires("CUDA005", workstation(driver=stub), "error", "ldconfig")
    silent("CUDA005", workstation(), cpu_only())


def cudnn(own: str, other: str) -> Snapshot:
    return workstation(
        libraries=(
            Library(name="cudnn", path="/e/libcudnn.so.9", version=own, owner="pip", package="nvidia-cudnn-cu13"),
            Library(name="cudnn", path="/usr/lib/libcudnn.so.9", version=other, owner="system"),
        )
    )


def test_cudnn_of_the_system() -> None:
    fires("TORCH012", cudnn("9.20.0", "9.10.2"), "error", "9.20.0", "nvidia-cudnn-cu13>=9.23")
    silent("TORCH012", cudnn("9.23.0", "9.10.2"), cudnn("9.10.2", "9.1.0"), cudnn("9.20.0", "9.20.0"), workstation())
    fires("CUDNN002", cudnn("9.10.2", "9.1.0"), "note", "9.1.0")
    silent("CUDNN002", cudnn("9.10.2", "9.10.1"), cudnn("9.10.2", "8.9.7"), workstation())
