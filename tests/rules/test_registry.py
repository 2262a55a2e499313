from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from judged import FACTS
from machines import changed, container, cpu_only, unknown, windows, without_module, workstation, wsl2

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import (
    Container,
    Cpu,
    Driver,
    Framework,
    Gpu,
    Memory,
    Package,
    PythonEnv,
    Snapshot,
    System,
    Variable,
    Wsl,
)
from envdoctor.rules import FAMILIES, registry
from envdoctor.rules.registry import Found, Rule, found

VOCABULARY = frozenset((Path(__file__).parent / "vocabulary.txt").read_text(encoding="utf-8").split())
CODE = re.compile(r"[A-Z]{2,6}\d{3}")
PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./\[\]*-]+")


@pytest.fixture(params=registry.rules(), ids=lambda each: each.id)
def rule(request: pytest.FixtureRequest) -> Rule:
    each = request.param
    assert isinstance(each, Rule)
    return each


def test_every_family_declares_rules() -> None:
    modules = {each.judge.__module__.removeprefix("envdoctor.rules.") for each in registry.rules()}
    assert modules == set(FAMILIES)


def test_ids_are_unique_and_shaped_as_in_the_catalogue(rule: Rule) -> None:
    assert CODE.fullmatch(rule.id)
    assert [each.id for each in registry.rules()].count(rule.id) == 1
    assert set(rule.supersedes) <= {each.id for each in registry.rules()}
    assert rule.id not in rule.supersedes


def test_slugs_are_in_the_vocabulary(rule: Rule) -> None:
    assert rule.slug in VOCABULARY


def test_slugs_that_a_finding_changes_to_are_in_the_vocabulary(rule: Rule) -> None:
    source = Path(rule.judge.__code__.co_filename).read_text(encoding="utf-8")
    assert set(re.findall(r'slug="([^"]+)"', source)) <= VOCABULARY


def test_every_slug_that_a_finding_may_have_can_be_asked_for(rule: Rule) -> None:
    known = {slug for each in registry.rules() for slug in (each.slug, *each.variants)}
    source = Path(rule.judge.__code__.co_filename).read_text(encoding="utf-8")
    assert set(re.findall(r'slug="([^"]+)"', source)) <= known, "declare it under `variants`"


def test_sources_can_be_looked_up(rule: Rule) -> None:
    assert rule.sources
    assert all(source.startswith(("https://", "pkg:")) for source in rule.sources)


def test_the_page_begins_with_a_title_that_stands_alone(rule: Rule) -> None:
    assert re.fullmatch(r"[A-Z/].+\.", rule.title)
    assert len(rule.page.splitlines()) > 3
    assert "Check:" in rule.page


def test_needs_are_facts_of_a_snapshot(rule: Rule) -> None:
    assert rule.needs
    fields = set(Snapshot.__struct_fields__)
    assert all(need.partition(".")[0] in fields for need in rule.needs)


def test_what_is_only_likely_is_no_error_unless_it_begins_with_a_line(rule: Rule) -> None:
    """Each finding of every test is held to it too: `overstated` in judged.py."""
    assert rule.severity != "error" or rule.certainty == "certain" or rule.needs[:1] == ("problems",)


def test_no_two_rules_explain_each_other_away() -> None:
    """Two errors that supersede each other would both vanish, and the person would see nothing."""
    explains = {each.id: set(each.supersedes) for each in registry.rules()}

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for consequence in explains.get(waiting.pop(), ()):
                if consequence not in seen:
                    seen.add(consequence)
                    waiting.append(consequence)
        return seen

    assert [code for code in explains if code in reached(code)] == []


@pytest.mark.parametrize(
    "machine", [workstation(), wsl2(), container(), windows()], ids=["linux", "wsl", "docker", "win"]
)
def test_healthy_machines_are_silent(machine: Snapshot) -> None:
    diagnosis = registry.evaluate(machine, FACTS)
    assert [(each.id, each.title) for each in diagnosis.findings] == []
    assert diagnosis.not_checked == ()


def test_a_family_that_is_left_out_had_nothing_to_say() -> None:
    """Ask every rule, also those of families that are not imported for a machine."""
    for machine in (*_faulty(), cpu_only(), windows(), Snapshot()):
        asked = {each.id for each in registry.rules(machine)}
        left = [each for each in registry.rules() if each.id not in asked]
        assert left
        assert [each.id for each in left if list(each.judge(machine, FACTS))] == []


