"""Where files lie: full tables, network folders, temporary folders that cannot be used, room for models."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Disk, Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import set_variable
from envdoctor.rules.wording import listed

_GB = 10**9
_HUB = "https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables"
_FEW_FILES = 50_000  # a CUDA environment of PyTorch has 24,000 (measured)
_SMALL_TEMPORARY, _TINY_TEMPORARY = 4 * _GB, 1 * _GB  # thresholds of ours
_ROOM_FOR_MODELS = 20 * _GB  # a threshold of ours: a model of 7 billion parameters has about 15 GB


def _installing(machine: Snapshot) -> bool:
    python = machine.python
    return not (python and python.frameworks)


def _places(machine: Snapshot, *purposes: str) -> list[tuple[int, Disk]]:
    return [(i, disk) for i, disk in enumerate(machine.disks) if any(each in disk.purposes for each in purposes)]


@rule(
    "DISK002",
    "out-of-inodes",
    "warning",
    needs=("disks.files_free", "pythons.prefix"),
    sources=("pkg:pypi/torch", "https://docs.kernel.org/filesystems/ext4/index.html"),
)
def file_table_is_full(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file system has room, and can hold few further files.

    Some file systems hold a fixed number of files. An environment has tens of thousands, and caches have more.

    Needed: 50,000 free entries to be at ease; PyTorch with CUDA takes 24,000.
    Check: `df -i`.
    Silent about file systems without a fixed number (btrfs, and others that report none). An error where a framework is
    still to be installed and does not fit.
    """
    for place, disk in _places(machine, "environment", "cache"):
        if not disk.files_total or disk.files_free is None or disk.files_free >= _FEW_FILES:
            continue
        full = disk.files_free < _FEW_FILES // 2 and _installing(machine) and "environment" in disk.purposes
        yield found(
            say(
                "The file system of {path} can take {files_free} further files",
                path=disk.path,
                files_free=disk.files_free,
            ),
            say("An environment with PyTorch for CUDA has 24,000 files. The room in bytes does not count here."),
            evidence=(f"disks[{place}].files_free", f"disks[{place}].files_total"),
            severity="error" if full else None,
            fixes=(
                Fix(summary=say("Delete old environments and caches, or put the environment on another file system.")),
            ),
        )


@rule(
    "DISK004",
    "files-on-network-disk",
    "warning",
    certainty="likely",
    needs=("disks.kind", "disks.filesystem"),
    sources=("https://github.com/triton-lang/triton/blob/main/third_party/nvidia/backend/driver.py", _HUB),
)
def environment_on_network_disk(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The environment lies on a network file system.

    Importing a framework opens thousands of small files, and compile caches lock files. Over the network both are slow,
    and locks may fail.

    Check: `df -T` of the environment.
    A home folder on the network is usual on clusters and not reported by itself; large data sets may well lie there.
    """
    for place, disk in _places(machine, "environment"):
        if disk.kind != "network":
            continue
        yield found(
            say("The environment lies on a network file system ({filesystem})", filesystem=disk.filesystem),
            say("Imports take long there, and compile caches in the home folder may fail to lock their files."),
            evidence=(f"disks[{place}].filesystem", f"disks[{place}].path"),
            fixes=(
                Fix(
                    summary=say("Make the environment on a local disk, and keep compile caches there too."),
                    commands=(
                        set_variable(machine, "TRITON_CACHE_DIR", "/tmp/triton"),  # noqa: S108  an example to type
                        set_variable(machine, "TORCHINDUCTOR_CACHE_DIR", "/tmp/inductor"),  # noqa: S108
                    ),
                ),
            ),
        )


@rule(
    "DISK006",
    "temporary-folder-unusable",
    "warning",
    certainty="likely",
    needs=("disks.free_bytes", "disks.noexec", "pythons.packages", "gpus.vendor"),
    sources=(
        "https://pip.pypa.io/en/stable/news/",
        "https://github.com/triton-lang/triton/blob/main/python/triton/runtime/build.py",
    ),
)
def temporary_folder_is_unusable(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The folder for temporary files is too small for an installation, or nothing in it may be run.

    pip unpacks large archives there, and on many servers it is a small disk in memory. Where it is mounted noexec,
    packages that are built there, and kernels that are compiled there, cannot be loaded.

    Check: `df -h` and `findmnt` of the folder.
    The room is judged where a framework is still to be installed and the folder is a file system of its own; noexec
    where Triton is installed beside a GPU.
    """
    for place, disk in _places(machine, "temporary"):
        alone = "environment" not in disk.purposes and "cache" not in disk.purposes
        free = disk.free_bytes
        if alone and free is not None and free < _SMALL_TEMPORARY and _installing(machine) and machine.nvidia_gpus:
            yield found(
                say(
                    "The temporary folder {path} has {free:.1f} GB free; unpacking PyTorch for CUDA takes 4 GB",
                    path=disk.path,
                    free=free / _GB,
                ),
                say("pip unpacks there. uv uses its cache instead."),
                evidence=(f"disks[{place}].free_bytes", f"disks[{place}].path"),
                severity="error" if free < _TINY_TEMPORARY else None,
                certainty="certain" if free < _TINY_TEMPORARY else None,
                fixes=(
                    Fix(
                        summary=say("Let pip unpack elsewhere (put a folder with room in place of /large/tmp)."),
                        commands=(set_variable(machine, "TMPDIR", "/large/tmp"),),
                    ),
                ),
            )
        triton = machine.python is not None and machine.python.package("triton") is not None
        if disk.noexec and triton and machine.gpus:
            yield found(
                say("{path} is mounted noexec, so kernels that are compiled there cannot be loaded", path=disk.path),
                say("torch.compile and packages that build something need a folder whose files may be run."),
                evidence=(f"disks[{place}].noexec", f"disks[{place}].path"),
                fixes=(
                    Fix(
                        summary=say("Use another folder (put one of yours in place of /large/tmp)."),
                        commands=(set_variable(machine, "TMPDIR", "/large/tmp"),),
                    ),
                ),
            )


@rule(
    "DISK007",
    "no-room-for-models",
    "note",
    certainty="likely",
    needs=("disks.free_bytes", "pythons.packages"),
    sources=(_HUB,),
)
def no_room_for_models(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Hugging Face's cache has little room for models.

    Models are kept in the home folder by default, and one of 7 billion parameters has about 15 GB.

    Needed: 20 GB to be at ease; this is a threshold of ours.
    Check: `df -h` of the cache.
    Said only where a library of Hugging Face is installed.
    """
    python = machine.python
    users = (
        [p.name for p in python.packages if p.name in ("transformers", "diffusers", "vllm", "huggingface-hub")]
        if python
        else []
    )
    if not users:
        return
    for place, disk in _places(machine, "models"):
        if disk.free_bytes is None or disk.free_bytes >= _ROOM_FOR_MODELS:
            continue
        yield found(
            say(
                "Hugging Face's cache has {free_bytes:.1f} GB free, which is soon full of models",
                free_bytes=disk.free_bytes / _GB,
            ),
            say(
                "{users} keeps models there. A download that does not fit stops in the middle.", users=listed(users[:2])
            ),
            evidence=(f"disks[{place}].free_bytes", f"disks[{place}].path"),
            fixes=(
                Fix(
                    summary=say(
                        "Keep models on a larger disk (put your own folder in place of /large/hf), or delete some."
                    ),
                    commands=(set_variable(machine, "HF_HOME", "/large/hf"), ("hf", "cache", "ls")),
                ),
            ),
        )
