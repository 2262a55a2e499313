"""Host: the only door to a machine. Probes ask it; nothing else opens a file or starts a process to look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from envdoctor.model import Record
from envdoctor.model.snapshot import GpuHealth, Outcome

PathKind = Literal["file", "directory", "character", "other"]


class Completed(Record):
    """A command that ended; its output as text."""

    returncode: int
    stdout: str
    stderr: str


class Space(Record):
    """Size of a file system in bytes, and the device number that tells file systems apart."""

    total_bytes: int
    free_bytes: int
    device: int  # st_dev
    files_total: int | None = None  # inodes
    files_free: int | None = None


class Node(Record):
    """A file's permission bits, its group's number, size and age, and whether this process may use it."""

    mode: int
    gid: int
    refused: str | None = None  # name of the error that opening it gives: EACCES, EPERM
    size: int | None = None  # bytes
    changed: float | None = None  # when its content was written last, in seconds since 1970


class Resources(Record):
    """Processors and memory of a system that has no /proc (macOS, Windows); bytes."""

    logical: int | None
    total_bytes: int
    available_bytes: int
    swap_bytes: int


class NvmlGpu(Record):
    """What NVML says of one GPU; None where it says NOT_SUPPORTED or does not know the call. Bytes."""

    index: int
    error: int | None = None  # return code of the handle, or 15 (lost) or 16 (needs a reset) from any query
    name: str | None = None
    uuid: str | None = None
    bus_id: str | None = None
    pci_id: str | None = None
    capability: str | None = None
    minor: int | None = None
    memory_bytes: int | None = None
    used_bytes: int | None = None
    free_bytes: int | None = None
    reserved_bytes: int | None = None
    display_active: bool | None = None
    mig_enabled: bool | None = None
    mig_pending: bool | None = None
    mig_instances: int | None = None
    mig_uuids: tuple[str, ...] | None = None
    health: GpuHealth | None = None
    processes: tuple[tuple[int, int | None], ...] | None = None


class NvmlAnswer(Record):
    """What the NVIDIA management library answered.

    `status` is the return code of nvmlInit, or of counting the GPUs where that fails; 0 is success.
    """

    status: int
    library: str | None = None  # path that was opened
    driver: str | None = None
    cuda: str | None = None
    count: int | None = None  # GPUs it lists, of which an incomplete answer describes the first
    gpus: tuple[NvmlGpu, ...] = ()
    missing: tuple[str, ...] = ()  # entry points that this library does not have
    incomplete: str | None = None  # why the answer stops early
    crashed: bool = False  # it stops because the process died, and not because time was up


class ElfFacts(Record):
    """What a shared library says of itself."""

    soname: str | None = None
    needed: tuple[str, ...] = ()
    rpath: str | None = None
    runpath: str | None = None
    gpu_archs: tuple[str, ...] | None = None  # sm_75, compute_120; None: it has no .nv_fatbin section
    glibcxx_needed: str | None = None  # newest version of the C++ library that its symbols ask for, "3.4.30"
    glibcxx_defined: str | None = None  # newest one that it provides itself, which only libstdc++ does


class Host(Protocol):
    """A machine that can be asked. Paths are absolute and in the machine's own terms.

    Every method may raise OSError (FileNotFoundError: looked, is not there; PermissionError: may not look), and
    TimeoutError where it took too long. None of them writes.
    """

    environ: Mapping[str, str]
    patience: float  # seconds that one slow question (a program, NVML) may take

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        """Read a file's first `limit` bytes."""

    def kind(self, path: str) -> PathKind | None:
        """Tell what stands at a path, following links; None: nothing."""

    def list(self, path: str) -> tuple[str, ...]:
        """List a folder's names, sorted."""

    def realpath(self, path: str) -> str:
        """Follow every link of a path; the path need not exist."""

    def executable(self, path: str) -> bool:
        """Tell whether this is a file that may be run."""

    def space(self, path: str) -> Space:
        """Measure the file system that holds a path."""

    def node(self, path: str, *, opened: bool = False) -> Node | None:
        """Tell who may use a file, and its size; None: there is none, or a recording does not say.

        Permissions are compared without touching the device. `opened` really opens it, which also shows what cgroups
        and SELinux refuse, and may wake the device.
        """

    def affinity(self) -> int | None:
        """Count the processors this process may run on; None: the system does not say."""

    def uname(self) -> tuple[str, str, str]:
        """Give system, release and machine: ("Linux", "6.1.0", "x86_64"); empty where a mounted machine hides it."""

    def libc(self) -> tuple[str, str] | None:
        """Give the C library that programs run with, ("glibc", "2.36"); None: the system does not say, files may."""

    def resources(self) -> Resources | None:
        """Count processors and memory where there is no /proc to read; None: not to be had."""

    def run(self, argv: tuple[str, ...], timeout: float, environ: Mapping[str, str] | None = None) -> Completed:
        """Run a program without a shell and without input. Raises TimeoutError when it must be ended."""

    def nvml(self, timeout: float) -> NvmlAnswer:
        """Ask libnvidia-ml in a process of its own, which may hang or crash without harm to this one.

        Raises:
            FileNotFoundError: the loader finds no such library.
            TimeoutError: no answer in time; the process was left behind or ended.
            ChildProcessError: the process died; the message says how.
        """

    def elf(self, path: str) -> ElfFacts:
        """Read a shared library's dynamic section and GPU architectures. Raises ValueError: not ELF."""

    def unresolved(self, path: str, libraries: tuple[str, ...]) -> tuple[str, ...]:
        """Give torch's symbols that a library needs and none of the others defines. Raises ValueError: not ELF."""

    def connect(self, name: str, port: int, timeout: float) -> Outcome:
        """Open a TCP connection, send nothing, and tell what came of it; looking the name up may take longer."""


def text(host: Host, path: str, limit: int = 1 << 20) -> str | None:
    """Read a file as text, without a trailing line end; None where there is none. Bad UTF-8 is replaced."""
    try:
        return host.read(path, limit).decode("utf-8", "replace").rstrip("\n\0")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def names(host: Host, path: str) -> tuple[str, ...]:
    """List a folder; empty where there is none."""
    try:
        return host.list(path)
    except (FileNotFoundError, NotADirectoryError):
        return ()
