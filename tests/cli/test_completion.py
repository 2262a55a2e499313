"""The words of envdoctor are completed by itself: real bash asks it, and the others are answered in their form."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from envdoctor.cli import run
from envdoctor.cli.commands import COMMANDS
from envdoctor.rules.registry import rules

SHELLS = ("bash", "zsh", "fish")


@pytest.fixture
def program(tmp_path: Path) -> dict[str, str]:
    """Give an environment in which `envdoctor` is a program."""
    file = tmp_path / "envdoctor"
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m envdoctor "$@"\n')
    file.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(Path.cwd())}


def asked(program: dict[str, str], shell: str, words: str) -> list[str]:
    """Ask as the script of that shell does; the last word is being typed."""
    count = len(words.split(" ")) - 1
    more = {"_ENVDOCTOR_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": str(count)}
    if shell == "fish":
        more["COMP_CWORD"] = words.split(" ")[-1]
    done = subprocess.run(["envdoctor"], env={**program, **more}, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_bash_completes(program: dict[str, str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    script = (
        "source <(envdoctor completion bash)\nCOMP_WORDS=(envdoctor diagnose --format s)\nCOMP_CWORD=3\n"
        '_envdoctor_completion envdoctor\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run([bash, "-c", script], env=program, capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (["sarif"], "")


def test_every_command_is_completed(program: dict[str, str]) -> None:
    assert asked(program, "bash", "envdoctor ") == [f"plain,{name}" for name in COMMANDS]


def test_zsh_is_told_what_a_command_is_for(program: dict[str, str]) -> None:
    kind, name, told = asked(program, "zsh", "envdoctor diag")
    assert (kind, name) == ("plain", "diagnose")
    assert told.startswith("Say what is wrong with this machine")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("envdoctor explain drv007", ["plain,DRV007"]),
        ("envdoctor explain numpy2-", ["plain,numpy2-abi"]),
        (
            "envdoctor diagnose --only DRV001,drv00",
            [f"plain,DRV001,{r.id}" for r in rules() if r.id < "DRV01" and r.id[:5] == "DRV00"],
        ),
        ("envdoctor schema ou", ["plain,outcomes"]),
        ("envdoctor diagnose --from x", ["file,x"]),
        ("envdoctor completion f", ["plain,fish"]),
    ],
)
def test_what_only_envdoctor_knows_is_completed(words: str, expected: list[str], program: dict[str, str]) -> None:
    assert sorted(asked(program, "bash", words)) == sorted(expected)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_a_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert f"_ENVDOCTOR_COMPLETE={shell}_complete" in text
    binary = shutil.which(shell)
    if binary is not None:
        assert subprocess.run([binary, "-n", "-c", text], check=False).returncode == 0


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "cmd"]) == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err
