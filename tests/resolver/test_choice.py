"""The stack that is chosen, its reasons, and what is said where none fits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envdoctor.knowledge.fit import driver_runs, variant_serves
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.stack import Conflict, Plan, Request, Stack, Target, TargetGpu
from envdoctor.resolver.candidates import judge
from envdoctor.resolver.choice import resolve
from envdoctor.resolver.conda import _builds_for

FACTS = Knowledge()
INDEX = "https://download.pytorch.org/whl"


def nvidia(name: str, capability: str) -> TargetGpu:
    return TargetGpu(vendor="nvidia", name=name, capability=capability)


GTX_1080_TI = nvidia("NVIDIA GeForce GTX 1080 Ti", "6.1")
RTX_3060 = nvidia("NVIDIA GeForce RTX 3060", "8.6")
RTX_4090 = nvidia("NVIDIA GeForce RTX 4090", "8.9")
RTX_5090 = nvidia("NVIDIA GeForce RTX 5090", "12.0")
V100 = nvidia("Tesla V100-SXM2-16GB", "7.0")
H100 = nvidia("NVIDIA H100 80GB HBM3", "9.0")


def plan(request: Request, target: Target) -> Plan:
    found = resolve(request, target, FACTS)
    assert isinstance(found, Plan), found
    return found


def stack(request: Request, target: Target) -> Stack:
    return plan(request, target).stack


def conflict(request: Request, target: Target) -> Conflict:
    found = resolve(request, target, FACTS)
    assert isinstance(found, Conflict), found
    return found


def pair(found: Stack) -> str:
    return f"{found.framework_version}+{found.variant}"


def because(found: Plan | Conflict) -> str:
    return "\n".join(f"{reason.choice}: {reason.because}" for reason in found.reasons)


@pytest.mark.parametrize(
    ("target", "chosen"),
    [
        (Target(driver="570.124.06", gpus=(GTX_1080_TI,)), "2.14.1+cu126"),
        (Target(driver="580.95.05", gpus=(GTX_1080_TI,)), "2.14.1+cu126"),
        (Target(driver="570.124.06", gpus=(RTX_5090,)), "2.11.0+cu128"),
        (Target(driver="580.95.05", gpus=(RTX_5090,)), "2.14.1+cu130"),
        (Target(driver="580.95.05", gpus=(H100,)), "2.14.1+cu130"),
        (Target(driver="535.183.01", gpus=(H100,)), "2.14.1+cu126"),
        (Target(driver="580.95.05", gpus=(V100,)), "2.14.1+cu126"),
        (Target(driver="470.82.01", gpus=(RTX_3060,)), "2.7.1+cu118"),
        (Target(driver="450.80.02", gpus=(RTX_3060,)), "2.7.1+cu118"),
        (Target(driver="470.82.01"), "2.7.1+cu118"),
        (Target(driver="525.60.13", gpus=(RTX_3060,)), "2.14.1+cu126"),
        (Target(driver="595.71.05", gpus=(RTX_4090,)), "2.14.1+cu132"),
        (Target(driver="580.95.05", gpus=(GTX_1080_TI, RTX_4090)), "2.14.1+cu126"),
        (Target(driver="470.256.02", gpus=(nvidia("Tesla K80", "3.7"),)), "2.3.1+cu118"),
        (Target(driver="440.33.01", gpus=(nvidia("Tesla T4", "7.5"),)), "1.12.1+cu102"),
        (Target(os="wsl2", driver="528.33", gpus=(RTX_3060,)), "2.14.1+cu126"),
        (Target(os="wsl2", driver="528.24", gpus=(RTX_3060,)), "2.7.1+cu118"),
        (Target(os="windows", driver="581.15", gpus=(RTX_4090,)), "2.14.1+cu130"),
        (Target(glibc="2.17", driver="550.54.14", gpus=(RTX_3060,)), "2.6.0+cu118"),
        (Target(arch="aarch64", driver="580.95.05", gpus=(nvidia("NVIDIA GH200 480GB", "9.0"),)), "2.14.1+cu130"),
        (Target(arch="aarch64"), "2.14.1+cpu"),
        (Target(gpus=(RTX_3060,)), "2.14.1+cu130"),
        (Target(gpus=(GTX_1080_TI,)), "2.14.1+cu126"),
        (Target(), "2.14.1+cpu"),
        (Target(os="macos", arch="aarch64", gpus=(TargetGpu(vendor="apple"),)), "2.14.1+mps"),
        (Target(os="macos", arch="x86_64"), "2.2.2+cpu"),
        (Target(gpus=(TargetGpu(vendor="amd", name="AMD Radeon RX 7900 XTX", target="gfx1100"),)), "2.13.0+rocm7.2"),
        (Target(gpus=(TargetGpu(vendor="amd", target="gfx803"),)), "2.14.1+cpu"),
        (Target(gpus=(TargetGpu(vendor="intel", name="Intel Arc A770"),)), "2.9.1+xpu"),
        (Target(os="windows", gpus=(TargetGpu(vendor="intel", name="Intel Arc B580"),)), "2.9.1+xpu"),
        (Target(arch="aarch64", gpus=(TargetGpu(vendor="intel", name="Intel Arc B580"),)), "2.14.1+cpu"),
        (Target(driver="535.183.01", gpus=(RTX_5090,)), "2.14.1+cpu"),
    ],
)
def test_auto(target: Target, chosen: str) -> None:
    assert pair(stack(Request(), target)) == chosen


@pytest.mark.parametrize(
    ("request_", "target", "chosen"),
    [
        (Request(cuda="11.8"), Target(), "2.7.1+cu118"),
        (Request(cuda="11.8"), Target(driver="580.95.05", gpus=(RTX_3060,)), "2.7.1+cu118"),
        (Request(cuda="cpu"), Target(driver="580.95.05", gpus=(RTX_3060,)), "2.14.1+cpu"),
        (Request(cuda="12.1"), Target(), "2.5.1+cu121"),
        (Request(framework_version="2.7"), Target(driver="570.26", gpus=(RTX_3060,)), "2.7.1+cu128"),
        (Request(framework_version="2.7.0+cu118", cuda="11.8"), Target(), "2.7.0+cu118"),
        (Request(framework_version="2.15.0"), Target(driver="595.71.05", gpus=(RTX_3060,)), "2.15.0+cu132"),
        (Request(python="3.15"), Target(), "2.15.0+cpu"),
        (Request(python="3.8"), Target(), "2.4.1+cpu"),
    ],
)
def test_wishes(request_: Request, target: Target, chosen: str) -> None:
    assert pair(stack(request_, target)) == chosen


def test_cuda_11_8_whole() -> None:
    found = stack(Request(cuda="11.8"), Target(python="3.11"))
    assert found.packages == {
        "torch": "2.7.1+cu118",
        "torchvision": "0.22.1+cu118",
        "torchaudio": "2.7.1+cu118",
        "numpy": "<3",
    }
    assert found.pip_command == (
        "pip",
        "install",
        "torch==2.7.1+cu118",
        "torchvision==0.22.1+cu118",
        "torchaudio==2.7.1+cu118",
        "numpy<3",
        "--index-url",
        f"{INDEX}/cu118",
    )
    assert (found.python, found.cuda, found.cudnn, found.index_url) == ("3.11", "11.8", "9.1.0.70", f"{INDEX}/cu118")
    assert (found.base_image, found.image_python) == ("nvidia/cuda:11.8.0-base-ubuntu22.04", "3.10")
    assert found.min_driver and (found.min_driver.linux, found.min_driver.windows) == ("450.80.02", "452.39")
    assert found.conda_packages == {
        "python": "3.11",
        "pytorch": "2.5.1=cuda118*",
        "pytorch-gpu": "2.5.1.*",
        "cudatoolkit": "11.8",
        "cuda-version": "11.8",
        "numpy": "<3",
    }
    assert found.conda_note and "2.5.1" in found.conda_note and "2.7.1" in found.conda_note
    assert "https://github.com/conda-forge/pytorch-cpu-feedstock" in found.conda_note


def test_reasons_are_facts_with_sources() -> None:
    found = plan(Request(cuda="11.8"), Target(python="3.11"))
    text = because(found)
    assert "no NVIDIA GPU was found or named" in text
    assert "it needs a driver of 450.80.02 or newer" in text
    assert "no image of CUDA 11.8 brings that one" in text
    unsourced = {reason.choice for reason in found.reasons if reason.source is None}
    assert len([reason for reason in found.reasons if reason.source]) >= 6
    assert len(unsourced) <= 1
    choices = [reason.choice for reason in found.reasons]
    assert len(set(choices)) == len(choices), choices
    assert found.stack.conda_note and found.stack.conda_note not in text
    text = because(plan(Request(), Target(driver="470.82.01", gpus=(RTX_3060,))))
    assert "minor-version compatibility" in text and "450.80.02" in text
    text = because(plan(Request(), Target(driver="580.95.05", gpus=(RTX_4090,))))
    assert "2.15.0 is not: the builds of torch 2.15.0 were not read" in text


def test_cpu_whole() -> None:
    found = stack(Request(), Target(python="3.11"))
    assert found.packages["torch"] == "2.14.1+cpu"
    assert found.pip_command[-2:] == ("--index-url", f"{INDEX}/cpu")
    assert (found.base_image, found.min_driver, found.cuda) == ("python:3.11-slim-bookworm", None, None)
    assert found.conda_packages == {"python": "3.11", "pytorch": "2.13.0=cpu*", "numpy": "<3"}


def test_macos_takes_the_plain_wheel() -> None:
    found = stack(Request(), Target(os="macos", arch="aarch64", gpus=(TargetGpu(vendor="apple"),)))
    assert found.index_url is None and "--index-url" not in found.pip_command
    assert found.packages["torch"] == "2.14.1"
    assert found.conda_packages["pytorch"] == "2.13.0=cpu*"


def test_min_driver_counts_what_the_gpu_needs() -> None:
    found = stack(Request(), Target(driver="570.124.06", gpus=(RTX_5090,)))
    assert found.min_driver and (found.min_driver.linux, found.min_driver.windows) == ("570", "570")
    found = stack(Request(), Target(driver="570.124.06", gpus=(RTX_4090, GTX_1080_TI)))
    assert found.min_driver and (found.min_driver.linux, found.min_driver.windows) == ("525.60.13", "528.33")


def test_ptx_needs_a_newer_driver_and_says_so() -> None:
    unborn = nvidia("NVIDIA Experimental 1", "13.0")
    wish = Request(framework_version="2.7.1")
    found = stack(wish, Target(gpus=(unborn,)))
    assert pair(found) == "2.7.1+cu128"
    assert found.min_driver and found.min_driver.linux == "570"
    assert pair(stack(wish, Target(driver="565.57.01", gpus=(unborn,)))) == "2.7.1+cpu"


def test_python_is_kept_or_settled() -> None:
    assert stack(Request(), Target(python="3.10")).python == "3.10"
    found = plan(Request(), Target(python="3.9"))
    assert found.stack.python == "3.13" and "none for the Python at hand, 3.9" in because(found)
    assert stack(Request(), Target(pythons=("3.9", "3.14"))).python == "3.14"
    assert stack(Request(cuda="11.8"), Target()).python == "3.12"
    with_image = stack(Request(), Target(driver="580.95.05", gpus=(RTX_4090,)))
    assert (with_image.python, with_image.image_python) == ("3.12", "3.12")
    assert with_image.base_image == "nvidia/cuda:13.0.3-base-ubuntu24.04"


def test_an_image_that_is_not_known_is_not_named() -> None:
    found = stack(Request(cuda="11.1"), Target())
    assert pair(found) == "1.10.1+cu111" and found.base_image == f"python:{found.python}-slim-bookworm"
    every = {row.tag for row in FACTS.cuda_images}
    for cuda in ("11.3", "11.8", "12.1", "12.4", "12.6", "12.8", "12.9", "13.0", "13.2"):
        assert stack(Request(cuda=cuda), Target()).base_image in every


def test_numpy_one_for_old_torch() -> None:
    assert stack(Request(framework_version="2.2.2"), Target()).packages["numpy"] == "<2"
    assert stack(Request(framework_version="2.3.1"), Target()).packages["numpy"] == "<3"
    found = plan(Request(framework_version="2.4.0"), Target(os="windows"))
    assert found.stack.packages["numpy"] == "<2" and "numpy below 2" in because(found)


def test_torchaudio_only_where_it_was_built() -> None:
    assert stack(Request(cuda="13.0"), Target()).packages["torchaudio"] == "2.11.0+cu130"
    found = plan(Request(cuda="13.2"), Target())
    assert "torchaudio" not in found.stack.packages and "no torchaudio" in because(found)


def test_the_index_is_always_named() -> None:
    found = plan(Request(), Target(os="windows", driver="560.81", gpus=(RTX_3060,)))
    assert found.stack.index_url == f"{INDEX}/cu126"
    assert "the plain package index has the cpu build" in because(found)


def test_conda_keeps_cudnn_for_old_cards_and_finds_another_cuda() -> None:
    found = stack(Request(), Target(driver="580.95.05", gpus=(GTX_1080_TI,)))
    assert found.conda_packages["cuda-version"] == "12.9" and found.conda_packages["cudnn"] == "<9.11"
    assert found.conda_note and "not 12.6" in found.conda_note
    found = stack(Request(), Target(driver="580.95.05", gpus=(RTX_4090,)))
    assert found.conda_packages["cuda-version"] == "13.0" and "cudnn" not in found.conda_packages
    found = stack(Request(), Target(driver="580.95.05", gpus=(H100, V100)))
    assert found.conda_packages["cuda-version"] == "12.9"
    found = stack(Request(), Target(driver="470.82.01", gpus=(RTX_3060,)))
    assert found.conda_packages["cuda-version"] == "11.8"


@pytest.mark.parametrize(
    ("request_", "target", "word"),
    [
        (Request(cuda="13.2"), Target(), "no pytorch with CUDA 13.2"),
        (Request(cuda="11.8"), Target(gpus=(H100,), driver="515.48.07"), "no pytorch with CUDA 11.8"),
        (Request(), Target(gpus=(nvidia("Tesla K80", "3.7"),), driver="470.256.02"), "no pytorch with CUDA 11.8"),
        (Request(), Target(gpus=(TargetGpu(vendor="amd", target="gfx1100"),)), "no ROCm builds"),
        (Request(), Target(arch="aarch64", driver="580.95.05", gpus=(H100,)), "aarch64"),
        (Request(framework_version="2.2"), Target(), "no pytorch 2.2.2"),
    ],
)
def test_conda_has_none(request_: Request, target: Target, word: str) -> None:
    found = stack(request_, target)
    assert found.conda_packages == {}
    assert found.conda_note and word in found.conda_note


def test_conda_has_what_its_locks_have_and_nothing_that_was_never_built() -> None:
    # A public lock has pytorch 2.7.1 as cuda126_mkl_py312_h30b5a27_300; the builds after it have CUDA 12.9.
    target = Target(driver="560.35.05", gpus=(RTX_3060,))
    found = stack(Request(cuda="12.6", framework_version="2.7.1"), target)
    assert found.conda_packages["pytorch"] == "2.7.1=cuda126*"
    # A release that pip has and conda-forge left out: another one of the same kind, and a word about it.
    found = stack(Request(cuda="12.9"), Target(driver="575.57.08", gpus=(RTX_3060,)))
    assert found.conda_packages["pytorch"].endswith("=cuda129*")
    for left_out in ("2.9.0", "2.5.0", "2.1.1"):
        found = stack(Request(cuda="cpu", framework_version=left_out), Target())
        assert found.conda_packages == {} and f"no pytorch {left_out}" in (found.conda_note or "")


def test_conda_windows_takes_the_list_of_its_own_cuda() -> None:
    (row,) = (each for each in FACTS.conda_builds if each.pytorch == "2.7.1")
    old, new = _builds_for(row, Target(os="windows"))
    assert (old.cuda, new.cuda) == ("12.6", "12.8")
    assert "12.0" not in (old.sm or ()) and "12.0" in (new.sm or ())


def test_conda_windows_has_its_own_cuda() -> None:
    found = stack(Request(), Target(os="windows", driver="560.81", gpus=(RTX_3060,)))
    assert found.conda_packages["cuda-version"] == "12.8"


def test_wsl_with_a_windows_driver_below_the_floor() -> None:
    target = Target(os="wsl2", driver="451.48", gpus=(nvidia("NVIDIA GeForce RTX 2080", "7.5"),))
    found = conflict(Request(cuda="11.8"), target)
    assert "452.39" in because(found) and "Windows driver" in found.summary and "CUDA 11.8" in found.summary
    assert [each.choice for each in found.reasons] == ["CUDA 11.8", "driver", "no cuda-compat-11-8"]
    assert [pair(each) for each in found.alternatives] == ["1.12.1+cu102", "2.14.1+cpu"]


def test_a_cuda_that_was_never_published() -> None:
    found = conflict(Request(cuda="12.2"), Target(driver="550.54.14", gpus=(RTX_3060,)))
    assert "never published for CUDA 12.2" in because(found) and "12.1, 12.4" in because(found)
    assert [each.variant for each in found.alternatives] == ["cu121", "cu124", "cpu"]


def test_a_python_without_wheels() -> None:
    found = conflict(Request(framework_version="2.4", python="3.13"), Target())
    assert "Python 3.8 to 3.12, not 3.13" in because(found)
    assert [(pair(each), each.python) for each in found.alternatives] == [("2.5.1+cpu", "3.13"), ("2.4.1+cpu", "3.12")]


@pytest.mark.parametrize(
    ("request_", "target", "word", "alternatives"),
    [
        (Request(), Target(libc="musl"), "musl", 0),
        (Request(), Target(arch="ppc64le"), "ppc64le", 0),
        (Request(cuda="11.8"), Target(libc="musl"), "musl", 0),
        (Request(framework_version="2.7"), Target(glibc="2.17"), "glibc 2.28", 1),
        (Request(framework_version="2.99"), Target(), "2.99 is not in the tables", 1),
        (Request(cuda="11.8"), Target(os="macos", arch="aarch64"), "no CUDA builds are published for macOS", 1),
        (Request(cuda="12.1"), Target(driver="450.80.02", gpus=(RTX_3060,)), "525.60.13", 2),
        (Request(cuda="12.8"), Target(driver="570.26", gpus=(GTX_1080_TI,)), "no code that runs on", 2),
        (Request(python="2.7"), Target(), "not 2.7", 1),
        (Request(cuda="11.8", framework_version="2.9", python="3.6"), Target(), "2.9", 3),
        (Request(cuda="cpu"), Target(glibc="2.5"), "needs glibc 2.17", 0),
    ],
)
def test_conflicts(request_: Request, target: Target, word: str, alternatives: int) -> None:
    found = conflict(request_, target)
    assert word in because(found)
    assert len(found.alternatives) == alternatives
    assert len({(pair(each), each.python) for each in found.alternatives}) == len(found.alternatives) <= 3


CAPABILITIES = ("3.7", "5.2", "6.1", "7.0", "7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0", "8.7", "12.1")
DRIVERS = (
    "440.33",
    "450.80.02",
    "451.48",
    "470.82.01",
    "525.60.13",
    "528.33",
    "550.54.14",
    "570.26",
    "580.95.05",
    None,
)

targets = st.builds(
    Target,
    os=st.sampled_from(("linux", "wsl2", "windows", "macos")),
    arch=st.sampled_from(("x86_64", "x86_64", "aarch64")),
    glibc=st.sampled_from((None, "2.17", "2.31", "2.39")),
    driver=st.sampled_from(DRIVERS),
    gpus=st.lists(
        st.sampled_from(CAPABILITIES).map(lambda each: TargetGpu(vendor="nvidia", capability=each)), max_size=3
    ).map(tuple),
    python=st.sampled_from((None, "3.8", "3.11", "3.13")),
    pythons=st.sampled_from((None, ("3.10",), ("3.8", "3.12"))),
)
requests = st.builds(
    Request,
    cuda=st.sampled_from(("auto", "auto", "cpu", "11.8", "12.2", "12.6", "13.0")),
    framework_version=st.sampled_from((None, None, "2.7", "2.4.1", "1.12", "2.15.0", "9.9")),
    python=st.sampled_from((None, None, "3.10", "3.13")),
)


@settings(deadline=None, max_examples=150)
@given(requests, targets)
def test_what_is_chosen_is_published_and_runs(request_: Request, target: Target) -> None:
    found = resolve(request_, target, FACTS)
    assert found == resolve(request_, target, FACTS)
    if isinstance(found, Conflict):
        assert found.summary and found.reasons
        for each in found.alternatives:
            _holds(each, Request(), target, certain=False)
        return
    _holds(found.stack, request_, target, certain="not certain" not in {reason.choice for reason in found.reasons})
    assert all(reason.choice and reason.because for reason in found.reasons)


def _holds(found: Stack, request_: Request, target: Target, *, certain: bool) -> None:
    release = FACTS.torch(found.framework_version)
    assert release is not None
    if found.variant != "mps":
        variant = release.variant(found.variant)
        assert variant is not None and variant.cuda == found.cuda
        assert found.cuda is None or request_.cuda in ("auto", found.cuda)
        if found.cuda is not None:
            assert target.os != "macos"
            assert target.driver is None or driver_runs(FACTS, found.cuda, target.driver, target.os)
            for gpu in target.gpus:
                assert gpu.capability is not None
                served = variant_serves(
                    FACTS, variant, gpu.capability, os=target.os, arch=target.arch, driver=target.driver
                )
                assert served in (("native", "jit") if certain else ("native", "jit", "unknown"))
    assert request_.python in (None, found.python)
    assert target.pythons is None or found.python in target.pythons
    assert found.packages["torch"].partition("+")[0] == found.framework_version


@settings(deadline=None, max_examples=60)
@given(requests, targets, st.sampled_from(CAPABILITIES))
def test_more_gpus_never_let_more_builds_fit(request_: Request, target: Target, capability: str) -> None:
    if not target.gpus:
        target = Target(gpus=(RTX_3060,), driver=target.driver)
    more = Target(
        os=target.os,
        arch=target.arch,
        glibc=target.glibc,
        driver=target.driver,
        gpus=(*target.gpus, TargetGpu(vendor="nvidia", capability=capability)),
        pythons=target.pythons,
    )
    fewer = {each.build.name for each in judge(request_, target, FACTS)[0]}
    assert {each.build.name for each in judge(request_, more, FACTS)[0]} <= fewer


@settings(deadline=None, max_examples=60)
@given(targets)
def test_the_processor_is_always_served_where_wheels_run(target: Target) -> None:
    found = resolve(Request(cuda="cpu"), target, FACTS)
    reachable = target.os == "macos" or not (target.os == "windows" and target.arch == "aarch64")
    if isinstance(found, Conflict):
        assert not reachable or target.pythons is not None or target.glibc == "2.17", found
    else:
        assert found.stack.variant == "cpu"


def test_a_jetson_module_is_told_of_nvidia_s_own_builds() -> None:
    module = TargetGpu(vendor="nvidia", capability="8.7")
    answer = resolve(Request(cuda="12.6"), Target(arch="aarch64", gpus=(module,)), Knowledge())
    assert isinstance(answer, Conflict)
    assert any("JetPack" in reason.because for reason in answer.reasons)
