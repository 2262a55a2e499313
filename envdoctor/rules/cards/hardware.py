"""The hardware and its state: no GPU at all, one that is partitioned or full, a processor without AVX."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Gpu, Snapshot
from envdoctor.model.speech import say, say_number
from envdoctor.model.version import order
from envdoctor.rules.platforms.wsl import has_nvidia_libraries
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import Command, on_host
from envdoctor.rules.wording import card, listed, sentence, size

_NVML = "https://github.com/NVIDIA/go-nvml/blob/main/gen/nvml/nvml.h"


@rule(
    "HW000",
    "no-supported-gpu",
    "note",
    needs=("gpus.vendor", "driver.module_loaded", "system.wsl", "system.container"),
    sources=("https://pytorch.org/get-started/locally/", "https://docs.astral.sh/uv/guides/integration/pytorch/"),
)
def no_gpu(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This machine has no GPU that deep-learning frameworks can use, which is nothing wrong.

    Everything still runs on the processor: inference of small and medium models, data preparation, and training of
    small networks. The CPU build of PyTorch is a fraction of the size of a CUDA build and is the right one here.

    Check: `envdoctor verify --device cpu` runs real models on the processor.
    Silent with a GPU of NVIDIA, AMD or Apple, or an Intel card that is not part of the processor; and wherever a GPU
    may exist but is not visible from here for another reason: WSL 1, WSL without /dev/dxg, a container whose host runs
    an NVIDIA driver, a Jetson.
    """
    if _has_gpu(machine) or _hidden_elsewhere(machine):
        return
    processor = (machine.cpu.model if machine.cpu else None) or say("its processor")
    seen = [(place, gpu) for place, gpu in enumerate(machine.gpus)]
    trace = "driver.module_loaded" if machine.driver else "driver"
    yield found(
        say("There is no GPU for CUDA here; this machine computes on {processor}", processor=processor),
        say(
            "That is fine for inference of small and medium models, for preparing data and for training small "
            "networks; training large ones needs a GPU elsewhere."
        )
        + (" " + say("{seen} cannot run CUDA.", seen=sentence(listed(card(gpu) for _, gpu in seen))) if seen else ""),
        evidence=(*(tuple(f"gpus[{place}].vendor" for place, _ in seen) or ("gpus",)), trace),
        fixes=(
            Fix(
                summary=say("Write an environment for the CPU, with the small CPU build of PyTorch."),
                commands=(("envdoctor", "provision", "--cuda", "cpu"),),
            ),
        ),
    )


def _has_gpu(machine: Snapshot) -> bool:
    python = machine.python
    if python and any(each.xpu for each in python.frameworks):
        return True  # somebody runs a build for Intel here and knows why
    return any(
        gpu.vendor in ("nvidia", "amd", "apple") or (gpu.vendor == "intel" and not gpu.integrated)
        for gpu in machine.gpus
    )


def _hidden_elsewhere(machine: Snapshot) -> bool:
    """Tell whether a GPU may exist that cannot be seen from here; the rule of that cause speaks then."""
    driver, system = machine.driver, machine.system
    if driver is not None and (driver.module_loaded or driver.nvml == 0):
        return True
    if system is None or system.jetson is not None:
        return True
    if system.wsl is None:
        return False
    # Where the folder holds files and none is of NVIDIA, Windows has an AMD or Intel driver.
    only_directx = bool(system.wsl.libraries) and not has_nvidia_libraries(system.wsl)
    return not (system.wsl.version == 2 and system.wsl.dxg and only_directx)


