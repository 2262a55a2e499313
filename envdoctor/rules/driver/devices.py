"""What the driver and its cards show to programs: device files, and cards that no longer answer."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Gpu, Snapshot
from envdoctor.model.speech import say, say_number
from envdoctor.rules.consequences import GPU_UNSEEN
from envdoctor.rules.driver.absence import on_bare_linux
from envdoctor.rules.driver.packages import consumer
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.wording import card, listed, sentence

_LOST = 15  # NVML's return code for a card that is gone


@rule(
    "DRV012",
    "driver-nodes-missing",
    "error",
    needs=("driver.module_loaded", "driver.device_nodes", "system.wsl", "system.container"),
    supersedes=("DRV013", "DRV014", *GPU_UNSEEN),
    sources=(
        "https://github.com/NVIDIA/nvidia-modprobe/blob/main/modprobe-utils/nvidia-modprobe-utils.c",
        "https://github.com/NVIDIA/cloud-native-docs/blob/main/edge/nvidia-gpu-with-device-edge.rst",
    ),
)
def device_files_are_missing(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The driver is loaded, but its device files in /dev are missing.

    Programs reach the driver through /dev/nvidiactl and one /dev/nvidia<N> for each card. On a server without a desktop
    nothing may create them: the setuid helper nvidia-modprobe does, and so does the nvidia-persistenced service.

    Check: `ls -l /dev/nvidia*` after the command.
    Silent in containers, where it means that no GPU was handed over (CTR001), in WSL, on Jetson boards, which have
    other files, and about the files through which NVML has just answered.
    """
    driver = machine.driver
    if driver is None or not driver.module_loaded or driver.device_nodes is None or not on_bare_linux(machine):
        return
    # NVML opens a card's file to describe it, so what it has described can be reached.
    described = driver.nvml == 0
    minors = [g.minor for g in machine.nvidia_gpus if g.minor is not None and not (described and g.index is not None)]
    missing = [f"/dev/nvidia{minor}" for minor in minors if f"/dev/nvidia{minor}" not in driver.device_nodes]
    if driver.nvml != 0 and "/dev/nvidiactl" not in driver.device_nodes:
        missing.insert(0, "/dev/nvidiactl")
    if not missing:
        return
    create = tuple(("sudo", "nvidia-modprobe", "-c", str(minor), "-u") for minor in minors or (0,))
    yield found(
        say_number(
            "The NVIDIA driver {version} is loaded, but {files} is missing",
            "The NVIDIA driver {version} is loaded, but {files} are missing",
            len(missing),
            version=driver.version or "",
            files=listed(missing),
        ).replace("  ", " "),
        say(
            "Programs reach the driver through these files; without them every CUDA call fails as if there were no "
            "driver."
        ),
        evidence=("driver.module_loaded", "driver.device_nodes"),
        fixes=(
            Fix(summary=say("Create the files now."), commands=create, effect="needs-root"),
            Fix(
                summary=say("Have them created at every start."),
                commands=(("sudo", "systemctl", "enable", "--now", "nvidia-persistenced"),),
                effect="needs-root",
            ),
        ),
    )


@rule(
    "DRV020",
    "gpu-fell-off-bus",
    "error",
    needs=("gpus.vendor", "gpus.lost"),
    supersedes=("DRV012",),
    sources=(
        "https://github.com/NVIDIA/go-nvml/blob/main/gen/nvml/nvml.h",
        "https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html",
    ),
)
def card_is_lost(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A GPU is lost: it has fallen off the bus.

    The card stopped answering on PCI Express; the kernel log calls it Xid 79. Power, heat, a riser cable or a defect
    are the usual reasons, and no software can use the card before it is reset.

    Check: after a cold start `nvidia-smi` lists the card, also under load.
    Every card is judged for itself. Silent about a card that sleeps (D3cold), which also reads as all ones.
    """
    for place, gpu in enumerate(machine.gpus):
        said = gpu.nvml_error == _LOST
        if gpu.vendor == "nvidia" and (said or (gpu.lost and gpu.power_state in (None, "D0"))):
            yield _lost(gpu, (f"gpus[{place}].nvml_error" if said else f"gpus[{place}].lost",))
    if machine.driver and machine.driver.nvml == _LOST:
        yield _lost(None, ("driver.nvml",))


def _lost(gpu: Gpu | None, evidence: tuple[str, ...]) -> Found:
    reset: tuple[Fix, ...] = ()
    if gpu is not None and gpu.index is not None and not consumer(gpu):
        reset = (
            Fix(
                summary=say("A data-centre card may come back with a reset, when no program uses it."),
                commands=(("sudo", "nvidia-smi", "--gpu-reset", "-i", str(gpu.index)),),
                effect="needs-root",
            ),
        )
    return found(
        say("{card} no longer answers on the PCI bus", card=sentence(card(gpu)) if gpu else say("A GPU")),
        say(
            "NVML calls it lost, or its bus registers read as all ones while it has power. Programs on this card hang "
            "or fail until it is reset."
        ),
        evidence=evidence,
        fixes=(
            Fix(
                summary=say(
                    "Turn the machine off and on again. If it happens again: check power cables and supply, "
                    "temperatures and the riser, seat the card anew, and update firmware and driver."
                ),
                effect="needs-reboot",
            ),
            *reset,
        ),
    )
