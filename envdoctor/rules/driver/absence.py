"""The kernel half of the NVIDIA driver: whether it is there, is loaded, and holds the card."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Driver, Gpu, Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.consequences import DRIVER_SILENT, GPU_UNSEEN
from envdoctor.rules.driver.packages import install_driver
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import Command, family, os_packages, plain
from envdoctor.rules.wording import card, listed, sentence

_KERNEL_MODULES = "https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/610/kernel-modules.html"
_MODPROBE = "https://github.com/NVIDIA/nvidia-modprobe/blob/main/modprobe-utils/nvidia-modprobe-utils.c"
_OPEN_MODULES = "https://github.com/NVIDIA/open-gpu-kernel-modules/blob/main/README.md"
_GIST = "https://gist.github.com/ngoc-minh-do/fcf0a01564ece8be3990d774386b5d0c"

_FREE_DRIVERS = ("nouveau", "nova_core", "nova-core", "novacore")
_BOOT_NEEDS = ("system.wsl", "system.container", "gpus.vendor", "gpus.bound_driver", "driver.module_loaded")


def on_bare_linux(machine: Snapshot) -> bool:
    """Tell whether the kernel's drivers are this machine's own affair: not in WSL, a container or a Jetson."""
    system = machine.system
    if system is None or system.os != "linux":
        return False
    return system.wsl is None and system.container is None and system.jetson is None


def _unserved(machine: Snapshot) -> tuple[tuple[int, Gpu], ...]:
    """Give the NVIDIA cards on the bus that NVIDIA's driver does not hold, with their place in the Snapshot.

    A card of vfio-pci is lent to a virtual machine on purpose.
    """
    return tuple(
        (place, gpu)
        for place, gpu in enumerate(machine.gpus)
        if gpu.vendor == "nvidia" and not gpu.integrated and gpu.bound_driver not in ("vfio-pci", "nvidia")
    )


def _held_by_nouveau(gpu: Gpu) -> bool:
    return (gpu.bound_driver or "").lower() in _FREE_DRIVERS


def _cause(machine: Snapshot) -> str | None:
    """Name the one rule that speaks when no NVIDIA module is loaded, nearest cause first; None: nothing is wrong."""
    driver = machine.driver or Driver()
    cards = _unserved(machine)
    if not on_bare_linux(machine) or driver.module_loaded or not cards:
        return None
    installed = driver.module_on_disk or driver.libcuda_path is not None
    if installed and any(_held_by_nouveau(gpu) for _, gpu in cards):
        return "DRV005"
    if driver.module_on_disk:
        # Only a module without a signature shows by itself that Secure Boot is the reason.
        return "DRV004" if _secure_boot(machine) and driver.module_signed is False else "DRV002"
    return "DRV003" if driver.dkms and driver.module_on_disk is False else "DRV001"


def _secure_boot(machine: Snapshot) -> bool:
    return machine.system is not None and bool(machine.system.secure_boot)


def _facts(machine: Snapshot, *names: str) -> tuple[str, ...]:
    """Name facts of the driver; a machine without any trace of one has only the driver itself to show as absent."""
    return tuple(f"driver.{name}" for name in names) if machine.driver else ("driver",)


def _bindings(cards: tuple[tuple[int, Gpu], ...]) -> tuple[str, ...]:
    return tuple(f"gpus[{place}].bound_driver" for place, _ in cards)


@rule(
    "DRV001",
    "driver-missing",
    "error",
    needs=(*_BOOT_NEEDS, "driver.module_on_disk"),
    supersedes=(*DRIVER_SILENT, *GPU_UNSEEN),
    sources=(
        _KERNEL_MODULES,
        _MODPROBE,
        "https://github.com/astral-sh/uv/blob/main/crates/uv-torch/src/accelerator.rs",
    ),
)
def no_driver_is_installed(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """An NVIDIA card is there, but no NVIDIA driver is installed for it.

    The card answers on the PCI bus and nothing in the kernel drives it, so CUDA, NVML and nvidia-smi cannot work.
    CUDA toolkits and the libraries inside wheels do not change that: the driver is a part of the system.

    Check: after the installation and a restart, `nvidia-smi` lists the card.
    Silent for cards that vfio-pci holds for a virtual machine, in WSL and in containers (whose driver is elsewhere),
    and on Jetson boards.
    """
    if _cause(machine) != "DRV001":
        return
    cards = _unserved(machine)
    free = any(_held_by_nouveau(gpu) for _, gpu in cards)
    fix = install_driver(machine, facts)
    yield found(
        say("{cards} has no NVIDIA driver", cards=sentence(listed(card(gpu) for _, gpu in cards))),
        " ".join(
            (
                say("It answers on the PCI bus, but the kernel has no nvidia module loaded, nor one on disk.")
                if machine.driver is None or machine.driver.module_on_disk is False
                else say("It answers on the PCI bus, but the kernel has no nvidia module loaded."),
                say("nouveau drives it for the display and cannot run CUDA.")
                if free
                else say("Without it no program can use CUDA."),
            )
        ),
        evidence=(*_facts(machine, "module_loaded", "module_on_disk"), *_bindings(cards)),
        fixes=(fix,) if fix else (),
    )


@rule(
    "DRV002",
    "driver-missing",
    "error",
    needs=(*_BOOT_NEEDS, "driver.module_on_disk", "system.secure_boot"),
    supersedes=(*DRIVER_SILENT, *GPU_UNSEEN),
    sources=(_MODPROBE, _KERNEL_MODULES),
)
def module_is_not_loaded(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The nvidia module is installed for this kernel but is not loaded.

    The driver was built and put in place, but the kernel refused it or was never asked to load it.

    Check: `sudo modprobe nvidia` ends without a message and `nvidia-smi` answers; if not, `sudo dmesg` says why.
    It is certain that nothing drives the card; why, the kernel's messages tell. A note only where a blacklist line and
    a second GPU show a laptop that is set to its integrated graphics. Silent where nouveau (DRV005) or a module that
    Secure Boot cannot accept (DRV004) explain it, in WSL and in containers.
    """
    if _cause(machine) != "DRV002":
        return
    cards = _unserved(machine)
    driver = machine.driver or Driver()
    hybrid = bool(driver.blacklisted) and any(gpu.vendor in ("intel", "amd") for gpu in machine.gpus)
    load = Fix(
        summary=say("Load the module; if that fails, the kernel's messages say why."),
        commands=(("sudo", "modprobe", "nvidia"), ("sudo", "modprobe", "nvidia-uvm"), ("sudo", "dmesg", "--level=err")),
        effect="needs-root",
    )
    switch = Fix(
        summary=say(
            "Take the blacklist out of /etc/modprobe.d or the kernel's command line, or switch to the NVIDIA card "
            "with the tool that switched it off, then restart."
        ),
        commands=(("sudo", "prime-select", "nvidia"),) if family(machine) == "ubuntu" and hybrid else (),
        effect="needs-reboot",
    )
    yield found(
        say("The nvidia module is installed for this kernel but is not loaded"),
        (
            (
                say(
                    "A file in a modprobe.d folder, or the kernel's command line, forbids to load it, as it is on a "
                    "laptop that is set to its integrated graphics."
                )
                if hybrid
                else say("A file in a modprobe.d folder, or the kernel's command line, forbids to load it.")
            )
            if driver.blacklisted
            else say(
                "The kernel has not loaded it for {cards}, so nothing can use CUDA.",
                cards=listed(card(gpu) for _, gpu in cards),
            )
        ),
        evidence=("driver.module_on_disk", "driver.module_loaded", "driver.blacklisted", *_bindings(cards)),
        severity="note" if hybrid else None,
        certainty="hint" if hybrid else None,
        fixes=(switch,) if driver.blacklisted else (load,),
    )


