"""The main job in one go: diagnose, choose, create, write, install, verify; interrupted, it can go on."""

from __future__ import annotations

import os
from datetime import date

from msgspec.structs import replace

from envdoctor.app import creating, mirroring, pages, planning
from envdoctor.app.examining import examine
from envdoctor.app.listener import Listener
from envdoctor.host import Host
from envdoctor.host.writing import write_text
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.targets import target_of
from envdoctor.model import Record
from envdoctor.model.onboarding import Onboarding
from envdoctor.model.outcome import Outcome
from envdoctor.model.speech import say
from envdoctor.model.stack import Conflict, Mirror, Plan, Request
from envdoctor.report import documents
from envdoctor.rules.registry import evaluate


class Wishes(Record):
    """What a person asked of `onboard`."""

    request: Request
    folder: str
    mirror: Mirror | None = None
    manager: creating.Manager = "venv"
    python: str | None = None  # interpreter or environment to look at
    workloads: tuple[str, ...] = ("cnn", "gpt2")
    force: bool = False
    timeout: float = 20.0  # for looking
    verify_timeout: float = 1800.0


def onboard(host: Host, wishes: Wishes, listener: Listener) -> Onboarding:
    """Bring this machine from nothing to a verified environment in `wishes.folder`.

    Raises:
        errors.EnvdoctorError: it cannot go on; what is done stays, and the next start goes on from there.
    """
    facts = Knowledge()
    listener.step(say("looking at this machine"))
    machine = examine(host, wishes.python, wishes.timeout)
    judged = evaluate(machine, facts)
    pythons = creating.pythons(machine, host) if wishes.manager == "venv" else ()
    target = target_of(machine, facts)
    if wishes.manager == "venv":
        target = replace(target, pythons=tuple(each.version for each in pythons))
    result = Onboarding(folder=wishes.folder, manager=wishes.manager, machine=machine, judged=judged)
    place = creating.Place(folder=wishes.folder, manager=wishes.manager, force=wishes.force)
    state = creating.resumed(place, wishes.request, target)
    if state is None or state.plan.mirror != wishes.mirror:
        listener.step(say("choosing a stack"))
        chosen = planning.plan(wishes.request, target, facts, date.today())
        if isinstance(chosen, Conflict):
            return replace(result, conflict=chosen)
        creating.refuse_foreign(place)
        chosen = mirroring.sourced(chosen, machine, wishes.mirror, facts, here=True)
        state = creating.begun(place, wishes.request, target, chosen)
    else:
        listener.step(say("going on in {folder}", folder=wishes.folder))
    creation = creating.ahead(place, state)
    if creation is not None:
        listener.expect(creation + 1)
    state, python = creating.create(place, state, pythons, facts, listener)
    listener.step(say("verifying: a CNN and a GPT-2 run in it"))
    outcomes = _verify(wishes, state.plan, python, listener)
    result = replace(result, plan=state.plan, python=python, outcomes=outcomes)
    write_text(os.path.join(wishes.folder, "report.json"), documents.onboarding(result), replace=True)
    write_text(os.path.join(wishes.folder, "report.html"), pages.onboarding(result), replace=True)
    return result


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
