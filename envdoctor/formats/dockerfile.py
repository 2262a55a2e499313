"""A Dockerfile: the images that it builds on, what it installs and sets, each with its line. Nothing is run."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple

from msgspec.structs import replace

from envdoctor.formats import installs
from envdoctor.formats.requirements import Beside, shown
from envdoctor.formats.shell_words import commands, expanded, known
from envdoctor.model.snapshot import STAGES, Declared

_HEREDOC = re.compile(r"<<-?\s*(['\"]?)([A-Za-z_]\w*)\1")
_FLAGS = re.compile(r"(--[a-z][\w-]*(?:=\S+)?\s+)+")


class _Instruction(NamedTuple):
    name: str
    lines: list[tuple[int, str]]  # physical, without the instruction's name, comments and marks of continuation

    @property
    def text(self) -> str:
        return " ".join(text for _, text in self.lines).strip()

    @property
    def line(self) -> int:
        return self.lines[0][0]


class _Stage:
    """A stage while it is read."""

    def __init__(self, parent: int | None, lines: list[Declared], variables: dict[str, str | None]) -> None:
        self.parent = parent
        self.lines = lines
        self.variables = variables
        self.copied: dict[str, str] = {}  # name of a file in the image -> in the folder of the Dockerfile


def read(text: str, plain: Declared, beside: Beside) -> list[list[Declared]]:
    """Give what each chain of stages holds: a stage that another one builds on stands in that one.

    `plain` says the file. `beside` gives the text of a file next to it, which `pip install -r` names.
    """
    lines = {number: shown(line) for number, line in enumerate(text.splitlines(), 1)}
    given: dict[str, str | None] = {}  # ARG before the first FROM
    stages: list[_Stage] = []
    names: dict[str, int] = {}
    for each in _instructions(text):
        one = replace(plain, line=each.line, text=lines.get(each.line, ""))
        if each.name == "FROM":
            if len(stages) == STAGES:
                break
            stages.append(_from(each, one, given, stages, names))
        elif not stages:
            if each.name == "ARG":
                given.update(_pairs(each.text, given))
        else:
            _add(stages[-1], each, one, lines, given, beside)
    built_on = {stage.parent for stage in stages}
    return [stage.lines for number, stage in enumerate(stages) if number not in built_on]


def _from(
    each: _Instruction, one: Declared, given: dict[str, str | None], stages: list[_Stage], names: dict[str, int]
) -> _Stage:
    words = expanded(_FLAGS.sub("", each.text + " ", count=1) if each.text.startswith("--") else each.text, given)
    image, *rest = words.split() or [""]
    parent = names.get(image.lower())
    if len(rest) == 2 and rest[0].lower() == "as":
        names[rest[1].lower()] = len(stages)
    if parent is not None:
        base = stages[parent]
        return _Stage(parent, list(base.lines), dict(base.variables))
    return _Stage(None, [_image(image, one)], {})


def _image(image: str, one: Declared) -> Declared:
    """Cut an image into name and tag; a digest stays with the tag, for it decides what is pulled."""
    plain, _, digest = image.partition("@")
    name, colon, tag = plain.rpartition(":")
    if not colon or "/" in tag:
        name, tag = plain, ""
    name = name.removeprefix("docker.io/").removeprefix("library/")
    value = f"{tag}@{digest}" if digest else tag
    return replace(one, kind="image", by="docker", name=name, value=value if known(image) else None)


def _add(
    stage: _Stage,
    each: _Instruction,
    one: Declared,
    lines: dict[int, str],
    given: dict[str, str | None],
    beside: Beside,
) -> None:
    if each.name == "ARG":
        for name, value in _pairs(each.text, stage.variables).items():
            # A bare name takes the value that it has before the first FROM.
            stage.variables[name] = given.get(name) if value is None else value
    elif each.name == "ENV":
        for number, text in each.lines:
            for name, value in _pairs(text, stage.variables).items():
                stage.variables[name] = value
                at = replace(one, line=number, text=lines.get(number, ""))
                stage.lines.append(replace(at, kind="variable", name=name, value=value, by="docker"))
    elif each.name in ("COPY", "ADD") and "--from" not in each.text:
        words = [word for word in each.text.replace('"', " ").split() if not word.startswith("--")]
        stage.copied.update({word.rpartition("/")[2]: word for word in words[:-1]})
    elif each.name == "RUN":

        def named(path: str) -> tuple[str, str] | None:
            return beside(stage.copied.get(path.rpartition("/")[2], path.rpartition("/")[2]))

        for command in commands(_shell(each, stage.variables)):
            stage.lines += installs.installed(command, one, lines, stage.variables, named)


def _shell(each: _Instruction, variables: dict[str, str | None]) -> list[tuple[int, str]]:
    try:
        words = json.loads(each.text) if each.text.startswith("[") else None
    except (ValueError, RecursionError):
        words = None
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return [(each.line, shlex.join(words))]
    first, *rest = each.lines
    text = _FLAGS.sub("", f"{first[1].lstrip()} ", count=1) if first[1].lstrip().startswith("--") else first[1]
    return [(number, expanded(line, variables)) for number, line in ((first[0], text), *rest)]


def _pairs(text: str, variables: dict[str, str | None]) -> dict[str, str | None]:
    """Read `A=b C="d e"`, or the old form `A b`; None: a name without a value."""
    try:
        words = shlex.split(expanded(text, variables))
    except ValueError:
        return {}
    if len(words) > 1 and "=" not in words[0]:
        return {words[0]: " ".join(words[1:])}
    pairs = (word.partition("=") for word in words)
    return {name: value if equals else None for name, equals, value in pairs if re.fullmatch(r"\w+", name)}


def _instructions(text: str) -> Iterator[_Instruction]:
    from dockerfile_parse import DockerfileParser

    escape, physical = _plain_lines(text)
    parser = DockerfileParser(fileobj=BytesIO("\n".join((*physical, "")).encode()), env_replace=False)
    for each in parser.structure:
        if each["instruction"] == "COMMENT":
            continue
        lines: list[tuple[int, str]] = []
        for number in range(each["startline"], each["endline"] + 1):
            line = physical[number].rstrip()
            if line.lstrip().startswith("#"):
                continue
            line = line.removesuffix(escape)
            lines.append((number + 1, line if lines else line.strip().partition(" ")[2]))
        if lines:
            yield _Instruction(each["instruction"], lines)


def _plain_lines(text: str) -> tuple[str, list[str]]:
    """Write heredocs and blank lines inside of an instruction as the parser knows them; every line keeps its number."""
    directive = re.match(r"(?:\s*#[^\n]*\n)*?\s*#\s*escape\s*=\s*(`)", text)
    escape = "`" if directive else "\\"
    lines = re.sub("[\t\x01]", " ", text).splitlines()
    bare_lines = {line.strip() for line in lines}
    ending: str | None = None
    continued = False
    for at, line in enumerate(lines):
        bare = line.strip()
        if ending is not None:
            # A shell reads each line of a heredoc as a command.
            if bare == ending:
                lines[at], ending = ":", None
            else:
                lines[at] = f"{bare.removesuffix(escape)} {'' if bare.endswith(escape) else ';'} {escape}"
                if not bare or bare.startswith("#"):
                    lines[at] = f": ; {escape}"
            continue
        found = _HEREDOC.search(line) if re.match(r"(?i)\s*run\s", line) or continued else None
        if found and found[2] in bare_lines:
            ending = found[2]
            lines[at] = f"{line[: found.start()]} ; {escape}"
            continue
        if continued and not bare:
            lines[at] = "#"
        elif not bare.startswith("#"):
            continued = bare.endswith(escape)
    return escape, lines
