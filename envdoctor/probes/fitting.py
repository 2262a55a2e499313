"""Whether compiled extensions fit the torch beside them: each symbol they ask of torch is looked up in its libraries.

Only where an extension is installed whose metadata does not name the torch that is there.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from msgspec.structs import replace

from envdoctor.host import Host, names
from envdoctor.model.snapshot import Extension, Framework, Package
from envdoctor.probes.installation import libraries

_MOST_LIBRARIES = 12  # of one distribution
_LARGEST_RECORD = 8 << 20
_SHOWN = 8  # of what is missing; one is enough to know
# Libraries of the system and of CUDA, which have none of torch's names.
_PLAIN = (
    "ld-linux",
    "libc.so",
    "libc10",
    "libcu",
    "libdl.",
    "libgcc_s",
    "libgomp",
    "libm.so",
    "libnccl",
    "libnv",
    "libpthread",
    "libpython",
    "librt.",
    "libstdc++",
    "libtorch",
    "libz.",
    "libjpeg",
    "libpng",
    "libwebp",
)


def add(
    host: Host,
    prefix: str,
    framework: Framework,
    linked: tuple[Package, ...],
    known: tuple[Extension, ...],
) -> tuple[Extension, ...]:
    """Add to the known extensions what each lacks in this torch, and those that are known for nothing else."""
    offered = _offered(host, prefix, framework)
    if not offered:
        return known
    found = {each.package: each for each in known}
    for package in linked:
        for path in _linked(host, package):
            lacking = _lacking(host, path, offered)
            before = found.get(package.name, Extension(package=package.name))
            if lacking is not None and not before.lacks:
                found[package.name] = replace(before, library=path, lacks=lacking)
    return tuple(found.values())


def _offered(host: Host, prefix: str, framework: Framework) -> dict[str, str]:
    """Give torch's own libraries by their names; conda keeps them beside all others."""
    found: dict[str, str] = {}
    for folder in (f"{framework.location}/lib", f"{prefix}/lib"):
        for name in names(host, folder):
            if name.startswith(("libtorch", "libc10", "libcaffe2")) and ".so" in name:
                found.setdefault(name, f"{folder}/{name}")
    return found if "libc10.so" in found else {}


def _linked(host: Host, package: Package) -> Iterator[str]:
    """Give the libraries of a distribution, as its list of files names them, that Python may import."""
    for entry in names(host, package.location or ""):
        if not entry.endswith(".dist-info") or entry.partition("-")[0].lower().replace("_", "-") != package.name:
            continue
        try:
            record = host.read(f"{package.location}/{entry}/RECORD", _LARGEST_RECORD)
        except FileNotFoundError:
            return
        paths = [name for name, _ in libraries(record) if ".libs/" not in name]
        yield from (f"{package.location}/{name}" for name in paths[:_MOST_LIBRARIES])


def _lacking(host: Host, path: str, offered: dict[str, str]) -> tuple[str, ...] | None:
    """Give the libraries and symbols of torch that a library needs and does not find; None: it does not need torch.

    Symbols of torch's namespaces may come from a library of its own, which is looked at as well; one that is not found
    beside it leaves them unknown.
    """
    try:
        facts = host.elf(path)
        torchs = [name for name in facts.needed if name.startswith(("libtorch", "libc10"))]
        if not torchs:
            return None
        gone = tuple(name for name in torchs if name not in offered and host.kind(_beside(path, name)) is None)
        if gone:
            return gone[:_SHOWN]
        own = tuple(beside for name in facts.needed if host.kind(beside := _beside(path, name)) == "file")
        missing = host.unresolved(path, (*dict.fromkeys((*own, *offered.values())),))
    except (OSError, ValueError):  # a file of another processor, or one that may not be read, tells nothing
        return None
    if missing and any(_foreign(name, path, host) for name in facts.needed if name not in offered):
        return None
    return missing[:_SHOWN]


def _beside(path: str, name: str) -> str:
    return posixpath.join(posixpath.dirname(path), name)


def _foreign(name: str, path: str, host: Host) -> bool:
    """Tell whether a needed library might define names of torch, and was not found to be looked at."""
    if host.kind(_beside(path, name)) is not None:
        return False
    return not name.startswith(_PLAIN)
