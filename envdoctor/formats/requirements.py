"""Requirements as pip reads them: a line of a file, or the arguments of `pip install`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from msgspec.structs import replace

from envdoctor.formats.shell_words import expanded, known
from envdoctor.model.redaction import without_credentials
from envdoctor.model.snapshot import Declared

# Gives a file that another one names: what to call it, and its text; None: it is not there, or not to be read.
Beside = Callable[[str], "tuple[str, str] | None"]

_INDEX = ("-i", "--index-url", "--default-index")
_MORE = ("--extra-index-url", "--index")
_LINKS = ("-f", "--find-links")
_FILES = ("-r", "--requirement", "--requirements")
# Options of pip and uv that take the next word, which is then no package.
_WITH_VALUE = frozenset(
    (
        "-c",
        "--constraint",
        "--constraints",
        "-e",
        "--editable",
        "-t",
        "--target",
        "--prefix",
        "--root",
        "--src",
        "--platform",
        "--python-version",
        "--implementation",
        "--abi",
        "--cache-dir",
        "--timeout",
        "--retries",
        "--proxy",
        "--cert",
        "--client-cert",
        "--trusted-host",
        "--log",
        "--no-binary",
        "--only-binary",
        "--progress-bar",
        "--upgrade-strategy",
        "--python",
        "-p",
        "--index-strategy",
        "--torch-backend",
        "--config-settings",
        "--global-option",
        "--hash",
        "--exists-action",
        "--python-platform",
        "--link-mode",
        "--keyring-provider",
        "--override",
        "--overrides",
        "--build-constraint",
        "--resolution",
        "--prerelease",
        "--group",
        "--extra",
        "-C",
        "--report",
        "--use-feature",
        "--no-build-isolation-package",
        "--reinstall-package",
        "--refresh-package",
        "-P",
        "--upgrade-package",
    )
)
_LONGEST = 4096  # of a requirement; a line that is longer is none of a person's
_NESTED = 4  # files that name files


class Sources(NamedTuple):
    """Where packages come from: an index in place of pip's own, further ones, and pages of links."""

    main: str | None = None
    more: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


class Arguments(NamedTuple):
    """The words of `pip install`, sorted: what is installed, from where, and the files that say more."""

    packages: tuple[tuple[str, int], ...]
    files: tuple[str, ...]
    sources: Sources
    torch_backend: str | None


def arguments(words: Iterable[tuple[str, int]], before: Sources) -> Arguments:
    """Sort the words after `pip install`. `before` is what variables and files have set; an option goes before it."""
    index, more, links = before
    packages: list[tuple[str, int]] = []
    files: list[str] = []
    backend = None
    rest = iter(words)
    for text, line in rest:
        name, equals, value = text.partition("=")
        if not text.startswith("-"):
            packages.append((text, line))
            continue
        short = re.fullmatch(r"-([irf])(.+)", text)
        if short:
            name, equals, value = f"-{short[1]}", "=", short[2]
        takes = name in _INDEX + _MORE + _LINKS + _FILES or name in _WITH_VALUE
        if takes and not equals:
            value = next(rest, ("", 0))[0]
        if name in _INDEX:
            index = value
        elif name in _MORE:
            more = (*more, *value.split())
        elif name in _LINKS:
            links = (*links, *value.split())
        elif name in _FILES:
            files.append(value)
        elif name == "--torch-backend":
            backend = value
    return Arguments(tuple(packages), tuple(files), Sources(index, more, links), backend)


def requirement(text: str, plain: Declared, sources: Sources) -> Declared | None:
    """Read one requirement; None: it is a path or nothing that names a package.

    A link to a wheel says the version in its file name. What a variable hides gives a package without a known version.
    """
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    text = text.strip()
    if len(text) > _LONGEST:
        return None
    wheel = re.fullmatch(r"([A-Za-z0-9_.]+)-(\d[^-]*)(?:-[^-]+){3,4}\.whl", re.split(r"[/\s@]", text)[-1])
    if wheel:
        version = wheel[2].replace("%2B", "+").replace("%2b", "+")
        return _package(plain, str(canonicalize_name(wheel[1])), f"=={version}", Sources(links=(text,)))
    if text.startswith((".", "/", "-", "git+", "http:", "https:", "file:", "$")):
        return None
    if not known(text):
        name = re.match(r"[A-Za-z0-9][\w.-]*", text)
        return _package(plain, str(canonicalize_name(name[0])), None, sources) if name else None
    try:
        read = Requirement(text)
    except InvalidRequirement:
        return None
    found = _package(plain, str(canonicalize_name(read.name)), str(read.specifier), sources)
    marker = str(read.marker) if read.marker else None
    return replace(found, extras=tuple(sorted(read.extras)), marker=marker)


