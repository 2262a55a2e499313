"""AMD GPUs: the compute driver, its device files, and the targets that a build was made for."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Gpu, Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.frameworks.installed import TORCH, torch
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import plain, set_variable, unset_variable
from envdoctor.rules.wording import card, listed, sentence

_PREREQUISITES = "https://github.com/ROCm/rocm-install-on-linux/blob/develop/docs/install/prerequisites.rst"
_REQUIREMENTS = "https://github.com/ROCm/rocm-install-on-linux/blob/develop/docs/reference/system-requirements.rst"
_VARIABLES = "https://rocm.docs.amd.com/en/docs-7.1.1/reference/env-variables.html"
_OVERRIDE = "HSA_OVERRIDE_GFX_VERSION"
_VISIBLE = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def _cards(machine: Snapshot) -> list[tuple[int, Gpu]]:
    """Give the AMD cards of a Linux machine that are not lent to a virtual one."""
    system = machine.system
    if system is None or system.os != "linux" or system.wsl:
        return []
    return [(i, g) for i, g in enumerate(machine.gpus) if g.vendor == "amd" and g.bound_driver != "vfio-pci"]


def _wants_rocm(machine: Snapshot) -> bool:
    framework = torch(machine)
    return framework is not None and framework.hip is not None


@rule(
    "AMD001",
    "amd-compute-driver-missing",
    "error",
    needs=("gpus.vendor", "gpus.bound_driver", "devices", "system.container", "pythons.frameworks"),
    supersedes=("AMD002", "AMD003"),
    sources=(_PREREQUISITES,),
)
def compute_driver_is_missing(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """An AMD GPU is there, and its compute driver is not.

    ROCm reaches the GPU through /dev/kfd, which the kernel module amdgpu makes. Without the module, or with a kernel
    that lacks its compute part, the card only draws.

    Check: `ls /dev/kfd`, and `rocminfo` lists the card.
    A note where nothing for ROCm is installed, and silent for graphics inside the processor, in WSL and in containers
    (CTR013).
    """
    cards = [(place, gpu) for place, gpu in _cards(machine) if not gpu.integrated]
    inside = machine.system is not None and machine.system.container is not None
    if not cards or inside or any(each.path == "/dev/kfd" for each in machine.devices):
        return
    place, gpu = cards[0]
    unloaded = gpu.bound_driver != "amdgpu"
    yield found(
        say("{card} has no compute driver: the module amdgpu does not hold it", card=sentence(card(gpu)))
        if unloaded
        else say("{card} has no compute driver: /dev/kfd is missing", card=sentence(card(gpu))),
        say("ROCm and PyTorch for AMD reach the card through /dev/kfd."),
        evidence=(f"gpus[{place}].bound_driver", "devices"),
        severity=None if _wants_rocm(machine) else "note",
        fixes=(
            Fix(
                summary=say("Load the module; if that does not help, install AMD's driver as its guide says."),
                commands=(("sudo", "modprobe", "amdgpu"),),
                effect="needs-root",
                page="https://rocm.docs.amd.com/projects/install-on-linux/en/latest/",
            ),
        ),
    )


@rule(
    "AMD002",
    "device-files-not-permitted",
    "error",
    needs=("devices", "gpus.vendor", "pythons.frameworks"),
    sources=(_PREREQUISITES,),
)
def no_permission_on_compute_files(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This account may not open the AMD GPU's device files.

    /dev/kfd and /dev/dri/renderD* belong to the groups render and video. Without them PyTorch sees no GPU and gives no
    reason.

    Check: `id` lists the groups after a new login.
    A note where nothing for ROCm is installed.
    """
    closed = [
        (i, each)
        for i, each in enumerate(machine.devices)
        if each.refused and each.path.startswith(("/dev/kfd", "/dev/dri/"))
    ]
    if not closed or not _cards(machine):
        return
    groups = [name for name in dict.fromkeys(each.group for _, each in closed) if name and plain(name)]
    joined = all(each.member for _, each in closed)
    place = closed[0][0]
    files = listed(each.path for _, each in closed)
    yield found(
        say("This account may not open {files} (group {groups})", files=files, groups=listed(groups))
        if groups
        else say("This account may not open {files}", files=files),
        say("/etc/group lists this account already, which counts from the next login on.")
        if joined
        else say("Without it programs see no AMD GPU."),
        evidence=tuple(f"devices[{place}].{field}" for field in ("path", "group", "refused")),
        severity=None if _wants_rocm(machine) else "note",
        fixes=(
            Fix(
                summary=say("Log out and in again.")
                if joined
                else say("Join the groups, then log out and in (USER is your account)."),
                commands=(("sudo", "usermod", "-a", "-G", ",".join(groups), "USER"),) if groups and not joined else (),
                effect="needs-root",
            ),
        ),
    )


