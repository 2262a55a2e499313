"""What goes with torch, and which pair excludes which."""

from __future__ import annotations

import pytest

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.stack import Conflict, Plan, Request, Target, TargetGpu
from envdoctor.resolver.choice import resolve

FACTS = Knowledge()
ADA = Target(driver="580.95.05", gpus=(TargetGpu(vendor="nvidia", capability="8.9"),), python="3.11")
VOLTA = Target(driver="550.54.14", gpus=(TargetGpu(vendor="nvidia", capability="7.0"),), python="3.11")
PASCAL = Target(driver="550.54.14", gpus=(TargetGpu(vendor="nvidia", capability="6.1"),), python="3.11")


def plan(names: str, target: Target, **wishes: str) -> Plan:
    found = resolve(Request(companions=tuple(names.split(",")), **wishes), target, FACTS)  # type: ignore[arg-type]
    assert isinstance(found, Plan), found
    return found


def conflict(names: str, target: Target, **wishes: str) -> Conflict:
    found = resolve(Request(companions=tuple(names.split(",")), **wishes), target, FACTS)  # type: ignore[arg-type]
    assert isinstance(found, Conflict), found
    return found


def because(found: Plan | Conflict) -> str:
    return "\n".join(f"{reason.choice}: {reason.because}" for reason in found.reasons)


def test_all_that_a_new_card_takes() -> None:
    found = plan("xformers,flash-attn,bitsandbytes,transformers", ADA)
    beside = {name: found.stack.packages[name] for name in ("torch", "xformers", "bitsandbytes", "transformers")}
    assert beside == {
        "torch": "2.14.1+cu130",
        "xformers": "0.0.35",
        "bitsandbytes": "0.50.2",
        "transformers": "5.24.0",
    }
    # No wheel of it is on the package index: it is compiled once torch is there.
    assert "flash-attn" not in found.stack.packages
    assert found.stack.build_command == ("pip", "install", "flash-attn==2.8.3.post2", "--no-build-isolation")
    assert "nvcc" in because(found)
    # The companions are on the plain index; the local tag keeps torch on PyTorch's.
    assert found.stack.pip_command[-2:] == ("--extra-index-url", "https://download.pytorch.org/whl/cu130")
    assert found.stack.conda_packages == {}


def test_xformers_draws_torch_to_where_the_card_is_served() -> None:
    found = plan("xformers", VOLTA)
    assert (found.stack.packages["torch"], found.stack.packages["xformers"]) == ("2.7.0+cu126", "0.0.30")
    assert "needs compute capability 7.5 or newer" in because(found)


def test_vllm_pins_torch_and_what_is_beside_it() -> None:
    found = plan("vllm,transformers", ADA)
    packages = found.stack.packages
    assert (packages["torch"], packages["vllm"]) == ("2.14.0+cu130", "0.33.0")
    # No transformers of that range is in the tables, so that vllm's own words are kept to.
    assert packages["transformers"] == "<5.21.0,>=5.16.1"
    assert packages["torchvision"] == "0.29.0+cu130"
    old = plan("vllm", Target(driver="550.54.14", gpus=ADA.gpus, python="3.11"))
    assert (old.stack.packages["torch"], old.stack.packages["vllm"]) == ("2.9.0+cu128", "0.13.0")


def test_onnxruntime_follows_cuda_and_cudnn() -> None:
    assert plan("onnxruntime-gpu", ADA).stack.packages["onnxruntime-gpu"] == "1.31.1"
    twelve = Target(driver="550.54.14", gpus=ADA.gpus, python="3.11")
    assert plan("onnxruntime-gpu", twelve).stack.packages["onnxruntime-gpu"] == "1.26.0"
    eleven = plan("onnxruntime-gpu", Target(python="3.11"), cuda="11.8")
    assert eleven.stack.packages["torch"] == "2.3.1+cu118"
    assert "no onnxruntime-gpu in the tables is for CUDA 11 and cuDNN 9" in because(eleven)


def test_python_is_one_that_all_have() -> None:
    found = plan("vllm", Target(driver="580.95.05", gpus=ADA.gpus), framework_version="2.10")
    assert found.stack.packages["vllm"] == "0.19.1" and found.stack.python in ("3.10", "3.11", "3.12", "3.13")
    assert plan("transformers", Target(), python="3.9").stack.packages["transformers"] == "4.57.6"


@pytest.mark.parametrize(
    ("names", "target", "wishes", "word"),
    [
        ("flash-attn", PASCAL, {}, "flash-attn 2.8.3.post2 needs compute capability 8.0 or newer"),
        ("vllm", ADA, {"framework_version": "2.14.1"}, "no vllm in the tables accepts torch 2.14.1"),
        ("vllm", Target(os="windows", driver="581.15", gpus=ADA.gpus), {}, "wheels for Linux only"),
        ("xformers", ADA, {"framework_version": "1.12"}, "no xformers in the tables accepts torch 1.12"),
        ("xformers", Target(), {}, "xformers is for CUDA, and torch"),
        ("onnxruntime-gpu", Target(python="3.11"), {"cuda": "10.2"}, "no onnxruntime-gpu in the tables is for CUDA 10"),
        ("transformers", Target(), {"python": "3.6"}, "transformers"),
    ],
)
def test_what_excludes_what(names: str, target: Target, wishes: dict[str, str], word: str) -> None:
    found = conflict(names, target, **wishes)
    assert names in found.summary and word in because(found)
    # Without the companion there is a stack, and it is offered.
    assert any(names not in stack.packages for stack in found.alternatives)


def test_an_offered_stack_has_the_companion_where_it_can() -> None:
    found = conflict("vllm", ADA, framework_version="2.14.1")
    offered = [(stack.packages["torch"], stack.packages.get("vllm")) for stack in found.alternatives]
    assert offered == [("2.14.0+cu130", "0.33.0"), ("2.14.1+cu130", None)]
