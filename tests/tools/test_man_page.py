"""The page of `man envdoctor` is that of today's commands, and roff has nothing to say against it."""

from __future__ import annotations

import doctest
import re
import shutil
import subprocess

import pytest
import refresh_man

from envdoctor.cli.commands import COMMANDS


def test_the_page_is_that_of_today() -> None:
    assert refresh_man.page() == refresh_man.PAGE.read_text(encoding="utf-8"), "run python tools/refresh_man.py"


def test_every_command_has_its_section() -> None:
    assert re.findall(r'^\.SS "envdoctor (.+)"$', refresh_man.page(), re.MULTILINE) == list(COMMANDS)


def test_text_stays_text() -> None:
    failed, tried = doctest.testmod(refresh_man)
    assert (failed, tried > 0) == (0, True)


@pytest.mark.programs
@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff here")
def test_groff_draws_it_without_a_warning() -> None:
    command = ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", str(refresh_man.PAGE)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stderr == ""
    assert "--format [text|json|html|markdown|sarif|junit|github|prometheus]" in done.stdout
    assert "python -m torch.utils.collect_env | envdoctor diagnose --from -" in done.stdout
    assert re.search(r"^\s+4\s+no published stack fits$", done.stdout, re.MULTILINE)
