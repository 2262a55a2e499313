"""The kernel half of the NVIDIA driver: is it there, is it loaded, what keeps it out, and which cards does it hold."""

from __future__ import annotations

import re
from typing import Literal

from envdoctor.host import Host, names, text
from envdoctor.model import Record
from envdoctor.model.snapshot import Driver
from envdoctor.probes.partial import Gaps

MODULE = "/sys/module/nvidia"
PROC = "/proc/driver/nvidia"
_RESUMES = "/sys/power/suspend_stats/success"

# A file of an earlier folder hides those of the same name in later ones (modprobe.d(5)).
_MODPROBE = ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")
_MODINFO = ("/usr/sbin/modinfo", "/sbin/modinfo", "/usr/bin/modinfo")
_LARGEST_LIST = 16 << 20  # modules.dep of a distribution's kernel has about 1 MB


class Card(Record):
    """What the module says of a card it holds."""

    name: str | None
    uuid: str | None
    minor: int | None


def loaded(host: Host) -> bool:
    """Tell whether the module is in the running kernel, which containers share with their host."""
    return host.kind(MODULE) == "directory"


def read(host: Host, gaps: Gaps) -> Driver:
    """Give the fields of Driver that concern the kernel; the others are left empty."""
    here = loaded(host)
    page = gaps.ask("driver.module_flavour", lambda: text(host, f"{PROC}/version") or "")
    version, flavour = release(page or "")
    modules = f"/lib/modules/{host.uname()[1] or 'unknown'}"
    path = gaps.ask("driver.module_on_disk", lambda: _on_disk(host, modules))
    return Driver(
        version=gaps.ask("driver.version", lambda: text(host, f"{MODULE}/version") or version),
        module_loaded=here,
        module_on_disk=None if path is None else bool(path),
        module_signed=gaps.ask(
            "driver.module_signed", lambda: _signed(host, here, f"{modules}/{path}" if path else "")
        ),
        module_flavour=flavour,
        blacklisted=gaps.ask("driver.blacklisted", lambda: _blacklisted(host)),
        nouveau_loaded=any(host.kind(f"/sys/module/{name}") == "directory" for name in ("nouveau", "nova_core")),
        dkms=gaps.ask("driver.dkms", lambda: _dkms(host)),
        headers=_headers(host, modules),
        keeps_memory=gaps.ask("driver.keeps_memory", lambda: keeps_memory(text(host, f"{PROC}/params") or "")),
        resumes=gaps.ask("driver.resumes", lambda: _resumes(host)) if here else None,
    )


def cards(host: Host) -> dict[str, Card]:
    """Give what the module says of each card, by its place on the bus."""
    folder = f"{PROC}/gpus"
    return {bus_id: card(text(host, f"{folder}/{bus_id}/information") or "") for bus_id in names(host, folder)}


def card(information: str) -> Card:
    r"""Read the module's page about a card; it writes question marks for what a sleeping card does not tell.

    >>> card("Model: \t\t NVIDIA GeForce RTX 3060\nGPU UUID: \t GPU-????\nDevice Minor: \t 0\n")
    Card(name='NVIDIA GeForce RTX 3060', uuid=None, minor=0)
    """
    pairs = (line.partition(":") for line in information.splitlines())
    facts = {key.strip(): value.strip() for key, _, value in pairs if "?" not in value}
    minor = facts.get("Device Minor", "")
    name = facts.get("Model")
    return Card(
        name=None if name in (None, "", "Unknown") else name,
        uuid=facts.get("GPU UUID") or None,
        minor=int(minor) if minor.isdigit() else None,
    )


def release(line: str) -> tuple[str | None, Literal["open", "proprietary"] | None]:
    """Read the first line of /proc/driver/nvidia/version: release and flavour.

    >>> release("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build")
    ('570.124.06', 'open')
    >>> release("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024")
    ('535.183.01', 'proprietary')
    """
    found = re.search(r"Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)", line)
    if not found:
        return None, None
    return found[1], "open" if "Open Kernel Module" in line else "proprietary"


