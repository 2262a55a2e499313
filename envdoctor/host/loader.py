"""Which file the dynamic loader would take for a library's name, found without loading anything."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.host import Host

# Where a driver puts its libraries when the loader's own settings may not name the folder: WSL 2 mounts those of
# Windows, NixOS links those of the running system.
DRIVER_FOLDERS = ("/usr/lib/wsl/lib", "/run/opengl-driver/lib")

CACHE = "/etc/ld.so.cache"
_LARGEST_CACHE = 16 << 20
_CACHE_HEADER = b"glibc-ld.so.cache1.1"

# machine -> (e_machine of an ELF header, the architecture bits of a cache entry's flags, Debian's folder name).
# https://sourceware.org/git/?p=glibc.git;a=blob;f=sysdeps/generic/ldconfig.h
_MACHINES = {
    "x86_64": (62, 0x0300, "x86_64-linux-gnu"),
    "aarch64": (183, 0x0A00, "aarch64-linux-gnu"),
    "ppc64le": (21, 0x0500, "powerpc64le-linux-gnu"),
}


def find(
    host: Host, soname: str, *, rpath: tuple[str, ...] = (), runpath: tuple[str, ...] = (), also: tuple[str, ...] = ()
) -> str | None:
    """Give the path the loader would take for a library's name, or None; links are not followed.

    `rpath` and `runpath` are the folders that the library which asks names itself: the first are searched before
    LD_LIBRARY_PATH, the second after it (ld.so(8)). `also` are folders the loader does not know, searched last.
    """
    return next(candidates(host, soname, rpath=rpath, runpath=runpath, also=also), None)


def candidates(
    host: Host, soname: str, *, rpath: tuple[str, ...] = (), runpath: tuple[str, ...] = (), also: tuple[str, ...] = ()
) -> Iterator[str]:
    """Give every copy of a library that the loader can see, the one it would take first, each path once."""
    machine = host.uname()[2]
    # An empty or relative entry means the folder a program is started in, which says nothing of the machine.
    preferred = host.environ.get("LD_LIBRARY_PATH", "").replace(";", ":").split(":")
    folders = [*(() if runpath else rpath), *preferred, *runpath]
    seen: set[str] = set()
    for path in _paths(host, soname, machine, folders, also):
        if path not in seen and _fits(host, path, machine):
            yield path
        seen.add(path)


def _paths(host: Host, soname: str, machine: str, folders: list[str], also: tuple[str, ...]) -> Iterator[str]:
    for folder in folders:
        if folder.startswith("/"):
            yield f"{folder.rstrip('/')}/{soname}"
    try:
        cache = host.read(CACHE, _LARGEST_CACHE)
    except OSError:  # musl has none, and a container may have left it out
        cache = b""
    yield from cached(cache, soname, machine)
    multiarch = _MACHINES[machine][2] if machine in _MACHINES else ""
    defaults = [f"/lib/{multiarch}", f"/usr/lib/{multiarch}"] if multiarch else []
    for folder in (*defaults, "/lib64", "/usr/lib64", "/lib", "/usr/lib", *also):
        yield f"{folder}/{soname}"


def cached(cache: bytes, soname: str, machine: str) -> tuple[str, ...]:
    """Give the paths that /etc/ld.so.cache holds for a name, in its order, for programs of this machine.

    Layout of the newer format, which may follow an older one (glibc's dl-cache.h): a header of 48 bytes with the number
    of entries at 20; entries of 24 bytes: flags, offset of the name, offset of the path, an old kernel version, and the
    processor features it is meant for. Offsets count from that header. A damaged cache gives what can be read of it.
    """
    start = cache.find(_CACHE_HEADER)
    name = soname.encode() + b"\0"
    if start < 0 or name not in cache:
        return ()
    import struct

    wanted = _MACHINES.get(machine, (0, None, ""))[1]
    plain: list[str] = []
    special: list[str] = []
    (count,) = struct.unpack_from("<I", cache, start + 20) if len(cache) >= start + 48 else (0,)
    table = cache[start + 48 : start + 48 + 24 * count]
    for flags, key, value, _, features in struct.iter_unpack("<iIIIQ", table[: len(table) // 24 * 24]):
        at = start + key
        if cache[at : at + len(name)] != name or (wanted is not None and flags & 0xFF00 != wanted):
            continue
        path = cache[start + value : cache.find(b"\0", start + value)].decode("utf-8", "surrogateescape")
        if path.startswith("/"):
            (special if features else plain).append(path)
    return (*plain, *special)


def _fits(host: Host, path: str, machine: str) -> bool:
    """Tell whether the loader could open this file, and would not pass it over as one for another processor."""
    try:
        if host.kind(path) != "file":
            return False
        head = host.read(path, 20)
    except FileNotFoundError:  # a recording may know of a file without holding its content
        return True
    except OSError:
        return False
    if head[:4] != b"\x7fELF" or len(head) < 20 or machine not in _MACHINES:
        return True
    return head[4] == 2 and int.from_bytes(head[18:20], "little") == _MACHINES[machine][0]
