"""TensorFlow and JAX: which stack is chosen, with what beside it, and what is said where none fits."""

from __future__ import annotations

import pytest

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.stack import Conflict, Plan, Request, Stack, Target, TargetGpu
from envdoctor.resolver.choice import resolve

FACTS = Knowledge()


def nvidia(capability: str) -> TargetGpu:
    return TargetGpu(vendor="nvidia", capability=capability)


def tensorflow(**wishes: str) -> Request:
    return Request(framework="tensorflow", **wishes)  # type: ignore[arg-type]


def jax(**wishes: str) -> Request:
    return Request(framework="jax", **wishes)  # type: ignore[arg-type]


def plan(request: Request, target: Target) -> Plan:
    found = resolve(request, target, FACTS)
    assert isinstance(found, Plan), found
    return found


def conflict(request: Request, target: Target) -> Conflict:
    found = resolve(request, target, FACTS)
    assert isinstance(found, Conflict), found
    return found


def pair(stack: Stack) -> str:
    return f"{stack.framework_version} {stack.cuda or 'cpu'}"


def because(found: Plan | Conflict) -> str:
    return "\n".join(f"{reason.choice}: {reason.because}" for reason in found.reasons)


AMPERE, PASCAL, MAXWELL, VOLTA, BLACKWELL = (nvidia(each) for each in ("8.6", "6.1", "5.2", "7.0", "12.0"))


@pytest.mark.parametrize(
    ("request_", "target", "chosen"),
    [
        (tensorflow(), Target(), "2.21.0 cpu"),
        (tensorflow(), Target(driver="550.54.14", gpus=(AMPERE,)), "2.21.0 12.5"),
        (tensorflow(), Target(driver="525.60.13", gpus=(AMPERE,)), "2.21.0 12.5"),
        (tensorflow(), Target(driver="470.82.01", gpus=(AMPERE,)), "2.14.1 11.8"),
        (tensorflow(), Target(os="wsl2", driver="528.24", gpus=(AMPERE,)), "2.14.1 11.8"),
        (tensorflow(), Target(os="wsl2", driver="528.33", gpus=(AMPERE,)), "2.21.0 12.5"),
        (tensorflow(), Target(driver="550.54.14", gpus=(MAXWELL,)), "2.16.2 12.3"),
        (tensorflow(), Target(driver="550.54.14", gpus=(MAXWELL, AMPERE)), "2.16.2 12.3"),
        (tensorflow(), Target(driver="440.33.01", gpus=(nvidia("7.5"),)), "2.3.0 10.1"),
        (tensorflow(), Target(driver="550.54.14", gpus=(AMPERE,), python="3.8", pythons=("3.8",)), "2.13.0 11.8"),
        (tensorflow(), Target(os="windows", driver="560.81", gpus=(AMPERE,)), "2.21.0 cpu"),
        (tensorflow(cuda="11.2"), Target(os="windows", driver="560.81", gpus=(AMPERE,)), "2.10.1 11.2"),
        (tensorflow(cuda="11.8"), Target(), "2.14.1 11.8"),
        (tensorflow(cuda="12.5"), Target(), "2.19.1 12.5"),
        (tensorflow(cuda="12"), Target(driver="550.54.14", gpus=(AMPERE,)), "2.19.1 12.5"),
        (tensorflow(), Target(os="macos", arch="aarch64"), "2.21.0 cpu"),
        (tensorflow(), Target(gpus=(TargetGpu(vendor="amd", target="gfx1100"),)), "2.21.0 cpu"),
        (tensorflow(), Target(glibc="2.26", driver="550.54.14", gpus=(AMPERE,)), "2.20.0 12.5"),
        (jax(), Target(), "0.12.0.1 cpu"),
        (jax(), Target(driver="580.95.05", gpus=(AMPERE,)), "0.12.0.1 13"),
        (jax(), Target(driver="575.57.08", gpus=(AMPERE,)), "0.12.0.1 12"),
        (jax(), Target(gpus=(AMPERE,)), "0.12.0.1 12"),
        (jax(), Target(driver="580.95.05", gpus=(VOLTA,)), "0.12.0.1 12"),
        (jax(), Target(driver="580.95.05", gpus=(VOLTA, AMPERE)), "0.12.0.1 12"),
        (jax(), Target(driver="580.95.05", gpus=(nvidia("5.0"),)), "0.12.0.1 cpu"),
        (jax(), Target(driver="470.82.01", gpus=(AMPERE,)), "0.12.0.1 cpu"),
        (jax(), Target(os="windows", driver="581.15", gpus=(AMPERE,)), "0.12.0.1 cpu"),
        (jax(), Target(os="wsl2", driver="581.15", gpus=(AMPERE,)), "0.12.0.1 13"),
        (jax(), Target(os="macos", arch="x86_64"), "0.4.38 cpu"),
        (jax(cuda="13.0"), Target(), "0.12.0.1 13"),
        (jax(python="3.11"), Target(driver="580.95.05", gpus=(AMPERE,)), "0.10.2 13"),
        (jax(framework_version="0.4.38"), Target(driver="580.95.05", gpus=(AMPERE,)), "0.4.38 12"),
    ],
)
def test_chosen(request_: Request, target: Target, chosen: str) -> None:
    assert pair(plan(request_, target).stack) == chosen


