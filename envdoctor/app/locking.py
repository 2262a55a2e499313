"""From a Plan to its lock files, and to a folder of wheels for a machine without network."""

from __future__ import annotations

import os

import msgspec

from envdoctor import errors
from envdoctor.app.listener import Listener
from envdoctor.environments import locking, wheelhouse
from envdoctor.host.writing import write
from envdoctor.model import Record
from envdoctor.model.speech import say
from envdoctor.model.stack import GENERATED, Artifact, Plan

LOCK = "requirements.lock.txt"
_STATE = "wheelhouse.json"
_DOWNLOAD_SECONDS = 4 * 3600.0


class Wheelhouse(Record):
    """What a folder of wheels is for; kept in it, so that it can go on, and no other folder is taken for one."""

    packages: tuple[str, ...]
    python: str
    platform: str
    wheels: tuple[str, ...] = ()  # names of files, once all are there
    schema_version: int = 1


def lock_artifacts(plan: Plan, folder: str, listener: Listener) -> tuple[Artifact, ...]:
    """Lock a plan for pip and uv.

    Raises:
        errors.MissingPart, errors.NotVerified: see environments.locking.
    """
    from envdoctor.render.locks import lock_files

    return lock_files(plan, *_locked(plan, os.path.join(folder, LOCK), listener))


def fill(plan: Plan, folder: str, listener: Listener, *, force: bool = False) -> tuple[str, ...]:
    """Download all that a plan's machine needs to install it without network, and give the paths of the files.

    Interrupted and started again it goes on; a folder that has it all is not touched.

    Raises:
        errors.Unreadable: the folder is another's, or its disk is too small.
        errors.MissingPart, errors.NotVerified: there is no uv or pip; nothing fits; an index cannot be reached.
    """
    from envdoctor.render.artifacts import index_lines
    from envdoctor.render.locks import bundle_files
    from envdoctor.verify.runner import scripts

    target = plan.target
    mine = Wheelhouse(packages=plan.stack.requirements, python=plan.stack.python, platform=locking.platform_of(target))
    before = _of(folder, mine, force)
    hashed, _, pylock = _locked(plan, os.path.join(folder, LOCK), listener)
    packages = wheelhouse.packages_of(locking.names_and_hashes(hashed), pylock)
    wheels = os.path.join(folder, "wheels")
    listener.step(say("comparing the wheels that are there with their hashes"))
    missing = wheelhouse.missing_of(packages, wheelhouse.hashes_in(wheels))
    wheelhouse.check_room(missing, folder)
    unsized = wheelhouse.unsized(missing)
    if unsized:
        listener.step(say("their index does not say how large these are: {names}", names=", ".join(unsized)))
    if missing or before is None:
        _keep(folder, mine)
    if missing:
        lines = index_lines(plan.stack, plan.mirror)
        wheelhouse.download(
            missing, wheels, target, plan.stack.python, lines,
            step=listener.step, line=listener.line, timeout=_DOWNLOAD_SECONDS,
        )  # fmt: skip
    have = wheelhouse.hashes_in(wheels)
    left = wheelhouse.missing_of(packages, have)
    if left:
        raise errors.NotVerified(
            say("no wheel with the locked hash came for {name}", name=left[0].name), say("start it again")
        )
    used = tuple(sorted(have[each] for package in packages for each in package.hashes if each in have))
    _drop([name for name in (before.wheels if before else ()) if name not in used], wheels)
    paths = write(bundle_files(plan, hashed, scripts(plan.stack.framework)), folder, force=force)
    _keep(folder, msgspec.structs.replace(mine, wheels=used))
    return (*paths, *(os.path.join(wheels, name) for name in used))


def _locked(plan: Plan, path: str, listener: Listener) -> locking.Locked:
    from envdoctor.render.artifacts import index_lines

    stack = plan.stack
    listener.step(
        say(
            "locking {requirements_count} requirements for {locking}",
            requirements_count=len(stack.requirements),
            locking=locking.platform_of(plan.target),
        )
    )
    return locking.lock(
        stack.requirements,
        index_lines(stack, plan.mirror),
        plan.target,
        stack.python,
        before=_before(path),
        line=listener.line,
    )


def _before(path: str) -> str | None:
    """Give an earlier lock that envdoctor wrote."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        return None
    return text if GENERATED in text.partition("\n")[0] else None


def _of(folder: str, mine: Wheelhouse, force: bool) -> Wheelhouse | None:
    """Give the state of a folder that is a wheelhouse of the same stack; None: it is new or empty."""
    foreign = errors.Unreadable(
        say("{folder} is not empty, and no wheelhouse of envdoctor's", folder=folder), say("name another folder")
    )
    try:
        if not os.path.lexists(folder) or (os.path.isdir(folder) and not os.listdir(folder)):
            return None
        with open(os.path.join(folder, _STATE), "rb") as file:
            there = msgspec.json.decode(file.read(), type=Wheelhouse)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError) as problem:
        raise foreign from problem
    except OSError as problem:
        said = say("{folder} cannot be read: {strerror}", folder=folder, strerror=problem.strerror or problem)
        raise errors.Unreadable(said, say("name another folder")) from problem
    same = (there.packages, there.python, there.platform) == (mine.packages, mine.python, mine.platform)
    if not same and not force:
        raise errors.Unreadable(
            say(
                "{folder} is the wheelhouse of another stack: {packages}",
                folder=folder,
                packages=", ".join(there.packages),
            ),
            say("name another folder, or --force to make it this one's"),
        )
    return there


def _keep(folder: str, state: Wheelhouse) -> None:
    text = msgspec.json.format(msgspec.json.encode(state), indent=2).decode() + "\n"
    write((Artifact(path=_STATE, text=text),), folder, force=True)


def _drop(names: list[str], folder: str) -> None:
    """Remove the wheels of an earlier stack, which the state lists; others in the folder are a person's own."""
    for name in names:
        path = os.path.join(folder, os.path.basename(name))
        if os.path.isfile(path):
            os.unlink(path)
