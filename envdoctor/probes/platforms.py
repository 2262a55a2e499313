"""Windows and macOS: what their own files and programs tell of the system."""

from __future__ import annotations

from msgspec.structs import replace

from envdoctor.host import Host, text
from envdoctor.model.snapshot import System

_PLIST = "/System/Library/CoreServices/SystemVersion.plist"
_SYSCTL = "/usr/sbin/sysctl"
# Of the Visual C++ runtime, without which torch's DLLs cannot be loaded.
_RUNTIME = ("vcruntime140.dll", "vcruntime140_1.dll", "msvcp140.dll")


def describe(host: Host, system: System) -> System:
    """Add to the system what only this platform knows; any other is given back as it is."""
    if system.os == "macos":
        return replace(
            system,
            distribution="macos",
            distribution_version=parse_plist(text(host, _PLIST, 1 << 16) or ""),
            translated=_translated(host),
        )
    if system.os == "windows":
        folder = system32(host)
        if host.kind(folder) == "directory":
            missing = tuple(name for name in _RUNTIME if host.kind(f"{folder}/{name}") is None)
            return replace(system, missing_runtime=missing)
    return system


def system32(host: Host) -> str:
    """Give the folder of Windows' own libraries and programs, with forward slashes."""
    root = host.environ.get("SYSTEMROOT") or host.environ.get("SystemRoot") or "C:/Windows"
    return f"{root}/System32".replace("\\", "/")


def parse_plist(content: str) -> str | None:
    """Read the version of macOS from its property list.

    >>> parse_plist("<key>ProductVersion</key> <string>14.5</string>")
    '14.5'
    """
    after = content.partition("<key>ProductVersion</key>")[2]
    return after.partition("<string>")[2].partition("</string>")[0].strip() or None


def _translated(host: Host) -> bool | None:
    """Tell whether Rosetta translates this process; an Intel Mac does not know the question.

    https://developer.apple.com/documentation/apple-silicon/about-the-rosetta-translation-environment
    """
    try:
        answer = host.run((_SYSCTL, "-n", "sysctl.proc_translated"), host.patience)
    except OSError:
        return None
    return answer.stdout.strip() == "1" if answer.returncode == 0 else False
