"""GPUs by the names people type."""

from __future__ import annotations

import pytest

from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.names import gpu_named, gpus_like

FACTS = Knowledge()


@pytest.mark.parametrize(
    ("typed", "capability"),
    [
        ("NVIDIA GeForce RTX 3060", "8.6"),
        ("GeForce RTX 3060", "8.6"),
        ("rtx 3060", "8.6"),
        ("RTX3060", "8.6"),
        ("GTX1050Ti", "6.1"),
        ("gtx 1080 ti", "6.1"),
        ("T4", "7.5"),
        ("Tesla T4", "7.5"),
        ("V100", "7.0"),
        ("A100", "8.0"),
        ("H100", "9.0"),
        ("RTX 5090", "12.0"),
    ],
)
def test_a_card(typed: str, capability: str) -> None:
    found = gpu_named(FACTS, typed)
    assert found is not None
    assert found.capability == capability


def test_a_card_of_amd() -> None:
    found = gpu_named(FACTS, "MI300X")
    assert found is not None
    assert (found.vendor, found.target) == ("amd", "gfx942")


@pytest.mark.parametrize("typed", ["", "RTX", "4", "GTX", "RTX 9999", "GeForce", "nvidia", "$(id)"])
def test_no_card(typed: str) -> None:
    assert gpu_named(FACTS, typed) is None


def test_near_names() -> None:
    assert "NVIDIA GeForce RTX 3060 Ti" in gpus_like(FACTS, "3060")
    assert gpus_like(FACTS, "") == ()
