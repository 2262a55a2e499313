"""The whole of a tuning with a stand-in for the trial: real processes that live, die and are killed, without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from envdoctor import errors
from envdoctor.app import tuning
from envdoctor.app.tuning import Asked
from envdoctor.model.tuning import Tuning
from envdoctor.verify.runner import SCRIPTS

# Images of `size` pixels take 1 MiB each; more than MOST of them end the process as END says.
TRIAL = """
import argparse, json, os, signal, sys
parser = argparse.ArgumentParser()
for name in ("--model", "--device", "--goal", "--settings"):
    parser.add_argument(name)
options = parser.parse_args()
settings = json.loads(options.settings)
outcome = {
    "workload": options.model, "status": "passed", "device": "cpu", "device_name": "a stand-in", "threads": 1,
    "framework_version": "9.9", "abilities": {"channels_last": "not here", "bf16": None, "compile": "no compiler"},
}
batch = settings["batch"]
speed = 100.0 * batch / (batch + 2) * (2 if settings["precision"] == "bf16" else 1)
outcome["metrics"] = {"throughput": speed, "step_seconds": 0.001, "peak_memory_bytes": (10 + batch) << 20}
status = 0
if batch > MOST:
    END
print(json.dumps({"outcome": outcome}), flush=True)
sys.exit(status)
"""
SAYS_SO = 'outcome["status"], outcome["reason"], status = "out-of-memory", "memory ran out", 1'


def stand_in(folder: Path, most: int, end: str) -> str:
    (folder / "torch").mkdir()
    script = TRIAL.replace("MOST", str(most)).replace("END", end)
    (folder / "torch" / "trial.py").write_text(script, encoding="utf-8")
    return str(folder)


def tune(scripts: str, **asked: object) -> Tuning:
    wanted = {
        "model": "resnet18",
        "goal": "inference",
        "device": "cpu",
        "budget": 120.0,
        "memory_cap": 1 << 30,
        **asked,
    }
    return tuning.tune(Asked(**wanted), sys.executable, lambda _: None, lambda _: None, scripts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "end",
    [
        SAYS_SO,
        "os.kill(os.getpid(), signal.SIGKILL)",
        "sys.stderr.write('terminate called after throwing std::bad_alloc\\n'); os.abort()",
        "raise MemoryError",
        "held = bytearray(1 << 29); held[::4096] = bytes(len(held[::4096])); import time; time.sleep(20)",
    ],
    ids=["its own words", "killed by the kernel", "bad_alloc", "MemoryError", "above the cap"],
)
def test_every_way_to_run_out_of_memory_is_survived(tmp_path: Path, end: str) -> None:
    done = tune(stand_in(tmp_path, 5, end), quick=True, memory_cap=256 << 20)
    assert (done.largest_batch, done.failed_batch) == (5, 6)
    dead = {each.settings.batch for each in done.attempts if each.status == "out-of-memory"}
    assert 6 in dead and min(dead) == 6
    assert all(each.reason for each in done.attempts if each.status == "out-of-memory")
    assert (done.device, done.device_name, done.framework_version) == ("cpu", "a stand-in", "9.9")


def test_options_are_measured_and_what_cannot_be_is_said(tmp_path: Path) -> None:
    done = tune(stand_in(tmp_path, 9, SAYS_SO), wanted=20)
    assert done.best is not None and done.best.settings.precision == "bf16"
    assert (done.largest_batch, done.failed_batch) == (9, 10)
    said = {each.what: each.reason for each in done.left_out}
    assert said["torch.compile"] == "no compiler"
    assert said["batch 20"] == "the largest that lives here is 9"
    assert "model = model.to(torch.bfloat16)  # and the images too" in done.recipe
    assert [each.use for each in done.uses] == ["prototype", "production", "training"]
    base = done.attempts[0]
    assert base.predicted.memory is not None and base.predicted.memory.low > 200 << 20
    assert base.predicted.throughput is not None


def test_the_budget_ends_a_trial_that_hangs(tmp_path: Path) -> None:
    done = tune(stand_in(tmp_path, 1, "import time; time.sleep(60)"), quick=True, budget=4.0)
    assert [each.status for each in done.attempts] == ["ran", "timeout"]
    assert done.seconds < 20
    assert any("--budget" in each.reason for each in done.left_out)
    assert done.best is not None and done.largest_batch == 1 and done.failed_batch is None


def test_an_interrupt_leaves_the_table_so_far(tmp_path: Path) -> None:
    """A real signal, sent while a trial runs."""
    done = tune(stand_in(tmp_path, 4, "os.kill(os.getppid(), signal.SIGINT); import time; time.sleep(60)"), quick=True)
    assert done.interrupted
    assert {each.settings.batch for each in done.attempts} <= {1, 2, 4}
    assert done.best is not None and done.recipe
    assert any(each.reason == "the search was interrupted before it" for each in done.left_out)


def test_what_only_claims_to_have_passed_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "trial.py").write_text('print(\'{"outcome": {"status": "passed", "device": "cpu"}}\')')
    done = tune(str(tmp_path))
    assert [each.status for each in done.attempts] == ["failed"]
    assert done.best is None and done.uses == () and done.recipe == ()


def test_a_python_without_torch_is_said(bare_python: str) -> None:
    asked = Asked(model="gpt2", goal="training", device="cpu", budget=60)
    done = tuning.tune(asked, bare_python, lambda _: None, lambda _: None)
    (only,) = done.attempts
    assert only.status == "failed" and only.reason == f"torch is not installed in {bare_python}"


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(errors.UsageProblem) as refused:
        tuning.tune(Asked(model="vgg16", goal="inference"), None, lambda _: None, lambda _: None)
    assert refused.value.hint is not None and "mobilenetv2" in refused.value.hint


@pytest.mark.skipif(not os.path.exists("/proc/self/limits"), reason="limits are read from /proc")
def test_a_limit_of_the_shell_is_the_room(tmp_path: Path) -> None:
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30));"
        "from envdoctor.app.tuning import _granted; from envdoctor.host.local import LocalHost;"
        "print(_granted(LocalHost()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert int(done.stdout) == 3 << 30


@pytest.mark.torch
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prlimit is Linux's")
def test_under_two_gibibytes_a_batch_survives_and_the_next_one_really_fails(torch_python: str) -> None:
    """A real network under a real limit, and both ends run again, by hand, outside of the search."""
    limit = 2 << 30
    command = ["prlimit", f"--as={limit}", "--", sys.executable, "-m", "envdoctor", "tune", "mobilenetv2"]
    options = ["--goal", "inference", "--size", "1024", "--device", "cpu", "--quick", "--budget", "400"]
    options += ["--python", torch_python, "--format", "json"]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *options], capture_output=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr.decode()
    found = msgspec.json.decode(done.stdout, type=Tuning)
    assert found.room_bytes is not None and found.room_bytes <= limit
    assert found.largest_batch is not None and found.failed_batch == found.largest_batch + 1
    ran = {each.settings.batch for each in found.attempts if each.status == "ran"}
    died = {each.settings.batch for each in found.attempts if each.status == "out-of-memory"}
    assert found.largest_batch in ran and found.failed_batch in died
    script = str(Path(SCRIPTS) / "torch" / "trial.py")
    for batch, status in ((found.largest_batch, 0), (found.failed_batch, 1)):
        again = [torch_python, script, "--model", "mobilenetv2", "--goal", "inference", "--device", "cpu"]
        again += ["--settings", f'{{"batch": {batch}, "size": 1024}}']
        assert (
            subprocess.run(["prlimit", f"--as={limit}", "--", *again], env=environ, capture_output=True).returncode
            == status
        )
    for each in found.attempts:
        if each.status == "ran" and each.predicted.memory is not None and each.peak_memory_bytes is not None:
            assert each.predicted.memory.low * 0.9 < each.peak_memory_bytes < each.predicted.memory.high * 1.1
