"""A machine that was recorded, or written down by a test."""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Mapping

from envdoctor.host import Completed, ElfFacts, Node, NvmlAnswer, PathKind, Resources, Space
from envdoctor.model import Record
from envdoctor.model.snapshot import Outcome
from envdoctor.model.speech import say


class Recording(Record):
    """Everything a machine answered. What it does not hold was not there.

    `files` maps a path to its text; binary content goes to `binaries` as bytes (base64 in JSON). A file whose content
    nobody read stands in `files` with an empty text. `links` maps a path to what it resolves to. `devices` are
    character devices, `others` sockets, pipes and disks. Folders exist because something stands in them, or are named
    in `folders`; `listings` holds the names of those that were listed.

    `errors` maps a path to why it did not answer: "denied" (its content may not be read), "hidden" (neither it nor
    anything below it may be seen), "missing" (it is not there, though a folder above it is measured), "timeout", or the
    name of an error of the system, "EIO".

    `commands` maps argv, joined by spaces, to its answer, and `command_errors` to "denied", "timeout" or "EIO".
    """

    environ: dict[str, str] = {}
    system: str = "Linux"
    release: str = ""
    machine: str = "x86_64"
    libc: tuple[str, str] | None = None
    resources: Resources | None = None
    affinity: int | None = None
    files: dict[str, str] = {}
    binaries: dict[str, bytes] = {}
    links: dict[str, str] = {}
    devices: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    listings: dict[str, tuple[str, ...]] = {}
    executables: tuple[str, ...] = ()
    errors: dict[str, str] = {}
    spaces: dict[str, Space] = {}
    nodes: dict[str, Node] = {}
    commands: dict[str, Completed] = {}
    command_errors: dict[str, str] = {}
    nvml: NvmlAnswer | None = None
    nvml_error: str | None = None  # "timeout", or how the process that asked died
    elfs: dict[str, ElfFacts] = {}
    unresolved: dict[str, tuple[str, ...]] = {}
    connections: dict[str, Outcome] = {}  # by host:port; empty: nobody asked


