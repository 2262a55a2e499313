"""conda-lock.yml beside the other files: which conda packages exactly, for the machine of a plan and for others."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date

from msgspec.structs import replace

from envdoctor import __version__, errors
from envdoctor.app import planning
from envdoctor.app.artifacts import artifacts_of
from envdoctor.environments import conda_lock
from envdoctor.host.writing import write
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.speech import say
from envdoctor.model.stack import GENERATED, Artifact, Conflict, Plan
from envdoctor.resolver.conda_platforms import PLATFORMS, subdir_of, virtual_packages

LOCK = "conda-lock.yml"
# Reading the index of a whole channel over a slow line takes minutes.
_SOLVE_SECONDS = 1800.0


def other_plans(chosen: Plan, platforms: tuple[str, ...], facts: Knowledge) -> dict[str, Plan]:
    """Choose for each further platform what its machines run: CUDA as asked, and none on macOS.

    Raises:
        errors.UsageProblem: a platform has no such name.
        errors.NoStack: nothing fits one.
    """
    plans = {}
    for name in dict.fromkeys(platforms):
        if name not in PLATFORMS:
            raise errors.UsageProblem(
                say("--platform {name} is not known", name=name),
                say("it knows: {platforms}", platforms=", ".join(PLATFORMS)),
            )
        if name == subdir_of(chosen.target):
            continue
        system, arch = PLATFORMS[name]
        target = planning.described(chosen.target, facts, os=system, arch=arch)
        # The same kind of build is asked for, and not what fits: of the other machine's GPU nothing is known.
        cuda = "cpu" if system == "macos" or chosen.stack.cuda is None else chosen.request.cuda
        found = planning.plan(replace(chosen.request, cuda=cuda), target, facts, date.today())
        if isinstance(found, Conflict):
            raise errors.NoStack(
                say("no stack for {name}: {summary}", name=name, summary=found.summary),
                say("leave out that --platform"),
            )
        plans[name] = replace(found, mirror=chosen.mirror)
    return plans


def lock(
    chosen: Plan,
    others: dict[str, Plan] | None,
    folder: str,
    facts: Knowledge,
    line: Callable[[str], None],
    *,
    force: bool = False,
) -> tuple[str, ...]:
    """Write conda-lock.yml into a folder, with an environment.yml for each further platform; give their paths.

    Where the sources are those of the lock that is there, nothing changes. `others` None: what it has of them stays.

    Raises:
        errors.EnvdoctorError: it cannot be made, or a person's own file is in its place; nothing was written.
    """
    sources = {_subdir(chosen): chosen, **(others or {})}
    artifacts = []
    jobs = []
    for name, plan in sources.items():
        if not plan.stack.conda_packages:
            raise errors.NoStack(
                say(
                    "conda-forge has no such stack for {name}: {conda_note}",
                    name=name,
                    conda_note=plan.stack.conda_note,
                ),
                say("leave that platform to pip"),
            )
        text = _environment(plan)
        jobs.append(conda_lock.Job(name, text, virtual_packages(plan.stack, plan.target, facts)))
        if plan is not chosen:
            artifacts.append(Artifact(path=f"environment.{name}.yml", text=text))
    previous = _previous(os.path.join(folder, LOCK), force=force)
    text = conda_lock.lock(tuple(jobs), previous, line, _SOLVE_SECONDS, keep_others=others is None)
    if GENERATED not in text.partition("\n")[0]:
        text = f"# {GENERATED} {__version__}, by conda-lock from environment.yml; remove this line to keep it\n{text}"
    artifacts.insert(0, Artifact(path=LOCK, text=text))
    write(tuple(artifacts), folder, force=force)
    return tuple(artifact.path for artifact in artifacts)


def _subdir(plan: Plan) -> str:
    found = subdir_of(plan.target)
    if found is None:
        raise errors.NoStack(
            say("conda-forge has no packages for {os} on {arch}", os=plan.target.os, arch=plan.target.arch)
        )
    return found


def _environment(plan: Plan) -> str:
    return next(artifact.text for artifact in artifacts_of(plan) if artifact.path == "environment.yml")


def _previous(path: str, *, force: bool) -> str | None:
    """Read the lock of an earlier run; asked before the solver is, which takes its time."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        text = ""
    if GENERATED in text.partition("\n")[0]:
        return text
    if os.path.lexists(path) and not force:
        raise errors.Unreadable(
            say("not written by envdoctor and therefore kept: {path}", path=path),
            say("choose another folder with -o, or replace it with --force; nothing was written"),
        )
    return None
