"""Which driver to install or update to, by distribution and by the age of the cards."""

from __future__ import annotations

from envdoctor.knowledge.fit import last_branch
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.targets import capability_of
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Gpu, Snapshot
from envdoctor.model.speech import message, say
from envdoctor.model.version import at_least, major, readable
from envdoctor.rules.remedies import DRIVER_PAGE, INSTALL_GUIDE, Command, family, in_windows, on_host, os_packages

# The branch that distributions carry for long: it runs CUDA 13 and is the last one for Maxwell, Pascal and Volta.
_LONG_TERM = 580
_DEBIAN = 535  # branch of Debian 12's own package
_PAGES = {
    "rhel": INSTALL_GUIDE,
    "debian": "https://wiki.debian.org/NvidiaGraphicsDrivers",
    "fedora": "https://rpmfusion.org/Howto/NVIDIA",
    "arch": "https://wiki.archlinux.org/title/NVIDIA",
}


def capabilities(machine: Snapshot, facts: Knowledge) -> tuple[str, ...]:
    """Give the known compute capabilities of the NVIDIA cards."""
    return tuple(each for gpu in machine.nvidia_gpus if (each := capability_of(gpu, facts)))


def consumer(gpu: Gpu) -> bool:
    """Tell whether this is a card for players rather than for servers or workstations."""
    return any(word in (gpu.name or "").lower() for word in ("geforce", "titan"))


def first_to_end(machine: Snapshot, facts: Knowledge) -> Gpu | None:
    """Give the card whose driver support ends first, or None where no end is known."""
    limit = last_branch(facts, capabilities(machine, facts))
    for gpu in machine.nvidia_gpus:
        own = capability_of(gpu, facts)
        if limit and own and last_branch(facts, (own,)) == limit:
            return gpu
    return None


def install_driver(machine: Snapshot, facts: Knowledge, floor: str | None = None) -> Fix | None:
    """Say how to get a driver, of `floor` or newer where one is named.

    None: every driver that reaches the floor has dropped one of the cards, so that a newer driver is no way out.
    """
    limit = last_branch(facts, capabilities(machine, facts))
    if limit and floor and major(floor) > limit:
        return None
    card = first_to_end(machine, facts)
    words = say("driver {floor} or newer", floor=floor) if floor else say("the NVIDIA driver")
    if limit and card:
        words = say(
            "{driver} (branch {limit} is the last one for the {card}: take no newer branch)",
            driver=words,
            limit=limit,
            card=card.name or say("oldest card"),
        )
    system = machine.system
    if system and (system.wsl or system.os == "windows"):
        return _in_windows(words, wsl=system.wsl is not None)
    if system and system.container:
        return on_host(
            say("On the host, not in the container: install {driver}.", driver=words),
            effect="needs-reboot",
            page=INSTALL_GUIDE,
        )
    if system and system.jetson:
        return Fix(
            summary=say("A Jetson's driver is part of JetPack: update JetPack."),
            effect="needs-reboot",
            page="https://developer.nvidia.com/embedded/jetpack",
        )
    commands = _commands(machine, facts, floor, limit)
    page = _PAGES.get(family(machine) or "", DRIVER_PAGE)
    if family(machine) == "debian" and not commands and not limit:
        words, page = say("{driver} from NVIDIA's own repository", driver=words), INSTALL_GUIDE
    restart: tuple[Command, ...] = (("sudo", "reboot"),) if commands else ()
    before = _BEFORE.get(family(machine) or "") if commands else None
    install = say("Install {driver}, then restart the machine.", driver=words)
    return Fix(
        summary=f"{say(before)} {install}" if before else install,
        commands=(*commands, *restart),
        effect="needs-reboot",
        page=page,
    )


_BEFORE = {
    "debian": message("Enable the contrib, non-free and non-free-firmware components."),
    "fedora": message("Enable RPM Fusion."),
    "rhel": message(
        "Add NVIDIA's package repository. Cards before GTX 16 and RTX 20 need another package: see the page."
    ),
    "arch": message("Cards before GTX 16 and RTX 20 need another package: see the page."),
}


def _in_windows(words: str, *, wsl: bool) -> Fix:
    restart: tuple[Command, ...] = (("wsl", "--shutdown"),) if wsl else ()
    return in_windows(
        say("In Windows, install {driver}; then restart WSL. Install no driver inside WSL.", driver=words)
        if wsl
        else say("In Windows, install {driver}.", driver=words),
        *restart,
        effect="needs-root",
        page=DRIVER_PAGE,
    )


def _commands(machine: Snapshot, facts: Knowledge, floor: str | None, limit: int | None) -> tuple[Command, ...]:
    known = [capability_of(gpu, facts) for gpu in machine.nvidia_gpus]
    open_module = bool(known) and all(each and at_least(each, "7.5") for each in known)
    if family(machine) == "ubuntu":
        return _ubuntu(machine, limit, open_module=open_module)
    if limit:
        return ()  # what the other distributions call their older branches changes with their releases: the page tells
    if family(machine) == "debian" and floor and major(floor) > _DEBIAN:
        return ()
    return os_packages(
        machine,
        {
            "debian": ("linux-headers-amd64", "nvidia-driver"),
            "fedora": ("akmod-nvidia", "xorg-x11-drv-nvidia-cuda"),
            "rhel": ("nvidia-open",),
            "arch": ("nvidia-open",),
        },
    )


def _ubuntu(machine: Snapshot, limit: int | None, *, open_module: bool) -> tuple[Command, ...]:
    release = readable(machine.system.distribution_version) if machine.system else None
    current = machine.system is not None and machine.system.distribution == "ubuntu" and release is not None
    if limit and limit < _LONG_TERM:
        return os_packages(machine, {"ubuntu": (f"nvidia-driver-{limit}",)})
    if current and release and at_least(release, "22.04") and (limit or open_module):
        name = f"nvidia-driver-{_LONG_TERM}"
        return os_packages(machine, {"ubuntu": (f"{name}-open" if open_module else name,)})
    return (("sudo", "ubuntu-drivers", "install"),)  # picks the branch by the cards' PCI ids