@rule(
    "HW001",
    "mig-hides-device",
    "error",
    needs=("gpus.mig", "system.container"),
    supersedes=("HW010",),
    sources=(
        "https://docs.nvidia.com/datacenter/tesla/mig-user-guide/mig-device-names.html",
        _NVML,
    ),
)
def mig_without_instance(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Multi-Instance GPU (MIG) is switched on, but no instance exists that CUDA could use.

    With MIG on, CUDA cannot use the whole card, only instances of it, and none has been created; so CUDA reports no
    device on a healthy card. In a container it may also be that none was handed over: it is certain that CUDA has no
    device in there, and the host tells which of the two it is.

    Check: `nvidia-smi -L` lists MIG devices below the card.
    Silent where NVML does not say how many instances there are. A pending change is told: it waits for a reset.
    """
    for place, gpu in enumerate(machine.gpus):
        mig = gpu.mig
        if gpu.vendor != "nvidia" or mig is None or not mig.enabled or mig.instances != 0:
            continue
        inside = machine.system is not None and machine.system.container is not None
        yield found(
            say("{card} has MIG switched on, but no instance is visible here", card=sentence(card(gpu)))
            if inside
            else say("{card} has MIG switched on, but no instance exists", card=sentence(card(gpu))),
            say("With MIG on, CUDA only uses instances of the card, so it reports no device.")
            if mig.pending == mig.enabled
            else say(
                "With MIG on, CUDA only uses instances of the card, so it reports no device. Switching it off is "
                "already asked for and waits for a reset."
            ),
            evidence=(f"gpus[{place}].mig.enabled", f"gpus[{place}].mig.instances", f"gpus[{place}].mig.pending"),
            fixes=_mig_ways(gpu, inside=inside),
        )


def _mig_ways(gpu: Gpu, *, inside: bool) -> tuple[Fix, ...]:
    number = ("-i", str(gpu.index)) if gpu.index is not None else ()
    if inside:
        return (
            on_host(
                say("On the host: see which instances exist, and hand one to the container."),
                ("nvidia-smi", "-L"),
                page="https://docs.nvidia.com/datacenter/tesla/mig-user-guide/",
            ),
        )
    return (
        Fix(
            summary=say("Switch MIG off to use the whole card."),
            commands=(("sudo", "nvidia-smi", *number, "-mig", "0"),),
            effect="needs-root",
        ),
        Fix(
            summary=say("Or create instances: list the profiles, then create one (PROFILE is a number of that list)."),
            commands=(
                ("sudo", "nvidia-smi", "mig", *number, "-lgip"),
                ("sudo", "nvidia-smi", "mig", *number, "-cgi", "PROFILE", "-C"),
            ),
            effect="needs-root",
            page="https://docs.nvidia.com/datacenter/tesla/mig-user-guide/",
        ),
    )


@rule(
    "HW010",
    "gpu-memory-in-use",
    "warning",
    certainty="likely",
    needs=("gpus.used_bytes", "gpus.memory_bytes"),
    sources=(
        _NVML,
        "https://docs.jax.dev/en/latest/gpu_memory_allocation.html",
        "https://www.tensorflow.org/guide/gpu",
    ),
)
def memory_is_taken(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Most of a GPU's memory is already taken by other programs.

    Often it is a forgotten notebook. JAX and TensorFlow take three quarters or all of the memory when they start,
    whether they need it or not. More than half is our rule of thumb for when to speak of it.

    Check: `nvidia-smi` lists the programs and what they hold.
    Every GPU is judged. What the driver reserves for itself is not counted. In containers and WSL other programs cannot
    be listed, which is said. Silent about a card in MIG mode, whose instances have memory of their own.
    """
    for place, gpu in enumerate(machine.gpus):
        used, total = gpu.used_bytes, gpu.memory_bytes
        if gpu.vendor != "nvidia" or gpu.integrated or not used or not total or used * 2 <= total:
            continue
        if gpu.mig is not None and gpu.mig.enabled:
            continue
        holders = listed(
            say("process {pid} ({memory})", pid=each.pid, memory=size(each.memory_bytes))
            if each.memory_bytes
            else say("process {pid}", pid=each.pid)
            for each in gpu.processes or ()
        )
        yield found(
            say(
                "{card} has {used} of {total} in use by {processes}",
                card=sentence(card(gpu)),
                used=size(used),
                total=size(total),
                processes=holders or say("processes that are not visible from here"),
            ),
            say(
                "A new job gets only what is left. JAX and TensorFlow take most of the memory at their start, so a "
                "running notebook explains a lot."
            ),
            evidence=(f"gpus[{place}].used_bytes", f"gpus[{place}].memory_bytes", f"gpus[{place}].processes"),
            fixes=_free_memory(machine),
        )


def _free_memory(machine: Snapshot) -> tuple[Fix, ...]:
    system = machine.system
    look: tuple[Command, ...] = (("nvidia-smi",),)
    summary = say("See which programs hold it, and end those that are no longer needed.")
    if system and system.container:
        first = on_host(summary, *look)
    elif system and (system.wsl or system.os == "windows"):
        first = Fix(
            summary=say("{summary} Programs of Windows are in its Task Manager.", summary=summary), commands=look
        )
    else:
        nodes = tuple(f"/dev/nvidia{gpu.minor}" for gpu in machine.nvidia_gpus if gpu.minor is not None)
        first = Fix(summary=summary, commands=(*look, *((("sudo", "fuser", "-v", *nodes),) if nodes else ())))
    return (
        first,
        Fix(
            summary=say(
                "If it is a JAX or TensorFlow program: start it with XLA_PYTHON_CLIENT_PREALLOCATE=false or "
                "TF_FORCE_GPU_ALLOW_GROWTH=true, so that it takes what it needs."
            )
        ),
    )


@rule(
    "HW011",
    "cpu-without-avx",
    "error",
    needs=("cpu.features", "system.machine", "pythons.packages"),
    sources=(
        "https://www.tensorflow.org/install/pip",
        "https://github.com/jax-ml/jax/blob/main/jax/_src/lib/__init__.py",
    ),
)
def processor_without_avx(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The processor has no AVX, which the official TensorFlow and jaxlib packages need.

    The published x86 packages are compiled for AVX. On a processor without it, or in a virtual machine that hides it,
    the import ends with "Illegal instruction" and no Python traceback.

    Check: `grep -m1 -o avx /proc/cpuinfo` prints a line.
    Silent where neither TensorFlow (1.6 or newer) nor jaxlib is installed, on processors that are not x86, and under
    emulation on Apple machines, which hides what it translates.
    """
    system, cpu, python = machine.system, machine.cpu, machine.python
    if system is None or cpu is None or python is None or cpu.features is None:
        return
    if system.machine not in ("x86_64", "AMD64") or "avx" in cpu.features or "apple" in (cpu.vendor or "").lower():
        return
    concerned = [
        (place, package)
        for place, package in enumerate(python.packages)
        if package.name in ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "jaxlib")
        and not (package.name.startswith("tensorflow") and order(package.version, "1.6") == -1)
    ]
    if not concerned:
        return
    hidden = (
        Fix(
            summary=say(
                "Set the CPU model of the virtual machine to host or host-passthrough; kvm64 and qemu64 hide AVX."
            ),
            where="host",
        ),
    )
    yield found(
        say_number(
            "{processor} shows no AVX, which {packages} needs",
            "{processor} shows no AVX, which {packages} need",
            len(concerned),
            processor=cpu.model or say("The processor"),
            packages=listed(f"{package.name} {package.version}" for _, package in concerned),
        ),
        say(
            "The official x86 packages are compiled for AVX; without it the import ends with “Illegal instruction” "
            "and no traceback."
        )
        + (" " + say("This is a virtual machine, which may hide what the processor has.") if system.virtual else ""),
        evidence=("cpu.features", *(f"pythons[0].packages[{place}].version" for place, _ in concerned)),
        fixes=(
            *(hidden if system.virtual else ()),
            Fix(summary=say("Use a machine with AVX, or a build made without it: conda-forge's, or one from source.")),
        ),
    )
