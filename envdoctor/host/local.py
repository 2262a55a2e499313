"""This machine, or one mounted below a folder."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Mapping

from envdoctor.host import Completed, ElfFacts, Node, NvmlAnswer, PathKind, Resources, Space
from envdoctor.model.snapshot import Outcome

# A FIFO must not hold whoever opens it, and Windows, which has neither flag, must not translate line ends.
READING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# As many links as Linux follows in one path.
MOST_LINKS = 40


class LocalHost:
    """The machine this process runs on; with `root`, the files of another one mounted there, which cannot be run."""

    def __init__(self, root: str = "/", environ: Mapping[str, str] | None = None) -> None:
        self.root = root.rstrip("/")
        self.patience = 10.0
        self.environ: Mapping[str, str] = dict(os.environ if environ is None else environ) if not self.root else {}

    def _at(self, path: str) -> str:
        return _below(self.root, path) if self.root else path

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        """Read a file's first `limit` bytes."""
        # Unbuffered and non-blocking: a FIFO or a kernel log put where a file is expected must not hold us.
        descriptor = os.open(self._at(path), READING)
        try:
            parts = []
            while limit > 0:
                part = os.read(descriptor, min(limit, 1 << 20))
                if not part:
                    break
                parts.append(part)
                limit -= len(part)
            return b"".join(parts)
        finally:
            os.close(descriptor)

    def kind(self, path: str) -> PathKind | None:
        """Tell what stands at a path, following links; None: nothing."""
        try:
            mode = os.stat(self._at(path)).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISREG(mode):
            return "file"
        if stat.S_ISDIR(mode):
            return "directory"
        return "character" if stat.S_ISCHR(mode) else "other"

    def list(self, path: str) -> tuple[str, ...]:
        """List a folder's names, sorted."""
        return tuple(sorted(os.listdir(self._at(path))))

    def realpath(self, path: str) -> str:
        """Follow every link of a path; the path need not exist."""
        if self.root:
            return self._at(path).removeprefix(self.root) or "/"
        real = os.path.realpath(path)
        return real if os.sep == "/" else real.replace(os.sep, "/")

    def executable(self, path: str) -> bool:
        """Tell whether this is a file that may be run."""
        at = self._at(path)
        return os.path.isfile(at) and os.access(at, os.X_OK)

    def space(self, path: str) -> Space:
        """Measure the file system that holds a path."""
        at = self._at(path)
        if sys.platform == "win32":
            import shutil

            usage = shutil.disk_usage(at)
            return Space(total_bytes=usage.total, free_bytes=usage.free, device=os.stat(at).st_dev)
        size = os.statvfs(at)
        return Space(
            total_bytes=size.f_blocks * size.f_frsize,
            free_bytes=size.f_bavail * size.f_frsize,
            device=os.stat(at).st_dev,
            files_total=size.f_files,
            files_free=size.f_favail,
        )

    def node(self, path: str, *, opened: bool = False) -> Node | None:
        """Tell who may use a device file; None: there is none."""
        if self.root:
            return None  # whose account would it be
        try:
            seen = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        refused = None if os.access(path, os.R_OK | os.W_OK) else "EACCES"
        if opened and refused is None:
            try:
                os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
            except OSError as problem:
                refused = errno.errorcode.get(problem.errno or 0, "EIO")
        size = seen.st_size if stat.S_ISREG(seen.st_mode) else None
        return Node(mode=stat.S_IMODE(seen.st_mode), gid=seen.st_gid, refused=refused, size=size, changed=seen.st_mtime)

    def affinity(self) -> int | None:
        """Count the processors this process may run on; None: the system does not say."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") and not self.root else None

    def uname(self) -> tuple[str, str, str]:
        """Give system, release and machine; of a mounted machine no kernel runs, and its processor is unknown."""
        if self.root:
            return "Linux", "", ""
        if sys.platform == "win32":
            import platform

            return platform.system(), platform.release(), platform.machine()
        name = os.uname()
        return name.sysname, name.release, name.machine

    def libc(self) -> tuple[str, str] | None:
        """Give the C library of this process: Python's own question to glibc, which costs nothing."""
        if self.root or sys.platform != "linux":
            return None
        try:
            answer = os.confstr("CS_GNU_LIBC_VERSION")
        except (ValueError, OSError):  # musl does not know the question
            return None
        name, _, version = (answer or "").partition(" ")
        return (name, version) if version else None

    def resources(self) -> Resources | None:
        """Ask psutil, which only a system without /proc needs."""
        if self.root:
            return None
        import psutil

        memory = psutil.virtual_memory()
        return Resources(
            logical=os.cpu_count(),
            total_bytes=memory.total,
            available_bytes=memory.available,
            swap_bytes=psutil.swap_memory().total,
        )

    def run(self, argv: tuple[str, ...], timeout: float, environ: Mapping[str, str] | None = None) -> Completed:
        """Run a program without a shell and without input. Raises TimeoutError when it must be ended."""
        if self.root:
            raise PermissionError(f"programs of a mounted machine are not run: {argv[0]}")
        import subprocess  # 2 ms; most machines are read without starting anything

        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
                env=dict(self.environ if environ is None else environ),
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            raise TimeoutError(f"{argv[0]} gave no answer in {timeout:g} s") from late
        return Completed(
            returncode=done.returncode,
            stdout=done.stdout.decode("utf-8", "replace"),
            stderr=done.stderr.decode("utf-8", "replace"),
        )

    def nvml(self, timeout: float) -> NvmlAnswer:
        """Ask libnvidia-ml in a process of its own."""
        from envdoctor.host import nvml  # costs a process; only where the library exists

        if self.root:
            raise FileNotFoundError("libnvidia-ml.so.1 of a mounted machine is not loaded")
        if os.name == "nt":
            from envdoctor.host import nvml_windows

            return nvml_windows.ask(self.environ, timeout)
        return nvml.ask(self.environ, timeout)

    def elf(self, path: str) -> ElfFacts:
        """Read a shared library's dynamic section and GPU architectures. Raises ValueError: not ELF."""
        from envdoctor.host import elf

        return elf.inspect(self._at(path))

    def unresolved(self, path: str, libraries: tuple[str, ...]) -> tuple[str, ...]:
        """Give torch's symbols that a library needs and none of the others defines. Raises ValueError: not ELF."""
        from envdoctor.host import symbols  # only where an extension is installed

        return symbols.unresolved(self._at(path), tuple(self._at(each) for each in libraries))

    def connect(self, name: str, port: int, timeout: float) -> Outcome:
        """Open a TCP connection, send nothing, and tell what came of it."""
        if self.root:
            raise PermissionError("a mounted machine has no network of its own")
        import socket  # only for --network

        try:
            socket.create_connection((name, port), timeout).close()
        except (socket.gaierror, ValueError):  # ValueError: a name that cannot be encoded, which nobody can have
            return "name-unknown"
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "no-answer"
        except OSError:
            return "no-route"
        return "reached"


def _below(root: str, path: str) -> str:
    """Give where a path of a mounted machine lies here; its links, absolute ones too, stay inside `root`."""
    inside, links = "", 0
    steps = [step for step in reversed(path.split("/")) if step not in ("", ".")]
    while steps:
        step = steps.pop()
        if step == "..":
            inside = inside.rpartition("/")[0]
            continue
        try:
            target = os.readlink(f"{root}{inside}/{step}")
        except OSError:  # not a link, or not there
            inside += "/" + step
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if target.startswith("/"):
            inside = ""
        steps += [each for each in reversed(target.split("/")) if each not in ("", ".")]
    return root + (inside or "/")
