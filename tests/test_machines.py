"""Recorded machines are judged as expected.json says: these findings and no others, in that order.

Each is also saved as a snapshot and recorded once more, and must be the same machine again.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from envdoctor.app.examining import examine
from envdoctor.app.reading import read_snapshot
from envdoctor.host.recorded import RecordedHost
from envdoctor.host.recorder import Recorder, load_recording
from envdoctor.knowledge.load import Knowledge
from envdoctor.report import documents
from envdoctor.rules.registry import evaluate

FOLDER = Path(__file__).parent / "machines"


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must be found: ids in the order in which a person sees them, and words that a finding must hold."""

    findings: tuple[str, ...]  # errors and warnings
    notes: tuple[str, ...]
    says: dict[str, str] = {}  # id -> part of "slug: title"


EXPECTED = msgspec.json.decode((FOLDER / "expected.json").read_bytes(), type=dict[str, Expected])


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir() if path.is_dir()))
def test_a_recorded_machine_is_judged_as_expected(name: str, tmp_path: Path) -> None:
    recorder = Recorder(RecordedHost(load_recording(str(FOLDER / name))))
    machine = examine(recorder)
    assert [gap for gap in machine.gaps if gap.kind == "crashed"] == []

    found = evaluate(machine, Knowledge()).findings
    assert [each.id for each in found if each.severity == "error" and each.certainty != "certain"] == []
    told = {"findings": tuple(each.id for each in found if each.severity != "note")}
    told["notes"] = tuple(each.id for each in found if each.severity == "note")
    expected = EXPECTED[name]
    assert told == {"findings": expected.findings, "notes": expected.notes}, [each.title for each in found]
    titles = {each.id: f"{each.rule}: {each.title}" for each in found}
    assert {code: words for code, words in expected.says.items() if words not in titles[code]} == {}, titles

    saved = tmp_path / "snapshot.json"
    saved.write_text(documents.snapshot(machine), encoding="utf-8")
    assert read_snapshot(str(saved)) == machine

    again = examine(RecordedHost(recorder.recording()))
    assert replace(again, taken_at=machine.taken_at) == machine


def test_every_expectation_has_its_machine() -> None:
    assert set(EXPECTED) == {path.parent.name for path in FOLDER.glob("*/machine.json")}
