"""Device files through which programs reach a GPU: who may open them."""

from __future__ import annotations

from collections.abc import Iterable

from envdoctor.host import Host
from envdoctor.host import text as read_text
from envdoctor.model.snapshot import DeviceFile

_GROUPS = "/etc/group"


def describe(host: Host, paths: Iterable[str], *, opened: bool = False) -> tuple[DeviceFile, ...]:
    """Describe those of the files that are there; a mounted machine's, and what was not recorded, are left out.

    Groups are looked up only where a file is refused: then its group's name is what a person needs. `opened` really
    opens the files, which shows what cgroups and SELinux refuse although the permission bits allow it.
    """
    found = []
    for path in paths:
        node = host.node(path, opened=opened)
        if node is None:
            continue
        name, members = _group(host, node.gid) if node.refused else (None, ())
        user = host.environ.get("USER") or host.environ.get("LOGNAME")
        found.append(
            DeviceFile(
                path=path,
                mode=node.mode,
                group=name or str(node.gid),
                member=user in members if user and node.refused else None,
                refused=node.refused,
            )
        )
    return tuple(found)


def _group(host: Host, number: int) -> tuple[str | None, tuple[str, ...]]:
    return parse_group(read_text(host, _GROUPS) or "", number)


def parse_group(listing: str, number: int) -> tuple[str | None, tuple[str, ...]]:
    r"""Give name and members of the group of that number.

    >>> parse_group("root:x:0:\nvideo:x:44:ann,bob\n", 44)
    ('video', ('ann', 'bob'))
    """
    for line in listing.splitlines():
        fields = line.split(":")
        if len(fields) >= 4 and fields[2] == str(number):
            return fields[0], tuple(member for member in fields[3].split(",") if member)
    return None, ()
