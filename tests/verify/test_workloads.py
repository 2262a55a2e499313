"""The real workloads in a real torch, and broken copies of them, which must not pass."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envdoctor import errors
from envdoctor.host.local import LocalHost
from envdoctor.model.outcome import Outcome
from envdoctor.verify import runner
from envdoctor.verify.runner import Progress
from envdoctor.verify.targets import interpreter
from envdoctor.verify.verdicts import EXPECTED

pytestmark = pytest.mark.torch

MIB = 1 << 20
# Slow machines and busy ones: here a quick run takes 6 seconds alone, and 80 beside seven others.
PATIENCE = 500.0

Break = Callable[..., Outcome]


def prove(
    python: str,
    workload: str,
    *,
    scripts: str = runner.SCRIPTS,
    device: str = "cpu",
    memory_cap: int | None = None,
    thorough: bool = False,
) -> Outcome:
    target = interpreter(LocalHost(), python)
    steps: list[Progress] = []
    (outcome,) = runner.run(
        target,
        (workload,),
        device,
        PATIENCE,
        memory_cap,
        steps.append,
        quick=True,
        thorough=thorough,
        scripts=scripts,
    )
    return outcome


@pytest.fixture(scope="module")
def cnn(torch_python: str) -> Outcome:
    return prove(torch_python, "cnn", device="auto")


@pytest.fixture(scope="module")
def gpt2(torch_python: str) -> Outcome:
    return prove(torch_python, "gpt2")


@pytest.fixture
def broken(tmp_path: Path, torch_python: str) -> Break:
    """Run a copy of a workload in which some texts are replaced."""

    def run(workload: str, *changes: tuple[str, str, str]) -> Outcome:
        folder = tmp_path / "torch"
        shutil.copytree(runner.SCRIPTS, tmp_path, dirs_exist_ok=True)
        for file, old, new in changes:
            text = (folder / file).read_text()
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
            (folder / file).write_text(text.replace(old, new))
        return prove(torch_python, workload, scripts=str(tmp_path))

    return run


def test_the_cnn_passes(cnn: Outcome) -> None:
    assert (cnn.status, cnn.reason) == ("passed", None)
    assert cnn.metrics.parameters == 11_689_512
    assert cnn.metrics.loss_first is not None and 2.0 < cnn.metrics.loss_first < 3.0  # ln 10 is 2.3
    assert cnn.metrics.max_abs_error is not None and cnn.metrics.max_abs_error > 0  # it really was another precision
    assert cnn.metrics.unit == "images/s"
    assert cnn.metrics.peak_memory_bytes is not None and 300 * MIB < cnn.metrics.peak_memory_bytes < 4096 * MIB
    assert cnn.framework_version is not None and cnn.device_name


def test_gpt2_passes(gpt2: Outcome) -> None:
    assert (gpt2.status, gpt2.reason) == ("passed", None)
    assert gpt2.metrics.parameters == 124_439_808
    assert gpt2.metrics.unit == "tokens/s"
    # The weights alone are 475 MiB.
    assert gpt2.metrics.peak_memory_bytes is not None and 475 * MIB < gpt2.metrics.peak_memory_bytes < 4096 * MIB


def test_the_loss_of_every_step_is_told(cnn: Outcome, gpt2: Outcome) -> None:
    for outcome in (cnn, gpt2):
        losses = outcome.metrics.losses
        assert losses is not None and len(losses) > 10
        part = len(losses) // 4
        assert sum(losses[:part]) / part == pytest.approx(outcome.metrics.loss_first, rel=1e-4)
        assert sum(losses[-part:]) / part == pytest.approx(outcome.metrics.loss_last, rel=1e-4)


def test_the_memory_that_was_predicted_is_what_they_took(cnn: Outcome, gpt2: Outcome) -> None:
    for outcome in (cnn, gpt2):
        if outcome.device == "cpu":
            assert outcome.metrics.predicted_memory_bytes == pytest.approx(outcome.metrics.peak_memory_bytes, rel=0.1)


def test_each_check_that_a_verdict_needs_is_made(cnn: Outcome, gpt2: Outcome) -> None:
    for outcome in (cnn, gpt2):
        assert {each.name for each in outcome.checks} >= set(EXPECTED["torch", outcome.workload].checks)


def test_the_same_seed_gives_the_same_losses(cnn: Outcome, torch_python: str) -> None:
    if cnn.device != "cpu":
        pytest.skip("only a CPU adds in the same order each time")
    again = prove(torch_python, "cnn").metrics
    assert (again.loss_first, again.loss_last) == (cnn.metrics.loss_first, cnn.metrics.loss_last)


@pytest.mark.parametrize("workload", ["cnn", "gpt2"])
def test_without_learning_it_does_not_pass(broken: Break, workload: str) -> None:
    outcome = broken(workload, ("measure.py", "        optimizer.step()\n", "        pass\n"))
    assert outcome.status == "failed"
    assert outcome.reason is not None and outcome.reason.startswith("loss falls")
    assert [each.name for each in outcome.checks if not each.passed] == ["loss falls"]


def test_a_network_of_another_size_does_not_pass(broken: Break) -> None:
    outcome = broken("cnn", ("networks.py", "nn.Linear(before, classes)", "nn.Linear(before, classes, bias=False)"))
    assert outcome.status == "failed"
    assert outcome.reason == "parameter count: expected 11689512, got 11688512"


def test_nor_does_one_whose_script_believes_the_other_size(broken: Break) -> None:
    outcome = broken(
        "cnn",
        ("networks.py", "nn.Linear(before, classes)", "nn.Linear(before, classes, bias=False)"),
        ("networks.py", '"resnet18": 11689512', '"resnet18": 11688512'),
    )
    assert outcome.status == "failed"
    assert outcome.reason is not None and "11688512 parameters; published are 11689512" in outcome.reason


def test_another_result_than_the_reference_does_not_pass(broken: Break) -> None:
    # One part in a thousand: what TF32 or a careless kernel does, and far above what float32 does.
    changed = """model = copy.deepcopy(model).to("cpu").double()
    with torch.no_grad():
        for part in model.parameters():
            part *= 1.001
    return model"""
    outcome = broken("cnn", ("cnn.py", 'return copy.deepcopy(model).to("cpu").double()', changed))
    assert outcome.status == "failed"
    assert "output agrees with float64" in [each.name for each in outcome.checks if not each.passed]


def test_a_cache_that_forgets_does_not_pass(broken: Break) -> None:
    forgetful = ("decoder.py", "torch.cat((past[1], value), 2)", "torch.cat((0 * past[1], value), 2)")
    outcome = broken("gpt2", forgetful)
    assert outcome.status == "failed"
    failed = [each.name for each in outcome.checks if not each.passed]
    assert failed == ["generation with a cache agrees with a whole pass"]


def test_before_torch_2_it_attends_by_hand(broken: Break) -> None:
    outcome = broken("gpt2", ("decoder.py", 'hasattr(functional, "scaled_dot_product_attention")', "False"))
    assert (outcome.status, outcome.reason) == ("passed", None)


def test_a_gradient_that_is_not_finite_does_not_pass(broken: Break) -> None:
    outcome = broken("cnn", ("measure.py", "        loss.backward()\n", "        (loss * float('inf')).backward()\n"))
    assert outcome.status == "failed"
    failed = [each.name for each in outcome.checks if not each.passed]
    assert failed == ["gradients are finite", "loss falls"]


def test_under_a_small_cap_it_runs_out_of_memory(torch_python: str) -> None:
    outcome = prove(torch_python, "gpt2", memory_cap=400 * MIB)
    assert outcome.status == "out-of-memory"
    assert outcome.reason is not None and "400 MiB were allowed" in outcome.reason


def test_a_piece_of_memory_that_cannot_be_had_is_told_with_its_size(broken: Break) -> None:
    outcome = broken(
        "cnn", ("cnn.py", "    device = run.use(torch)\n", "    device = run.use(torch)\n    torch.empty(10**13)\n")
    )
    assert outcome.status == "out-of-memory"
    assert outcome.reason is not None and "37252.90 GiB could not be had" in outcome.reason


def test_a_device_that_is_not_there(torch_python: str, cnn: Outcome) -> None:
    if cnn.device == "cuda":
        pytest.skip("here it is there")
    outcome = prove(torch_python, "cnn", device="cuda")
    assert outcome.status == "failed"
    assert outcome.reason is not None and "CUDA device" in outcome.reason


def test_a_thorough_run_tries_what_the_device_has_and_says_what_it_has_not(torch_python: str) -> None:
    outcome = prove(torch_python, "gpt2", thorough=True)
    assert (outcome.status, outcome.reason) == ("passed", None)
    names = {each.name for each in outcome.checks}
    assert names >= {
        "gradient agrees with finite differences",
        "checkpoint comes back",
        "same seed, same losses on the CPU",
        "pictures come from 2 workers",
        "bf16 inference agrees with float32",
    }
    tried = {each.name: each for each in outcome.trials}
    assert tried["bf16 inference"].ran and tried["bf16 inference"].throughput
    assert not tried["fp16 inference"].ran and "emulated" in (tried["fp16 inference"].reason or "")
    assert tried["all-reduce over several devices"].reason == "there is one device"


@pytest.mark.parametrize(("wrong", "status"), [("", 0), ("(rank + 2)", 1)])
def test_several_processes_add_up_a_tensor(torch_python: str, tmp_path: Path, wrong: str, status: int) -> None:
    text = (Path(runner.SCRIPTS) / "torch" / "allreduce.py").read_text()
    assert text.count("float(rank + 1)") == 1
    script = tmp_path / "allreduce.py"
    script.write_text(text.replace("float(rank + 1)", f"float{wrong}") if wrong else text)
    command = [torch_python, str(script), "--backend", "gloo", "--processes", "2"]
    assert subprocess.run(command, timeout=PATIENCE, check=False).returncode == status


def lacking(python: str, workload: str, *before: str) -> dict[str, Any]:
    """Run `verify` behind other words, such as a shell's that set a limit, and give the outcome."""
    argv = [*before, sys.executable, "-m", "envdoctor", "verify", "--python", python, "--workload", workload]
    done = subprocess.run(
        [*argv, "--quick", "--device", "cpu", "--format", "json"], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == errors.NOT_VERIFIED, done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout)["outcomes"][0]
    assert outcome["status"] == "out-of-memory", outcome["reason"]
    shortage = outcome["shortage"]
    assert len(shortage["changes"]) <= 3
    assert all(0 < each["device_bytes"] <= shortage["room_bytes"] for each in shortage["changes"])
    return outcome


