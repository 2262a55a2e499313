"""Windows itself, not WSL."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say, say_number
from envdoctor.rules.frameworks.installed import TORCH, torch
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import in_windows
from envdoctor.rules.wording import listed


@rule(
    "WIN001",
    "windows-dll-missing",
    "error",
    needs=("system.os", "system.missing_runtime", "pythons.frameworks"),
    sources=(
        "https://github.com/pytorch/pytorch/issues/131662",
        "https://docs.jax.dev/en/latest/installation.html",
        "https://www.tensorflow.org/install/pip",
    ),
)
def runtime_is_missing(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The Microsoft Visual C++ runtime is missing.

    The libraries of PyTorch, TensorFlow and JAX need it. Without it Windows only says that a module, or something it
    needs, was not found (WinError 126).

    Check: `python -c "import torch"`.
    Silent in conda environments, which bring their own, and where no framework is installed.
    """
    system, python = machine.system, machine.python
    if system is None or system.os != "windows" or not system.missing_runtime or python is None:
        return
    if python.manager == "conda" or not python.frameworks:
        return
    framework = torch(machine)
    yield found(
        say_number(
            "The Visual C++ runtime is missing: {files} is not in System32",
            "The Visual C++ runtime is missing: {files} are not in System32",
            len(system.missing_runtime),
            files=listed(system.missing_runtime),
        ),
        say("The libraries of the framework need it; Windows then says that a module was not found (WinError 126)."),
        evidence=("system.missing_runtime", *((f"{TORCH}.version",) if framework else ())),
        fixes=(
            in_windows(
                say("Install Microsoft's runtime. Single DLLs from elsewhere are no remedy."),
                ("winget", "install", "Microsoft.VCRedist.2015+.x64"),
                effect="needs-root",
            ),
        ),
    )


@rule(
    "WIN002",
    "jax-no-windows-gpu",
    "warning",
    needs=("system.os", "gpus.vendor", "pythons.frameworks"),
    sources=("https://docs.jax.dev/en/latest/installation.html",),
)
def jax_has_no_gpu_on_windows(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """JAX has no GPU support on Windows.

    It has wheels for the processor only there. Its CUDA plugins exist for Linux, and WSL 2 can use them.

    Check: `python -c "import jax; print(jax.devices())"`.
    Silent in WSL, and without an NVIDIA GPU.
    """
    system, python = machine.system, machine.python
    framework = python.framework("jax") if python else None
    if system is None or system.os != "windows" or framework is None or not machine.nvidia_gpus:
        return
    yield found(
        say("JAX {version} cannot use the GPU on Windows", version=framework.version),
        say("It computes on the processor there. In WSL 2 the same GPU is used."),
        evidence=("system.os", "pythons[0].frameworks.jax.version"),
        fixes=(in_windows(say("Use WSL 2, and install jax[cuda13] inside it."), ("wsl", "--install")),),
    )
