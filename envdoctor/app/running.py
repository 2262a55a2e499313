"""From a command to how it ended, and where it died to why: the rules that read pasted reports read its last words."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

from msgspec.structs import replace

from envdoctor import errors
from envdoctor.app.examining import examine
from envdoctor.host import Host, NvmlGpu
from envdoctor.host.accompanying import Accompanied, accompany
from envdoctor.host.local import LocalHost
from envdoctor.model.finding import Diagnosis
from envdoctor.model.run import GpuUse, Room, Run
from envdoctor.model.snapshot import Problem, Snapshot, merge
from envdoctor.model.speech import message, say

SHM = "/dev/shm"  # noqa: S108  # a file system that is looked at
# What the end of a program is judged by, besides its own words.
_AREAS = ("system", "cpu", "memory", "accelerators", "nvidia")
_FULL = 0.02  # of a file system: what is left when the next page does not fit
_SHELL_WORDS = {  # what a shell prints for a program that these end, and reports therefore hold
    "SIGBUS": "Bus error",
    "SIGILL": "Illegal instruction",
    "SIGSEGV": "Segmentation fault",
    "SIGFPE": "Floating point exception",
    "SIGABRT": "Aborted",
    "SIGKILL": "Killed",
}
_ASKED = frozenset(("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGPIPE"))  # somebody wanted it to end
_WATCH = message("envdoctor's watch")


class Sights:
    """What is seen from time to time, and the most or the least of it."""

    def __init__(self, host: Host, paths: tuple[str, ...]) -> None:
        self._host = host
        self._paths = paths
        self._own: frozenset[int] = frozenset()
        self._kills: dict[str, list[int]] = {}  # file: first and last count
        self._machine: list[int] = []
        self.held: int | None = None
        self.limit: int | None = None
        self.rooms: dict[str, Room] = {}
        self.gpus: dict[int, GpuUse] = {}

    def look(self, pid: int, own: frozenset[int]) -> None:
        """Look at everything that is cheap to look at; what cannot be seen stays unknown."""
        self._own |= own
        self._group(pid)
        for path in self._paths:
            self._room(path)

    def take(self, gpus: tuple[NvmlGpu, ...]) -> None:
        """Take what NVML said of the GPUs' memory."""
        for gpu in gpus:
            before = self.gpus.get(gpu.index) or GpuUse(index=gpu.index, name=gpu.name, before_bytes=gpu.used_bytes)
            mine = [held for pid, held in gpu.processes or () if pid in self._own and held is not None]
            self.gpus[gpu.index] = replace(
                before,
                total_bytes=gpu.memory_bytes or before.total_bytes,
                peak_bytes=_most(before.peak_bytes, gpu.used_bytes),
                own_bytes=_most(before.own_bytes, sum(mine) if mine else None),
            )

    @property
    def oom_kills(self) -> int | None:
        """Count what the kernel ended in the program's groups; None: they do not count."""
        return sum(last - first for first, last in self._kills.values()) if self._kills else None

    @property
    def machine_oom_kills(self) -> int | None:
        """Count what the kernel ended anywhere; None: it does not say."""
        return self._machine[1] - self._machine[0] if self._machine else None

    def risen(self) -> list[Problem]:
        """Say which counter of the groups rose."""
        return [
            Problem(text=f"oom_kill rose from {first} to {last}: the kernel ended a process here", source=path)
            for path, (first, last) in self._kills.items()
            if last > first
        ]

    def _group(self, pid: int) -> None:
        from envdoctor.probes import cgroup

        try:
            use, machine = cgroup.use(self._host, pid), cgroup.machine_oom_kills(self._host)
        except (OSError, ValueError):
            return
        if machine is not None:
            self._machine = [self._machine[0] if self._machine else int(machine.value), int(machine.value)]
        if use.kills is not None:
            self._kills.setdefault(use.kills.source, [int(use.kills.value)] * 2)
            # A program that is ending is already counted to the top group, which has no limit and holds everybody's.
            if use.limit_bytes is not None:
                self.held, self.limit = _most(self.held, use.held_bytes), use.limit_bytes
        for path, counts in self._kills.items():  # the program may be gone, and its group still there
            count = cgroup.oom_kills_in(self._host, path)
            counts[1] = counts[1] if count is None else max(counts[1], count)

    def _room(self, path: str) -> None:
        try:
            space = self._host.space(path)
        except OSError:
            return
        before = self.rooms.get(path)
        least = min(before.least_free_bytes, space.free_bytes) if before else space.free_bytes
        self.rooms[path] = Room(path=path, total_bytes=space.total_bytes, least_free_bytes=least)


def _most(one: int | None, other: int | None) -> int | None:
    return max((each for each in (one, other) if each is not None), default=None)


