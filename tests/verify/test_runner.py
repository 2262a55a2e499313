from __future__ import annotations

import json
import os
import sys
import textwrap
import time
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest

from envdoctor import errors
from envdoctor.host.local import LocalHost
from envdoctor.model.outcome import Outcome
from envdoctor.verify import runner
from envdoctor.verify.runner import Progress
from envdoctor.verify.targets import VerifyTarget, interpreter

MIB = 1 << 20
HERE = VerifyTarget(executable=sys.executable, kind="python")


class RunScript(Protocol):
    """Runs a text as a workload."""

    def __call__(
        self, body: str, *, name: str = "probe", timeout: float = 30.0, memory_cap: int | None = None
    ) -> Outcome: ...


@pytest.fixture
def steps() -> list[Progress]:
    """Collect what the runner reports."""
    return []


@pytest.fixture
def run_script(tmp_path: Path, steps: list[Progress]) -> RunScript:
    """Run a text as a workload in this interpreter; its log is tmp_path/logs/torch-NAME.log."""

    def run(body: str, *, name: str = "probe", timeout: float = 30.0, memory_cap: int | None = None) -> Outcome:
        folder = tmp_path / "scripts" / "torch"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(textwrap.dedent(body))
        (outcome,) = runner.run(
            HERE,
            (name,),
            "auto",
            timeout,
            memory_cap,
            steps.append,
            logs=str(tmp_path / "logs"),
            scripts=str(tmp_path / "scripts"),
        )
        return outcome

    return run


def passing(**changes: Any) -> dict[str, Any]:
    """Give the outcome of a workload called `probe` that passed, with changes."""
    outcome: dict[str, Any] = {
        "workload": "probe",
        "framework": "torch",
        "device": "cpu",
        "status": "passed",
        "metrics": {"max_abs_error": 1e-6, "tolerance": 1e-4, "throughput": 3.0, "unit": "images/s"},
        "checks": [{"name": "sum", "passed": True, "expected": "2", "actual": "2"}],
    }
    return {**outcome, **changes}


@pytest.fixture
def says_passed() -> str:
    """Give the Python statement that says so."""
    return f"print({json.dumps({'outcome': passing()})!r}, flush=True)"


def gone(pid_file: Path) -> bool:
    """Tell whether the process that wrote its number there is gone, or soon will be."""
    pid = int(pid_file.read_text())
    for _ in range(50):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.1)
    return False


def test_a_workload_that_passes(run_script: RunScript, says_passed: str, steps: list[Progress]) -> None:
    outcome = run_script(f"""
        print('{{"progress": {{"stage": "train", "done": 1, "total": 2}}}}', flush=True)
        {says_passed}
    """)
    assert outcome.status == "passed"
    assert outcome.metrics.throughput == 3.0
    assert steps == [Progress(workload="probe", stage="train", done=1, total=2)]
    assert str(steps[0]) == "probe: train 1 of 2"


def test_progress_arrives_while_it_runs(tmp_path: Path) -> None:
    folder = tmp_path / "torch"
    folder.mkdir()
    flag = tmp_path / "flag"
    # It waits for an answer that only the report of its progress gives.
    (folder / "probe.py").write_text(f"""
import os, time
print('{{"progress": {{"stage": "asking", "done": 0, "total": 1}}}}', flush=True)
while not os.path.exists({str(flag)!r}):
    time.sleep(0.01)
print('{{"progress": {{"stage": "answered", "done": 1, "total": 1}}}}', flush=True)
""")
    seen: list[str] = []

    def report(step: Progress) -> None:
        seen.append(step.stage)
        flag.touch()

    runner.run(HERE, ("probe",), "auto", 30.0, None, report, scripts=str(tmp_path))
    assert seen == ["asking", "answered"]


def test_a_hanging_workload_is_ended(run_script: RunScript, tmp_path: Path) -> None:
    outcome = run_script(
        f"""
        import os, time
        open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
        print('{{"progress": {{"stage": "train", "done": 3, "total": 8}}}}', flush=True)
        time.sleep(600)
        """,
        timeout=1.5,
    )
    assert outcome.status == "timeout"
    assert outcome.reason == "not finished after 1.5 s: it was in the stage 'train' (3 of 8)"
    assert outcome.hint is not None and "--timeout" in outcome.hint
    assert gone(tmp_path / "pid")


