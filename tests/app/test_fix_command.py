"""`diagnose --fix` as a person uses it: in a real environment, with real pip and a folder of wheels."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from loopback_index import wheel

from envdoctor.cli import run

Capture = pytest.CaptureFixture[str]
MACHINE = str(Path(__file__).parents[1] / "machines" / "conda-numpy2-torch21")


class Place:
    """An environment in which NumPy 2 stands beside a PyTorch that was compiled for NumPy 1 (NP001)."""

    def __init__(self, folder: Path, env: Path) -> None:
        self.folder, self.wheels, self.python = folder, folder / "wheels", env / "bin" / "python"
        self.wheels.mkdir()
        self.environ = {
            **os.environ,
            "XDG_STATE_HOME": str(folder / "state"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "TERM": "dumb",
        }
        site = next((env / "lib").glob("python*")) / "site-packages"
        for old in site.glob("numpy*"):
            shutil.rmtree(old)
        for name, version in (("numpy", "2.1.0"), ("torch", "2.1.0")):
            with zipfile.ZipFile(wheel(self.wheels, name, version)) as archive:
                archive.extractall(site)

    def offer(self, *requires: str) -> None:
        wheel(self.wheels, "numpy", "1.26.4", *requires)

    def command(self, *words: str) -> list[str]:
        fixed = ("diagnose", "--isolated", "--only", "NP001", "--python", str(self.python), "--fix")
        return [sys.executable, "-m", "envdoctor", *fixed, *words]

    def diagnose(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self.environ,
            cwd=self.folder,
        )

    def numpy(self) -> str:
        asked = [str(self.python), "-c", "import numpy; print(numpy.__version__)"]
        return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()

    def records(self) -> list[Path]:
        return sorted((self.folder / "state").rglob("*.json"))


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fix") / "env"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def place(tmp_path: Path, env: Path) -> Place:
    return Place(tmp_path, env)


def test_nothing_runs_unasked_and_yes_runs_it(place: Place) -> None:
    place.offer()
    for words, said in (((), "no terminal, so nothing was run"), (("--dry-run",), "pip install 'numpy<2'")):
        shown = place.diagnose(*words)
        assert shown.returncode == 1, shown.stderr
        assert said in shown.stdout
    assert (place.numpy(), place.records()) == ("2.1.0", [])

    done = place.diagnose("--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "  | Successfully installed numpy-1.26.4\nNP001 is gone.\nTo go back:\n" in done.stdout
    assert "Nothing is left to fix." in done.stdout
    assert place.numpy() == "1.26.4"
    (record,) = place.records()
    assert str(record) in done.stdout
    (step,) = json.loads(record.read_text(encoding="utf-8"))["steps"]
    assert (step["finding"], step["gone"], step["ran"][0]["status"]) == ("NP001", True, 0)
    # The way back is one that works.
    for command in step["back"]:
        subprocess.run(command, check=True, env=place.environ, capture_output=True)
    assert place.numpy() == "2.1.0"


def test_a_step_that_fails_says_so_and_how_to_go_back(place: Place) -> None:
    failed = place.diagnose("--yes")  # nothing offers NumPy 1
    assert failed.returncode == 6
    assert "this ended with status 1: " in failed.stderr and "pip install 'numpy<2'" in failed.stderr
    assert "it changed none of the environment's packages" in failed.stderr
    assert "  | ERROR: No matching distribution found for numpy<2" in failed.stdout
    (record,) = place.records()
    assert json.loads(record.read_text(encoding="utf-8"))["steps"][0]["gone"] is False
    assert place.numpy() == "2.1.0"


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
@pytest.mark.parametrize(
    ("typed", "version", "status"), [("y\n", "1.26.4", 0), ("n\nq\n", "2.1.0", 1), ("", "2.1.0", 130)]
)
def test_a_person_is_asked(typed: str, version: str, status: int, place: Place) -> None:
    place.offer()
    shown, ended = _typed(place, typed or "\x04")
    assert ended == status, shown
    assert "Run it? y runs it, n leaves it, q ends" in shown
    assert place.numpy() == version
    assert ("Nothing was run." in shown) == (status == 1)


def _typed(place: Place, keys: str) -> tuple[str, int]:
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        place.command(), stdin=theirs, stdout=theirs, stderr=theirs, env=place.environ, cwd=place.folder
    )
    os.close(theirs)
    os.write(ours, keys.encode())
    said = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # nobody holds the other end any more
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    return said.decode().replace("\r\n", "\n"), process.wait()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--fix", "--from", MACHINE), "--fix changes this machine, and --from is about something else"),
        (("--fix", "--root", "/mnt"), "--fix changes this machine, and --root is about something else"),
        (("--fix", "--format", "json"), "--fix changes this machine, and --format json is about something else"),
        (("--fix", "--requirements", __file__), "is about something else"),
        (("--dry-run",), "--dry-run and --yes belong to --fix"),
        (("--yes",), "--dry-run and --yes belong to --fix"),
        (("--fix", "--yes", "--dry-run"), "give one of them"),
    ],
)
def test_words_that_do_not_fit(words: tuple[str, ...], said: str, capsys: Capture) -> None:
    assert run(["diagnose", "--isolated", *words]) == 2
    assert said in capsys.readouterr().err


def test_where_nothing_is_wrong_there_is_nothing_to_walk_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert run(["diagnose", "--isolated", "--only", "DRV007", "--fix", "--yes"]) == 0
    assert "There is no error or warning with a way out to walk through." in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def verbose(capsys: Capture) -> Callable[..., str]:
    def shown(*words: str) -> str:
        run(
            [
                "diagnose",
                "--isolated",
                "--from",
                MACHINE.replace("conda-numpy2-torch21", "wsl2-linux-driver-inside"),
                *words,
            ]
        )
        return capsys.readouterr().out

    return shown


def test_verbose_names_the_rules_that_were_not_checked(verbose: Callable[..., str]) -> None:
    assert "rules not checked (-v names them)" in verbose()
    for flag in ("-v", "--verbose"):
        assert "not checked: AMD001, AMD002," in verbose(flag)