class RecordedHost:
    """Replays a Recording by name, not by order."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.patience = 10.0
        self.environ: Mapping[str, str] = recording.environ
        self._folders: dict[str, set[str]] = {"/": set()}
        held = (
            recording.files,
            recording.binaries,
            recording.links,
            recording.devices,
            recording.others,
            recording.elfs,
            recording.executables,
            (path for path, error in recording.errors.items() if error != "missing"),
        )
        for path in (path for group in held for path in group):
            self._stand(path)
        for path in (*recording.folders, *recording.listings, *recording.spaces):
            self._stand(path)
            self._folders.setdefault(path, set())

    def _stand(self, path: str) -> None:
        if not path.startswith("/") and path[1:2] != ":":
            raise ValueError(f"a recorded path is absolute, unlike {path!r}")
        while path not in ("/", ""):  # a drive of Windows stands in the folder without a name
            parent, name = posixpath.split(path)
            self._folders.setdefault(parent, set()).add(name)
            path = parent

    def _resolve(self, path: str) -> str:
        for _ in range(40):
            path = normal(path)
            link = path
            while link not in self.recording.links:  # the longest one: it was asked for by name
                if link in ("/", ""):
                    return path
                link = posixpath.dirname(link)
            path = posixpath.join(posixpath.dirname(link), self.recording.links[link]) + path[len(link) :]
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)

    def _check(self, path: str, *, seen: bool = False) -> str:
        """Resolve a path and raise what stands in its way; `seen`: it is not opened, only looked at from outside."""
        path = self._resolve(path)
        above = path
        while above not in ("/", ""):
            if self.recording.errors.get(above) == "hidden":
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            above = posixpath.dirname(above)
        error = self.recording.errors.get(path)
        if error is not None and error != "hidden" and not seen:
            raise _error(error, path)
        return path

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        """Read a file's first `limit` bytes."""
        path = self._check(path)
        if path in self.recording.binaries:
            return self.recording.binaries[path][:limit]
        if path in self.recording.files:
            return self.recording.files[path].encode()[:limit]
        if path in self._folders:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        raise _error("missing", path)

    def kind(self, path: str) -> PathKind | None:
        """Tell what stands at a path, following links; None: nothing."""
        path = self._check(path, seen=True)
        held = self.recording
        if path in held.devices:
            return "character"
        if path in held.others:
            return "other"
        if path in held.files or path in held.binaries or path in held.elfs or path in held.executables:
            return "file"
        if path in self._folders:
            return "directory"
        return "file" if held.errors.get(path, "missing") != "missing" else None

    def list(self, path: str) -> tuple[str, ...]:
        """List a folder's names, sorted."""
        path = self._check(path)
        if path in self.recording.listings:
            return self.recording.listings[path]
        if path not in self._folders:
            raise _error("missing", path)
        return tuple(sorted(self._folders[path]))

    def realpath(self, path: str) -> str:
        """Follow every link of a path; the path need not exist."""
        return self._resolve(path)

    def executable(self, path: str) -> bool:
        """Tell whether this is a file that may be run."""
        return self._resolve(path) in self.recording.executables

    def space(self, path: str) -> Space:
        """Measure the file system that holds a path: that of the nearest recorded parent."""
        path = self._resolve(path)
        error = self.recording.errors.get(path)
        if error in ("missing", "hidden"):
            raise _error(error, path)
        while path not in self.recording.spaces:
            if path in ("/", ""):
                raise _error("missing", path)
            path = posixpath.dirname(path)
        return self.recording.spaces[path]

    def node(self, path: str, *, opened: bool = False) -> Node | None:
        """Tell who may use a device file; None: there is none, or that was not recorded."""
        del opened
        return self.recording.nodes.get(self._check(path, seen=True))

    def affinity(self) -> int | None:
        """Count the processors this process may run on."""
        return self.recording.affinity

    def uname(self) -> tuple[str, str, str]:
        """Give system, release and machine."""
        return self.recording.system, self.recording.release, self.recording.machine

    def libc(self) -> tuple[str, str] | None:
        """Give the C library that programs run with."""
        return self.recording.libc

    def resources(self) -> Resources | None:
        """Give what a system without /proc answered."""
        return self.recording.resources

    def run(self, argv: tuple[str, ...], timeout: float, environ: Mapping[str, str] | None = None) -> Completed:
        """Answer as the recorded program did."""
        del environ
        command = " ".join(argv)
        error = self.recording.command_errors.get(command)
        if error == "timeout":
            raise TimeoutError(say("{argv} gave no answer in {timeout:g} s", argv=argv[0], timeout=timeout))
        if error is not None:
            raise _error(error, argv[0])
        answer = self.recording.commands.get(command)
        if answer is None:
            raise FileNotFoundError(errno.ENOENT, say("not recorded"), argv[0])
        return answer

    def nvml(self, timeout: float) -> NvmlAnswer:
        """Answer as NVML did."""
        if self.recording.nvml_error == "timeout":
            raise TimeoutError(say("NVML gave no answer in {timeout:g} s", timeout=timeout))
        if self.recording.nvml_error:
            raise ChildProcessError(self.recording.nvml_error)
        if self.recording.nvml is None:
            raise FileNotFoundError("libnvidia-ml.so.1")
        return self.recording.nvml

    def elf(self, path: str) -> ElfFacts:
        """Give the recorded facts of a shared library. Raises ValueError: the file is there, but is not ELF."""
        path = self._check(path)
        if path in self.recording.elfs:
            return self.recording.elfs[path]
        if path in self.recording.files or path in self.recording.binaries:
            raise ValueError(f"{path} is not an ELF file")
        raise _error("missing", path)

    def unresolved(self, path: str, libraries: tuple[str, ...]) -> tuple[str, ...]:
        """Give the recorded symbols that a shared library lacks."""
        del libraries
        path = self._check(path)
        if path in self.recording.unresolved:
            return self.recording.unresolved[path]
        raise _error("missing", path)

    def connect(self, name: str, port: int, timeout: float) -> Outcome:
        """Answer as the server did; one that the recording does not hold had given no answer when it ended."""
        del timeout
        return self.recording.connections.get(f"{name}:{port}", "no-answer")


def normal(path: str) -> str:
    """Give a path without dots and doubled slashes; two at the start, which POSIX allows to mean more, are one here.

    >>> normal("//usr/lib64/../lib/")
    '/usr/lib'
    """
    return posixpath.normpath("/" + path.lstrip("/") if path.startswith("/") else path)


def _error(word: str, path: str) -> OSError:
    """Give the exception that a recorded word stands for."""
    words = {"denied": errno.EACCES, "hidden": errno.EACCES, "missing": errno.ENOENT, "timeout": errno.ETIMEDOUT}
    number = words.get(word) or int(getattr(errno, word, errno.EIO))
    return OSError(number, os.strerror(number), path)  # Python picks the subclass: PermissionError, TimeoutError …