def test_tensorflow_brings_cuda_as_packages() -> None:
    found = plan(tensorflow(), Target(driver="550.54.14", gpus=(AMPERE,), python="3.11"))
    assert found.stack.pip_command == ("pip", "install", "tensorflow[and-cuda]==2.21.0", "numpy>=1.26.0")
    assert (found.stack.index_url, found.stack.base_image) == (None, "python:3.11-slim-bookworm")
    assert found.stack.min_driver and found.stack.min_driver.linux == "525.60.13"
    assert found.stack.brings_cuda and "minor-version compatibility" in because(found)
    assert found.stack.conda_packages == {} and "conda-forge" in (found.stack.conda_note or "")


def test_tensorflow_without_a_gpu_is_the_small_package() -> None:
    assert "tensorflow-cpu" in plan(tensorflow(), Target()).stack.packages
    assert "tensorflow" in plan(tensorflow(), Target(os="windows")).stack.packages
    found = plan(tensorflow(), Target(arch="aarch64"))
    assert "tensorflow" in found.stack.packages and "was not read" in because(found)


def test_tensorflow_that_needs_a_toolkit_says_which() -> None:
    found = plan(tensorflow(framework_version="2.13"), Target(driver="550.54.14", gpus=(AMPERE,)))
    assert not found.stack.brings_cuda and found.stack.packages == {"tensorflow": "2.13.0", "numpy": "<=1.24.3,>=1.22"}
    assert found.stack.base_image == "nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04"
    assert (found.stack.python, found.stack.image_python) == ("3.10", "3.10")
    assert "CUDA toolkit 11.8 and of cuDNN 8.6 that is installed" in because(found)
    found = plan(tensorflow(framework_version="2.4"), Target(driver="550.54.14", gpus=(nvidia("7.5"),)))
    assert found.stack.base_image.startswith("python:") and "computes on the CPU" in because(found)


def test_tensorflow_on_windows_names_wsl() -> None:
    text = because(plan(tensorflow(), Target(os="windows", driver="560.81", gpus=(AMPERE,))))
    assert "2.10 was the last" in text and "WSL 2" in text and "--cuda 11.2" in text
    none = conflict(tensorflow(cuda="12.5"), Target(os="windows", driver="560.81", gpus=(AMPERE,)))
    assert "WSL 2" in because(none) and pair(none.alternatives[-1]) == "2.21.0 cpu"


def test_old_tensorflow_keeps_numpy_and_protobuf_old() -> None:
    found = plan(tensorflow(framework_version="2.8", cuda="cpu"), Target())
    assert found.stack.packages == {"tensorflow-cpu": "2.8.0", "protobuf": "<3.21", "numpy": ">=1.20,<2"}
    text = because(found)
    assert "numpy below 2" in text and "protobuf below 3.21" in text
    assert plan(tensorflow(framework_version="2.17"), Target()).stack.packages["numpy"].startswith("<2.0.0")


def test_cudnn_stays_old_enough_for_old_cards() -> None:
    found = plan(tensorflow(), Target(driver="550.54.14", gpus=(PASCAL,)))
    assert found.stack.packages["nvidia-cudnn-cu12"] == "<9.11" and "cuDNN below 9.11" in because(found)
    found = plan(jax(), Target(driver="550.54.14", gpus=(VOLTA,)))
    assert found.stack.packages["nvidia-cudnn-cu12"] == "<9.11" and "not certain" not in because(found)
    assert "nvidia-cudnn-cu12" not in plan(jax(), Target(driver="550.54.14", gpus=(AMPERE,))).stack.packages
    assert "nvidia-cudnn-cu12" not in plan(tensorflow(framework_version="2.19"), Target(gpus=(PASCAL,))).stack.packages


