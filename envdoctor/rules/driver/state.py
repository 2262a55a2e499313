"""The NVIDIA driver that is there and yet does not serve: wrong branch or flavour, closed doors, missing helpers."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.fit import last_branch
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Driver, Gpu, Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import at_least, major, readable
from envdoctor.rules.cards.generations import SOURCE, generation_of
from envdoctor.rules.consequences import GPU_UNSEEN
from envdoctor.rules.driver.absence import on_bare_linux
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import INSTALL_GUIDE, os_packages, plain
from envdoctor.rules.wording import card, listed, sentence

_KERNEL_MODULES = "https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/610/kernel-modules.html"
_OPEN_MODULES = "https://github.com/NVIDIA/open-gpu-kernel-modules/blob/main/README.md"
_MODPROBE = "https://github.com/NVIDIA/nvidia-modprobe/blob/main/modprobe-utils/nvidia-modprobe-utils.c"
_NVML = "https://github.com/NVIDIA/go-nvml/blob/main/gen/nvml/nvml.h"
# These cards are driven by the open flavour alone: Blackwell and what follows, and Grace Hopper among the older ones.
_OPEN_ONLY = "10.0"


def _unlisted(machine: Snapshot) -> tuple[tuple[int, Gpu], ...]:
    """Give the NVIDIA cards of the bus that NVML does not list; what it lists is supported, whatever a table says.

    While library and module are different releases (18), it lists nothing and proves nothing.
    """
    if machine.driver and machine.driver.nvml == 18:
        return ()
    return tuple(
        (place, gpu)
        for place, gpu in enumerate(machine.gpus)
        if gpu.vendor == "nvidia" and gpu.index is None and gpu.bound_driver != "vfio-pci" and not gpu.lost
    )


def _release(driver: Driver) -> tuple[str, str] | None:
    """Give the driver's release and the fact that tells it; a module that refuses to load leaves only its files."""
    for name in ("version", "libcuda_version", "nvml_version"):
        version = getattr(driver, name)
        if version and readable(version):
            return version, f"driver.{name}"
    return None


