"""Mounted file systems, as /proc/self/mountinfo lists them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from envdoctor.host import Host
from envdoctor.host import text as read_text

MOUNTINFO = "/proc/self/mountinfo"
# A container host with hundreds of mounts fills some hundred kilobytes.
_LIMIT = 8 << 20


class Mount(NamedTuple):
    """One line: which device, which folder of it, where, and how."""

    device: str  # major:minor
    root: str  # folder inside the file system that is mounted
    point: str
    filesystem: str
    source: str
    options: str  # of the file system itself: lowerdir=…, or the controllers of a cgroup hierarchy
    flags: str = ""  # of this mount: rw,nosuid,noexec


def parse(text: str) -> tuple[Mount, ...]:
    r"""Read mountinfo; lines of another form are left out.

    https://www.kernel.org/doc/html/latest/filesystems/proc.html

    >>> parse("27 1 254:0 / /a\\040b rw,relatime shared:1 - ext4 /dev/vda rw,discard")[0].point
    '/a b'
    """
    mounts = []
    for line in text.splitlines():
        left, dash, right = line.partition(" - ")
        before, after = left.split(" "), right.split(" ")
        if dash and len(before) >= 6 and len(after) >= 2:
            options = after[2] if len(after) > 2 else ""
            mounts.append(
                Mount(
                    device=before[2],
                    root=_plain(before[3]),
                    point=_plain(before[4]),
                    filesystem=after[0],
                    source=_plain(after[1]),
                    options=_plain(options),
                    flags=before[5],
                )
            )
    return tuple(mounts)


def read(host: Host) -> tuple[Mount, ...]:
    """List what this process sees mounted; nothing where there is no /proc."""
    return parse(read_text(host, MOUNTINFO, _LIMIT) or "")


def holding(path: str, mounts: Iterable[Mount]) -> Mount | None:
    """Give the mount that a path without links lies on: the longest that fits, and of equals the last, which covers."""
    best: Mount | None = None
    for mount in mounts:
        if below(path, mount.point) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def below(path: str, folder: str) -> bool:
    """Tell whether a path is a folder or lies in it.

    >>> below("/home/x", "/home"), below("/homes", "/home"), below("/x", "/")
    (True, False, True)
    """
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _plain(field: str) -> str:
    """Give a field with the kernel's octal escapes of blanks and backslashes undone."""
    if "\\" not in field:
        return field
    for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(escape, character)
    return field
