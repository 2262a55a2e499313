"""`envdoctor diff`."""

from __future__ import annotations

import click

from envdoctor import errors
from envdoctor.cli import options
from envdoctor.model.speech import say


@click.command(
    epilog="""\b
Examples:
  envdoctor snapshot -o works.json
  envdoctor diff works.json
  envdoctor diff works.json broken.json --format json
  envdoctor diff colleague.txt - --python ~/dl"""
)
@click.argument("before", metavar="A")
@click.argument("after", metavar="[B]", required=False)
@options.python
@options.output_format
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "note", "never"]),
    default="error",
    show_default=True,
    help="Exit with 1 if a finding came that is at least as severe.",
)
@options.timeout
def diff(before: str, after: str | None, python: str | None, output: str, fail_on: str, timeout: float) -> None:
    """Say what changed between A and B, and which findings came or went with it.

    Each is a snapshot, a folder that `snapshot --record` wrote, or a pasted report; - (or no B) is this machine as it
    is now. What one side could not see is unknown there, and never called gone.
    """
    from envdoctor.app import comparing
    from envdoctor.model.finding import SEVERITIES
    from envdoctor.report import differences, documents

    names = [None if name in (None, "-") else name for name in (before, after)]
    if names == [None, None]:
        raise errors.UsageProblem(
            say("both sides are this machine as it is now"), say("save one first: `envdoctor snapshot -o A`")
        )
    if python is not None and None not in names:
        raise errors.UsageProblem(say("--python is for this machine, and two files are compared"))
    found = comparing.difference(*(comparing.side(name, python, timeout) for name in names))
    options.show(documents.difference(found) if output == "json" else differences.text(found, options.style()))
    worst = SEVERITIES.index(fail_on) if fail_on != "never" else -1
    if any(SEVERITIES.index(each.finding.severity) <= worst for each in found.came):
        raise SystemExit(errors.FINDINGS)