SPARSE = Snapshot(
    system=System(os="linux", kernel="mine", wsl=Wsl(version=2, dxg=True), container=Container(kind="other")),
    cpu=Cpu(features=()),
    memory=Memory(total_bytes=0),
    driver=Driver(version="unknown", cuda="new", module_loaded=True, device_nodes=(), nvml=999),
    gpus=(Gpu(vendor="nvidia"), Gpu(vendor="nvidia", name="", index=0, capability="8", used_bytes=0)),
    pythons=(
        PythonEnv(
            executable="python",
            prefix="/",
            version="3",
            packages=(Package(name="tensorflow", version="local"),),
            frameworks=(Framework(name="torch", version="main", cuda="nightly", archs=("sm_", "gfx")),),
        ),
    ),
    variables=tuple(Variable(name=name, value=",;$(x)") for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")),
)
assert SPARSE.system


@pytest.mark.parametrize(
    "machine",
    [
        Snapshot(),
        SPARSE,
        changed(SPARSE, system=changed(SPARSE.system, wsl=None, container=None)),
        changed(SPARSE, system=System(os="windows"), cpu=None, memory=None),
        changed(SPARSE, system=None, driver=None),
    ],
)
def test_odd_machines_are_judged_without_an_exception(rule: Rule, machine: Snapshot) -> None:
    for one in rule.judge(machine, FACTS):
        assert one.title
        assert machine.evidence(*one.evidence)


def test_commands_are_words_and_not_shell_text() -> None:
    """Judge machines with a fault of each kind, and look at every command that is handed out."""
    seen = 0
    for machine in _faulty():
        for each in registry.rules():
            if any(machine.gap(need) for need in each.needs):
                continue
            for one in each.judge(machine, FACTS):
                for command in (command for fix in one.fixes for command in fix.commands):
                    assert isinstance(command, tuple)
                    assert all(PLAIN.fullmatch(word) for word in command), (each.id, command)
                    seen += 1
    assert seen > 30


def _faulty() -> Iterator[Snapshot]:
    import test_container_rules
    import test_driver_cuda_rules
    import test_driver_rules
    import test_hardware_rules
    import test_variables_rules
    import test_wsl_rules

    yield test_wsl_rules.wsl1()
    yield test_wsl_rules.wsl(dxg=False)
    yield test_container_rules.without_gpus()
    yield test_container_rules.shm(1 << 20)
    yield test_driver_rules.bare()
    yield test_driver_rules.mismatch()
    yield test_driver_rules.compat()
    yield without_module(workstation(), module_on_disk=False, headers=False)
    yield without_module(workstation())
    yield test_driver_cuda_rules.on(workstation(), "470.82.01", "11.4")
    yield test_driver_cuda_rules.ptx_only()
    yield workstation(gpus=(test_hardware_rules.busy(),))
    yield test_hardware_rules.old_cpu("tensorflow")
    yield test_variables_rules.visible("0,0")


Declare = Callable[..., None]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Give a registry of its own, and a way to put a rule into it that always finds something."""
    made: dict[str, Rule] = {}
    monkeypatch.setattr(registry, "_rules", made)
    monkeypatch.setattr(registry, "FAMILIES", ())

    def add(code: str, severity: Any = "error", **options: Any) -> None:
        def judge(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
            yield found(f"{code} found", "why", evidence=("driver.version",), fixes=(Fix(summary="do"),))

        options = {"sources": ("https://example.org",), **options}
        registry.rule(code, code.lower(), severity, **options)(judge)

    return add


def ids(machine: Snapshot) -> list[str]:
    return [each.id for each in registry.evaluate(machine, FACTS).findings]


def test_two_rules_of_one_id_are_refused(declare: Declare) -> None:
    declare("AAA001")
    with pytest.raises(ValueError, match="AAA001"):
        declare("AAA001")


def test_an_error_hides_its_consequences_and_says_so(declare: Declare) -> None:
    declare("AAA001", supersedes=("AAA002", "AAA003", "ZZZ999"))
    declare("AAA002")
    declare("AAA003", "note")
    declare("AAA004", "warning")
    findings = registry.evaluate(workstation(), FACTS).findings
    assert [each.id for each in findings] == ["AAA001", "AAA004"]
    assert sorted(findings[0].supersedes) == ["AAA002", "AAA003"]
    assert findings[1].supersedes == ()


@pytest.mark.parametrize("severity", ["warning", "note"])
def test_what_is_no_error_hides_nothing(declare: Declare, severity: str) -> None:
    declare("AAA001", severity, supersedes=("AAA002",))
    declare("AAA002", severity)
    assert ids(workstation()) == ["AAA001", "AAA002"]


def test_findings_come_by_severity_and_then_in_order_of_evaluation(declare: Declare) -> None:
    for code, severity in (("AAA001", "note"), ("AAA002", "warning"), ("AAA003", "error"), ("AAA004", "warning")):
        declare(code, severity)
    assert ids(workstation()) == ["AAA003", "AAA002", "AAA004", "AAA001"]


def test_a_gap_yields_not_checked_and_no_finding(declare: Declare) -> None:
    declare("AAA001", needs=("driver.version",))
    declare("AAA002", needs=("cpu.model",))
    diagnosis = registry.evaluate(unknown(workstation(), "driver"), FACTS)
    assert [each.id for each in diagnosis.findings] == ["AAA002"]
    assert [(each.id, each.because) for each in diagnosis.not_checked] == [
        ("AAA001", "driver is unknown: may not be read")
    ]


def test_a_finding_carries_what_its_rule_says(declare: Declare) -> None:
    declare("AAA001", "warning", certainty="likely", sources=("pkg:pypi/torch",))
    machine = changed(workstation(), origins={"driver.version": "/sys/module/nvidia/version"})
    finding = registry.evaluate(machine, FACTS).findings[0]
    assert (finding.rule, finding.severity, finding.certainty) == ("aaa001", "warning", "likely")
    assert finding.sources == ("pkg:pypi/torch",)
    assert [(each.fact, each.value, each.source) for each in finding.evidence] == [
        ("driver.version", "570.124.06", "/sys/module/nvidia/version")
    ]


def test_a_rule_gives_its_title_and_page() -> None:
    def judge(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
        """Say it in one line.

        Then why.
        """
        yield from ()

    each = Rule("AAA001", "aaa", "error", "certain", (), (), (), judge)
    assert each.title == "Say it in one line."
    assert each.page == textwrap.dedent("Say it in one line.\n\nThen why.")
