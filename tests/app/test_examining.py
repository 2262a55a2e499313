"""One probe that hangs or fails costs its own answers; the examination always ends."""

from __future__ import annotations

import threading
import time

import pytest

from envdoctor import errors
from envdoctor.app.examining import examine
from envdoctor.host import Space
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.model.snapshot import Snapshot

FILES = {
    "/etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "/proc/meminfo": "MemTotal: 16384000 kB\nMemAvailable: 8192000 kB\nSwapTotal: 0 kB\n",
    "/proc/cpuinfo": "processor\t: 0\nmodel name\t: A CPU\nflags\t\t: fpu avx avx2\n",
}


class Troubled(RecordedHost):
    """A machine with one file that does not read well."""

    def __init__(self, path: str, trouble: Exception | None) -> None:
        super().__init__(Recording(files=FILES, release="6.1.0", affinity=1))
        self._path = path
        self._trouble = trouble
        self.left = threading.Event()

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        if path == self._path:
            if self._trouble:
                raise self._trouble
            self.left.wait()  # as a dead network mount does: no answer, ever
        return super().read(path, limit)


def kinds(machine: Snapshot, fact: str) -> list[str]:
    return [gap.kind for gap in machine.gaps if gap.fact == fact]


def test_all_is_well() -> None:
    space = Space(total_bytes=1 << 40, free_bytes=1 << 39, device=1)
    recording = Recording(files=FILES, release="6.1.0", affinity=1, spaces={"/": space})
    machine = examine(RecordedHost(recording), timeout=30)
    assert machine.gaps == ()
    assert machine.memory is not None
    assert machine.memory.total_bytes == 16384000 * 1024
    assert machine.cpu is not None
    assert machine.cpu.model == "A CPU"
    assert machine.driver is None
    assert machine.taken_at is not None


def test_a_file_that_never_answers() -> None:
    host = Troubled("/proc/meminfo", None)
    started = time.monotonic()
    machine = examine(host, timeout=2)
    ended = time.monotonic()
    host.left.set()
    assert ended - started < 30  # the deadline is two seconds; this only says that it is not for ever
    assert machine.memory is None
    assert kinds(machine, "memory") == ["timeout"]
    assert machine.cpu is not None
    assert machine.system is not None
    assert machine.system.distribution == "debian"


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (PermissionError(13, "Permission denied", "/proc/meminfo"), "denied"),
        (TimeoutError(110, "Connection timed out"), "timeout"),
        (OSError(5, "Input/output error"), "crashed"),
        (RuntimeError("a defect of a probe"), "crashed"),
    ],
)
def test_a_probe_that_fails(trouble: Exception, kind: str) -> None:
    machine = examine(Troubled("/proc/meminfo", trouble), timeout=30)
    assert machine.memory is None
    assert kinds(machine, "memory") == [kind]
    assert machine.cpu is not None
    assert machine.system is not None


def test_a_python_that_is_none_is_a_person_s_mistake() -> None:
    with pytest.raises(errors.UsageProblem, match="/nowhere/python"):
        examine(RecordedHost(Recording(files=FILES)), python="/nowhere/python", timeout=30)