def test_a_card_younger_than_tensorflow_is_a_doubt_and_needs_a_driver_that_compiles() -> None:
    found = plan(tensorflow(), Target(driver="580.95.05", gpus=(BLACKWELL,)))
    assert "not certain: TensorFlow 2.21.0 was built with CUDA 12.5" in because(found)
    assert found.stack.min_driver and found.stack.min_driver.linux == "570"
    none = conflict(
        tensorflow(cuda="12.5", framework_version="2.19"), Target(driver="550.54.14", gpus=(nvidia("10.3"),))
    )
    assert "too old to compile its PTX" in because(none)


def test_an_extra_whose_parts_cannot_be_had_is_not_proposed() -> None:
    found = plan(tensorflow(cuda="11.8"), Target(python="3.11"))
    assert (pair(found.stack), found.stack.python) == ("2.14.1 11.8", "3.10")
    assert "whose wheels end with it" in because(found)
    # Without tensorrt, but with a toolkit that is installed, 3.11 has a release too.
    assert pair(plan(tensorflow(cuda="11.8", python="3.11"), Target()).stack) == "2.13.0 11.8"
    assert "tensorrt-libs 8.6.1" in because(conflict(tensorflow(cuda="12.2", framework_version="2.15.0"), Target()))


def test_a_processor_without_avx() -> None:
    found = conflict(tensorflow(), Target(avx=False))
    assert "AVX" in found.summary and found.alternatives == ()
    assert pair(plan(jax(), Target(avx=False)).stack) == "0.12.0.1 cpu"
    assert pair(plan(tensorflow(), Target(avx=True)).stack) == "2.21.0 cpu"


def test_jax_for_a_minor_version_says_what_pip_takes() -> None:
    assert "pip takes the newest" in because(plan(jax(cuda="12.6"), Target(gpus=(AMPERE,))))
    assert conflict(jax(cuda="12.0"), Target()).summary == "No published build of JAX fits CUDA 12.0."


@pytest.mark.parametrize(
    ("request_", "target", "word", "alternatives"),
    [
        (jax(cuda="11.8"), Target(), "it was published for 12, 13", ["0.12.0.1 12", "0.12.0.1 cpu"]),
        (
            tensorflow(cuda="11.8", framework_version="2.15"),
            Target(),
            "CUDA 11.8 was asked for, and TensorFlow has it in 2.12.0 to 2.14.1 only",
            ["2.14.1 11.8", "2.15.1 12.2", "2.15.1 cpu"],
        ),
        (tensorflow(), Target(libc="musl"), "musl", []),
        (jax(), Target(libc="musl"), "musl", []),
        (
            jax(framework_version="0.7.1"),
            Target(),
            "which Pythons JAX 0.7.1 has wheels for was not read",
            ["0.7.2 cpu"],
        ),
        (jax(framework_version="0.4.37", cuda="12.4"), Target(), "0.4.37", ["0.4.38 12", "0.4.37 cpu"]),
        (tensorflow(python="3.14"), Target(), "Python 3.10 to 3.13, not 3.14", ["2.21.0 cpu"]),
        (jax(cuda="12.6"), Target(os="macos", arch="aarch64"), "macOS", ["0.12.0.1 cpu"]),
        (jax(cuda="13.0"), Target(driver="575.57.08", gpus=(AMPERE,)), "580.65.06", ["0.12.0.1 12", "0.12.0.1 cpu"]),
        (tensorflow(), Target(arch="ppc64le"), "ppc64le", []),
    ],
)
def test_conflicts(request_: Request, target: Target, word: str, alternatives: list[str]) -> None:
    found = conflict(request_, target)
    assert word in because(found)
    assert [pair(each) for each in found.alternatives] == alternatives


def test_every_reason_is_a_fact_and_the_answer_is_the_same_again() -> None:
    for request in (tensorflow(), jax()):
        for target in (Target(), Target(driver="550.54.14", gpus=(AMPERE,)), Target(os="windows", gpus=(AMPERE,))):
            found = plan(request, target)
            assert found == plan(request, target)
            assert all(reason.choice and reason.because for reason in found.reasons)
            assert len([reason for reason in found.reasons if reason.source]) >= 3
