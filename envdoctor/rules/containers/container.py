"""Containers: what was handed to this one, and what was held back."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.consequences import GPU_UNSEEN, NODES_MISSING
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import on_host
from envdoctor.rules.wording import size

_MIB, _GIB = 1 << 20, 1 << 30
_TOOLKIT = "https://github.com/NVIDIA/cloud-native-docs/blob/main/container-toolkit/docker-specialized.md"
_CDI = "https://github.com/NVIDIA/cloud-native-docs/blob/main/container-toolkit/cdi-support.md"


@rule(
    "CTR001",
    "container-without-gpu",
    "error",
    needs=("system.container", "driver.module_loaded", "driver.device_nodes"),
    supersedes=(*NODES_MISSING, *GPU_UNSEEN),
    sources=(
        _TOOLKIT,
        _CDI,
        "https://github.com/NVIDIA/cloud-native-docs/blob/main/container-toolkit/install-guide.md",
    ),
)
def container_without_gpu(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This container was started without access to the GPU.

    A container sees the kernel of its host, and so the NVIDIA module in it; the devices and the driver's libraries are
    handed over only on request. In WSL the device is /dev/dxg.

    Check: `nvidia-smi` inside the container lists the GPU.
    A note instead of an error where every installed framework is a CPU build: then the container may well be meant for
    the CPU. A warning in WSL, where nothing in here shows whether Windows has a GPU to share. Silent where the host has
    no driver; then the host is the place to look.
    """
    system, driver = machine.system, machine.driver
    if system is None or system.container is None:
        return
    if system.wsl:
        if system.wsl.version == 2 and not system.wsl.dxg and _gpu_builds(machine):
            yield _without(machine, say("/dev/dxg is not in it"), ("system.wsl.dxg",), likely=True)
        return
    if driver is None or not driver.module_loaded or driver.device_nodes is None or driver.nvml == 0:
        return
    if "/dev/nvidiactl" not in driver.device_nodes:
        host = (
            say("the host runs NVIDIA driver {version}", version=driver.version)
            if driver.version
            else say("the host runs an NVIDIA driver")
        )
        yield _without(
            machine,
            say("{host}, but /dev/nvidiactl is not in here", host=host),
            ("driver.module_loaded", "driver.device_nodes"),
        )


def _gpu_builds(machine: Snapshot) -> list[str]:
    frameworks = machine.python.frameworks if machine.python else ()
    return [f"{each.name} {each.version}" for each in frameworks if each.gpu_build]


def _without(machine: Snapshot, reason: str, evidence: tuple[str, ...], *, likely: bool = False) -> Found:
    frameworks = machine.python.frameworks if machine.python else ()
    for_cpu = bool(frameworks) and not _gpu_builds(machine) and all(each.gpu_build is False for each in frameworks)
    asked = machine.variable("NVIDIA_VISIBLE_DEVICES")
    return found(
        say("This container has no access to the GPU: {reason}", reason=reason),
        say("GPUs are handed to a container only when it is started with a request for them.")
        + (" " + say("The frameworks installed here are CPU builds, so this may be as it should.") if for_cpu else "")
        + (
            " " + say("NVIDIA_VISIBLE_DEVICES is {asked!r} here.", asked=asked) if asked in ("", "none", "void") else ""
        ),
        evidence=(*evidence, "system.container.kind", *(("variables.NVIDIA_VISIBLE_DEVICES",) if asked else ())),
        severity="note" if for_cpu else "warning" if likely else None,
        certainty="likely" if likely else None,
        fixes=_request(machine),
    )


def _request(machine: Snapshot) -> tuple[Fix, ...]:
    kind = machine.system.container.kind if machine.system and machine.system.container else "other"
    if kind == "kubernetes":
        return (on_host(say("Ask for the GPU in the pod: resources.limits with nvidia.com/gpu: 1."), page=_CDI),)
    if kind == "podman":
        return (
            on_host(
                say("Start the container again and ask for the GPU (IMAGE is yours)."),
                ("podman", "run", "--device", "nvidia.com/gpu=all", "IMAGE"),
                page=_CDI,
            ),
        )
    if kind == "docker":
        return (
            on_host(
                say("Start the container again and ask for the GPU (IMAGE is yours)."),
                ("docker", "run", "--gpus", "all", "IMAGE"),
                page=_TOOLKIT,
            ),
            on_host(
                say(
                    "In a compose file: deploy.resources.reservations.devices with driver nvidia, count all and "
                    "capabilities [gpu]."
                ),
                page="https://docs.docker.com/compose/how-tos/gpu-support/",
            ),
        )
    return (on_host(say("Hand the devices /dev/nvidia* and the driver's libraries to this container."), page=_CDI),)


