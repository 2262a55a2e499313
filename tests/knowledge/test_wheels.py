from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.wheels import best_wheel
from envdoctor.model.stack import Target, TargetGpu
from envdoctor.model.version import at_least

FACTS = Knowledge()


def target(*capabilities: str, **changes: Any) -> Target:
    gpus = tuple(TargetGpu(vendor="nvidia", capability=each) for each in capabilities)
    return Target(**{"glibc": "2.35", "python": "3.12", "gpus": gpus, **changes})


@pytest.mark.parametrize(
    ("wish", "version"),
    [
        (target("6.1", driver="570.124.06"), "2.14.1+cu126"),
        (target("7.0", driver="580.65.06"), "2.14.1+cu126"),
        (target("12.0", driver="580.95.05"), "2.14.1+cu130"),
        (target("12.0", driver="575.51.03"), "2.11.0+cu128"),  # the last CUDA 12 build that knows Blackwell
        (target("8.6", driver="525.60.13"), "2.14.1+cu126"),
        (target("8.6", driver="470.82.01"), "2.7.1+cu118"),
        (target("6.1", "8.9", driver="580.65.06"), "2.14.1+cu126"),
        (target("6.1", "12.0", driver="580.65.06"), None),  # no build has both
        (target("3.7", driver="470.82.01"), None),
        (target("8.6", driver="440.33"), None),
        (target("8.6", python="3.8"), "2.4.1+cu121"),
        (target("8.6", python="3.16"), None),
        (target("8.6", python="3.9", glibc="2.17", driver="525.60.13"), "2.6.0+cu118"),
        (target("8.6", os="wsl2", driver="451.48"), None),  # the floor of Windows is 452.39
        (target("8.6", os="wsl2", driver="452.39"), "2.7.1+cu118"),
        (target("8.6", os="macos"), None),
        (target("8.6", libc="musl"), None),
        (target("9.0", arch="aarch64", driver="580.65.06"), "2.14.1+cu130"),
        (target(), "2.14.1+cu130"),  # what 2.15.0 holds was not read
    ],
)
def test_the_newest_wheel_that_runs(wish: Target, version: str | None) -> None:
    wheel = best_wheel(FACTS, wish)
    assert (wheel.version if wheel else None) == version


def test_one_release_alone_can_be_asked() -> None:
    wish = target("6.1", driver="570.124.06")
    wheel = best_wheel(FACTS, wish, only=FACTS.torch("2.8.0"))
    assert wheel
    assert wheel.version == "2.8.0+cu126"
    assert best_wheel(FACTS, target("12.0"), only=FACTS.torch("2.5.1")) is None


def test_only_published_pairs_without_doubt_are_named() -> None:
    releases = {release.version: release for release in FACTS.torch_releases}
    drivers = ("450.80.02", "525.60.13", "570.124.06", "580.65.06", None)
    for capability, driver, python in product(("5.0", "7.5", "9.0", "12.0"), drivers, ("3.8", "3.10", "3.13")):
        wheel = best_wheel(FACTS, target(capability, driver=driver, python=python))
        if wheel is None:
            continue
        assert wheel.variant in releases[wheel.release.version].variants
        assert wheel.variant.doubt is None
        assert wheel.variant.cuda
        floor = FACTS.driver_floor(wheel.variant.cuda, "linux")
        assert driver is None or (floor and at_least(driver, floor))
