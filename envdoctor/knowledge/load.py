"""Knowledge: the tables, loaded when first asked for, and the questions that rules and the resolver put to them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Literal, TypeVar

import msgspec

from envdoctor.knowledge import tables
from envdoctor.model import Record
from envdoctor.model.version import compare, major, minor, numbers, public

_Row = TypeVar("_Row", bound=tables.Row)
_HERE = __file__.rpartition("load.py")[0]


class Table(Record):
    """A table as it stands on disk."""

    title: str
    rows: tuple[msgspec.Raw, ...]


class Knowledge:
    """What is known of CUDA, drivers, GPUs, frameworks and images; each table is read once, when it is needed."""

    def _rows(self, table: str, kind: type[_Row]) -> tuple[_Row, ...]:
        with open(f"{_HERE}{table}.json", "rb") as file:
            return tuple(
                msgspec.json.decode(row, type=kind) for row in msgspec.json.decode(file.read(), type=Table).rows
            )

    @cached_property
    def cuda_families(self) -> tuple[tables.CudaFamily, ...]:
        """Driver floors of CUDA."""
        return self._rows("cuda_families", tables.CudaFamily)

    @cached_property
    def driver_branches(self) -> tuple[tables.DriverBranch, ...]:
        """Driver branches, oldest first."""
        return self._rows("driver_branches", tables.DriverBranch)

    @cached_property
    def architectures(self) -> tuple[tables.Architecture, ...]:
        """Compute capabilities."""
        return self._rows("architectures", tables.Architecture)

    @cached_property
    def gpus(self) -> tuple[tables.GpuModel, ...]:
        """GPUs by the name tools print."""
        return self._rows("gpus", tables.GpuModel)

    @cached_property
    def torch_releases(self) -> tuple[tables.TorchRelease, ...]:
        """Torch releases, newest first."""
        return self._rows("torch", tables.TorchRelease)

    @cached_property
    def conda_builds(self) -> tuple[tables.CondaBuild, ...]:
        """Pytorch on conda-forge, newest first."""
        return self._rows("conda_forge_pytorch", tables.CondaBuild)

    @cached_property
    def cuda_images(self) -> tuple[tables.CudaImage, ...]:
        """nvidia/cuda images, newest CUDA first."""
        return self._rows("cuda_images", tables.CudaImage)

    @cached_property
    def ubuntu_releases(self) -> tuple[tables.Ubuntu, ...]:
        """Ubuntu releases, oldest first."""
        return self._rows("ubuntu", tables.Ubuntu)

    @cached_property
    def rocm_indexes(self) -> tuple[tables.RocmIndex, ...]:
        """ROCm indexes of PyTorch, newest first."""
        return self._rows("rocm", tables.RocmIndex)

    def driver_floor(self, cuda: str, os: Literal["linux", "windows"]) -> str | None:
        """Give the oldest driver that runs programs built with this CUDA; None: not known.

        From CUDA 11 on a driver runs every minor version of its major one; before that each toolkit needs its own
        driver (https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html).
        """
        row = self.cuda_family(cuda)
        if row is None:
            return None
        return row.linux if os == "linux" else row.windows

    def cuda_family(self, cuda: str) -> tables.CudaFamily | None:
        """Give the row of driver floors that a CUDA version falls under; None: not known."""
        key = str(major(cuda)) if major(cuda) >= 11 else minor(cuda)
        return next((row for row in self.cuda_families if row.cuda == key), None)

    def driver_cuda(self, driver: str) -> str | None:
        """Give the newest CUDA that this driver offers, from its branch; None: older than every branch known."""
        rows = [row for row in self.driver_branches if row.branch <= major(driver)]
        return rows[-1].cuda if rows else None

    def torch(self, version: str) -> tables.TorchRelease | None:
        """Give the row of a torch release; its local tag is ignored."""
        return next((row for row in self.torch_releases if row.version == public(version)), None)

    def architecture(self, capability: str) -> tables.Architecture | None:
        """Give the row of a compute capability."""
        return next((row for row in self.architectures if row.capability == capability), None)


def code_runs(archs: Iterable[str], capability: str, *, integrated: bool = False) -> bool:
    """Tell whether a binary with these architectures has code for a GPU.

    Machine code (sm_86) runs on the same major capability with the same or a higher minor one; PTX (compute_90) is
    compiled by the driver for any capability that is not lower. Names with a suffix (sm_90a) run on exactly that one.

    >>> code_runs(["sm_86"], "8.9"), code_runs(["sm_90"], "12.0"), code_runs(["compute_90"], "12.0")
    (True, False, True)
    """
    have = numbers(capability)
    for arch in archs:
        kind, _, digits = arch.partition("_")
        exact = not digits.isdigit()
        if exact:
            digits = digits.rstrip("abcdefghijklmnopqrstuvwxyz")
        built = (int(digits[:-1]), int(digits[-1]))
        if exact:
            if built == have:
                return True
        elif kind == "compute":
            if built <= have:
                return True
        elif built[0] == have[0] and built[1] <= have[1] and (built == have or not integrated):
            return True
    return False


def newest(versions: Iterable[str]) -> str | None:
    """Give the highest version, or None of nothing.

    >>> newest(["9.9", "9.10.2"])
    '9.10.2'
    """
    best: str | None = None
    for version in versions:
        if best is None or compare(version, best) > 0:
            best = version
    return best
