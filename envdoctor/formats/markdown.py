"""Markdown: put a text into it so that it stays that text."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"[\\`*\[\]<|]")
# What opens a heading, a list, a quotation, a fence or a rule at the beginning of a line.
_BLOCK = re.compile(r"^(\d+(?=[.)](?:\s|$)))?([#+>~=.)-])")
# What GitHub makes of a text beyond Markdown: @name calls a person, #12 and name#12 name an issue, $ opens a formula.
_CALLS = re.compile(r"@(?=\w)|#(?=\d)")
_EMPHASIS = re.compile(r"(?<![^\W_])_|_(?![^\W_])|~")


def plain(text: object) -> str:
    r"""Give a text as one printable line: every line break, control character and text-direction mark is a space.

    >>> plain("a\n b\x85c\u202ed")
    'a b c d'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def escaped(text: object) -> str:
    r"""Give text that Markdown shows as it is: no tags, links, code, table cells, headings or lists of its own.

    >>> escaped("<b> [x](y)"), escaped("# 1"), escaped("2.7.1"), escaped("1. a")
    ('&lt;b> \\[x\\](y)', '\\# 1', '2.7.1', '1\\. a')
    """
    line = _SPECIAL.sub(lambda found: "&lt;" if found.group() == "<" else "\\" + found.group(), plain(text))
    return _BLOCK.sub(r"\1\\\2", line)


def posted(text: object) -> str:
    r"""Give text for an issue, where besides it calls nobody by @name, names no other issue and is no formula.

    >>> posted("by @ann, see #12"), posted("C# of $HOME"), posted("__init__ of LD_LIBRARY_PATH")
    ('by @<!-- -->ann, see #<!-- -->12', 'C# of <span>$</span>HOME', '\\_\\_init\\_\\_ of LD_LIBRARY_PATH')
    """
    line = _EMPHASIS.sub(r"\\\g<0>", escaped(text).replace("\\~", "~"))
    return _CALLS.sub(r"\g<0><!-- -->", line).replace("$", "<span>$</span>")


def code(text: object) -> str:
    """Give a text as code in a line; its fence is longer than any run of backticks in it.

    >>> code("pip install 'a<2'"), code("a`b"), code("`")
    ("`pip install 'a<2'`", '``a`b``', '`` ` ``')
    """
    line = plain(text)
    fence = _fence(line, 1)
    room = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{room}{line}{room}{fence}"


def block(lines: str, language: str = "") -> str:
    r"""Give lines as a block of code that none of them can end.

    >>> block("a\nb", "sh")
    '```sh\na\nb\n```'
    """
    fence = _fence(lines, 3)
    return f"{fence}{language}\n{lines.rstrip()}\n{fence}"


def link(source: object) -> str:
    """Give a source for Markdown: a web address as a link, anything else as text.

    >>> link("https://example.org/a"), link("pkg:pypi/torch@2.7.1"), link("https://a> <script>")
    ('<https://example.org/a>', 'pkg:pypi/torch@2.7.1', 'https://a> &lt;script>')
    """
    text = plain(source)
    return f"<{text}>" if re.fullmatch(r"https://[^\s<>]+", text) else escaped(text)


def _fence(text: str, least: int) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)
