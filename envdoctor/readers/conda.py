"""`conda info` and `conda list`."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Snapshot
from envdoctor.readers.joining import joined
from envdoctor.readers.software import environment, package

ORIGIN = "report: conda"
_ROW = re.compile(
    (
        r"^ {0,4}(?:\[conda\] )?([a-z_][\w.-]{1,60}) {1,60}(\d[\w.+!]{0,40}) {1,40}([\w.]{1,60})"
        r"(?: {1,40}([\w./:-]{1,80}))? {0,40}$"
    ),
    re.M,
)
# conda's builds end in a hash and a number: h4ba93d1_13, py39h8236f22_0, py3.9_cuda11.3_cudnn8.3.2_0.
_BUILD = re.compile(
    r" (?:\w{1,40}h[0-9a-f]{7}_\d{1,4}|h[0-9a-f]{7}_\d{1,4}|py3[.\d]{1,3}_c\w[\w.]{1,40}_\d{1,3})(?: |$)", re.M
)
_LIBC = re.compile(r"__glibc=(\d\.\d{1,2})")
_CHANNELS = ("conda-forge", "pytorch", "nvidia", "defaults", "pkgs/main", "anaconda", "rapidsai", "pypi", "main")


def sniff(text: str) -> bool:
    """Tell whether conda has spoken."""
    marks = ("conda", "pypi_0", "__glibc", "h06a4308", " nvidia\n", " pytorch\n", " defaults\n")
    return any(mark in text for mark in marks) or _BUILD.search(text) is not None


def read(text: str) -> Snapshot:
    """Read the packages with their builds; a row of pip in conda's list has the build pypi_0."""
    packages = []
    for name, version, build, channel in _ROW.findall(text):
        if build.startswith("pypi"):
            packages.append(package(name, version, installer="pip"))
        elif channel.rpartition("/")[2] in _CHANNELS or channel in _CHANNELS or "_" in build:
            packages.append(package(name, version, build, installer="conda"))
    glibc = _LIBC.search(text)
    parts = [environment(ORIGIN, tuple(packages), manager="conda")] if packages else []
    if glibc:
        from envdoctor.model.snapshot import System

        told = System(os="linux", libc="glibc", libc_version=glibc[1])
        parts.append(Snapshot(system=told, origins={"system": ORIGIN}))
    return joined(parts)
