from __future__ import annotations

import pytest

from envdoctor.verify.predicting import predicted_bytes

MIB = 1 << 20


@pytest.mark.parametrize(
    ("workload", "quick", "measured"),
    [
        # VmHWM of the process, torch 2.13.0+cpu on Linux x86-64.
        ("cnn", False, 902_705_152),
        ("cnn", True, 770_920_448),
        ("gpt2", False, 891_949_056),
        ("gpt2", True, 891_359_232),
    ],
)
def test_what_is_predicted_on_a_cpu_is_near_what_was_measured(workload: str, quick: bool, measured: int) -> None:
    predicted = predicted_bytes(workload, "cpu", quick=quick)
    assert predicted == pytest.approx(measured, rel=0.1)


def test_a_card_holds_no_framework_and_no_reference() -> None:
    """The weights are 45 and 475 MiB; a batch of 64 images takes the most of a ResNet-18."""
    cnn, gpt2 = (predicted_bytes(each, "cuda", quick=False) for each in ("cnn", "gpt2"))
    assert cnn is not None and 300 * MIB < cnn < 600 * MIB
    assert gpt2 is not None and 475 * MIB < gpt2 < 550 * MIB


def test_what_is_not_known_is_not_predicted() -> None:
    assert predicted_bytes("cnn", "mps", quick=False) is None
    assert predicted_bytes("vgg", "cpu", quick=False) is None
