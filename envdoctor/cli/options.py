"""Options that several commands share."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from envdoctor import errors

if TYPE_CHECKING:
    from typing import TextIO

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


def style(stream: TextIO | None = None) -> Style:
    """Dress text for standard output, or another stream: colours for a terminal only, never where NO_COLOR is set."""
    from envdoctor.report.text import Style

    stream = stream or sys.stdout
    terminal = stream.isatty()
    colour = (terminal and not os.environ.get("NO_COLOR")) or bool(os.environ.get("FORCE_COLOR"))
    width = 100
    if terminal:
        try:
            width = os.get_terminal_size(stream.fileno()).columns
        except OSError:
            pass
    if os.environ.get("COLUMNS", "").isdigit():
        width = int(os.environ["COLUMNS"])
    return Style(colour=colour, width=width)


def harmless(text: str) -> str:
    """Spell out characters that a terminal would obey, like ESC as u001b: reports and snapshots are anybody's text.

    Colours stay. What is JSON stays the same JSON, for these characters stand inside of its strings only.
    """
    if text.replace("\n", "").isprintable():
        return text
    import re

    # Control characters, and those that turn the direction of writing; ours are ESC [ numbers m.
    obeyed = r"(\x1b\[[\d;]{1,8}m)|([\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069])"
    return re.sub(obeyed, lambda found: found[1] or f"\\u{ord(found[2]):04x}", text)


def show(text: str, stream: TextIO | None = None) -> None:
    """Print text on standard output, or another stream.

    What the terminal's encoding lacks is replaced, what it would obey is spelt out.

    A reader that has left (`envdoctor diagnose | head`) has seen enough: that is no failure, and nobody is there to be
    told. click would make status 1 of it, which means findings here.
    """
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(harmless(text).encode(encoding, "replace").decode(encoding))
        stream.flush()
    except BrokenPipeError:
        # Python would complain when it flushes once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise SystemExit(errors.FINE) from None
