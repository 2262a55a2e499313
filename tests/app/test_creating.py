"""`provision --create` by venv and pip: the environment is made, kept, and nobody else's is touched."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from test_onboarding import offline, wheel

__all__ = ["offline"]  # a fixture


def provision(environ: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "envdoctor", "provision", "--cuda", "cpu", "--create", "-o", str(folder), *words),
        capture_output=True,
        text=True,
        env=environ,
        timeout=300,
        check=False,
    )


def test_an_environment_is_made_where_it_is_wanted(offline: dict[str, str], tmp_path: Path) -> None:
    wheel(Path(offline["PIP_FIND_LINKS"]), "torch", "2.13.0+cpu")
    path = tmp_path / "my env"
    done = provision(offline, tmp_path / "files", "--path", str(path), "--format", "json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    made = answer["environment"]
    assert (made["manager"], made["path"], made["stack"]["packages"]["torch"]) == ("venv", str(path), "2.13.0+cpu")
    command = (made["python"], "-c", "import torch; print(torch.__version__)")
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "2.13.0+cpu\n"
    assert "torch==2.13.0+cpu" in (tmp_path / "files" / "requirements.txt").read_text()

    again = provision(offline, tmp_path / "files", "--path", str(path))
    assert again.returncode == 0
    assert "going on in" in again.stderr and "installing" not in again.stderr
    assert f". '{path}'/bin/activate" in again.stdout


def test_a_folder_of_somebody_else_is_left_alone(offline: dict[str, str], tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "precious").write_text("work")
    link = tmp_path / "link"
    link.symlink_to(mine)
    for path in (mine, link):
        done = provision(offline, tmp_path / "files", "--path", str(path), "--force")
        assert done.returncode == 3
        assert "envdoctor did not make it" in done.stderr and "Traceback" not in done.stderr
    assert (mine / "precious").read_text() == "work"
    assert not (tmp_path / "files").exists()
