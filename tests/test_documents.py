"""Every example of the documents is what it says: it is run, or at least understood by the command it calls."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import click
import pytest
import yaml
from documents import DOCUMENTS, ROOT, Block, blocks, calls, inline, lines, options, parse

from envdoctor.cli.commands import COMMANDS, envdoctor

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LANGUAGES = ("bash", "console", "dockerfile", "json", "python", "text", "toml", "yaml")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_calls_are_understood_by_their_commands(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = path.read_text(encoding="utf-8")
    written = [line for each in blocks(text) if each.language in ("bash", "console") for line in lines(each)]
    for each in blocks(text):
        if each.language in ("dockerfile", "yaml"):
            written += re.findall(r"(?:CMD|run:) (.*\benvdoctor .*)", each.content)
    written += [span for span in inline(text) if span.startswith("envdoctor ")]
    for line in written:
        for words in calls(line):
            try:
                parse(words)
            except click.UsageError as problem:
                pytest.fail(f"{line}: {problem.format_message()}")


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_of_help_are_understood(command: str) -> None:
    found = envdoctor.get_command(click.Context(envdoctor), command)
    assert found is not None
    examples = [line for line in (found.epilog or "").splitlines() if "envdoctor " in line and line.startswith("  ")]
    called = [words for line in examples for words in calls(line)]
    assert any(words[0] == command for words in called)
    for words in called:
        parse(words)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_options_in_running_text_exist(path: Path) -> None:
    spans = [span for span in inline(path.read_text(encoding="utf-8")) if span.startswith("--")]
    named = {each for span in spans for each in re.findall(r"(?<!\S)--[a-z][a-z-]+", span)}
    assert named - options() == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_blocks_of_code_are_what_they_are_called(path: Path) -> None:
    for each in blocks(path.read_text(encoding="utf-8")):
        assert each.language in LANGUAGES, each.content
        if each.language == "bash":
            assert subprocess.run(("bash", "-n", "-c", each.content), check=False).returncode == 0, each.content
            for tool in re.findall(r"\btools/\w+\.py", each.content):
                assert (ROOT / tool).exists(), tool
        elif each.language == "python":
            compile(each.content, name(path), "exec")
        elif each.language == "toml":
            tomllib.loads(each.content)
        elif each.language == "json":
            json.loads(each.content)
        elif each.language == "yaml":
            assert yaml.safe_load(each.content)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_examples_run(path: Path, tmp_path: Path) -> None:
    found = [each for each in blocks(path.read_text(encoding="utf-8")) if each.runs or each.kind == "file"]
    # The commands of the README are run by CI (test) and by a browser of its report (onboard).
    found = [each for each in found if each.kind != "command"]
    home = tmp_path / "home"
    home.mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "VIRTUAL_ENV", "CONDA_"))}
    environ = {
        **kept,
        "HOME": str(home),
        "PATH": os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"])),
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "80",
        "PYTHONPATH": str(ROOT),
    }
    environ.pop("LANGUAGE", None)
    folder = tmp_path / "work"
    folder.mkdir()
    for each in found:
        if each.kind == "file":
            (folder / each.note).write_text(each.content, encoding="utf-8")
        elif each.language == "python":
            ended((sys.executable, "-c", each.content), each, folder, environ)
        elif each.language == "console":
            shown(each, folder, environ)
        else:
            for line in lines(each):
                ended(("bash", "-o", "pipefail", "-c", line), each, folder, environ)


def ended(command: tuple[str, ...], block: Block, folder: Path, environ: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in block.statuses, f"{command[-1]}\n{done.stdout}\n{done.stderr}"


def shown(block: Block, folder: Path, environ: dict[str, str]) -> None:
    """Run each line after `$`; what is printed must be what follows it, where … stands for anything."""
    for part in re.split(r"^(?=\$ )", block.content, flags=re.MULTILINE)[1:]:
        line, _, expected = part[2:].partition("\n")
        status = re.search(r"^\[exit status (\d+)\]\n", expected, re.MULTILINE)
        expected = expected.replace(status.group(), "") if status else expected
        done = subprocess.run(
            ("bash", "-c", line), cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == (int(status.group(1)) if status else 0), done.stderr
        assert re.fullmatch(pattern(expected), done.stdout), f"$ {line}\n{done.stdout}"


def pattern(expected: str) -> str:
    r"""Write a text as a regular expression; … alone in a line is any lines, inside of one any part of it.

    >>> re.fullmatch(pattern("a\n…\nb …\n"), "a\nx\ny\nb c\n") is not None
    True
    """
    written = ""
    for line in expected.splitlines():
        written += r"(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n"
    return written


def test_what_was_printed_is_compared() -> None:
    assert re.fullmatch(pattern("a\n…\nb …\n"), "a\nx\ny\nb c\n")
    assert not re.fullmatch(pattern("a\n…\nb …\n"), "a\nx\nbc\n")
    assert not re.fullmatch(pattern("a\n"), "a\nb\n")


def test_a_call_that_does_not_fit_is_found() -> None:
    (words,) = calls("A=1 .envdoctor/bin/envdoctor diagnose --form json > x")
    assert words == ["diagnose", "--form", "json"]
    with pytest.raises(click.UsageError, match="form"):
        parse(words)
    with pytest.raises(click.UsageError, match="no command heal"):
        parse(["heal"])
    assert list(calls("python -m pip install ./envdoctor && ls")) == []


def test_enough_examples_are_really_run() -> None:
    every = [each for path in DOCUMENTS for each in blocks(path.read_text(encoding="utf-8"))]
    shell = [each for each in every if each.runs and each.language != "python" and each.kind != "command"]
    run = [line for each in shell for line in lines(each)]
    called = {words[0] for line in run for words in calls(line) if words}
    # These need torch, the network, or a program of the person's; their own tests run them.
    assert set(COMMANDS) - called <= {"verify", "tune", "onboard", "run", "schema", "completion"}
