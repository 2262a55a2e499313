"""Frameworks: torch, TensorFlow and JAX as their files describe them; nothing of theirs is imported."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from envdoctor.host import Host, names, text
from envdoctor.model.snapshot import Framework, Package
from envdoctor.model.speech import say
from envdoctor.model.version import cudnn_of_wheel
from envdoctor.probes.partial import Gaps

_TENSORFLOWS = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel", "tensorflow-rocm", "tf-nightly")


class _Environment(NamedTuple):
    host: Host
    site_dirs: tuple[str, ...]
    prefix: str
    packages: tuple[Package, ...]
    gaps: Gaps

    def first(self, *wanted: str) -> Package | None:
        return next((package for package in self.packages if package.name in wanted), None)

    def beside(self, path: str) -> Iterator[tuple[str, str]]:
        """Give each site folder that holds this file, with its text."""
        for folder in self.site_dirs:
            content = text(self.host, posixpath.join(folder, path), 1 << 16)
            if content is not None:
                yield folder, content


def read(
    host: Host, site_dirs: tuple[str, ...], prefix: str, packages: tuple[Package, ...], gaps: Gaps
) -> tuple[tuple[Framework, ...], dict[str, str]]:
    """Describe the frameworks that an import would find first, and say where each was read."""
    env = _Environment(host, site_dirs, prefix, packages, gaps)
    found: list[Framework] = []
    origins: dict[str, str] = {}
    for name, reader in (("torch", _torch), ("tensorflow", _tensorflow), ("jax", _jax)):
        answer = gaps.ask(f"pythons[0].frameworks.{name}", partial(reader, env))
        if answer:
            found.append(answer[0])
            origins[f"pythons.frameworks.{name}"] = answer[1]
    return tuple(found), origins


def _torch(env: _Environment) -> tuple[Framework, str] | None:
    installed = env.first("torch")
    for folder, content in env.beside("torch/version.py"):
        values = torch_version(content)
        version = values.get("__version__") or (installed.version if installed else None)
        if not version:
            continue
        location = posixpath.join(folder, "torch")
        cuda, hip, xpu = values.get("cuda"), values.get("hip") or values.get("rocm"), values.get("xpu")
        library = _torch_library(env.host, f"{location}/lib")
        if library is None and cuda:
            library = _torch_library(env.host, f"{env.prefix}/lib")  # conda's libtorch
        archs = env.gaps.ask("pythons[0].frameworks.torch.archs", partial(_archs, env.host, library))
        framework = Framework(
            name="torch",
            version=version,
            location=location,
            cuda=cuda,
            hip=hip,
            xpu=xpu,
            cudnn=_torch_cudnn(env, folder, cuda) if cuda else None,
            archs=archs,
            gpu_build=bool(cuda or hip or xpu or library),
        )
        return framework, posixpath.join(location, "version.py")
    if installed is None:
        return None
    # An editable install keeps its files elsewhere; which build it is stays unknown.
    return Framework(name="torch", version=installed.version), _metadata(installed)


def torch_version(content: str) -> dict[str, str | None]:
    """Read the assignments of torch/version.py; a name that is set to None is kept as None.

    >>> torch_version("cuda: Optional[str] = '12.8'")["cuda"], torch_version("hip = None")["hip"]
    ('12.8', None)
    """
    values: dict[str, str | None] = {}
    for line in content.splitlines():
        left, equals, right = line.partition("=")
        name, value = left.partition(":")[0].strip(), right.partition("#")[0].strip()
        if equals and name.isidentifier():
            quoted = len(value) > 1 and value[0] in "'\"" and value[-1] == value[0]
            values[name] = value[1:-1] if quoted and len(value) > 2 else None
    return values


def _torch_library(host: Host, folder: str) -> str | None:
    """Find the library with torch's CUDA kernels, which 1.9 to 1.12 split."""
    for name in ("libtorch_cuda_cu.so", "libtorch_cuda.so"):
        if host.kind(f"{folder}/{name}") == "file":
            return f"{folder}/{name}"
    return None


def _archs(host: Host, library: str | None) -> tuple[str, ...] | None:
    return host.elf(library).gpu_archs if library else None


