"""What torch.compile needs beside torch: a compiler, Python's headers, a libcuda that Triton finds, a recent GPU."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import at_least, minor, readable
from envdoctor.rules.frameworks.installed import torch, version_of
from envdoctor.rules.python.reinstall import cards
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import family, os_packages
from envdoctor.rules.wording import listed

_BUILD = "https://github.com/triton-lang/triton/blob/main/python/triton/runtime/build.py"
_NVIDIA = "https://github.com/triton-lang/triton/blob/main/third_party/nvidia/backend/driver.py"


@rule(
    "TORCH013",
    "triton-cannot-compile",
    "warning",
    needs=("compilers", "pythons.headers", "pythons.packages", "gpus.vendor", "variables"),
    sources=(
        _BUILD,
        "https://github.com/pytorch/pytorch/issues/129351",
        "https://github.com/pytorch/pytorch/issues/97146",
    ),
)
def triton_cannot_compile(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """PyTorch cannot build what torch.compile needs: there is no C compiler, or Python's headers are missing.

    Triton compiles a small C program when a kernel is first used, with the compiler that CC names, or gcc or clang, and
    with Python.h.

    Needed, for torch.compile only: a C compiler and Python's headers.
    Check: `python -c "import torch; torch.compile(torch.sin)(torch.ones(1).cuda())"`.
    Silent without a GPU, where Triton is not used, and in containers of the slim or runtime kind it is a note: plain
    PyTorch needs neither.
    """
    python, system = machine.python, machine.system
    package = python.package("triton") if python else None
    if python is None or package is None or machine.compilers is None or system is None or system.os != "linux":
        return
    if not any(gpu.vendor in ("nvidia", "amd") for gpu in machine.gpus):
        return
    no_compiler = not machine.compilers and machine.variable("CC") is None
    no_headers = python.headers is False
    if not no_compiler and not no_headers:
        return
    lacking = [*([say("a C compiler")] if no_compiler else []), *(["Python.h"] if no_headers else [])]
    header = f"python{minor(python.version)}-dev" if python.version and readable(python.version) else "python3-dev"
    debian = ("gcc", *((header if python.base_prefix == "/usr" else "python3-dev",) if no_headers else ()))
    install = os_packages(
        machine,
        {"ubuntu": debian, "debian": debian, "fedora": ("gcc", "python3-devel"), "rhel": ("gcc", "python3-devel")},
    )
    yield found(
        say("torch.compile lacks {lacking} here", lacking=listed(lacking)),
        say("Triton compiles a small C program on first use and stops without it. Plain PyTorch needs neither."),
        evidence=(
            version_of(python, package),
            *(("compilers",) if no_compiler else ()),
            *(("pythons[0].headers",) if no_headers else ()),
        ),
        severity="note" if system.container else None,
        fixes=(
            Fix(
                summary=say("If you use torch.compile: install what is missing."),
                commands=install,
                effect="needs-root",
            ),
        ),
    )


@rule(
    "TORCH014",
    "triton-without-libcuda",
    "warning",
    certainty="likely",
    needs=("driver.libcuda_path", "system.wsl", "pythons.packages", "variables"),
    sources=(_NVIDIA, "https://github.com/microsoft/WSL/issues/8587"),
)
def triton_cannot_find_libcuda(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Triton cannot find libcuda.so.1, although programs can.

    Triton asks `ldconfig` where the driver's library is, or TRITON_LIBCUDA_PATH and LD_LIBRARY_PATH. A library that
    only Windows or NixOS put into a folder of their own is found by CUDA itself and not by it.

    Check: `/sbin/ldconfig -p` lists libcuda.so.1.
    Silent without a GPU and without Triton, where one of the two variables names the folder, and where no libcuda is
    found at all, which DRV018 and WSL004 tell.
    """
    python, driver = machine.python, machine.driver
    package = python.package("triton") if python else None
    if python is None or package is None or driver is None or driver.libcuda_path is None or driver.nvml != 0:
        return
    wsl = machine.wsl
    hidden = wsl is not None and wsl.on_loader_path is False
    nix = driver.libcuda_path.startswith(("/run/opengl-driver/", "/nix/store/"))
    if not (hidden or nix) or machine.variable("TRITON_LIBCUDA_PATH"):
        return
    folder = "/usr/lib/wsl/lib" if wsl else "/run/opengl-driver/lib"
    if folder in (machine.variable("LD_LIBRARY_PATH") or "").split(":"):
        return
    yield found(
        say("Triton does not find libcuda.so.1: ldconfig does not know {folder}", folder=folder),
        say("torch.compile stops when it links its first kernel, while plain PyTorch works."),
        evidence=("driver.libcuda_path", *(("system.wsl.on_loader_path",) if wsl else ())),
        fixes=(
            Fix(
                summary=say("Tell Triton the folder, in this shell or in its start file."),
                commands=(("export", f"TRITON_LIBCUDA_PATH={folder}"),),
            ),
        ),
    )


@rule(
    "TORCH017",
    "gpu-feature-unsupported",
    "note",
    needs=("gpus.capability", "pythons.packages"),
    sources=("https://github.com/pytorch/pytorch/blob/main/torch/_inductor/exc.py",),
)
def gpu_too_old_for_triton(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The GPU is too old for torch.compile.

    Triton has code for compute capability 7.0 (Volta) and newer, and torch.compile refuses older cards. Plain PyTorch
    runs on them with a build that still carries their code.

    Check: `nvidia-smi --query-gpu=name,compute_cap --format=csv`.
    Silent without Triton, and where one card is new enough.
    """
    python, framework = machine.python, torch(machine)
    package = python.package("triton") if python else None
    gpus = cards(machine, facts)
    if python is None or package is None or framework is None or not framework.cuda or not gpus:
        return
    if any(at_least(each.capability, "7.0") for each in gpus):
        return
    yield found(
        say("torch.compile does not run on the {cards}", cards=listed(dict.fromkeys(each.name for each in gpus))),
        say(
            "Triton starts at compute capability 7.0. Everything else of PyTorch works on this card, given a build "
            "that has its code."
        ),
        evidence=(version_of(python, package), *(each.evidence for each in gpus)),
        fixes=(
            Fix(
                summary=say("Leave torch.compile out, also where a library switches it on."),
                commands=(("export", "TORCHDYNAMO_DISABLE=1"),) if family(machine) else (),
            ),
        ),
    )
