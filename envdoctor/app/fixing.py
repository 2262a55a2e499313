"""Walking through the fixes of a diagnosis: what can be run here, running it, writing that down, looking again.

Only what a rule marked as safe or as a change of the Python environment is run, as an argv and never by a shell. What
needs root, a reboot, another system, a shell's own command or a word that only the person knows is shown instead.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from envdoctor import errors
from envdoctor.environments.running import run
from envdoctor.host.writing import write_text
from envdoctor.knowledge.builds import INDEX
from envdoctor.model import Record
from envdoctor.model.finding import Diagnosis, Finding, Fix
from envdoctor.model.redaction import without_credentials
from envdoctor.model.snapshot import PythonEnv, Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.remedies import pip_install, pip_uninstall

Command = tuple[str, ...]
Answer = Literal["run", "leave", "stop"]
# Gigabytes over a slow line take an hour.
STEP_SECONDS = 4 * 3600.0
_KEPT = 40  # last lines of a command's output that are written down
_ROOT = frozenset(("sudo", "doas", "su", "pkexec", "run0", "runas", "gsudo", "reboot", "shutdown", "systemctl"))
# They change the shell that types them, and nothing else.
_SHELL = frozenset(("export", "unset", "ulimit", "alias", "source", ".", "cd", "set", "Set-Item", "Remove-Item"))
# In a fix a word in capitals, train.py and /large/ stand for something of the person's own.
_YOURS = re.compile(r"[A-Z]{3,}|train\.py|/large/.*")
_TAGGED = re.compile(r".+\+((?:cu|rocm|cpu|xpu)[\d.]*)")


class Step(Record):
    """One way out of one finding; `by_hand` says why it is not run here, None: it can be."""

    finding: Finding
    fix: Fix
    by_hand: str | None
    first: bool  # the first way out of its finding; the others may be meant instead of it, or after it


class Ran(Record):
    """A command that was run, its exit status (None: it could not be started, or was ended), and its last words."""

    argv: Command
    status: int | None
    said: tuple[str, ...]


class Done(Record):
    """A step that was taken. `back` undoes what it changed among the packages."""

    finding: str
    title: str
    fix: str
    ran: tuple[Ran, ...]
    gone: bool
    back: tuple[Command, ...]

    @property
    def failed(self) -> Ran | None:
        """Give the command that failed, None: none did."""
        return next((each for each in self.ran if each.status != 0), None)


class Seen(Record):
    """A machine as it is now, and what is wrong with it."""

    machine: Snapshot
    judged: Diagnosis


class Person(Record):
    """Who is asked and told: `answer` before a step, `line` for what its commands print, `told` after it."""

    answer: Callable[[Step], Answer]
    line: Callable[[str], None]
    told: Callable[[Step, Done], None]


class _Kept(Record):
    """The file in which it is written down."""

    started: str
    steps: tuple[Done, ...]
    schema_version: int = 1


def steps(judged: Diagnosis) -> tuple[Step, ...]:
    """List the ways out of errors and warnings, in the order of the findings; a note asks for nothing."""
    return tuple(
        Step(finding=finding, fix=fix, by_hand=by_hand(fix), first=place == 0)
        for finding in judged.findings
        if finding.severity != "note"
        for place, fix in enumerate(finding.fixes)
    )


def by_hand(fix: Fix) -> str | None:
    """Say why a fix is not run by envdoctor; None: it can be."""
    if not fix.commands:
        return say("nothing to run: it is done by hand")
    if fix.where == "windows":
        return say("it is typed in Windows")
    if fix.where == "host":
        return say("it is typed on the host, outside of this container")
    programs = {os.path.basename(command[0]) for command in fix.commands}
    if fix.effect == "needs-reboot":
        return say("it needs a reboot")
    if fix.effect not in ("safe", "changes-env") or programs & _ROOT:
        return say("it needs root")
    if programs & _SHELL:
        return say("it changes the shell that types it")
    if any(_YOURS.fullmatch(word.rpartition("=")[2]) for command in fix.commands for word in command):
        return say("a word in it is yours to put in")
    return None


def walk(seen: Seen, look: Callable[[], Seen], person: Person, path: str) -> tuple[Seen, tuple[Done, ...]]:
    """Take step after step, as the person answers, and look again after each; a failed step is the last.

    A way out is offered once. What was done is in `path` after each step, and that it begins before the first one.

    Raises:
        errors.Unreadable: `path` cannot be written; nothing was run then.
    """
    done: tuple[Done, ...] = ()
    offered: set[tuple[str, Fix]] = set()
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    while True:
        step = next((each for each in steps(seen.judged) if (each.finding.id, each.fix) not in offered), None)
        if step is None:
            return seen, done
        offered.add((step.finding.id, step.fix))
        answer = person.answer(step)
        if answer == "stop":
            return seen, done
        if answer == "leave" or step.by_hand is not None:
            continue
        _write(path, started, done)
        before = seen.machine
        ran = _run(step.fix, person.line)
        seen = look()
        taken = Done(
            finding=step.finding.id,
            title=step.finding.title,
            fix=step.fix.summary,
            ran=ran,
            gone=all(each.id != step.finding.id for each in seen.judged.findings),
            back=way_back(before, seen.machine),
        )
        done = (*done, taken)
        _write(path, started, done)
        person.told(step, taken)
        if taken.failed:
            return seen, done


def _run(fix: Fix, line: Callable[[str], None]) -> tuple[Ran, ...]:
    """Run the commands of a fix until one fails."""
    ran: tuple[Ran, ...] = ()
    # The person has said yes to these very words, and nobody can answer a question in between.
    environ = {**os.environ, "CONDA_ALWAYS_YES": "true", "PIP_NO_INPUT": "1", "PYTHONUNBUFFERED": "1"}
    for argv in fix.commands:
        try:
            status, said = run(_here(argv), line, timeout=STEP_SECONDS, environ=environ)
            ran = (*ran, _ran(argv, status, said))
        except (OSError, TimeoutError, KeyboardInterrupt) as problem:  # Ctrl-C ends a step, which is written down too
            ran = (*ran, _ran(argv, None, [f"{type(problem).__name__}: {problem}"]))
        if ran[-1].status != 0:
            break
    return ran


def _ran(argv: Command, status: int | None, said: list[str]) -> Ran:
    shown = tuple(without_credentials(each) for each in said[-_KEPT:])
    return Ran(argv=tuple(without_credentials(each) for each in argv), status=status, said=shown)


def _here(argv: Command) -> Command:
    """Give the argv that is run: our own name means this very installation, which need not be on the PATH."""
    return (sys.executable, "-m", *argv) if argv[0] == "envdoctor" else argv


def way_back(before: Snapshot, after: Snapshot) -> tuple[Command, ...]:
    """Give the commands that put the packages of the judged environment back as they were; empty: none changed."""
    old, new = before.python, after.python
    if old is None or new is None or old.executable != new.executable:
        return ()
    was, now = _versions(old), _versions(new)
    added = [name for name in now if name not in was]
    lost = {name: version for name, version in was.items() if now.get(name) != version}
    commands: list[Command] = [pip_uninstall(before, *added)] if added else []
    by_conda = {each.name for each in old.packages if each.installer == "conda"}
    conda = [f"{name}={version}" for name, version in lost.items() if name in by_conda]
    if conda:
        commands.append(("conda", "install", "--prefix", old.prefix, *conda))
    places: dict[str | None, list[str]] = {}
    for name, version in lost.items():
        if name not in by_conda:
            tagged = _TAGGED.fullmatch(version)
            places.setdefault(tagged and f"{INDEX}/{tagged[1]}", []).append(f"{name}=={version}")
    commands += [pip_install(before, "--no-deps", *names, index=index) for index, names in places.items()]
    return tuple(commands)


def _versions(python: PythonEnv) -> dict[str, str]:
    return {each.name: each.version for each in python.packages}


def record_path(environ: Mapping[str, str], now: float) -> str:
    """Give the file in which a walk is written down, in the person's folder for such things.

    Raises:
        errors.Unreadable: there is no home folder.
    """
    folder = environ.get("LOCALAPPDATA") if sys.platform == "win32" else environ.get("XDG_STATE_HOME")
    if not folder or not os.path.isabs(folder):
        home = environ.get("HOME") or environ.get("USERPROFILE")
        if not home:
            raise errors.Unreadable(
                say("there is no folder to write down what --fix does"), say("set HOME or XDG_STATE_HOME")
            )
        folder = os.path.join(home, ".local", "state")
    name = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime(now))
    return os.path.join(folder, "envdoctor", "fixes", f"{name}-{os.getpid()}.json")


def _write(path: str, started: str, done: tuple[Done, ...]) -> None:
    text = msgspec.json.format(msgspec.json.encode(_Kept(started=started, steps=done)), indent=2).decode() + "\n"
    try:
        write_text(path, text, replace=True)
    except errors.Unreadable as problem:
        raise errors.Unreadable(problem.message, say("set XDG_STATE_HOME to a folder that can be written")) from problem
