"""Which file a name leads to, on recorded machines and against the loader of this one."""

from __future__ import annotations

import ctypes
import platform
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envdoctor.host import ElfFacts, loader
from envdoctor.host.local import LocalHost
from envdoctor.host.recorded import RecordedHost, Recording

X86, I386, ARM = 0x0303, 0x0003, 0x0A03
CUDA = "libcuda.so.1"
LIB64 = "/usr/lib/x86_64-linux-gnu"


def cache(*entries: tuple[int, int, str], older: bytes = b"") -> bytes:
    """Write an /etc/ld.so.cache of flags, processor features and path; `older` is the table of glibc 2.1 before it."""
    strings, rows = b"", b""
    start = 48 + 24 * len(entries)
    for flags, features, path in entries:
        name = path.rpartition("/")[2].encode() + b"\0"
        rows += struct.pack("<iIIIQ", flags, start + len(strings), start + len(strings) + len(name), 0, features)
        strings += name + path.encode() + b"\0"
    head = b"glibc-ld.so.cache1.1" + struct.pack("<II", len(entries), len(strings))
    return older + head.ljust(48, b"\0") + rows + strings


def elf(machine: int = 62, bits: int = 2) -> bytes:
    """Write the start of a shared library."""
    return (b"\x7fELF" + bytes([bits, 1, 1])).ljust(16, b"\0") + struct.pack("<HH", 3, machine)


def host(
    *present: str, cached: bytes = b"", path: str = "", machine: str = "x86_64", **others: bytes | ElfFacts
) -> RecordedHost:
    return RecordedHost(
        Recording(
            environ={"LD_LIBRARY_PATH": path} if path else {},
            machine=machine,
            binaries={"/etc/ld.so.cache": cached, **dict.fromkeys(present, elf())},
        )
    )


def test_cache_gives_the_entry_of_this_processor() -> None:
    table = cache(
        (I386, 0, f"/usr/lib/i386-linux-gnu/{CUDA}"), (ARM, 0, f"/usr/lib/arm/{CUDA}"), (X86, 0, f"{LIB64}/{CUDA}")
    )

    assert loader.cached(table, CUDA, "x86_64") == (f"{LIB64}/{CUDA}",)
    assert loader.cached(table, CUDA, "aarch64") == (f"/usr/lib/arm/{CUDA}",)
    assert len(loader.cached(table, CUDA, "riscv64")) == 3  # its flags are not known here: the file decides
    assert loader.cached(table, "libcuda.so", "x86_64") == ()
    assert loader.cached(table, "cuda.so.1", "x86_64") == ()


def test_cache_after_an_older_table_and_entries_for_some_processors() -> None:
    table = cache(
        (X86, 1 << 62, f"{LIB64}/glibc-hwcaps/x86-64-v3/{CUDA}"),
        (X86, 0, f"{LIB64}/{CUDA}"),
        older=b"ld.so-1.7.0\0" + b"\x01\0\0\0" + b"\0" * 16,
    )

    assert loader.cached(table, CUDA, "x86_64") == (
        f"{LIB64}/{CUDA}",
        f"{LIB64}/glibc-hwcaps/x86-64-v3/{CUDA}",
    )


@given(st.binary(max_size=200), st.integers(0, 300))
def test_damaged_cache_never_raises(noise: bytes, cut: int) -> None:
    whole = cache((X86, 0, f"{LIB64}/{CUDA}"))
    loader.cached(whole[:cut] + noise, CUDA, "x86_64")
    loader.cached(b"glibc-ld.so.cache1.1" + noise + CUDA.encode() + b"\0", CUDA, "x86_64")


def test_order_of_the_search() -> None:
    everywhere = [
        "/rpath/libx.so",
        "/one/libx.so",
        "/runpath/libx.so",
        "/opt/cached/libx.so",
        "/usr/lib/libx.so",
        "/run/opengl-driver/lib/libx.so",
    ]
    machine = host(*everywhere, cached=cache((X86, 0, "/opt/cached/libx.so")), path="relative::/one/")
    found = list(
        loader.candidates(machine, "libx.so", runpath=("/runpath",), also=("/run/opengl-driver/lib", "/usr/lib"))
    )
    assert found == everywhere[1:]
    assert loader.find(machine, "libx.so", rpath=("/rpath",)) == "/rpath/libx.so"
    # A library that names both has its RPATH ignored (ld.so(8)).
    assert loader.find(machine, "libx.so", rpath=("/rpath",), runpath=("/runpath",)) == "/one/libx.so"


def test_absent_library_is_none() -> None:
    assert loader.find(host(), CUDA) is None
    # The cache still names a file that was removed: the loader does not find it either.
    assert loader.find(host(cached=cache((X86, 0, f"{LIB64}/{CUDA}"))), CUDA) is None


def test_copies_for_other_processors_are_passed_over() -> None:
    machine = RecordedHost(
        Recording(
            environ={"LD_LIBRARY_PATH": "/lib32:/arm:/good"},
            binaries={
                f"/lib32/{CUDA}": elf(machine=3, bits=1),
                f"/arm/{CUDA}": elf(machine=183),
                f"/good/{CUDA}": elf(),
            },
            folders=(f"/usr/lib/{CUDA}",),
        )
    )
    assert list(loader.candidates(machine, CUDA)) == [f"/good/{CUDA}"]


def test_unreadable_copy_is_passed_over_and_unread_one_is_not() -> None:
    machine = RecordedHost(
        Recording(
            environ={"LD_LIBRARY_PATH": "/denied:/hidden:/known"},
            errors={f"/denied/{CUDA}": "denied", "/hidden": "hidden"},
            elfs={f"/known/{CUDA}": ElfFacts(soname=CUDA)},
        )
    )
    assert list(loader.candidates(machine, CUDA)) == [f"/known/{CUDA}"]


def test_machine_without_a_known_processor_takes_any_copy() -> None:
    assert loader.find(host(f"/lib64/{CUDA}", machine=""), CUDA) == f"/lib64/{CUDA}"


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="asks glibc's loader")
@pytest.mark.parametrize("name", ["libc.so.6", "libm.so.6"])
def test_finds_what_the_loader_of_this_machine_loads(name: str) -> None:
    ctypes.CDLL(name)
    with open("/proc/self/maps", encoding="utf-8") as maps:
        mapped = {line.split()[-1] for line in maps if "/" in line}
    found = loader.find(LocalHost(environ={}), name)

    assert found is not None
    assert LocalHost().realpath(found) in mapped
