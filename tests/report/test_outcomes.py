from __future__ import annotations

from msgspec.structs import replace

from envdoctor.model.outcome import Check, Metrics, Outcome, Trial
from envdoctor.report.outcomes import text

PASSED = Outcome(
    workload="cnn",
    framework="torch",
    device="cuda",
    status="passed",
    framework_version="2.7.1+cu118",
    device_name="NVIDIA GeForce RTX 3060",
    metrics=Metrics(
        parameters=11689512,
        loss_first=2.27,
        loss_last=0.36,
        max_abs_error=1.5e-6,
        tolerance=5.6e-4,
        throughput=812.4,
        unit="images/s",
        peak_memory_bytes=700 << 20,
        seconds=14.2,
    ),
    checks=(Check(name="parameter count", passed=True, expected="11689512", actual="11689512"),),
)


def test_a_pass_shows_what_was_proved() -> None:
    assert text((PASSED,)) == (
        "+ CNN (ResNet-18) passed: torch 2.7.1+cu118 on cuda (NVIDIA GeForce RTX 3060)\n"
        "  parameters    11,689,512, as published\n"
        "  loss          2.27 -> 0.36 while training a small one\n"
        "  largest error 1.5e-06 against the reference; 0.00056 is allowed\n"
        "  speed         812 images/s, recognizing 224x224 images\n"
        "  peak memory   700 MiB on the device\n"
        "  took          14 s\n"
    )


def test_what_did_not_pass_says_why_and_what_to_do() -> None:
    outcome = Outcome(
        workload="gpt2",
        framework="torch",
        device="cuda",
        status="out-of-memory",
        reason="it was ended because it held 3.00 GiB; 2.00 GiB were allowed",
        hint="allow more with --memory-cap",
        metrics=Metrics(peak_memory_bytes=3 << 30, seconds=4.0),
        log="/logs/torch-gpt2.log",
    )
    assert text((PASSED, outcome)).split("\n\n")[1] == (
        "x GPT-2 (124M) ran out of memory: torch on cuda\n"
        "  why           it was ended because it held 3.00 GiB; 2.00 GiB were allowed\n"
        "  what to do    allow more with --memory-cap\n"
        "  peak memory   3 GiB of host memory, Python and the framework included\n"
        "  took          4 s\n"
        "  full output   /logs/torch-gpt2.log\n"
    )


def test_a_wrong_parameter_count_is_not_called_published() -> None:
    outcome = Outcome(
        workload="cnn", framework="torch", device="auto", status="failed", metrics=Metrics(parameters=1234567)
    )
    assert "1,234,567\n" in text((outcome,))


def test_what_a_thorough_run_tried_and_left_out() -> None:
    trials = (
        Trial(name="bf16 inference", ran=True, throughput=55.65, unit="tokens/s"),
        Trial(name="torch.compile", ran=True),
        Trial(name="fp16 inference", ran=False, reason="on a CPU float16 is emulated"),
    )
    lines = text((replace(PASSED, trials=trials),)).splitlines()
    assert lines[6:9] == [
        "  tried         bf16 inference: 55.6 tokens/s",
        "  tried         torch.compile",
        "  not tried     fp16 inference: on a CPU float16 is emulated",
    ]
