"""Host memory beside the GPU's. All thresholds here are rules of thumb of ours, not limits of a vendor."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Gpu, Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.wording import card, size

_GIB = 1 << 30
# Memory sold as 32 GiB shows as about 31: what firmware and kernel keep is no lack.
_SHORT = 0.95
_LITTLE = 4 * _GIB
# GPUs that share the host's memory, by their compute capability: GB10 (12.1); Tegra is marked in the table.
_UNIFIED = ("12.1",)


@rule(
    "MEM001",
    "host-memory-below-gpu-memory",
    "note",
    certainty="hint",
    needs=("memory.total_bytes", "memory.limit_bytes", "gpus.memory_bytes"),
    sources=("https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide.html",),
)
def little_memory_beside_gpu(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """There is little host memory beside the GPU's.

    Checkpoints, optimizer state on the processor and pinned buffers pass through host memory, so a large card beside
    little memory is limited by the memory. Twice the memory of the largest GPU is comfortable; this is a rule of thumb.

    Needed: as much host memory as the largest GPU has, better twice.

    Check: `free -h` beside `nvidia-smi`.

    A warning below the GPU's memory, a note below twice of it. Inference with safetensors needs far less. Skipped where
    GPU and processor share their memory (Jetson, GB10).
    """
    memory = machine.memory
    if memory is None or (machine.system and machine.system.jetson):
        return
    sized = [(i, gpu) for i, gpu in enumerate(machine.gpus) if gpu.memory_bytes and not _shares(gpu, facts)]
    if not sized:
        return
    place, gpu = max(sized, key=lambda pair: pair[1].memory_bytes or 0)
    assert gpu.memory_bytes
    have = memory.effective_bytes
    if have >= 2 * gpu.memory_bytes * _SHORT:
        return
    below = have < gpu.memory_bytes * _SHORT
    limited = memory.limit_bytes is not None and memory.limit_bytes < memory.total_bytes
    yield found(
        say(
            "{have} of host memory stand beside the {memory_bytes} of the {card}",
            have=size(have),
            memory_bytes=size(gpu.memory_bytes),
            card=card(gpu),
        ),
        say(
            "Checkpoints and pinned buffers pass through host memory, so large models are limited by it before the "
            "GPU is. Twice the GPU's memory is comfortable; inference from safetensors needs far less."
        ),
        evidence=("memory.limit_bytes" if limited else "memory.total_bytes", f"gpus[{place}].memory_bytes"),
        fixes=(
            Fix(
                summary=say(
                    "Load weights from safetensors straight to the GPU (low_cpu_mem_usage, device_map), or add "
                    "memory to this container's limit."
                )
                if limited
                else say(
                    "Load weights from safetensors straight to the GPU (low_cpu_mem_usage, device_map), or add "
                    "memory or swap."
                )
            ),
        ),
        severity="warning" if below else None,
    )


@rule(
    "MEM002",
    "no-swap",
    "note",
    certainty="hint",
    needs=("memory.swap_bytes", "memory.available_bytes", "system.container"),
    sources=("https://docs.kernel.org/filesystems/proc.html", "https://docs.kernel.org/admin-guide/cgroup-v2.html"),
)
def no_swap_and_little_free(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """There is no swap, and little memory is free.

    Without swap a short peak ends a process at once; a few gigabytes of it turn that into a slow moment.

    Needed: swap, or a few gigabytes of free memory.

    Check: `free -h`.

    Silent from 4 GiB of available memory on (a threshold of ours), in containers, which show their host's swap, and
    under a memory limit, where swap of the machine decides nothing.
    """
    memory, system = machine.memory, machine.system
    if memory is None or memory.swap_bytes != 0 or memory.available_bytes is None:
        return
    if memory.available_bytes >= _LITTLE or memory.limit_bytes is not None or (system and system.container):
        return
    yield found(
        say(
            "There is no swap, and {available_bytes} of {total_bytes} memory is available",
            available_bytes=size(memory.available_bytes),
            total_bytes=size(memory.total_bytes),
        ),
        say("Without swap a short peak, such as loading a checkpoint, ends the process at once."),
        evidence=("memory.swap_bytes", "memory.available_bytes"),
        fixes=(_add_swap(machine),),
    )


def _shares(gpu: Gpu, facts: Knowledge) -> bool:
    row = facts.architecture(gpu.capability) if gpu.capability else None
    return gpu.integrated or gpu.capability in _UNIFIED or (row is not None and row.integrated)


def _add_swap(machine: Snapshot) -> Fix:
    system = machine.system
    if system and system.wsl:
        return Fix(
            summary=say("In Windows, set swap=8GB under [wsl2] in .wslconfig in your user folder, then restart WSL."),
            commands=(("wsl", "--shutdown"),),
            where="windows",
            page="https://learn.microsoft.com/windows/wsl/wsl-config",
        )
    if system is None or system.os != "linux":
        return Fix(summary=say("Add a few gigabytes of swap."))
    return Fix(
        summary=say("Add 8 GiB of swap in a file, until the next restart."),
        commands=(
            ("sudo", "fallocate", "-l", "8G", "/swapfile"),
            ("sudo", "chmod", "600", "/swapfile"),
            ("sudo", "mkswap", "/swapfile"),
            ("sudo", "swapon", "/swapfile"),
        ),
        effect="needs-root",
    )
