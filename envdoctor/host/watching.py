"""Watching: run a process and all that it starts, under a deadline and a memory cap, and leave none of it behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Literal

from envdoctor.model import Record

if TYPE_CHECKING:
    import psutil

INTERVAL = 0.1  # seconds between two looks at memory and clock
TREE_EVERY = 5  # looks between two searches for new children, which read all of /proc
GRACE = 2.0  # seconds to leave by oneself after SIGTERM
TAIL = 16 << 10  # bytes of stderr that are kept to explain an end
LOG_LIMIT = 64 << 20  # bytes of output that a log holds at the most
LINE_LIMIT = 1 << 20  # bytes of a line; a longer one is no message
_CHUNK = 1 << 16


class Ended(Record):
    """How a watched process came to its end. `returncode` is negative for a signal; None: it could not be ended."""

    returncode: int | None
    cause: Literal["itself", "deadline", "memory"]
    seconds: float
    peak_bytes: int  # most memory that it and its children were seen to hold at one time
    tail: str  # the end of what it wrote to stderr


class Tree:
    """A process and its descendants, also those that have lost their parent since."""

    def __init__(self, pid: int) -> None:
        import psutil

        self._psutil = psutil
        self.members: set[psutil.Process] = set()
        self.peak = 0
        self._looks = 0
        try:
            self.members.add(psutil.Process(pid))
        except psutil.NoSuchProcess:
            pass

    def search(self) -> None:
        """Find the children that have come since."""
        for member in tuple(self.members):
            self.members.update(self._children(member))

    def _children(self, member: psutil.Process) -> list[psutil.Process]:
        try:
            return member.children(recursive=True)
        except self._psutil.Error:
            return []

    def exceeds(self, cap: int | None) -> bool:
        """Measure the tree, remember the most it held, and tell whether that is more than the cap."""
        if self._looks % TREE_EVERY == 0:
            self.search()
        self._looks += 1
        held = sum(self._held(member, "memory_info", "rss") for member in tuple(self.members))
        # Resident sizes count memory that two processes share twice; the proportional size does not, but is slow.
        if cap is not None and held > cap and len(self.members) > 1 and self._psutil.LINUX:
            held = sum(self._held(member, "memory_full_info", "pss") for member in tuple(self.members)) or held
        self.peak = max(self.peak, held)
        return cap is not None and held > cap

    def _held(self, member: psutil.Process, method: str, field: str) -> int:
        try:
            return int(getattr(getattr(member, method)(), field))
        except self._psutil.NoSuchProcess:
            self.members.discard(member)
        except self._psutil.Error:
            pass
        return 0

    def kill(self) -> None:
        """End every member that is still there."""
        for member in self.members:
            self._kill(member)

    def _kill(self, member: psutil.Process) -> None:
        try:
            member.kill()  # psutil compares the start time: a number used again is left alone
        except self._psutil.Error:
            pass


class _Output:
    """Takes what the process writes: lines of stdout, the end of stderr, and everything into the log."""

    def __init__(self, line: Callable[[bytes], None], log: IO[bytes] | None) -> None:
        self._line = line
        self._log = log
        self._logged = 0
        self._part = b""
        self._oversized = False
        self.deaf = False  # set when the process is about to be killed: its last words are no result
        self.tail = b""

    def stdout(self, data: bytes) -> None:
        self._write(data)
        if self.deaf:
            return
        *whole, self._part = (self._part + data).split(b"\n")
        for line in whole:
            if not self._oversized:
                self._line(line)
            self._oversized = False
        if len(self._part) > LINE_LIMIT:
            self._part, self._oversized = b"", True

    def stderr(self, data: bytes) -> None:
        self._write(data)
        self.tail = (self.tail + data)[-TAIL:]

    def finish(self) -> None:
        if self._part and not self._oversized and not self.deaf:
            self._line(self._part)

    def _write(self, data: bytes) -> None:
        if self._log is None or self._logged >= LOG_LIMIT:
            return
        self._log.write(data)
        self._logged += len(data)
        if self._logged >= LOG_LIMIT:
            self._log.write(b"\n(the rest is left out: the log has reached its limit)\n")


def watch(
    argv: tuple[str, ...],
    environ: Mapping[str, str],
    *,
    timeout: float,
    memory_cap: int | None,
    line: Callable[[bytes], None],
    log: IO[bytes] | None = None,
    merged: bool = False,
) -> Ended:
    """Run a program without a shell and without input, and hand over each line of its stdout while it runs.

    With `merged` the lines of its stderr come among them, as on a terminal.

    It gets a process group of its own. Past the deadline (seconds) or above the cap (bytes of the whole tree) all of it
    is killed, as is whatever it leaves behind, and all of it too when `line` or an interrupt raises.

    Raises:
        OSError: it could not be started.
    """
    begun = time.monotonic()
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merged else subprocess.PIPE,
        env=dict(environ),
        start_new_session=True,
    )
    tree = Tree(process.pid)
    output = _Output(line, log)
    cause: Literal["itself", "deadline", "memory"] = "itself"
    with ExitStack() as opened:
        selector = opened.enter_context(selectors.DefaultSelector())
        for stream, take in ((process.stdout, output.stdout), (process.stderr, output.stderr)):
            if stream is not None:
                opened.enter_context(stream)
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ, take)
        try:
            _be_the_first_to_go(process.pid)
            cause = _follow(process, selector, tree, begun + timeout, memory_cap)
            output.deaf = cause != "itself"
        finally:
            _end(process, tree, gently=cause == "deadline")
        _drain(selector)
    output.finish()
    return Ended(
        returncode=process.returncode,
        cause=cause,
        seconds=time.monotonic() - begun,
        peak_bytes=tree.peak,
        tail=output.tail.decode("utf-8", "replace"),
    )


def _follow(
    process: subprocess.Popen[bytes], selector: selectors.BaseSelector, tree: Tree, deadline: float, cap: int | None
) -> Literal["itself", "deadline", "memory"]:
    look = 0.0
    while process.poll() is None:
        now = time.monotonic()
        if now >= deadline:
            return "deadline"
        if now >= look:
            look = now + INTERVAL
            if tree.exceeds(cap):
                return "memory"
        _read(selector, min(INTERVAL, deadline - now))
    return "itself"


def _read(selector: selectors.BaseSelector, timeout: float) -> int:
    """Take one piece of each stream that has something; give the number of bytes."""
    total = 0
    for key, _ in selector.select(timeout):
        try:
            data = os.read(key.fd, _CHUNK)
        except BlockingIOError:
            continue
        if data:
            key.data(data)
        else:
            selector.unregister(key.fileobj)
        total += len(data)
    return total


def _drain(selector: selectors.BaseSelector) -> None:
    """Take what still lies in the pipes; a bound, because a process that got away may go on writing."""
    left = 1 << 20
    while left > 0 and selector.get_map():
        taken = _read(selector, 0)
        if not taken and not selector.select(0):
            return
        left -= taken


def _be_the_first_to_go(pid: int) -> None:
    """Ask the kernel to choose this process, and not the person's browser, when memory runs out."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except OSError:
        pass  # another system, or already gone


def _end(process: subprocess.Popen[bytes], tree: Tree, *, gently: bool) -> None:
    """End the process, its group and every descendant that was seen; most often all are gone already."""
    if gently and _signal(process.pid, signal.SIGTERM):
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            pass
    if process.poll() is None:
        tree.search()
    _signal(process.pid, signal.SIGKILL)
    tree.kill()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        pass  # it hangs inside the kernel, as programs do on a GPU that fell off the bus; nothing more can be done


def _signal(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
