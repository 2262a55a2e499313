"""The lines of a text: made plain, and those of them that say something to a rule."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from envdoctor.model.snapshot import Problem

# A longer line is a list or a dump; what it has to say stands at its beginning or its end.
LONGEST = 1200
# What is kept of a text; logs repeat themselves, and the rules look at every line that is kept.
MOST_LINES = 300
MOST_CHARACTERS = 30_000
_GAP = re.compile(r"(?<![.!?])  ")  # of a table; two spaces after a full stop are none
_REPEATED = 3
# Of a text longer than this, repeats are left out before it is read: so many of a kind stay, within so many lines.
_LONG, _ROWS, _NEAR = 100_000, 64, 512
# Windows and mails are at least this wide; a shorter line was ended by its writer.
_WINDOW = 60

_HAN = r"[\u2e80-\u9fff\uff00-\uffef]"
_SEAMS = re.compile(rf"(?<={_HAN})(?=[A-Za-z0-9])|(?<=[A-Za-z0-9])(?={_HAN})")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# Colours whose escape character was lost on the way: [31m, [0;1m.
_COLOURS = re.compile(r"\[(?:(?:[01]|[349]\d);){0,3}(?:[01]|[39]\d)m")
# A quoted line begins with "> "; Python's prompt has three of them, and a space comes after the last.
_QUOTED = re.compile(r"^(?:> ){1,4}|^>(?![>\s=])", re.MULTILINE)
_TAGS = re.compile(
    r"</?(?:details|summary|pre|code|br|p|b|i|em|strong|div|span|li|ul|ol|sub|sup|h[1-6]|blockquote|kbd|table|t[rdh])"
    r"(?: [^<>\n]{0,200})?/?>",
    re.IGNORECASE,
)
_ENTITIES = (
    ("&gt;", ">"),
    ("&lt;", "<"),
    ("&quot;", '"'),
    ("&#39;", "'"),
    ("&#x27;", "'"),
    ("&nbsp;", " "),
    ("&amp;", "&"),
)
# Quotation marks and spaces that word processors and forums put in place of the ones that programs print.
_TYPESET = (
    *(("\u2018", "'"), ("\u2019", "'"), ("\u201c", '"'), ("\u201d", '"')),
    *(("\u00a0", " "), ("\u3000", " "), ("\u202f", " "), ("\u200b", ""), ("\ufeff", "")),
)
# What launchers, engines, docker and loggers put before each line of a program.
_PREFIXES = re.compile(
    r"^(?:\[(?:rank|default|gpu|worker)\s?\d{1,4}\]: ?"
    r"|\(\w{2,40}(?: \w{1,20}=\w{1,20}){0,3},? pid=\d{1,8}(?:, ip=[\d.]{7,15})?\) ?"
    r"|[\w-]{1,40}[-_]\d{1,3} {1,20}\| |#\d{1,4} \d{1,6}\.\d{1,4} "
    r"|\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d[.,\d]{0,12}(?:Z|[+-]\d\d:?\d\d)?:? (?=\S))",
    re.MULTILINE,
)
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


def ended(text: str) -> str:
    """Give the text with the line ends of other systems made line feeds."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def plain(text: str) -> str:
    """Give the text without colours, control characters, marks of quoting and of HTML, and with words apart.

    The number of lines stays.
    """
    text = _ESCAPES.sub("", text)
    if "[0m" in text:  # colours are ended
        text = _COLOURS.sub("", text)
    if "\n>" in text or text.startswith(">"):
        text = _QUOTED.sub("", text)
    if "</" in text or "<br" in text:
        text = _TAGS.sub("", text)
    if "&" in text:
        for name, sign in _ENTITIES:
            text = text.replace(name, sign)
    if not text.isascii():
        for name, sign in _TYPESET:
            text = text.replace(name, sign)
    text = _PREFIXES.sub("", text)
    # Chinese is written without spaces around a foreign word, and its signs count as letters: no word would end there.
    if text.isascii():
        return text
    # Line by line: one sign somewhere in a long log must not make the whole of it be searched.
    return "\n".join(line if line.isascii() else _SEAMS.sub(" ", line) for line in text.split("\n"))


def once(text: str) -> list[int]:
    """Give the numbers of the lines that are worth reading: all of them, or of a long text each kind of line once.

    Numbers do not make another kind. Rows of a table stand together, so the first 64 of a kind are kept where the first
    of them is near. Commands are kept, for the last one counts.
    """
    if len(text) < _LONG:
        return list(range(text.count("\n") + 1))
    for digit in "0123456789":
        text = text.replace(digit, "")  # a fifth of the time of translate
    told: dict[str, tuple[int, int]] = {}
    kept = []
    for number, shape in enumerate(text.split("\n")):
        times, first = told.get(shape, (0, number))
        told[shape] = times + 1, first
        if times < (_ROWS if number - first < _NEAR else 1) or " install" in shape:
            kept.append(number)
    return kept


