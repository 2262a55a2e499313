from __future__ import annotations

import json
from datetime import date
from typing import Any

from msgspec.structs import replace

from envdoctor.knowledge.catalogue import Summary, rows_named
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.tables import Row
from envdoctor.report import documents, knowledge
from envdoctor.report.text import Style

PLAIN = Style(colour=False, width=80)
FACTS = Knowledge()
FRESH = Summary("tensorrt", "TensorRT releases", 7, "2026-11-22", "2026-11-20", 0)
OLD = Summary("jax", "JAX releases", 30, "2026-06-01", "2026-05-01", 5)
TODAY = date(2026, 11, 24)


def checked(table: str, name: str) -> tuple[Row, ...]:
    """The rows of that name as if they had been checked on one day, whenever they really were."""
    return tuple(replace(row, checked="2026-11-22") for row in rows_named(FACTS, table, name))


def test_the_list_of_tables() -> None:
    assert knowledge.tables((FRESH, OLD), TODAY, PLAIN) == (
        "table     rows  newest      oldest      doubtful\n"
        "tensorrt  7     2026-11-22  2026-11-20  -         TensorRT releases\n"
        "jax       30    2026-06-01  2026-05-01  5         JAX releases\n"
        "\n"
        "note: jax was last checked on 2026-06-01, 176 days ago; after 120 days releases\n"
        "  are likely to be missing from it.\n"
        "\n"
        "`envdoctor knowledge TABLE` lists its rows, `envdoctor knowledge TABLE ROW`\n"
        "shows one.\n"
    )


def test_a_table_is_listed_a_line_a_row() -> None:
    rows = FACTS.cudnn_support[:5]
    lines = knowledge.table(Summary("cudnn", "Matrices", 5, "2026-11-22", "2026-11-22", 4), rows, TODAY, PLAIN).split(
        "\n"
    )
    assert lines[0] == "Matrices: 5 rows, 4 doubtful (?)"
    assert lines[2].split() == ["first", "cuda", "last", "capability_min", "driver_linux", "driver_windows"]
    assert lines[3].split() == ["9.28.0", "13", "9.28.0", "7.5", "-", "-", "?"]
    assert lines[6].split() == ["9.17.0", "13.0", "13.1", "9.17.0", "7.5", "580.65.06", "-"]
    assert "12.0 12.1 12.2 12.3 12.4 12.5…" in lines[7]
    assert lines[-2] == "`envdoctor knowledge cudnn 9.28.0 13` shows a row with its source."


def test_a_row_shows_where_it_comes_from() -> None:
    page = knowledge.page("jax", checked("jax", "0.8.0"), TODAY, PLAIN)
    assert page.startswith("jax 0.8.0\n\n  version: 0.8.0\n  released: 2025-10-15\n")
    assert "    - plugin yes, cuda_min -, cudnn nvidia-cudnn-cu13<10.0,>=9.12.0.46," in page
    assert page.endswith(
        "  source:  pkg:pypi/jax@0.8.0\n"
        "  how:     read in the metadata of the package\n"
        "  checked: 2026-11-22, 2 days ago\n"
        "  doubt:   of cuda12 capability: the pin lets pip take cuDNN 9.11 or newer,\n"
        "           which serves no capability below 7.5: pin nvidia-cudnn-cu12<9.11\n"
        "           there\n"
    )


def test_a_row_without_doubt_says_so() -> None:
    page = knowledge.page("tensorflow", checked("tensorflow", "2.15.0"), date(2026, 11, 22), PLAIN)
    assert "  checked: 2026-11-22, today\n  doubt:   none known\n" in page
    assert "windows_gpu: no\n" in page
    page = knowledge.page("tensorflow", checked("tensorflow", "2.13.0"), date(2026, 11, 23), PLAIN)
    assert "  checked: 2026-11-22, 1 day ago\n" in page
    assert "  and_cuda: -\n  keras_major: 2\n" in page
    assert "  ml_dtypes: none\n" in page


def test_several_rows_are_shown_one_after_the_other() -> None:
    page = knowledge.page("cudnn_packages", rows_named(FACTS, "cudnn_packages", "9.10.2.21"), TODAY, PLAIN)
    assert page.count("  source:  ") == 2
    assert "\n\ncudnn_packages nvidia-cudnn-cu11 9.10.2.21\n" in page


def test_the_documents() -> None:
    listed: dict[str, Any] = json.loads(documents.tables((FRESH, OLD), TODAY))
    assert listed["schema_version"] == 1
    assert [(each["name"], each["age_days"], each["old"]) for each in listed["tables"]] == [
        ("tensorrt", 2, False),
        ("jax", 176, True),
    ]
    held = json.loads(documents.rows(OLD, rows_named(FACTS, "jax", "0.7.0"), TODAY))
    assert held["table"]["doubtful"] == 5
    assert held["rows"][0]["cuda13"]["plugin"] is False
    assert held["rows"][0]["source"] == "pkg:pypi/jax@0.7.0"
