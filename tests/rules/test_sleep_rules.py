"""A suspend that CUDA does not survive."""

from __future__ import annotations

from typing import Any

from expecting import fires, silent
from machines import container, driver, system, workstation, wsl2

from envdoctor.model.snapshot import Snapshot


def asleep(*, laptop: bool = False, **changes: Any) -> Snapshot:
    facts = {"keeps_memory": False, "resumes": 2, **changes}
    return system(workstation(driver=driver(**facts)), laptop=laptop)


def test_a_machine_that_slept_without_keeping_the_memory() -> None:
    finding = fires(
        "DRV015", asleep(), "warning", "slept 2 times", "nvidia_uvm", "NVreg_PreserveVideoMemoryAllocations=1"
    )
    assert (finding.rule, finding.certainty) == ("driver-broken-after-suspend", "likely")
    assert {each.effect for each in finding.fixes} == {"needs-root", "needs-reboot"}
    assert "slept once" in fires("DRV015", asleep(resumes=1), "warning").title


def test_a_laptop_that_has_not_slept_yet_is_a_note() -> None:
    finding = fires("DRV015", asleep(laptop=True, resumes=0), "note", "laptop")
    assert finding.certainty == "hint"


def test_sleep_that_does_no_harm() -> None:
    silent(
        "DRV015",
        asleep(resumes=0),
        asleep(resumes=None),
        asleep(keeps_memory=True),
        asleep(keeps_memory=None),
        asleep(module_loaded=False),
        container(driver=driver(keeps_memory=False, resumes=2)),
        wsl2(driver=driver(keeps_memory=False, resumes=2)),
    )
