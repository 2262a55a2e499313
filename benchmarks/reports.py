"""How well pasted reports are diagnosed: `python benchmarks/reports.py FILE [--misses]`.

FILE has one JSON object a line: `text`, the confirmed `cause` (a slug, or "healthy"), and perhaps `also` and `id`.
Printed by root cause: how often it is the first finding, how often it is named at all, errors and warnings a report.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import msgspec

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Diagnosis
from envdoctor.readers import read
from envdoctor.rules.registry import evaluate


class Case(msgspec.Struct):
    text: str
    cause: str
    id: str | int | None = None


class Score:
    def __init__(self) -> None:
        self.reports = self.first = self.named = self.loud = self.alarms = 0

    def add(self, cause: str, diagnosis: Diagnosis) -> bool:
        slugs = [finding.rule for finding in diagnosis.findings]
        errors, warnings = diagnosis.count("error"), diagnosis.count("warning")
        quiet = errors == 0
        self.reports += 1
        self.first += quiet if cause == "healthy" else slugs[:1] == [cause]
        self.named += quiet if cause == "healthy" else cause in slugs
        self.alarms += cause == "healthy" and not quiet
        self.loud += errors + warnings
        return quiet if cause == "healthy" else slugs[:1] == [cause]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("file", type=Path)
    options.add_argument("--misses", action="store_true", help="name the reports whose cause is not the first finding")
    asked = options.parse_args()
    cases = [msgspec.json.decode(line, type=Case) for line in asked.file.read_bytes().splitlines() if line.strip()]
    facts, whole, started = Knowledge(), Score(), time.process_time()
    causes: defaultdict[str, Score] = defaultdict(Score)
    misses = []
    for number, case in enumerate(cases, 1):
        diagnosis = evaluate(read(case.text), facts)
        causes[case.cause].add(case.cause, diagnosis)
        if not whole.add(case.cause, diagnosis):
            said = ", ".join(f"{each.rule} ({each.id}, {each.severity})" for each in diagnosis.findings) or "nothing"
            misses.append(f"{case.id or number}: {case.cause}; said {said}")
    seconds = time.process_time() - started
    print(f"{'root cause':40} {'reports':>7} {'first':>6} {'named':>6} {'e+w':>5}")
    for cause, score in sorted(causes.items()):
        print(f"{cause:40} {score.reports:7} {score.first:6} {score.named:6} {score.loud / score.reports:5.1f}")
    share = 100 / max(1, whole.reports)
    print(f"\nfirst {whole.first * share:.1f} %   named {whole.named * share:.1f} %   of {whole.reports} reports")
    print(
        f"errors on healthy ones {whole.alarms}   errors and warnings a report {whole.loud / max(1, whole.reports):.2f}"
    )
    print(f"{1000 * seconds / max(1, whole.reports):.1f} ms of CPU a report")
    if asked.misses:
        print("\n" + "\n".join(misses))


if __name__ == "__main__":
    main()
