"""What `diagnose --fix` shows and asks."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable

import click

from envdoctor import errors
from envdoctor.app import fixing
from envdoctor.app.fixing import Answer, Done, Person, Seen, Step
from envdoctor.cli import options
from envdoctor.model.speech import say
from envdoctor.report import text


def fix(seen: Seen, look: Callable[[], Seen], *, yes: bool, dry_run: bool) -> Seen:
    """Walk through the fixes, or show them where nobody is there to be asked, and give the machine as it is then.

    Raises:
        errors.NotFixed: a step failed.
        errors.Unreadable: what is done could not be written down, so that nothing was run.
    """
    found = fixing.steps(seen.judged)
    if not found:
        options.show("\n" + say("There is no error or warning with a way out to walk through.") + "\n")
        return seen
    if dry_run or not (yes or sys.stdin.isatty()):
        for step in found:
            _show(step, _why_not(step, yes=dry_run))
        if not dry_run:
            nobody = say("Standard input is no terminal, so nothing was run; --yes runs what can be run.")
            options.show("\n" + options.style().wrap(nobody) + "\n")
        return seen
    path = fixing.record_path(os.environ, time.time())
    person = Person(answer=_accept if yes else _ask, line=_line, told=_told)
    seen, done = fixing.walk(seen, look, person, path)
    if done:
        left = text.counted(seen.judged)
        after = say("Still found: {counts}.", counts=", ".join(left)) if left else say("Nothing is left to fix.")
        written = say("What was done is written down in {file}", file=path)
        options.show(f"\n{after}\n{written}\n")
    else:
        options.show("\n" + say("Nothing was run.") + "\n")
    if done and done[-1].failed:
        raise _failure(done[-1])
    return seen


def _show(step: Step, left: str | None) -> None:
    """Show a step as it would be typed, with what it changes, and why it is left."""
    style = options.style()
    finding = step.finding
    lines = ["", style.wrap(f"{finding.severity}[{finding.id}] {finding.title}", "  ", "")]
    lines += text.fix_lines(step.fix, style)
    if left:
        lines.append(style.row(say("by hand:"), left, text.LABEL))
    options.show("\n".join(lines) + "\n")


def _why_not(step: Step, *, yes: bool) -> str | None:
    """Say why a step is not run; without a person to choose, only the first way out of what is not a mere hint is."""
    if step.by_hand or not yes:
        return step.by_hand
    if not step.first:
        return say("it is another way out, or what comes after the first; without --yes you are asked")
    if step.finding.certainty == "hint":
        return say("the finding is only a hint; without --yes you are asked")
    return None


def _accept(step: Step) -> Answer:
    left = _why_not(step, yes=True)
    _show(step, left)
    return "leave" if left else "run"


def _ask(step: Step) -> Answer:
    _show(step, step.by_hand)
    if step.by_hand:
        return "leave"
    said = click.prompt(
        say("Run it? y runs it, n leaves it, q ends"),
        type=click.Choice(["y", "n", "q"], case_sensitive=False),
        default="n",
        show_choices=False,
    )
    answers: dict[str, Answer] = {"y": "run", "n": "leave", "q": "stop"}
    return answers[said]


def _line(line: str) -> None:
    options.show(f"  | {line}\n".replace("\x1b", "\\u001b"))


def _told(step: Step, done: Done) -> None:
    if done.failed:
        return
    if done.gone:
        options.show(say("{code} is gone.", code=step.finding.id) + "\n")
    else:
        options.show(say("It ended well, and {code} is still found.", code=step.finding.id) + "\n")
    if done.back:
        options.show(say("To go back:") + "".join(f"\n    {shlex.join(each)}" for each in done.back) + "\n")


def _failure(done: Done) -> errors.NotFixed:
    ran = done.failed
    assert ran is not None
    command = shlex.join(ran.argv)
    failed = (
        say("this could not be run to its end: {command}", command=command)
        if ran.status is None
        else say("this ended with status {status}: {command}", status=ran.status, command=command)
    )
    if not done.back:
        return errors.NotFixed(failed, say("it changed none of the environment's packages; nothing more was run"))
    back = "".join(f"\n    {shlex.join(each)}" for each in done.back)
    return errors.NotFixed(
        failed, say("nothing more was run; this puts the packages back as they were:{commands}", commands=back)
    )
