"""Options that several commands share."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from envdoctor import errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from click.shell_completion import CompletionItem

    from envdoctor.report.text import Style

timeout = click.option(
    "--timeout", type=click.FloatRange(min=0.5), default=20.0, show_default=True, help="Seconds to look; then report."
)
network = click.option(
    "--network", is_flag=True, help="Also connect to the package index and the proxy. Without it all is offline."
)
python = click.option(
    "--python",
    "python",
    metavar="PATH",
    help="Interpreter or environment to judge. Default: the active one (VIRTUAL_ENV, CONDA_PREFIX, else PATH).",
)
mirror = click.option(
    "--mirror", metavar="NAME", help="tuna, aliyun, ustc, bfsu, nju, none, or the address of an index."
)
root = click.option(
    "--root", metavar="DIR", default="/", help="Look at the system mounted below DIR, without running anything of it."
)


def rule_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the code or the slug of a rule, the last one where there are commas between several."""
    from envdoctor.rules.registry import rules

    before, comma, begun = incomplete.rpartition(",")
    names = dict.fromkeys(name for each in rules() for name in (each.id, each.slug, *each.variants))
    return [f"{before}{comma}{name}" for name in names if name.lower().startswith(begun.lower())]


def files(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Let the shell complete the name of a file; click.Path, which does so too, costs a command 1 ms to define."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def _printed_as(*formats: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--format",
        "output",
        type=click.Choice(formats),
        default="text",
        show_default=True,
        help="What to print.",
    )


output_format = _printed_as("text", "json")
page_format = _printed_as("text", "json", "html")
report_format = _printed_as("text", "json", "html", "markdown", "sarif", "junit", "github", "prometheus")


def style(stream: TextIO | None = None, *, verbose: bool = False) -> Style:
    """Dress text for standard output, or another stream.

    Colours are for a terminal that obeys them, never where NO_COLOR is set; FORCE_COLOR asks for them everywhere.
    """
    from envdoctor.report.text import Style

    stream = stream or sys.stdout
    terminal = stream.isatty()
    obeys = terminal and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    forced = os.environ.get("FORCE_COLOR", "") not in ("", "0")
    colour = forced or (obeys and not os.environ.get("NO_COLOR"))
    width = 100
    if terminal:
        try:
            width = os.get_terminal_size(stream.fileno()).columns
        except OSError:
            pass
    if os.environ.get("COLUMNS", "").isdigit():
        width = int(os.environ["COLUMNS"])
    return Style(colour=colour, width=width, verbose=verbose)


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
