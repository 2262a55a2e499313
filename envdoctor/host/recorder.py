"""Recordings: what a machine answered, kept so that it answers the same again elsewhere, without naming its person."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, KeysView, Mapping
from typing import TypeVar

import msgspec

from envdoctor import errors
from envdoctor.host import Completed, ElfFacts, Host, Node, NvmlAnswer, PathKind, Resources, Space
from envdoctor.host import text as read_text
from envdoctor.host.recorded import Recording, normal
from envdoctor.model.redaction import Redactor, user_of
from envdoctor.model.snapshot import Outcome
from envdoctor.model.speech import say

FILE = "machine.json"
# A recording of a full workstation is a few MB.
LARGEST_FILE = 128 << 20

_Answer = TypeVar("_Answer")


class Recorder:
    """Asks a host and keeps what it answers, absences and refusals too. A file is kept as far as it was read."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._environ = _Watched(host.environ)
        self.environ: Mapping[str, str] = self._environ
        self._contents: dict[str, bytes] = {}
        self._present: dict[str, PathKind] = {}
        self._links: dict[str, str] = {}
        self._listings: dict[str, tuple[str, ...]] = {}
        self._executables: dict[str, None] = {}
        self._errors: dict[str, str] = {}
        self._spaces: dict[str, Space] = {}
        self._nodes: dict[str, Node] = {}
        self._commands: dict[tuple[str, ...], Completed] = {}
        self._command_errors: dict[tuple[str, ...], str] = {}
        self._elfs: dict[str, ElfFacts] = {}
        self._unresolved: dict[str, tuple[str, ...]] = {}
        self._connections: dict[str, Outcome] = {}
        self._affinity: int | None = None
        self._libc: tuple[str, str] | None = None
        self._resources: Resources | None = None
        self._nvml: NvmlAnswer | None = None
        self._nvml_error: str | None = None

    @property
    def patience(self) -> float:
        """Seconds that one slow question may take."""
        return self.host.patience

    @patience.setter
    def patience(self, seconds: float) -> None:
        self.host.patience = seconds

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        """Read a file's first `limit` bytes; of several reads the longest is kept."""
        real = self._real(path)
        data = self._note(real, lambda: self.host.read(path, limit))
        if len(data) >= len(self._contents.get(real, b"")):
            self._contents[real] = data
        return data

    def kind(self, path: str) -> PathKind | None:
        """Tell what stands at a path, following links; None: nothing."""
        real = self._real(path)
        try:
            kind = self.host.kind(path)
        except PermissionError:
            self._errors[real] = "hidden"
            raise
        if kind:
            self._present[real] = kind
        return kind

    def list(self, path: str) -> tuple[str, ...]:
        """List a folder's names, sorted."""
        real = self._real(path)
        self._listings[real] = self._note(real, lambda: self.host.list(path))
        return self._listings[real]

    def realpath(self, path: str) -> str:
        """Follow every link of a path; the path need not exist."""
        real = self.host.realpath(path)
        if real != normal(path):
            self._links[normal(path)] = real
        return real

    def executable(self, path: str) -> bool:
        """Tell whether this is a file that may be run."""
        real = self._real(path)
        answer = self.host.executable(path)
        if answer:
            self._executables[real] = None
        return answer

    def space(self, path: str) -> Space:
        """Measure the file system that holds a path."""
        real = self._real(path)
        try:
            self._spaces[real] = self.host.space(path)
        except FileNotFoundError:
            self._errors[real] = "missing"
            raise
        except PermissionError:
            self._errors[real] = "hidden"
            raise
        return self._spaces[real]

    def node(self, path: str, *, opened: bool = False) -> Node | None:
        """Tell who may use a device file."""
        answer = self.host.node(path, opened=opened)
        if answer:
            self._nodes[self._real(path)] = answer
        return answer

    def affinity(self) -> int | None:
        """Count the processors this process may run on."""
        self._affinity = self.host.affinity()
        return self._affinity

    def uname(self) -> tuple[str, str, str]:
        """Give system, release and machine."""
        return self.host.uname()

    def libc(self) -> tuple[str, str] | None:
        """Give the C library that programs run with."""
        self._libc = self.host.libc()
        return self._libc

    def resources(self) -> Resources | None:
        """Count processors and memory where there is no /proc."""
        self._resources = self.host.resources()
        return self._resources

    def run(self, argv: tuple[str, ...], timeout: float, environ: Mapping[str, str] | None = None) -> Completed:
        """Run a program without a shell and without input."""
        try:
            self._commands[argv] = self.host.run(argv, timeout, environ)
        except FileNotFoundError:
            raise
        except OSError as problem:
            self._command_errors[argv] = _word(problem)
            raise
        return self._commands[argv]

    def nvml(self, timeout: float) -> NvmlAnswer:
        """Ask the NVIDIA management library."""
        try:
            self._nvml = self.host.nvml(timeout)
        except FileNotFoundError:
            raise
        except OSError as problem:
            self._nvml_error = "timeout" if isinstance(problem, TimeoutError) else str(problem)
            raise
        return self._nvml

    def elf(self, path: str) -> ElfFacts:
        """Read a shared library's dynamic section and GPU architectures."""
        real = self._real(path)
        try:
            self._elfs[real] = self._note(real, lambda: self.host.elf(path))
        except ValueError:
            self._present[real] = "file"
            raise
        return self._elfs[real]

    def unresolved(self, path: str, libraries: tuple[str, ...]) -> tuple[str, ...]:
        """Give torch's symbols that a shared library needs and none of the others defines."""
        real = self._real(path)
        self._unresolved[real] = self._note(real, lambda: self.host.unresolved(path, libraries))
        return self._unresolved[real]

    def connect(self, name: str, port: int, timeout: float) -> Outcome:
        """Open a TCP connection, and keep what came of it."""
        outcome = self.host.connect(name, port, timeout)
        self._connections[f"{name}:{port}"] = outcome
        return outcome

    def recording(self) -> Recording:
        """Give what was answered until now, without what names the person and the machine."""
        redactor = redactor_of(self.host)
        system, release, machine = self.host.uname()
        contents = {path: _concise(path, data) for path, data in self._contents.copy().items()}
        texts = {path: text for path, data in contents.items() if (text := _text(data)) is not None}
        held = {*contents, *self._elfs, *self._errors, *self._executables}
        seen = {path: kind for path, kind in self._present.copy().items() if path not in held or kind != "file"}
        recording = Recording(
            environ=self._environ.read.copy(),
            system=system,
            release=release,
            machine=machine,
            libc=self._libc,
            resources=self._resources,
            affinity=self._affinity,
            files=texts | {path: "" for path, kind in seen.items() if kind == "file"},
            binaries={path: data for path, data in contents.items() if path not in texts},
            links=self._links.copy(),
            devices=tuple(path for path, kind in seen.items() if kind == "character"),
            others=tuple(path for path, kind in seen.items() if kind == "other"),
            folders=tuple(path for path, kind in seen.items() if kind == "directory"),
            listings=self._listings.copy(),
            executables=tuple(self._executables),
            errors=self._errors.copy(),
            spaces=self._spaces.copy(),
            nodes=self._nodes.copy(),
            commands={" ".join(_redacted(argv, redactor)): done for argv, done in self._commands.copy().items()},
            command_errors={" ".join(_redacted(argv, redactor)): why for argv, why in self._command_errors.items()},
            nvml=self._nvml,
            nvml_error=self._nvml_error,
            elfs=self._elfs.copy(),
            unresolved=self._unresolved.copy(),
            connections=self._connections.copy(),
        )
        return _without_identity(recording, redactor)

    def _real(self, path: str) -> str:
        """Give the path under which an answer is kept: without links, so that all ways to a file lead to one answer.

        /proc is left as it is: what `self` points to changes with each process.
        """
        return normal(path) if path.startswith("/proc/") else self.realpath(path)

    def _note(self, real: str, question: Callable[[], _Answer]) -> _Answer:
        try:
            return question()
        except (FileNotFoundError, NotADirectoryError):
            raise
        except IsADirectoryError:
            self._present[real] = "directory"
            raise
        except OSError as problem:
            if self._errors.get(real) != "hidden":  # which says more
                self._errors[real] = _word(problem)
            raise


