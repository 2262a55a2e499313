"""Intel GPUs: the build for them, and what it needs of the system."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.frameworks.installed import TORCH, torch
from envdoctor.rules.python.reinstall import from_index
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import os_packages
from envdoctor.rules.wording import card, listed, sentence

_DRIVER = "libze_intel_gpu.so.1"
_GUIDE = "https://docs.pytorch.org/docs/2.15/notes/get_start_xpu.html"
# Arc cards of both generations (Alchemist 56xx, Battlemage e2xx); integrated graphics have many more numbers.
_ARC = ("8086:569", "8086:56a", "8086:56b", "8086:e20", "8086:e21")


@rule(
    "INTEL001",
    "cpu-only-build",
    "note",
    certainty="likely",
    needs=("gpus.pci_id", "pythons.frameworks.torch.xpu", "system.wsl"),
    sources=(_GUIDE, "https://docs.astral.sh/uv/guides/integration/pytorch/"),
)
def torch_is_not_for_intel(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """An Intel Arc card is here, and PyTorch is not the build that uses it.

    Intel cards need the wheels of PyTorch's index xpu; the plain wheel computes on the processor.

    Check: `python -c "import torch; print(torch.xpu.is_available())"`.
    Silent beside a card of NVIDIA or AMD, and about graphics inside the processor: the card's number decides, not its
    maker.
    """
    framework = torch(machine)
    arc = [(i, g) for i, g in enumerate(machine.gpus) if g.vendor == "intel" and (g.pci_id or "").startswith(_ARC)]
    if framework is None or framework.xpu or not arc or any(g.vendor in ("nvidia", "amd") for g in machine.gpus):
        return
    place, gpu = arc[0]
    yield found(
        say(
            "{card} stays idle: PyTorch {version} is not a build for Intel GPUs",
            card=sentence(card(gpu)),
            version=framework.version,
        ),
        say("The builds for them are on PyTorch's index xpu."),
        evidence=(f"gpus[{place}].pci_id", f"{TORCH}.version"),
        fixes=(from_index(machine, "xpu", say("Install the build for Intel GPUs.")),),
    )


@rule(
    "INTEL002",
    "device-files-not-permitted",
    "error",
    needs=("devices", "gpus.missing_runtime", "pythons.frameworks.torch.xpu", "system.wsl"),
    sources=(_GUIDE,),
)
def no_access_to_render_node(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """PyTorch for Intel GPUs is installed, and Intel's compute runtime is missing or the render node may not be opened.

    It speaks to the card through Level Zero: a loader library and Intel's driver library, which belong to the system.
    /dev/dri/renderD* belongs to the group render. Without one of them torch.xpu.is_available() is False and gives no
    reason.

    Check: `ldconfig -p` lists libze_intel_gpu.so.1; `id` lists render after a new login.
    Only a warning where the loader library alone is missing, which a wheel may bring. Silent in WSL, which has another
    way, and without an Intel card.
    """
    framework = torch(machine)
    if framework is not None and framework.xpu and not machine.wsl:
        yield from _without_runtime(machine)
    closed = [(i, each) for i, each in enumerate(machine.devices) if each.refused and "/dri/renderD" in each.path]
    if framework is None or not framework.xpu or not closed or machine.wsl:
        return
    place, file = closed[0]
    yield found(
        say(
            "This account may not open {closed}, which PyTorch for Intel GPUs needs",
            closed=listed(each.path for _, each in closed),
        ),
        say("It belongs to a group that this account is not in, or only from the next login on."),
        evidence=tuple(f"devices[{place}].{field}" for field in ("path", "group", "refused")),
        fixes=(
            Fix(
                summary=say("Log out and in again.")
                if file.member
                else say("Join the group render, then log out and in (USER is your account)."),
                commands=() if file.member else (("sudo", "usermod", "-a", "-G", "render", "USER"),),
                effect="needs-root",
            ),
        ),
    )


def _without_runtime(machine: Snapshot) -> Iterator[Found]:
    place = next((i for i, gpu in enumerate(machine.gpus) if gpu.vendor == "intel" and gpu.missing_runtime), None)
    if place is None:
        return
    missing = machine.gpus[place].missing_runtime or ()
    sure = _DRIVER in missing
    yield found(
        say("Intel's compute runtime is not complete: the loader does not find {missing}", missing=listed(missing)),
        say("PyTorch for Intel GPUs reaches the card through it, and sees none without."),
        evidence=(f"gpus[{place}].missing_runtime", f"{TORCH}.version"),
        severity=None if sure else "warning",
        certainty=None if sure else "likely",
        fixes=(
            Fix(
                summary=say("Install Intel's compute runtime for your system."),
                commands=os_packages(
                    machine,
                    {
                        "ubuntu": ("libze1", "libze-intel-gpu1", "intel-opencl-icd"),
                        "debian": ("libze1", "libze-intel-gpu1", "intel-opencl-icd"),
                        "fedora": ("oneapi-level-zero", "intel-compute-runtime"),
                        "arch": ("level-zero-loader", "intel-compute-runtime"),
                    },
                ),
                effect="needs-root",
                page=_GUIDE,
            ),
        ),
    )
