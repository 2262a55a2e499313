"""Which published torch wheel a machine can run: one search, over pairs of release and build that really exist."""

from __future__ import annotations

from typing import NamedTuple

from envdoctor.knowledge.fit import driver_compiles, driver_runs, variant_serves, wheel_glibc, wheel_pythons
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.tables import TorchRelease, TorchVariant
from envdoctor.model.stack import Target
from envdoctor.model.version import at_least, minor, numbers

# cuDNN no longer lists Kepler (https://docs.nvidia.com/deeplearning/cudnn/archives/cudnn-896/support-matrix), and
# 2.7.1+cu118 was reported failing on a K80 although it has sm_37: no wheel that is still kept up runs there.
OLDEST_CAPABILITY = "5.0"


class Wheel(NamedTuple):
    """A release and one of its builds."""

    release: TorchRelease
    variant: TorchVariant

    @property
    def version(self) -> str:
        """The version with its tag, as pip lists it: 2.7.1+cu118."""
        return f"{self.release.version}+{self.variant.tag}"


def best_wheel(facts: Knowledge, target: Target, *, only: TorchRelease | None = None) -> Wheel | None:
    """Find the newest torch release with a GPU build that every NVIDIA GPU of the target can run; None: there is none.

    A build fits when the driver runs its CUDA, it has machine code for each capability (PTX is not relied on), and
    there is a wheel for the system, the Python and the C library. Builds whose machine code or existence no source
    settles are passed over. Inside a release that build comes first whose CUDA the driver offers itself, then the one
    that the package index has, then the newest. `only` asks of one release alone.
    """
    capabilities = tuple(gpu.capability for gpu in target.gpus if gpu.vendor == "nvidia" and gpu.capability)
    too_old = any(not at_least(each, OLDEST_CAPABILITY) for each in capabilities)
    if target.os == "macos" or target.libc == "musl" or too_old:
        return None
    for release in (only,) if only else facts.torch_releases:
        fitting = [
            each
            for each in release.variants
            if _published_for(target, release, each) and _runs(facts, target, each, capabilities)
        ]
        if fitting:
            return Wheel(release, max(fitting, key=lambda each: _preference(facts, target, release, each)))
    return None


def _published_for(target: Target, release: TorchRelease, variant: TorchVariant) -> bool:
    if target.python and minor(target.python) not in wheel_pythons(release, target.os, target.arch):
        return False
    if target.os != "windows" and target.glibc:
        needed = wheel_glibc(release, variant, target.arch)
        if needed is None or not at_least(target.glibc, needed):
            return False
    return not (variant.doubt or (variant.linux_only and target.os == "windows"))


def _runs(facts: Knowledge, target: Target, variant: TorchVariant, capabilities: tuple[str, ...]) -> bool:
    code = variant.aarch64_sm if target.arch == "aarch64" else variant.sm
    if variant.cuda is None or not code:
        return False
    if target.driver and not driver_runs(facts, variant.cuda, target.driver, target.os):
        return False
    # The Windows lists of some releases were not read; there the Linux list of the same build stands in.
    os = "linux" if variant.windows_sm is None else target.os
    return all(variant_serves(facts, variant, each, os=os, arch=target.arch) == "native" for each in capabilities)


def _preference(
    facts: Knowledge, target: Target, release: TorchRelease, variant: TorchVariant
) -> tuple[bool, bool, tuple[int, ...]]:
    assert variant.cuda is not None
    offered = target.driver is None or driver_compiles(facts, variant.cuda, target.driver)
    return offered, variant.tag == release.default_linux, numbers(variant.cuda)
