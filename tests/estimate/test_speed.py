"""The roofline, the peaks it reads, and what a speed means for a person."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from measured import rows

from envdoctor.estimate import peaks
from envdoctor.estimate.models import named
from envdoctor.estimate.speed import (
    duration,
    epoch_seconds,
    middle,
    verdict,
)
from envdoctor.estimate.weighing import Walked
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.names import gpu_named
from envdoctor.model.estimate import Peaks, Range, Speed, Workload
from envdoctor.model.snapshot import Cpu

# Two threads of the AMD EPYC that the rows under cpu_speed were measured on, when nobody else used it.
ALONE = {
    "fp32": 9.1e10,
    "bf16": 1.95e11,
    "fp16": 2.8e9,
    "convolution": 1.0e11,
    "stream": 2.0e10,
    "stream_bf16": 1.0e10,
    "fresh": 2.2e9,
    "cached": 1.0e10,
    "calls": 2.9e5,
}
TOGETHER = {**ALONE, "fp32": 1.8e11, "bf16": 3.8e11, "fp16": 5.0e9, "convolution": 2.0e11, "cached": 1.9e10}
EPYC = peaks.Calibration(library="torch 2.13.0+cpu", threads=2, alone=ALONE, together=TOGETHER)


def flat(**changed: Any) -> Peaks:
    """Describe a processor whose figures are exact and easy to calculate with."""

    def exact(figure: float) -> Range:
        return Range(low=figure, high=figure)

    settings: dict[str, Any] = {
        "device": "cuda",
        "name": "easy",
        "fp32": exact(1e12),
        "convolution": exact(1e12),
        "fp16": None,
        "bf16": None,
        "stream": exact(1e18),
        "stream_bf16": None,
        "cached": exact(1e18),
        "fresh": None,
        "dispatch": exact(0.0),
        "basis": "a test",
        **{name: exact(figure) for name, figure in changed.items()},
    }
    return Peaks(**settings)


def one(workload: Workload, on: Peaks) -> Speed:
    found = Walked(named(workload.model)).speeds(workload, on)
    assert len(found) == 1
    return found[0]


def test_a_step_bound_by_computing_takes_its_operations() -> None:
    # ResNet-50 has 4.09 billion multiply-adds at 224 pixels, by torchvision's documentation.
    speed = one(Workload(model="resnet50", batch=2, image_size=224), flat())
    assert speed.step_seconds.low == pytest.approx(2 * 2 * 4.09e9 / 1e12, rel=0.02)
    assert speed.throughput.low == pytest.approx(2 / speed.step_seconds.low)
    assert (speed.bound, speed.unit, speed.stage) == ("compute", "images/s", "inference")


def test_training_takes_three_times_the_operations_and_accumulation_repeats_them() -> None:
    inference = one(Workload(model="resnet50"), flat())
    training = Workload(model="resnet50", mode="training", optimizer="sgd")
    assert middle(one(training, flat()).step_seconds) == pytest.approx(3 * middle(inference.step_seconds), rel=0.05)
    four = one(Workload(model="resnet50", mode="training", optimizer="sgd", accumulation=4), flat())
    assert middle(four.step_seconds) == pytest.approx(12 * middle(inference.step_seconds), rel=0.05)
    assert four.throughput.low == pytest.approx(4 / four.step_seconds.high)


def test_writing_is_bound_by_the_bytes_of_the_weights() -> None:
    on = flat(fp32=1e18, convolution=1e18, stream=1e10, cached=1e18)
    prompt, writing = Walked(named("gpt2")).speeds(Workload(model="gpt2", seq_len=64, kv_cache=True), on)
    assert (prompt.stage, writing.stage, writing.bound) == ("prefill", "decode", "memory")
    weights = 4 * (124_439_808 - 1024 * 768)  # of the positions, one row is read
    assert middle(writing.step_seconds) == pytest.approx(weights / 1e10, rel=0.02)
    assert writing.throughput.low == pytest.approx(1 / writing.step_seconds.high)
    assert prompt.throughput.low == pytest.approx(64 / prompt.step_seconds.high)


def test_a_longer_text_makes_writing_slower() -> None:
    on = flat(fp32=1e18, convolution=1e18, stream=1e10)
    short, long = (
        Walked(named("gpt2")).speeds(Workload(model="gpt2", seq_len=n, batch=8, kv_cache=True), on)[1]
        for n in (8, 1000)
    )
    # Keys and values of 992 tokens more, 12 layers, 768 wide, fp32, 8 texts.
    more = middle(long.step_seconds) - middle(short.step_seconds)
    assert more >= 992 * 12 * 2 * 768 * 4 * 8 / 1e10


def test_a_small_batch_on_a_gpu_waits_for_python() -> None:
    busy = one(Workload(model="resnet50"), flat(fp32=1e18, convolution=1e18, dispatch=1e-4))
    assert busy.bound == "memory"
    assert 160 * 1e-4 <= middle(busy.step_seconds) <= 200 * 1e-4


def test_measured_steps_on_a_cpu_lie_within_a_factor_of_two() -> None:
    ran = {
        ("resnet18_infer_b1", "fp32"): Workload(model="resnet18"),
        ("resnet18_infer_b8", "fp32"): Workload(model="resnet18", batch=8),
        ("resnet18_infer_b8", "bf16_autocast"): Workload(model="resnet18", batch=8, dtype="amp-bf16"),
        ("resnet50_infer_b1", "fp32"): Workload(model="resnet50"),
        ("resnet50_infer_b8", "fp32"): Workload(model="resnet50", batch=8),
        ("mobilenetv2_infer_b1", "fp32"): Workload(model="mobilenetv2"),
        ("mobilenetv2_infer_b8", "fp32"): Workload(model="mobilenetv2", batch=8),
        ("gpt2_forward_s64", "fp32"): Workload(model="gpt2", seq_len=64),
        ("gpt2_train_b1_s128", "fp32"): Workload(
            model="gpt2", seq_len=128, mode="training", optimizer="adamw", foreach=False
        ),
        ("gpt2_generate_50", "fp32_kv"): Workload(model="gpt2", seq_len=33, kv_cache=True),
    }
    on, ratios = peaks.measured(EPYC, "AMD EPYC"), {}
    for row in rows("cpu_speed"):
        key = (row["test"], row.get("variant", ""))
        if key in ran and key not in ratios:
            workload = ran[key]
            seconds = row["wall_min"] / (50 if "generate" in key[0] else 1)
            ratios[key] = middle(Walked(named(workload.model)).speeds(workload, on)[-1].step_seconds) / seconds
    assert ratios.keys() == ran.keys()
    assert {key: ratio for key, ratio in ratios.items() if not 0.5 <= ratio <= 2} == {}


@pytest.mark.parametrize(
    ("card", "settings", "images_a_second"),
    [
        ("Tesla V100-SXM2-16GB", {"batch": 128}, 1229),
        ("Tesla V100-SXM2-16GB", {"batch": 256, "dtype": "amp-fp16", "mode": "training", "optimizer": "sgd"}, 1200),
        ("Tesla T4", {"batch": 128}, 426),
        ("Tesla T4", {"batch": 128, "dtype": "amp-fp16"}, 1190),
        ("NVIDIA A100-SXM4-80GB", {"batch": 256, "dtype": "amp-fp16", "mode": "training", "optimizer": "sgd"}, 2470),
    ],
)
def test_published_measurements_lie_within_a_factor_of_two(
    card: str, settings: dict[str, Any], images_a_second: float
) -> None:
    # https://github.com/NVIDIA/DeepLearningExamples, PyTorch/Classification/ConvNets/resnet50v1.5/README.md
    row = gpu_named(Knowledge(), card)
    on = row and peaks.of_gpu(row)
    assert on
    speed = one(Workload(model="resnet50", **settings), on)
    assert 0.5 <= middle(speed.throughput) / images_a_second <= 2


def test_a_disturbed_measurement_counts_one_threads_figure() -> None:
    slow = {**TOGETHER, "fp32": 5e9, "convolution": 2e9, "bf16": 1e10, "cached": 5e7, "stream": 1e9}
    found = peaks.measured(peaks.Calibration(library="torch 2", threads=2, alone=ALONE, together=slow), None)
    calm = peaks.measured(EPYC, None)
    for piece in ("fp32", "convolution", "cached"):
        assert middle(getattr(found, piece)) == pytest.approx(middle(getattr(calm, piece)), rel=0.15)
    assert middle(found.stream) == pytest.approx(middle(calm.stream))
    assert "other programs" in found.basis
    assert "other programs" not in calm.basis


def test_a_measurement_without_a_figure_is_refused() -> None:
    alone = {name: figure for name, figure in ALONE.items() if name != "stream"}
    with pytest.raises(ValueError, match="stream"):
        peaks.measured(peaks.Calibration(library="torch", threads=1, alone=alone, together=alone), None)
    zero = {**ALONE, "fp32": 0.0}
    with pytest.raises(ValueError, match="fp32"):
        peaks.measured(peaks.Calibration(library="torch", threads=1, alone=zero, together=zero), None)


def test_half_precision_without_instructions_for_it_is_slow_on_a_cpu() -> None:
    on = peaks.measured(EPYC, None)
    full, half, brain = (one(Workload(model="resnet18", dtype=dtype), on) for dtype in ("fp32", "fp16", "bf16"))
    assert middle(half.throughput) < middle(full.throughput) / 10
    assert middle(brain.throughput) > middle(full.throughput) * 1.2


def test_writing_in_bf16_is_as_fast_as_bf16_weights_are_read() -> None:
    on = flat(fp32=1e18, convolution=1e18, bf16=1e18, stream=1e10, stream_bf16=4e9)
    workload = Workload(model="gpt2", seq_len=64, kv_cache=True, dtype="bf16")
    weights = 2 * (124_439_808 - 1024 * 768)
    assert middle(Walked(named(workload.model)).speeds(workload, on)[1].step_seconds) == pytest.approx(
        weights / 4e9, rel=0.02
    )


def test_packed_weights_are_computed_in_fp16_on_a_card_and_in_fp32_on_a_cpu() -> None:
    half = Range(low=1e13, high=1e13)
    card = msgspec.structs.replace(flat(), fp16=half)
    packed = Workload(model="gpt2", seq_len=256, dtype="int8")
    on_card, on_cpu = (one(packed, msgspec.structs.replace(card, device=device)) for device in ("cuda", "cpu"))
    assert middle(on_cpu.step_seconds) > 4 * middle(on_card.step_seconds)


def test_without_a_measurement_the_range_is_wide_and_holds_the_measured() -> None:
    cpu = Cpu(model="AMD EPYC", logical=2, features=("avx", "avx2", "fma", "avx512f", "avx512_bf16"))
    wide, measured = peaks.likely(cpu), peaks.measured(EPYC, None)
    for piece in ("fp32", "convolution", "bf16", "fp16", "stream", "cached", "fresh", "dispatch"):
        low, high = getattr(wide, piece).low, getattr(wide, piece).high
        assert low <= middle(getattr(measured, piece)) <= high, piece
    assert "not a measurement" in wide.basis
    old = peaks.likely(Cpu(logical=2, features=()))
    assert old.fp32.high < wide.fp32.high / 2


def test_a_card_without_figures_has_no_peaks() -> None:
    row = gpu_named(Knowledge(), "Tesla T4")
    assert row
    assert peaks.of_gpu(msgspec.structs.replace(row, fp32_tflops=None)) is None
    assert peaks.of_gpu(msgspec.structs.replace(row, bandwidth_gb_s=())) is None
    turing = peaks.of_gpu(row)
    assert turing is not None
    assert turing.bf16 is None
    assert turing.convolution == turing.fp32
    ampere = gpu_named(Knowledge(), "NVIDIA A100-SXM4-80GB")
    on = ampere and peaks.of_gpu(ampere)
    assert on
    assert on.convolution.high == pytest.approx(on.fp16.high / 2 if on.fp16 else 0)
    assert on.bf16 == on.fp16


def speed_of(stage: Any, throughput: float, step: float, unit: Any = "tokens/s") -> Speed:
    return Speed(
        throughput=Range(low=throughput, high=throughput),
        unit=unit,
        step_seconds=Range(low=step, high=step),
        bound="compute",
        basis="a test",
        stage=stage,
    )


@pytest.mark.parametrize(
    ("tokens", "grade", "words"),
    [(20.0, "fine", "3.8 times"), (3.0, "slow", "0.57 times"), (0.2, "hopeless", "0.038 times")],
)
def test_writing_is_compared_with_reading(tokens: float, grade: str, words: str) -> None:
    found = verdict(speed_of("decode", tokens, 1 / tokens))
    assert found.grade == grade
    assert words in found.words


def test_training_is_judged_by_the_time_for_the_data() -> None:
    images = speed_of("training", 40.0, 0.2, "images/s")
    fine = verdict(images)
    assert fine.grade == "fine"
    assert "21 minutes for an epoch of 50,000 images, 3.5 hours for 10" in fine.words
    imagenet = verdict(images, items=1_281_167, epochs=90)
    assert imagenet.grade == "hopeless"
    assert "33 days for 90" in imagenet.words
    assert verdict(images, items=500_000).grade == "slow"
    assert epoch_seconds(images, 400).low == 10


def test_waiting_for_an_answer_is_judged_in_seconds() -> None:
    assert verdict(speed_of("inference", 40.0, 0.025, "images/s")).grade == "fine"
    assert verdict(speed_of("prefill", 20.0, 20.0)).grade == "slow"
    hopeless = verdict(speed_of("prefill", 1.0, 600.0))
    assert hopeless.grade == "hopeless"
    assert "10 minutes" in hopeless.words


def test_times_are_written_as_people_say_them() -> None:
    seconds = (0.0234, 0.9994, 41.2, 600, 7200, 200_000, 4e8)
    assert [duration(s) for s in seconds] == [
        "23 ms",
        "999 ms",
        "41 s",
        "10 minutes",
        "2 hours",
        "2.3 days",
        "13 years",
    ]
