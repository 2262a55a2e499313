"""Knowledge: the tables, loaded when first asked for, and the questions that rules and the resolver put to them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from envdoctor.knowledge import tables
from envdoctor.model import Record
from envdoctor.model.version import compare, major, minor, numbers, public

if TYPE_CHECKING:
    from envdoctor.knowledge.tables import companions, frameworks, toolkits

_Row = TypeVar("_Row", bound=tables.Row)
_HERE = __file__.rpartition("load.py")[0]


class Table(Record):
    """A table as it stands on disk."""

    title: str
    rows: tuple[msgspec.Raw, ...]


def read(table: str) -> Table:
    """Read a table from disk, its rows still undecoded.

    Raises:
        FileNotFoundError: there is no such table.
    """
    with open(f"{_HERE}{table}.json", "rb") as file:
        return msgspec.json.decode(file.read(), type=Table)


class Knowledge:
    """What is known of CUDA, drivers, GPUs, frameworks and images; each table is read once, when it is needed.

    The tables that `diagnose` has no use for bring the module of their row types with them.
    """

    def _rows(self, table: str, kind: type[_Row]) -> tuple[_Row, ...]:
        return tuple(msgspec.json.decode(row, type=kind) for row in read(table).rows)

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
    def image_digests(self) -> tuple[toolkits.ImageDigest, ...]:
        """Digests of images, newest CUDA first."""
        from envdoctor.knowledge.tables.toolkits import ImageDigest

        return self._rows("image_digests", ImageDigest)

    @cached_property
    def ubuntu_releases(self) -> tuple[tables.Ubuntu, ...]:
        """Ubuntu releases, oldest first."""
        return self._rows("ubuntu", tables.Ubuntu)

    @cached_property
    def rocm_indexes(self) -> tuple[tables.RocmIndex, ...]:
        """ROCm indexes of PyTorch, newest first."""
        return self._rows("rocm", tables.RocmIndex)

    @cached_property
    def cuda_toolkits(self) -> tuple[toolkits.CudaToolkit, ...]:
        """CUDA toolkits with their drivers, newest first."""
        from envdoctor.knowledge.tables.toolkits import CudaToolkit

        return self._rows("cuda_toolkits", CudaToolkit)

    @cached_property
    def cuda_toolkit_packages(self) -> tuple[toolkits.CudaToolkitPackage, ...]:
        """The package cuda-toolkit and what it pins, newest first."""
        from envdoctor.knowledge.tables.toolkits import CudaToolkitPackage

        return self._rows("cuda_toolkit_pypi", CudaToolkitPackage)

    @cached_property
    def cuda_compat(self) -> tuple[toolkits.CudaCompat, ...]:
        """Drivers inside the cuda-compat packages, newest CUDA first."""
        from envdoctor.knowledge.tables.toolkits import CudaCompat

        return self._rows("cuda_compat", CudaCompat)

    @cached_property
    def cuda_compat_bases(self) -> tuple[toolkits.CudaCompatBase, ...]:
        """Driver branches that the cuda-compat packages run on, newest CUDA first."""
        from envdoctor.knowledge.tables.toolkits import CudaCompatBase

        return self._rows("cuda_compat_bases", CudaCompatBase)

    @cached_property
    def forward_compatibility(self) -> tuple[toolkits.ForwardCompatibility, ...]:
        """When a newer CUDA runs on an older kernel driver."""
        from envdoctor.knowledge.tables.toolkits import ForwardCompatibility

        return self._rows("forward_compatibility", ForwardCompatibility)

    @cached_property
    def cuda_errors(self) -> tuple[toolkits.CudaError, ...]:
        """Errors that speak of compatibility, by their number."""
        from envdoctor.knowledge.tables.toolkits import CudaError

        return self._rows("cuda_errors", CudaError)

    @cached_property
    def cudnn_support(self) -> tuple[toolkits.CudnnSupport, ...]:
        """The support matrices of cuDNN, newest first."""
        from envdoctor.knowledge.tables.toolkits import CudnnSupport

        return self._rows("cudnn", CudnnSupport)

    @cached_property
    def cudnn_libraries(self) -> tuple[toolkits.CudnnLibraries, ...]:
        """The shared libraries of each major cuDNN, newest first."""
        from envdoctor.knowledge.tables.toolkits import CudnnLibraries

        return self._rows("cudnn_libraries", CudnnLibraries)

    @cached_property
    def cudnn_packages(self) -> tuple[toolkits.CudnnPackage, ...]:
        """Wheels of cuDNN on the package index, newest first."""
        from envdoctor.knowledge.tables.toolkits import CudnnPackage

        return self._rows("cudnn_packages", CudnnPackage)

    @cached_property
    def tensorrt_releases(self) -> tuple[toolkits.Tensorrt, ...]:
        """TensorRT releases, newest first."""
        from envdoctor.knowledge.tables.toolkits import Tensorrt

        return self._rows("tensorrt", Tensorrt)

    @cached_property
    def tensorflow_releases(self) -> tuple[frameworks.TensorflowRelease, ...]:
        """TensorFlow releases, newest first."""
        from envdoctor.knowledge.tables.frameworks import TensorflowRelease

        return self._rows("tensorflow", TensorflowRelease)

    @cached_property
    def jax_releases(self) -> tuple[frameworks.JaxRelease, ...]:
        """JAX releases, newest first."""
        from envdoctor.knowledge.tables.frameworks import JaxRelease

        return self._rows("jax", JaxRelease)

    @cached_property
    def torch_pins(self) -> tuple[frameworks.TorchPins, ...]:
        """What the plain torch wheel pins, newest first."""
        from envdoctor.knowledge.tables.frameworks import TorchPins

        return self._rows("torch_pins", TorchPins)

    @cached_property
    def pip_indexes(self) -> tuple[frameworks.PipIndex, ...]:
        """Indexes of PyTorch wheels."""
        from envdoctor.knowledge.tables.frameworks import PipIndex

        return self._rows("pip_indexes", PipIndex)

    @cached_property
    def other_indexes(self) -> tuple[frameworks.OtherIndex, ...]:
        """Pages of wheels beside PyTorch's indexes."""
        from envdoctor.knowledge.tables.frameworks import OtherIndex

        return self._rows("other_indexes", OtherIndex)

    @cached_property
    def mirrors(self) -> tuple[frameworks.MirrorPart, ...]:
        """Mirrors of the package indexes, a row for each thing they copy."""
        from envdoctor.knowledge.tables.frameworks import MirrorPart

        return self._rows("mirrors", MirrorPart)

    @cached_property
    def framework_images(self) -> tuple[frameworks.FrameworkImage, ...]:
        """Docker images of frameworks, newest first."""
        from envdoctor.knowledge.tables.frameworks import FrameworkImage

        return self._rows("framework_images", FrameworkImage)

    @cached_property
    def pytorch_channel(self) -> tuple[frameworks.PytorchChannel, ...]:
        """The conda channel that ended with torch 2.5.1, newest first."""
        from envdoctor.knowledge.tables.frameworks import PytorchChannel

        return self._rows("pytorch_channel", PytorchChannel)

    @cached_property
    def xformers_releases(self) -> tuple[companions.Xformers, ...]:
        """Xformers releases, newest first."""
        from envdoctor.knowledge.tables.companions import Xformers

        return self._rows("xformers", Xformers)

    @cached_property
    def flash_attention(self) -> tuple[companions.FlashAttention, ...]:
        """Generations of flash-attn, newest first."""
        from envdoctor.knowledge.tables.companions import FlashAttention

        return self._rows("flash_attn", FlashAttention)

    @cached_property
    def bitsandbytes_releases(self) -> tuple[companions.BitsandbytesRelease, ...]:
        """Bitsandbytes releases, newest first."""
        from envdoctor.knowledge.tables.companions import BitsandbytesRelease

        return self._rows("bitsandbytes", BitsandbytesRelease)

    @cached_property
    def bitsandbytes_hardware(self) -> tuple[companions.BitsandbytesHardware, ...]:
        """GPUs for bitsandbytes, newest releases first."""
        from envdoctor.knowledge.tables.companions import BitsandbytesHardware

        return self._rows("bitsandbytes_hardware", BitsandbytesHardware)

    @cached_property
    def bitsandbytes_builds(self) -> tuple[companions.BitsandbytesBuild, ...]:
        """Machine code in bitsandbytes wheels."""
        from envdoctor.knowledge.tables.companions import BitsandbytesBuild

        return self._rows("bitsandbytes_builds", BitsandbytesBuild)

    @cached_property
    def transformers_releases(self) -> tuple[companions.Transformers, ...]:
        """Transformers releases, newest first."""
        from envdoctor.knowledge.tables.companions import Transformers

        return self._rows("transformers", Transformers)

    @cached_property
    def onnxruntime_releases(self) -> tuple[companions.OnnxruntimeGpu, ...]:
        """Releases of onnxruntime-gpu, newest first."""
        from envdoctor.knowledge.tables.companions import OnnxruntimeGpu

        return self._rows("onnxruntime_gpu", OnnxruntimeGpu)

    @cached_property
    def onnxruntime_cuda(self) -> tuple[companions.OnnxruntimeCuda, ...]:
        """CUDA of older onnxruntime-gpu releases, newest first."""
        from envdoctor.knowledge.tables.companions import OnnxruntimeCuda

        return self._rows("onnxruntime_cuda", OnnxruntimeCuda)

    @cached_property
    def vllm_releases(self) -> tuple[companions.Vllm, ...]:
        """Releases of vllm, newest first."""
        from envdoctor.knowledge.tables.companions import Vllm

        return self._rows("vllm", Vllm)

    @cached_property
    def vllm_hardware(self) -> tuple[companions.VllmHardware, ...]:
        """GPUs for vllm, newest releases first."""
        from envdoctor.knowledge.tables.companions import VllmHardware

        return self._rows("vllm_hardware", VllmHardware)

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
        return self._families_by_cuda.get(key)

    def driver_cuda(self, driver: str) -> str | None:
        """Give the newest CUDA that this driver offers, from its branch; None: older than every branch known."""
        branch = major(driver)
        return next((row.cuda for row in reversed(self.driver_branches) if row.branch <= branch), None)

    def torch(self, version: str) -> tables.TorchRelease | None:
        """Give the row of a torch release; its local tag is ignored."""
        return next((row for row in self.torch_releases if row.version == public(version)), None)

    def architecture(self, capability: str) -> tables.Architecture | None:
        """Give the row of a compute capability."""
        return self._architectures_by_capability.get(capability)

    @cached_property
    def _families_by_cuda(self) -> dict[str, tables.CudaFamily]:
        return {row.cuda: row for row in self.cuda_families}

    @cached_property
    def _architectures_by_capability(self) -> dict[str, tables.Architecture]:
        return {row.capability: row for row in self.architectures}


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
