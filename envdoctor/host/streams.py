"""What a program writes, handed on as it is to our own stdout and stderr, with the end of it kept.

A stream that is a terminal here is a terminal for the program too, so that it writes colours, bars and lines at once.
"""

from __future__ import annotations

import os
import select
import selectors
from collections.abc import Callable
from contextlib import suppress

_CHUNK = 1 << 16
_OUTPUTS = (1, 2)


class Streams:
    """The program's two ends, `out` and `err`, and our end of each in `selector`."""

    def __init__(self, selector: selectors.BaseSelector, keep: int) -> None:
        self._selector = selector
        self._keep = keep
        self._terminals: list[int] = []
        self._given: list[int] = []
        self._ours: list[int] = []
        self.tail = b""
        self.out = self._opened(1)
        # One place for both keeps the order in which they were written.
        self.err = self.out if _same_place() else self._opened(2)

    def _opened(self, target: int) -> int:
        if os.isatty(target):
            ours, theirs = os.openpty()
            self._terminals.append(ours)
            _as_it_is(theirs)
            _copy_size(target, ours)
        else:
            ours, theirs = os.pipe()
        self._given.append(theirs)
        self._ours.append(ours)
        self._selector.register(ours, selectors.EVENT_READ, self._taker(ours, target))
        return theirs

    def given(self) -> None:
        """Close the program's ends here, once it has them."""
        for each in self._given:
            os.close(each)
        self._given.clear()

    def resized(self) -> None:
        """Tell the program's terminals how large ours is now."""
        for each in self._terminals:
            for target in _OUTPUTS:
                _copy_size(target, each)

    def close(self) -> None:
        """Close everything that is still open."""
        self.given()
        for ours in tuple(self._ours):
            self._leave(ours)

    def drain(self) -> None:
        """Take what still lies in the pipes; a bound, because a process that got away may go on writing."""
        for _ in range(64):
            ready = [key for key, _ in self._selector.select(0) if key.fd in self._ours]
            if not ready:
                return
            for key in ready:
                key.data()

    def _taker(self, ours: int, target: int) -> Callable[[], None]:
        def take() -> None:
            try:
                data = os.read(ours, _CHUNK)
            except OSError:  # a terminal that nobody holds any more
                data = b""
            self.tail = (self.tail + data)[-self._keep :]
            if not data or not _write(target, data):
                # Whoever read our output has left: closing our end tells the program as it would have been told.
                self._leave(ours)

        return take

    def _leave(self, ours: int) -> None:
        self._selector.unregister(ours)
        self._ours.remove(ours)
        if ours in self._terminals:
            self._terminals.remove(ours)
        os.close(ours)


def _write(target: int, data: bytes) -> bool:
    while data:
        try:
            data = data[os.write(target, data) :]
        except BlockingIOError:
            select.select((), (target,), ())
        except OSError:
            return False
    return True


def _same_place() -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(1), os.fstat(2))
    return False


def _as_it_is(terminal: int) -> None:
    """Let the bytes pass unchanged; the real terminal makes of a line feed what it makes of any."""
    import tty

    tty.setraw(terminal)


def _copy_size(source: int, terminal: int) -> None:
    import fcntl
    import termios

    with suppress(OSError):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, fcntl.ioctl(source, termios.TIOCGWINSZ, bytes(8)))
