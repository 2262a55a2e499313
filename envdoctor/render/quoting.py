"""Filters: put a text into a shell line, a YAML file, a Dockerfile or a comment so that it stays a text."""

from __future__ import annotations

import json
import re
import shlex
import textwrap

from envdoctor.formats.markdown import plain

_WIDTH = 110
# What a Dockerfile's FROM and a requirement's version are made of; neither format has a way to quote.
_IMAGE = re.compile(r"[A-Za-z0-9][\w./:@-]*")
_ADDRESS = re.compile(r"https?://[\w.:/-]+", re.ASCII)
_POWERSHELL_SAFE = re.compile(r"[\w./:=+-]+", re.ASCII)


def comment(text: object) -> str:
    r"""Give a block of `#` comment lines; nothing of the text can leave it.

    A backslash at a line's end goes away, for some formats join lines there.

    >>> comment("a\nRUN b\\")
    '# a RUN b'
    """
    lines = textwrap.wrap(plain(text), _WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
    return "\n".join(f"# {line}".rstrip(" \\") for line in lines)


def shell(text: object) -> str:
    """Quote one word for a POSIX shell.

    >>> shell("a b"), shell("torch==2.7.1")
    ("'a b'", 'torch==2.7.1')
    """
    return shlex.quote(str(text))


def powershell(text: object) -> str:
    """Quote one word for PowerShell, where a quote inside quotes is doubled and a backslash means itself.

    >>> powershell("it's"), powershell("torch==2.7.1+cu118")
    ("'it''s'", 'torch==2.7.1+cu118')
    """
    word = str(text)
    return word if _POWERSHELL_SAFE.fullmatch(word) else powershell_text(word)


def powershell_text(text: object) -> str:
    """Quote a text for PowerShell where a bare word would be a command.

    >>> powershell_text("it's")
    "'it''s'"
    """
    return "'" + str(text).replace("'", "''") + "'"


def yaml(text: object) -> str:
    r"""Give a double-quoted YAML scalar; JSON's strings are a part of YAML's once what YAML cannot print is escaped.

    >>> yaml("a: #b"), yaml("\x7f\u2028")
    ('"a: #b"', '"\\u007f\\u2028"')
    """
    quoted = json.dumps(str(text).encode("utf-8", "replace").decode(), ensure_ascii=False)
    return "".join(
        c if c.isprintable() else f"\\U{ord(c):08x}" if ord(c) > 0xFFFF else f"\\u{ord(c):04x}" for c in quoted
    )


def json_text(text: object) -> str:
    r"""Give a JSON string of one printable line.

    >>> json_text('a "b"\n\\c')
    '"a \\"b\\" \\\\c"'
    """
    return json.dumps(plain(text), ensure_ascii=False)


def docker_label(text: object) -> str:
    r"""Quote a value for LABEL or ENV: one line, and no `$` that the builder would fill in.

    >>> docker_label('a "$HOME"')
    '"a \\"\\$HOME\\""'
    """
    return '"' + re.sub(r'(["\\$])', r"\\\1", plain(text)) + '"'


def image(name: str) -> str:
    """Give an image's name for FROM, which knows no quotes. Raises ValueError: it is not one."""
    if not _IMAGE.fullmatch(name):
        raise ValueError(f"not the name of an image: {name!r}")
    return name


def address(url: str) -> str:
    """Give an address for a sed expression in a Dockerfile. Raises ValueError: it has more than plain characters."""
    if not _ADDRESS.fullmatch(url):
        raise ValueError(f"not a plain address: {url!r}")
    return url


def word(text: str) -> str:
    """Give a word for a line of requirements, which knows no quotes. Raises ValueError: it is not one."""
    if not text or not text.isprintable() or " " in text or "#" in text:
        raise ValueError(f"not one word: {text!r}")
    return text


def dotted(version: str) -> str:
    """Give a version that is numbers and dots, for places that know no quotes. Raises ValueError: it is not."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)*", version):
        raise ValueError(f"not a version: {version!r}")
    return version


def requirement(line: str) -> str:
    """Give a requirement that pip reads as a name and its versions, for files that know no quotes.

    >>> requirement("torch==2.7.1+cu118")
    'torch==2.7.1+cu118'

    Raises:
        ValueError: pip would read it as something else.
    """
    from packaging.requirements import InvalidRequirement, Requirement  # 20 ms; only where files are rendered

    try:
        parsed = Requirement(word(line))
    except InvalidRequirement as problem:
        raise ValueError(f"not a requirement: {line!r}") from problem
    if parsed.url or parsed.marker or not parsed.specifier:
        raise ValueError(f"not a requirement with versions: {line!r}")
    return line


def conda_match(name: str, match: str) -> str:
    """Give a conda requirement: name=version=build, name==version, or name=3.12 where a series is meant.

    `==` is exact; a single `=` takes every release of that series, which is what python=3.12 and cuda-version=11.8
    mean; with a build behind it the version is exact again
    (https://docs.conda.io/projects/conda-build/en/stable/resources/package-spec.html).

    >>> conda_match("pytorch", "2.5.1=cuda118*"), conda_match("numpy", "2.1.3"), conda_match("python", "3.12")
    ('pytorch=2.5.1=cuda118*', 'numpy==2.1.3', 'python=3.12')

    Raises:
        ValueError: conda would read it as something else.
    """
    if match[:1] in "<>!~" or match.startswith("=="):
        return word(name + match)
    version, _, build = match.lstrip("=").replace("=", " ").partition(" ")
    if build:
        return word(f"{name}={version}={build}")
    series = version.removesuffix(".*")
    exact = series == version and version.count(".") >= 2
    return word(f"{name}=={version}" if exact else f"{name}={series}")
