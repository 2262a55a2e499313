"""The shapes of the documents that commands print as JSON: what `envdoctor schema` promises of each.

A shape's docstring is what its schema says first. Keys of a class ending in `Parts` are there only where they apply.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from envdoctor.model.difference import Change, Moved
from envdoctor.model.estimate import Capacity, Outlook, Parts, Speed, Verdict, Workload
from envdoctor.model.estimate import Change as Remedy
from envdoctor.model.finding import Certainty, Finding, NotChecked, Severity
from envdoctor.model.onboarding import BuiltImage, Made
from envdoctor.model.outcome import Outcome
from envdoctor.model.requirement import Checked
from envdoctor.model.run import Run
from envdoctor.model.snapshot import SCHEMA_VERSION, Problem, Snapshot
from envdoctor.model.stack import Conflict, Mirror, Reason, Request, Stack, Target
from envdoctor.model.tuning import Tuning


class Tool(TypedDict):
    """What wrote a document."""

    name: str
    version: str


class IgnoredFinding(TypedDict):
    """A finding that a person does not want to hear of, in short."""

    id: str
    rule: str
    severity: Severity
    title: str
    reason: str | None
    source: str
    supersedes: tuple[str, ...]


class Counts(TypedDict):
    """How many findings there are of each severity."""

    errors: int
    warnings: int
    notes: int
    ignored: int


class DiagnosisDocument(TypedDict):
    """What `envdoctor diagnose --format json` prints; `diagnose --from` reads its snapshot back."""

    schema_version: int
    tool: Tool
    snapshot: Snapshot
    findings: tuple[Finding, ...]
    not_checked: tuple[NotChecked, ...]
    ignored: list[IgnoredFinding]
    summary: Counts


class RunDocument(TypedDict):
    """What `envdoctor run --report` writes, and `run --format json` prints."""

    schema_version: int
    tool: Tool
    run: Run
    findings: tuple[Finding, ...]
    problems: tuple[Problem, ...]


class CheckCounts(TypedDict):
    """How many requirements are in each state."""

    ok: int
    not_met: int
    unknown: int


class ChecksDocument(TypedDict):
    """What `envdoctor check --format json` prints."""

    schema_version: int
    checks: tuple[Checked, ...]
    summary: CheckCounts


class MovedFindings(TypedDict):
    """The findings of two machines: of the second alone, of the first alone, of both."""

    came: tuple[Moved, ...]
    went: tuple[Moved, ...]
    stayed: tuple[Finding, ...]


class DifferenceCounts(TypedDict):
    """How much differs; `unknown` are facts that one side could not see."""

    changes: int
    unknown: int
    came: int
    went: int
    stayed: int


class DifferenceDocument(TypedDict):
    """What `envdoctor diff --format json` prints."""

    schema_version: int
    changes: tuple[Change, ...]
    findings: MovedFindings
    summary: DifferenceCounts


class RuleLine(TypedDict):
    """A rule in short; severity and certainty are what most of its findings carry."""

    id: str
    slug: str
    severity: Severity
    certainty: Certainty
    title: str


class RulesDocument(TypedDict):
    """What `envdoctor diagnose --list-rules --format json` prints."""

    schema_version: int
    rules: list[RuleLine]


class PlanReason(TypedDict):
    """A choice, the fact behind it, and where that fact comes from."""

    choice: str
    because: str
    source: str | None


class PlanParts(TypedDict, total=False):
    """What is there only where it was asked for."""

    mirror: Mirror
    wheelhouse: tuple[str, ...]
    environment: Made
    image: BuiltImage


class PlanDocument(PlanParts):
    """What `envdoctor provision --format json` prints where a stack fits."""

    schema_version: int
    stack: Stack
    reasons: list[PlanReason]
    request: Request
    target: Target
    artifacts: tuple[str, ...]


class ConflictDocument(TypedDict):
    """What `envdoctor provision --format json` prints where no stack fits."""

    schema_version: int
    conflict: Conflict


class OutcomesDocument(TypedDict):
    """What `envdoctor verify --format json` prints."""

    schema_version: int
    outcomes: tuple[Outcome, ...]


class OnboardingDocument(TypedDict):
    """What `envdoctor onboard --format json` prints."""

    schema_version: int
    tool: Tool
    verified: bool
    folder: str
    python: str | None
    stack: Stack | None
    reasons: tuple[Reason, ...] | None
    conflict: Conflict | None
    outcomes: tuple[Outcome, ...]
    snapshot: Snapshot
    findings: tuple[Finding, ...]
    not_checked: tuple[NotChecked, ...]


class DeviceBytes(TypedDict):
    """What a workload takes of a device, at the least and at the most."""

    low: int
    high: int


class DeviceLine(TypedDict):
    """The device that a workload is measured against."""

    name: str | None
    free_bytes: int | None


class EstimateDocument(TypedDict):
    """What `envdoctor estimate --format json` prints; bytes."""

    schema_version: int
    model: str
    parameters: int
    parts: Parts
    allocated_bytes: int
    reserved_bytes: int
    device_bytes: DeviceBytes
    verdict: Verdict
    max_batch: int | None
    assumptions: tuple[str, ...]
    likely_device_bytes: int
    peak_in: Literal["forward", "backward", "step"]
    flops: int
    bytes_moved: int
    workload: Workload
    device: DeviceLine
    changes: tuple[Remedy, ...]
    speeds: tuple[Speed, ...]
    outlooks: tuple[Outlook, ...]


class CapacitiesDocument(TypedDict):
    """What `envdoctor estimate --for-gpus --format json` prints."""

    schema_version: int
    workload: Workload
    capacities: tuple[Capacity, ...]


class TuningDocument(Tuning):
    """What `envdoctor tune --format json` prints; bytes, seconds, items a second."""

    schema_version: int = SCHEMA_VERSION


class TableLine(TypedDict):
    """A table of knowledge at a glance; dates are ISO dates of when its rows were checked."""

    name: str
    title: str
    rows: int
    newest: str
    oldest: str
    doubtful: int
    age_days: int
    old: bool


class TablesDocument(TypedDict):
    """What `envdoctor knowledge --format json` prints."""

    schema_version: int
    tables: list[TableLine]


class RowsParts(TypedDict):
    """What `envdoctor knowledge TABLE --format json` prints beside the rows, which each table has of its own kind."""

    schema_version: int
    table: TableLine
