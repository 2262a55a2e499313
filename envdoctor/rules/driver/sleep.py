"""What a suspend does to CUDA."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say, say_number
from envdoctor.rules.registry import Found, found, rule

_POWER = "https://download.nvidia.com/XFree86/Linux-x86_64/570.124.04/README/powermanagement.html"
_SERVICES = ("nvidia-suspend.service", "nvidia-resume.service", "nvidia-hibernate.service")


@rule(
    "DRV015",
    "driver-broken-after-suspend",
    "warning",
    certainty="likely",
    needs=("driver.keeps_memory", "driver.resumes", "system.container", "system.wsl"),
    sources=(_POWER,),
)
def memory_is_lost_in_sleep(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The driver does not keep the GPU's memory over a suspend, and this machine has been asleep.

    After a suspend CUDA may answer with an unknown error while nvidia-smi looks healthy. Loading nvidia_uvm anew
    mends it; with its memory kept over the suspend it does not come back.

    Needed: the module's option NVreg_PreserveVideoMemoryAllocations=1 and its suspend services.
    Check: `python -c "import torch; torch.zeros(1).cuda()"` after a suspend.
    Silent on machines that never slept since their start, except laptops, where it is a note; in containers and WSL.
    """
    driver, system = machine.driver, machine.system
    if driver is None or system is None or system.container is not None or system.wsl is not None:
        return
    if not driver.module_loaded or driver.keeps_memory is not False:
        return
    slept = driver.resumes or 0
    if not slept and not system.laptop:
        return
    yield found(
        say_number(
            "This machine has slept once, and the driver does not keep the GPU's memory meanwhile",
            "This machine has slept {number} times, and the driver does not keep the GPU's memory meanwhile",
            slept,
        )
        if slept
        else say("The driver does not keep the GPU's memory when this laptop sleeps"),
        say("After a suspend CUDA may fail with an unknown error while nvidia-smi looks healthy."),
        evidence=("driver.keeps_memory", "driver.resumes" if slept else "system.laptop"),
        severity=None if slept else "note",
        certainty=None if slept else "hint",
        fixes=(
            Fix(
                summary=say("Where CUDA fails now: end the programs that use the GPU, and load the module anew."),
                commands=(("sudo", "rmmod", "nvidia_uvm"), ("sudo", "modprobe", "nvidia_uvm")),
                effect="needs-root",
            ),
            Fix(
                summary=say(
                    "For good: write the line “options nvidia NVreg_PreserveVideoMemoryAllocations=1” into "
                    "/etc/modprobe.d/nvidia-power.conf, switch the driver's suspend services on, and restart."
                ),
                commands=(("sudo", "systemctl", "enable", *_SERVICES),),
                effect="needs-reboot",
                page=_POWER,
            ),
        ),
    )
