"""What `diagnose` writes for programs, pages and issues, and how it is put into a file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import click

from envdoctor.cli import options
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from envdoctor.model.finding import Diagnosis
    from envdoctor.model.snapshot import Snapshot
    from envdoctor.rules.registry import Rule

# How our text and our JSON begin; what has comments says that it is GENERATED, which writing.py knows.
_OURS = re.compile(rb'envdoctor \d|\{.*"(?:tool|driver)": \{\s*"name": "envdoctor"', re.DOTALL)
_ENOUGH = 1024


class Wish(NamedTuple):
    """What a person wants to have of a diagnosis."""

    form: str
    file: str | None  # None: standard output
    force: bool
    redact: bool
    verbose: bool
    asked: frozenset[str] | None  # codes and slugs of the rules that were asked; None: all
    fail_on: str


def tell(machine: Snapshot, judged: Diagnosis, wish: Wish) -> None:
    """Print a diagnosis in any form, or put it into a file."""
    if wish.redact:
        from envdoctor.app.redacting import redactor

        hiding = redactor()
        machine, judged = hiding.redact(machine), hiding.redact(judged)
    told = _told(machine, judged, wish)
    if wish.file is None:
        options.show(told)
    else:
        keep(told, wish.file, force=wish.force)


def _told(machine: Snapshot, judged: Diagnosis, wish: Wish) -> str:
    if wish.form == "text":
        from envdoctor.report import text

        plain = text.Style(colour=False, width=100, verbose=wish.verbose)
        return text.diagnosis(machine, judged, plain if wish.file else options.style(verbose=wish.verbose))
    if wish.form == "json":
        from envdoctor.report import documents

        return documents.diagnosis(machine, judged)
    if wish.form == "html":
        from envdoctor.app import pages

        return pages.diagnosis(machine, judged)
    if wish.form == "markdown":
        from envdoctor.report import markdown

        return markdown.diagnosis(machine, judged)
    if wish.form == "github":
        from envdoctor.report import github

        return github.diagnosis(machine, judged)
    if wish.form == "prometheus":
        from envdoctor.report import prometheus

        return prometheus.diagnosis(judged)
    from envdoctor.rules.registry import rules

    if wish.form == "sarif":
        from envdoctor.report import sarif

        return sarif.diagnosis(machine, judged, {each.id: each for each in rules()})
    from envdoctor.report import junit

    severity = None if wish.fail_on == "never" else wish.fail_on
    return junit.diagnosis(machine, judged, _asked(rules(machine), wish.asked), severity)  # type: ignore[arg-type]


def _asked(every: tuple[Rule, ...], asked: frozenset[str] | None) -> tuple[Rule, ...]:
    return tuple(each for each in every if asked is None or {each.id, each.slug, *each.variants} & asked)


def keep(text: str, file: str, *, force: bool) -> None:
    """Put a report into a file, whole or not at all, in the place of an earlier report.

    Raises:
        Unreadable: something else stands there, or it cannot be written.
    """
    from envdoctor.host.writing import write_text

    write_text(file, options.harmless(text), replace=force or _earlier(file))
    click.echo(say("written to {output}", output=file), err=True)


def _earlier(file: str) -> bool:
    try:
        with open(file, "rb") as found:
            return _OURS.match(found.read(_ENOUGH)) is not None
    except OSError:
        return False