def test_one_that_will_not_end_is_ended_too_and_its_last_words_are_no_result(
    run_script: RunScript, tmp_path: Path, says_passed: str
) -> None:
    outcome = run_script(
        f"""
        import os, signal, time
        open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
        def answer(*_):
            {says_passed}
        signal.signal(signal.SIGTERM, answer)
        while True:
            time.sleep(1)
        """,
        timeout=1.5,
    )
    assert outcome.status == "timeout"
    assert outcome.reason is not None and "result" not in outcome.reason
    assert gone(tmp_path / "pid")


def test_one_that_has_its_result_but_stays_is_late(run_script: RunScript, says_passed: str) -> None:
    outcome = run_script(f"import time\n{says_passed}\ntime.sleep(600)", timeout=1.5)
    assert outcome.status == "timeout"
    assert outcome.reason == "not finished after 1.5 s: it had its result but did not end"


def test_ten_megabytes_on_stderr_block_nothing(run_script: RunScript, says_passed: str, tmp_path: Path) -> None:
    outcome = run_script(f"""
        import sys
        for _ in range(10):
            sys.stderr.write("x" * {MIB})
        sys.stderr.flush()
        {says_passed}
    """)
    assert outcome.status == "passed"
    assert outcome.log == str(tmp_path / "logs" / "torch-probe.log")
    assert os.path.getsize(outcome.log) > 10 * MIB


def test_a_log_has_a_limit(run_script: RunScript, says_passed: str) -> None:
    outcome = run_script(f"""
        import sys
        for _ in range(70):
            sys.stderr.write("x" * {MIB})
        sys.stderr.flush()
        {says_passed}
    """)
    assert outcome.status == "passed"
    assert outcome.log is not None
    assert 64 * MIB <= os.path.getsize(outcome.log) < 66 * MIB


def test_garbage_is_no_result(run_script: RunScript) -> None:
    outcome = run_script("import sys; sys.stdout.buffer.write(b'\\xff\\xfe{{{ hello\\n' * 3)")
    assert outcome.status == "crashed"
    assert outcome.reason is not None and "without a result" in outcome.reason and "hello" in outcome.reason


def test_what_a_pth_file_prints_before_does_not_spoil_a_result(run_script: RunScript, says_passed: str) -> None:
    assert run_script(f"print('welcome')\nprint({'y' * 10!r} * {MIB // 2})\n{says_passed}").status == "passed"


def test_one_that_says_nothing_has_not_passed(run_script: RunScript) -> None:
    outcome = run_script("pass")
    assert outcome.status == "crashed"
    assert outcome.reason == "it ended with status 0 in the stage 'start', without a result"


def test_a_traceback_gives_its_last_line_as_the_reason(run_script: RunScript) -> None:
    outcome = run_script("raise ValueError('no such thing')")
    assert outcome.status == "crashed"
    assert outcome.reason is not None and "status 1" in outcome.reason and "ValueError: no such thing" in outcome.reason


def test_a_kill_from_outside_is_most_likely_the_kernel_short_of_memory(run_script: RunScript) -> None:
    outcome = run_script("import os, time; time.sleep(0.3); os.kill(os.getpid(), 9)")
    assert outcome.status == "out-of-memory"
    assert outcome.reason is not None and "most likely by the kernel" in outcome.reason
    assert outcome.metrics.peak_memory_bytes is not None and outcome.metrics.peak_memory_bytes > MIB


@pytest.mark.parametrize(
    ("name", "word"), [("SIGILL", "AVX2"), ("SIGSEGV", "two copies"), ("SIGBUS", "/dev/shm"), ("SIGABRT", "log")]
)
def test_a_crash_names_its_signal_and_what_it_often_means(run_script: RunScript, name: str, word: str) -> None:
    outcome = run_script(f"import os, signal; os.kill(os.getpid(), signal.{name})")
    assert outcome.status == "crashed"
    assert outcome.reason is not None and name in outcome.reason
    assert outcome.hint is not None and word in outcome.hint


