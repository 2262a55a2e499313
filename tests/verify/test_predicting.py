from __future__ import annotations

import pytest

from envdoctor.verify import runner
from envdoctor.verify.predicting import predicted_bytes

MIB = 1 << 20


# VmHWM of the process on Linux x86-64, Python 3.11: torch 2.13.0+cpu, tensorflow-cpu 2.21.0, jax 0.10.2.
MEASURED = (
    ("torch", "cnn", "full", 902_705_152),
    ("torch", "cnn", "quick", 770_920_448),
    ("torch", "gpt2", "full", 891_949_056),
    ("torch", "gpt2", "quick", 891_359_232),
    ("torch", "resnet18", "quick", 746_127_360),
    ("torch", "resnet50", "quick", 1_245_413_376),
    ("torch", "mobilenetv2", "quick", 782_467_072),
    ("torch", "gpt2-medium", "quick", 1_815_031_808),
    ("torch", "resnet18", "quick thorough", 778_358_784),
    ("torch", "resnet50", "quick thorough", 1_246_826_496),
    ("torch", "gpt2", "quick thorough", 1_626_935_296),
    ("jax", "resnet18", "quick", 984_727_552),
    ("jax", "resnet50", "quick", 1_747_664_896),
    ("jax", "mobilenetv2", "quick", 1_787_600_896),
    ("jax", "gpt2", "quick", 1_656_139_776),
    ("jax", "gpt2-medium", "quick", 3_650_760_704),
    ("tensorflow", "resnet18", "quick", 1_063_157_760),
    ("tensorflow", "resnet50", "quick", 1_460_252_672),
    ("tensorflow", "mobilenetv2", "quick", 1_180_487_680),
    ("tensorflow", "gpt2", "quick", 2_105_856_000),
    ("tensorflow", "gpt2-medium", "quick", 4_921_745_408),
    # Nothing was fitted to these.
    ("jax", "cnn", "full", 1_138_139_136),
    ("jax", "gpt2", "full", 1_666_428_928),
    ("tensorflow", "cnn", "full", 1_181_917_184),
    ("tensorflow", "gpt2", "full", 2_143_469_568),
)


@pytest.mark.parametrize(("framework", "workload", "how", "measured"), MEASURED)
def test_what_is_predicted_on_a_cpu_is_near_what_was_measured(
    framework: str, workload: str, how: str, measured: int
) -> None:
    quick, thorough = "quick" in how, "thorough" in how
    predicted = predicted_bytes(workload, "cpu", quick=quick, framework=framework, thorough=thorough)
    assert predicted == pytest.approx(measured, rel=0.1)


def test_every_workload_has_a_prediction_on_a_cpu() -> None:
    untrained = set(runner.WORKLOADS) - set(runner.PRETRAINED)
    for framework in ("torch", "tensorflow", "jax"):
        for quick in (True, False):
            assert all(predicted_bytes(each, "cpu", quick=quick, framework=framework) for each in untrained)
    assert all(predicted_bytes(each, "cpu", quick=False, thorough=True) for each in untrained)


def test_a_card_holds_no_framework_and_no_reference() -> None:
    """The weights are 45 and 475 MiB; a batch of 64 images takes the most of a ResNet-18."""
    cnn, gpt2 = (predicted_bytes(each, "cuda", quick=False) for each in ("cnn", "gpt2"))
    assert cnn is not None and 300 * MIB < cnn < 600 * MIB
    assert gpt2 is not None and 475 * MIB < gpt2 < 550 * MIB


def test_what_is_not_known_is_not_predicted() -> None:
    assert predicted_bytes("cnn", "mps", quick=False) is None
    assert predicted_bytes("vgg", "cpu", quick=False) is None
    assert predicted_bytes("gpt2", "cuda", quick=False, framework="jax") is None
    assert predicted_bytes("gpt2", "cpu", quick=False, framework="jax", thorough=True) is None
