"""Which container this process runs in, told from the marks that engines leave inside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from envdoctor.host import Host
from envdoctor.host import text as read_text
from envdoctor.model.snapshot import Container
from envdoctor.probes.mounts import MOUNTINFO, Mount
from envdoctor.probes.mounts import read as read_mounts
from envdoctor.probes.partial import Gaps

Kind = Literal["docker", "podman", "kubernetes", "lxc", "other"]

INIT = "/proc/1/cgroup"
# What an engine names the groups and folders of its containers; the first that fits counts.
_NAMES: tuple[tuple[str, Kind], ...] = (
    (r"kubepods|/kubelet/pods/", "kubernetes"),
    (r"libpod|/containers/storage/|/overlay-containers/", "podman"),
    (r"/docker/|docker-[0-9a-f]{12}", "docker"),
    (r"/lxc/|lxc\.payload", "lxc"),
    (r"containerd", "other"),
)
# Files that Docker, Podman and Kubernetes mount into each of their containers.
_GIVEN = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")
_OWN_DISK = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs")


def read(host: Host, gaps: Gaps) -> tuple[Container | None, str]:
    """Tell the container, None for none, and where that was read.

    systemd looks for the same marks: https://systemd.io/CONTAINER_INTERFACE/. A gap is noted only where no mark was
    found and a place to look at was closed.
    """
    unseen = Gaps(gaps.probe)
    mounts = unseen.ask("system.container", lambda: read_mounts(host)) or ()
    groups = unseen.ask("system.container", lambda: read_text(host, INIT)) or ""
    marks = list(_marks(host, mounts, groups))
    for kind, source in marks:
        if kind == "kubernetes":  # its pods carry the marks of the engine below as well
            return Container(kind=kind), source
    if marks:
        return Container(kind=marks[0][0]), marks[0][1]
    gaps.found += unseen.found
    return None, INIT


def _marks(host: Host, mounts: tuple[Mount, ...], groups: str) -> Iterator[tuple[Kind, str]]:
    if host.environ.get("KUBERNETES_SERVICE_HOST"):
        yield "kubernetes", "KUBERNETES_SERVICE_HOST"
    if host.kind("/run/.containerenv") == "file":
        yield "podman", "/run/.containerenv"
    if host.kind("/.dockerenv") == "file" and not left_over(mounts):
        yield "docker", "/.dockerenv"
    if kind := named(groups):
        yield kind, INIT
    for mount in mounts:
        kind = None
        if mount.point == "/":
            kind = named(f"{mount.root} {mount.options}")
        elif mount.point in _GIVEN:
            kind = named(mount.root)
        elif mount.filesystem == "fuse.lxcfs" and mount.point.startswith("/proc/"):
            kind = "lxc"
        if kind:
            yield kind, MOUNTINFO
    told = "/run/systemd/container"
    for name, source in ((host.environ.get("container"), "container"), (read_text(host, told), told)):
        if name and name != "wsl":  # systemd counts WSL as a container
            kinds: dict[str, Kind] = {"docker": "docker", "podman": "podman", "lxc": "lxc", "lxc-libvirt": "lxc"}
            yield kinds.get(name, "other"), source


def named(text: str) -> Kind | None:
    """Tell the engine by the names in a group's or a mount's path.

    >>> named("0::/kubepods.slice/cri-containerd-ab.scope"), named("4:memory:/docker/ab"), named("0::/init.scope")
    ('kubernetes', 'docker', None)
    """
    return next((kind for pattern, kind in _NAMES if re.search(pattern, text)), None)


def left_over(mounts: tuple[Mount, ...]) -> bool:
    """Tell whether a mark in the root folder comes from an image that was made into a whole machine's disk.

    A container's root is never a plain disk on which none of the files stands that the engine mounts.
    """
    roots = [mount for mount in mounts if mount.point == "/"]
    return (
        bool(roots)
        and roots[-1].filesystem in _OWN_DISK
        and roots[-1].root == "/"
        and not any(mount.point in _GIVEN for mount in mounts)
    )
