"""What conda calls a machine, and what that machine has besides packages, as its virtual packages."""

from __future__ import annotations

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.stack import Stack, Target, TargetOs

# https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-virtual.html
_FAMILIES: dict[TargetOs, str] = {"linux": "linux", "wsl2": "linux", "windows": "win", "macos": "osx"}
# conda's name -> ours; the system of a name is the one that a person means by it.
PLATFORMS: dict[str, tuple[TargetOs, str]] = {
    "linux-64": ("linux", "x86_64"),
    "linux-aarch64": ("linux", "aarch64"),
    "osx-64": ("macos", "x86_64"),
    "osx-arm64": ("macos", "aarch64"),
    "win-64": ("windows", "x86_64"),
}
# Of a machine that nothing more is known of: the oldest that builds of today are made for.
_KERNEL, _GLIBC, _MACOS = "5.10", "2.28", "11.0"


def subdir_of(target: Target) -> str | None:
    """Give conda's name of a machine's platform; None: conda-forge's stacks are not made for it.

    >>> subdir_of(Target(os="wsl2")), subdir_of(Target(os="macos", arch="aarch64"))
    ('linux-64', 'osx-arm64')
    """
    own = (_FAMILIES[target.os], target.arch)
    return next((name for name, (os, arch) in PLATFORMS.items() if (_FAMILIES[os], arch) == own), None)


def cuda_of(stack: Stack) -> str | None:
    """Give the CUDA of a stack's conda packages, which may differ from pip's; None: they are for the CPU."""
    return stack.conda_packages.get("cuda-version") or stack.conda_packages.get("cudatoolkit")


def virtual_packages(stack: Stack, target: Target, facts: Knowledge) -> dict[str, str]:
    """Give the virtual packages of the machine that a stack is for, which need not be the one it is solved on.

    `__cuda` is what the target's driver offers; without a driver there yet, the CUDA of the stack. A stack for the CPU
    sees no CUDA, so that nothing it brings is chosen for a GPU.
    """
    family = _FAMILIES[target.os]
    found = {
        "linux": {"__unix": "0", "__linux": _KERNEL, "__glibc": target.glibc or _GLIBC},
        "osx": {"__unix": "0", "__osx": _MACOS},
        "win": {"__win": "0"},
    }[family]
    arch = "arm64" if (family, target.arch) == ("osx", "aarch64") else target.arch
    found["__archspec"] = f"1 {arch}"
    cuda = cuda_of(stack)
    if cuda:
        found["__cuda"] = (facts.driver_cuda(target.driver) if target.driver else None) or cuda
    return found
