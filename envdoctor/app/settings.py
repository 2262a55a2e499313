"""Settings files: what a project or a person does not want to hear of, with a reason."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from envdoctor import errors
from envdoctor.model.speech import say
from envdoctor.rules.system.selection import Ignore

# Larger is no settings file; a project's own is some kilobytes.
LARGEST_FILE = 1 << 20

# A project that says nothing to envdoctor must not pay for reading TOML: [tool.envdoctor], or [tool] with it inside.
_SPEAKS = re.compile(rb"""tool["']?\s*\.\s*["']?envdoctor|^\s*["']?envdoctor["']?\s*(?:\.|=\s*\{)""", re.MULTILINE)


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    """An item of `ignore`."""

    rule: str
    reason: str


class _Settings(msgspec.Struct, forbid_unknown_fields=True):
    """The whole of a settings file, or the table tool.envdoctor of a project's."""

    ignore: list[_Entry] = []


def ignores(files: Iterable[str]) -> tuple[Ignore, ...]:
    """Read what the files want to be ignored; a `pyproject.toml` is a project's, any other a person's own.

    Raises:
        errors.Unreadable: a file cannot be read, is no TOML, or says something else.
    """
    return tuple(
        Ignore(each.rule, each.reason.strip(), path) for path in files for each in _settings(path, _read(path)).ignore
    )


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as problem:
        raise errors.Unreadable(
            say("{path} cannot be read: {strerror}", path=path, strerror=problem.strerror)
        ) from None
    if len(content) > LARGEST_FILE:
        raise errors.Unreadable(
            say(
                "{path} is larger than {largest_file} MiB, so it holds no settings",
                path=path,
                largest_file=LARGEST_FILE >> 20,
            )
        )
    return content


def _settings(path: str, content: bytes) -> _Settings:
    project = os.path.basename(path) == "pyproject.toml"
    if project and not _SPEAKS.search(content):
        return _Settings()
    document: Any = _parsed(path, content)
    if project:
        tool = document.get("tool", {})
        document = tool.get("envdoctor", {}) if isinstance(tool, Mapping) else {}
    where = f"{path}: [tool.envdoctor]" if project else path
    try:
        found = msgspec.convert(document, _Settings)
    except msgspec.ValidationError as problem:
        raise errors.Unreadable(
            say("{where} is not as it should be: {problem}", where=where, problem=problem),
            say('write ignore = [{rule = "DRV007", reason = "why"}]'),
        ) from None
    bare = next((each.rule for each in found.ignore if not each.reason.strip()), None)
    if bare is not None:
        raise errors.Unreadable(
            say("{where} ignores {bare} without a reason", where=where, bare=bare),
            say("say why, for whoever reads it next"),
        )
    return found


def _parsed(path: str, content: bytes) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        document: dict[str, Any] = tomllib.loads(content.decode("utf-8"))
        return document
    except UnicodeDecodeError:
        raise errors.Unreadable(say("{path} is not UTF-8, which TOML must be", path=path)) from None
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        raise errors.Unreadable(say("{path} is not valid TOML: {problem}", path=path, problem=problem)) from None
