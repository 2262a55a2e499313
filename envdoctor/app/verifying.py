"""From an environment to the proof that a CNN and a GPT-2 run in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from envdoctor import errors
from envdoctor.app.examining import locate
from envdoctor.host import Host
from envdoctor.host.local import LocalHost
from envdoctor.model.outcome import Outcome
from envdoctor.model.speech import say
from envdoctor.verify import runner, targets

if TYPE_CHECKING:
    from envdoctor.model.snapshot import Memory

MEMORY_SHARE = 0.9  # of what is free now; the rest keeps the machine from swapping while it is watched


def target_of(host: Host, python: str | None, conda_env: str | None) -> targets.VerifyTarget:
    """Find the environment to verify: the conda environment, else the Python named, else the active one.

    Raises:
        errors.UsageProblem: it is not there, or is no Python.
        errors.MissingPart: a conda environment was named and there is no conda.
    """
    if python is not None and conda_env is not None:
        raise errors.UsageProblem(say("--python and --conda-env both name an environment: give one of them"))
    if conda_env is not None:
        return targets.conda(host, conda_env)
    place = locate(host, python)
    if place is None:
        raise errors.Unreadable(
            say("no Python was found to verify"), say("activate an environment, or name one with --python")
        )
    return targets.interpreter(host, place.executable)


def memory_cap(host: Host) -> int | None:
    """Give the bytes that a workload may hold: most of what is free now and granted; None: the machine does not say."""
    free = free_memory(host)
    return None if free is None else int(free * MEMORY_SHARE)


def free_memory(host: Host) -> int | None:
    """Give the bytes that are free now and granted, by cgroups too; None: the machine does not say.

    What others hold in the same cgroups is not free.
    """
    from envdoctor.probes import cgroup

    found = _memory(host)
    if found is None:
        return None
    try:
        left = cgroup.memory_left(host)
    except (OSError, ValueError):
        left = None
    free = [count for count in (found.available_bytes, found.limit_bytes, found.total_bytes) if count is not None]
    return min(*free, int(left.value)) if left else min(free)


def granted_memory(host: Host) -> int | None:
    """Give the bytes that a process could have if it were alone, by cgroups too; None: the machine does not say."""
    found = _memory(host)
    if found is None:
        return None
    return min(count for count in (found.limit_bytes, found.total_bytes) if count is not None)


def _memory(host: Host) -> Memory | None:
    from envdoctor.probes import memory

    try:
        return memory.read(host, None).memory
    except (OSError, ValueError):
        return None


def verify(
    python: str,
    *,
    framework: str,
    workloads: tuple[str, ...],
    device: str,
    timeout: float,
    logs: str | None,
    tell: Callable[[str], None],
) -> tuple[Outcome, ...]:
    """Run the workloads with that interpreter of this machine, and give the outcome of each.

    Raises:
        errors.UsageProblem: the interpreter or a workload is not there.
    """
    host = LocalHost()
    return runner.run(
        targets.interpreter(host, python),
        workloads,
        device,
        timeout,
        memory_cap(host),
        lambda progress: tell(str(progress)),
        framework=framework,
        logs=logs,
        granted=granted_memory(host),
    )
