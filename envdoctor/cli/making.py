"""What `provision` does beyond its files: conda-lock.yml, and the environment itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from envdoctor import errors
from envdoctor.cli.progress import Progress
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from envdoctor.app.creating import Manager, Place
    from envdoctor.environments.interpreters import Interpreter
    from envdoctor.knowledge.load import Knowledge
    from envdoctor.model.onboarding import Made
    from envdoctor.model.snapshot import Snapshot
    from envdoctor.model.stack import Plan, Target


class Words(NamedTuple):
    """What was said of these options."""

    platforms: tuple[str, ...]
    create: bool
    manager: Manager | None
    path: str | None


_Command = TypeVar("_Command", bound=Callable[..., Any])


def options(command: _Command) -> _Command:
    """Add the options of this module to a command."""
    for option in reversed(
        (
            click.option(
                "--platform",
                "platforms",
                multiple=True,
                metavar="NAME",
                help="With --lock: lock conda packages for this platform too, osx-arm64 or win-64. Repeat.",
            ),
            click.option("--create", is_flag=True, help="Make the environment too, on this machine."),
            click.option(
                "--manager",
                type=click.Choice(["venv", "conda"]),
                help="What makes it, and what --lock is for. Default: venv, and both.",
            ),
            click.option("--path", metavar="DIR", help="With --create: where it goes. Default: env in the folder."),
        )
    ):
        command = option(command)
    return command


def refuse(words: Words, *, lock: bool, dry_run: bool, elsewhere: tuple[tuple[str, str | None], ...]) -> None:
    """Refuse options that do not go together; `elsewhere`: those that describe another machine.

    A GPU and its driver may be named: environments for a GPU are also made where there is none yet.

    Raises:
        errors.UsageProblem: they do not.
    """
    if words.path is not None and not words.create:
        raise errors.UsageProblem(say("--path says where the environment goes, and goes with --create"))
    if words.path == "":
        raise errors.UsageProblem(say("--path names no folder"))
    if words.platforms and not lock:
        raise errors.UsageProblem(say("--platform says what to lock for, and goes with --lock"))
    if words.manager and not (lock or words.create):
        raise errors.UsageProblem(
            say("--manager goes with --create or --lock; without them the files for both are written")
        )
    if words.create and dry_run:
        raise errors.UsageProblem(say("--create makes an environment, and --dry-run makes nothing"))
    named = [name for name, value in elsewhere if value is not None]
    if words.create and named:
        raise errors.UsageProblem(
            say("--create is for this machine, and {named} describes another one", named=named[0])
        )


def interpreters_for(target: Target, machine: Snapshot, words: Words) -> tuple[Target, tuple[Interpreter, ...]]:
    """Give the interpreters that a virtual environment can be made from, and the target with just their versions.

    conda brings a Python of its own, so that it leaves the target as it is.
    """
    from msgspec.structs import replace

    from envdoctor.app import creating
    from envdoctor.host.local import LocalHost

    if words.manager == "conda" or not words.create:
        return target, ()
    found = creating.pythons(machine, LocalHost())
    return replace(target, pythons=tuple(each.version for each in found)), found


def conda_lock(chosen: Plan, folder: str, facts: Knowledge, words: Words, *, force: bool) -> tuple[str, ...]:
    """Write conda-lock.yml and give the paths of what was written.

    Where nobody has asked for conda in particular, what stands in the way is said, and the other files stay of use.

    Raises:
        errors.EnvdoctorError: it cannot be made, and conda was asked for.
    """
    from envdoctor.app import conda_locking

    if words.manager == "venv" and not words.platforms:
        return ()
    wanted = words.manager == "conda" or bool(words.platforms)
    if not wanted and not chosen.stack.conda_packages:
        return ()  # the plan says so already
    try:
        others = conda_locking.other_plans(chosen, words.platforms, facts)
        os.makedirs(os.path.join(folder, "logs"), exist_ok=True)
        with Progress(os.path.join(folder, "logs", "lock.log")) as progress:
            progress.step(say("locking the conda packages"))
            return conda_locking.lock(chosen, others, folder, facts, progress.line, force=force)
    except errors.EnvdoctorError as problem:
        if wanted:
            raise
        reason = f"{problem.message}; {problem.hint}" if problem.hint else problem.message
        click.echo(say("envdoctor: no {lock}: {problem}", lock=conda_locking.LOCK, problem=reason), err=True)
        return ()


def place(folder: str, words: Words, *, lock: bool, force: bool) -> Place | None:
    """Say where the environment goes, once nothing of somebody else's is in the way; None: none is to be made.

    Raises:
        errors.Unreadable: something is.
    """
    from envdoctor.app import creating

    if not words.create:
        return None
    manager = words.manager or "venv"
    found = creating.Place(
        folder=folder, manager=manager, path=words.path, force=force, written=True, locked=lock and manager == "venv"
    )
    creating.refuse_foreign(found)
    return found


def standing(where: Place | None, chosen: Plan, target: Target) -> Plan:
    """Give the plan of the environment that is made here already, which pip's offer may have changed; else `chosen`."""
    from envdoctor.app import creating

    state = creating.resumed(where, chosen.request, target) if where else None
    return state.plan if state and state.plan.mirror == chosen.mirror else chosen


def environment(where: Place, chosen: Plan, target: Target, found: tuple[Interpreter, ...], facts: Knowledge) -> Made:
    """Make the environment of a plan whose files are written.

    Raises:
        errors.EnvdoctorError: it cannot be made; what is done stays, and the same command goes on from there.
    """
    from envdoctor.app import creating
    from envdoctor.app.listener import Listener
    from envdoctor.model.onboarding import Made

    os.makedirs(os.path.join(where.folder, "logs"), exist_ok=True)
    with Progress(os.path.join(where.folder, "logs", "create.log")) as progress:
        listener = Listener(step=progress.step, line=progress.line)
        state = creating.resumed(where, chosen.request, target)
        if state is None or state.plan.mirror != chosen.mirror:
            state = creating.begun(where, chosen.request, target, chosen)
        else:
            listener.step(say("going on in {environment}", environment=where.environment))
        state, python = creating.create(where, state, found, facts, listener)
    return Made(manager=where.manager, path=where.environment, python=python, stack=state.plan.stack)
