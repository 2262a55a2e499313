"""The C library of a machine whose programs cannot be asked: told from its files."""

from __future__ import annotations

import re
from typing import Literal

from envdoctor.host import Host, names
from envdoctor.host import text as read_text

Name = Literal["glibc", "musl"]

# Debian and Ubuntu, Fedora and openSUSE, Arch; glibc stands in all of them under one name.
_FOLDERS = ("/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib")
_APK = "/lib/apk/db/installed"
# The banner stands in the read-only data of a library of 2 MB.
_LIMIT = 8 << 20


def read(host: Host) -> tuple[Name | None, str | None, str]:
    """Give name, version and the place where they were read; None where nothing tells.

    The system itself is asked first: `ldd --version` would cost a process, and files tell less. Until 2.33 glibc's file
    was named after its version, since then only the banner inside has it.
    """
    answer = host.libc()
    if answer and answer[0] == "glibc":
        return "glibc", answer[1], "confstr"
    for folder in _FOLDERS:
        path = f"{folder}/libc.so.6"
        real = host.realpath(path)
        if host.kind(real) != "file" or "musl" in real:
            continue
        if found := re.search(r"/libc-(\d+\.\d+)\.so$", real):
            return "glibc", found.group(1), real
        return "glibc", banner(host.read(real, _LIMIT)), real
    loader = next((name for name in names(host, "/lib") if name.startswith("ld-musl-")), None)
    if loader:
        version = installed(read_text(host, _APK, _LIMIT) or "", "musl")
        return "musl", version, _APK if version else f"/lib/{loader}"
    return None, None, "confstr"


def banner(library: bytes) -> str | None:
    r"""Give the version that glibc prints when its library is run as a program.

    >>> banner(b"\0GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n")
    '2.36'
    """
    found = re.search(rb"GNU C Library [^\0]*?release version (\d+\.\d+)", library)
    return found.group(1).decode() if found else None


def installed(database: str, package: str) -> str | None:
    r"""Give the version of a package in Alpine's database, without the number of its build.

    >>> installed("P:musl\nV:1.2.5-r0\n\nP:zlib\nV:1.3", "musl")
    '1.2.5'
    """
    found = re.search(rf"^P:{re.escape(package)}$(?:\n.+)*?\nV:([^\s-]+)", database, re.MULTILINE)
    return found.group(1) if found else None