@rule(
    "AMD003",
    "rocm-gfx-unsupported",
    "warning",
    certainty="likely",
    needs=("gpus.target", "pythons.frameworks.torch.hip", "variables"),
    sources=("https://github.com/astral-sh/uv/blob/main/crates/uv-torch/src/backend.rs", _REQUIREMENTS),
)
def target_is_not_in_the_build(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This PyTorch for AMD was not built for the GPU's target.

    ROCm's libraries are compiled for each target (gfx1100 …), and a card whose target is missing fails at the first
    kernel.

    Check: `python -c "import torch; print(torch.cuda.get_arch_list())"`.
    Judged by what the build itself holds, else by the table of ROCm indexes. Silent where HSA_OVERRIDE_GFX_VERSION is
    set (AMD004), and where one card fits.
    """
    framework = torch(machine)
    if framework is None or not framework.hip or machine.variable(_OVERRIDE):
        return
    series = ".".join(framework.hip.split(".")[:2])
    row = next((each for each in facts.rocm_indexes if each.tag == f"rocm{series}"), None)
    targets = tuple(each for each in framework.archs or () if each.startswith("gfx")) or (row.targets if row else ())
    cards = [(i, g) for i, g in _cards(machine) if g.target and not g.integrated]
    if not targets or not cards or any(gpu.target in targets for _, gpu in cards):
        return
    place, gpu = cards[0]
    yield found(
        say(
            "PyTorch {version} has no code for {target}, the target of {card}",
            version=framework.version,
            target=gpu.target,
            card=card(gpu),
        ),
        say("It was built for {targets} and others.", targets=", ".join(targets[:6]))
        if len(targets) > 6
        else say("It was built for {targets}.", targets=listed(targets)),
        evidence=(f"gpus[{place}].target", f"{TORCH}.hip"),
        fixes=(Fix(summary=say("Take the build of a newer ROCm, if its list holds this target."), page=_REQUIREMENTS),),
    )


@rule(
    "AMD004",
    "rocm-target-overridden",
    "warning",
    certainty="likely",
    needs=("variables", "gpus.target"),
    sources=("https://github.com/ROCm/ROCm/issues/3065",),
)
def target_is_overridden(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """HSA_OVERRIDE_GFX_VERSION makes ROCm believe in another GPU.

    It holds for all cards at once. Close relatives work with it (10.3.0 for cards of the RX 6000 series); another
    family crashes.

    Check: `rocminfo` shows the targets.
    Silent where it names a relative of the card at hand, which is the usual and working trick.
    """
    value = machine.variable(_OVERRIDE)
    cards = [(i, g) for i, g in _cards(machine) if g.target]
    parts = (value or "").split(".")
    if not value or not cards or len(parts) != 3 or not all(part.isdigit() for part in parts):
        return
    wanted = f"gfx{int(parts[0])}{int(parts[1]):x}{int(parts[2]):x}"
    family = [(i, g) for i, g in cards if (g.target or "")[: len(wanted) - 2] == wanted[:-2]]
    same = all(gpu.target == wanted for _, gpu in cards)
    if same or not family:
        place, gpu = cards[0]
        yield found(
            say(
                "{override}={value} is not needed: the card is {wanted} already",
                override=_OVERRIDE,
                value=value,
                wanted=wanted,
            )
            if same
            else say(
                "{override}={value} makes ROCm take {target} for {wanted}, which is of another family",
                override=_OVERRIDE,
                value=value,
                target=gpu.target,
                wanted=wanted,
            ),
            say("It changes nothing here.") if same else say("Programs crash at the first kernel."),
            evidence=(f"variables.{_OVERRIDE}", f"gpus[{place}].target"),
            severity="note" if same else None,
            fixes=(Fix(summary=say("Take it out."), commands=(unset_variable(machine, _OVERRIDE),)),),
        )


@rule(
    "AMD005",
    "amd-integrated-gpu-in-the-way",
    "warning",
    certainty="likely",
    needs=("gpus.vendor", "variables", "pythons.frameworks"),
    sources=(_PREREQUISITES, _VARIABLES),
)
def integrated_gpu_is_in_the_way(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The graphics inside the processor are listed to ROCm beside the AMD card.

    AMD advises to switch them off, since its runtime may crash on them. Hiding them by a variable is the mild way.

    Check: `rocminfo` lists one GPU.
    Silent where a variable chooses the card, with integrated graphics alone, and where nothing for ROCm is installed.
    """
    cards = _cards(machine)
    inside = [i for i, gpu in cards if gpu.integrated and gpu.target]
    discrete = [i for i, gpu in cards if not gpu.integrated and gpu.target]
    if not inside or not discrete or not _wants_rocm(machine) or any(machine.variable(name) for name in _VISIBLE):
        return
    yield found(
        say("ROCm sees the graphics inside the processor beside the AMD card, and may crash on them"),
        say("AMD advises to switch them off in the firmware, or to hide them."),
        evidence=(f"gpus[{inside[0]}].integrated", f"gpus[{discrete[0]}].target"),
        fixes=(
            Fix(
                summary=say("Show ROCm the card alone (its number is what rocminfo counts; mostly 0)."),
                commands=(set_variable(machine, "ROCR_VISIBLE_DEVICES", "0"),),
            ),
        ),
    )


@rule(
    "AMD006",
    "visible-devices-hide-gpu",
    "warning",
    needs=("variables", "gpus.vendor"),
    sources=("https://github.com/pytorch/pytorch/blob/main/torch/cuda/__init__.py", _VARIABLES),
)
def visibility_is_doubled(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """ROCR_VISIBLE_DEVICES and HIP_VISIBLE_DEVICES hide cards twice.

    The first chooses cards and numbers them anew, the second chooses among what is left. A number beyond that hides
    everything, and PyTorch stops where the second list is longer.

    Check: `python -c "import torch; print(torch.cuda.device_count())"`.
    """
    first, second = (machine.variable(name) for name in _VISIBLE)
    if not first or not second or not any(gpu.vendor == "amd" for gpu in machine.gpus):
        return
    left = len([each for each in first.split(",") if each.strip()])
    chosen = [each.strip() for each in second.split(",") if each.strip()]
    beyond = [each for each in chosen if each.isascii() and each.isdigit() and len(each) < 6 and int(each) >= left]
    if len(chosen) <= left and not beyond:
        return
    yield found(
        say(
            "HIP_VISIBLE_DEVICES={chosen} chooses among the {count} that ROCR_VISIBLE_DEVICES={allowed} leaves",
            chosen=second,
            count=left,
            allowed=first,
        ),
        say("Cards are numbered anew from 0 after the first choice, so this hides more than was meant."),
        evidence=tuple(f"variables.{name}" for name in _VISIBLE),
        fixes=(Fix(summary=say("Keep the first."), commands=(unset_variable(machine, "HIP_VISIBLE_DEVICES"),)),),
    )


@rule(
    "AMD007",
    "iommu-not-in-passthrough",
    "note",
    certainty="likely",
    needs=("gpus.vendor", "system.iommu_passthrough", "system.container", "pythons.frameworks"),
    sources=(_REQUIREMENTS,),
)
def several_cards_without_passthrough(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Several AMD GPUs run without the kernel setting iommu=pt.

    AMD notes that systems with several GPUs may hang without it.

    Check: `cat /proc/cmdline`.
    Silent with one GPU, and where nothing for ROCm is installed; some boards do not need it.
    """
    system = machine.system
    cards = [i for i, gpu in _cards(machine) if not gpu.integrated]
    if system is None or system.iommu_passthrough is not False or len(cards) < 2 or not _wants_rocm(machine):
        return
    yield found(
        say("{cards_count} AMD GPUs run without the kernel setting iommu=pt", cards_count=len(cards)),
        say("If programs on several cards hang, this is the first thing to try."),
        evidence=("system.iommu_passthrough", *(f"gpus[{i}].vendor" for i in cards)),
        fixes=(
            Fix(
                summary=say("Add iommu=pt to the kernel's command line, then restart."),
                effect="needs-reboot",
                where="host" if system.container else "here",
            ),
        ),
    )
