"""Write envdoctor/schemas/*.json: the JSON Schema of every document that a command prints.

    python tools/refresh_schemas.py

They come from the records themselves and from report/shapes.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from envdoctor.knowledge.catalogue import CATALOGUE, rows_of
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.snapshot import Snapshot
from envdoctor.report import shapes

FOLDER = Path(__file__).resolve().parent.parent / "envdoctor" / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
SHAPES: dict[str, Any] = {
    "diagnosis": shapes.DiagnosisDocument,
    "rules": shapes.RulesDocument,
    "snapshot": Snapshot,
    "plan": shapes.PlanDocument,
    "conflict": shapes.ConflictDocument,
    "outcomes": shapes.OutcomesDocument,
    "onboarding": shapes.OnboardingDocument,
    "estimate": shapes.EstimateDocument,
    "capacities": shapes.CapacitiesDocument,
    "tuning": shapes.TuningDocument,
    "checks": shapes.ChecksDocument,
    "difference": shapes.DifferenceDocument,
    "run": shapes.RunDocument,
    "tables": shapes.TablesDocument,
}


def schemas() -> dict[str, str]:
    """Give each schema by its name, as it is kept."""
    found = {name: msgspec.json.schema(shape) for name, shape in SHAPES.items()}
    found["rows"] = _rows()
    return {name: _written(name, schema) for name, schema in found.items()}


def _rows() -> dict[str, Any]:
    """Make the schema of a table's rows: they are all of one kind, and which one the table's name says."""
    facts = Knowledge()
    kinds = {name: type(rows_of(facts, name)[0]) for name in CATALOGUE}
    (document, *each), parts = msgspec.json.schema_components(
        (shapes.RowsParts, *kinds.values()), ref_template="#/$defs/{name}"
    )
    whole = parts.pop("RowsParts")
    whole["title"] = "RowsDocument"
    whole["properties"]["rows"] = {"type": "array"}
    whole["required"].append("rows")
    whole["oneOf"] = [
        {"properties": {"table": {"properties": {"name": {"const": name}}}, "rows": {"items": row}}}
        for name, row in zip(kinds, each, strict=True)
    ]
    parts["RowsDocument"] = whole
    return {"$ref": document["$ref"].replace("RowsParts", "RowsDocument"), "$defs": parts}


def _written(name: str, schema: dict[str, Any]) -> str:
    return json.dumps({"$schema": DIALECT, "title": f"envdoctor {name}", **schema}, indent=1) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in schemas().items():
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
