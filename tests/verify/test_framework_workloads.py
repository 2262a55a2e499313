"""TensorFlow and JAX in environments that envdoctor itself made, and broken copies of their workloads.

Each environment is made once and kept in pytest's cache; `onboard` goes on from there the next time.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from envdoctor.host.local import LocalHost
from envdoctor.model.outcome import Outcome
from envdoctor.verify import runner
from envdoctor.verify.predicting import predicted_bytes
from envdoctor.verify.targets import interpreter
from envdoctor.verify.verdicts import EXPECTED

pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(1500)]
PATIENCE = 900.0


@pytest.fixture(scope="module", params=["jax", "tensorflow"])
def onboarded(request: pytest.FixtureRequest) -> dict[str, Any]:
    cache = request.config.cache
    assert cache is not None
    folder = Path(cache.mkdir("frameworks")) / f"{request.param}-{sys.version_info[0]}.{sys.version_info[1]}"
    command = [sys.executable, "-m", "envdoctor", "onboard", "--framework", request.param, "--cuda", "cpu"]
    command += ["-o", str(folder), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1400, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    said: dict[str, Any] = json.loads(done.stdout)
    return {"framework": request.param, **said}


def test_it_is_brought_from_nothing_to_verified(onboarded: dict[str, Any]) -> None:
    assert onboarded["verified"] is True
    framework = onboarded["framework"]
    for outcome in onboarded["outcomes"]:
        assert (outcome["framework"], outcome["status"]) == (framework, "passed")
        metrics = outcome["metrics"]
        predicted = predicted_bytes(outcome["workload"], "cpu", quick=False, framework=framework)
        assert predicted == pytest.approx(metrics["peak_memory_bytes"], rel=0.1)
        expected = EXPECTED[framework, outcome["workload"]]
        assert outcome["metrics"]["parameters"] == expected.parameters
        assert {each["name"] for each in outcome["checks"]} >= set(expected.checks)
    assert [each["workload"] for each in onboarded["outcomes"]] == ["cnn", "gpt2"]


def prove(onboarded: dict[str, Any], scripts: str, thorough: bool = False) -> Outcome:
    target = interpreter(LocalHost(), onboarded["python"])
    (outcome,) = runner.run(
        target,
        ("gpt2",),
        "cpu",
        PATIENCE,
        None,
        lambda step: None,
        framework=onboarded["framework"],
        quick=True,
        thorough=thorough,
        scripts=scripts,
    )
    return outcome


def test_a_thorough_run_says_what_it_left_out(onboarded: dict[str, Any]) -> None:
    outcome = prove(onboarded, runner.SCRIPTS, thorough=True)
    assert (outcome.status, outcome.reason) == ("passed", None)
    names = {each.name for each in outcome.checks}
    assert names >= {"checkpoint comes back", "same seed, same losses on the CPU", "bf16 training lowers the loss"}
    left_out = {each.name for each in outcome.trials if not each.ran}
    assert left_out == {"fp16 inference", "fp16 training", "int8", "all-reduce over several devices"}


def test_a_careless_activation_does_not_pass(onboarded: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(runner.SCRIPTS, tmp_path, dirs_exist_ok=True)
    script = tmp_path / onboarded["framework"] / "engine.py"
    name = "jnp.tanh" if onboarded["framework"] == "jax" else "tf.tanh"
    text = script.read_text()
    assert text.count(f"staticmethod({name})") == 1
    script.write_text(text.replace(f"staticmethod({name})", f"staticmethod(lambda values: 1.5 * {name}(values))"))
    outcome = prove(onboarded, str(tmp_path))
    assert outcome.status == "failed"
    failed = {each.name for each in outcome.checks if not each.passed}
    assert failed >= {"output agrees with float64", "gradient agrees with finite differences"}
    assert "generation with a cache agrees with a whole pass" not in failed


# A small run, which needs the folder of a framework's workloads and nothing of envdoctor.
SLOPES = """
import os, sys
scripts, framework, cut = sys.argv[1:]
sys.path[:0] = [os.path.join(scripts, framework), os.path.join(scripts, "proving")]
import numpy, engine, exact, proof, words

class Run:
    wanted, seed, outcome = "cpu", 0, {}
    def progress(self, *step): pass
    def within(self, name, error, scale, relative): print(error <= relative * scale)

run = Run()
used = engine.use(run)
if cut:
    stop = engine.tf.stop_gradient if framework == "tensorflow" else engine.lax.stop_gradient
    whole = engine.Ops.softmax
    used.ops.softmax = lambda values: stop(whole(values))
rows = exact.counting(numpy.random.default_rng(0), 4, 8, 11)
proof._check_slopes(run, used, words.Network("tiny"), proof._word_loss, (rows[:, :-1], rows[:, 1:]))
"""


@pytest.mark.parametrize(("cut", "expected"), [("", "True"), ("cut", "False")])
def test_a_slope_that_is_lost_inside_attention_is_seen(onboarded: dict[str, Any], cut: str, expected: str) -> None:
    """It is small beside the head's: judged by the largest of all, it would not be seen."""
    argv = [onboarded["python"], "-c", SLOPES, runner.SCRIPTS, onboarded["framework"], cut]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.split()[-1] == expected
