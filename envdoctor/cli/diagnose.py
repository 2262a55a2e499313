"""`envdoctor diagnose`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from envdoctor import errors
from envdoctor.cli import options

if TYPE_CHECKING:
    from envdoctor.model.snapshot import Declared, Snapshot
    from envdoctor.model.stack import TargetOs
    from envdoctor.rules.selection import Ignore


@click.command(
    epilog="""\b
Examples:
  envdoctor diagnose
  envdoctor diagnose --python ~/miniconda3/envs/dl --format json
  envdoctor diagnose --from snapshot.json --fail-on warning
  envdoctor diagnose --ignore DISK002,MEM001
  envdoctor diagnose --dockerfile Dockerfile --gpu "RTX 3060" --driver 535.183.01
  python -m torch.utils.collect_env | envdoctor diagnose --from -

\b
To ignore for good, in pyproject.toml (or without the first line in ~/.config/envdoctor/config.toml):
  [tool.envdoctor]
  ignore = [{rule = "DRV007", reason = "the driver is updated in March"}]"""
)
@click.option(
    "--from",
    "source",
    metavar="FILE",
    help="Judge a snapshot or a pasted report (collect_env, nvidia-smi, an error …); - is standard input.",
)
@options.python
@options.root
@options.output_format
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "note", "never"]),
    default="error",
    show_default=True,
    help="Exit with 1 on a finding that is at least as severe.",
)
@click.option(
    "--only", multiple=True, metavar="RULES", help="Ask these rules alone, by code or slug: DRV007,numpy2-abi."
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="RULES",
    help="Name these, and what they explain, as ignored; never fail on them.",
)
@click.option("--isolated", is_flag=True, help="Read no settings files: ignore only what --ignore names.")
@click.option(
    "--for",
    "wanted",
    multiple=True,
    metavar="WORKLOAD",
    help="Judge too whether it fits: gpt2:training:batch=8,dtype=amp-fp16,seq=512.",
)
@click.option("--dockerfile", "dockerfiles", multiple=True, metavar="FILE", help="Judge a Dockerfile for the machine.")
@click.option("--environment", "environments", multiple=True, metavar="FILE", help="Judge an environment.yml for it.")
@click.option(
    "--requirements", multiple=True, metavar="FILE", help="Judge a requirements.txt or pyproject.toml for it."
)
@click.option("--gpu", "gpus", multiple=True, metavar="NAME", help="The files are for this GPU, or capability. Repeat.")
@click.option("--driver", metavar="V", help="The files are for a machine with this NVIDIA driver.")
@click.option(
    "--os", "system", type=click.Choice(["linux", "wsl2", "windows", "macos"]), help="The files are for this system."
)
@click.option("--list-rules", is_flag=True, help="List all rules and leave.")
@options.timeout
def diagnose(
    source: str | None,
    python: str | None,
    root: str,
    output: str,
    fail_on: str,
    only: tuple[str, ...],
    ignore: tuple[str, ...],
    isolated: bool,
    wanted: tuple[str, ...],
    dockerfiles: tuple[str, ...],
    environments: tuple[str, ...],
    requirements: tuple[str, ...],
    gpus: tuple[str, ...],
    driver: str | None,
    system: TargetOs | None,
    list_rules: bool,
    timeout: float,
) -> None:
    """Say what is wrong with this machine, or a reported one, and why.

    Reads files and asks the NVIDIA library; imports no framework, uses no network and changes nothing. With
    --dockerfile, --environment or --requirements those files are judged for the machine, and the machine itself is not.
    """
    from envdoctor.knowledge.load import Knowledge
    from envdoctor.rules.registry import evaluate

    if list_rules:
        _list_rules(output)
        return
    asked = _named("--only", only)
    unwanted = _unwanted(ignore, isolated)
    _check(wanted)
    files = (dockerfiles, environments, requirements)
    if (gpus or driver or system) and not any(files):
        raise errors.UsageProblem(
            "--gpu, --driver and --os describe the machine that a file is for",
            "name the file with --dockerfile, --environment or --requirements",
        )
    lines = _lines(files) if any(files) else ()
    if source is not None:
        from envdoctor.app.reading import read_snapshot

        if python is not None or root != "/":
            raise errors.UsageProblem("--from judges a file; --python and --root are for a live machine")
        machine = read_snapshot(source)
    else:
        from envdoctor.app.examining import examine
        from envdoctor.host.local import LocalHost

        machine = examine(LocalHost(root), python, timeout)
    if wanted:
        from msgspec.structs import replace

        machine = replace(machine, wanted=wanted, origins={**machine.origins, "wanted": "--for"})
    facts = Knowledge()
    if any(files):
        from envdoctor.app.declaring import for_machine

        machine = for_machine(machine, facts, gpus=gpus, driver=driver, os=system)
        machine, asked = _for_files(machine, lines, asked)
    judged = evaluate(machine, facts, asked)
    if unwanted:
        from envdoctor.rules.selection import without

        judged = without(judged, unwanted)
    if output == "json":
        from envdoctor.report import documents

        options.show(documents.diagnosis(machine, judged))
    else:
        from envdoctor.report import text

        options.show(text.diagnosis(machine, judged, options.style()))
    if fail_on != "never" and judged.at_or_above(fail_on):  # type: ignore[arg-type]  # click.Choice has checked it
        raise SystemExit(errors.FINDINGS)


def _lines(files: tuple[tuple[str, ...], ...]) -> tuple[Declared, ...]:
    """Read the files before the machine is looked at, so that a wrong name is told at once."""
    from envdoctor.app.declaring import declared

    return declared(*files)


def _for_files(
    machine: Snapshot, lines: tuple[Declared, ...], asked: frozenset[str] | None
) -> tuple[Snapshot, frozenset[str]]:
    """Put the lines into the machine, and ask the rules about files alone: what else ails it is another question."""
    from msgspec.structs import replace

    from envdoctor.rules.registry import rules

    machine = replace(machine, declared=lines)
    about = [each for each in rules(machine) if each.judge.__module__.startswith("envdoctor.rules.files.")]
    return machine, frozenset(
        each.id for each in about if asked is None or {each.id, each.slug, *each.variants} & asked
    )


def _check(wanted: tuple[str, ...]) -> None:
    """Refuse words that are no workload of a known model, before the machine is looked at."""
    for text in wanted:
        from envdoctor.estimate import asking, models
        from envdoctor.estimate.weighing import Walked

        name, how = asking.short(text)
        asking.workload(Walked(models.named(name)), **how)


def _list_rules(output: str) -> None:
    from envdoctor.report import documents, text
    from envdoctor.rules.registry import rules

    options.show(documents.rules(rules()) if output == "json" else text.rules(rules()))


def _named(option: str, lists: tuple[str, ...]) -> frozenset[str] | None:
    """Read lists of rules with commas between them; None: the option was not given."""
    if not lists:
        return None
    names = [name.strip() for each in lists for name in each.split(",") if name.strip()]
    if not names:
        raise errors.UsageProblem(f"{option} names no rule", "`envdoctor diagnose --list-rules` lists them")
    _refuse_unknown(option, names)
    from envdoctor.rules.selection import named

    return named(names)


def _refuse_unknown(where: str, names: list[str]) -> None:
    from envdoctor.rules.selection import unknown

    for name, near in unknown(names).items():
        hint = f"did you mean {' or '.join(near)}?" if near else "`envdoctor diagnose --list-rules` lists them"
        raise errors.UsageProblem(f"{where}: there is no rule {name}", hint)


def _unwanted(ignore: tuple[str, ...], isolated: bool) -> tuple[Ignore, ...]:
    found: tuple[Ignore, ...] = ()
    files = () if isolated else _settings_files()
    if files:
        from envdoctor.app.settings import ignores

        found = ignores(files)
        for each in found:
            _refuse_unknown(each.source, [each.rule])
    names = _named("--ignore", ignore)
    if names:
        from envdoctor.rules.selection import Ignore

        found += tuple(Ignore(name, None, "--ignore") for name in sorted(names))
    return found


def _settings_files() -> tuple[str, ...]:
    """Find the nearest pyproject.toml and the person's own settings; most runs find none and pay for nothing else."""
    found = []
    folder = os.path.abspath(os.curdir)
    while True:
        path = os.path.join(folder, "pyproject.toml")
        if os.path.isfile(path):
            found.append(path)
            break
        above = os.path.dirname(folder)
        if above == folder:
            break
        folder = above
    environ = os.environ
    home = environ.get("APPDATA") if sys.platform == "win32" else environ.get("XDG_CONFIG_HOME")
    if not home and environ.get("HOME"):
        home = os.path.join(environ["HOME"], ".config")
    if home and os.path.isfile(own := os.path.join(home, "envdoctor", "config.toml")):
        found.append(own)
    return tuple(found)
