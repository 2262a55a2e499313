"""A diagnosis as SARIF 2.1.0, which code scanning and editors read: https://docs.oasis-open.org/sarif/sarif/v2.1.0/.

A line of a person's file is a place in that file; a fact of the machine is a logical place in its snapshot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from envdoctor import __version__
from envdoctor.model.finding import Diagnosis, Finding, Ignored, declared_lines, proof
from envdoctor.model.snapshot import Declared, Snapshot
from envdoctor.model.speech import say
from envdoctor.report.areas import TOPICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envdoctor.rules.registry import Rule

# What stands for the machine among the files of a log: `envdoctor snapshot` writes one of that name.
_MACHINE = "snapshot.json"
_HASH = "primaryLocationLineHash"  # the one that GitHub reads
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def diagnosis(machine: Snapshot, judged: Diagnosis, known: Mapping[str, Rule]) -> str:
    """Write a diagnosis; `known` are the rules by their codes, of which those that are spoken of are described.

    What is ignored is there, suppressed with the person's reason; what was not checked is a notification.
    """
    spoken = [*(each.id for each in judged.findings), *(each.finding.id for each in judged.ignored)]
    spoken += [each.id for each in judged.not_checked]
    place = {code: at for at, code in enumerate(dict.fromkeys(spoken))}
    run = {
        "tool": {
            "driver": {
                "name": "envdoctor",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [_rule(known[code]) for code in place],
            }
        },
        "artifacts": [
            {
                "location": {"uri": _MACHINE},
                "description": {"text": say("The machine that was judged, as `envdoctor snapshot` saves it.")},
            }
        ],
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [
                    {
                        "level": "none",
                        "message": {"text": each.because},
                        "associatedRule": {"id": each.id, "index": place[each.id]},
                    }
                    for each in judged.not_checked
                ],
            }
        ],
        "results": [
            *(_result(each, machine, place) for each in judged.findings),
            *(_suppressed(each, machine, place) for each in judged.ignored),
        ],
    }
    # The name of the tool stands near the top: by it a report is known for one of ours (cli/formats.py).
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(log), indent=2).decode() + "\n"


def _rule(rule: Rule) -> dict[str, Any]:
    pages = [each for each in rule.sources if each.startswith("https://")]
    return {
        "id": rule.id,
        "name": rule.slug,
        "shortDescription": {"text": rule.title},
        "help": {"text": rule.page},
        **({"helpUri": pages[0]} if pages else {}),
        "defaultConfiguration": {"level": rule.severity},
        "properties": {"tags": [TOPICS[rule.id.rstrip("0123456789")]]},
    }


def _result(finding: Finding, machine: Snapshot, place: dict[str, int]) -> dict[str, Any]:
    return {
        "ruleId": finding.id,
        "ruleIndex": place[finding.id],
        "level": finding.severity,
        "message": {"text": f"{finding.title}\n{finding.detail}"},
        "locations": _locations(finding, machine),
        # A line of a file is told by its text, which GitHub reads itself.
        **({} if declared_lines(finding, machine) else {"partialFingerprints": {_HASH: _fingerprint(finding)}}),
        "properties": {
            "cause": finding.rule,
            "certainty": finding.certainty,
            "evidence": finding.evidence,
            "fixes": finding.fixes,
            "proof": proof(finding, machine),
            "sources": finding.sources,
            "supersedes": finding.supersedes,
        },
    }


def _suppressed(each: Ignored, machine: Snapshot, place: dict[str, int]) -> dict[str, Any]:
    reason = f"{each.source}: {each.reason}" if each.reason else each.source
    return {
        **_result(each.finding, machine, place),
        "suppressions": [{"kind": "external", "status": "accepted", "justification": reason}],
    }


def _locations(finding: Finding, machine: Snapshot) -> list[dict[str, Any]]:
    lines = declared_lines(finding, machine)
    if lines:
        return [_in_file(each) for each in lines]
    # GitHub refuses a whole log for one result without a file and a line.
    return [
        {
            "physicalLocation": {"artifactLocation": {"uri": _MACHINE, "index": 0}, "region": {"startLine": 1}},
            "logicalLocations": [{"fullyQualifiedName": each.fact} for each in finding.evidence],
        }
    ]


def _fingerprint(finding: Finding) -> str:
    """Tell a finding of a machine from its others, the same in every run: its rule and the facts that it rests on."""
    from hashlib import sha256

    told = " ".join((finding.id, finding.rule, *(each.fact for each in finding.evidence)))
    return f"{sha256(told.encode()).hexdigest()[:16]}:1"


def _in_file(line: Declared) -> dict[str, Any]:
    region = {"startLine": line.line, "snippet": {"text": line.text}}
    return {"physicalLocation": {"artifactLocation": {"uri": _uri(line.file)}, "region": region}}


def _uri(path: str) -> str:
    """Write a path as SARIF wants it: relative as it is, an absolute one as file://."""
    forward = path.replace("\\", "/")
    if forward[1:3] == ":/":
        return f"file:///{forward[:2]}{quote(forward[2:])}"
    return f"file://{quote(forward)}" if forward.startswith("/") else quote(forward)
