"""What a person sees first: a line an area with its mark, the root cause, findings, at any width, also in Chinese."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from gettext import NullTranslations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from envdoctor import __version__
from envdoctor.app.examining import examine
from envdoctor.app.reading import read_snapshot
from envdoctor.host.recorded import RecordedHost
from envdoctor.host.recorder import load_recording
from envdoctor.knowledge.load import Knowledge
from envdoctor.language import catalogue
from envdoctor.model.finding import Diagnosis, Finding, Fix, Severity, proof
from envdoctor.model.snapshot import Declared, Disk, Evidence, Gpu, PythonEnv, Snapshot, System
from envdoctor.model.speech import speak
from envdoctor.report import wide
from envdoctor.report.areas import TOPICS, areas
from envdoctor.report.text import Style, columns, diagnosis, padded
from envdoctor.rules.registry import evaluate, rules

MACHINES = Path(__file__).parents[1] / "machines"
LABELS = ("found:", "needs:", "why:", "fix:", "proves it:")


def seen(name: str) -> tuple[Snapshot, Diagnosis]:
    machine = examine(RecordedHost(load_recording(str(MACHINES / name))))
    return replace(machine, taken_at="2026-01-02T03:04:05Z"), evaluate(machine, Knowledge())


def finding(code: str, severity: Severity = "error", *facts: str, **fields: object) -> Finding:
    made = Finding(
        id=code,
        rule=code.lower(),
        severity=severity,
        certainty="certain",
        title=f"{code} is so",
        detail="It is.",
        evidence=tuple(Evidence(fact=fact, value="1", source="a test") for fact in facts),
        fixes=(),
        sources=(),
    )
    return replace(made, **fields)


def judged(*findings: Finding) -> Diagnosis:
    return Diagnosis(findings=findings, not_checked=())


def plain(width: int = 80, *, verbose: bool = False) -> Style:
    return Style(colour=False, width=width, verbose=verbose)


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", ["cuda118-on-451-windows-wsl2", "container-without-gpus", "workstation-cuda12"])
def test_a_machine_looks_like_this(name: str, width: int, golden: Callable[[str, str], None]) -> None:
    text = diagnosis(*seen(name), plain(width)).replace(__version__, "VERSION")
    golden(f"terminal/{name}-{width}.txt", text)
    # Commands, addresses and paths stay whole, so that they can be copied.
    too_long = [line for line in text.splitlines() if len(line) > width]
    assert all(line.startswith(" " * 13) for line in too_long), too_long


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", ["cuda118-on-451-windows-wsl2", "container-without-gpus"])
def test_a_machine_looks_like_this_in_chinese(name: str, width: int, golden: Callable[[str, str], None]) -> None:
    speak(catalogue("zh"))
    try:
        text = diagnosis(*seen(name), plain(width)).replace(__version__, "VERSION")
    finally:
        speak(None)
    golden(f"terminal-zh/{name}-{width}.txt", text)
    too_long = [line for line in text.splitlines() if columns(line) > width]
    assert all(line.startswith(" " * 13) for line in too_long), too_long


def test_colours_change_no_line() -> None:
    machine, found = seen("container-without-gpus")
    coloured = diagnosis(machine, found, Style(colour=True, width=72))
    assert "\033[31mx\033[0m Containers" in coloured
    assert re.sub(r"\033\[\d+m", "", coloured) == diagnosis(machine, found, plain(72))


def test_every_family_of_rules_has_its_area() -> None:
    assert {each.id.rstrip("0123456789") for each in rules()} == set(TOPICS)


def test_an_area_with_a_finding_is_not_good() -> None:
    gpus = (Gpu(index=0, vendor="nvidia", name="A"), Gpu(index=1, vendor="nvidia", name="B"))
    disks = tuple(Disk(path=each, purposes=("home",), total_bytes=9, free_bytes=1) for each in ("/a", "/b"))
    machine = Snapshot(system=System(os="linux", machine="x86_64", kernel="6.1"), gpus=gpus, disks=disks)
    found = judged(
        finding("HW001", "error", "gpus[1].name"),
        finding("DISK001", "warning", "disks[0].free_bytes"),
        finding("WSL001", "note", "system.os"),
        finding("CTR001", "warning", "devices"),
        finding("CTR002", "error", "devices"),
    )
    lines = {(each.name, each.text.split(",")[0]): (each.state, each.ids) for each in areas(machine, found)}
    assert lines[("GPU", "A")] == ("good", ())
    assert lines[("GPU", "B")] == ("error", ("HW001",))
    assert [state for (name, _), (state, _) in lines.items() if name == "Disk"] == ["warning", "good"]
    assert lines[("System", "linux")] == ("good", ("WSL001",))  # a note is no problem, and is named all the same
    assert lines[("Containers", "2 findings")] == ("error", ("CTR001", "CTR002"))
    assert [each.state for each in areas(machine) if each.name == "GPU"] == ["good", "good"]


def test_what_a_machine_cannot_have_is_not_applicable() -> None:
    mac = Snapshot(system=System(os="macos", machine="arm64", kernel="23"))
    amd = Snapshot(
        system=System(os="linux", machine="x86_64", kernel="6"), gpus=(Gpu(index=0, vendor="amd", name="W"),)
    )
    bare = Snapshot(system=System(os="linux", machine="x86_64", kernel="6"))
    states = [{each.name: each.state for each in areas(machine)} for machine in (mac, amd, bare)]
    assert [each["Driver"] for each in states] == ["not-applicable", "not-applicable", "absent"]
    assert [each["Python"] for each in states] == ["absent"] * 3


def test_five_findings_come_first_and_the_others_are_named() -> None:
    many = judged(*(finding(f"DRV00{number}", "warning") for number in range(1, 9)))
    short, whole = (diagnosis(Snapshot(), many, plain(verbose=verbose)) for verbose in (False, True))
    assert short.count("warning[DRV") == 5
    assert "and 3 more: DRV006, DRV007, DRV008 (-v shows them)" in short
    assert whole.count("warning[DRV") == 8
    assert "more:" not in whole


def test_all_evidence_is_for_those_who_ask() -> None:
    facts = [f"variables[{number}].value" for number in range(7)]
    found = judged(finding("ENV001", "error", *facts))
    short, whole = (diagnosis(Snapshot(), found, plain(verbose=verbose)) for verbose in (False, True))
    assert (short.count("  found:"), whole.count("  found:")) == (3, 7)
    assert "and 4 more facts (-v shows them)" in short


def test_a_finding_says_what_is_found_needed_why_and_what_to_do() -> None:
    fix = Fix(summary="Do it.", commands=(("pip", "install", "a b"),), effect="changes-env", page="https://example.org")
    found = finding("NP001", "error", "pythons[0].version", fixes=(fix,), needs="more than that")
    text = diagnosis(Snapshot(), judged(found), plain(60))
    lines = text.splitlines()
    assert lines[2] == "Root cause: NP001 is so [NP001]"
    at = lines.index("error[NP001] NP001 is so")
    assert lines[at + 1 : at + 8] == [
        "  found:     pythons[0].version = 1 (a test)",
        "  needs:     more than that",
        "  why:       It is.",
        "  fix:       Do it. [changes the Python environment]",
        "               pip install 'a b'",
        "               see https://example.org",
        "  proves it: envdoctor diagnose --only NP001",
    ]


def test_a_rules_page_says_what_is_needed() -> None:
    _, found = seen("cuda118-on-451-windows-wsl2")
    assert (found.findings[0].needs or "").startswith("CUDA 13 driver 580.65.06 or newer, ")


@pytest.mark.parametrize(
    ("fact", "file", "command"),
    [
        ("driver.version", None, ("envdoctor", "diagnose", "--only", "X001")),
        ("problems[0].text", None, ("envdoctor", "run", "--", "PROGRAM")),
        (
            "declared[0].name",
            "a/Dockerfile",
            ("envdoctor", "diagnose", "--only", "X001", "--dockerfile", "a/Dockerfile"),
        ),
        ("declared[0].name", "e.yml", ("envdoctor", "diagnose", "--only", "X001", "--environment", "e.yml")),
        ("declared[0].name", "r.txt", ("envdoctor", "diagnose", "--only", "X001", "--requirements", "r.txt")),
    ],
)
def test_what_proves_that_it_is_gone(fact: str, file: str | None, command: tuple[str, ...]) -> None:
    line = Declared(environment=0, file=file or "", line=1, text="torch", kind="package", name="torch")
    machine = Snapshot(declared=(line,) if file else ())
    assert proof(finding("X001", "error", fact), machine) == command


def test_the_proof_asks_the_same_python() -> None:
    python = PythonEnv(executable="/e/bin/python", prefix="/e", selected_by="--python")
    told = proof(finding("PY001", "error", "pythons[0].version"), Snapshot(pythons=(python,)))
    assert told[-2:] == ("--python", "/e/bin/python")


CHINESE = {
    "found:": "发现：",
    "needs:": "需要：",
    "why:": "原因：",
    "fix:": "修复：",
    "proves it:": "验证：",
    "System": "系统",
    "Memory": "内存",
    "Frameworks": "框架",
    "Driver": "驱动",
    "none found": "未找到，这台机器上没有安装任何驱动程序，也没有发现任何可用的显卡设备或者工具包，请先安装驱动",
}


class Translated(NullTranslations):
    def gettext(self, message: str) -> str:
        return CHINESE.get(message, message)


@pytest.fixture
def chinese() -> Iterator[None]:
    speak(Translated())
    yield
    speak(None)


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize("width", [60, 80])
def test_chinese_stands_in_the_same_columns(width: int) -> None:
    detail = (
        "驱动太旧，不能运行 torch 2.7.1 自带的 CUDA 11.8 运行库；请在 Windows 里更新显卡驱动到 452.39 或更高的版本。"
        * 2
    )
    found = finding("DRV007", "error", "driver.version", detail=detail, needs="更新的驱动", title="驱动太旧" * 20)
    lines = diagnosis(Snapshot(), judged(found), plain(width)).splitlines()
    assert max(columns(line) for line in lines) <= width
    starts = [line for line in lines if re.match(r"  (发现|需要|原因|验证)：", line)]
    assert len(starts) == 4
    assert {columns(re.match(r"  \S+： *", line)[0]) for line in starts} == {13}  # type: ignore[index]
    names = [line for line in lines if re.match(r"[-x] (系统|内存|框架|驱动) ", line)]
    assert {columns(line) - columns(re.sub(r"^. \S+ +", "", line)) for line in names} == {14}
    # A line goes on below its text, and is filled: no word of English is needed to break it.
    first = lines.index(next(line for line in lines if "原因：" in line))
    assert lines[first + 1].startswith(" " * 13) and columns(lines[first]) > width - 10


LETTERS = st.text(alphabet="ab /-显存驱动，。（）「」“”… \n", max_size=80)


@given(LETTERS, st.integers(4, 40))
def test_wide_wrapping_loses_nothing_and_keeps_to_its_room(text: str, room: int) -> None:
    lines = wide.wrap(text, room, room)
    assert "".join("".join(lines).split()) == "".join(text.split())
    for line in lines:
        assert line == line.strip()
        # Only what cannot be broken is wider: a word, and punctuation that holds on to its neighbour.
        assert wide.width(line) <= room or len(wide.PARTS.findall(line)) == 1


def test_punctuation_stays_with_its_neighbour() -> None:
    lines = wide.wrap("显存不足，请减小批量。（见文档）" * 3, 10, 10)
    assert not [line for line in lines if line[0] in "，。）" or line[-1] in "（"]
    assert [columns(line) for line in lines] == [wide.width(line) for line in lines]


def test_columns_and_padding_know_colours_and_chinese() -> None:
    assert [columns(each) for each in ("GPU", "显存", "\033[31mx\033[0m", "“x”")] == [3, 4, 1, 3]
    assert [padded(each, 6) for each in ("显存", "abc", "", "显存驱动")] == ["显存  ", "abc   ", "      ", "显存驱动 "]


def test_a_saved_machine_is_read_with_the_same_marks(tmp_path: Path) -> None:
    from envdoctor.report import documents

    machine, found = seen("container-without-gpus")
    file = tmp_path / "machine.json"
    file.write_text(documents.diagnosis(machine, found), encoding="utf-8")
    assert areas(read_snapshot(str(file)), found) == areas(machine, found)