def test_a_crash_after_the_result_is_a_crash(run_script: RunScript, says_passed: str) -> None:
    outcome = run_script(f"import os\n{says_passed}\nos.kill(os.getpid(), 11)")
    assert outcome.status == "crashed"
    assert outcome.reason is not None and outcome.reason.startswith("the work passed, but then it crashed")


def test_above_the_memory_cap_it_is_ended(run_script: RunScript, tmp_path: Path) -> None:
    outcome = run_script(
        f"""
        import os, time
        open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
        held = []
        while True:
            held.append(b"x" * {10 * MIB})
            time.sleep(0.01)
        """,
        memory_cap=200 * MIB,
    )
    assert outcome.status == "out-of-memory"
    assert outcome.reason is not None and "200 MiB were allowed" in outcome.reason
    assert outcome.metrics.peak_memory_bytes is not None and outcome.metrics.peak_memory_bytes > 200 * MIB
    assert outcome.hint is not None and "--memory-cap" in outcome.hint
    assert gone(tmp_path / "pid")


def test_the_memory_of_children_counts(run_script: RunScript) -> None:
    outcome = run_script(
        f"""
        import subprocess, sys
        hog = "held = b'x' * {150 * MIB}; import time; time.sleep(60)"
        for child in [subprocess.Popen([sys.executable, "-c", hog]) for _ in range(2)]:
            child.wait()
        """,
        memory_cap=250 * MIB,
    )
    assert outcome.status == "out-of-memory"


def test_memory_that_two_processes_share_counts_once(run_script: RunScript, says_passed: str) -> None:
    outcome = run_script(
        f"""
        import os, time
        held = bytearray({200 * MIB})
        held[::4096] = b"x" * len(held[::4096])
        child = os.fork()
        if child == 0:
            time.sleep(60)
        time.sleep(1.5)
        os.kill(child, 9)
        os.waitpid(child, 0)
        {says_passed}
        """,
        memory_cap=350 * MIB,
    )
    assert outcome.status == "passed"


@pytest.mark.parametrize("own_session", [False, True])
def test_what_it_leaves_behind_is_ended(
    run_script: RunScript, tmp_path: Path, says_passed: str, own_session: bool
) -> None:
    # The child keeps stdout open: waiting for its end would take ten minutes.
    outcome = run_script(f"""
        import subprocess, sys, time
        sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
        child = subprocess.Popen(sleeper, start_new_session={own_session})
        open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
        time.sleep({1.5 if own_session else 0})
        {says_passed}
    """)
    assert outcome.status == "passed"
    assert gone(tmp_path / "pid")


def test_an_interrupt_ends_the_workload(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "probe.py").write_text(f"""
import os, time
open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
print('{{"progress": {{"stage": "train", "done": 0, "total": 1}}}}', flush=True)
time.sleep(600)
""")

    def interrupt(step: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run(HERE, ("probe",), "auto", 30.0, None, interrupt, scripts=str(tmp_path))
    assert gone(tmp_path / "pid")


def test_without_torch_it_says_so(bare_python: str) -> None:
    target = interpreter(LocalHost(), bare_python)
    outcomes = runner.run(target, ("cnn", "gpt2"), "auto", 60.0, None, lambda step: None)
    assert [each.status for each in outcomes] == ["failed", "failed"]
    assert outcomes[0].reason == f"torch is not installed in {bare_python}"
    assert outcomes[0].hint == f"install it with: {bare_python} -m pip install torch"


def test_an_interpreter_that_cannot_be_started(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/nowhere/python\n")
    broken.chmod(0o755)
    target = VerifyTarget(executable=str(broken), kind="python")
    with pytest.raises(errors.UsageProblem, match="cannot be started"):
        runner.run(target, ("cnn",), "auto", 10.0, None, lambda step: None)


def test_an_unknown_workload() -> None:
    with pytest.raises(errors.UsageProblem, match="no workload vgg"):
        runner.run(HERE, ("cnn", "vgg"), "auto", 10.0, None, lambda step: None)
