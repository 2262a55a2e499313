"""Shell text as words, each with its line; nothing is run, and variables are put in only where a file sets them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import NamedTuple

# A word that no file holds: it stands before the words of a physical line and tells its number.
_LINE = "\x01"
_MARK = re.compile(f"{_LINE}(\\d+){_LINE}")
_GROWTH = 4096  # characters that variables may add to a line
_SEPARATORS = frozenset(";&|()\n")
_REFERENCE = re.compile(r"(?<!\\)\$(?:(\w+)|\{(\w+)(?:(:?[-+])([^}]*))?\})")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
# Words that stand before a command and leave it what it is.
_BEFORE = frozenset(("sudo", "exec", "time", "then", "do", "else", "if", "while", "!", "{", "env", "command"))
_SHELLS = frozenset(("sh", "bash", "dash", "zsh"))


class Word(NamedTuple):
    """A word and the line that it stands in."""

    text: str
    line: int


def expanded(text: str, variables: Mapping[str, str | None]) -> str:
    """Put variables in as a Dockerfile does; those that are not known stay as they are written.

    >>> expanded("torch==${V:-2.7.1}+$TAG $X", {"TAG": "cu126"})
    'torch==2.7.1+cu126 $X'
    """

    def value(found: re.Match[str]) -> str:
        name, rule, other = found[1] or found[2], found[3], found[4] or ""
        known = variables.get(name)
        if rule and rule.endswith("-") and name not in variables:
            return other
        if rule and rule.endswith("+"):
            return other if known else "" if name in variables else found[0]
        return found[0] if known is None else known

    put_in = _REFERENCE.sub(value, text) if "$" in text else text
    # A variable that names itself twice would double with every line.
    return put_in if len(put_in) <= len(text) + _GROWTH else text


def known(text: str) -> bool:
    """Tell whether a word says what it is, without a variable or a command whose answer only a run would give."""
    return "$" not in text and "`" not in text


def commands(lines: list[tuple[int, str]]) -> Iterator[list[Word]]:
    """Cut the physical lines of a shell text into commands; what has no closing quote is left out.

    `bash -c "…"` is read as what stands in it. Words before a command that change nothing (sudo, `A=b`) are taken off.
    """
    marked = " ".join(f"{_LINE}{number}{_LINE} {text}" for number, text in lines)
    if len(marked) > 1 << 20:
        return
    words = shlex.shlex(marked, posix=True, punctuation_chars=";&|()\n")
    words.whitespace = " \t\r"
    words.whitespace_split = True
    words.commenters = ""
    line = lines[0][0] if lines else 1
    command: list[Word] = []
    try:
        for text in words:
            mark = _MARK.fullmatch(text)
            if mark:
                line = int(mark[1])
            elif text and set(text) <= _SEPARATORS:
                yield from _inner(command)
                command = []
            else:
                command.append(Word(_MARK.sub("", text), line))
    except ValueError:
        return
    yield from _inner(command)


def _inner(command: list[Word]) -> Iterator[list[Word]]:
    bare = list(command)
    while bare and (bare[0].text in _BEFORE or _ASSIGNMENT.match(bare[0].text)):
        bare.pop(0)
    if len(bare) >= 3 and bare[0].text.rpartition("/")[2] in _SHELLS:
        flag = next((at for at, word in enumerate(bare[1:3], 1) if re.fullmatch(r"-\w*c", word.text)), None)
        if flag is not None and flag + 1 < len(bare):
            script = bare[flag + 1]
            yield from commands([(script.line, script.text)])
            return
    if bare:
        yield command


def head(command: list[Word]) -> tuple[dict[str, str], list[Word]]:
    """Give the variables that are set for a command, and the command without what stands before it."""
    own: dict[str, str] = {}
    rest = list(command)
    while rest and (rest[0].text in _BEFORE or _ASSIGNMENT.match(rest[0].text)):
        name, equals, value = rest.pop(0).text.partition("=")
        if equals:
            own[name] = value
    return own, rest
