from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from envdoctor.host.watching import Ended
from envdoctor.model.outcome import Outcome
from envdoctor.verify.verdicts import EXPECTED, Asked, Heard, verdict

ASKED = Asked(workload="cnn", framework="torch", device="auto", timeout=60.0, memory_cap=None)
LEFT = Ended(returncode=0, cause="itself", seconds=3.0, peak_bytes=1 << 20, tail="")


def good() -> dict[str, Any]:
    return {
        "workload": "cnn",
        "framework": "torch",
        "device": "cpu",
        "status": "passed",
        "metrics": {
            "parameters": 11689512,
            "loss_first": 2.3,
            "loss_last": 0.3,
            "max_abs_error": 1e-6,
            "tolerance": 1e-4,
            "throughput": 40.0,
            "unit": "images/s",
            "peak_memory_bytes": 700 << 20,
        },
        "checks": [
            {"name": name, "passed": True, "expected": "a", "actual": "a"} for name in EXPECTED["torch", "cnn"].checks
        ],
    }


def judged(said: dict[str, Any] | bytes, asked: Asked = ASKED, times: int = 1) -> Outcome:
    line = said if isinstance(said, bytes) else json.dumps(said).encode()
    return verdict(asked, Heard(outcomes=(line,) * times, stage="speed"), LEFT)


def test_a_good_outcome_passes() -> None:
    outcome = judged(good())
    assert (outcome.status, outcome.reason) == ("passed", None)


def changed(path: str, value: Any) -> dict[str, Any]:
    said: Any = copy.deepcopy(good())
    place = said
    *parents, last = path.split(".")
    for name in parents:
        place = place[int(name) if name.isdigit() else name]
    place[last] = value
    return dict(said)


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("checks.1.passed", False, "'output agrees with float64' failed"),
        ("checks", [], "checked nothing"),
        ("checks.4.name", "something else", "'loss falls' is missing"),
        ("metrics.parameters", 11689511, "11689511 parameters; published are 11689512"),
        ("metrics.parameters", None, "None parameters"),
        ("metrics.loss_last", 2.2, "did not fall enough"),
        ("metrics.loss_last", None, "did not fall enough"),
        ("metrics.loss_first", None, "did not fall enough"),
        ("metrics.max_abs_error", 2e-4, "largest error"),
        ("metrics.max_abs_error", None, "largest error"),
        ("metrics.tolerance", None, "largest error"),
        ("metrics.throughput", 0.0, "throughput is 0.0"),
        ("metrics.throughput", None, "throughput is None"),
        ("metrics.peak_memory_bytes", 0, "peak memory is 0"),
        ("workload", "gpt2", "result of torch gpt2"),
    ],
)
def test_a_pass_that_something_speaks_against_is_none(path: str, value: Any, word: str) -> None:
    outcome = judged(changed(path, value))
    assert outcome.status == "failed"
    assert (
        outcome.reason is not None
        and outcome.reason.startswith("it says that it passed, but")
        and word in outcome.reason
    )
    assert outcome.workload == "cnn"


def test_two_results_are_none() -> None:
    assert judged(good(), times=2).status == "failed"


def test_the_device_must_be_the_one_asked_for() -> None:
    asked = Asked(workload="cnn", framework="torch", device="cuda", timeout=60.0, memory_cap=None)
    outcome = judged(good(), asked)
    assert outcome.status == "failed"
    assert outcome.reason is not None and "ran on cpu in place of cuda" in outcome.reason


@pytest.mark.parametrize(
    "said",
    [
        b"null",
        b"[]",
        b'{"workload": "cnn"}',
        json.dumps(changed("status", "great")).encode(),
        json.dumps(changed("metrics.throughput", "fast")).encode(),
        json.dumps(changed("metrics.throughput", float("nan"))).encode(),
    ],
)
def test_a_result_that_cannot_be_read_is_a_crash(said: bytes) -> None:
    outcome = judged(said)
    assert outcome.status == "crashed"
    assert outcome.reason is not None and outcome.reason.startswith("its result cannot be read")


def test_a_failure_keeps_its_own_words_or_gets_some() -> None:
    said = {**good(), "status": "failed", "reason": "torch is too old"}
    assert judged(said).reason == "torch is too old"
    assert judged({**good(), "status": "failed"}).reason == "it says `failed` and gives no reason"


def test_a_process_that_cannot_be_ended_is_said_to_hang() -> None:
    late = Ended(returncode=None, cause="deadline", seconds=9.0, peak_bytes=1, tail="")
    outcome = verdict(ASKED, Heard(stage="train", done=1, total=9), late)
    assert outcome.status == "timeout"
    assert outcome.reason is not None and "hangs inside the kernel" in outcome.reason


def test_each_framework_is_held_to_the_same_published_sizes() -> None:
    for workload, parameters in (("resnet50", 25_557_032), ("mobilenetv2", 3_504_872), ("gpt2-medium", 354_823_168)):
        for framework in ("torch", "tensorflow", "jax"):
            assert EXPECTED[framework, workload].parameters == parameters
