"""The language of everything that a command prints: `--lang`, else the person's locale."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from envdoctor import language
from envdoctor.model import speech

if TYPE_CHECKING:
    import click

_WIDTH = 60


def choose(arguments: list[str], environ: dict[str, str] | os._Environ[str]) -> None:
    """Speak the language that the arguments or the environment ask for, before click writes its first word.

    The option itself is checked by click, which refuses what is not a language.
    """
    asked = _asked(arguments)
    chosen = asked or language.preferred(environ)
    if chosen not in language.LANGUAGES:
        return
    found = language.catalogue(chosen)
    speech.speak(found)
    if found is not None:
        # click looks its own words up by gettext's rules: this domain, and the list of languages in LANGUAGE.
        import gettext

        gettext.bindtextdomain(language.DOMAIN, language.FOLDER)
        gettext.textdomain(language.DOMAIN)
        environ["LANGUAGE"] = str(language.LANGUAGES[chosen])


def _asked(arguments: list[str]) -> str | None:
    words = 0
    for at, each in enumerate(arguments):
        words += not each.startswith("-")
        if each == "--" or (words > 1 and "run" in arguments[:at]):
            return None  # what follows belongs to the program that `envdoctor run` starts
        if each.startswith("--lang="):
            return each.partition("=")[2]
        if each == "--lang" and at + 1 < len(arguments):
            return arguments[at + 1]
    return None


def translated(command: click.Command) -> click.Command:
    """Give a command with `--lang` and its help in the language that is spoken; click collects help in English."""
    import copy

    import click

    # Chosen before click reads it, so that also what click itself says is in it.
    option = click.Option(
        ["--lang"],
        type=click.Choice(list(language.LANGUAGES)),
        expose_value=False,
        help="Language of what is printed. Default: that of your locale.",
    )
    spoken = copy.copy(command)
    if speech.language() != "en":
        # click counts characters, and a Chinese one takes two columns.
        spoken.context_settings = {**command.context_settings, "max_content_width": _WIDTH}
    spoken.help = _paragraphs(command.help)
    spoken.epilog = _paragraphs(command.epilog)
    spoken.params = [copy.copy(each) for each in (*command.params, option)]
    for each in spoken.params:
        text = getattr(each, "help", None)
        if text:
            each.help = speech.say(text)
    return spoken


def _paragraphs(text: str | None) -> str | None:
    import inspect

    return "\n\n".join(map(_paragraph, inspect.cleandoc(text).split("\n\n"))) if text else None


def _paragraph(text: str) -> str:
    import re

    said = speech.say(text)
    # click puts a blank where a line of a paragraph ends; Chinese has none there. \b begins what keeps its lines.
    return said if "\b" in said else re.sub(r"(?<=[\u3000-\u9fff\uff00-\uffef])\n\s*", "", said)
