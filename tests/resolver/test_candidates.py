"""Which builds fit, and why each of the others does not."""

from __future__ import annotations

import pytest

from envdoctor.knowledge.builds import Candidate
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.stack import Request, Target, TargetGpu
from envdoctor.resolver.candidates import Rejected, goal_of, judge, wants_cuda, wants_version

FACTS = Knowledge()
RTX_3060 = TargetGpu(vendor="nvidia", name="NVIDIA GeForce RTX 3060", capability="8.6")
GTX_1080_TI = TargetGpu(vendor="nvidia", name="NVIDIA GeForce GTX 1080 Ti", capability="6.1")


def fitting(request: Request, target: Target) -> dict[str, Candidate]:
    return {each.build.name: each for each in judge(request, target, FACTS)[0]}


def rejected(request: Request, target: Target) -> dict[str, Rejected]:
    return {each.build.name: each for each in judge(request, target, FACTS)[1]}


def why(request: Request, target: Target, build: str) -> dict[str, str]:
    return {each.constraint: each.because for each in rejected(request, target)[build].objections}


@pytest.mark.parametrize(
    ("cuda", "target", "goal"),
    [
        ("auto", Target(), "cpu"),
        ("auto", Target(gpus=(RTX_3060,)), "cuda"),
        ("auto", Target(driver="470.82.01"), "cuda"),
        ("cpu", Target(gpus=(RTX_3060,)), "cpu"),
        ("11.8", Target(), "cuda"),
        ("auto", Target(gpus=(TargetGpu(vendor="amd"),)), "rocm"),
        ("auto", Target(gpus=(TargetGpu(vendor="amd"), RTX_3060)), "cuda"),
        ("auto", Target(os="windows", gpus=(TargetGpu(vendor="amd"),)), "cpu"),
        ("auto", Target(gpus=(TargetGpu(vendor="intel"),)), "xpu"),
        ("auto", Target(os="macos", arch="aarch64", gpus=(TargetGpu(vendor="apple"),)), "mps"),
        ("auto", Target(os="macos", arch="x86_64"), "cpu"),
    ],
)
def test_goal(cuda: str, target: Target, goal: str) -> None:
    assert goal_of(Request(cuda=cuda), target) == goal


def test_wishes_match_series() -> None:
    assert wants_version(Request(framework_version="2.7"), "2.7.1")
    assert not wants_version(Request(framework_version="2.7"), "2.70.1")
    assert not wants_version(Request(framework_version="2.7.0"), "2.7.1")
    assert wants_cuda(Request(cuda="12"), "12.8") and not wants_cuda(Request(cuda="12.6"), "12.8")


def test_every_build_is_judged_once() -> None:
    fits, others = judge(Request(cuda="11.8"), Target(), FACTS)
    names = [each.build.name for each in fits] + [each.build.name for each in others]
    published = [
        f"torch {release.version}+{variant.tag}"
        for release in FACTS.torch_releases
        for variant in release.variants
        if variant.cuda
    ]
    assert sorted(names) == sorted(published)
    assert {each.build.tag for each in fits} == {"cu118"}


def test_all_that_stands_against_a_build_is_told() -> None:
    target = Target(os="wsl2", driver="451.48", glibc="2.17", gpus=(RTX_3060,), pythons=("3.14",))
    against = why(Request(cuda="11.8", framework_version="2.6"), target, "torch 2.7.1+cu126")
    assert against == {
        "version": "torch 2.6 was asked for",
        "cuda": "CUDA 11.8 was asked for",
        "glibc": "torch 2.7.1+cu126 needs glibc 2.28 or newer; there is 2.17",
        "driver": "CUDA 12.x needs a Windows driver of 528.33 or newer; there is 451.48",
        "python": "torch 2.7.1 has wheels for Python 3.9 to 3.13, not 3.14",
    }


def test_a_gpu_without_code_excludes_a_build() -> None:
    target = Target(driver="570.124.06", gpus=(GTX_1080_TI,))
    assert why(Request(), target, "torch 2.8.0+cu128") == {
        "gpu": "torch 2.8.0+cu128 has no code that runs on NVIDIA GeForce GTX 1080 Ti (compute capability 6.1)"
    }
    assert fitting(Request(), target)["torch 2.8.0+cu126"].doubts == ()


def test_a_driver_must_know_the_gpu() -> None:
    blackwell = TargetGpu(vendor="nvidia", capability="12.0")
    against = why(Request(), Target(driver="535.183.01", gpus=(blackwell,)), "torch 2.8.0+cu128")
    assert "R570" in against["driver"] and "gpu" not in against
    against = why(Request(), Target(driver="595.71.05", gpus=(GTX_1080_TI,)), "torch 2.8.0+cu126")
    assert against["driver"].startswith("R580 is the last driver branch")


def test_what_was_not_read_is_a_doubt_and_not_a_fit() -> None:
    target = Target(driver="595.71.05", gpus=(RTX_3060,))
    doubts = fitting(Request(), target)["torch 2.15.0+cu132"].doubts
    assert any("has code for NVIDIA GeForce RTX 3060" in doubt for doubt in doubts)
    nobody = TargetGpu(vendor="nvidia", name="NVIDIA Experimental 1")
    doubts = fitting(Request(), Target(gpus=(nobody,)))["torch 2.14.1+cu126"].doubts
    assert doubts == ("the compute capability of NVIDIA Experimental 1 is not known",)


def test_kepler_is_doubted_where_cudnn_left_it() -> None:
    target = Target(driver="470.256.02", gpus=(TargetGpu(vendor="nvidia", name="Tesla K80", capability="3.7"),))
    fits = fitting(Request(), target)
    assert fits["torch 2.3.1+cu118"].doubts == ()
    assert "cuDNN 9.1.0.70 no longer lists Tesla K80" in fits["torch 2.7.1+cu118"].doubts[0]


def test_platforms() -> None:
    assert "platform" in why(Request(), Target(os="windows", gpus=(RTX_3060,)), "torch 2.8.0+cu129")
    assert "platform" in why(Request(), Target(arch="aarch64", gpus=(RTX_3060,)), "torch 2.8.0+cu128")
    assert "platform" in why(Request(cuda="11.8"), Target(os="macos", arch="aarch64"), "torch 2.7.1+cu118")
    assert list(why(Request(), Target(libc="musl"), "torch 2.7.1+cpu")) == ["libc"]
    assert "torch 2.6.0+cu118" in fitting(Request(), Target(glibc="2.17", gpus=(RTX_3060,)))
    assert "glibc" in why(Request(), Target(glibc="2.17", gpus=(RTX_3060,)), "torch 2.6.0+cu126")


def test_amd_is_judged_by_its_target() -> None:
    known = Target(gpus=(TargetGpu(vendor="amd", target="gfx1100"),))
    assert "torch 2.13.0+rocm7.2" in fitting(Request(), known)
    assert "was not read" in why(Request(), known, "torch 2.14.1+rocm7.14")["gpu"]
    old = Target(gpus=(TargetGpu(vendor="amd", target="gfx803"),))
    assert why(Request(), old, "torch 2.13.0+rocm7.2")["gpu"].startswith("PyTorch's rocm7.2 wheels are not built for")


def test_pythons_that_can_be_had_restrict() -> None:
    fits = fitting(Request(cuda="11.8"), Target(pythons=("3.8", "3.12")))
    assert fits["torch 2.7.1+cu118"].pythons == ("3.12",)
    assert fits["torch 2.4.1+cu118"].pythons == ("3.8", "3.12")
