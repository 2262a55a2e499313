"""Walking through fixes: what may be run, real commands that work and fail, the way back, and what is written down."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envdoctor import errors
from envdoctor.app.fixing import Answer, Done, Person, Seen, Step, by_hand, record_path, steps, walk, way_back
from envdoctor.model.finding import Diagnosis, Effect, Finding, Fix, Severity
from envdoctor.model.snapshot import Package, PythonEnv, Snapshot


def fix(*commands: tuple[str, ...], effect: Effect = "safe", **fields: Any) -> Fix:
    return Fix(summary="Do it.", commands=commands, effect=effect, **fields)


def finding(code: str, *fixes: Fix, severity: Severity = "error") -> Finding:
    return Finding(
        id=code,
        rule="r",
        severity=severity,
        certainty="certain",
        title="It is so",
        detail="",
        evidence=(),
        fixes=fixes,
        sources=(),
    )


def python(code: str, *words: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *words)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (fix(("/e/bin/python", "-m", "pip", "install", "numpy<2"), effect="changes-env"), None),
        (fix(("conda", "install", "--prefix", "/e", "numpy<2"), effect="changes-env"), None),
        (fix(("envdoctor", "provision", "--cuda", "cpu")), None),
        (fix(), "nothing to run: it is done by hand"),
        (fix(("apt", "install", "gcc"), effect="needs-root"), "it needs root"),
        (fix(("sudo", "ldconfig")), "it needs root"),  # whatever the mark says
        (fix(("nvidia-smi", "-L"), ("/usr/bin/sudo", "ldconfig")), "it needs root"),
        (fix(("sudo", "reboot"), effect="needs-reboot"), "it needs a reboot"),
        (fix(("wsl", "--update"), where="windows"), "it is typed in Windows"),
        (fix(("docker", "ps"), where="host"), "it is typed on the host, outside of this container"),
        (fix(("export", "A=b")), "it changes the shell that types it"),
        (fix(("nvidia-smi", "-L"), ("unset", "A")), "it changes the shell that types it"),
        (fix(("docker", "run", "IMAGE")), "a word in it is yours to put in"),
        (fix(("env", "-u", "X", "python", "train.py")), "a word in it is yours to put in"),
        (fix(("pip", "config", "set", "global.cache=/large/pip")), "a word in it is yours to put in"),
    ],
)
def test_only_what_is_safe_here_is_run(asked: Fix, why: str | None) -> None:
    assert by_hand(asked) == why


def test_notes_ask_for_nothing() -> None:
    found = Diagnosis(findings=(finding("A001", fix(), fix()), finding("B001", fix(), severity="note")), not_checked=())
    assert [(each.finding.id, each.first) for each in steps(found)] == [("A001", True), ("A001", False)]


class Bench:
    """A finding for each of the named files that is not there, with these ways out; and the person who says yes."""

    def __init__(self, folder: Path, ways: dict[str, tuple[Fix, ...]], answer: Callable[[Step], Answer] | None = None):
        self.folder, self.ways = folder, ways
        self.path = str(folder / "state" / "deep" / "walk.json")
        self.lines: list[str] = []
        self.asked: list[str] = []
        self.told: list[Done] = []
        self.answer = answer or (lambda step: "run")

    def look(self) -> Seen:
        missing = [code for code in self.ways if not (self.folder / code).exists()]
        found = tuple(finding(code, *self.ways[code]) for code in missing)
        return Seen(machine=Snapshot(), judged=Diagnosis(findings=found, not_checked=()))

    def walk(self) -> tuple[Seen, tuple[Done, ...]]:
        def answer(step: Step) -> Answer:
            self.asked.append(step.finding.id)
            return self.answer(step)

        person = Person(answer=answer, line=self.lines.append, told=lambda _, done: self.told.append(done))
        return walk(self.look(), self.look, person, self.path)

    def touching(self, name: str, word: str = "") -> tuple[str, ...]:
        code = "import sys; print('makes', sys.argv[2]); open(sys.argv[1], 'w').write('x')"
        return python(code, str(self.folder / name), word)

    def kept(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(Path(self.path).read_text(encoding="utf-8"))
        return document


def test_each_step_is_run_and_looked_at_and_written_down(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {})
    useless = fix(python("print('does nothing')"))
    # The first way out of B001 mends C001 as well, which then is not offered any more. Nothing is a shell's word.
    both = fix(bench.touching("B001", "$HOME; `x`"), bench.touching("C001"))
    bench.ways = {"A001": (useless,), "B001": (both, useless), "C001": (useless,)}
    seen, done = bench.walk()
    assert bench.asked == ["A001", "B001"]
    assert [(each.finding, each.gone, len(each.ran)) for each in done] == [("A001", False, 1), ("B001", True, 2)]
    assert [each.id for each in seen.judged.findings] == ["A001"]
    assert bench.lines == ["does nothing", "makes $HOME; `x`", "makes "]
    assert bench.told == list(done)
    kept = bench.kept()
    assert [each["finding"] for each in kept["steps"]] == ["A001", "B001"]
    assert kept["steps"][1]["ran"][0]["argv"] == list(both.commands[0])
    assert kept["steps"][1]["ran"][0]["said"] == ["makes $HOME; `x`"]


def test_a_failed_command_ends_the_walk(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {})
    failing = fix(python("raise SystemExit(7)"), bench.touching("never"))
    bench.ways = {"A001": (failing, fix(bench.touching("A001"))), "B001": (fix(bench.touching("B001")),)}
    _, done = bench.walk()
    assert bench.asked == ["A001"]
    assert done[0].failed is not None and done[0].failed.status == 7
    assert [each["status"] for each in bench.kept()["steps"][0]["ran"]] == [7]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("/no/such/program",), "FileNotFoundError"),
        (python("import os, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(60)"), "KeyboardInterrupt"),
    ],
)
def test_a_command_that_does_not_come_to_its_end(argv: tuple[str, ...], said: str, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _, done = Bench(tmp_path, {"A001": (fix(argv),)}).walk()
    finally:
        signal.signal(signal.SIGINT, before)
    failed = done[0].failed
    assert failed is not None and failed.status is None
    assert failed.said[0].startswith(said)


def test_what_is_left_or_by_hand_is_not_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {}, lambda step: "leave" if step.finding.id == "A001" else "run")
    bench.ways = {
        "A001": (fix(bench.touching("A001")),),
        "B001": (fix(bench.touching("B001"), effect="needs-root"),),
    }
    assert bench.walk()[1] == ()
    assert bench.asked == ["A001", "B001"]
    assert list(tmp_path.iterdir()) == []  # nothing is written down where nothing was run


def test_a_person_can_end_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {}, lambda step: "stop")
    bench.ways = {"A001": (fix(bench.touching("A001")),), "B001": (fix(bench.touching("B001")),)}
    assert bench.walk()[1] == ()
    assert bench.asked == ["A001"]


def test_nothing_is_run_that_cannot_be_written_down(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {})
    bench.ways = {"A001": (fix(bench.touching("A001")),)}
    (tmp_path / "state").write_text("a file where a folder is wanted", encoding="utf-8")
    with pytest.raises(errors.Unreadable) as refused:
        bench.walk()
    assert refused.value.hint == "set XDG_STATE_HOME to a folder that can be written"
    assert not (tmp_path / "A001").exists()


def test_secrets_are_not_written_down(tmp_path: Path) -> None:
    command = python("import sys; print('Looking in', sys.argv[1])", "https://ann:hunter2secret@pip.example.com/simple")
    bench = Bench(tmp_path, {"A001": (fix(command),)})
    bench.walk()
    assert "hunter2secret" not in Path(bench.path).read_text(encoding="utf-8")


def environment(*packages: Package) -> Snapshot:
    return Snapshot(pythons=(PythonEnv(executable="/e/bin/python", prefix="/e", packages=packages),))


def package(name: str, version: str, installer: str = "pip") -> Package:
    return Package(name=name, version=version, installer=installer)


def test_the_way_back_puts_packages_where_they_came_from() -> None:
    pip = package("pip", "25.0")
    before = environment(
        pip,
        package("torch", "2.5.1+cu121"),
        package("torchvision", "0.20.1+cu121"),
        package("numpy", "1.26.4"),
        package("mkl", "2024.1", "conda"),
    )
    after = environment(pip, package("torch", "2.11.0+cu128"), package("triton", "3.6"), package("numpy", "2.1.0"))
    run = ("/e/bin/python", "-m", "pip")
    assert way_back(before, after) == (
        (*run, "uninstall", "--yes", "triton"),
        ("conda", "install", "--prefix", "/e", "mkl=2024.1"),
        (
            *(*run, "install", "--no-deps", "torch==2.5.1+cu121", "torchvision==0.20.1+cu121"),
            *("--index-url", "https://download.pytorch.org/whl/cu121"),
        ),
        (*run, "install", "--no-deps", "numpy==1.26.4"),
    )
    assert way_back(before, before) == ()
    assert way_back(before, Snapshot()) == ()


@pytest.mark.skipif(os.name == "nt", reason="where Windows keeps it is read from LOCALAPPDATA")
def test_where_it_is_written_down() -> None:
    name = f"1970-01-01T00-00-00Z-{os.getpid()}.json"
    assert record_path({"HOME": "/h"}, 0) == f"/h/.local/state/envdoctor/fixes/{name}"
    assert record_path({"HOME": "/h", "XDG_STATE_HOME": "/s"}, 0) == f"/s/envdoctor/fixes/{name}"
    assert record_path({"HOME": "/h", "XDG_STATE_HOME": "relative"}, 0) == f"/h/.local/state/envdoctor/fixes/{name}"
    with pytest.raises(errors.Unreadable):
        record_path({}, 0)
