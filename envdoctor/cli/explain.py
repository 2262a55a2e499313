"""`envdoctor explain`."""

from __future__ import annotations

import click

from envdoctor import errors
from envdoctor.cli import options
from envdoctor.model.speech import message, say

_SEVERITIES = {"error": message("error"), "warning": message("warning"), "note": message("note")}
_CERTAINTIES = {"certain": message("certain"), "likely": message("likely"), "hint": message("hint")}


@click.command(
    epilog="""\b
Examples:
  envdoctor explain DRV007
  envdoctor explain driver-too-old
  envdoctor explain"""
)
@click.argument("rule", required=False, shell_complete=options.rule_names)
def explain(rule: str | None) -> None:
    """Show the page of a rule, by its code or its slug; without one, list all rules."""
    from envdoctor.report import text
    from envdoctor.rules.registry import rules

    every = rules()
    if rule is None:
        options.show("".join(f"{each.id:<9} {each.severity:<8} {each.title}\n" for each in every))
        return
    found = [each for each in every if rule.upper() == each.id or rule.lower() == each.slug]
    if not found:
        raise errors.UsageProblem(say("there is no rule {rule}", rule=rule), say("`envdoctor explain` lists them"))
    pages = []
    for each in found:
        _, _, body = each.page.partition("\n")
        facts = {
            say("severity"): each.severity,
            say("certainty"): each.certainty,
            say("cause"): each.slug,
            say("needs to know"): ", ".join(each.needs),
            say("explains away"): ", ".join(each.supersedes),
        }
        pages.append(text.page(each.id, each.title, body.strip(), facts, each.sources, options.style()))
    options.show("\n".join(pages))
