from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from envdoctor import errors
from envdoctor.cli import run


def verify(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = run(["verify", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.mark.torch
def test_a_good_environment(capsys: pytest.CaptureFixture[str], torch_python: str, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    arguments = ("--python", torch_python, "--workload", "cnn", "--device", "cpu", "--quick", "--logs", str(logs))
    status, out, err = verify(capsys, *arguments, "--format", "json")
    assert status == errors.FINE
    (outcome,) = json.loads(out)["outcomes"]
    assert (outcome["workload"], outcome["framework"], outcome["device"]) == ("cnn", "torch", "cpu")
    assert outcome["status"] == "passed"
    assert outcome["metrics"]["parameters"] == 11689512
    wanted = {"loss_first", "loss_last", "max_abs_error", "throughput", "unit", "peak_memory_bytes"}
    assert all(outcome["metrics"][name] for name in wanted)
    assert err.splitlines() == ["cnn: import", "cnn: build", "cnn: forward", "cnn: train", "cnn: speed"]
    assert '"outcome"' in Path(outcome["log"]).read_text()
    assert os.listdir(logs) == ["torch-cnn.log"]


def test_an_environment_without_torch(capsys: pytest.CaptureFixture[str], bare_python: str) -> None:
    status, out, _ = verify(capsys, "--python", bare_python)
    assert status == errors.NOT_VERIFIED
    assert out.count("torch is not installed in") == 2
    assert f"{bare_python} -m pip install torch" in " ".join(out.split())


def test_the_active_environment_is_the_default(
    capsys: pytest.CaptureFixture[str], bare_python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", str(Path(bare_python).parent.parent))
    status, out, _ = verify(capsys, "--workload", "cnn", "--format", "json")
    assert status == errors.NOT_VERIFIED
    document: dict[str, Any] = json.loads(out)
    assert [each["reason"] for each in document["outcomes"]] == [f"torch is not installed in {bare_python}"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--python", "/nowhere/python"), "/nowhere/python"),
        (("--python", "x", "--conda-env", "y"), "give one of them"),
        (("--workload", "vgg"), "no workload vgg"),
        (("--workload", ","), "names nothing"),
        (("--memory-cap", "much"), "not a size"),
        (("--memory-cap", "0"), "above zero"),
        (("--device", "tpu"), "tpu"),
        (("--pretrained", "--framework", "jax"), "trained networks are run in torch"),
        (("--workload", "pretrained-cnn", "--image", "x"), "proved without network"),
    ],
)
def test_words_that_do_not_fit_are_a_usage_problem(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], word: str
) -> None:
    status, out, err = verify(capsys, *arguments)
    assert (status, out) == (errors.USAGE, "")
    assert word in err