@rule(
    "DRV003",
    "driver-module-missing-for-kernel",
    "error",
    needs=(*_BOOT_NEEDS, "driver.module_on_disk", "driver.dkms", "driver.headers", "system.kernel"),
    supersedes=(*DRIVER_SILENT, *GPU_UNSEEN),
    sources=(
        _OPEN_MODULES,
        "https://github.com/ROCm/rocm-install-on-linux/blob/develop/docs/install/prerequisites.rst",
        _GIST,
    ),
)
def module_was_not_built(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The NVIDIA driver was not built for the kernel that is running.

    DKMS compiles the module again for every new kernel, for which it needs the headers of exactly that kernel. Where
    they are missing, or the build failed, the new kernel starts without the driver.

    Check: `dkms status` says "installed" for the running kernel.
    Silent where the module is there without DKMS (linux-modules-nvidia packages), and where no DKMS tree of nvidia
    exists (DRV001).
    """
    if _cause(machine) != "DRV003":
        return
    driver = machine.driver or Driver()
    kernel = machine.system.kernel if machine.system else None
    without = driver.headers is False
    yield found(
        say("No nvidia module was built for the running kernel {kernel}", kernel=kernel),
        say("DKMS holds the driver {dkms}, but no nvidia.ko belongs to this kernel.", dkms=listed(driver.dkms or ()))
        + " "
        + (
            say("The kernel's headers are missing, which the build needs.")
            if without
            else say(
                "Its headers are there, so the build was not run or failed; /var/lib/dkms/nvidia/ holds its make.log."
            )
        ),
        evidence=("system.kernel", "driver.dkms", "driver.module_on_disk", "driver.headers"),
        fixes=(
            Fix(
                summary=say("Install the headers of the running kernel, build the module and load it.")
                if without
                else say("Build the module and load it; if that fails, make.log says why."),
                commands=(
                    *(_headers(machine, kernel) if without else ()),
                    ("sudo", "dkms", "autoinstall"),
                    ("sudo", "modprobe", "nvidia"),
                ),
                effect="needs-root",
            ),
            Fix(
                summary=say(
                    "If `dkms status` shows the module for a newer kernel, it is enough to restart into that one."
                ),
                commands=(("dkms", "status"),),
            ),
        ),
    )


def _headers(machine: Snapshot, kernel: str | None) -> tuple[Command, ...]:
    name = plain(kernel)
    if name is None:
        return ()
    return os_packages(
        machine,
        {
            "ubuntu": (f"linux-headers-{name}",),
            "debian": (f"linux-headers-{name}",),
            "fedora": (f"kernel-devel-{name}",),
            "rhel": (f"kernel-devel-{name}",),
            "arch": ("linux-headers",),
            "suse": ("kernel-default-devel",),
        },
    )


@rule(
    "DRV004",
    "secure-boot-blocks-driver",
    "error",
    needs=(*_BOOT_NEEDS, "driver.module_on_disk", "system.secure_boot"),
    supersedes=(*DRIVER_SILENT, *GPU_UNSEEN),
    sources=("https://gist.github.com/lijikun/22be09ec9b178e745758a29c7a147cc9", _GIST),
)
def secure_boot_refuses_module(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Secure Boot keeps the kernel from loading the nvidia module.

    With Secure Boot on, the kernel only takes modules signed with a key that the firmware or the machine's own list
    (MOK) trusts. A module built by DKMS or akmods is signed with a local key, which must be enrolled once, at a screen
    that appears during the next start.

    Check: `mokutil --sb-state` says that Secure Boot is on; after the enrolment `sudo modprobe nvidia` works.
    Certain where the module has no signature, which the kernel refuses then. A warning beside DRV002 where it has one:
    that its key is not enrolled is the usual reason, and not the only one. Silent where the firmware's state cannot be
    read (then it is unknown, not off), and where the module is loaded.
    """
    driver = machine.driver or Driver()
    unsigned = driver.module_signed is False
    probable = _cause(machine) == "DRV002" and _secure_boot(machine) and not driver.blacklisted
    if _cause(machine) != "DRV004" and not probable:
        return
    key = {
        "ubuntu": "/var/lib/shim-signed/mok/MOK.der",
        "debian": "/var/lib/dkms/mok.pub",
        "fedora": "/etc/pki/akmods/certs/public_key.der",
    }.get(family(machine) or "")
    prepare: tuple[Command, ...] = (("sudo", "kmodgenca", "-a"),) if family(machine) == "fedora" else ()
    enrol: tuple[Command, ...] = (("sudo", "mokutil", "--import", key), ("sudo", "reboot")) if key else ()
    yield found(
        say("Secure Boot is on and the nvidia module is not signed, so the kernel refuses it")
        if unsigned
        else say("Secure Boot is on and the nvidia module is not loaded: its key is probably not enrolled"),
        say(
            "The module stands on disk for this kernel, but with Secure Boot the kernel only loads modules whose "
            "signing key is trusted."
        ),
        evidence=("system.secure_boot", "driver.module_on_disk", "driver.module_loaded", "driver.module_signed"),
        severity=None if unsigned else "warning",
        certainty=None if unsigned else "likely",
        fixes=(
            Fix(
                summary=say(
                    "Enrol the key that signs the module: give a password, restart, and choose “Enroll MOK” on the "
                    "blue screen."
                ),
                commands=(*prepare, *enrol),
                effect="needs-reboot",
            ),
            Fix(summary=say("Or turn Secure Boot off in the firmware's set-up."), effect="needs-reboot"),
        ),
    )


@rule(
    "DRV005",
    "nouveau-bound",
    "error",
    needs=(*_BOOT_NEEDS, "driver.module_on_disk"),
    supersedes=(*DRIVER_SILENT, *GPU_UNSEEN),
    sources=(_GIST, "https://github.com/NVIDIA/cloud-native-docs/blob/main/edge/nvidia-gpu-with-device-edge.rst"),
)
def nouveau_holds_the_card(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The free driver nouveau holds the card, so that NVIDIA's driver cannot.

    nouveau (and its successor nova) drives the display and has no CUDA. A card belongs to one driver at a time; while
    nouveau holds it, the installed NVIDIA module cannot.

    Check: `lspci -k` names nvidia as the driver in use after the restart.
    A note where another card already runs with NVIDIA's driver: one for the display and one for computing is a choice.
    Without an installed NVIDIA driver DRV001 speaks.
    """
    held = tuple((place, gpu) for place, gpu in _unserved(machine) if _held_by_nouveau(gpu))
    served = machine.driver is not None and machine.driver.module_loaded
    if not held or not on_bare_linux(machine) or (not served and _cause(machine) != "DRV005"):
        return
    names = listed(card(gpu) for _, gpu in held)
    yield found(
        say(
            "{names} is held by {bound_driver}, which cannot run CUDA",
            names=sentence(names),
            bound_driver=held[0][1].bound_driver,
        ),
        say("Other cards run with NVIDIA's driver; this one is not available to CUDA.")
        if served
        else say("The NVIDIA driver is installed, but a card belongs to one driver at a time."),
        evidence=(*_bindings(held), *_facts(machine, "module_loaded", "module_on_disk")),
        severity="note" if served else None,
        fixes=(
            Fix(
                summary=say(
                    "Write the lines “blacklist nouveau” and “options nouveau modeset=0” into "
                    "/etc/modprobe.d/blacklist-nouveau.conf, then rebuild the start-up image and restart."
                ),
                commands=_rebuild_image(machine),
                effect="needs-reboot",
            ),
        ),
    )


def _rebuild_image(machine: Snapshot) -> tuple[Command, ...]:
    rebuild: dict[str, Command] = {
        "ubuntu": ("sudo", "update-initramfs", "-u"),
        "debian": ("sudo", "update-initramfs", "-u"),
        "fedora": ("sudo", "dracut", "--force"),
        "rhel": ("sudo", "dracut", "--force"),
        "suse": ("sudo", "dracut", "--force"),
        "arch": ("sudo", "mkinitcpio", "-P"),
    }
    command = rebuild.get(family(machine) or "")
    return (command, ("sudo", "reboot")) if command else ()
