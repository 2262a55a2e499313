"""`envdoctor diagnose`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from envdoctor import errors
from envdoctor.cli import options
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from envdoctor.knowledge.load import Knowledge
    from envdoctor.model.finding import Diagnosis
    from envdoctor.model.snapshot import Declared, Snapshot
    from envdoctor.model.stack import TargetOs
    from envdoctor.rules.system.selection import Ignore


@click.command(
    epilog="""\b
Examples:
  envdoctor diagnose
  envdoctor diagnose --python ~/miniconda3/envs/dl --format json
  envdoctor diagnose --from snapshot.json --fail-on warning
  envdoctor diagnose --ignore DISK002,MEM001
  envdoctor diagnose --dockerfile Dockerfile --gpu "RTX 3060" --driver 535.183.01
  python -m torch.utils.collect_env | envdoctor diagnose --from -
  envdoctor diagnose --fix --dry-run
  envdoctor diagnose --format markdown --redact
  envdoctor diagnose --format prometheus -o /var/lib/node_exporter/envdoctor.prom

\b
To ignore for good, in pyproject.toml (or without the first line in ~/.config/envdoctor/config.toml):
  [tool.envdoctor]
  ignore = [{rule = "DRV007", reason = "the driver is updated in March"}]"""
)
@click.option(
    "--from",
    "source",
    metavar="FILE",
    shell_complete=options.files,
    help="Judge a snapshot or a pasted report (collect_env, nvidia-smi, an error …); - is standard input.",
)
@options.python
@options.root
@options.network
@options.report_format
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    shell_complete=options.files,
    help="Write it into FILE, in the place of an earlier report.",
)
@click.option("--force", is_flag=True, help="With --output: replace FILE, whatever it is.")
@click.option("--redact", is_flag=True, help="Take out user and host name, home folder, UUIDs and credentials.")
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "note", "never"]),
    default="error",
    show_default=True,
    help="Exit with 1 on a finding that is at least as severe.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="RULES",
    shell_complete=options.rule_names,
    help="Ask these rules alone, by code or slug: DRV007,numpy2-abi.",
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="RULES",
    shell_complete=options.rule_names,
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
@click.option("-v", "--verbose", is_flag=True, help="Show every finding, all evidence, and the rules not checked.")
@click.option("--fix", is_flag=True, help="Walk through the fixes: show, ask, run what is safe, and look again.")
@click.option("--dry-run", is_flag=True, help="With --fix: show what it would run.")
@click.option("--yes", is_flag=True, help="With --fix: ask nothing, and take the first way out of each finding.")
@options.timeout
def diagnose(
    source: str | None,
    python: str | None,
    root: str,
    network: bool,
    output: str,
    file: str | None,
    force: bool,
    redact: bool,
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
    verbose: bool,
    fix: bool,
    dry_run: bool,
    yes: bool,
    timeout: float,
) -> None:
    """Say what is wrong with this machine, or a reported one, and why.

    Reads files and asks the NVIDIA library; imports no framework, uses no network without --network
    and changes nothing without --fix. With --dockerfile, --environment or --requirements those files are judged for
    the machine, and the machine itself is not.

    --fix never runs what needs root or a reboot, and writes down what it did.
    """
    from envdoctor.knowledge.load import Knowledge

    if list_rules:
        if output not in ("text", "json") or file is not None:
            raise errors.UsageProblem(say("--list-rules has no page"), say("it prints --format text and json"))
        _list_rules(output)
        return
    if force and file is None:
        raise errors.UsageProblem(say("--force belongs to --output"), say("add --output FILE"))
    asked = _named("--only", only)
    unwanted = _unwanted(ignore, isolated)
    _check(wanted)
    files = (dockerfiles, environments, requirements)
    if (gpus or driver or system) and not any(files):
        raise errors.UsageProblem(
            say("--gpu, --driver and --os describe the machine that a file is for"),
            say("name the file with --dockerfile, --environment or --requirements"),
        )
    if fix or dry_run or yes:
        elsewhere = {
            "--from": source,
            "--root": root != "/",
            f"--format {output}": output != "text",
            "--output": file is not None,
            "--redact": redact,
            "--dockerfile, --environment or --requirements": any(files),
        }
        _refuse_fixing(fix, dry_run, yes, [name for name, given in elsewhere.items() if given])
    if network and (source is not None or root != "/"):
        raise errors.UsageProblem(say("--network asks from this machine, and --from and --root are about another one"))
    lines = _lines(files) if any(files) else ()
    if source is not None:
        from envdoctor.app.reading import read_snapshot

        if python is not None or root != "/":
            raise errors.UsageProblem(say("--from judges a file; --python and --root are for a live machine"))
        machine = read_snapshot(source)
    else:
        from envdoctor.app.examining import examine
        from envdoctor.host.local import LocalHost

        machine = examine(LocalHost(root), python, timeout, network=network)
    machine = _wanting(machine, wanted)
    facts = Knowledge()
    if any(files):
        from envdoctor.app.declaring import for_machine

        machine = for_machine(machine, facts, gpus=gpus, driver=driver, os=system)
        machine, asked = _for_files(machine, lines, asked)
    judged = _judged(machine, facts, asked, unwanted)
    if output == "text" and file is None and not redact:
        from envdoctor.report import text

        options.show(text.diagnosis(machine, judged, options.style(verbose=verbose)))
    else:
        from envdoctor.cli import formats

        formats.tell(machine, judged, formats.Wish(output, file, force, redact, verbose, asked, fail_on))
    if fix:
        from envdoctor.app.fixing import Seen
        from envdoctor.cli import fixing

        def look() -> Seen:
            now = _wanting(examine(LocalHost(), python, timeout, network=network), wanted)
            return Seen(machine=now, judged=_judged(now, facts, asked, unwanted))

        judged = fixing.fix(Seen(machine=machine, judged=judged), look, yes=yes, dry_run=dry_run).judged
    if fail_on != "never" and judged.at_or_above(fail_on):  # type: ignore[arg-type]  # click.Choice has checked it
        raise SystemExit(errors.FINDINGS)


def _judged(
    machine: Snapshot, facts: Knowledge, asked: frozenset[str] | None, unwanted: tuple[Ignore, ...]
) -> Diagnosis:
    from envdoctor.rules.registry import evaluate

    judged = evaluate(machine, facts, asked)
    if unwanted:
        from envdoctor.rules.system.selection import without

        judged = without(judged, unwanted)
    return judged


def _wanting(machine: Snapshot, wanted: tuple[str, ...]) -> Snapshot:
    """Put into the machine what `--for` names, so that it is judged whether it fits."""
    if not wanted:
        return machine
    from msgspec.structs import replace

    return replace(machine, wanted=wanted, origins={**machine.origins, "wanted": "--for"})


def _refuse_fixing(fix: bool, dry_run: bool, yes: bool, elsewhere: list[str]) -> None:
    """Refuse to fix what is not this machine, and words that mean nothing without --fix."""
    if not fix:
        raise errors.UsageProblem(say("--dry-run and --yes belong to --fix"), say("add --fix"))
    if dry_run and yes:
        raise errors.UsageProblem(say("--dry-run runs nothing, and --yes runs without asking: give one of them"))
    if elsewhere:
        raise errors.UsageProblem(
            say("--fix changes this machine, and {option} is about something else", option=elsewhere[0]),
            say("leave it out, or run without --fix"),
        )


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
        raise errors.UsageProblem(
            say("{option} names no rule", option=option), say("`envdoctor diagnose --list-rules` lists them")
        )
    _refuse_unknown(option, names)
    from envdoctor.rules.system.selection import named

    return named(names)


def _refuse_unknown(where: str, names: list[str]) -> None:
    from envdoctor.rules.system.selection import unknown

    for name, near in unknown(names).items():
        hint = (
            say("did you mean {names}?", names=say(" or ").join(near))
            if near
            else say("`envdoctor diagnose --list-rules` lists them")
        )
        raise errors.UsageProblem(say("{place}: there is no rule {name}", place=where, name=name), hint)


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
        from envdoctor.rules.system.selection import Ignore

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
