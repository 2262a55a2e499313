"""Making the environment of a plan, by venv and pip or by conda; interrupted, it can go on."""

from __future__ import annotations

import os
import shutil
from typing import Literal

import msgspec
from msgspec.structs import replace

from envdoctor import errors
from envdoctor.app.artifacts import artifacts_of
from envdoctor.app.listener import Listener
from envdoctor.environments import conda, pip, virtual
from envdoctor.environments.interpreters import Interpreter, interpreters
from envdoctor.host import Host
from envdoctor.host.writing import write, write_text
from envdoctor.knowledge.load import Knowledge
from envdoctor.model import Record
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.stack import Plan, Request, Target
from envdoctor.resolver import offers

Step = Literal["created", "installed"]
Manager = Literal["venv", "conda"]
# Gigabytes over a slow line take an hour; a person can interrupt and go on later.
INSTALL_SECONDS = 4 * 3600.0


class Place(Record):
    """Where an environment is made, and by what."""

    folder: str  # of the files, and of state.json
    manager: Manager = "venv"
    path: str | None = None  # of the environment; None: env in the folder
    force: bool = False
    written: bool = False  # the files of the plan are in the folder already
    locked: bool = False  # and its lock for pip is beside them

    @property
    def environment(self) -> str:
        """Give the absolute path of the environment."""
        return os.path.abspath(self.path or os.path.join(self.folder, "env"))


class State(Record):
    """How far it has come; kept in the folder, so that it can go on."""

    manager: str
    request: Request
    target: Target
    plan: Plan
    done: tuple[Step, ...] = ()
    environment: str | None = None
    schema_version: int = 1


def pythons(machine: Snapshot, host: Host) -> tuple[Interpreter, ...]:
    """Find the interpreters of this machine that a virtual environment can be made from."""
    python = machine.python
    # The base of a virtual environment, not the environment: one made from another's depends on it.
    base = os.path.join(python.base_prefix, "bin", "python3") if python and python.base_prefix else None
    return interpreters(base, host.environ.get("PATH", os.defpath))


def resumed(place: Place, request: Request, target: Target) -> State | None:
    """Give the state to go on from; None where there is none, or where it was another wish or another machine."""
    try:
        with open(_state_file(place.folder), "rb") as file:
            state = msgspec.json.decode(file.read(), type=State)
    except (OSError, msgspec.DecodeError):
        return None
    same = (state.manager, state.request, state.target) == (place.manager, request, target)
    mine = state.environment in (None, place.environment)
    return state if same and mine and state.schema_version == 1 else None


def refuse_foreign(place: Place) -> None:
    """Never clear what is not envdoctor's; with `force` an environment, but nothing that is none.

    Raises:
        errors.Unreadable: something of somebody else's is in the way.
    """
    folder = place.environment
    if not os.path.lexists(folder) or _made_here(place):
        return
    if not os.path.islink(folder) and os.path.isdir(folder):
        if not os.listdir(folder):
            return
        marks = ("pyvenv.cfg", "conda-meta")
        if place.force and any(os.path.exists(os.path.join(folder, mark)) for mark in marks):
            return
    raise errors.Unreadable(
        say("{folder} exists and envdoctor did not make it", folder=folder),
        say("choose another folder with -o or --path; it was left alone"),
    )


def begun(place: Place, request: Request, target: Target, plan: Plan) -> State:
    """Begin: nothing is done yet."""
    return State(manager=place.manager, request=request, target=target, plan=plan, environment=place.environment)


def ahead(place: Place, state: State) -> int | None:
    """Count the steps that `create` will tell of, at the most; None: with conda it depends on the solver."""
    if place.manager == "conda":
        return None
    made = "created" in state.done and os.path.exists(virtual.python_of(place.environment))
    if not made:
        return 4 if place.locked else 3
    return 0 if "installed" in state.done else 1


def create(
    place: Place, state: State, found: tuple[Interpreter, ...], facts: Knowledge, listener: Listener
) -> tuple[State, str]:
    """Make the environment as far as it is not made yet, and give its interpreter.

    Raises:
        errors.EnvdoctorError: it cannot go on; what is done stays, and the next start goes on from there.
    """
    os.makedirs(os.path.join(place.folder, "logs"), exist_ok=True)
    if place.manager == "conda":
        return _conda(place, state, facts, listener)
    folder = place.environment
    python = virtual.python_of(folder)
    if "created" not in state.done or not os.path.exists(python):
        listener.step(say("creating a virtual environment with Python {python}", python=state.plan.stack.python))
        # Said before it is made: an interrupted creation must be ours to clear at the next start.
        state = _keep(place, replace(state, done=()))
        base = next(each.path for each in found if each.version == state.plan.stack.python)
        virtual.create(base, folder, listener.line)
        listener.step(say("asking pip what it offers here"))
        settled = _settled(state.plan, python, facts)
        _write(place, settled, listener, anew=settled != state.plan)
        state = _keep(place, replace(state, plan=settled, done=("created",)))
    if "installed" not in state.done:
        stack = state.plan.stack
        listener.step(say("installing {requirements}", requirements=", ".join(stack.requirements)))
        pip.install(python, stack.requirements, stack.pip_options, listener.line, INSTALL_SECONDS)
        state = _keep(place, replace(state, done=("created", "installed")))
    return state, python


