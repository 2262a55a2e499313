from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from envdoctor import errors
from envdoctor.cli import run


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (("vgg16", "--goal", "inference"), errors.USAGE, "there are: gpt2"),
        (("resnet18",), errors.USAGE, "--goal"),
        (("resnet18", "--goal", "dream"), errors.USAGE, "dream"),
        (("resnet18", "--goal", "inference", "--budget", "0"), errors.USAGE, "--budget"),
        (("resnet18", "--goal", "inference", "--budget", "nan"), errors.USAGE, "--budget"),
        (("resnet18", "--goal", "inference", "--batch", "0"), errors.USAGE, "--batch"),
        (("resnet18", "--goal", "inference", "--memory-cap", "much"), errors.USAGE, "much"),
        (("resnet18", "--goal", "inference", "--plot", "x.png"), errors.USAGE, "x.png"),
        (("resnet18", "--goal", "inference", "--plot", "/nowhere/x.svg"), errors.UNREADABLE, "/nowhere"),
        (("resnet18", "--goal", "inference", "--python", "/nowhere/python"), errors.USAGE, "/nowhere/python"),
        (("gpt2", "--goal", "inference", "--size", "4096"), errors.USAGE, "--size"),
    ],
)
def test_bad_words(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int, word: str) -> None:
    assert run(["tune", *arguments]) == status
    printed = capsys.readouterr()
    assert printed.out == "" and word in printed.err and "Traceback" not in printed.err


def test_a_plot_that_exists_is_kept(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plot = tmp_path / "x.svg"
    plot.write_text("mine")
    assert run(["tune", "resnet18", "--goal", "inference", "--plot", str(plot)]) == errors.UNREADABLE
    assert plot.read_text() == "mine" and "--force" in capsys.readouterr().err


def test_without_torch_nothing_is_tuned_and_the_document_says_why(
    capsys: pytest.CaptureFixture[str], bare_python: str, tmp_path: Path
) -> None:
    plot = tmp_path / "x.svg"
    options = (
        "--goal",
        "training",
        "--device",
        "cpu",
        "--python",
        bare_python,
        "--format",
        "json",
        "--plot",
        str(plot),
    )
    assert run(["tune", "gpt2", *options]) == errors.NOT_VERIFIED
    document = json.loads(capsys.readouterr().out)
    assert [each["reason"] for each in document["attempts"]] == [f"torch is not installed in {bare_python}"]
    assert document["best"] is None and document["budget_seconds"] == 300
    assert ElementTree.parse(plot).getroot().tag.endswith("svg")
