from __future__ import annotations

from typing import Any

from expecting import fires, silent, variables
from machines import changed, cpu_only, driver, env, gpu, package, windows, workstation

from envdoctor.model.snapshot import Framework, Library, Package, Snapshot

LIBRARIES = ("cudnn", "cuda-runtime", "cublas", "cufft", "cusolver", "cusparse")
WHEELS = tuple(package(f"nvidia-{name}-cu12", "12.5.82") for name in LIBRARIES)


def tensorflow(version: str = "2.20.0", *packages: Package, **built: Any) -> Snapshot:
    facts = {"cuda": "12.5.1", "cudnn": "9", "gpu_build": True, **built}
    framework = Framework(name="tensorflow", version=version, **facts)
    return workstation(pythons=(env(framework, packages=(package("tensorflow", version), *packages)),))


def cudnn(version: str, owner: Any = "pip") -> tuple[Library, ...]:
    return (Library(name="cudnn", path="/e/libcudnn.so", version=version, owner=owner),)


def test_tensorflow_without_its_cuda_libraries() -> None:
    fires("TF001", tensorflow(), "warning", "nvidia-cudnn-cu12", "tensorflow[and-cuda]==2.20.0")
    silent(
        "TF001",
        tensorflow("2.20.0", *WHEELS),
        changed(tensorflow(), libraries=cudnn("9.3.0", "system")),
        changed(tensorflow(), gpus=()),
        tensorflow(gpu_build=False, cuda=None),
        workstation(),
    )


def test_cudnn_older_than_tensorflow_wants() -> None:
    older = changed(tensorflow(cudnn="9.3"), libraries=cudnn("9.1.0"))
    fires("TF002", older, "error", "9.1.0", "9.3", slug="cudnn-older-than-build")
    other = changed(tensorflow(), libraries=cudnn("8.9.7"))
    fires("TF002", other, "error", slug="framework-cuda-mismatch")
    silent("TF002", changed(tensorflow(cudnn="9.3"), libraries=cudnn("9.10.2")), tensorflow(), changed(older, gpus=()))


def test_tensorflow_on_windows() -> None:
    fires("TF003", windows(pythons=tensorflow().pythons), "error", "2.10", "wsl --install")
    directml = tensorflow("2.20.0", package("tensorflow-directml-plugin", "0.4"))
    silent(
        "TF003",
        windows(pythons=tensorflow("2.10.1").pythons),
        windows(pythons=directml.pythons),
        tensorflow(),
        windows(),
    )


def test_release_that_misses_its_wheels() -> None:
    machine = changed(tensorflow("2.16.1"), libraries=cudnn("8.9.7"))
    fires("TF004", machine, "warning", "2.16.1", slug="known-broken-release")
    silent(
        "TF004",
        changed(machine, pythons=tensorflow("2.18.0").pythons),
        changed(machine, variables=variables(LD_LIBRARY_PATH="/e/nvidia/cudnn/lib")),
        changed(machine, libraries=cudnn("8.9.7", "system")),
    )


def test_python_without_tensorflow() -> None:
    def machine(version: str) -> Snapshot:
        return workstation(pythons=(env(packages=(package("tensorflow-datasets", "4.9"),), version=version),))

    fires("TF005", machine("3.99.0"), "warning", "3.99", "uv venv --python")
    silent("TF005", machine("3.12.4"), tensorflow(), workstation())


def test_distributions_over_each_other() -> None:
    both = tensorflow("2.20.0", package("tensorflow-cpu", "2.20.0"))
    fires("TF006", both, "error", "tensorflow-cpu", slug="cpu-and-gpu-packages-conflict")
    onnx = workstation(pythons=(env(packages=(package("onnxruntime", "1.20"), package("onnxruntime-gpu", "1.20"))),))
    fires("TF006", onnx, "error", "pip install onnxruntime-gpu")
    asked = package("tensorflow", "2.15.0", requires=("tensorflow-cpu==2.15.0",))
    silent("TF006", workstation(pythons=(env(packages=(asked, package("tensorflow-cpu", "2.15.0"))),)), tensorflow())


