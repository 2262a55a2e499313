"""A Stack, or why there is none, as text for a person."""

from __future__ import annotations

import shlex

from envdoctor.model.onboarding import BuiltImage, Made
from envdoctor.model.speech import say, say_number
from envdoctor.model.stack import Conflict, Plan, Reason, Stack
from envdoctor.report.quantities import size
from envdoctor.report.text import Style


def title(stack: Stack) -> str:
    """Name a stack in one line."""
    build = f"CUDA {stack.cuda}" if stack.cuda else stack.variant
    return say(
        "{framework} {version} ({build}) with Python {python}",
        framework=stack.framework,
        version=stack.framework_version,
        build=build,
        python=stack.python,
    )


def plan(chosen: Plan, paths: tuple[str, ...], folder: str | None, style: Style) -> str:
    """Write a plan: the stack, why it was chosen, what to type, which files stand where. `folder` None: a dry run."""
    stack = chosen.stack
    lines = [style.paint(title(stack), "bold"), ""]
    lines += reasons(chosen.reasons, style)
    if stack.min_driver and stack.min_driver.linux:
        windows = f" (Windows {stack.min_driver.windows})" if stack.min_driver.windows else ""
        oldest = f"{stack.min_driver.linux}{windows}"
        lines.append(style.wrap(say("oldest NVIDIA driver: {version}", version=oldest), "  "))
    if stack.conda_note:
        lines.append(style.wrap(say("conda: {note}", note=stack.conda_note), "  "))
    lines += ["", say("install it with"), f"  {shlex.join(stack.pip_command)}"]
    if stack.uv_command:
        lines += [say("or with uv"), f"  {shlex.join(stack.uv_command)}"]
    lines.append("")
    if stack.build_command:
        then = say("then, where nvcc of CUDA {cuda} is,", cuda=stack.cuda)
        lines += [then, f"  {shlex.join(stack.build_command)}", ""]
    if folder is None:
        lines += [style.wrap(say("would write: {paths}", paths=", ".join(paths)))]
    else:
        lines += [say("written to {folder}/", folder=folder), *(f"  {path}" for path in paths)]
        after = say("Next: read {file}, or let `envdoctor onboard` do it all.", file=f"{folder}/README.md")
        lines += ["", style.wrap(after)]
    return "\n".join(lines) + "\n"


def wheelhouse(chosen: Plan, folder: str, paths: tuple[str, ...], style: Style) -> str:
    """Write what was downloaded for a machine without network, and what to type there."""
    wheels = [path for path in paths if path.endswith(".whl")]
    script = next(path for path in paths if path.rpartition("/")[2].rpartition("\\")[2].startswith("install."))
    typed = f"powershell -ExecutionPolicy Bypass -File {shlex.quote(script)}"
    if chosen.target.os != "windows":
        typed = shlex.join(("sh", script))
    said = say_number(
        "{number} wheel is in {folder}. Copy the folder to the machine without network, then type",
        "{number} wheels are in {folder}. Copy the folder to the machine without network, then type",
        len(wheels),
        folder=shlex.quote(folder),
    )
    lines = ["", style.wrap(said), f"  {typed}"]
    if chosen.stack.build_command:
        command = shlex.join(chosen.stack.build_command)
        lines.append(style.wrap(say("What is compiled there is not among them: {command}", command=command)))
    return "\n".join(lines) + "\n"


def made(environment: Made, style: Style) -> str:
    """Say where an environment is, how it is entered, and how it is proved."""
    path = shlex.quote(environment.path)
    enter = f"conda activate {path}" if environment.manager == "conda" else f". {path}/bin/activate"
    conda = ", ".join(f"{name} {match}" for name, match in environment.stack.conda_packages.items())
    what = conda if environment.manager == "conda" else title(environment.stack)
    said = say("made with {manager}: {packages}", manager=environment.manager, packages=what)
    lines = [style.paint(style.wrap(said), "bold"), f"  {enter}"]
    return (
        "\n".join([*lines, say("prove it with"), f"  envdoctor verify --python {shlex.quote(environment.python)}"])
        + "\n"
    )


def image(built: BuiltImage, style: Style) -> str:
    """Say which image was built, on what, and how it is proved."""
    tag = shlex.quote(built.tag)
    seconds = f"{built.seconds:.0f}"
    said = say("built {tag}: {size} in {seconds} s", tag=built.tag, size=size(built.size_bytes), seconds=seconds)
    lines = [style.paint(said, "bold")]
    if built.base:
        lines.append(style.wrap(say("its base by digest, for --build-arg BASE=…: {base}", base=built.base), "  "))
    return "\n".join([*lines, say("prove it with"), f"  envdoctor verify --image {tag}"]) + "\n"


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
        lines += ["", say("what does fit")]
        for stack in found.alternatives:
            lines += [f"  - {title(stack)}", f"      {shlex.join(stack.pip_command)}"]
    if found.ways:
        lines += ["", say("what else can be done")]
        for way in found.ways:
            page = f" [{way.page}]" if way.page else ""
            lines.append(style.wrap(f"{way.summary} ({way.effect}){page}", "    ", "  - "))
            lines += [f"      {shlex.join(command)}" for command in way.commands]
    return "\n".join(lines) + "\n"
