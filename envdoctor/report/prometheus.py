"""A diagnosis as metrics for the textfile collector of Prometheus' node_exporter.

https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from envdoctor import __version__
from envdoctor.model.finding import SEVERITIES, Diagnosis
from envdoctor.model.stack import GENERATED

if TYPE_CHECKING:
    from collections.abc import Iterable

Sample = tuple[dict[str, str], int]


def diagnosis(judged: Diagnosis) -> str:
    """Write a diagnosis. Each severity has its count, also where that is none, so that an alert has what to watch."""
    found = Counter((each.id, each.rule, each.severity, each.certainty) for each in judged.findings)
    ignored = Counter((each.finding.id, each.finding.rule) for each in judged.ignored)
    parts = [
        _metric("build_info", "The envdoctor that judged.", [({"version": __version__}, 1)]),
        _metric("findings", "Findings by severity.", [({"severity": each}, judged.count(each)) for each in SEVERITIES]),
        _metric(
            "finding",
            "Findings of a rule; explain CODE says what it means.",
            [
                ({"code": code, "rule": rule, "severity": severity, "certainty": certainty}, count)
                for (code, rule, severity, certainty), count in found.items()
            ],
        ),
        _metric(
            "finding_ignored",
            "Findings of a rule that are ignored by wish.",
            [({"code": code, "rule": rule}, count) for (code, rule), count in ignored.items()],
        ),
        _metric("rules_not_checked", "Rules that want a fact which is unknown.", [({}, len(judged.not_checked))]),
    ]
    return f"# {GENERATED} {__version__}\n" + "".join(parts)


def _metric(name: str, explained: str, samples: Iterable[Sample]) -> str:
    lines = [f"envdoctor_{name}{_labels(labels)} {value}" for labels, value in samples]
    if not lines:
        return ""
    return "\n".join((f"# HELP envdoctor_{name} {explained}", f"# TYPE envdoctor_{name} gauge", *lines)) + "\n"


def _labels(labels: dict[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
