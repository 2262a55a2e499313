"""A plan by old facts says so; one by fresh facts is what the resolver gave."""

from __future__ import annotations

from datetime import date

from envdoctor.app.planning import plan
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.stack import Conflict, Plan, Request, Target, TargetGpu
from envdoctor.resolver.choice import resolve

FACTS = Knowledge()
CHECKED = max(row.checked for row in FACTS.torch_releases)
FRESH = date.fromisoformat(CHECKED)
LATER = date(FRESH.year + 1, FRESH.month, FRESH.day)


def test_fresh_facts_add_nothing() -> None:
    assert plan(Request(), Target(), FACTS, FRESH) == resolve(Request(), Target(), FACTS)


def test_old_facts_are_the_last_reason() -> None:
    chosen = plan(Request(), Target(), FACTS, LATER)
    assert isinstance(chosen, Plan)
    assert chosen.reasons[-1].choice == "note"
    assert "torch" in chosen.reasons[-1].because
    assert "days ago" in chosen.reasons[-1].because
    plain = resolve(Request(), Target(), FACTS)
    assert isinstance(plain, Plan)
    assert (chosen.stack, chosen.reasons[:-1]) == (plain.stack, plain.reasons)


def test_a_conflict_by_old_facts_says_so_too() -> None:
    wish = Target(gpus=(TargetGpu(vendor="nvidia", capability="3.0"),), driver="470.82.01")
    chosen = plan(Request(cuda="13.0"), wish, FACTS, LATER)
    assert isinstance(chosen, Conflict)
    assert "were last checked on" in chosen.reasons[-1].because