class _Watched(Mapping[str, str]):
    """An environment that remembers which variables were looked at; the others are nobody's business."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._copied: set[str] = set()
        self.read: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        value = self._environ[name]
        if name in self._copied:
            self._copied.discard(name)
        else:
            self.read[name] = value
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)

    def keys(self) -> KeysView[str]:
        """Give the names. dict() asks for them and then for each value: a copy for a program, which reads nothing."""
        self._copied = set(self._environ)
        return KeysView(self)


def write_recording(recording: Recording, folder: str) -> str:
    """Write a recording as machine.json into a folder, which is made where there is none, and give its path.

    Raises:
        errors.Unreadable: the folder holds one already, or cannot be written to; nothing was changed.
    """
    from envdoctor.host.writing import write_text

    path = os.path.join(folder, FILE)
    if os.path.lexists(path):
        raise errors.Unreadable(
            say("{folder} already holds a {file}", folder=folder, file=FILE),
            say("name another folder, or remove that file"),
        )
    held = {name: value for name, value in msgspec.to_builtins(recording).items() if value or name == "release"}
    content = msgspec.json.format(msgspec.json.encode(held, order="sorted"), indent=1)
    write_text(path, content.decode() + "\n", replace=False)
    return path


def load_recording(path: str) -> Recording:
    """Read a recording from its folder, or from the file in it.

    Raises:
        errors.Unreadable: there is none, or what is there is something else.
    """
    if os.path.isdir(path):
        path = os.path.join(path, FILE)
    hint = say("a recording is made by `envdoctor snapshot --record DIR`")
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise errors.Unreadable(say("there is no recording {path}", path=path), hint) from None
    except OSError as problem:
        raise errors.Unreadable(say("{path} cannot be read: {problem}", path=path, problem=problem.strerror)) from None
    if len(content) > LARGEST_FILE:
        raise errors.Unreadable(
            say("{path} is larger than {limit} MiB, so it is not a recording", path=path, limit=LARGEST_FILE >> 20),
            hint,
        )
    try:
        parts = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        unknown = sorted(set(parts) - set(Recording.__struct_fields__))
        if unknown or not parts:
            raise errors.Unreadable(
                say(
                    "{path} is not a recording of this version of envdoctor: it holds {key!r}",
                    path=path,
                    key=unknown[0],
                )
                if unknown
                else say("{path} is not a recording of this version of envdoctor: it is empty", path=path),
                hint,
            )
        return _sound(msgspec.json.decode(content, type=Recording), path)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise errors.Unreadable(say("{path} is not a recording: {problem}", path=path, problem=problem), hint) from None


def _sound(recording: Recording, path: str) -> Recording:
    """Refuse a recording that speaks of a path that is none."""
    groups = (recording.files, recording.binaries, recording.links, recording.listings, recording.errors)
    named = (*recording.devices, *recording.others, *recording.folders, *recording.executables)
    for each in (
        *(key for group in groups for key in group),
        *recording.spaces,
        *recording.nodes,
        *recording.elfs,
        *recording.unresolved,
        *named,
    ):
        if not each.startswith("/") and each[1:2] != ":":  # or with the letter of a drive
            raise errors.Unreadable(
                say("{path} is not a recording: {named!r} is not an absolute path", path=path, named=each)
            )
    return recording


def redactor_of(host: Host) -> Redactor:
    """Make one whose paths stay absolute and as long as they were, so that binary tables still lead somewhere."""
    environ = host.environ
    user, home = user_of(environ), environ.get("HOME", "").rstrip("/")
    try:
        hostname = read_text(host, "/proc/sys/kernel/hostname") or ""
    except OSError:
        hostname = ""
    length = len(home.encode())
    home_as = ("/home/user" + "x" * length)[:length] if length >= len("/home/user") else "/" + "u" * (length - 1)
    if home == Redactor(user, hostname, "").text(home):
        home_as = home  # /root, or /home/ubuntu: it names nobody
    user_as = ("user" + "x" * len(user.encode()))[: max(len(user.encode()), 1)]
    return Redactor(
        user, hostname or environ.get("HOSTNAME", ""), home, home_as=home_as, user_as=user_as, host_as="host"
    )


def _without_identity(recording: Recording, redactor: Redactor) -> Recording:
    """Redact every text, and every path that is a key."""
    redactor.learn(recording)
    fields = {name: getattr(recording, name) for name in recording.__struct_fields__}
    by_path = ("files", "binaries", "links", "listings", "errors", "spaces", "nodes", "elfs", "unresolved")
    for name in (*by_path, "connections"):
        fields[name] = {redactor.text(path): value for path, value in fields[name].items()}
    environ = redactor.environ(recording.environ)
    return msgspec.structs.replace(redactor.redact(Recording(**fields)), environ=environ)


def _redacted(argv: tuple[str, ...], redactor: Redactor) -> tuple[str, ...]:
    # A program's own text is not a path; changed, it would not be found again.
    return tuple(part if "\n" in part or " " in part else redactor.text(part) for part in argv)


def _concise(path: str, data: bytes) -> bytes:
    """Leave out a distribution's description, which follows the headers of its metadata: long, and read by nobody."""
    return data.partition(b"\n\n")[0] + b"\n" if path.endswith(("/METADATA", "/PKG-INFO")) else data


def _text(data: bytes) -> str | None:
    """Give a file as text where it is one: then it can be read, and redacted, by people."""
    if b"\0" in data.rstrip(b"\0"):
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _word(problem: OSError) -> str:
    """Give the word that a recording keeps of an error."""
    if isinstance(problem, PermissionError):
        return "denied"
    if isinstance(problem, TimeoutError):
        return "timeout"
    return errno.errorcode.get(problem.errno or 0, "EIO")