@rule(
    "CTR004",
    "shm-too-small",
    "warning",
    needs=("system.container", "memory.shm_bytes"),
    sources=(
        "https://github.com/pytorch/tutorials/pull/2475",
        "https://github.com/cortexlabs/cortex/issues/2115",
        "https://learn.microsoft.com/windows/wsl/tutorials/gpu-compute",
    ),
)
def shared_memory_too_small(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The container's shared memory /dev/shm is too small for data loaders and several GPUs.

    Worker processes of a data loader hand their batches over through /dev/shm, and NCCL exchanges gradients there.
    Docker gives 64 MiB, and then workers end with "bus error". One GiB is our rule of thumb for the least that is
    comfortable; one process with one GPU needs none of it, which is why this is an error only with several GPUs.

    Check: `df -h /dev/shm`.
    Silent outside of containers, and with --ipc=host, which shows the host's /dev/shm.
    """
    if machine.system is None or machine.system.container is None or machine.memory is None:
        return
    shm = machine.memory.shm_bytes
    if shm is None or shm >= _GIB:
        return
    several = len(machine.nvidia_gpus) > 1 and bool(_gpu_builds(machine)) and shm <= 64 * _MIB
    yield found(
        say("This container's /dev/shm has only {shm}; data loaders with workers want 1 GiB or more", shm=size(shm)),
        say("Data-loader workers and NCCL pass their data through it; when it is full they end with “bus error”.")
        + " "
        + (
            say(
                "With {nvidia_gpus_count} GPUs training in several processes needs it.",
                nvidia_gpus_count=len(machine.nvidia_gpus),
            )
            if several
            else say("A single process without workers (num_workers=0) needs none.")
        ),
        evidence=("memory.shm_bytes", "system.container.kind"),
        severity="error" if several else None,
        fixes=_more_shm(machine.system.container.kind),
    )


def _more_shm(kind: str) -> tuple[Fix, ...]:
    if kind == "kubernetes":
        return (on_host(say("Mount an emptyDir volume with medium: Memory at /dev/shm of the pod.")),)
    if kind in ("docker", "podman"):
        return (
            on_host(
                say(
                    "Start the container again with the host's shared memory, or with a size of its own (IMAGE is "
                    "yours)."
                ),
                (kind, "run", "--ipc=host", "IMAGE"),
                (kind, "run", "--shm-size=8g", "IMAGE"),
            ),
            on_host(say("In a compose file: shm_size: 8gb.")),
        )
    return (on_host(say("Mount a larger tmpfs at /dev/shm of this container.")),)


@rule(
    "CTR005",
    "container-memory-limit",
    "warning",
    certainty="likely",
    needs=("system.container", "memory.limit_bytes", "memory.total_bytes"),
    sources=(
        "https://docs.kernel.org/admin-guide/cgroup-v2.html",
        "https://docs.kernel.org/admin-guide/cgroup-v1/memory.html",
    ),
)
def memory_limit_is_low(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The container may use less memory than most deep-learning work needs.

    The kernel ends a process that goes over the container's limit, although `free` shows the memory of the whole host.
    Loading a checkpoint holds all of it in host memory at first. Below 8 GiB (our rule of thumb) that is a risk for
    models from about a billion parameters on.

    Check: /sys/fs/cgroup/memory.max, or memory/memory.limit_in_bytes with cgroup 1.
    Silent where no limit is set, however little memory the host has.
    """
    if machine.system is None or machine.system.container is None or machine.memory is None:
        return
    limit, total = machine.memory.limit_bytes, machine.memory.total_bytes
    if limit is None or limit >= total or limit >= 8 * _GIB:
        return
    kind = machine.system.container.kind
    raised = (
        on_host(say("Raise resources.limits.memory of the pod."))
        if kind == "kubernetes"
        else on_host(
            say(
                "Start the container again with a higher limit (IMAGE is yours). With Docker Desktop the limit of its "
                "own machine counts too: Settings, Resources."
            ),
            ("podman" if kind == "podman" else "docker", "run", "--memory=32g", "IMAGE"),
        )
    )
    yield found(
        say("This container may use {limit} of memory; the machine has {total}", limit=size(limit), total=size(total)),
        say(
            "The kernel ends whatever goes over that limit, although `free` shows the memory of the machine. Loading "
            "a checkpoint takes its whole size in host memory at first."
        ),
        evidence=("memory.limit_bytes", "memory.total_bytes", "system.container.kind"),
        fixes=(raised,),
    )
