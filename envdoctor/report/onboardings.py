"""The one screen that an onboarding ends with."""

from __future__ import annotations

import shlex

from envdoctor.model.onboarding import Onboarding
from envdoctor.model.speech import say
from envdoctor.report import outcomes, plans
from envdoctor.report.areas import areas
from envdoctor.report.text import Style


def screen(result: Onboarding, style: Style) -> str:
    """Write what was found, chosen and proved, and what to type next."""
    lines = [style.paint(say("machine"), "bold")]
    lines += [style.row(area.name, area.text, 12) for area in areas(result.machine)]
    worst = [finding for finding in result.judged.findings if finding.severity != "note"]
    for finding in worst:
        lines.append(style.wrap(f"{finding.severity}[{finding.id}] {finding.title}", "    ", "  "))
    if result.conflict:
        return "\n".join([*lines, "", plans.conflict(result.conflict, style)])
    assert result.plan is not None
    lines += ["", style.paint(say("stack"), "bold"), f"  {plans.title(result.plan.stack)}"]
    lines += [style.wrap(f"{reason.choice}: {reason.because}", "    ", "  - ") for reason in result.plan.reasons]
    lines += ["", style.paint(say("proof"), "bold"), outcomes.text(result.outcomes).rstrip("\n")]
    if result.verified:
        lines += ["", style.paint(say("This environment works. Use it:"), "good"), f"  {_activation(result)}"]
    else:
        lines += ["", style.paint(say("This environment is not proven; the logs say more."), "error")]
    lines += ["  " + say("files, logs, report.html and report.json: {folder}/", folder=result.folder)]
    if worst:
        lines += ["  " + say("what is wrong with the machine: {command}", command="envdoctor diagnose")]
    return "\n".join(lines) + "\n"


def _activation(result: Onboarding) -> str:
    folder = (result.python or "").rpartition("/bin/")[0]
    if result.manager == "conda":
        return f"conda activate {shlex.quote(folder)}"
    return f"source {shlex.quote(folder + '/bin/activate')}"