def holding(text: str, *words: str, after: int = 0) -> str:
    """Give the lines of a text that hold one of the words, each with so many lines behind it.

    Looking for words takes a tenth of the time of asking a regular expression at each place.
    """
    lines = text.split("\n")
    ends = list(accumulate(len(line) + 1 for line in lines))
    found: set[int] = set()
    for word in words:
        place = text.find(word)
        while place >= 0:
            number = bisect_right(ends, place)
            found.update(range(number, min(number + after + 1, len(lines))))
            place = text.find(word, ends[number])
    return "\n".join([lines[number] for number in sorted(found)])


def alarming(line: str) -> bool:
    """Tell whether a line sounds like something went wrong."""
    low = line.lower()
    return any(word in low for word in _ALARMS)


def speaking(raw: list[str], source: str, numbers: Sequence[int]) -> tuple[Problem, ...]:
    """Give each line once, with the name of its text and its number: `numbers` has those of the lines, from 0.

    Of a long text its first and its last lines are kept, and those that sound like trouble; of the latter the first
    and the last ones: causes stand at the beginning of a log, what became of them at its end. Lines that differ from
    earlier ones in numbers only, as a log of training has them, are left out.
    """
    raw = _unwrapped(raw)
    kept = _fill({}, raw, range(len(raw)), MOST_LINES + 1)
    if len(kept) > MOST_LINES:
        loud = _loud(raw)
        raw = _told_once(raw, frozenset(loud))
        kept = _fill({}, raw, range(len(raw)), MOST_LINES + 1)
    if len(kept) > MOST_LINES:
        kept = _fill({}, raw, range(len(raw)), MOST_LINES * 3 // 8)
        kept = _fill(kept, raw, range(len(raw) - 1, -1, -1), MOST_LINES // 2)
        kept = _fill(kept, raw, loud, MOST_LINES * 3 // 4)
        kept = _fill(kept, raw, loud[::-1], MOST_LINES)
    room = MOST_CHARACTERS // max(1, len(kept))
    if sum(map(len, kept)) > MOST_CHARACTERS:
        kept = {line[:room]: number for line, number in kept.items()}
    numbered = sorted((number, line) for line, number in kept.items())
    return tuple(Problem(text=line, source=source, line=numbers[number] + 1) for number, line in numbered)


def _unwrapped(raw: list[str]) -> list[str]:
    """Join a sentence that was broken at the edge of a window; the place of the second half stays empty.

    A long line that ends within a sentence and goes on in small letters is one. Rows of tables have wide gaps.
    """
    whole, last = list(raw), -1
    for number, line in enumerate(raw):
        words = line.strip()
        broken = words[:1].islower() and last >= 0 and len(raw[number - 1].rstrip()) >= _WINDOW
        before = whole[last].rstrip() if broken else ""
        if (
            broken
            and len(before) < LONGEST
            and before[-1:] not in ".:;"
            and not _GAP.search(before.strip())
            and not _GAP.search(words)
        ):
            whole[last], whole[number] = f"{before} {words}", ""
        else:
            last = number
    return whole


def _told_once(raw: list[str], loud: frozenset[int]) -> list[str]:
    """Leave out calm lines that are the third or a later one of their kind: numbers do not make another kind."""
    text = "\n".join(raw)
    for digit in "0123456789":
        text = text.replace(digit, "")  # a fifth of the time of translate
    shapes = text.split("\n")
    seen: dict[str, int] = {}
    once = []
    for number, (line, shape) in enumerate(zip(raw, shapes, strict=True)):
        seen[shape] = seen.get(shape, 0) + 1
        once.append(line if seen[shape] < _REPEATED or number in loud else "")
    return once


def _loud(raw: list[str]) -> list[int]:
    """Give the numbers of the lines that sound like trouble, in order: `alarming` of each, for a long text.

    Each word is looked for in the whole text, which takes a tenth of the time of asking line by line.
    """
    lines = "\n".join(raw).lower().split("\n")
    text = "\n".join(lines)
    ends = list(accumulate(len(line) + 1 for line in lines))
    found: set[int] = set()
    for word in _ALARMS:
        place = text.find(word)
        while place >= 0:
            number = bisect_right(ends, place)
            found.add(number)
            place = text.find(word, ends[number])
    return sorted(found)


def _fill(kept: dict[str, int], raw: list[str], order: Iterable[int], most: int) -> dict[str, int]:
    for number in order:
        if len(kept) >= most:
            break
        line = raw[number].strip()
        if len(line) > LONGEST:
            line = f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
        if line and line not in kept and not line.startswith(_NO_SPEECH):
            kept[line] = number
    return kept


def opening(text: str, most: int = 30_000) -> str:
    """Give the part of a text in which people tell what they have: its beginning and its end, whole lines."""
    if len(text) <= most:
        return text
    return f"{text[: most * 3 // 4].rpartition(chr(10))[0]}\n{text[-most // 4 :].partition(chr(10))[2]}"
