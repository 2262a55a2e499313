"""`envdoctor diagnose`."""

from __future__ import annotations

import click

from envdoctor import errors
from envdoctor.cli import options


@click.command(
    epilog="""\b
Examples:
  envdoctor diagnose
  envdoctor diagnose --python ~/miniconda3/envs/dl --format json
  envdoctor diagnose --from snapshot.json --fail-on warning
  python -m torch.utils.collect_env | envdoctor diagnose --from -"""
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
@options.timeout
def diagnose(source: str | None, python: str | None, root: str, output: str, fail_on: str, timeout: float) -> None:
    """Say what is wrong with this machine, or a reported one, and why.

    Reads files and asks the NVIDIA library; imports no framework, uses no network and changes nothing.
    """
    from envdoctor.knowledge.load import Knowledge
    from envdoctor.rules.registry import evaluate

    if source is not None:
        from envdoctor.app.reading import read_snapshot

        if python is not None or root != "/":
            raise errors.UsageProblem("--from judges a file; --python and --root are for a live machine")
        machine = read_snapshot(source)
    else:
        from envdoctor.app.examining import examine
        from envdoctor.host.local import LocalHost

        machine = examine(LocalHost(root), python, timeout)
    judged = evaluate(machine, Knowledge())
    if output == "json":
        from envdoctor.report import documents

        options.show(documents.diagnosis(machine, judged))
    else:
        from envdoctor.report import text

        options.show(text.diagnosis(machine, judged, options.style()))
    if fail_on != "never" and judged.at_or_above(fail_on):  # type: ignore[arg-type]  # click.Choice has checked it
        raise SystemExit(errors.FINDINGS)
