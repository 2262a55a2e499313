"""Every document that a command prints is as its schema says, and has no key that its schema does not name."""

from __future__ import annotations

import inspect
import json
import sys
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import page_contents
import pytest
import refresh_schemas
from msgspec.structs import replace

from envdoctor.app.reading import read_snapshot
from envdoctor.cli import run
from envdoctor.cli.schema import SCHEMAS
from envdoctor.knowledge.catalogue import CATALOGUE
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.onboarding import BuiltImage, Made, Onboarding
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.stack import Conflict
from envdoctor.report import documents
from envdoctor.rules.registry import evaluate

MACHINES = Path(__file__).parents[1] / "machines"
NAMES = sorted(each.name for each in MACHINES.iterdir() if each.is_dir())
OLD_DRIVER = str(MACHINES / "cuda118-on-451-windows-wsl2")
Capture = pytest.CaptureFixture[str]


@cache
def validator(name: str, *, closed: bool = True) -> jsonschema.Draft202012Validator:
    schema = json.loads((refresh_schemas.FOLDER / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(_closed(schema) if closed else schema)


def _closed(schema: Any) -> Any:
    """Forbid in a schema every key that it does not name, so that a forgotten one is seen."""
    found = deepcopy(schema)
    for each in found.get("$defs", {}).values():
        if each.get("type") == "object":
            each["additionalProperties"] = False
    return found


def holds(name: str, text: str) -> Any:
    document = json.loads(text)
    validator(name).validate(document)
    return document


def seen(name: str) -> Snapshot:
    return read_snapshot(str(MACHINES / name))


def test_the_schemas_are_made_from_the_records_of_today() -> None:
    made = refresh_schemas.schemas()
    old = [name for name, text in made.items() if text != (refresh_schemas.FOLDER / f"{name}.json").read_text()]
    assert old == [], "run python tools/refresh_schemas.py"


def test_every_document_has_a_schema() -> None:
    public = {name for name, each in vars(documents).items() if inspect.isfunction(each) and name[0] != "_"}
    written = {name for name in public if vars(documents)[name].__module__ == documents.__name__}
    assert written == set(SCHEMAS) == {path.stem for path in refresh_schemas.FOLDER.glob("*.json")}


def test_a_strange_key_is_seen_here_and_allowed_to_readers() -> None:
    document = {"schema_version": 1, "checks": [], "summary": {"ok": 0, "not_met": 0, "unknown": 0, "new": 1}}
    assert [each.validator for each in validator("checks").iter_errors(document)] == ["additionalProperties"]
    validator("checks", closed=False).validate(document)
    assert [each.message for each in validator("checks").iter_errors({"schema_version": 1, "checks": []})] == [
        "'summary' is a required property"
    ]


@pytest.mark.parametrize("name", NAMES)
def test_machines(name: str) -> None:
    machine = seen(name)
    judged = evaluate(machine, Knowledge())
    document = holds("diagnosis", documents.diagnosis(machine, judged))
    assert len(document["findings"]) == len(judged.findings)
    holds("snapshot", documents.snapshot(machine))


def test_everything_a_page_can_show() -> None:
    contents = page_contents.everything()
    assert contents.machine and contents.judged and contents.plan and contents.tuning
    holds("diagnosis", documents.diagnosis(contents.machine, contents.judged))
    holds("snapshot", documents.snapshot(contents.machine))
    assert holds("outcomes", documents.outcomes(contents.outcomes))["outcomes"]
    assert holds("tuning", documents.tuning(contents.tuning))["attempts"]
    for each in contents.estimates:
        holds("estimate", documents.estimate(each))
    holds("plan", documents.plan(contents.plan, ("environment.yml",), ("a.whl",)))
    made = Made(manager="venv", path="x", python="x/bin/python", stack=contents.plan.stack)
    image = BuiltImage(tag="dl", id="sha256:1", size_bytes=1, base="debian@sha256:2", seconds=1.5)
    assert holds("plan", documents.plan(contents.plan, (), made=made, image=image))["image"]["tag"] == "dl"
    done = Onboarding(
        folder="x",
        manager="venv",
        machine=contents.machine,
        judged=contents.judged,
        plan=contents.plan,
        outcomes=contents.outcomes,
    )
    assert holds("onboarding", documents.onboarding(done))["stack"]["framework"]
    conflict = Conflict(summary="nothing fits", reasons=contents.plan.reasons, alternatives=(contents.plan.stack,))
    stopped = replace(done, plan=None, outcomes=(), conflict=conflict)
    assert holds("onboarding", documents.onboarding(stopped))["conflict"]["alternatives"]


@pytest.mark.parametrize(
    ("schema", "status", "words"),
    [
        ("diagnosis", 0, ("diagnose", "--isolated", "--from", OLD_DRIVER, "--ignore", "DRV007")),
        ("diagnosis", 1, ("diagnose", "--isolated", "--from", OLD_DRIVER, "--for", "gpt2:training:batch=32")),
        ("rules", 0, ("diagnose", "--list-rules")),
        ("plan", 0, ("provision", "--gpu", "RTX 3060", "--driver", "535.183.01", "--dry-run")),
        ("plan", 0, ("provision", "--gpu", "RTX 3060", "--driver", "535.183.01", "--mirror", "tuna", "--dry-run")),
        ("plan", 0, ("provision", "--cuda", "cpu", "--framework", "tensorflow", "--os", "linux", "--dry-run")),
        ("conflict", 4, ("provision", "--gpu", "RTX 3060", "--driver", "300.01", "--cuda", "12.8", "--dry-run")),
        ("estimate", 0, ("estimate", "gpt2", "--mode", "training", "--batch", "8", "--memory", "8GiB")),
        ("capacities", 0, ("estimate", "resnet50", "--for-gpus")),
        ("difference", 0, ("diff", OLD_DRIVER, str(MACHINES / "wsl2-rtx3060"))),
        ("tables", 0, ("knowledge",)),
    ],
)
def test_commands(schema: str, status: int, words: tuple[str, ...], capsys: Capture) -> None:
    assert run([*words, "--format", "json"]) == status
    assert holds(schema, capsys.readouterr().out)["schema_version"] == 1


def test_checks(capsys: Capture) -> None:
    run(["check", "--require-ram", "1KiB", "--format", "json"])
    assert holds("checks", capsys.readouterr().out)["checks"]


@pytest.mark.skipif(sys.platform == "win32", reason="`run` needs Linux or macOS")
def test_a_program_that_was_watched(tmp_path: Path) -> None:
    report = tmp_path / "run.json"
    assert run(["run", "--report", str(report), "--", sys.executable, "-c", "raise MemoryError"]) == 1
    assert holds("run", report.read_text())["run"]["status"] == 1


@pytest.mark.parametrize("table", CATALOGUE)
def test_rows_of_every_table(table: str, capsys: Capture) -> None:
    assert run(["knowledge", table, "--format", "json"]) == 0
    document = holds("rows", capsys.readouterr().out)
    assert document["table"]["rows"] == len(document["rows"])


def test_schemas_are_served(capsys: Capture) -> None:
    assert run(["schema"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(SCHEMAS)
    assert run(["schema", "Diagnosis"]) == 0
    assert capsys.readouterr().out == (refresh_schemas.FOLDER / "diagnosis.json").read_text()


def test_a_schema_that_is_not_there(capsys: Capture) -> None:
    assert run(["schema", "../errors"]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (
        "",
        "envdoctor: there is no schema ../errors\n  `envdoctor schema` lists them\n",
    )
