"""What the documents promise is what the program does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from documents import blocks, inline, lines

from envdoctor import errors
from envdoctor.cli.commands import COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    found = re.search(rf"<!-- command: {name} -->\n```bash\n(.+?)\n```", README, re.DOTALL)
    assert found, f"README has no command {name}"
    return found.group(1)


@pytest.mark.parametrize("name", ["onboard", "test"])
def test_the_two_commands_are_one_line_of_shell(name: str) -> None:
    command = block(name)
    assert "\n" not in command
    assert subprocess.run(("bash", "-n", "-c", command), check=False).returncode == 0


def test_ci_runs_the_test_command_of_the_readme() -> None:
    extract = re.search(r"awk '(.+?)' README\.md", (ROOT / ".ci" / "run").read_text())
    assert extract
    found = subprocess.run(("awk", extract.group(1), "README.md"), cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == block("test")


def test_the_chinese_readme_has_the_blocks_of_the_english_one() -> None:
    def said(text: str) -> list[tuple[str, ...]]:
        """Give each block; of one that shows what is printed, the commands without their language."""
        return [
            tuple(line.replace(" --lang zh", "") for line in lines(each)) if each.language == "console" else each
            for each in blocks(text)
        ]

    assert said(CHINESE) == said(README)


def test_the_chinese_readme_names_the_same_commands_options_and_statuses() -> None:
    def rows(text: str) -> list[str]:
        return re.findall(r"^\| (`envdoctor .+?`|\d+) \|", text, re.MULTILINE)

    def named(text: str) -> set[str]:
        return {span for span in inline(text) if re.match(r"(envdoctor|python|pipx|sudo|\.venv)\b|--", span)}

    assert rows(CHINESE) == rows(README)
    # What it says besides: the mirrors by name.
    assert named(CHINESE) - {"--mirror tuna"} == named(README)


def test_the_chinese_readme_has_the_sections_and_links_of_the_english_one() -> None:
    def shape(text: str) -> list[int]:
        return [len(found) for found in re.findall(r"^(#+) ", text, re.MULTILINE)]

    def links(text: str) -> set[str]:
        return set(re.findall(r"\]\(([^)]+)\)", text)) - {"README.md", "README.zh.md"}

    assert shape(CHINESE) == shape(README)
    assert links(CHINESE) == links(README)


def test_links_of_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README + CHINESE):
        assert (ROOT / target).exists(), target


def test_every_command_is_in_the_readme() -> None:
    for command in COMMANDS:
        assert f"`envdoctor {command}" in README, command


def test_every_exit_status_is_in_the_readme() -> None:
    written = {int(status) for status in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    statuses = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert written == statuses - {errors.INTERRUPTED}


def test_every_path_of_contributing_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`((?:envdoctor|tests|docs|benchmarks|tools|templates)/[^`<> ]*)`", text)
    assert len(paths) > 8
    for path in paths:
        assert (ROOT / path).exists(), path
