"""Whatever `diagnose --from` is handed, it answers or says one line; what it says can be shown and read back.

What the long search found (`--hypothesis-profile hour`) is kept below as examples.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from envdoctor import errors
from envdoctor.app.examining import examine
from envdoctor.app.reading import read_snapshot
from envdoctor.cli.options import harmless
from envdoctor.host.recorded import RecordedHost
from envdoctor.host.recorder import load_recording
from envdoctor.knowledge.load import Knowledge
from envdoctor.report import documents, text
from envdoctor.rules.registry import evaluate

HERE = Path(__file__).parents[1]
FACTS = Knowledge()
REPORTS = [path.read_text(encoding="utf-8") for path in sorted((HERE / "reports").glob("*/*.txt"))]
LINES = sorted({line for report in REPORTS for line in report.splitlines() if line.strip()})
WORDS = sorted({word for line in LINES for word in re.split(r"\s+", line) if word})
MACHINES = ("workstation-cuda12", "wsl2-rtx3060", "container-small-shm", "conda-numpy2-torch21")
SAVED = [
    json.loads(documents.snapshot(examine(RecordedHost(load_recording(str(HERE / "machines" / name))))))
    for name in MACHINES
]
NUMBERS = ("", "0", "-1", "9" * 30, "1e309", "NaN", "७", "²", "12.8.0.0.0", "0.0", "v12", "12.", ".8", "007", "1,024")
JUNK = (
    "\0",
    "\x1b[2J",
    "\x9b31m",
    "\ufeff",
    "\r",
    "\u2028",
    "\u202e",
    "\U0001f525",
    "显卡",
    "\ud7ff",
    "\t" * 9,
    "(" * 60,
)

slow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def judged(content: bytes) -> None:
    """Do what `diagnose --from` does, and hold its answer to what every answer must be."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            machine = read_snapshot(file.name)
        except errors.Unreadable as problem:
            assert "\n" not in problem.message
            return
    diagnosis = evaluate(machine, FACTS)
    assert all(finding.evidence for finding in diagnosis.findings)
    shown = harmless(text.diagnosis(machine, diagnosis, text.Style(colour=False, width=80)))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    document = documents.diagnosis(machine, diagnosis)
    assert json.loads(harmless(document)) == json.loads(document)
    with tempfile.NamedTemporaryFile() as file:
        file.write(document.encode())
        file.flush()
        assert read_snapshot(file.name) == machine
    assert evaluate(machine, FACTS) == diagnosis


@st.composite
def spoiled_reports(draw: st.DrawFn) -> str:
    """Take real reports apart and put them together wrongly: lines lost, moved, cut and filled with other words."""
    lines: list[str] = []
    for _ in range(draw(st.integers(1, 3))):
        whole = draw(st.sampled_from(REPORTS)).splitlines()
        begin = draw(st.integers(0, len(whole)))
        lines += whole[begin : begin + draw(st.integers(1, 60))]
    lines += draw(st.lists(st.sampled_from(LINES), max_size=8))
    for _ in range(draw(st.integers(0, 12))):
        if not lines:
            break
        at = draw(st.integers(0, len(lines) - 1))
        lines[at] = draw(_spoiled(lines[at]))
    return draw(st.sampled_from(("\n", "\n", "\r\n", "\n\n", " "))).join(lines)


@st.composite
def _spoiled(draw: st.DrawFn, line: str) -> str:
    kind = draw(st.sampled_from(("cut", "number", "word", "junk", "twice", "gone")))
    at = draw(st.integers(0, len(line)))
    if kind == "cut":
        return line[:at]
    if kind == "number":
        other = draw(st.sampled_from(NUMBERS))
        return re.sub(r"\d+(?:\.\d+)*", lambda _: other, line, count=draw(st.integers(0, 2)))
    if kind == "word":
        return f"{line[:at]} {draw(st.sampled_from(WORDS))} {line[at:]}"
    if kind == "junk":
        return line[:at] + draw(st.one_of(st.sampled_from(JUNK), st.text(max_size=6))) + line[at:]
    return line * 2 if kind == "twice" else ""


@slow
@given(spoiled_reports(), st.sampled_from(("utf-8", "utf-8", "utf-8", "utf-16", "latin-1", "utf-8-sig")))
@example("OS: \x9b31m Ubuntu 22.04\nRuntimeError: \x9b2J no CUDA", "utf-8")
def test_a_hostile_report(report: str, encoding: str) -> None:
    judged(report.encode(encoding, "replace"))


@slow
@given(st.binary(max_size=300))
def test_hostile_bytes(content: bytes) -> None:
    judged(content)


JSON_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(NUMBERS + JUNK),
        st.text(max_size=8),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def spoiled_snapshots(draw: st.DrawFn) -> bytes:
    """Change a saved machine anywhere: to another value of the same kind, to any value, or to nothing."""
    document = json.loads(json.dumps(draw(st.sampled_from(SAVED))))
    for _ in range(draw(st.integers(1, 5))):
        _spoil(draw, document)
    content = json.dumps(document, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    return content[: draw(st.integers(0, len(content)))] if draw(st.integers(0, 9)) == 0 else content


def _spoil(draw: st.DrawFn, held: Any) -> None:
    while True:
        keys = list(held) if isinstance(held, dict) else list(range(len(held)))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        if not isinstance(held[key], (dict, list)) or not held[key] or draw(st.integers(0, 9)) == 0:
            break
        held = held[key]
    old = held[key]
    if isinstance(old, str) and draw(st.booleans()):
        held[key] = draw(st.one_of(st.sampled_from(NUMBERS + JUNK), st.sampled_from(WORDS), st.text(max_size=8)))
    elif isinstance(old, (int, float)) and not isinstance(old, bool) and draw(st.booleans()):
        held[key] = draw(st.sampled_from((0, 1, -1, 2**31, 2**63 - 1, -(2**63), 2**64, 10**30)))
    elif draw(st.booleans()):
        del held[key]
    else:
        held[key] = draw(JSON_VALUES)


@slow
@given(spoiled_snapshots())
@example(json.dumps({"schema_version": 1, "gpus": [{"vendor": "nvidia", "name": "\x1b]0;owned\x07"}]}).encode())
def test_a_hostile_snapshot(content: bytes) -> None:
    judged(content)


def test_what_a_terminal_would_obey_is_spelt_out_and_colours_stay() -> None:
    assert harmless("\x1b[31mred\x1b[0m\n\tplain é 显卡\n") == "\x1b[31mred\x1b[0m\n\tplain é 显卡\n"
    assert harmless("a\x1b]0;title\x07b\x9b2Jc\rd\u202ee") == r"a\u001b]0;title\u0007b\u009b2Jc\u000dd\u202ee"
