"""Options that several commands share."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from envdoctor import errors

if TYPE_CHECKING:
    from envdoctor.report.text import Style

timeout = click.option(
    "--timeout", type=click.FloatRange(min=0.5), default=20.0, show_default=True, help="Seconds to look; then report."
)
python = click.option(
    "--python",
    "python",
    metavar="PATH",
    help="Interpreter or environment to judge. Default: the active one (VIRTUAL_ENV, CONDA_PREFIX, else PATH).",
)
root = click.option(
    "--root", metavar="DIR", default="/", help="Look at the system mounted below DIR, without running anything of it."
)
output_format = click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What to print.",
)


def style() -> Style:
    """Dress text for standard output: colours for a terminal only, and never where NO_COLOR is set."""
    from envdoctor.report.text import Style

    terminal = sys.stdout.isatty()
    colour = (terminal and not os.environ.get("NO_COLOR")) or bool(os.environ.get("FORCE_COLOR"))
    width = 100
    if terminal:
        try:
            width = os.get_terminal_size(sys.stdout.fileno()).columns
        except OSError:
            pass
    if os.environ.get("COLUMNS", "").isdigit():
        width = int(os.environ["COLUMNS"])
    return Style(colour=colour, width=width)


def show(text: str) -> None:
    """Print text on standard output; what the terminal's encoding lacks is replaced.

    A reader that has left (`envdoctor diagnose | head`) has seen enough: that is no failure, and nobody is there to be
    told. click would make status 1 of it, which means findings here.
    """
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain when it flushes once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(errors.FINE) from None
