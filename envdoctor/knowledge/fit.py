"""Whether a build runs on a driver and a GPU: the predicates that rules and the resolver share."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from envdoctor.knowledge.load import Knowledge, code_runs
from envdoctor.knowledge.tables import TorchRelease, TorchVariant
from envdoctor.model.version import at_least, compare, major, numbers

# native: it holds machine code for the GPU. jit: only PTX, which a new enough driver compiles at the first start.
# none: it has no code that runs. unknown: what it holds was not read, or sources disagree.
Service = Literal["native", "jit", "none", "unknown"]
Side = Literal["linux", "windows"]


def driver_side(os: str) -> Side:
    """Tell whose driver numbers count: in WSL 2 the driver is the Windows one.

    https://docs.nvidia.com/cuda/wsl-user-guide

    >>> driver_side("wsl2"), driver_side("linux")
    ('windows', 'linux')
    """
    return "windows" if os in ("windows", "wsl2") else "linux"


def driver_floor(facts: Knowledge, cuda: str, os: str | None) -> str | None:
    """Give the oldest driver that runs this CUDA; where the system is not known, the lower of the two floors.

    From CUDA 11 on the floor is that of the major version (minor-version compatibility). `os` is linux, wsl2 or
    windows. A driver below the lower floor is too old on either system, which is all that can be said of an unknown
    one.
    """
    if os:
        return facts.driver_floor(cuda, driver_side(os))
    linux, windows = facts.driver_floor(cuda, "linux"), facts.driver_floor(cuda, "windows")
    return min((floor for floor in (linux, windows) if floor), key=numbers, default=None)


def driver_runs(facts: Knowledge, cuda: str, driver: str, os: str | None, *, offered: str | None = None) -> bool | None:
    """Tell whether a driver starts programs built with this CUDA; None: the floor is not known.

    `offered` is the newest CUDA that the driver itself names. Where that covers the program's CUDA, it decides: some
    drivers are below the floor of their own CUDA family (450.36.06 runs CUDA 11.0).
    """
    if offered and at_least(offered, cuda):
        return True
    floor = driver_floor(facts, cuda, os)
    return None if floor is None else at_least(driver, floor)


def driver_compiles(facts: Knowledge, cuda: str, driver: str) -> bool:
    """Tell whether a driver compiles the PTX of this CUDA, which only one of at least that CUDA version does.

    An older driver refuses it with cudaErrorUnsupportedPtxVersion, minor-version compatibility or not
    (https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html).
    """
    offers = facts.driver_cuda(driver)
    return offers is not None and at_least(offers, cuda)


def driver_knows(facts: Knowledge, driver: str, capability: str) -> bool | None:
    """Tell whether a driver's branch serves a GPU generation; None: the capability is not in the tables.

    Where no source names the first branch, only the last one decides.
    """
    row = facts.architecture(capability)
    if row is None:
        return None
    branch = major(driver)
    too_old = row.first_driver is not None and branch < row.first_driver
    too_new = row.last_driver is not None and branch > row.last_driver
    return not (too_old or too_new)


def branch_offers(facts: Knowledge, driver: str) -> str | None:
    """Give the CUDA of a driver's branch; None where the branch may be newer than every one known."""
    newer = any(row.branch > major(driver) for row in facts.driver_branches)
    return facts.driver_cuda(driver) if newer else None


def last_branch(facts: Knowledge, capabilities: Iterable[str]) -> int | None:
    """Give the newest driver branch that still knows all these GPUs; None: no end of any of them is known."""
    rows = (facts.architecture(each) for each in capabilities)
    return min((row.last_driver for row in rows if row and row.last_driver), default=None)


def machine_code(variant: TorchVariant, os: str, arch: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Give the capabilities a build has machine code and PTX for, on that platform; None: not read."""
    if arch == "aarch64":
        return None if variant.aarch64_sm is None else (variant.aarch64_sm, variant.aarch64_ptx)
    if os == "windows":
        return None if variant.windows_sm is None else (variant.windows_sm, variant.windows_ptx)
    return None if variant.sm is None else (variant.sm, variant.ptx)


def code_serves(
    facts: Knowledge, sm: Iterable[str], ptx: Iterable[str], capability: str, *, cuda: str, driver: str | None = None
) -> Service:
    """Tell how machine code and PTX serve a GPU. Without a driver PTX counts, since a new one may be installed."""
    row = facts.architecture(capability)
    service = _code(tuple(sm), tuple(ptx), capability, row is not None and row.integrated)
    return "none" if service == "jit" and driver is not None and not driver_compiles(facts, cuda, driver) else service


# The same few lists are compared with the same GPU once for every release.
@lru_cache(maxsize=4096)
def _code(sm: tuple[str, ...], ptx: tuple[str, ...], capability: str, integrated: bool) -> Service:
    if code_runs([f"sm_{each.replace('.', '')}" for each in sm], capability, integrated=integrated):
        return "native"
    return "jit" if code_runs([f"compute_{each.replace('.', '')}" for each in ptx], capability) else "none"


def variant_serves(
    facts: Knowledge,
    variant: TorchVariant,
    capability: str,
    *,
    os: str = "linux",
    arch: str = "x86_64",
    driver: str | None = None,
) -> Service:
    """Tell how a CUDA build of torch serves a GPU on that platform, with that driver.

    Doubted PTX gives "unknown", never "jit". Whether the driver starts the build at all is `driver_runs`.
    """
    assert variant.cuda is not None
    row = facts.architecture(capability)
    if row is not None and row.last_cuda is not None and compare(variant.cuda, row.last_cuda) > 0:
        return "none"
    code = machine_code(variant, os, arch)
    if code is None:
        return "unknown"
    served = code_serves(facts, *code, capability, cuda=variant.cuda, driver=driver)
    return "unknown" if served == "jit" and variant.ptx_doubt else served


def wheel_pythons(release: TorchRelease, os: str, arch: str) -> tuple[str, ...]:
    """Give the Python versions a release has wheels for on that platform, oldest first; none: no wheels there.

    `os` is linux, wsl2, windows or macos; `arch` x86_64 or aarch64. Free-threaded builds are not counted.
    """
    if os == "macos":
        return release.pythons_macos_arm64 if arch == "aarch64" else release.pythons_macos_x86_64
    if os == "windows":
        return release.pythons_windows if arch == "x86_64" else ()
    if arch == "aarch64":
        return release.pythons_aarch64
    if arch != "x86_64":
        return ()
    return _pythons(release.python_min, release.python_max)


@lru_cache(maxsize=256)
def _pythons(oldest: str, newest: str) -> tuple[str, ...]:
    first, last = (int(text.partition(".")[2]) for text in (oldest, newest))
    return tuple(f"3.{minor}" for minor in range(first, last + 1))


def wheel_glibc(release: TorchRelease, variant: TorchVariant | None, arch: str) -> str | None:
    """Give the oldest glibc that the Linux wheels of a build accept; None: no wheels for that processor."""
    if arch == "aarch64":
        return release.glibc_aarch64
    return variant.glibc if variant is not None and variant.glibc else release.glibc
