"""What file names and METADATA say of a release, in the words of the tables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from index import Index, Metadata, tags
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

Platform = Literal["linux_x86_64", "linux_aarch64", "windows", "macos_arm64", "macos_x86_64"]

_PLATFORMS: dict[Platform, re.Pattern[str]] = {
    "linux_x86_64": re.compile(r"(?:many)?linux\w*_x86_64|any"),
    "linux_aarch64": re.compile(r"(?:many)?linux\w*_aarch64|any"),
    "windows": re.compile(r"win_amd64|any"),
    "macos_arm64": re.compile(r"macosx_\d+_\d+_(?:arm64|universal2)|any"),
    "macos_x86_64": re.compile(r"macosx_\d+_\d+_(?:x86_64|universal2)|any"),
}


class NotUsable(Exception):
    """A release from which no row can be made; the message says why."""


def on(files: Iterable[str], platform: Platform) -> tuple[str, ...]:
    """Give the wheels for a platform.

    >>> on(["a-1-py3-none-win_amd64.whl", "a-1-py3-none-manylinux_2_28_x86_64.whl", "a-1.tar.gz"], "windows")
    ('a-1-py3-none-win_amd64.whl',)
    """
    fits = _PLATFORMS[platform].fullmatch
    return tuple(file for file in files if any(fits(tag.platform) for tag in tags(file)))


def pythons(files: Iterable[str], *, free_threaded: bool = False) -> list[str]:
    """Give the Pythons that CPython wheels are for, oldest first; wheels for more than one Python name none.

    >>> pythons(["a-1-cp310-cp310-win_amd64.whl", "a-1-cp39-cp39-win_amd64.whl", "a-1-cp314-cp314t-win_amd64.whl"])
    ['3.9', '3.10']
    """
    found = set()
    for file in files:
        for tag in tags(file):
            written = re.fullmatch(r"cp(\d)(\d+)", tag.interpreter)
            if written and tag.abi != "abi3" and tag.abi.endswith("t") == free_threaded:
                found.add((int(written.group(1)), int(written.group(2))))
    return [f"{major}.{minor}{'t' if free_threaded else ''}" for major, minor in sorted(found)]


def glibc(files: Iterable[str]) -> str | None:
    """Give the oldest glibc that accepts all these wheels by their tags; None: their tags name none.

    >>> glibc(["a-1-py3-none-manylinux_2_27_x86_64.whl"]), glibc(["a-1-py3-none-linux_x86_64.whl"])
    ('2.27', None)
    """
    oldest: list[tuple[int, int]] = []
    for file in files:
        floors = [floor for tag in tags(file) if (floor := _floor(tag.platform))]
        if not floors:
            return None
        oldest.append(min(floors))
    return f"{max(oldest)[0]}.{max(oldest)[1]}" if oldest else None


# https://peps.python.org/pep-0600/#legacy-manylinux-tags
_LEGACY = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}


def _floor(platform: str) -> tuple[int, int] | None:
    written = re.match(r"manylinux_(\d+)_(\d+)_", platform)
    return (int(written.group(1)), int(written.group(2))) if written else _LEGACY.get(platform.partition("_")[0])


def platform_tags(files: Iterable[str]) -> list[str]:
    """Give the platform tags of wheels as their names have them, each once."""
    return sorted({file.removesuffix(".whl").rpartition("-")[2] for file in files})


def wheel_for(files: Iterable[str], package: str, version: str, python: str | None = None) -> str:
    """Choose the wheel whose metadata is read: Linux x86_64, that Python or else the newest one.

    Raises:
        NotUsable: the release has no wheel for Linux x86_64.
    """
    here = [file for file in on(files, "linux_x86_64") if pythons([file]) or not pythons([file], free_threaded=True)]
    if not here:
        raise NotUsable(f"{package} {version} has no wheel for Linux x86_64")
    return next((file for file in here if python in pythons([file])), here[-1])


def release_metadata(index: Index, package: str, version: str, python: str | None = "3.12") -> Metadata:
    """Read the metadata of a release's Linux wheel.

    Raises:
        NotUsable: the package has no such release, or no such wheel.
        NoAnswer: the index did not answer.
    """
    files = index.releases(package).get(version)
    if files is None:
        raise NotUsable(f"the package index has no {package} {version}")
    return index.metadata(package, wheel_for(files, package, version, python))


def requirements(requires: Iterable[str], *names: str, extra: str = "") -> list[str]:
    """Give the requirements on some packages, without their markers, that Linux x86_64 has.

    With `extra`, only those of that extra; without, only those of none.

    >>> requirements(['triton~=3.9.0; platform_system == "Linux"', "torch (==2.1)", 'jaxlib; extra == "a"'])
    ['triton~=3.9.0', 'torch==2.1']
    """
    found = with_markers(requires, *names, extra=extra)
    return [re.sub(r"\s*\(([^)]*)\)", r"\1", text.partition(";")[0]).strip() for text in found]


def with_markers(requires: Iterable[str], *names: str, extra: str = "") -> list[str]:
    """Give the requirements that `requirements` gives, with their markers."""
    wanted = {canonicalize_name(name) for name in names}
    found = []
    for text in requires:
        try:
            parsed = Requirement(text)
        except InvalidRequirement:
            continue
        plain = parsed.marker is None or parsed.marker.evaluate(LINUX)
        fits = not plain and parsed.marker and parsed.marker.evaluate({**LINUX, "extra": extra}) if extra else plain
        if fits and (not wanted or canonicalize_name(parsed.name) in wanted):
            found.append(text)
    return found


LINUX = {
    "platform_system": "Linux",
    "sys_platform": "linux",
    "platform_machine": "x86_64",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
    "python_version": "3.12",
    "python_full_version": "3.12.0",
    "extra": "",
}


def specifier(requirement: str) -> str:
    """Give what a requirement says of the version, as it is written.

    >>> specifier("torch ==2.0.1"), specifier("jax[cuda]<1,>=0.4"), specifier("torch")
    ('==2.0.1', '<1,>=0.4', '')
    """
    found = re.fullmatch(r"[A-Za-z0-9._-]+\s*(?:\[[^]]*\])?\s*(.*)", requirement)
    return found.group(1).strip() if found else ""


def pinned(requires: Iterable[str], *names: str) -> str | None:
    """Give the one version that a package is pinned to, or None."""
    for text in requirements(requires, *names):
        found = re.fullmatch(r"==\s*([0-9][^,*\s]*)", specifier(text))
        if found:
            return found.group(1)
    return None


def admits(requires: Iterable[str], name: str, version: str) -> bool:
    """Tell whether the requirements allow that version of a package; what is not required is allowed."""
    try:
        wishes = [SpecifierSet(specifier(text)) for text in requirements(requires, name)]
    except InvalidSpecifier:
        return False
    return all(wish.contains(version, prereleases=True) for wish in wishes)


def same(left: object, right: object) -> bool:
    """Tell whether two values say the same, however their specifiers are ordered or spaced.

    >>> same(["numpy<3,>=2"], ["numpy>=2,<3"]), same("<3,>=2.0", "torch"), same("2.1", "2.10")
    (True, False, False)
    """
    if left == right:
        return True
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if not isinstance(left, str) or not isinstance(right, str):
        return False
    try:
        return SpecifierSet(left) == SpecifierSet(right)
    except InvalidSpecifier:
        pass
    try:
        a, b = Requirement(left), Requirement(right)
    except InvalidRequirement:
        return False
    return (canonicalize_name(a.name), a.extras, a.specifier) == (canonicalize_name(b.name), b.extras, b.specifier)
