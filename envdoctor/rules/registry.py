"""How a rule is declared, found and judged."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import NamedTuple

from msgspec.structs import replace

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Certainty, Diagnosis, Finding, Fix, NotChecked, Severity
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules import FAMILIES
from envdoctor.rules.relevance import concerns


class Found(NamedTuple):
    """What a rule yields; the registry adds what the decorator says. None keeps the rule's own word."""

    title: str
    detail: str
    evidence: tuple[str, ...]
    fixes: tuple[Fix, ...]
    severity: Severity | None
    certainty: Certainty | None
    slug: str | None
    needs: str | None = None


class Rule(NamedTuple):
    """A rule and everything that is known of it before it runs."""

    id: str
    slug: str
    severity: Severity
    certainty: Certainty
    needs: tuple[str, ...]
    supersedes: tuple[str, ...]
    sources: tuple[str, ...]
    judge: Callable[[Snapshot, Knowledge], Iterator[Found]]
    variants: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The docstring's first line."""
        return say(self.paragraphs[0])

    @property
    def page(self) -> str:
        """The whole docstring, each paragraph in one line."""
        return "\n\n".join(map(say, self.paragraphs))

    @property
    def paragraphs(self) -> tuple[str, ...]:
        """The docstring as it was written, which is what is translated: what is needed and how to check stand alone."""
        written = inspect.cleandoc(self.judge.__doc__ or "")
        for start in _ALONE:
            written = written.replace(f"\n{start}", f"\n\n{start}")
        return tuple(whole for each in written.split("\n\n") if (whole := " ".join(each.split())))

    @property
    def needed(self) -> str | None:
        """What the page says is needed, without that word; None: it says nothing of the kind."""
        written = next((each for each in self.paragraphs if each.startswith("Needed")), None)
        # Chinese has a colon of its own.
        return say(written).replace("：", ":", 1).partition(":")[2].strip() if written else None


# Lines of a docstring that begin a paragraph of their own.
_ALONE = ("Needed", "Check: ", "Silent")

Judge = Callable[[Snapshot, Knowledge], Iterator[Found]]

_rules: dict[str, Rule] = {}


def rule(
    code: str,
    slug: str,
    severity: Severity,
    *,
    certainty: Certainty = "certain",
    needs: tuple[str, ...] = (),
    supersedes: tuple[str, ...] = (),
    sources: tuple[str, ...],
    variants: tuple[str, ...] = (),
) -> Callable[[Judge], Judge]:
    """Declare a rule: `code` is the catalogue's code, `slug` the root cause, `needs` the facts that must be known.

    `supersedes` names the ids whose findings this one explains. Severity and certainty are what most findings of the
    rule carry; a finding may differ (`found(severity=…)`). `variants` are slugs that a finding may have instead and
    that no rule has for its own.
    """

    def declare(judge: Judge) -> Judge:
        if code in _rules:
            raise ValueError(f"two rules are called {code}")
        _rules[code] = Rule(code, slug, severity, certainty, needs, supersedes, sources, judge, variants)
        return judge

    return declare


def found(
    title: str,
    detail: str,
    *,
    evidence: tuple[str, ...],
    fixes: tuple[Fix, ...] = (),
    severity: Severity | None = None,
    certainty: Certainty | None = None,
    slug: str | None = None,
    needs: str | None = None,
) -> Found:
    """Say what a rule found. `evidence` are paths into the Snapshot: `driver.version`, `gpus[0].capability`.

    `needs` says in a few words what would have to be so, "driver 570.26 or newer", where the page's "Needed:" is vague.
    """
    return Found(title, detail, evidence, fixes, severity, certainty, slug, needs)


def rules(machine: Snapshot | None = None) -> tuple[Rule, ...]:
    """Give every rule, in the order of evaluation; with a machine, those of families that can concern it."""
    families = [each for each in FAMILIES if machine is None or concerns(each, machine)]
    for family in families:
        importlib.import_module(f"envdoctor.rules.{family}")
    place = {f"envdoctor.rules.{family}": at for at, family in enumerate(FAMILIES)}
    left_out = {f"envdoctor.rules.{family}" for family in FAMILIES if family not in families}
    # A family may have been imported early, by another that borrows from it, or by an earlier question.
    asked = [each for each in _rules.values() if each.judge.__module__ not in left_out]
    return tuple(sorted(asked, key=lambda each: place.get(each.judge.__module__, len(place))))


def evaluate(machine: Snapshot, facts: Knowledge, only: frozenset[str] | None = None) -> Diagnosis:
    """Judge a machine: every rule whose facts are known, consequences of a reported cause left out.

    Findings are ordered by severity, and inside it in the order of evaluation, so that the root cause comes first. A
    rule that cannot be judged is listed under `not_checked`; it says nothing of the machine.

    With `only`, codes or slugs, nothing else is heard: what another rule would explain away is shown, since silence
    would say that it is not so.
    """
    findings: list[Finding] = []
    skipped: list[NotChecked] = []
    asked = rules(machine)
    for each in asked:
        gap = next((gap for need in each.needs if (gap := machine.gap(need))), None)
        if gap:
            skipped.append(
                NotChecked(
                    id=each.id,
                    rule=each.slug,
                    because=say("{fact} is unknown: {detail}", fact=gap.fact, detail=gap.detail),
                )
            )
            continue
        findings += [_finding(each, one, machine) for one in each.judge(machine, facts)]
    if only is not None:
        findings = [each for each in findings if each.id in only or each.rule in only]
        skipped = [each for each in skipped if each.id in only or each.rule in only]
    by_rule = {each.id: each for each in asked}
    raised = {finding.id for finding in findings}
    # Only an error explains other findings away: a note that happens to stand earlier must hide nothing.
    hidden = {
        consequence: finding.id
        for finding in findings
        for consequence in by_rule[finding.id].supersedes
        if finding.severity == "error" and consequence != finding.id
    }
    kept = [
        _with_supersedes(finding, tuple(i for i, by in hidden.items() if by == finding.id and i in raised))
        for finding in findings
        if finding.id not in hidden
    ]
    order = {"error": 0, "warning": 1, "note": 2}
    return Diagnosis(findings=tuple(sorted(kept, key=lambda f: order[f.severity])), not_checked=tuple(skipped))


def _finding(each: Rule, one: Found, machine: Snapshot) -> Finding:
    return Finding(
        id=each.id,
        rule=one.slug or each.slug,
        severity=one.severity or each.severity,
        certainty=one.certainty or each.certainty,
        title=one.title,
        detail=one.detail,
        evidence=machine.evidence(*one.evidence),
        fixes=one.fixes,
        sources=each.sources,
        needs=one.needs or each.needed,
    )


def _with_supersedes(finding: Finding, ids: tuple[str, ...]) -> Finding:
    return replace(finding, supersedes=ids)