def _package(plain: Declared, name: str, value: str | None, sources: Sources) -> Declared:
    hidden = [without_credentials(each) for each in (sources.main or "", *sources.more, *sources.links)]
    more = 1 + len(sources.more)
    return replace(
        plain,
        kind="package",
        name=name,
        value=value,
        index=hidden[0] or None,
        more_indexes=tuple(hidden[1:more]),
        links=tuple(hidden[more:]),
    )


def logical(text: str) -> Iterator[tuple[int, str]]:
    """Give the lines of a requirements file with their number: comments off, continued ones joined."""
    joined, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*$", "", raw)
        first = first or number
        if line.rstrip().endswith("\\"):
            joined += line.rstrip()[:-1] + " "
            continue
        if (joined + line).strip():
            yield first, (joined + line).strip()
        joined, first = "", 0
    if joined.strip():
        yield first, joined.strip()


def read(text: str, plain: Declared, beside: Beside, before: Sources | None = None, depth: int = 0) -> list[Declared]:
    """Read a requirements file. Options that name indexes hold for all of its packages, wherever they stand.

    `plain` says the environment and the file; environment variables that it names are not known here.
    """
    lines = text.splitlines()
    sources = before or Sources()
    wanted: list[tuple[int, str]] = []
    files: list[str] = []
    for number, line in logical(text):
        if not line.startswith("-"):
            wanted.append((number, re.split(r"\s--?[a-z]", line)[0]))
            continue
        try:
            words = shlex.split(line)
        except ValueError:
            continue
        sorted_ = arguments(((word, number) for word in words), sources)
        sources, files = sorted_.sources, files + list(sorted_.files)
    found = []
    for number, line in wanted:
        one = replace(plain, line=number, text=shown(lines[number - 1]))
        package = requirement(expanded(line, {}), one, sources)
        found += [package] if package else []
    for name in files if depth < _NESTED else ():
        more = beside(name)
        if more is not None:
            found += read(more[1], replace(plain, file=more[0]), beside, sources, depth + 1)
    return found


def shown(line: str) -> str:
    """Give a line as it may be shown: without its indent, without passwords, and not endless."""
    return without_credentials(line.strip())[:300]


def project(text: str, plain: Declared) -> list[Declared]:
    """Read the dependencies of a pyproject.toml, with the indexes that uv takes them from.

    Raises:
        ValueError: it is no TOML.
    """
    import sys

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    document: dict[str, Any] = tomllib.loads(text)
    table = document.get("project")
    wanted = table.get("dependencies") if isinstance(table, dict) else None
    lines = text.splitlines()
    found = []
    for each in wanted if isinstance(wanted, list) else ():
        number = next((at for at, line in enumerate(lines, 1) if str(each) in line), None)
        if number is None or not isinstance(each, str):
            continue
        one = replace(plain, line=number, text=shown(lines[number - 1]))
        package = requirement(each, one, Sources())
        if package:
            found.append(replace(package, by="uv", index=_uv_index(document, package.name)))
    return found


def _uv_index(document: dict[str, Any], package: str) -> str | None:
    """Give the one index that [tool.uv.sources] names for a package; None: it names none, or several."""
    tool = document.get("tool")
    uv = tool.get("uv") if isinstance(tool, dict) else None
    sources = uv.get("sources") if isinstance(uv, dict) else None
    source = sources.get(package) if isinstance(sources, dict) else None
    indexes = uv.get("index") if isinstance(uv, dict) else None
    if not isinstance(source, dict) or not isinstance(indexes, list):
        return None
    urls = [each.get("url") for each in indexes if isinstance(each, dict) and each.get("name") == source.get("index")]
    return without_credentials(urls[0]) if urls and isinstance(urls[0], str) else None
