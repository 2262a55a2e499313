"""What drivers, CUDA, PyTorch and containers print, each in the words of its software, alone and as people paste it.

`tests/reports/announced/*.txt` holds, below `== slug`, texts parted by `--`. Each has to be named first as it stands,
and again inside what surrounds such lines on trackers and forums.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path

import pytest

from envdoctor.knowledge.load import Knowledge
from envdoctor.readers import read
from envdoctor.rules.registry import evaluate

FOLDER = Path(__file__).parent.parent / "reports" / "announced"
FACTS = Knowledge()


def _texts() -> list[tuple[str, str]]:
    found = []
    for path in sorted(FOLDER.glob("*.txt")):
        for section in path.read_text(encoding="utf-8").split("== ")[1:]:
            slug, _, body = section.partition("\n")
            found += [(slug, text) for text in body.strip("\n").split("\n--\n")]
    return found


def _each(text: str, before: str, after: str = "") -> str:
    return "\n".join(f"{before}{line}{after}" if line else line for line in text.split("\n"))


def _form(text: str) -> str:
    return (
        f"### Describe the issue\n\nIt stops with this:\n\n```\n{text}\n```\n\n### Expected behavior\n\n_No response_\n"
    )


def _details(text: str) -> str:
    return f"<details>\n<summary>The output</summary>\n\n<pre>\n{html.escape(text)}\n</pre>\n</details>\n"


def _chinese(text: str) -> str:
    return f"大家好，请问这个问题怎么解决？\n\n{text}\n\n已经试过重装，谢谢！"


def _traceback(text: str) -> str:
    calls = "".join(f'  File "/srv/app/step_{n}.py", line {n}, in run\n    step_{n}(model)\n' for n in range(1, 9))
    return f"Traceback (most recent call last):\n{calls}{text}\n"


def _long(text: str) -> str:
    steps = "\n".join(f"step {n}/900 | loss 0.{n:03}" for n in range(420))
    return f"{text}\n{steps}\n"


SURROUNDINGS: dict[str, Callable[[str], str]] = {
    "form": _form,
    "quoted": lambda text: _each(text, "> "),
    "details": _details,
    "coloured": lambda text: _each(text, "\x1b[1;31m", "\x1b[0m"),
    "windows line ends": lambda text: text.replace("\n", "\r\n"),
    "rank": lambda text: _each(text, "[rank0]: "),
    "engine": lambda text: _each(text, "(EngineCore_DP0 pid=1234) "),
    "time": lambda text: _each(text, "2025-03-01T10:20:30.123456Z "),
    "compose": lambda text: _each(text, "app-1  | "),
    "indented": lambda text: _each(text, "    "),
    "chinese": _chinese,
    "traceback": _traceback,
    "long": _long,
    "typeset": lambda text: text.replace("'", "\u2019").replace("  ", "\u00a0\u00a0"),
}


def _judge(slug: str, text: str) -> str | None:
    """Tell what was said in place of the cause; None: it came first, or a healthy report stayed quiet."""
    diagnosis = evaluate(read(text), FACTS)
    slugs = [finding.rule for finding in diagnosis.findings]
    if diagnosis.count("error") + diagnosis.count("warning") > 3:
        return f"too much: {slugs}"
    right = diagnosis.count("error") == 0 if slug == "healthy" else slugs[:1] == [slug]
    return None if right else str(slugs)


@pytest.mark.parametrize("slug", sorted({slug for slug, _ in _texts()}))
def test_the_cause_is_named_first_as_software_announces_it(slug: str) -> None:
    wrong = {text: said for each, text in _texts() if each == slug and (said := _judge(slug, text)) is not None}
    assert wrong == {}


@pytest.mark.parametrize("number", range(len(SURROUNDINGS)), ids=list(SURROUNDINGS))
def test_what_surrounds_the_lines_changes_nothing(number: int) -> None:
    around = list(SURROUNDINGS.values())[number]
    some = _texts()[number :: len(SURROUNDINGS)]
    wrong = {text: said for slug, text in some if (said := _judge(slug, around(text))) is not None}
    assert wrong == {}