def listed(modules_dep: bytes) -> str:
    r"""Find the module in the list of a kernel's modules: its path below the kernel's folder; empty: not listed.

    Debian calls the file nvidia-current.ko or nvidia-tesla-470.ko. Others that start with "nvidia" are parts of the
    driver, or have nothing to do with it: nvidiafb, nvidia-wmi-ec-backlight.

    >>> listed(b"kernel/drivers/video/fbdev/nvidia/nvidiafb.ko: x.ko\nupdates/dkms/nvidia.ko.zst: y.ko\n")
    'updates/dkms/nvidia.ko.zst'
    """
    found = re.search(rb"^(?:\S*/)?nvidia(?:-(?:current|tesla|legacy)[a-z0-9-]*)?\.ko[.a-z]*(?=:)", modules_dep, re.M)
    return found[0].decode("utf-8", "replace") if found else ""


def keeps_memory(params: str) -> bool | None:
    r"""Read from the module's parameters whether it saves the memory of its cards before a suspend.

    >>> keeps_memory("EnableMSI: 1\nPreserveVideoMemoryAllocations: 0\n"), keeps_memory("EnableMSI: 1\n")
    (False, None)
    """
    found = re.search(r"^PreserveVideoMemoryAllocations: (\d)", params, re.MULTILINE)
    return found[1] != "0" if found else None


def _resumes(host: Host) -> int | None:
    count = (text(host, _RESUMES) or "").strip()
    return int(count) if count.isdigit() else None


def blocks(conf: str) -> bool:
    """Tell whether a modprobe.d file keeps the module out: by a blacklist, or by something else in its place.

    >>> blocks("# blacklist nvidia"), blocks("blacklist nvidia"), blocks("install nvidia /bin/false")
    (False, True, True)
    """
    for line in conf.splitlines():
        words = line.partition("#")[0].split()
        if words[:2] == ["blacklist", "nvidia"] or words[:3] == ["alias", "nvidia", "off"]:
            return True
        if words[:2] == ["install", "nvidia"] and words[2:] and words[2].rpartition("/")[2] in ("true", "false"):
            return True
    return False


def blocked_at_start(cmdline: str) -> bool:
    """Tell whether the kernel was started with an order to keep the module out.

    >>> blocked_at_start("quiet modprobe.blacklist=nvidia,nvidia_drm"), blocked_at_start("modprobe.blacklist=nouveau")
    (True, False)
    """
    orders = (word.partition("=") for word in cmdline.split())
    names = ("modprobe.blacklist", "module_blacklist", "rd.driver.blacklist")
    return any(key in names and "nvidia" in value.split(",") for key, _, value in orders)


def _on_disk(host: Host, modules: str) -> str | None:
    """Give the module's path below its kernel's folder; empty: not listed; None: the list is hidden, by a container."""
    try:
        return listed(host.read(f"{modules}/modules.dep", _LARGEST_LIST))
    except FileNotFoundError:
        return None


def _signed(host: Host, here: bool, path: str) -> bool | None:
    if here:
        taint = text(host, f"{MODULE}/taint", 64)  # E: it was loaded without a valid signature
        return None if taint is None else "E" not in taint
    modinfo = next((program for program in _MODINFO if host.executable(program)), None)
    if not path or modinfo is None:
        return None
    answer = host.run((modinfo, path), host.patience)  # it also unpacks what is compressed
    return "\nsig" in f"\n{answer.stdout}" if answer.returncode == 0 else None


def _blacklisted(host: Host) -> bool:
    files: dict[str, str] = {}
    for folder in _MODPROBE:
        for name in names(host, f"{folder}/modprobe.d"):
            if name.endswith(".conf"):
                files.setdefault(name, f"{folder}/modprobe.d/{name}")
    if any(blocks(text(host, path) or "") for path in files.values()):
        return True
    return blocked_at_start(text(host, "/proc/cmdline", 1 << 16) or "")


def _dkms(host: Host) -> tuple[str, ...]:
    """List the releases whose source waits to be built: beside them stand links for each kernel they were built for."""
    trees = (f"/var/lib/dkms/{name}" for name in names(host, "/var/lib/dkms") if name.startswith("nvidia"))
    return tuple(sorted({version for tree in trees for version in names(host, tree) if version[:1].isdigit()}))


def _headers(host: Host, modules: str) -> bool | None:
    if host.kind(modules) != "directory":
        return None
    return host.kind(f"{modules}/build/Makefile") == "file"
