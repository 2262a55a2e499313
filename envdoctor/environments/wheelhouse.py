"""Downloading the wheels of a lock for another machine, one package after the other, so that it can go on later."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import NamedTuple

from envdoctor import errors
from envdoctor.environments import pip
from envdoctor.environments.locking import glibc_of
from envdoctor.model.redaction import without_credentials
from envdoctor.model.speech import say
from envdoctor.model.stack import Target

_ROOM = 64 << 20  # bytes that are left free
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class Package(NamedTuple):
    """A pinned package: the SHA-256 of each of its files, and the size in bytes of the largest wheel, where known."""

    name: str
    version: str
    hashes: tuple[str, ...]
    size: int | None


def packages_of(pins: Mapping[str, tuple[str, tuple[str, ...]]], pylock: str) -> tuple[Package, ...]:
    """Put the hashes of a lock and the sizes that pylock.toml has of its wheels together."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    sizes: dict[str, int | None] = {}
    for package in tomllib.loads(pylock).get("packages", ()):
        known = [wheel.get("size") for wheel in package.get("wheels", ())]
        sizes[package["name"]] = None if not known or None in known else max(known)
    return tuple(Package(name, version, hashes, sizes.get(name)) for name, (version, hashes) in pins.items())


def platforms(target: Target) -> tuple[str, ...]:
    """Name every platform tag of wheels that run on a machine, the narrowest first.

    >>> platforms(Target(os="windows"))
    ('win_amd64',)
    >>> platforms(Target(glibc="2.36"))[0], platforms(Target(glibc="2.36"))[-1]
    ('manylinux_2_36_x86_64', 'linux_x86_64')
    """
    arch = target.arch
    if target.os == "windows":
        return (f"win_{_MACHINES[arch]}",)
    if target.os == "macos":
        machine = _MACHINES[arch] if arch == "aarch64" else arch
        systems = [f"{each}_0" for each in range(14, 10, -1)]
        systems += [f"10_{each}" for each in range(16, 8, -1)] if arch == "x86_64" else []
        return tuple(f"macosx_{system}_{each}" for system in systems for each in (machine, "universal2"))
    if target.libc == "musl":
        return (f"musllinux_1_2_{arch}", f"musllinux_1_1_{arch}", f"linux_{arch}")
    newer = [f"manylinux_2_{each}" for each in range(glibc_of(target), 4, -1)]
    return tuple(f"{each}_{arch}" for each in (*newer, "manylinux2014", "manylinux2010", "manylinux1", "linux"))


def hashes_in(folder: str) -> dict[str, str]:
    """Give the SHA-256 of every wheel in a folder, and its name."""
    found = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if name.endswith(".whl"):
            with open(os.path.join(folder, name), "rb") as file:
                digest = hashlib.sha256()
                while block := file.read(1 << 20):
                    digest.update(block)
            found[digest.hexdigest()] = name
    return found


def missing_of(packages: tuple[Package, ...], have: Mapping[str, str]) -> tuple[Package, ...]:
    """Give the packages of which no wheel with a right hash is there."""
    return tuple(package for package in packages if not any(each in have for each in package.hashes))


def unsized(packages: tuple[Package, ...]) -> tuple[str, ...]:
    """Name the packages whose index gives no sizes, as PyTorch's does."""
    return tuple(package.name for package in packages if package.size is None)


def check_room(missing: tuple[Package, ...], folder: str) -> None:
    """See that the disk takes the wheels, as far as their sizes are known.

    Raises:
        errors.Unreadable: it does not.
    """
    place = os.path.abspath(folder)
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    needed = sum(package.size or 0 for package in missing)
    free = shutil.disk_usage(place).free
    if needed and needed + _ROOM > free:
        values = {"needed": needed / 1e9, "folder": folder, "free": free / 1e9}
        said = say("the wheels need {needed:.1f} GB, and the disk of {folder} has {free:.1f} GB free", **values)
        if unsized(missing):
            said = say(
                "the wheels need over {needed:.1f} GB, and the disk of {folder} has {free:.1f} GB free", **values
            )
        raise errors.Unreadable(
            said,
            say("free some space, or name a folder on another disk; nothing was downloaded"),
        )


def download(
    missing: tuple[Package, ...],
    folder: str,
    target: Target,
    python: str,
    index_lines: tuple[str, ...],
    *,
    step: Callable[[str], None],
    line: Callable[[str], None],
    timeout: float,
) -> None:
    """Download a wheel of each package that fits a machine; pip compares its hash before it is kept.

    pip works in a folder beside the wheels, so that a small /tmp is no limit and what is moved is whole.

    Raises:
        errors.MissingPart: this Python has no pip.
        errors.NotVerified: one could not be had; those before it stay, and the next start goes on from there.
    """
    if not pip.present(sys.executable):
        raise errors.MissingPart(
            say("{executable} has no pip, which downloads the wheels", executable=sys.executable),
            say("install it: {executable} -m ensurepip", executable=sys.executable),
        )
    os.makedirs(folder, exist_ok=True)
    words = ["--only-binary", ":all:", "--no-deps", "--require-hashes", "--dest", folder]
    words += ["--python-version", python, "--implementation", "cp", "--abi", f"cp{python.replace('.', '')}"]
    words += [word for each in platforms(target) for word in ("--platform", each)]
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as beside:
        wanted = os.path.join(beside, "one.txt")
        for number, package in enumerate(missing, 1):
            step(
                say(
                    "downloading {name} {version} ({number} of {missing_count})",
                    name=package.name,
                    version=package.version,
                    number=number,
                    missing_count=len(missing),
                )
            )
            with open(wanted, "w", encoding="utf-8") as file:
                hashes = " ".join(f"--hash=sha256:{each}" for each in package.hashes)
                file.write("\n".join((*index_lines, f"{package.name}=={package.version} {hashes}")) + "\n")
            pip.download(
                sys.executable,
                (*words, "-r", wanted),
                lambda text: line(without_credentials(text)),
                timeout,
                scratch=beside,
            )
