"""What changed, which findings came with it, and what could not be seen on one side."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from envdoctor.app.comparing import difference
from envdoctor.app.examining import examine
from envdoctor.host.recorded import RecordedHost
from envdoctor.host.recorder import load_recording
from envdoctor.model.difference import Change, Difference, compare
from envdoctor.model.finding import Diagnosis, Finding, NotChecked, Severity
from envdoctor.model.snapshot import Evidence, Gap, Gpu, Package, PythonEnv, Snapshot, Variable
from envdoctor.readers import read

MACHINES = Path(__file__).parents[1] / "machines"
NOTHING = Diagnosis(findings=(), not_checked=())


def machine(name: str) -> Snapshot:
    return examine(RecordedHost(load_recording(str(MACHINES / name))))


def finding(code: str, severity: Severity = "error", *facts: str, supersedes: tuple[str, ...] = ()) -> Finding:
    return Finding(
        id=code,
        rule=code.lower(),
        severity=severity,
        certainty="certain",
        title="x",
        detail="x",
        evidence=tuple(Evidence(fact=fact, value="", source="") for fact in facts),
        fixes=(),
        sources=(),
        supersedes=supersedes,
    )


def judged(*findings: Finding, not_checked: tuple[str, ...] = ()) -> Diagnosis:
    return Diagnosis(
        findings=findings, not_checked=tuple(NotChecked(id=code, rule=code, because="x") for code in not_checked)
    )


def change(found: Difference, fact: str) -> Change:
    return next(each for each in found.changes if each.fact == fact)


def test_a_machine_does_not_differ_from_itself() -> None:
    one = machine("workstation-cuda12")
    found = difference(one, one)
    assert (found.changes, found.came, found.went) == ((), (), ())


def test_it_worked_yesterday() -> None:
    """The driver was upgraded: of all that changed, that stands first."""
    before = machine("workstation-cuda12")
    assert before.driver is not None
    driver = replace(before.driver, version="550.54.14", cuda="12.4", nvml=18)
    python = before.pythons[0]
    packages = (*python.packages, Package(name="black", version="25.1"))
    kernel = before.system and replace(before.system, kernel="6.8.0-55-generic")
    found = difference(
        before, replace(before, system=kernel, driver=driver, pythons=(replace(python, packages=packages),))
    )
    assert [each.finding.id for each in found.came] == ["DRV006"]
    assert (found.changes[0].fact, found.changes[0].before, found.changes[0].after) == (
        "driver.version",
        "570.133.07",
        "550.54.14",
    )
    assert found.changes[0].explains == ("DRV006",)
    assert change(found, "pythons.packages.black").kind == "appeared"
    assert change(found, "pythons.packages.black").explains == ()
    back = difference(replace(before, driver=driver), before)
    assert [each.finding.id for each in back.went] == ["DRV006"]
    assert back.came == ()


def test_what_could_not_be_seen_is_not_gone() -> None:
    before = machine("workstation-cuda12")
    gap = Gap(probe="nvidia", fact="driver", kind="timeout", detail="no answer")
    python = Gap(probe="pythons", fact="pythons.packages", kind="denied", detail="may not be read")
    blind = replace(before.pythons[0], packages=())
    found = difference(before, replace(before, driver=None, pythons=(blind,), gaps=(gap, python)))
    assert {(each.fact, each.kind, each.after) for each in found.changes} >= {
        ("driver", "now-unknown", "unknown"),
        ("pythons.packages", "now-unknown", "unknown"),
    }
    assert not [each for each in found.changes if each.kind == "gone"]
    gone = difference(before, replace(before, driver=None))
    assert change(gone, "driver").kind == "gone"


def test_what_a_report_leaves_out_is_not_gone() -> None:
    report = read("PyTorch version: 2.8.0+cu128\nOS: Ubuntu 22.04\n[pip3] torch==2.8.0+cu128\n[pip3] numpy==2.1.0\n")
    found = difference(machine("workstation-cuda12"), report)
    assert not [each for each in found.changes if each.kind == "gone"]
    assert change(found, "variables").after == "unknown"


def test_free_memory_moves_all_the_time() -> None:
    before = Snapshot(gpus=(Gpu(vendor="nvidia", index=0, free_bytes=9, memory_bytes=10),))
    after = Snapshot(gpus=(Gpu(vendor="nvidia", index=0, free_bytes=1, memory_bytes=10),))
    assert compare(before, after, NOTHING, NOTHING).changes == ()
    told = compare(before, after, NOTHING, judged(finding("MEM9", "warning", "gpus[0].free_bytes")))
    assert [(each.fact, each.explains) for each in told.changes] == [("gpus.0.free_bytes", ("MEM9",))]


def test_findings_that_moved_for_a_reason() -> None:
    one = finding("A1")
    hidden = compare(Snapshot(), Snapshot(), judged(one), judged(finding("B1", supersedes=("A1",))))
    assert [(each.finding.id, each.other) for each in hidden.went] == [("A1", "explained")]
    unseen = compare(Snapshot(), Snapshot(), judged(one), judged(not_checked=("A1",)))
    assert [(each.finding.id, each.other) for each in unseen.went] == [("A1", "unknown")]
    worse = compare(Snapshot(), Snapshot(), judged(finding("A1", "note")), judged(one))
    assert [(each.finding.id, each.other) for each in worse.came] == [("A1", "milder")]
    assert (worse.went, worse.stayed) == ((), ())
    twice = compare(Snapshot(), Snapshot(), judged(one), judged(one, one))
    assert (len(twice.came), len(twice.stayed)) == (1, 1)


def test_two_packages_of_one_name_and_a_variable() -> None:
    def at(*versions: str, value: str) -> Snapshot:
        packages = tuple(Package(name="numpy", version=version) for version in versions)
        python = PythonEnv(executable="/e/bin/python", prefix="/e", packages=packages)
        return Snapshot(pythons=(python,), variables=(Variable(name="LD_LIBRARY_PATH", value=value),))

    found = compare(at("1.26.4", "2.1.0", value="/a"), at("1.26.4", value="/b"), NOTHING, NOTHING)
    assert [(each.fact, each.kind, each.before, each.after) for each in found.changes] == [
        ("pythons.packages.numpy#2", "gone", "2.1.0", "none"),
        ("variables.LD_LIBRARY_PATH", "changed", "/a", "/b"),
    ]
