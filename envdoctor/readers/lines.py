"""The lines of a text: made plain, and those of them that say something to a rule."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Problem

# A longer line is a list or a dump; what it has to say stands at its beginning or its end.
LONGEST = 3000
# What is kept of a text; logs repeat themselves, and the rules look at every line that is kept.
MOST_LINES = 400

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
    """Give the text without colours, control characters and line ends of other systems."""
    if "\x1b" in text or "\x00" in text or not text.isprintable():
        text = _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return text


def alarming(line: str) -> bool:
    """Tell whether a line sounds like something went wrong."""
    low = line.lower()
    return any(word in low for word in _ALARMS)


def speaking(text: str) -> tuple[Problem, ...]:
    """Give each line once, with its number; of a long text those that sound like trouble, and its first ones."""
    seen: set[str] = set()
    kept: list[tuple[int, str]] = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if len(line) > LONGEST:
            line = f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
        if line and line not in seen and not line.startswith(_NO_SPEECH):
            seen.add(line)
            kept.append((number, line))
    if len(kept) > MOST_LINES:
        half = MOST_LINES // 2
        alarms = [each for each in kept if alarming(each[1])]
        if len(alarms) > half:
            alarms = alarms[: half // 2] + alarms[-half // 2 :]
        kept = sorted({*alarms, *kept[: MOST_LINES - len(alarms)]})
    return tuple(Problem(text=line, source=f"report, line {number}") for number, line in kept)


def opening(text: str, most: int = 60_000) -> str:
    """Give the part of a text in which people tell what they have: its beginning and its end, whole lines."""
    if len(text) <= most:
        return text
    return f"{text[: most * 3 // 4].rpartition(chr(10))[0]}\n{text[-most // 4 :].partition(chr(10))[2]}"
