"""The lines of a text: made plain, and those of them that say something to a rule."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Problem

# A longer line is a list or a dump; what it has to say stands at its beginning or its end.
LONGEST = 1200
# What is kept of a text; logs repeat themselves, and the rules look at every line that is kept.
MOST_LINES = 300
MOST_CHARACTERS = 40_000

_HAN = r"[\u2e80-\u9fff\uff00-\uffef]"
_SEAMS = re.compile(rf"(?<={_HAN})(?=[A-Za-z0-9])|(?<=[A-Za-z0-9])(?={_HAN})")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_ALARMS = (
    "error",
    "fail",
    "warning",
    "fatal",
    "exception",
    "cannot",
    "can't",
    "could not",
    "couldn't",
    "unable",
    "not found",
    "no such",
    "unsupported",
    "not support",
    "not available",
    "not compiled",
    "not built",
    "not recognized",
    "not detected",
    "insufficient",
    "incompatib",
    "mismatch",
    "does not match",
    "missing",
    "killed",
    "illegal instruction",
    "out of memory",
    "undefined symbol",
    "fallen off",
    "too old",
    "falling back",
    "xid",
    "rejected",
    "requires",
    "unknown",
    "invalid",
    "core dumped",
    "timed out",
    "nouveau",
    "找不到",
    "错误",
    "失败",
    "无法",
    "不支持",
)
# Lines of tables and lists of flags, read by the readers themselves.
_NO_SPEECH = ("+---", "|---", "|===", "+===", "  | ")


def plain(text: str) -> str:
    """Give the text without colours, control characters and line ends of other systems, and words apart."""
    if "\x1b" in text or "\x00" in text or not text.isprintable():
        text = _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    # Chinese is written without spaces around a foreign word, and its signs count as letters: no word would end there.
    return text if text.isascii() else _SEAMS.sub(" ", text)


def alarming(line: str) -> bool:
    """Tell whether a line sounds like something went wrong."""
    low = line.lower()
    return any(word in low for word in _ALARMS)


def speaking(text: str) -> tuple[Problem, ...]:
    """Give each line once, with its number; of a long text its first lines, and those that sound like trouble.

    Of the latter the first and the last ones: causes stand at the beginning of a log, what became of them at its end.
    """
    raw = text.split("\n")
    kept = _fill({}, raw, range(len(raw)), MOST_LINES + 1, alarms=False)
    if len(kept) > MOST_LINES:
        kept = _fill({}, raw, range(len(raw)), MOST_LINES // 2, alarms=False)
        kept = _fill(kept, raw, range(len(raw)), MOST_LINES * 3 // 4, alarms=True)
        kept = _fill(kept, raw, range(len(raw) - 1, -1, -1), MOST_LINES, alarms=True)
    room = MOST_CHARACTERS // max(1, len(kept))
    if sum(map(len, kept)) > MOST_CHARACTERS:
        kept = {line[:room]: number for line, number in kept.items()}
    numbered = sorted((number, line) for line, number in kept.items())
    return tuple(Problem(text=line, source=f"report, line {number + 1}") for number, line in numbered)


def _fill(kept: dict[str, int], raw: list[str], order: range, most: int, *, alarms: bool) -> dict[str, int]:
    for number in order:
        if len(kept) >= most:
            break
        line = raw[number].strip()
        if len(line) > LONGEST:
            line = f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
        if line and line not in kept and not line.startswith(_NO_SPEECH) and (not alarms or alarming(line)):
            kept[line] = number
    return kept


def opening(text: str, most: int = 30_000) -> str:
    """Give the part of a text in which people tell what they have: its beginning and its end, whole lines."""
    if len(text) <= most:
        return text
    return f"{text[: most * 3 // 4].rpartition(chr(10))[0]}\n{text[-most // 4 :].partition(chr(10))[2]}"