def _torch_cudnn(env: _Environment, folder: str, cuda: str) -> str | None:
    wheel = env.first(f"nvidia-cudnn-cu{cuda.partition('.')[0]}")
    if wheel:
        return cudnn_of_wheel(wheel.version)
    bundled = [name for name in names(env.host, f"{folder}/torch/lib") if name.startswith("libcudnn.so.")]
    if bundled:  # wheels before 2.0 carry it themselves, and the name may tell the major version only
        return max(bundled, key=len).removeprefix("libcudnn.so.")
    header = text(env.host, f"{folder}/nvidia/cudnn/include/cudnn_version.h", 1 << 16)
    by_conda = env.first("cudnn")
    return cudnn_header(header or "") or (cudnn_of_wheel(by_conda.version) if by_conda else None)


def cudnn_header(content: str) -> str | None:
    r"""Read the version that cudnn_version.h defines in three parts.

    >>> cudnn_header("#define CUDNN_MAJOR 9\n#define CUDNN_MINOR 10\n#define CUDNN_PATCHLEVEL 2\n")
    '9.10.2'
    """
    defined = dict(
        words[1:3] for line in content.splitlines() if len(words := line.split()) >= 3 and words[0] == "#define"
    )
    parts = [defined.get(f"CUDNN_{part}", "") for part in ("MAJOR", "MINOR", "PATCHLEVEL")]
    return ".".join(parts) if all(part.isdigit() for part in parts) else None


def _tensorflow(env: _Environment) -> tuple[Framework, str] | None:
    installed = env.first(*_TENSORFLOWS)
    if installed is None:
        return None
    for folder, content in env.beside("tensorflow/python/platform/build_info.py"):
        on_cuda, on_rocm = build_value(content, "is_cuda_build"), build_value(content, "is_rocm_build")
        cuda = on_cuda == "True"
        framework = Framework(
            name="tensorflow",
            version=installed.version,
            location=f"{folder}/tensorflow",
            cuda=build_value(content, "cuda_version") if cuda else None,
            hip=build_value(content, "rocm_version") if on_rocm == "True" else None,
            cudnn=build_value(content, "cudnn_version") if cuda else None,
            archs=_build_archs(content) if cuda else None,
            gpu_build=None if on_cuda is None else "True" in (on_cuda, on_rocm),
        )
        return framework, f"{folder}/tensorflow/python/platform/build_info.py"
    return Framework(name="tensorflow", version=installed.version), _metadata(installed)


def build_value(content: str, key: str) -> str | None:
    """Read one value of TensorFlow's generated build_info.py, whose form changed from names over a dict to pairs.

    >>> build_value("OrderedDict([('cuda_version', '12.5.1')])", "cuda_version")
    '12.5.1'
    >>> build_value("build_info = {'is_cuda_build': True}", "is_cuda_build")
    'True'
    """
    found = re.search(rf"\b{key}['\"]?\s*[,:=]\s*['\"]?([\w.]+)", content)
    return found.group(1) if found else None


def _build_archs(content: str) -> tuple[str, ...] | None:
    listed = re.search(r"cuda_compute_capabilities['\"]?\s*[,:=]\s*\[([^\]]*)\]", content)
    return tuple(word.strip(" '\"") for word in listed.group(1).split(",")) if listed else None


def _jax(env: _Environment) -> tuple[Framework, str] | None:
    lib = env.first("jaxlib")
    main = env.first("jax") or lib
    if main is None:
        return None
    plugins = [match for package in env.packages if (match := re.match(r"jax-(cuda|rocm)(\d+)-plugin$", package.name))]
    # JAX takes the newest CUDA plugin first (jax_plugins/cuda in https://github.com/jax-ml/jax).
    cuda = max((match[2] for match in plugins if match[1] == "cuda"), key=int, default=None)
    rocm = next((match[2] for match in plugins if match[1] == "rocm"), None)
    cudnn = env.first(f"nvidia-cudnn-cu{cuda}") if cuda else None
    # jaxlib before 0.4.27 had its CUDA inside: 0.4.16+cuda12.cudnn89
    inside = re.search(r"\+cuda(\d+)(?:\.cudnn(\d+))?", lib.version) if lib else None
    framework = Framework(
        name="jax",
        version=main.version,
        location=next((f"{d}/jax" for d in env.site_dirs if env.host.kind(f"{d}/jax") == "directory"), None),
        cuda=cuda or (inside[1] if inside else None),
        hip=rocm[0] if rocm else None,  # the plugin's number is 60 for ROCm 6.0 and 7 for ROCm 7
        cudnn=cudnn_of_wheel(cudnn.version) if cudnn else _dotted(inside[2]) if inside and inside[2] else None,
        gpu_build=bool(plugins or inside),
    )
    return framework, _metadata(main)


def _dotted(digits: str) -> str:
    return f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits


def _metadata(package: Package) -> str:
    return say("metadata in {location}", location=package.location)
