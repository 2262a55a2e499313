"""The file systems that an installation needs: room, and what kind of disk is below."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Literal

from msgspec.structs import replace

from envdoctor.host import Host, names
from envdoctor.host import text as read_text
from envdoctor.model.snapshot import Disk, Snapshot
from envdoctor.probes import Place, Probe, mounts, virtual
from envdoctor.probes.mounts import Mount
from envdoctor.probes.partial import Gaps

Kind = Literal["hdd", "sata-ssd", "nvme", "network", "virtual"]

_NETWORK_NAMES = (
    "nfs nfs4 cifs smb3 smbfs lustre gpfs beegfs ceph fuse.ceph fuse.sshfs afs glusterfs fuse.glusterfs wekafs"
)
_NETWORK = frozenset(_NETWORK_NAMES.split())
# Folders that a hypervisor's host lends to its guest; 9p is how WSL shows the drives of Windows.
_LENT = ("9p", "drvfs", "virtiofs", "vboxsf", "prl_fs", "fuse.vmhgfs-fuse")
# Of several disks below one file system the slowest decides.
_SLOWEST_FIRST: tuple[Kind, ...] = ("hdd", "sata-ssd", "nvme", "virtual")
# An encrypted volume on a RAID of partitions is three; many more would be a loop.
_MOST_LAYERS = 8


def read(host: Host, place: Place | None) -> Snapshot:
    """Measure each file system once, however many purposes it serves; bytes, free for an ordinary user."""
    gaps = Gaps("disks")
    mounted = gaps.ask("disks", lambda: mounts.read(host)) or ()
    guest = (gaps.ask("disks", lambda: virtual.read(host)) or (None, ""))[0]
    disks: dict[int, Disk] = {}
    for purpose, path in places(host.environ, place).items():
        measured = gaps.ask("disks", lambda path=path: _measure(host, path, mounted, guest))  # type: ignore[misc]
        if measured:
            device, disk = measured
            known = disks.get(device, disk)
            disks[device] = replace(known, purposes=(*known.purposes, purpose))
    return Snapshot(
        disks=tuple(disks.values()),
        gaps=tuple(gaps.found),
        origins={"disks": f"statvfs, {mounts.MOUNTINFO}, /sys/dev/block"},
    )


PROBE = Probe("disks", ("disks",), read)


def places(environ: Mapping[str, str], place: Place | None) -> dict[str, str]:
    """Give where the environment, pip's cache, temporary files and the home folder are, as far as they are known.

    Services and containers often have no home; then what would lie in it is left out.

    >>> places({"HOME": "/home/ann", "TMPDIR": "/scratch"}, None)["cache"]
    '/home/ann/.cache/pip'
    """
    home = environ.get("HOME") or environ.get("USERPROFILE", "").replace("\\", "/")
    caches = environ.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else "")
    found = {
        "environment": place.prefix if place else home,
        "cache": environ.get("PIP_CACHE_DIR") or (f"{caches}/pip" if caches else ""),
        "temporary": environ.get("TMPDIR") or environ.get("TEMP", "").replace("\\", "/") or "/tmp",  # noqa: S108  read
        "home": home,
        "models": environ.get("HF_HUB_CACHE") or environ.get("HF_HOME") or (f"{caches}/huggingface" if caches else ""),
    }
    return {purpose: path for purpose, path in found.items() if path.startswith("/") or path[1:3] == ":/"}


def _measure(host: Host, path: str, mounted: tuple[Mount, ...], guest: bool | None) -> tuple[int, Disk]:
    """Describe the file system that a path is on, or will be on once it is made; and its device number."""
    while host.kind(path) is None and path not in ("/", ""):
        path = posixpath.dirname(path)
    space = host.space(path)
    mount = mounts.holding(host.realpath(path), mounted)
    disk = Disk(
        path=path,
        purposes=(),
        device=mount.source if mount and "/" in mount.source else None,
        filesystem=mount.filesystem if mount else None,
        total_bytes=space.total_bytes,
        free_bytes=space.free_bytes,
        kind=_kind(host, mount, guest) if mount else None,
        files_total=space.files_total,
        files_free=space.files_free,
        noexec="noexec" in mount.flags.split(",") if mount else None,
    )
    return space.device, disk


def _kind(host: Host, mount: Mount, guest: bool | None) -> Kind | None:
    if mount.filesystem in _NETWORK:
        return "network"
    if mount.filesystem in _LENT:
        return "virtual"
    # btrfs and ZFS give their mounts numbers that belong to no disk; the name then leads to it.
    found = [f"/sys/dev/block/{mount.device}"]
    if mount.source.startswith("/dev/"):
        found.append(f"/sys/class/block/{posixpath.basename(host.realpath(mount.source))}")
    block = next((path for path in found if host.kind(path) == "directory"), None)
    if block is None:
        return None
    # A guest sees what its hypervisor shows: a spinning disk may well be an SSD, and the other way round.
    return "virtual" if guest else _below(host, block, _MOST_LAYERS)


def _below(host: Host, block: str, layers: int) -> Kind | None:
    """Tell the kind of a block device, through partitions and the layers of RAID, LVM and encryption."""
    path = host.realpath(block)
    if host.kind(f"{path}/partition") == "file":
        path = posixpath.dirname(path)
    slaves = names(host, f"{path}/slaves")
    if slaves and layers:
        kinds = [_below(host, f"/sys/class/block/{slave}", layers - 1) for slave in slaves]
        return None if None in kinds else min((kind for kind in kinds if kind), key=_SLOWEST_FIRST.index)
    name = posixpath.basename(path)
    if "/virtio" in path or name.startswith(("vd", "xvd")):
        return "virtual"
    if name.startswith("nvme"):
        return "nvme"
    if name.startswith(("sd", "hd")):
        rotates = read_text(host, f"{path}/queue/rotational")
        return {"1": "hdd", "0": "sata-ssd"}.get(rotates or "")  # type: ignore[return-value]
    return None  # a memory card, a file mounted as a disk, compressed memory