def run(argv: tuple[str, ...], environ: Mapping[str, str], interval: float) -> tuple[Run, Snapshot, Diagnosis | None]:
    """Run a program under watch, and explain its end where it failed; None: there is nothing to explain.

    The snapshot holds what the explanation is drawn from. `interval` is the time between two looks, in seconds.

    Raises:
        errors.NotStarted: there is no such program, or it cannot be run.
    """
    from envdoctor.host import nvml_watch

    host = LocalHost(environ=environ)
    sights = Sights(host, tuple(dict.fromkeys((SHM, environ.get("TMPDIR") or "/tmp", os.getcwd()))))  # noqa: S108
    gpus = nvml_watch.start(environ, interval, sights.take)
    try:
        ended = accompany(
            argv,
            # Python then says where it was when compiled code ended it; programs in other languages do not read it.
            {"PYTHONFAULTHANDLER": "1", **environ},
            interval=interval,
            look=sights.look,
            also={gpus.descriptor: gpus.read} if gpus else None,
        )
    except OSError as problem:
        raise _not_started(argv[0], problem) from problem
    finally:
        if gpus:
            gpus.close()
    done = _run(argv, ended, sights)
    if done.status == 0 or done.signal in _ASKED:
        return done, Snapshot(), None
    machine = _told(host, done, ended, sights)
    return done, machine, _judged(machine)


def _not_started(program: str, problem: OSError) -> errors.NotStarted:
    if isinstance(problem, FileNotFoundError):
        hint = say("name a program on PATH, or its path; a script of Python is run by `python train.py`")
        return errors.NotStarted(say("there is no program {program}", program=program), hint, errors.NO_PROGRAM)
    words = say("{program} cannot be started: {problem}", program=program, problem=problem.strerror)
    return errors.NotStarted(words, None, errors.CANNOT_RUN)


def _run(argv: tuple[str, ...], ended: Accompanied, sights: Sights) -> Run:
    number = -ended.returncode
    return Run(
        argv=argv,
        status=128 + number if number > 0 else ended.returncode,
        signal=_name(number) if number > 0 else None,
        seconds=round(ended.seconds, 3),
        peak_bytes=ended.peak_bytes,
        group_peak_bytes=sights.held,
        group_limit_bytes=sights.limit,
        oom_kills=sights.oom_kills,
        machine_oom_kills=sights.machine_oom_kills,
        gpus=tuple(sights.gpus[index] for index in sorted(sights.gpus)),
        rooms=tuple(sights.rooms.values()),
    )


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"


def _told(host: Host, done: Run, ended: Accompanied, sights: Sights) -> Snapshot:
    """Join the program's last words, what the watch saw, and the facts of this machine that those are judged by."""
    from envdoctor import readers

    words = readers.read(ended.tail, say("its output"))
    seen = (*_kernel(host, ended.pid), *sights.risen(), *_seen(done))
    live = examine(host, timeout=5.0, areas=_AREAS)
    known = merge((live, replace(words, gaps=(), problems=())))
    covered = {each.fact for each in live.gaps}
    gaps = [each for each in words.gaps if each.fact.partition(".")[0] not in _FACTS and each.fact not in covered]
    return replace(known, problems=(*words.problems, *seen), gaps=(*live.gaps, *gaps))


# The facts that the areas above look at.
_FACTS = frozenset(("system", "cpu", "memory", "driver", "gpus", "devices"))


def _seen(done: Run) -> tuple[Problem, ...]:
    """Say what the watch saw in the words that the rules know from shells and tools."""
    texts = []
    by_kernel = done.oom_kills or done.machine_oom_kills
    # A kill that the kernel did not count as one for lack of memory came from somebody else.
    unknown = done.oom_kills is None and done.machine_oom_kills is None
    if done.signal in _SHELL_WORDS and (done.signal != "SIGKILL" or by_kernel or unknown):
        texts.append(_SHELL_WORDS[done.signal])
    for room in done.rooms:
        if room.least_free_bytes < room.total_bytes * _FULL:
            size = f"{room.total_bytes >> 20} MiB"
            texts.append(
                f"{room.path} was full: {room.least_free_bytes >> 10} KiB of {size} were free"
                if room.path == SHM
                else f"No space left on device: {room.path} had {room.least_free_bytes >> 10} KiB of {size} free"
            )
    return tuple(Problem(text=text, source=say(_WATCH)) for text in texts)


def _kernel(host: Host, pid: int) -> tuple[Problem, ...]:
    """Give the lines of the kernel's log that name the process; none where the log may not be read."""
    try:
        answer = host.run(("dmesg",), 3.0)
    except (OSError, TimeoutError):
        return ()
    named = (f"[{pid}]: segfault", f"[{pid}] trap", f"Killed process {pid} (", f"[{pid}] general protection")
    lines = [line.partition("] ")[2] or line for line in answer.stdout.splitlines() if any(n in line for n in named)]
    return tuple(Problem(text=line, source=say("the kernel's log")) for line in lines[-2:])


def _judged(machine: Snapshot) -> Diagnosis:
    """Ask the rules that read what programs print; what else ails the machine is `diagnose`'s question."""
    from envdoctor.knowledge.load import Knowledge
    from envdoctor.rules.registry import evaluate, rules

    about = [each for each in rules(machine) if each.judge.__module__.startswith("envdoctor.rules.messages.")]
    return evaluate(machine, Knowledge(), frozenset(name for each in about for name in (each.id, *each.variants)))
