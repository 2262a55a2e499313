"""Write envdoctor/cli/help.txt, the first page of the command line, as click draws it at 80 columns."""

from __future__ import annotations

from pathlib import Path

from envdoctor.cli.commands import envdoctor
from envdoctor.cli.language import translated

PAGE = Path(__file__).resolve().parent.parent / "envdoctor" / "cli" / "help.txt"


def page() -> str:
    """Draw the page."""
    command = translated(envdoctor)
    context = command.make_context("envdoctor", [], resilient_parsing=True, terminal_width=80)
    return command.get_help(context) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
