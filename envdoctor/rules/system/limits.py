"""Limits of memory, files and processes that long jobs run into."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say, say_number
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import on_host, set_variable
from envdoctor.rules.wording import listed, size

_CGROUP = "https://docs.kernel.org/admin-guide/cgroup-v2.html"
_TUNING = "https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide.html"
# Thresholds of ours: a data loader opens some hundred files, and each worker starts a thread for each processor.
_FILES, _PROCESSES_EACH = 512, 16
_GIB = 1 << 30


@rule(
    "MEM003",
    "host-out-of-memory",
    "warning",
    needs=("memory.oom_kills", "system.container"),
    sources=(_CGROUP,),
)
def kernel_ended_processes(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The kernel has ended processes here because memory ran out.

    A program that stops with the one word "Killed" and no traceback was ended that way.

    Check: `dmesg | grep -i oom`, or memory.events of the cgroup.
    The count is that of the process's own cgroup (a container, a login, a service) and starts with it; where that does
    not count, it is the machine's. It says nothing of which program it was.
    """
    memory = machine.memory
    if memory is None or not memory.oom_kills:
        return
    yield found(
        _ended(machine, memory.oom_kills),
        say("Programs that stopped with “Killed” and no traceback were among them."),
        evidence=("memory.oom_kills", "memory.limit_bytes" if memory.limit_bytes else "memory.total_bytes"),
        fixes=(
            on_host(
                say("Raise the container's memory limit, or let the program take less: smaller batches, fewer workers.")
            )
            if memory.limit_bytes
            else Fix(summary=say("Let the program take less (smaller batches, fewer workers), or add memory or swap.")),
        ),
    )


def _ended(machine: Snapshot, count: int) -> str:
    """Say whose count it is, which the file tells that it was read from."""
    inside = machine.system is not None and machine.system.container is not None
    file = machine.origins.get("memory.oom_kills", "").rpartition("/")[2]
    if file in ("memory.events", "memory.oom_control") and not inside:
        return say_number(
            "The kernel has ended one process of this cgroup for lack of memory since the cgroup was made",
            "The kernel has ended {number} processes of this cgroup for lack of memory since the cgroup was made",
            count,
        )
    if inside and file != "vmstat":
        return say_number(
            "The kernel has ended one process for lack of memory since this container started",
            "The kernel has ended {number} processes for lack of memory since this container started",
            count,
        )
    return say_number(
        "The kernel has ended one process for lack of memory since the machine started",
        "The kernel has ended {number} processes for lack of memory since the machine started",
        count,
    )


@rule(
    "MEM004",
    "process-limits-low",
    "warning",
    certainty="hint",
    needs=("memory.limits", "cpu.logical", "system.container"),
    sources=(_TUNING, _CGROUP),
)
def limits_are_low(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A process may open few files, or start few threads.

    Data loaders hand tensors over through files, and each worker starts a thread for each processor. At the limit they
    stop with "Too many open files" or "can't start new thread".

    Check: `ulimit -n` and `ulimit -u`.
    Silent from 512 files and 16 processes for each processor on (thresholds of ours): 1024 files are usual and enough
    for most.
    """
    memory, cpu, system = machine.memory, machine.cpu, machine.system
    if memory is None or memory.limits is None:
        return
    few: list[str] = []
    limits = memory.limits
    if limits.open_files is not None and limits.open_files < _FILES:
        few.append("memory.limits.open_files")
    processors = (cpu.affinity or cpu.logical or 1) if cpu else 1
    if limits.processes is not None and limits.processes < _PROCESSES_EACH * processors:
        few.append("memory.limits.processes")
    if not few:
        return
    told = [say("open {open_files} files", open_files=limits.open_files)] * ("memory.limits.open_files" in few)
    told += [say("start {processes} processes and threads", processes=limits.processes)] * (
        "memory.limits.processes" in few
    )
    kind = system.container.kind if system and system.container else None
    run = ("--ulimit", "nofile=65536:65536", "--pids-limit", "-1", "IMAGE")
    yield found(
        say("A process here may only {told}", told=listed(told)),
        say("Data loaders with several workers reach that soon."),
        evidence=tuple(few),
        fixes=(
            on_host(say("Start the container with higher limits (IMAGE is yours)."), (kind, "run", *run))
            if kind in ("docker", "podman")
            else Fix(summary=say("Raise the limit of files in this shell."), commands=(("ulimit", "-n", "65536"),)),
        ),
    )


@rule(
    "MEM005",
    "compile-jobs-exceed-memory",
    "note",
    certainty="hint",
    needs=("memory.limit_bytes", "cpu.logical", "variables", "pythons.packages"),
    sources=("https://github.com/Dao-AILab/flash-attention/blob/main/README.md",),
)
def compiling_takes_much_memory(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Compiling CUDA kernels here takes more memory than there is, unless fewer jobs run at once.

    Each job of flash-attn and its like takes several gigabytes, and ninja starts one for each processor.

    Check: `free -h` while it compiles.
    Said only where flash-attn is about to be needed: a package that asks for it is installed and it is not; below 4 GiB
    for each processor (a rule of thumb), and without MAX_JOBS.
    """
    memory, cpu, python = machine.memory, machine.cpu, machine.python
    if memory is None or cpu is None or not cpu.logical or python is None or machine.variable("MAX_JOBS"):
        return
    if python.package("flash-attn") or not any(
        text.lower().startswith(("flash-attn", "flash_attn")) and "extra" not in text
        for package in python.packages
        for text in package.requires
    ):
        return
    jobs = max(1, memory.effective_bytes // (4 * _GIB))
    if jobs >= cpu.logical:
        return
    yield found(
        say(
            "Compiling flash-attn with {logical} jobs takes more than {effective_bytes} of memory",
            logical=cpu.logical,
            effective_bytes=size(memory.effective_bytes),
        ),
        say("Each job takes several gigabytes. A wheel that fits needs no compiling."),
        evidence=("memory.total_bytes", "cpu.logical"),
        fixes=(
            Fix(summary=say("Let fewer jobs run at once."), commands=(set_variable(machine, "MAX_JOBS", str(jobs)),)),
        ),
    )


@rule(
    "CTR014",
    "locked-memory-limit-low",
    "warning",
    certainty="hint",
    needs=("memory.limits", "system.container", "devices"),
    sources=("https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html",),
)
def locked_memory_is_limited(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """InfiniBand is here, and this process may lock little memory.

    Network cards with RDMA work on locked memory. With the small limit that containers start with, NCCL cannot set up
    its connections between machines.

    Check: `ulimit -l` prints unlimited.
    Silent without such network cards: one machine alone needs none of it.
    """
    memory, system = machine.memory, machine.system
    rdma = [place for place, each in enumerate(machine.devices) if each.path.startswith("/dev/infiniband/")]
    if memory is None or memory.limits is None or memory.limits.locked_bytes is None or not rdma:
        return
    kind = system.container.kind if system and system.container else None
    yield found(
        say(
            "InfiniBand is here, and a process may lock {locked_bytes} of memory only",
            locked_bytes=size(memory.limits.locked_bytes),
        ),
        say("NCCL cannot register its buffers with the network card."),
        evidence=("memory.limits.locked_bytes", f"devices[{rdma[0]}].path"),
        fixes=(
            on_host(
                say("Start the container without that limit (IMAGE is yours)."),
                (kind, "run", "--ulimit", "memlock=-1", "--ulimit", "stack=67108864", "IMAGE"),
            )
            if kind in ("docker", "podman")
            else Fix(summary=say("Set memlock to unlimited in /etc/security/limits.d, then log in again.")),
        ),
    )
