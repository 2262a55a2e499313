"""Plans as the resolver would choose them, written down by hand."""

from __future__ import annotations

from envdoctor.model.stack import MinDriver, Plan, Reason, Request, Stack, Target, TargetGpu
from envdoctor.resolver.commands import with_commands

INDEX = "https://download.pytorch.org/whl"

CU118 = Plan(
    request=Request(cuda="11.8"),
    target=Target(
        driver="525.60.13", gpus=(TargetGpu(vendor="nvidia", name="NVIDIA GeForce RTX 3060", capability="8.6"),)
    ),
    stack=with_commands(
        Stack(
            framework="torch",
            framework_version="2.7.1",
            variant="cu118",
            cuda="11.8",
            cudnn="9.1.0.70",
            python="3.12",
            index_url=f"{INDEX}/cu118",
            packages={
                "torch": "2.7.1+cu118",
                "torchvision": "0.22.1+cu118",
                "torchaudio": "2.7.1+cu118",
                "numpy": "<3",
            },
            conda_packages={
                "pytorch": "2.5.1=cuda118*",
                "torchvision": "0.20.1=cuda118*",
                "cuda-version": "11.8",
                "numpy": "2.1.3",
            },
            pip_command=(),
            base_image="nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04",
            image_python="3.10",
            min_driver=MinDriver(linux="450.80.02", windows="452.39"),
            conda_note="conda-forge built its last pytorch for CUDA 11.8 with 2.5.1, which is older than pip's.",
        )
    ),
    reasons=(
        Reason(
            choice="CUDA 11.8",
            because="it was asked for",
        ),
        Reason(
            choice="torch 2.7.1",
            because="the newest release with wheels for CUDA 11.8",
            source="https://pytorch.org/get-started/previous-versions/",
        ),
        Reason(choice="torchvision 0.22.1", because="pins this torch", source="pkg:pypi/torchvision@0.22.1"),
    ),
)

CPU = Plan(
    request=Request(cuda="cpu"),
    target=Target(glibc="2.36", python="3.11"),
    stack=with_commands(
        Stack(
            framework="torch",
            framework_version="2.13.0",
            variant="cpu",
            cuda=None,
            cudnn=None,
            python="3.11",
            index_url=f"{INDEX}/cpu",
            packages={"torch": "2.13.0+cpu", "numpy": ">=2,<3"},
            conda_packages={"pytorch": "2.13.0=cpu*", "numpy": "2.3.5"},
            pip_command=(),
            base_image="python:3.11-slim-bookworm",
        )
    ),
    reasons=(Reason(choice="the CPU build", because="this machine has no GPU"),),
)

CU128_WSL2 = Plan(
    request=Request(),
    target=Target(
        os="wsl2",
        driver="576.02",
        gpus=(TargetGpu(vendor="nvidia", name="NVIDIA GeForce RTX 5090", capability="12.0"),),
    ),
    stack=with_commands(
        Stack(
            framework="torch",
            framework_version="2.9.1",
            variant="cu128",
            cuda="12.8",
            cudnn="9.10.2.21",
            python="3.12",
            index_url=f"{INDEX}/cu128",
            packages={"torch": "2.9.1+cu128", "torchvision": "0.24.1+cu128"},
            conda_packages={},
            pip_command=(),
            base_image="nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04",
            min_driver=MinDriver(linux="525.60.13", windows="528.33"),
            conda_note="conda-forge has no pytorch built with CUDA 12.8 for Linux.",
        )
    ),
    reasons=(
        Reason(
            choice="CUDA 12.8",
            because="the RTX 5090 (12.0) has machine code in these wheels",
            source="https://github.com/pytorch/pytorch/blob/main/RELEASE.md",
        ),
    ),
)

TENSORFLOW = Plan(
    request=Request(framework="tensorflow", cuda="11.8", framework_version="2.13"),
    target=Target(
        driver="525.60.13", gpus=(TargetGpu(vendor="nvidia", name="NVIDIA GeForce RTX 3060", capability="8.6"),)
    ),
    stack=with_commands(
        Stack(
            framework="tensorflow",
            framework_version="2.13.0",
            variant="cuda11",
            cuda="11.8",
            cudnn="8.6",
            python="3.10",
            index_url=None,
            packages={"tensorflow": "2.13.0", "numpy": "<=1.24.3,>=1.22"},
            conda_packages={},
            pip_command=(),
            base_image="nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04",
            image_python="3.10",
            min_driver=MinDriver(linux="450.80.02", windows="452.39"),
            brings_cuda=False,
        )
    ),
    reasons=(
        Reason(
            choice="CUDA 11.8 and cuDNN 8.6 on the machine",
            because="TensorFlow 2.13.0 has no extra that brings them",
            source="pkg:pypi/tensorflow@2.13.0",
        ),
    ),
)

JAX = Plan(
    request=Request(framework="jax"),
    target=Target(driver="580.95.05", gpus=(TargetGpu(vendor="nvidia", name="Tesla V100", capability="7.0"),)),
    stack=with_commands(
        Stack(
            framework="jax",
            framework_version="0.11.2",
            variant="cuda12",
            cuda="12",
            cudnn=None,
            python="3.13",
            index_url=None,
            packages={"jax[cuda12]": "0.11.2", "jaxlib": "0.11.2", "nvidia-cudnn-cu12": "<9.11", "numpy": ">=2.1"},
            conda_packages={},
            pip_command=(),
            base_image="python:3.13-slim-bookworm",
            image_python="3.13",
            min_driver=MinDriver(linux="525.60.13", windows="528.33"),
        )
    ),
    reasons=(
        Reason(
            choice="cuDNN below 9.11",
            because="9.11 no longer serves the V100",
            source="pkg:pypi/nvidia-cudnn-cu12@9.11",
        ),
    ),
)

PLANS = {
    "tensorflow-cuda11": TENSORFLOW,
    "jax-cuda12": JAX,
    "torch-cu118-linux": CU118,
    "torch-cpu": CPU,
    "torch-cu128-wsl2": CU128_WSL2,
}
