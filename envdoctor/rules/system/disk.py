"""Disks: room for an environment, and what it lies on."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import set_variable

_GB = 10**9
# Measured: torch 2.14.1+cu130 takes 5.5 GB in the environment, and 2 to 3 GB more in pip's cache; a CPU build about 1.
_CUDA_EASY = 12 * _GB
_CPU = 1_500_000_000


@rule(
    "DISK001",
    "disk-nearly-full",
    "warning",
    certainty="likely",
    needs=("disks.free_bytes", "pythons.prefix", "gpus.vendor"),
    sources=("pkg:pypi/torch", "https://docs.astral.sh/uv/guides/integration/pytorch/"),
)
def no_room_for_environment(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """There is not enough room for a deep-learning environment.

    GPU libraries are Python packages now, so an environment with CUDA takes gigabytes, and pip needs room for the
    archive, its cache and the result at once.

    Needed: 6 GB for PyTorch with CUDA, 8 GB where pip's cache is on the same file system, 12 GB to be at ease; 1.5 GB
    for a CPU build. These are measurements and thresholds of ours, and what will be installed is not known: therefore a
    warning, and never an error.

    Check: `df -h` of the environment and of pip's cache.

    Asked only where a framework is still to be installed: no framework is there, or one without GPU code beside an
    NVIDIA GPU. Each file system is judged once. In WSL the free space is that of a virtual disk, and Windows may have
    less.
    """
    wanted = _wanted(machine)
    places = [
        i for i, disk in enumerate(machine.disks) if "environment" in disk.purposes and disk.free_bytes is not None
    ]
    if wanted is None or not places:
        return
    place = places[0]
    disk = machine.disks[place]
    free = disk.free_bytes or 0
    if free >= _enough(wanted):
        return
    need = {"cuda": say("PyTorch with CUDA takes 6 GB, and 8 GB with pip's cache"), "cpu": say("PyTorch takes 1.5 GB")}[
        wanted
    ]
    yield found(
        say("{gigabytes} are free in {path}, and {need}", gigabytes=_gigabytes(free), path=disk.path, need=need),
        " ".join(
            (
                say("pip needs room for the archive, its cache and the unpacked result at once."),
                *((say("In WSL, look at the free space of the Windows drive too."),) if machine.wsl else ()),
            )
        ),
        evidence=(f"disks[{place}].free_bytes", f"disks[{place}].path"),
        fixes=_make_room(machine),
    )


@rule(
    "DISK005",
    "environment-on-hard-disk",
    "note",
    certainty="likely",
    needs=("disks.kind", "system.virtual"),
    sources=("https://docs.kernel.org/block/queue-sysfs.html",),
)
def environment_on_hard_disk(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The environment or the home folder lies on a rotating disk.

    A hard disk makes a few hundred random reads a second, so imports take long and a GPU waits for small files.

    Needed: nothing; an SSD is faster.

    Check: `lsblk -o NAME,ROTA,MOUNTPOINT`.

    Silent in virtual machines, whose disks tell this wrongly, and where it is not known whether this is one.
    """
    if machine.system is None or machine.system.virtual is not False:
        return
    for place, disk in enumerate(machine.disks):
        here = [purpose for purpose in ("environment", "home") if purpose in disk.purposes]
        if disk.kind == "hdd" and here:
            yield found(
                say("A hard disk ({path}) holds the environment and the home folder", path=disk.path)
                if len(here) == 2
                else say("A hard disk ({path}) holds the environment folder", path=disk.path)
                if "environment" in here
                else say("A hard disk ({path}) holds the home folder", path=disk.path),
                say(
                    "Imports take long there, and a GPU waits for small files. Large files that are read in one go "
                    "suffer little."
                ),
                evidence=(f"disks[{place}].kind", f"disks[{place}].path"),
                fixes=(
                    Fix(summary=say("Put the environment and the data on an SSD, or pack the data into large files.")),
                ),
            )
            return


def _wanted(machine: Snapshot) -> str | None:
    """Say what is still to be installed: cuda, cpu, or None where a framework is there already."""
    python = machine.python
    installed = python.frameworks if python else ()
    nvidia = bool(machine.nvidia_gpus)
    if not installed:
        return "cuda" if nvidia else "cpu"
    without_gpu = all(each.gpu_build is False for each in installed)
    return "cuda" if nvidia and without_gpu else None


def _enough(wanted: str) -> int:
    return _CPU if wanted == "cpu" else _CUDA_EASY


def _make_room(machine: Snapshot) -> tuple[Fix, ...]:
    python = machine.python
    executable = python.executable if python else "python"
    commands: list[tuple[str, ...]] = [(executable, "-m", "pip", "cache", "purge")]
    if python and python.manager == "conda":
        commands = [("conda", "clean", "--all")]
    return (
        Fix(summary=say("Empty the package cache; what is installed stays."), commands=tuple(commands)),
        Fix(
            summary=say("Or keep the cache on a larger disk (put your own folder in place of /large/pip-cache)."),
            commands=(set_variable(machine, "PIP_CACHE_DIR", "/large/pip-cache"),),
        ),
    )


def _gigabytes(count: int) -> str:
    return say("{count:.1f} GB", count=count / _GB)
