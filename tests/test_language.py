"""Everything a person reads exists in Simplified Chinese, with the same values, commands and names in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import refresh_language
from babel.messages.catalog import Message

from envdoctor import language
from envdoctor.app.examining import examine
from envdoctor.host.recorded import RecordedHost
from envdoctor.host.recorder import load_recording
from envdoctor.knowledge.load import Knowledge
from envdoctor.model import speech
from envdoctor.rules.registry import evaluate, rules

MACHINES = Path(__file__).parent / "machines"
CHINESE = re.compile(r"[\u4e00-\u9fff]")
CODES = [each for each in language.LANGUAGES.values() if each]


def _pairs(code: str) -> Iterator[tuple[str, str]]:
    """Give every message with its translation, plurals one by one."""
    for each in refresh_language.read(code):
        if each.id:
            yield from _both(each)


def _both(each: Message) -> Iterator[tuple[str, str]]:
    ids = each.id if isinstance(each.id, (tuple, list)) else (each.id,)
    texts = each.string if isinstance(each.string, (tuple, list)) else (each.string,)
    for text in texts:
        yield ids[-1], str(text)


@pytest.mark.parametrize("code", CODES)
def test_the_catalogue_holds_the_messages_of_today(code: str) -> None:
    # What click says depends on its version.
    today = {message for message, where in refresh_language.messages().items() if not where.startswith("click/")}
    kept = {
        each.id: each.string
        for each in refresh_language.read(code)
        if each.id and not all(where.startswith("click/") for where, _ in each.locations)
    }
    # `python tools/refresh_language.py` brings both up to date.
    assert {tuple(each) if isinstance(each, list) else each for each in kept} == today
    compiled = language.catalogue("zh")
    assert compiled is not None
    assert [each for each, text in kept.items() if isinstance(each, str) and compiled.gettext(each) != text] == []


@pytest.mark.parametrize("code", CODES)
def test_every_message_is_translated_and_none_in_doubt(code: str) -> None:
    missing = [message for message, text in _pairs(code) if not text.strip()]
    assert missing == []
    assert [each.id for each in refresh_language.read(code) if each.fuzzy] == []


@pytest.mark.parametrize("code", CODES)
def test_a_translation_has_the_places_of_its_message(code: str) -> None:
    def places(text: str) -> list[str]:
        return sorted(set(re.findall(r"\{[^{}]*\}", text.replace("{{", "").replace("}}", ""))))

    broken = {message: text for message, text in _pairs(code) if places(message) != places(text)}
    assert broken == {}


@pytest.mark.parametrize("code", CODES)
def test_commands_and_names_stand_in_a_translation_as_they_are(code: str) -> None:
    def kept(text: str) -> list[str]:
        return sorted(re.findall(r"`[^`]+`|--[a-z][a-z-]+|https?://[\w./-]*[\w/]|\b[A-Z]+_[A-Z_]+\b", text))

    broken = {message: text for message, text in _pairs(code) if kept(message) != kept(text)}
    assert broken == {}


def test_nothing_is_decided_by_what_is_said() -> None:
    """Another language would decide otherwise, so no comparison has a said text in it."""
    decided = [
        f"{path.name}:{node.lineno}"
        for path in (refresh_language.ROOT / "envdoctor").rglob("*.py")
        if "workloads" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Compare) and _says(node))
        or (
            isinstance(node, ast.GeneratorExp)
            and isinstance(node.elt, ast.Compare)
            and any(_says(each.iter) for each in node.generators)
        )
    ]
    assert decided == []


def _says(node: ast.AST) -> bool:
    return any(
        isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id in ("say", "say_number")
        for each in ast.walk(node)
    )


@pytest.fixture
def chinese() -> Iterator[None]:
    speech.speak(language.catalogue("zh"))
    yield
    speech.speak(None)


@pytest.mark.usefixtures("chinese")
def test_pages_of_rules_are_chinese() -> None:
    assert [rule.id for rule in rules() if not CHINESE.search(rule.title) or not CHINESE.search(rule.page)] == []


@pytest.mark.usefixtures("chinese")
def test_machines_are_judged_in_chinese() -> None:
    machines = [
        examine(RecordedHost(load_recording(str(path)))) for path in sorted(MACHINES.iterdir()) if path.is_dir()
    ]
    said = [
        text
        for machine in machines
        for finding in evaluate(machine, Knowledge()).findings
        for text in (finding.title, finding.detail, finding.needs, *(fix.summary for fix in finding.fixes))
        if text
    ]
    assert len(said) > 2 * len(machines)
    assert [text for text in said if not CHINESE.search(text)] == []
