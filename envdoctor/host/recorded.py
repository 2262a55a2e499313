"""A machine that was recorded, or written down by a test."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from envdoctor.host import Completed, ElfFacts, NvmlAnswer, PathKind, Space
from envdoctor.model import Record


class Recording(Record):
    """Everything a machine answered. What it does not hold was not there.

    `files` maps a path to its text; binary content goes to `binaries` as bytes (base64 in JSON). `links` maps a path to
    what it resolves to. `devices` are character devices. `errors` maps a path to "denied" or "timeout". Folders exist
    because something stands in them, or are named in `folders`. `commands` maps argv, joined by spaces, to its answer.
    """

    environ: dict[str, str] = {}
    system: str = "Linux"
    release: str = ""
    machine: str = "x86_64"
    affinity: int | None = None
    files: dict[str, str] = {}
    binaries: dict[str, bytes] = {}
    links: dict[str, str] = {}
    devices: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    executables: tuple[str, ...] = ()
    errors: dict[str, str] = {}
    spaces: dict[str, Space] = {}
    commands: dict[str, Completed] = {}
    nvml: NvmlAnswer | None = None
    nvml_error: str | None = None  # "timeout" or "crashed"
    elfs: dict[str, ElfFacts] = {}


class RecordedHost:
    """Replays a Recording by name, not by order."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.environ: Mapping[str, str] = recording.environ
        self._folders: dict[str, set[str]] = {"/": set()}
        held = (
            recording.files,
            recording.binaries,
            recording.links,
            recording.devices,
            recording.elfs,
            recording.errors,
        )
        for path in (*(p for group in held for p in group), *recording.executables):
            self._stand(path)
        for path in recording.folders:
            self._stand(path)
            self._folders.setdefault(path, set())

    def _stand(self, path: str) -> None:
        while path != "/":
            parent, name = posixpath.split(path)
            self._folders.setdefault(parent, set()).add(name)
            path = parent

    def _resolve(self, path: str) -> str:
        for _ in range(40):
            path = posixpath.normpath(path)
            for link, target in self.recording.links.items():
                if path == link or path.startswith(link + "/"):
                    path = posixpath.join(posixpath.dirname(link), target) + path[len(link) :]
                    break
            else:
                return path
        raise OSError(40, "too many links", path)

    def _check(self, path: str) -> str:
        path = self._resolve(path)
        error = self.recording.errors.get(path)
        if error == "denied":
            raise PermissionError(13, "Permission denied", path)
        if error == "timeout":
            raise TimeoutError(110, "Connection timed out", path)
        return path

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        """Read a file's first `limit` bytes."""
        path = self._check(path)
        if path in self.recording.binaries:
            return self.recording.binaries[path][:limit]
        if path in self.recording.files:
            return self.recording.files[path].encode()[:limit]
        if path in self._folders:
            raise IsADirectoryError(21, "Is a directory", path)
        raise FileNotFoundError(2, "No such file or directory", path)

    def kind(self, path: str) -> PathKind | None:
        """Tell what stands at a path, following links; None: nothing."""
        path = self._resolve(path)
        held = self.recording
        if path in held.files or path in held.binaries or path in held.elfs or path in held.executables:
            return "file"
        if path in held.devices:
            return "character"
        return "directory" if path in self._folders else "file" if path in held.errors else None

    def list(self, path: str) -> tuple[str, ...]:
        """List a folder's names, sorted."""
        path = self._check(path)
        if path not in self._folders:
            raise FileNotFoundError(2, "No such file or directory", path)
        return tuple(sorted(self._folders[path]))

    def realpath(self, path: str) -> str:
        """Follow every link of a path; the path need not exist."""
        return self._resolve(path)

    def executable(self, path: str) -> bool:
        """Tell whether this is a file that may be run."""
        return self._resolve(path) in self.recording.executables

    def space(self, path: str) -> Space:
        """Measure the file system that holds a path: that of the nearest recorded parent."""
        path = self._check(path)
        while path not in self.recording.spaces:
            if path == "/":
                raise FileNotFoundError(2, "No such file or directory", path)
            path = posixpath.dirname(path)
        return self.recording.spaces[path]

    def affinity(self) -> int | None:
        """Count the processors this process may run on."""
        return self.recording.affinity

    def uname(self) -> tuple[str, str, str]:
        """Give system, release and machine."""
        return self.recording.system, self.recording.release, self.recording.machine

    def run(self, argv: tuple[str, ...], timeout: float, environ: Mapping[str, str] | None = None) -> Completed:
        """Answer as the recorded program did."""
        del timeout, environ
        answer = self.recording.commands.get(" ".join(argv))
        if answer is None:
            raise FileNotFoundError(2, "not recorded", argv[0])
        return answer

    def nvml(self, timeout: float) -> NvmlAnswer:
        """Answer as NVML did."""
        if self.recording.nvml_error == "timeout":
            raise TimeoutError(f"NVML gave no answer in {timeout:g} s")
        if self.recording.nvml_error:
            raise ChildProcessError(self.recording.nvml_error)
        if self.recording.nvml is None:
            raise FileNotFoundError("libnvidia-ml.so.1")
        return self.recording.nvml

    def elf(self, path: str) -> ElfFacts:
        """Give the recorded facts of a shared library."""
        path = self._check(path)
        if path not in self.recording.elfs:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.recording.elfs[path]
