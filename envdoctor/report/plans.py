"""A Stack, or why there is none, as text for a person."""

from __future__ import annotations

import shlex

from envdoctor.model.stack import Conflict, Plan, Reason, Stack
from envdoctor.report.text import Style


def title(stack: Stack) -> str:
    """Name a stack in one line."""
    build = f"CUDA {stack.cuda}" if stack.cuda else stack.variant
    return f"{stack.framework} {stack.framework_version} ({build}) with Python {stack.python}"


def plan(chosen: Plan, paths: tuple[str, ...], folder: str | None, style: Style) -> str:
    """Write a plan: the stack, why it was chosen, what to type, which files stand where. `folder` None: a dry run."""
    stack = chosen.stack
    lines = [style.paint(title(stack), "bold"), ""]
    lines += reasons(chosen.reasons, style)
    if stack.min_driver and stack.min_driver.linux:
        windows = f" (Windows {stack.min_driver.windows})" if stack.min_driver.windows else ""
        lines.append(style.wrap(f"oldest NVIDIA driver: {stack.min_driver.linux}{windows}", "  "))
    if stack.conda_note:
        lines.append(style.wrap(f"conda: {stack.conda_note}", "  "))
    lines += ["", "install it with", f"  {shlex.join(stack.pip_command)}", ""]
    if stack.build_command:
        lines += [f"then, where nvcc of CUDA {stack.cuda} is,", f"  {shlex.join(stack.build_command)}", ""]
    if folder is None:
        lines += [style.wrap(f"would write: {', '.join(paths)}")]
    else:
        lines += [f"written to {folder}/", *(f"  {path}" for path in paths)]
        lines += ["", style.wrap(f"Next: read {folder}/README.md, or let `envdoctor onboard` do it all.")]
    return "\n".join(lines) + "\n"


def reasons(given: tuple[Reason, ...], style: Style) -> list[str]:
    """Write reasons, a paragraph each, with their source."""
    lines = []
    for reason in given:
        source = f" [{reason.source}]" if reason.source else ""
        lines.append(style.wrap(f"{reason.choice}: {reason.because}{source}", "    ", "  - "))
    return lines


def conflict(found: Conflict, style: Style) -> str:
    """Write why no stack fits and what the nearest ones are."""
    lines = [style.paint(style.wrap(found.summary), "error"), ""]
    lines += reasons(found.reasons, style)
    if found.alternatives:
        lines += ["", "what does fit"]
        for stack in found.alternatives:
            lines += [f"  - {title(stack)}", f"      {shlex.join(stack.pip_command)}"]
    return "\n".join(lines) + "\n"
