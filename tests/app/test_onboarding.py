"""Onboarding as a person meets it: behind a firewall, with wheels of their own, interrupted, on a full disk."""

from __future__ import annotations

import html
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from loopback_index import serving

CLOSED = "http://127.0.0.1:9"  # nothing listens on the discard port


def wheel(folder: Path, name: str, version: str) -> None:
    """Make a wheel that holds nothing but its name and an empty module."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
        archive.writestr(f"{info}/RECORD", record)


@pytest.fixture
def offline(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who reaches no index and has a folder of wheels, named in pip's configuration."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "numpy", "2.2.6")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "VIRTUAL_ENV"))}
    return {
        **kept,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": str(wheels),
        "PIP_INDEX_URL": f"{CLOSED}/simple",
        "HTTPS_PROXY": CLOSED,
        "HTTP_PROXY": CLOSED,
        "NO_PROXY": "",
    }


def onboard(environ: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "envdoctor", "onboard", "-o", str(folder), *words),
        capture_output=True,
        text=True,
        env=environ,
        timeout=600,
        check=False,
    )


def report(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return read


def test_an_index_out_of_reach(offline: dict[str, str], tmp_path: Path) -> None:
    wheel(Path(offline["PIP_FIND_LINKS"]), "torch", "2.13.0+cpu")
    wheel(Path(offline["PIP_FIND_LINKS"]), "torch", "2.12.1+cpu")
    folder = tmp_path / "new"
    done = onboard(offline, folder, "--cuda", "cpu")
    written = report(folder)
    assert written["stack"]["packages"]["torch"] == "2.13.0+cpu"
    assert written["stack"]["index_url"] is None
    assert "torchvision" not in written["stack"]["packages"]  # no build of it lies beside that torch
    assert any("own package index" in reason["choice"] for reason in written["reasons"])
    assert "cannot be reached" in done.stdout
    # The wheel is empty, so this environment proves nothing, and that is what must be said.
    assert done.returncode == 5
    assert written["verified"] is False
    assert {outcome["status"] for outcome in written["outcomes"]} <= {"failed", "crashed"}
    assert "not proven" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    for name in ("environment.yml", "requirements.txt", "Dockerfile", "README.md", "verify/cnn.py", "logs/onboard.log"):
        assert (folder / name).is_file(), name
    assert "torch==2.13.0+cpu" in (folder / "requirements.txt").read_text()
    page = html.unescape((folder / "report.html").read_text(encoding="ascii"))
    for part in ("machine", "findings", "stack", "proof", "files", "snapshot"):
        assert f'<section id="{part}"' in page, part
    assert (folder / "requirements.txt").read_text() in page
    assert "verify/cnn.py</code></summary>" not in page


def test_a_mirror_is_asked_and_stands_in_every_file(offline: dict[str, str], tmp_path: Path) -> None:
    files = tmp_path / "index"
    files.mkdir()
    wheel(files, "torch", "2.12.1+cpu")
    wheel(files, "numpy", "2.2.6")
    folder = tmp_path / "new"
    environ = {name: value for name, value in offline.items() if name not in ("PIP_FIND_LINKS", "PIP_INDEX_URL")}
    with serving(files) as index:
        reaching = {**environ, "NO_PROXY": "127.0.0.1", "PIP_RETRIES": "0"}
        done = onboard(reaching, folder, "--cuda", "cpu", "--mirror", index.url)
        assert done.returncode == 5, done.stderr  # an empty wheel proves nothing
        assert any("numpy" in path for path in index.asked)
    written = report(folder)
    assert written["stack"]["packages"]["torch"] == "2.12.1+cpu"
    assert any(reason["choice"].startswith("mirror 127.0.0.1") for reason in written["reasons"])
    for name in ("requirements.txt", "README.md", "state.json"):
        assert index.url in (folder / name).read_text(), name
    # Another mirror is another wish: it does not go on with what the first one gave.
    again = onboard(environ, folder, "--cuda", "cpu", "--mirror", f"{CLOSED}/simple")
    assert again.returncode == 5 and "going on" not in again.stderr
    refused = onboard(environ, tmp_path / "other", "--mirror", "tunna")
    assert refused.returncode == 2 and "did you mean tuna" in refused.stderr and not (tmp_path / "other").exists()


def test_a_constraint_of_the_person_holds(offline: dict[str, str], tmp_path: Path) -> None:
    wheel(Path(offline["PIP_FIND_LINKS"]), "torch", "2.13.0+cpu")
    wheel(Path(offline["PIP_FIND_LINKS"]), "torch", "2.12.1+cpu")
    limits = tmp_path / "limits.txt"
    limits.write_text("torch<2.13\n")
    onboard({**offline, "PIP_CONSTRAINT": str(limits)}, tmp_path / "new", "--cuda", "cpu")
    assert report(tmp_path / "new")["stack"]["packages"]["torch"] == "2.12.1+cpu"


def test_nothing_that_fits_is_on_offer(offline: dict[str, str], tmp_path: Path) -> None:
    wheel(Path(offline["PIP_FIND_LINKS"]), "torch", "1.4.0+cpu")
    done = onboard(offline, tmp_path / "new", "--cuda", "cpu")
    assert done.returncode == 5
    lines = [line for line in done.stderr.splitlines() if not line.startswith("[")]
    assert len(lines) == 2, done.stderr
    assert "offers nothing that fits" in lines[0]
    assert "find-links" in lines[0]
    assert "start again" in lines[1]
    assert not (tmp_path / "new" / "report.json").exists()


def test_an_environment_of_somebody_else_is_left_alone(offline: dict[str, str], tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "env" / "precious"
    mine.parent.mkdir(parents=True)
    mine.write_text("work")
    done = onboard(offline, tmp_path / "mine", "--cuda", "cpu")
    assert done.returncode == 3
    assert "envdoctor did not make it" in done.stderr
    assert mine.read_text() == "work"


def test_no_conda_and_no_channel(offline: dict[str, str], tmp_path: Path) -> None:
    bare = {name: value for name, value in offline.items() if not name.startswith(("CONDA", "MAMBA"))}
    bare["HOME"] = str(tmp_path)
    done = onboard({**bare, "PATH": str(Path(sys.executable).parent)}, tmp_path / "new", "--manager", "conda")
    assert done.returncode == 3
    assert "the embedded solver" in done.stderr and "conda-forge/" in done.stderr and "cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stack_that_does_not_exist(offline: dict[str, str], tmp_path: Path) -> None:
    done = onboard(offline, tmp_path / "new", "--cuda", "12.2")
    assert done.returncode == 4
    assert "12.2" in done.stdout
    assert not (tmp_path / "new" / "env").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk(offline: dict[str, str], tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)), check=False)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        wheel(Path(offline["PIP_FIND_LINKS"]), "torch", "2.13.0+cpu")
        done = onboard(offline, small / "new", "--cuda", "cpu")
        assert done.returncode in (3, 5)
        lines = [line for line in done.stderr.splitlines() if not line.startswith("[")]
        assert 1 <= len(lines) <= 2, done.stderr
        assert "Traceback" not in done.stderr
    finally:
        subprocess.run(("umount", str(small)), check=True)


@pytest.mark.torch
def test_interrupted_and_started_again(tmp_path: Path) -> None:
    """The main job, for real, with the person's own configuration."""
    folder = tmp_path / "new"
    command = (sys.executable, "-m", "envdoctor", "onboard", "--cuda", "cpu", "-o", str(folder), "--format", "json")
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    for line in first.stderr:
        if "installing" in line:
            first.send_signal(signal.SIGINT)
            break
    said = first.stderr.read()
    assert first.stdout is not None
    assert first.stdout.read() == ""
    first.stdout.close()
    first.stderr.close()
    assert first.wait(timeout=60) == 130
    assert said.strip() == "envdoctor: interrupted"
    assert json.loads((folder / "state.json").read_text())["done"] == ["created"]

    second = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert second.returncode == 0, second.stderr
    assert "going on in" in second.stderr
    assert "creating a virtual environment" not in second.stderr
    written = json.loads(second.stdout)
    assert written["verified"] is True
    assert [outcome["status"] for outcome in written["outcomes"]] == ["passed", "passed"]
    assert [outcome["metrics"]["parameters"] for outcome in written["outcomes"]] == [11689512, 124439808]
    asked = subprocess.run(
        (written["python"], "-c", "import torch; print(torch.__version__)"), capture_output=True, text=True, check=True
    )
    assert asked.stdout.strip() == written["stack"]["packages"]["torch"]
    assert asked.stdout.strip().endswith("+cpu")
    assert json.loads((folder / "report.json").read_text()) == written
