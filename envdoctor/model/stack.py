"""What was asked for, what is handed over, and why."""

from __future__ import annotations

from typing import Literal

from envdoctor.model import Record

FrameworkName = Literal["torch", "tensorflow", "jax"]
TargetOs = Literal["linux", "wsl2", "windows", "macos"]


class Request(Record):
    """What a person asked of `provision`; None leaves the choice to the resolver."""

    cuda: str = "auto"  # auto, cpu or a version like 11.8
    framework: FrameworkName = "torch"
    framework_version: str | None = None
    python: str | None = None  # 3.12


class TargetGpu(Record):
    """A GPU that the stack must run on."""

    vendor: Literal["nvidia", "amd", "intel", "apple", "other"]
    name: str | None = None
    capability: str | None = None  # "8.6"


class Target(Record):
    """The machine a stack must run on, reduced to what decides; None is unknown and constrains nothing."""

    os: TargetOs = "linux"
    arch: str = "x86_64"  # x86_64 or aarch64
    libc: Literal["glibc", "musl"] | None = "glibc"
    glibc: str | None = None
    driver: str | None = None  # NVIDIA driver version; the Windows one for windows and wsl2
    gpus: tuple[TargetGpu, ...] = ()
    python: str | None = None  # of the environment at hand, which is kept where it fits
    pythons: tuple[str, ...] | None = None  # the only Python versions that can be had; None: any


class Reason(Record):
    """A choice, the fact behind it, and where that fact comes from."""

    choice: str
    because: str
    source: str | None = None


class MinDriver(Record):
    """Oldest NVIDIA driver that runs the stack."""

    linux: str | None = None
    windows: str | None = None


class Stack(Record):
    """One published, consistent set of packages."""

    framework: FrameworkName
    framework_version: str
    variant: str  # cu118, cpu, rocm6.4
    cuda: str | None
    cudnn: str | None
    python: str
    index_url: str | None  # None: the person's own index
    packages: dict[str, str]  # name -> version, as pip wants them
    conda_packages: dict[
        str, str
    ]  # name -> conda match (version or version+build); empty: conda-forge has no such stack
    pip_command: tuple[str, ...]
    base_image: str
    min_driver: MinDriver | None = None
    conda_note: str | None = None  # why the conda stack differs, or why there is none


class Plan(Record):
    """A stack with its reasons."""

    request: Request
    target: Target
    stack: Stack
    reasons: tuple[Reason, ...]


class Conflict(Record):
    """Why nothing fits, in facts, and the nearest stacks that do."""

    summary: str
    reasons: tuple[Reason, ...]
    alternatives: tuple[Stack, ...]


class Artifact(Record):
    """A file to be written: its path inside the output folder and its text."""

    path: str
    text: str
    executable: bool = False
