from __future__ import annotations

from datetime import date, timedelta

import pytest
from msgspec.structs import replace

from envdoctor.knowledge.age import OLD_AFTER_DAYS, age_reason, days_since, is_old, old_tables
from envdoctor.knowledge.load import Knowledge
from envdoctor.resolver.companions import COMPANIONS

CHECKED = date(2026, 11, 22)


class Dated(Knowledge):
    """Facts of which every table was checked on one day, except torch."""

    def __init__(self, checked: str, torch: str) -> None:
        for attribute in ("architectures", "cuda_families", "driver_branches", "torch_releases"):
            day = torch if attribute == "torch_releases" else checked
            rows = tuple(replace(row, checked=day) for row in getattr(Knowledge(), attribute))
            self.__dict__[attribute] = rows


@pytest.mark.parametrize(("days", "old"), [(0, False), (OLD_AFTER_DAYS, False), (OLD_AFTER_DAYS + 1, True)])
def test_a_table_is_old_after_120_days(days: int, old: bool) -> None:
    assert OLD_AFTER_DAYS == 120
    assert is_old("2026-11-22", CHECKED + timedelta(days)) is old
    assert days_since("2026-11-22", CHECKED + timedelta(days)) == days


def test_the_newest_row_of_a_table_counts() -> None:
    facts = Dated("2026-11-22", "2026-01-01")
    first, *rest = facts.torch_releases
    facts.__dict__["torch_releases"] = (replace(first, checked="2026-11-22"), *rest)
    assert old_tables(facts, ("torch",), CHECKED) == ()


def test_old_tables_come_oldest_first() -> None:
    facts = Dated("2026-02-01", "2026-01-01")
    assert old_tables(facts, ("cuda_families", "torch"), CHECKED) == (
        ("torch", "2026-01-01"),
        ("cuda_families", "2026-02-01"),
    )


def test_the_reason_names_what_is_old_and_nothing_else() -> None:
    reason = age_reason(Dated("2026-11-22", "2026-07-01"), "torch", CHECKED)
    assert reason is not None
    assert reason.choice == "note"
    assert reason.because.startswith("the facts of torch were last checked on 2026-07-01, 144 days ago;")
    assert age_reason(Dated("2026-11-22", "2026-11-22"), "torch", CHECKED) is None


def test_a_framework_is_judged_by_its_own_table() -> None:
    facts = Dated("2026-11-22", "2026-07-01")
    assert age_reason(facts, "jax", CHECKED) is None
    assert age_reason(facts, "tensorflow", CHECKED) is None


def test_old_facts_of_a_companion_are_told() -> None:
    facts = Dated("2026-11-22", "2026-11-22")
    facts.__dict__["vllm_releases"] = tuple(replace(row, checked="2026-06-01") for row in facts.vllm_releases)
    assert age_reason(facts, "torch", CHECKED) is None
    reason = age_reason(facts, "torch", CHECKED, ("vllm", "transformers"))
    assert reason is not None and "the facts of vllm were last checked on 2026-06-01" in reason.because


def test_every_companion_has_its_tables() -> None:
    for name in COMPANIONS:
        age_reason(Dated("2026-11-22", "2026-11-22"), "torch", CHECKED, (name,))
