"""environment.yml: its channels, its packages and what pip adds, each with its line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from envdoctor.formats import requirements
from envdoctor.formats.requirements import Sources, shown
from envdoctor.model.redaction import without_credentials
from envdoctor.model.snapshot import Declared
from envdoctor.model.speech import say

if TYPE_CHECKING:
    import yaml

_MATCH = re.compile(r"(?:(?P<channel>[^\s:]+)::)?(?P<name>[A-Za-z0-9_][\w.-]*)\s*(?P<rest>[=<>!~ ].*|\[.*)?")


_LONGEST = 4096  # of a match


class Malformed(Exception):
    """The text is no environment file; says where it stops being one."""


def match_spec(text: str, plain: Declared) -> Declared | None:
    """Read a conda match: `pytorch=2.5.1=cuda118*`, `conda-forge::numpy<2`; None: it names no package."""
    found = _MATCH.fullmatch(text.strip()) if len(text) < _LONGEST else None
    if found is None:
        return None
    value = (found["rest"] or "").strip()
    return replace(
        plain,
        kind="package",
        by="conda",
        name=found["name"].lower(),
        value=None if "$" in value else value,
        channel=found["channel"],
    )


def read(text: str, plain: Declared) -> list[Declared]:
    """Read an environment file without making objects of it: only its words and where they stand.

    Raises:
        Malformed: it is no YAML, or no list of packages.
    """
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        words = str(problem.problem)
        if mark:
            words = say("line {line}: {problem}", line=mark.line + 1, problem=words)
        raise Malformed(words) from None
    except RecursionError:
        raise Malformed(say("it is nested too deeply")) from None
    except (yaml.YAMLError, ValueError) as problem:
        raise Malformed(str(problem).partition("\n")[0]) from None
    parts = _parts(root)
    lines = text.splitlines()
    dependencies = parts.get("dependencies")
    if not isinstance(dependencies, yaml.SequenceNode):
        raise Malformed(say("it has no list of `dependencies`"))
    return [*_channels(parts.get("channels"), plain, lines), *_packages(dependencies, plain, lines)]


def _parts(root: yaml.Node | None) -> dict[str, yaml.Node]:
    import yaml

    if not isinstance(root, yaml.MappingNode):
        return {}
    return {str(key.value): value for key, value in root.value if isinstance(key, yaml.ScalarNode)}


def _at(node: yaml.Node, plain: Declared, lines: list[str]) -> Declared:
    number = node.start_mark.line
    return replace(plain, line=number + 1, text=shown(lines[number]) if number < len(lines) else "")


def _channels(node: yaml.Node | None, plain: Declared, lines: list[str]) -> list[Declared]:
    import yaml

    if not isinstance(node, yaml.SequenceNode):
        return []
    return [
        replace(_at(each, plain, lines), kind="channel", by="conda", name=without_credentials(str(each.value)))
        for each in node.value
        if isinstance(each, yaml.ScalarNode)
    ]


def _packages(node: yaml.SequenceNode, plain: Declared, lines: list[str]) -> list[Declared]:
    import yaml

    found: list[Declared] = []
    for each in node.value:
        if isinstance(each, yaml.ScalarNode):
            package = match_spec(str(each.value), _at(each, plain, lines))
            found += [package] if package else []
            continue
        pip = _parts(each).get("pip")
        if isinstance(pip, yaml.SequenceNode):
            found += _pip([item for item in pip.value if isinstance(item, yaml.ScalarNode)], plain, lines)
    return found


def _pip(nodes: list[yaml.ScalarNode], plain: Declared, lines: list[str]) -> list[Declared]:
    words = [(word, node.start_mark.line + 1) for node in nodes for word in _words(str(node.value))]
    read = requirements.arguments(words, Sources())
    found = []
    for text, number in read.packages:
        one = replace(plain, by="pip", line=number, text=shown(lines[number - 1]) if number <= len(lines) else "")
        package = requirements.requirement(text, one, read.sources)
        found += [package] if package else []
    return found


def _words(text: str) -> list[str]:
    """Give an option with its value as words, and a requirement, which may hold spaces, as one."""
    return text.split() if text.startswith("-") else [text]
