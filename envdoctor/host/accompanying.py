"""Accompanying: run a person's own program as if they had started it, and look at it from time to time.

Unlike `watching`, which runs our workloads, nothing is limited: the program has our input, its output passes through,
and signals that are meant for it reach it. Nothing of it is left behind when it has ended.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType

from envdoctor.host.streams import Streams
from envdoctor.host.watching import GRACE, Tree
from envdoctor.model import Record

TAIL = 256 << 10  # bytes of its output that are kept to explain an end
_PAUSE = 0.05  # seconds between two looks at what is to leave
# A terminal sends these to everything that was started from it; the others are sent to one process.
_TO_ALL = ("SIGINT", "SIGQUIT", "SIGHUP")
_TO_ONE = ("SIGTERM", "SIGUSR1", "SIGUSR2")

Look = Callable[[int, frozenset[int]], None]  # the program's number, and those of all its processes


class Accompanied(Record):
    """How the program ended. `returncode` is negative for a signal."""

    pid: int
    returncode: int
    seconds: float
    peak_bytes: int  # most memory that it and its children held at one time
    tail: str  # the end of what it wrote


def accompany(
    argv: tuple[str, ...],
    environ: Mapping[str, str],
    *,
    interval: float,
    look: Look,
    also: Mapping[int, Callable[[], bool]] | None = None,
) -> Accompanied:
    """Run a program without a shell until it ends; `look` is called at once, every `interval` seconds, and at the end.

    `also` are descriptors to read from meanwhile, each with what takes from it, and is False at the end. Processes that
    it leaves behind are asked to end, and killed after two seconds.

    Raises:
        OSError: it could not be started.
    """
    begun = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for descriptor, take in (also or {}).items():
            selector.register(descriptor, selectors.EVENT_READ, take)
        streams = Streams(selector, TAIL)
        try:
            with _signals(selector, streams) as passing:
                process = subprocess.Popen(
                    argv, stdout=streams.out, stderr=streams.err, env=dict(environ), start_new_session=True
                )
                streams.given()
                passing(process.pid)
                tree = Tree(process.pid)
                try:
                    _follow(process, selector, tree, interval, look)
                finally:
                    peak = max(tree.peak, _largest_child())
                    _end(process, tree)
                look(process.pid, frozenset())
                streams.drain()
        finally:
            streams.close()
    return Accompanied(
        pid=process.pid,
        returncode=process.returncode,
        seconds=time.monotonic() - begun,
        peak_bytes=peak,
        tail=streams.tail.decode("utf-8", "replace"),
    )


def _follow(
    process: subprocess.Popen[bytes], selector: selectors.BaseSelector, tree: Tree, interval: float, look: Look
) -> None:
    due = 0.0
    while process.poll() is None:
        now = time.monotonic()
        if now >= due:
            due = now + interval
            tree.exceeds(None)
            look(process.pid, frozenset(each.pid for each in tree.members))
        for key, _ in selector.select(max(0.0, due - time.monotonic())):
            if key.data() is False:
                selector.unregister(key.fileobj)


@contextmanager
def _signals(selector: selectors.BaseSelector, streams: Streams) -> Iterator[Callable[[int], None]]:
    """Hand signals on to the program; what comes before its number is known is handed on then.

    The program has a session of its own, so Ctrl-C arrives here alone and reaches it once. The end of a child wakes
    the selector.
    """
    target: list[int] = []
    early: list[int] = []
    whole = frozenset(number for name in _TO_ALL if (number := getattr(signal, name, None)))

    def send(number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            (os.killpg if number in whole else os.kill)(target[0], number)

    def passed(number: int, frame: FrameType | None) -> None:
        if target:
            send(number)
        else:
            early.append(number)

    def stopped(number: int, frame: FrameType | None) -> None:
        """Stop together with the program, and go on together (Ctrl-Z, fg)."""
        if target:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(target[0], signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        if target:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(target[0], signal.SIGCONT)

    def known(pid: int) -> None:
        target.append(pid)
        for number in early:
            send(number)

    handlers: dict[int, Callable[[int, FrameType | None], None]] = {
        number: passed for name in (*_TO_ALL, *_TO_ONE) if (number := getattr(signal, name, None))
    }
    handlers[signal.SIGTSTP] = stopped
    handlers[signal.SIGWINCH] = lambda number, frame: streams.resized()
    handlers[signal.SIGCHLD] = lambda number, frame: None
    waker, woken = socket.socketpair()
    waker.setblocking(False)
    woken.setblocking(False)
    selector.register(woken, selectors.EVENT_READ, lambda: _empty(woken))
    old_waker = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    # What was ignored, as nohup does with SIGHUP, stays ignored: the program has inherited that.
    old = {each: signal.signal(each, how) for each, how in handlers.items() if signal.getsignal(each) != signal.SIG_IGN}
    try:
        yield known
    finally:
        for number, how in old.items():
            signal.signal(number, how)
        signal.set_wakeup_fd(old_waker)
        selector.unregister(woken)
        waker.close()
        woken.close()


def _empty(woken: socket.socket) -> None:
    with suppress(BlockingIOError):
        woken.recv(4096)


def _largest_child() -> int:
    """Give the most that any one process of those that have ended held, which a look may have missed; bytes."""
    import resource

    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return most if sys.platform == "darwin" else most << 10


def _end(process: subprocess.Popen[bytes], tree: Tree) -> None:
    """Ask what is left of the program to end, and kill what has not done so."""
    if process.poll() is None:
        tree.search()
    deadline = time.monotonic() + GRACE
    number: int = signal.SIGTERM
    while _left(process, tree, number) and time.monotonic() < deadline:
        number = 0  # from now on only ask whether anybody is there
        time.sleep(_PAUSE)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    tree.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
    if process.returncode is None:  # it hangs inside the kernel, as programs do on a GPU that fell off the bus
        process.returncode = -signal.SIGKILL


def _left(process: subprocess.Popen[bytes], tree: Tree, number: int) -> bool:
    """Signal what is left, and tell whether there is anything."""
    import psutil

    process.poll()
    there = False
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
        there = True
    for member in tuple(tree.members):
        with suppress(psutil.Error):
            if member.is_running() and member.status() != psutil.STATUS_ZOMBIE:
                member.send_signal(number)
                there = True
    return there
