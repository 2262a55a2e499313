"""`envdoctor schema`."""

from __future__ import annotations

import os

import click

from envdoctor import errors
from envdoctor.cli import options
from envdoctor.model.speech import message, say

# Schema -> which command prints such a document.
SCHEMAS = {
    "diagnosis": message("`envdoctor diagnose --format json`"),
    "rules": message("`envdoctor diagnose --list-rules --format json`"),
    "snapshot": message("`envdoctor snapshot`"),
    "plan": message("`envdoctor provision --format json`, where a stack fits"),
    "conflict": message("`envdoctor provision --format json`, where none does"),
    "outcomes": message("`envdoctor verify --format json`"),
    "onboarding": message("`envdoctor onboard --format json`"),
    "estimate": message("`envdoctor estimate --format json`"),
    "capacities": message("`envdoctor estimate --for-gpus --format json`"),
    "tuning": message("`envdoctor tune --format json`"),
    "checks": message("`envdoctor check --format json`"),
    "difference": message("`envdoctor diff --format json`"),
    "run": message("`envdoctor run --report FILE`"),
    "tables": message("`envdoctor knowledge --format json`"),
    "rows": message("`envdoctor knowledge TABLE --format json`"),
}


def _names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return [each for each in SCHEMAS if each.startswith(incomplete)]


@click.command(
    epilog="""\b
Examples:
  envdoctor schema
  envdoctor schema diagnosis"""
)
@click.argument("name", required=False, shell_complete=_names)
def schema(name: str | None) -> None:
    """Print the JSON Schema of a document that a command prints; without a name, list them.

    Keys are added to documents, and never renamed or taken away, as long as their schema_version is the same.
    """
    if name is None:
        room = max(map(len, SCHEMAS)) + 2
        options.show("".join(f"{each:<{room}}{say(printed)}\n" for each, printed in SCHEMAS.items()))
        return
    if name.lower() not in SCHEMAS:
        raise errors.UsageProblem(say("there is no schema {name}", name=name), say("`envdoctor schema` lists them"))
    folder = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "schemas")
    with open(os.path.join(folder, f"{name.lower()}.json"), encoding="utf-8") as file:
        options.show(file.read())