def _conda(place: Place, state: State, facts: Knowledge, listener: Listener) -> tuple[State, str]:
    from envdoctor.app import conda_locking
    from envdoctor.environments import conda_lock
    from envdoctor.resolver.conda_platforms import subdir_of, virtual_packages

    stack, folder = state.plan.stack, place.environment
    if not stack.conda_packages:
        raise errors.NoStack(
            say("conda-forge has no such stack: {conda_note}", conda_note=stack.conda_note),
            say("leave out --manager conda"),
        )
    python = conda.python_of(folder)
    if "installed" in state.done and os.path.exists(python):
        return state, python
    solver = conda_lock.solver()
    state = _keep(place, replace(state, done=()))
    _write(place, state.plan, listener)
    lock = os.path.join(place.folder, conda_locking.LOCK)
    by_lock = solver.path is None or os.path.exists(lock)
    if by_lock:
        listener.step(say("choosing the packages with {name}", name=solver.name))
        conda_locking.lock(state.plan, None, place.folder, facts, listener.line, force=place.force)
    listener.step(say("creating the conda environment"))
    shutil.rmtree(folder, ignore_errors=True)
    if by_lock:
        with open(lock, encoding="utf-8") as file:
            text = file.read()
        conda_lock.install(text, subdir_of(state.target) or "", folder, listener.line, INSTALL_SECONDS)
    elif solver.path is not None:
        cuda = virtual_packages(stack, state.target, facts).get("__cuda")
        file_ = os.path.join(place.folder, "environment.yml")
        conda.create(solver.path, file_, folder, listener.line, INSTALL_SECONDS, cuda)
    if not os.path.exists(python):
        raise errors.NotVerified(
            say("there is no Python in {folder}", folder=folder), say("the log has the whole output")
        )
    return _keep(place, replace(state, done=("created", "installed"))), python


def _write(place: Place, plan: Plan, listener: Listener, *, anew: bool = False) -> None:
    """Write the files of a plan, with its lock where one was asked for: one of another plan would be wrong."""
    if not anew and place.written:
        return
    artifacts = artifacts_of(plan, place.folder, locked=place.locked)
    if place.locked:
        from envdoctor.app import locking

        artifacts += locking.lock_artifacts(plan, place.folder, listener)
    write(artifacts, place.folder, force=place.force)


def _made_here(place: Place) -> bool:
    """Tell whether the state of this folder speaks of this very environment."""
    try:
        with open(_state_file(place.folder), "rb") as file:
            state = msgspec.json.decode(file.read(), type=State)
    except (OSError, msgspec.DecodeError):
        return False
    made = state.environment or os.path.abspath(os.path.join(place.folder, "env"))
    return made == place.environment


def _state_file(folder: str) -> str:
    return os.path.join(folder, "state.json")


def _keep(place: Place, state: State) -> State:
    text = msgspec.json.format(msgspec.json.encode(state), indent=2).decode() + "\n"
    write_text(_state_file(place.folder), text, replace=True)
    return state


def _settled(plan: Plan, python: str, facts: Knowledge) -> Plan:
    """Fit a plan to what pip can really get from here, within seconds.

    Raises:
        errors.NotVerified: neither the stack's index nor the person's own offers anything that fits.
    """
    stack = plan.stack
    names = [name for name in stack.packages if name in (stack.distribution, "torchvision", "torchaudio")]
    at_index = {name: pip.offers(python, name, stack.pip_options) for name in names}
    served = offers.trimmed(plan, at_index)
    if served is not None:
        return served
    there = ("--index-url", plan.mirror.pip) if plan.mirror and plan.mirror.pip else ()
    own = {name: pip.offers(python, name, there) for name in names}
    for candidate in offers.alternatives(plan, facts, own):
        framework = next(each for each in candidate.stack.requirements if each.startswith(stack.framework))
        if pip.would_install(python, framework, there):
            return candidate
    raise errors.NotVerified(
        say(
            "{index_url} cannot be reached or lacks {packages}, and your own configuration ({pip}) offers nothing "
            "that fits",
            index_url=stack.index_url or say("your package index"),
            packages=stack.packages[stack.distribution],
            pip=pip.configuration(python),
        ),
        say("set a mirror or a proxy (pip config set global.index-url URL), then start again"),
    )
