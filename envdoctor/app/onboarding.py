"""The main job in one go: diagnose, choose, create, write, install, verify; interrupted, it can go on."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date
from typing import Literal

import msgspec
from msgspec.structs import replace

from envdoctor import errors
from envdoctor.app import planning
from envdoctor.app.artifacts import artifacts_of
from envdoctor.app.examining import examine
from envdoctor.environments import conda, pip, virtual
from envdoctor.environments.interpreters import Interpreter, interpreters
from envdoctor.host import Host
from envdoctor.host.writing import write, write_text
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.targets import target_of
from envdoctor.model import Record
from envdoctor.model.onboarding import Onboarding
from envdoctor.model.outcome import Outcome
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.stack import Conflict, Plan, Request, Target
from envdoctor.report import documents
from envdoctor.resolver import offers
from envdoctor.rules.registry import evaluate

Step = Literal["created", "installed"]
# Gigabytes over a slow line take an hour; a person can interrupt and go on later.
INSTALL_SECONDS = 4 * 3600.0


class Wishes(Record):
    """What a person asked of `onboard`."""

    request: Request
    folder: str
    manager: Literal["venv", "conda"] = "venv"
    python: str | None = None  # interpreter or environment to look at
    workloads: tuple[str, ...] = ("cnn", "gpt2")
    force: bool = False
    timeout: float = 20.0  # for looking
    verify_timeout: float = 1800.0


class Listener(Record):
    """Where progress goes: `step` for a person, `line` for what programs print."""

    step: Callable[[str], None]
    line: Callable[[str], None]


class State(Record):
    """How far an onboarding has come; kept in the folder, so that it can go on."""

    manager: str
    request: Request
    target: Target
    plan: Plan
    done: tuple[Step, ...] = ()
    schema_version: int = 1


def onboard(host: Host, wishes: Wishes, listener: Listener) -> Onboarding:
    """Bring this machine from nothing to a verified environment in `wishes.folder`.

    Raises:
        errors.EnvdoctorError: it cannot go on; what is done stays, and the next start goes on from there.
    """
    facts = Knowledge()
    listener.step("looking at this machine")
    machine = examine(host, wishes.python, wishes.timeout)
    judged = evaluate(machine, facts)
    pythons = _pythons(machine, host) if wishes.manager == "venv" else ()
    target = target_of(machine, facts)
    if wishes.manager == "venv":
        target = replace(target, pythons=tuple(each.version for each in pythons))
    result = Onboarding(folder=wishes.folder, manager=wishes.manager, machine=machine, judged=judged)
    state = _resumed(wishes, target)
    if state is None:
        listener.step("choosing a stack")
        chosen = planning.plan(wishes.request, target, facts, date.today())
        if isinstance(chosen, Conflict):
            return replace(result, conflict=chosen)
        _refuse_foreign(wishes)
        state = State(manager=wishes.manager, request=wishes.request, target=target, plan=chosen)
    else:
        listener.step(f"going on in {wishes.folder}")
    state, python = _environment(wishes, state, pythons, facts, listener)
    listener.step("verifying: a CNN and a GPT-2 run in it")
    outcomes = _verify(wishes, state.plan, python, listener)
    result = replace(result, plan=state.plan, python=python, outcomes=outcomes)
    write_text(os.path.join(wishes.folder, "report.json"), documents.onboarding(result), replace=True)
    return result


def _pythons(machine: Snapshot, host: Host) -> tuple[Interpreter, ...]:
    python = machine.python
    # The base of a virtual environment, not the environment: one made from another's depends on it.
    base = os.path.join(python.base_prefix, "bin", "python3") if python and python.base_prefix else None
    return interpreters(base, host.environ.get("PATH", os.defpath))


def _state_file(folder: str) -> str:
    return os.path.join(folder, "state.json")


def _resumed(wishes: Wishes, target: Target) -> State | None:
    """Give the state to go on from; None where there is none, or where it was another wish or another machine."""
    try:
        with open(_state_file(wishes.folder), "rb") as file:
            state = msgspec.json.decode(file.read(), type=State)
    except (OSError, msgspec.DecodeError):
        return None
    same = (state.manager, state.request, state.target) == (wishes.manager, wishes.request, target)
    return state if same and state.schema_version == 1 else None


def _refuse_foreign(wishes: Wishes) -> None:
    """Never clear an `env` folder that no onboarding has made."""
    folder = os.path.join(wishes.folder, "env")
    if os.path.lexists(folder) and not os.path.exists(_state_file(wishes.folder)) and not wishes.force:
        raise errors.Unreadable(f"{folder} exists and envdoctor did not make it", "choose another folder with -o")


def _keep(wishes: Wishes, state: State) -> State:
    text = msgspec.json.format(msgspec.json.encode(state), indent=2).decode() + "\n"
    write_text(_state_file(wishes.folder), text, replace=True)
    return state


def _environment(
    wishes: Wishes, state: State, pythons: tuple[Interpreter, ...], facts: Knowledge, listener: Listener
) -> tuple[State, str]:
    folder = os.path.abspath(os.path.join(wishes.folder, "env"))
    os.makedirs(os.path.join(wishes.folder, "logs"), exist_ok=True)
    python = virtual.python_of(folder)
    if wishes.manager == "conda":
        return _conda(wishes, state, folder, listener)
    if "created" not in state.done or not os.path.exists(python):
        listener.step(f"creating a virtual environment with Python {state.plan.stack.python}")
        # Said before it is made: an interrupted creation must be ours to clear at the next start.
        state = _keep(wishes, replace(state, done=()))
        base = next(each.path for each in pythons if each.version == state.plan.stack.python)
        virtual.create(base, folder, listener.line)
        listener.step("asking pip what it offers here")
        state = replace(state, plan=_settled(state.plan, python, facts), done=("created",))
        write(artifacts_of(state.plan), wishes.folder, force=wishes.force)
        _keep(wishes, state)
    if "installed" not in state.done:
        stack = state.plan.stack
        listener.step(f"installing {', '.join(stack.requirements)}")
        pip.install(python, stack.requirements, stack.index_url, listener.line, INSTALL_SECONDS)
        state = _keep(wishes, replace(state, done=("created", "installed")))
    return state, python


def _conda(wishes: Wishes, state: State, folder: str, listener: Listener) -> tuple[State, str]:
    if not state.plan.stack.conda_packages:
        raise errors.NoStack(
            f"conda-forge has no such stack: {state.plan.stack.conda_note}", "leave out --manager conda"
        )
    python = os.path.join(folder, "bin", "python")
    if "installed" not in state.done or not os.path.exists(python):
        conda.program()
        state = _keep(wishes, replace(state, done=()))
        write(artifacts_of(state.plan), wishes.folder, force=wishes.force)
        listener.step("creating the conda environment")
        file = os.path.join(wishes.folder, "environment.yml")
        python = conda.create(file, folder, listener.line, INSTALL_SECONDS)
        state = _keep(wishes, replace(state, done=("created", "installed")))
    return state, python


def _settled(plan: Plan, python: str, facts: Knowledge) -> Plan:
    """Fit a plan to what pip can really get from here, within seconds.

    Raises:
        errors.NotVerified: neither the stack's index nor the person's own offers anything that fits.
    """
    stack = plan.stack
    names = [name for name in stack.packages if name in (stack.framework, "torchvision", "torchaudio")]
    at_index = {name: pip.offers(python, name, stack.index_url) for name in names}
    served = offers.trimmed(plan, at_index)
    if served is not None:
        return served
    own = {name: pip.offers(python, name) for name in names}
    for candidate in offers.alternatives(plan, facts, own):
        framework = next(each for each in candidate.stack.requirements if each.startswith(stack.framework))
        if pip.would_install(python, framework):
            return candidate
    raise errors.NotVerified(
        f"{stack.index_url or 'your package index'} cannot be reached or lacks {stack.packages[stack.framework]},"
        f" and your own configuration ({pip.configuration(python)}) offers nothing that fits",
        "set a mirror or a proxy (pip config set global.index-url URL), then start again",
    )


def _verify(wishes: Wishes, plan: Plan, python: str, listener: Listener) -> tuple[Outcome, ...]:
    from envdoctor.app.verifying import verify

    # Where the stack is for a GPU that is here, only a run on it proves anything.
    device = "cuda" if plan.target.gpus and plan.stack.variant.startswith(("cu", "rocm")) else "auto"
    return verify(
        python,
        framework=plan.stack.framework,
        workloads=wishes.workloads,
        device=device,
        timeout=wishes.verify_timeout,
        logs=os.path.join(wishes.folder, "logs"),
        tell=listener.line,
    )
