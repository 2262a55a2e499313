"""A diagnosis as JUnit XML, which every CI shows: a suite an area of the machine, a case a rule."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from envdoctor import __version__
from envdoctor.model.finding import SEVERITIES, Diagnosis, Finding, Severity
from envdoctor.model.speech import say
from envdoctor.model.stack import GENERATED
from envdoctor.report import text
from envdoctor.report.areas import TOPICS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envdoctor.model.snapshot import Snapshot
    from envdoctor.rules.registry import Rule

# What XML 1.0 has no way to write: https://www.w3.org/TR/xml/#charsets
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PLAIN = text.Style(colour=False, width=100, verbose=True)


def diagnosis(machine: Snapshot, judged: Diagnosis, asked: Iterable[Rule], fail_on: Severity | None) -> str:
    """Write a diagnosis; `asked` are the rules that were asked, `fail_on` the severity from which a finding fails.

    A rule that found nothing passes; one that could not be judged, is ignored, or whose finding another explains is
    skipped, with the reason.
    """
    root = ET.Element("testsuites", name="envdoctor")
    suites: dict[str, ET.Element] = {}
    for rule in asked:
        topic = TOPICS[rule.id.rstrip("0123456789")]
        if topic not in suites:
            suites[topic] = ET.SubElement(root, "testsuite", name=topic)
        for case in _cases(rule, machine, judged, fail_on):
            case.set("classname", f"envdoctor.{topic}")
            case.set("time", "0")
            suites[topic].append(case)
    for suite in suites.values():
        _count(suite)
        if machine.taken_at:
            suite.set("timestamp", _written(machine.taken_at.removesuffix("Z")))
    _count(root)
    ET.indent(root)
    mark = f"<!-- {GENERATED} {__version__} -->"
    return f'<?xml version="1.0" encoding="utf-8"?>\n{mark}\n{ET.tostring(root, encoding="unicode")}\n'


def _cases(rule: Rule, machine: Snapshot, judged: Diagnosis, fail_on: Severity | None) -> list[ET.Element]:
    found = [each for each in judged.findings if each.id == rule.id]
    cases = [_found(rule, each, machine, fail_on) for each in found]
    if not found:
        cases.append(_case(rule))
        reason = _skipped(rule.id, judged)
        if reason is not None:
            ET.SubElement(cases[0], "skipped", message=_written(reason))
    return cases


def _found(rule: Rule, finding: Finding, machine: Snapshot, fail_on: Severity | None) -> ET.Element:
    case = _case(rule)
    lines = text.findings(Diagnosis(findings=(finding,), not_checked=()), _PLAIN, machine)
    body = _written("\n".join(lines[1:]))
    if fail_on is not None and SEVERITIES.index(finding.severity) <= SEVERITIES.index(fail_on):
        failure = ET.SubElement(case, "failure", type=finding.severity, message=_written(finding.title))
        failure.text = body
    else:
        ET.SubElement(case, "system-out").text = body
    return case


def _case(rule: Rule) -> ET.Element:
    return ET.Element("testcase", name=f"{rule.id} {rule.slug}")


def _skipped(code: str, judged: Diagnosis) -> str | None:
    """Say why a rule without a finding says nothing of the machine; None: it was judged, and found nothing."""
    for each in judged.not_checked:
        if each.id == code:
            return each.because
    for one in judged.ignored:
        if one.finding.id == code:
            return (
                say("Ignored by {source}: {reason}", source=one.source, reason=one.reason)
                if one.reason
                else say("Ignored by {source}", source=one.source)
            )
    for finding in (*judged.findings, *(each.finding for each in judged.ignored)):
        if code in finding.supersedes:
            return say("explained by {code}", code=finding.id)
    return None


def _count(suite: ET.Element) -> None:
    cases = list(suite.iter("testcase"))
    counts = {"tests": len(cases), "errors": 0}
    for name, part in (("failures", "failure"), ("skipped", "skipped")):
        counts[name] = sum(each.find(part) is not None for each in cases)
    for name, number in counts.items():
        suite.set(name, str(number))
    suite.set("time", "0")


def _written(words: str) -> str:
    return _UNWRITABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", words)
