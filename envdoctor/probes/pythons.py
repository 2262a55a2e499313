"""The Python that is judged: what it is, and what is installed in it."""

from __future__ import annotations

from typing import Any, cast

from envdoctor.host import Host, names
from envdoctor.model.snapshot import Extension, Framework, Package, PythonEnv, Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import minor
from envdoctor.probes import Place, Probe, commands, distributions, frameworks, installation, prefixes
from envdoctor.probes.partial import Gaps


def read(host: Host, place: Place | None) -> Snapshot:
    """Describe the environment and its packages; without a Python there is nothing to describe."""
    if place is None:
        return Snapshot()
    gaps = Gaps("pythons")
    packages = distributions.packages(host, place.site_dirs, place.prefix, gaps)
    found, read_from = frameworks.read(host, place.site_dirs, place.prefix, packages, gaps)
    bits, libc = _binary(host, place)
    library = _library(place)
    python = PythonEnv(
        executable=place.executable,
        prefix=place.prefix,
        base_prefix=place.base_prefix,
        version=place.version or None,
        bits=bits,
        libc=cast("Any", libc),
        free_threaded=library.endswith("t"),
        manager=cast("Any", place.manager),
        selected_by=cast("Any", place.selected_by),
        externally_managed=place.prefix == place.base_prefix and _is_marked(host, place.prefix, library),
        site_dirs=place.site_dirs,
        pip_prefix=_pip_prefix(host, place),
        path_prefix=_path_prefix(host, place),
        packages=packages,
        frameworks=found,
        leftovers=gaps.ask("pythons[0].leftovers", lambda: installation.leftovers(host, place)) or (),
        without_record=gaps.ask("pythons[0].without_record", lambda: installation.without_record(host, place, packages))
        or (),
        damaged=gaps.ask("pythons[0].damaged", lambda: installation.damaged(host, place)) or (),
        headers=gaps.ask("pythons[0].headers", lambda: installation.headers(host, place)),
        home_missing=gaps.ask("pythons[0].home_missing", lambda: installation.home_missing(host, place)),
        local_modules=gaps.ask("pythons[0].local_modules", lambda: installation.local_modules(host)) or (),
        extensions=gaps.ask("pythons[0].extensions", lambda: _extensions(host, place, packages, found)) or (),
    )
    origins = {
        "pythons": place.executable,
        "pythons.selected_by": place.selected_by,
        "pythons.home_missing": "pyvenv.cfg",
        "pythons.local_modules": say("names in the working folder"),
        "pythons.damaged": say("RECORD of each distribution"),
        "pythons.packages": say("metadata in {folders}", folders=", ".join(place.site_dirs)),
        **read_from,
    }
    return Snapshot(pythons=(python,), gaps=tuple(gaps.found), origins=origins)


PROBE = Probe("pythons", ("pythons",), read)


def _extensions(
    host: Host, place: Place, packages: tuple[Package, ...], frameworks: tuple[Framework, ...]
) -> tuple[Extension, ...]:
    known = installation.extensions(host, place, packages)
    torch = next((each for each in frameworks if each.name == "torch" and each.location), None)
    linked = installation.linked(packages, torch) if torch else ()
    if torch is None or not linked:
        return known
    from envdoctor.probes import fitting  # few environments have an extension

    return fitting.add(host, place.prefix, torch, linked, known)


def parse_elf(head: bytes) -> tuple[int | None, str | None]:
    r"""Read a program's first bytes: pointer size in bits, and the C library by the loader it names.

    The loader's path (PT_INTERP) follows the program headers, so it stands in the first kilobyte or two.

    >>> parse_elf(b"\x7fELF\x02" + bytes(60) + b"/lib64/ld-linux-x86-64.so.2")
    (64, 'glibc')
    >>> parse_elf(b"#!/bin/sh")
    (None, None)
    """
    if head[:4] != b"\x7fELF" or len(head) < 5:
        return None, None
    libc = "musl" if b"/ld-musl-" in head else "glibc" if b"/ld-linux" in head or b"/ld64.so" in head else None
    return {1: 32, 2: 64}.get(head[4]), libc


def _binary(host: Host, place: Place) -> tuple[int | None, str | None]:
    try:
        bits, libc = parse_elf(host.read(place.binary or host.realpath(place.executable), 4096))
    except OSError:  # an environment whose Python was removed
        return None, None
    if bits and libc is None and any(name.startswith("ld-musl-") for name in names(host, "/lib")):
        libc = "musl"  # a program that is linked statically names no loader
    return bits, libc


def _library(place: Place) -> str:
    """Name the standard library's folder: python3.12, or python3.13t without the global lock."""
    plain = f"python{minor(place.version)}" if place.version else ""
    threaded = any(f"/{plain}t/" in folder for folder in place.site_dirs)
    return plain + "t" if plain and threaded else plain


def _is_marked(host: Host, prefix: str, library: str) -> bool:
    """Tell whether the distribution asks pip to stay away (PEP 668)."""
    return any(host.kind(f"{prefix}/{lib}/{library}/EXTERNALLY-MANAGED") == "file" for lib in ("lib", "lib64"))


def _pip_prefix(host: Host, place: Place) -> str | None:
    pip = next(commands.found(host, "pip"), None) or next(commands.found(host, "pip3"), None)
    script = commands.unshimmed(host, pip) if pip else None
    interpreter = commands.interpreter_of(host, script) if script else None
    return _prefix_of(host, interpreter, place)


def _path_prefix(host: Host, place: Place) -> str | None:
    python = next(commands.found(host, "python"), None) or next(commands.found(host, "python3"), None)
    return _prefix_of(host, commands.unshimmed(host, python) if python else None, place)


def _prefix_of(host: Host, executable: str | None, place: Place) -> str | None:
    if executable is None or not executable.startswith("/"):
        return None
    if executable == place.executable:
        return place.prefix
    there = prefixes.describe(host, executable, "PATH")
    return there.prefix if there else None