@rule(
    "DRV010",
    "gpu-too-old-for-build",
    "error",
    needs=("gpus.vendor", "gpus.pci_id", "driver.version", "system.container", "system.wsl"),
    supersedes=("DRV002", "DRV005", "DRV012", *GPU_UNSEEN),
    sources=(
        "https://docs.nvidia.com/datacenter/tesla/drivers/cuda-toolkit-driver-and-architecture-matrix.html",
        "https://wiki.nixos.org/w/index.php?diff=next&oldid=31881&title=NVIDIA",
        SOURCE,
    ),
)
def driver_dropped_the_card(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This driver branch no longer supports this GPU's generation.

    NVIDIA ends support for old generations: branch 470 is the last one for Kepler, 580 for Maxwell, Pascal and Volta.
    Newer drivers install without complaint and then do not see the card.

    Needed: the last branch for the card, and a framework build for a CUDA that this branch runs.
    Check: `nvidia-smi` lists the card after the older branch is installed and the machine restarted.
    Silent about a card that NVML lists, and where the card's number on the bus is of no known generation.
    """
    driver = machine.driver
    release = _release(driver) if driver and on_bare_linux(machine) else None
    if release is None:
        return
    for place, gpu in _unlisted(machine):
        own = generation_of(gpu, facts)
        last = last_branch(facts, (own,)) if own else None
        if last is None or major(release[0]) <= last:
            continue
        package = os_packages(machine, {"ubuntu": (f"nvidia-driver-{last}",)})
        yield found(
            say(
                "Driver {release} no longer supports {card}: branch {last} is the last one for it",
                release=release[0],
                card=card(gpu),
                last=last,
            ),
            say(
                "The driver is newer than the last branch for this generation of cards, so it does not see the card "
                "at all. A framework build for an older CUDA belongs to it."
            ),
            evidence=(release[1], f"gpus[{place}].pci_id"),
            fixes=(
                Fix(
                    summary=say(
                        "Install driver branch {last} in place of this one, then restart the machine.", last=last
                    ),
                    commands=(*package, ("sudo", "reboot")) if package else (),
                    effect="needs-reboot",
                    page=INSTALL_GUIDE,
                ),
            ),
        )


@rule(
    "DRV011",
    "driver-wrong-module-flavour",
    "warning",
    certainty="likely",
    needs=("gpus.vendor", "gpus.pci_id", "driver.module_flavour", "system.container", "system.wsl"),
    supersedes=("DRV002", "DRV012", *GPU_UNSEEN),
    sources=(_KERNEL_MODULES, _OPEN_MODULES, SOURCE),
)
def wrong_module_flavour(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The kernel module is of the flavour, open or proprietary, that this GPU does not work with.

    NVIDIA's kernel module comes in two flavours. The open one drives Turing and newer cards only; Blackwell and Grace
    Hopper are driven by the open one only. With the wrong one no device appears.

    Check: `cat /proc/driver/nvidia/version` names the flavour; `sudo dmesg` says which one the card asks for.
    Silent about cards that NVML lists. The kernel's log, where it may be read, decides before the generation does.
    """
    driver = machine.driver
    if driver is None or not on_bare_linux(machine):
        return
    for place, gpu in _unlisted(machine):
        open_wanted = _wants_open(driver, generation_of(gpu, facts))
        if open_wanted is None:
            continue
        branch = major(driver.version) if driver.version and readable(driver.version) else 580
        name = f"nvidia-driver-{branch}"
        packages = os_packages(
            machine,
            {"ubuntu": (f"{name}-open" if open_wanted else name,), "rhel": ("nvidia-open",) if open_wanted else ()},
        )
        wanted, other = ("open", "proprietary") if open_wanted else ("proprietary", "open")
        told = driver.wants_open_module is not None
        yield found(
            say(
                "{card} needs the {wanted} kernel module, and the {other} one is installed",
                card=sentence(card(gpu)),
                wanted=wanted,
                other=other,
            ),
            say("The kernel's log says so.")
            if told
            else say("Cards of this generation work with the {wanted} flavour of NVIDIA's module only.", wanted=wanted),
            evidence=("driver.wants_open_module" if told else "driver.module_flavour", f"gpus[{place}].pci_id"),
            severity="error" if told else None,
            certainty="certain" if told else None,
            fixes=(
                Fix(
                    summary=say("Install the {wanted} flavour of the driver, then restart the machine.", wanted=wanted),
                    commands=(*packages, ("sudo", "reboot")) if packages else (),
                    effect="needs-reboot",
                    page=_KERNEL_MODULES,
                ),
            ),
        )


def _wants_open(driver: Driver, own: str | None) -> bool | None:
    """Tell which flavour the card needs instead of the one at hand; None: they fit, or nothing tells."""
    if driver.wants_open_module is not None and not driver.module_loaded:
        return driver.wants_open_module
    if own is None or not driver.module_loaded:
        return None
    if driver.module_flavour == "open" and not at_least(own, "7.5"):
        return False
    return True if driver.module_flavour == "proprietary" and at_least(own, _OPEN_ONLY) else None


@rule(
    "DRV013",
    "device-files-not-permitted",
    "error",
    needs=("devices", "driver.nvml", "system.container"),
    supersedes=("DRV014", *GPU_UNSEEN),
    sources=(_MODPROBE, _NVML),
)
def no_permission_on_device_files(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This account may not open the driver's device files.

    Everybody may open /dev/nvidia* unless an administrator decided otherwise; then a group stands on them, and only
    its members can use the GPU.

    Check: `ls -l /dev/nvidia*` beside `id`, after a new login.
    Silent in containers, and where NVML answers, which has opened the files. A group that was just added to the
    account counts from the next login on, which is said where /etc/group lists the account.
    """
    driver = machine.driver
    closed = [
        (place, each)
        for place, each in enumerate(machine.devices)
        if each.path.startswith("/dev/nvidia") and each.refused == "EACCES"
    ]
    if driver is None or driver.nvml == 0 or not closed or not on_bare_linux(machine):
        return
    place, file = closed[0]
    if file.mode is not None and file.mode & 0o006 == 0o006:
        return  # everybody may, so something else refuses: SELinux
    group = plain(file.group)
    joined = bool(file.member)
    join = (("sudo", "usermod", "-a", "-G", group, "USER"),) if group and not joined else ()
    yield found(
        say(
            "This account may not open {files}, which group {group} may",
            files=listed(each.path for _, each in closed),
            group=file.group,
        )
        if file.group
        else say("This account may not open {files}", files=listed(each.path for _, each in closed)),
        say("An administrator restricted the GPU to that group.")
        + " "
        + (
            say("/etc/group lists this account in it already, which counts from the next login on.")
            if joined
            else say("Without it every CUDA program reports that there is no device.")
        ),
        evidence=tuple(f"devices[{place}].{field}" for field in ("path", "mode", "group", "refused")),
        fixes=(
            Fix(
                summary=say("Log out and in again.")
                if joined
                else say("Ask to be added to the group, then log out and in (USER is your account)."),
                commands=join,
                effect="needs-root" if join else "safe",
            ),
        ),
    )


@rule(
    "DRV014",
    "uvm-module-missing",
    "error",
    needs=("driver.nvml", "driver.device_nodes", "driver.uvm", "system.wsl", "system.container"),
    sources=(_MODPROBE, "https://github.com/pytorch/pytorch/issues/43281"),
)
def uvm_is_missing(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The driver's second module nvidia-uvm is missing: nvidia-smi works and CUDA does not.

    Every CUDA program opens /dev/nvidia-uvm. Usually the first one lets the helper nvidia-modprobe load the module and
    make the file; without the helper, and in containers, nobody does.

    Check: `ls -l /dev/nvidia-uvm`, then `python -c "import torch; torch.zeros(1).cuda()"`.
    Silent where the helper is installed, which makes up for it, in WSL and on Jetson boards, which have no such module.
    """
    driver, system = machine.driver, machine.system
    if driver is None or driver.nvml != 0 or driver.device_nodes is None or system is None or system.os != "linux":
        return
    if system.wsl or system.jetson or not driver.module_loaded or "/dev/nvidiactl" not in driver.device_nodes:
        return  # without that file NVML could not answer, so the files are hidden from us and prove nothing
    inside = system.container is not None
    no_file = "/dev/nvidia-uvm" not in driver.device_nodes
    if not no_file and (inside or driver.uvm is not False):
        return
    if not inside and driver.modprobe is not False:
        return
    load = (("sudo", "modprobe", "nvidia-uvm"), *((("sudo", "nvidia-modprobe", "-u", "-c", "0"),) if no_file else ()))
    yield found(
        say("CUDA needs nvidia-uvm, and /dev/nvidia-uvm is not in this container")
        if inside
        else say("CUDA needs nvidia-uvm, and it is not loaded and nothing here loads it"),
        say("nvidia-smi needs only the main module and looks healthy; every CUDA program stops at its start."),
        evidence=("driver.nvml", "driver.device_nodes", *(() if inside else ("driver.uvm", "driver.modprobe"))),
        fixes=(
            Fix(
                summary=say(
                    "Start the container again and ask for the GPU as a whole (IMAGE is yours), or hand it this "
                    "device too."
                ),
                commands=(("docker", "run", "--gpus", "all", "IMAGE"),),
                where="host",
            )
            if inside
            else Fix(summary=say("Load the module, and install nvidia-modprobe."), commands=load, effect="needs-root"),
        ),
    )


@rule(
    "DRV016",
    "fabric-manager-not-running",
    "warning",
    certainty="likely",
    needs=("driver.nvswitch", "driver.version", "system.container"),
    sources=(
        "https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide",
        "https://github.com/NVIDIA/NVSentinel/issues/883",
    ),
)
def fabric_manager_missing(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """GPUs are joined by NVSwitch, and the Fabric Manager that sets it up does not run in the driver's release.

    On HGX and DGX boards CUDA stays unusable (error 802) until nvidia-fabricmanager has connected the GPUs, and it must
    be of exactly the driver's release.

    Check: `systemctl status nvidia-fabricmanager`, and `nvidia-smi -q` shows Fabric State: Completed.
    Silent without NVSwitch devices: PCIe cards, NVLink bridges, and virtual machines, whose host does it. In containers
    only the state that the GPUs report decides.
    """
    driver, system = machine.driver, machine.system
    if driver is None or not driver.nvswitch or system is None or not driver.version:
        return
    places = [i for i, gpu in enumerate(machine.gpus) if gpu.health and gpu.health.fabric is not None]
    waiting = [i for i in places if (health := machine.gpus[i].health) and health.fabric != 3]
    if places and not waiting:
        return  # all are connected, whoever did it
    branch = major(driver.version) if readable(driver.version) else 0
    stopped = driver.fabric_manager is False and system.container is None
    own = driver.fabric_manager_version
    other = own is not None and own != driver.version and system.container is None
    if not (waiting or stopped or other):
        return
    install = os_packages(machine, {"ubuntu": (f"nvidia-fabricmanager-{branch}",)}) if other or own is None else ()
    reason = (
        say("the Fabric Manager here is {own}, not {version}", own=own, version=driver.version)
        if other
        else say("the Fabric Manager does not run")
        if stopped
        else say("the GPUs are not connected yet")
    )
    facts_shown = ["driver.nvswitch", "driver.version"]
    facts_shown += ["driver.fabric_manager_version"] if other else ["driver.fabric_manager"] if stopped else []
    yield found(
        say("The GPUs here are joined by NVSwitch, and {reason}", reason=reason),
        say(
            "Until the Fabric Manager of the driver's own release has set up NVSwitch, every CUDA program stops with "
            "error 802 (system not yet initialized)."
        ),
        evidence=(*facts_shown, *(f"gpus[{i}].health.fabric" for i in waiting)),
        severity="error" if waiting else None,
        certainty="certain" if waiting else None,
        fixes=(
            Fix(
                summary=say("Have nvidia-fabricmanager {version} installed and running.", version=driver.version),
                commands=(*install, ("sudo", "systemctl", "enable", "--now", "nvidia-fabricmanager")),
                effect="needs-root",
                where="host" if system.container else "here",
            ),
        ),
    )
