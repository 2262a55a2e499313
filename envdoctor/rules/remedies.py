"""Fixes that several rules hand out: who types them, with which package manager, and into which environment."""

from __future__ import annotations

from typing import Literal

from envdoctor.model.finding import Effect, Fix
from envdoctor.model.snapshot import Snapshot

Family = Literal["ubuntu", "debian", "fedora", "rhel", "arch", "suse"]
Command = tuple[str, ...]

DRIVER_PAGE = "https://www.nvidia.com/en-us/drivers/"
INSTALL_GUIDE = "https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/"

# ID of os-release; what is not named here gets words instead of a command.
_FAMILIES: dict[str, Family] = {
    "ubuntu": "ubuntu",
    "pop": "ubuntu",
    "linuxmint": "ubuntu",
    "zorin": "ubuntu",
    "elementary": "ubuntu",
    "neon": "ubuntu",
    "debian": "debian",
    "kali": "debian",
    "raspbian": "debian",
    "fedora": "fedora",
    "rhel": "rhel",
    "centos": "rhel",
    "rocky": "rhel",
    "almalinux": "rhel",
    "ol": "rhel",
    "amzn": "rhel",
    "arch": "arch",
    "manjaro": "arch",
    "endeavouros": "arch",
    "opensuse-leap": "suse",
    "opensuse-tumbleweed": "suse",
    "sles": "suse",
}

_INSTALL: dict[Family, Command] = {
    "ubuntu": ("sudo", "apt", "install"),
    "debian": ("sudo", "apt", "install"),
    "fedora": ("sudo", "dnf", "install"),
    "rhel": ("sudo", "dnf", "install"),
    "arch": ("sudo", "pacman", "-S"),
    "suse": ("sudo", "zypper", "install"),
}

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-:~")


def family(machine: Snapshot) -> Family | None:
    """Give the family of the Linux distribution, or None where it has no command of ours."""
    if machine.system is None or machine.system.distribution is None:
        return None
    return _FAMILIES.get(machine.system.distribution)


def plain(word: str | None) -> str | None:
    """Give a word that came from a machine back if it can stand in a package or kernel name, else None.

    A report can hold anything; what would need quoting is not a name, and no command is made of it.
    """
    return word if word and not word.startswith("-") and all(letter in _PLAIN for letter in word) else None


def os_packages(machine: Snapshot, packages: dict[Family, Command]) -> tuple[Command, ...]:
    """Give the command that installs the packages of this distribution; empty where none are named for it."""
    here = family(machine)
    if here is None or not packages.get(here):
        return ()
    return ((*_INSTALL[here], *packages[here]),)


def in_windows(summary: str, *commands: Command, effect: Effect = "safe", page: str | None = None) -> Fix:
    """Say what to do in Windows; the commands are typed in PowerShell."""
    return Fix(summary=summary, commands=commands, effect=effect, where="windows", page=page)


def on_host(summary: str, *commands: Command, effect: Effect = "safe", page: str | None = None) -> Fix:
    """Say what to do outside the container."""
    return Fix(summary=summary, commands=commands, effect=effect, where="host", page=page)


def reboot(summary: str) -> Fix:
    """Ask for a restart of the machine."""
    return Fix(summary=summary, commands=(("sudo", "reboot"),), effect="needs-reboot")


def made_by_uv(machine: Snapshot) -> bool:
    """Tell whether uv fills the judged environment: it leaves its name as installer, and no pip in the environment."""
    python = machine.python
    return python is not None and python.package("pip") is None and any(p.installer == "uv" for p in python.packages)


def pip_install(machine: Snapshot, *arguments: str, index: str | None = None) -> Command:
    """Give the command that installs into the judged environment: its own interpreter's pip, or uv where uv made it.

    `arguments` are requirements and options; `index` replaces the package index.
    """
    python = machine.python
    executable = python.executable if python else "python"
    tail = (*arguments, *(("--index-url", index) if index else ()))
    if made_by_uv(machine):
        return ("uv", "pip", "install", "--python", executable, *tail)
    return (executable, "-m", "pip", "install", *tail)


def pip_uninstall(machine: Snapshot, *names: str) -> Command:
    """Give the command that takes distributions out of the judged environment."""
    python = machine.python
    executable = python.executable if python else "python"
    if made_by_uv(machine):
        return ("uv", "pip", "uninstall", "--python", executable, *names)
    return (executable, "-m", "pip", "uninstall", "--yes", *names)


def unset_variable(machine: Snapshot, name: str) -> Command:
    """Give the command that takes a variable out of the shell's environment."""
    return ("Remove-Item", f"Env:{name}") if _windows(machine) else ("unset", name)


def set_variable(machine: Snapshot, name: str, value: str) -> Command:
    """Give the command that sets a variable in the shell's environment."""
    return ("Set-Item", f"Env:{name}", value) if _windows(machine) else ("export", f"{name}={value}")


def _windows(machine: Snapshot) -> bool:
    return machine.system is not None and machine.system.os == "windows"