@pytest.mark.parametrize(
    ("workload", "limit", "expected"), [("gpt2", 450, "weights"), ("resnet50", 420, "activations")]
)
def test_a_real_limit_of_the_system_is_met_and_explained(
    torch_python: str, workload: str, limit: int, expected: str
) -> None:
    """`ulimit -d` (RLIMIT_DATA): the allocator is refused, and the workload itself says so."""
    outcome = lacking(torch_python, workload, "sh", "-c", f'ulimit -d {limit << 10}; exec "$@"', "sh")
    shortage = outcome["shortage"]
    assert (shortage["where"], shortage["limit_bytes"]) == (expected, limit * MIB)
    assert "can't allocate memory" in shortage["words"]
    assert shortage["changes"]


@pytest.mark.privileged
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="making a cgroup needs root")
def test_a_real_kill_of_a_group_is_met_and_explained(torch_python: str) -> None:
    own = Path("/proc/self/cgroup").read_text().splitlines()
    memory = next((line.split(":", 2)[2] for line in own if ":memory:" in line), None)
    folder, limit = (
        (Path("/sys/fs/cgroup"), "memory.max")
        if memory is None
        else (Path(f"/sys/fs/cgroup/memory{memory}"), "memory.limit_in_bytes")
    )
    group = folder / f"envdoctor-verify-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(600 * MIB))
    except OSError as problem:
        pytest.skip(f"no cgroup with a limit can be made here: {problem}")
    try:
        join = ("sh", "-c", f'echo $$ > "{group}/cgroup.procs" && exec "$@" --memory-cap 4GiB', "sh")
        outcome = lacking(torch_python, "resnet50", *join)
    finally:
        for _ in range(100):
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.05)  # the last process is still on its way out
    assert "killed from outside" in outcome["reason"]
    assert outcome["shortage"]["killed"] and outcome["shortage"]["where"] == "activations"
    assert outcome["shortage"]["room_bytes"] <= 600 * MIB
    assert outcome["shortage"]["changes"]
