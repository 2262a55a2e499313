"""A first start of minutes on a card that only PTX serves is no build without code for the card."""

from __future__ import annotations

import pytest

from envdoctor.knowledge.load import Knowledge
from envdoctor.readers import read
from envdoctor.rules import registry

WARNED = (
    "NVIDIA GeForce RTX 3090 with CUDA capability sm_86 is not compatible with the current PyTorch installation.\n"
    "The current PyTorch install supports CUDA capabilities sm_37 sm_50 sm_60 sm_70 sm_75 {ptx}.\n"
)


def _slugs(text: str) -> list[str]:
    return [each.rule for each in registry.evaluate(read(text), Knowledge()).findings]


@pytest.mark.parametrize(
    "text",
    [
        "RTX 3090, driver 470, torch 1.6.0+cu101. The first .cuda() takes 12 minutes, afterwards works fast.",
        "RTX 3090,torch 1.6.0+cu101,第一次调用 .cuda() 要等 12 分钟,之后就很快了,一切正常。",
        "RTX 4090, TensorFlow 2.4.1, cuda 11.0: the first run takes 15 minutes to start, then fine",
        WARNED.format(ptx="compute_37") + "The first .cuda() takes 12 minutes, afterwards it works fine.",
    ],
)
def test_minutes_at_the_first_use(text: str) -> None:
    assert _slugs(text)[:1] == ["ptx-jit-slow-start"]


@pytest.mark.parametrize(
    "text",
    [
        "RTX 5090 with torch 2.6.0+cu124: the first model.to('cuda') takes 10 minutes, after that it is fast",
        WARNED.format(ptx="") + "The first .cuda() takes 12 minutes, afterwards it works fine.",
        WARNED.format(ptx="compute_37") + "RuntimeError: CUDA error: no kernel image is available",
    ],
)
def test_without_ptx_or_without_success_the_build_is_too_old(text: str) -> None:
    assert _slugs(text)[:1] == ["gpu-too-new-for-build"]


def test_a_build_whose_table_has_no_ptx_is_not_said_to_start_slowly() -> None:
    assert "ptx-jit-slow-start" not in _slugs(
        "RTX 5090, torch 2.6.0+cu124: the first .cuda() takes 10 minutes, then fast"
    )


def test_a_long_first_epoch_is_no_slow_start() -> None:
    assert _slugs("RTX 3090 torch 1.13.1+cu117, first epoch takes 12 minutes, later ones are fast") == []