def jax(*packages: Package, version: str = "0.8.0", gpu_build: bool = True) -> Snapshot:
    built = Framework(name="jax", version=version, cuda="13", gpu_build=gpu_build)
    return workstation(
        pythons=(env(built, packages=(package("jax", version), package("jaxlib", version), *packages)),),
        driver=driver("580.65.06", "13.0"),
    )


PLUGIN = package("jax-cuda13-plugin", "0.8.0")


def test_jax_without_plugin() -> None:
    fires("JAX001", jax(gpu_build=False), "warning", "jax[cuda13]", slug="cpu-only-build")
    fires("JAX001", changed(jax(gpu_build=False), driver=driver()), "warning", "jax[cuda12]")
    silent(
        "JAX001",
        jax(PLUGIN),
        changed(jax(gpu_build=False), variables=variables(JAX_PLATFORMS="cpu")),
        changed(jax(gpu_build=False), gpus=()),
    )


def test_jax_versions() -> None:
    fires("JAX002", jax(package("jax-cuda13-plugin", "0.7.2")), "error", "0.7.2", "jax[cuda13]")
    silent("JAX002", jax(PLUGIN), jax(package("jax-cuda13-plugin", "0.8.0.post1")), workstation())
    newer = workstation(pythons=(env(packages=(package("jax", "0.7.2"), package("jaxlib", "0.8.0"))),))
    fires("JAX003", newer, "error", "newer")
    wants = package("jax", "0.8.0", requires=("jaxlib<=0.8.0,>=0.8.0",))
    fires("JAX003", workstation(pythons=(env(packages=(wants, package("jaxlib", "0.6.0"))),)), "error", "0.6.0")
    silent("JAX003", jax(PLUGIN), workstation())


def test_jax_floors() -> None:
    old_driver = changed(jax(PLUGIN), driver=driver())
    fires("JAX004", old_driver, "error", "driver 580", "jax[cuda12]", slug="driver-too-old")
    old_gpu = changed(jax(PLUGIN), gpus=(gpu("NVIDIA GeForce GTX 1080", "6.1"),))
    fires("JAX004", old_gpu, "error", "7.5", slug="gpu-too-old-for-build")
    compat = driver(libcuda_path="/usr/local/cuda/compat/libcuda.so.580.65.06")
    silent("JAX004", jax(PLUGIN), changed(jax(PLUGIN), driver=compat), workstation(), cpu_only())


def test_jax_cudnn() -> None:
    fires("JAX005", jax(PLUGIN, package("nvidia-cudnn-cu13", "9.1.0.70")), "error", "9.1.0.70")
    fires("JAX005", jax(PLUGIN, package("nvidia-cudnn-cu13", "9.10.0.56")), "error", "not 9.10.0")
    silent("JAX005", jax(PLUGIN, package("nvidia-cudnn-cu13", "9.12.0.46")), jax(PLUGIN), workstation())


def test_two_plugins() -> None:
    both = jax(PLUGIN, package("jax-cuda12-plugin", "0.8.0"))
    fires("JAX006", both, "warning", "jax-cuda12-plugin jax-cuda12-pjrt")
    fires("JAX006", changed(both, driver=driver()), "warning", "jax-cuda13-plugin jax-cuda13-pjrt")
    silent("JAX006", jax(PLUGIN))


def test_cublas_on_blackwell() -> None:
    machine = changed(jax(PLUGIN, package("nvidia-cublas", "13.1.0.3")), gpus=(gpu("NVIDIA B200", "10.0"),))
    fires("JAX007", machine, "warning", "13.1.0.3", "nvidia-cublas>=13.2")
    silent(
        "JAX007",
        changed(machine, gpus=(gpu("NVIDIA GeForce RTX 5090", "12.0"),)),
        changed(machine, pythons=jax(PLUGIN, package("nvidia-cublas", "13.2.0.9")).pythons),
    )
