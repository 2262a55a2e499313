"""`envdoctor knowledge`."""

from __future__ import annotations

import click

from envdoctor import errors
from envdoctor.cli import options
from envdoctor.model.speech import say


@click.command(
    epilog="""\b
Examples:
  envdoctor knowledge
  envdoctor knowledge tensorflow
  envdoctor knowledge torch 2.7.1
  envdoctor knowledge gpus "NVIDIA GeForce RTX 3060" --format json"""
)
@click.argument("table", required=False)
@click.argument("row", nargs=-1)
@options.output_format
def knowledge(table: str | None, row: tuple[str, ...], output: str) -> None:
    """Show what envdoctor knows, how old it is and where it comes from.

    Without TABLE, list the tables; with it, their rows; with ROW as well, that row with its source.
    """
    from datetime import date

    from envdoctor.knowledge.catalogue import CATALOGUE, names_of, near, rows_named, rows_of, summary
    from envdoctor.knowledge.load import Knowledge
    from envdoctor.report import documents
    from envdoctor.report import knowledge as report

    today = date.today()
    if table is None:
        found = tuple(summary(name) for name in CATALOGUE)
        options.show(
            documents.tables(found, today) if output == "json" else report.tables(found, today, options.style())
        )
        return
    table = table.replace("-", "_").lower()
    if table not in CATALOGUE:
        raise errors.UsageProblem(
            say("there is no table {table}", table=table), _hint(near(table, tuple(CATALOGUE)), "")
        )
    facts = Knowledge()
    rows = rows_of(facts, table)
    if row:
        name = " ".join(row)
        rows = rows_named(facts, table, name)
        if not rows:
            alike = near(name, names_of(facts, table))
            raise errors.UsageProblem(
                say("{table} has no row {name}", table=table, name=name), _hint(alike, f" {table}")
            )
    if output == "json":
        options.show(documents.rows(summary(table), rows, today))
    elif row:
        options.show(report.page(table, rows, today, options.style()))
    else:
        options.show(report.table(summary(table), rows, today, options.style()))


def _hint(alike: tuple[str, ...], table: str) -> str:
    return (
        say("did you mean: {alike}?", alike=", ".join(alike))
        if alike
        else say("`{command}` lists what there is", command=f"envdoctor knowledge{table}")
    )
