"""The language a person reads. The code speaks English; another language is a catalogue of whole messages (gettext).

A message is a template with named places, and what is put into them is data: `say("{card} is busy", card=name)`. A
message is never put together from pieces of sentences, since another language orders them otherwise.
`tools/refresh_language.py` collects the messages; locale/zh_CN/ holds the Chinese ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gettext import NullTranslations

_catalogue: NullTranslations | None = None


def speak(catalogue: NullTranslations | None) -> None:
    """Let everything said from now on be looked up in that catalogue; None is English, as the code has it."""
    global _catalogue
    _catalogue = catalogue


def language() -> str:
    """Name the language that is spoken, as its catalogue does: zh_CN; the code's own is en."""
    return _catalogue.info().get("language", "en") if _catalogue else "en"


def say(message: str, /, **values: object) -> str:
    """Say a message in the language that was chosen, with the values in its places.

    Without values the text is taken as it stands, braces and all; with values, {{ and }} stand for braces.

    >>> say("{card} is busy", card="GPU 0")
    'GPU 0 is busy'
    """
    text = _catalogue.gettext(message) if _catalogue and message else message
    return text.format_map(values) if values else text


def say_number(one: str, many: str, number: int, /, **values: object) -> str:
    """Say a message about a number of things; {number} is one of its places.

    >>> say_number("one card", "{number} cards", 1), say_number("one card", "{number} cards", 3)
    ('one card', '3 cards')
    """
    text = _catalogue.ngettext(one, many, number) if _catalogue else one if number == 1 else many
    return text.format_map({"number": number, **values})


def message(text: str) -> str:
    """Mark a message that a table holds and that is said later, by `say(table[…])`, so that it is collected."""
    return text
