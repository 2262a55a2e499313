"""How sound a Python environment is: what a broken installation left, files that are gone, what stands in the way."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from msgspec.structs import replace

from envdoctor.host import Host, loader, names, text
from envdoctor.model.snapshot import Extension, Framework, Package
from envdoctor.model.version import minor, public
from envdoctor.probes import Place
from envdoctor.probes.distributions import parse, watched
from envdoctor.probes.prefixes import pyvenv

# Of these the large libraries are compared with the list that came with them.
_COMPARED = ("torch-", "tensorflow", "jaxlib-", "nvidia_")
_LARGEST_RECORD = 8 << 20
# Extensions without wheels for most torches, so that they are compiled where they are used; the stem of their library.
_COMPILED_HERE = {"mamba-ssm": "selective_scan_cuda", "causal-conv1d": "causal_conv1d_cuda", "apex": "amp_C"}
# Distributions with libraries that are linked with torch's.
LINKED = frozenset(
    "apex auto-gptq autoawq-kernels causal-conv1d deepspeed detectron2 diff-gaussian-rasterization exllamav2 fairscale "  # noqa: SIM905 - thirty quoted lines say no more
    "fbgemm-gpu flash-attn flash-attn-3 flashinfer-python gsplat kaolin mamba-ssm minkowskiengine mmcv mmcv-full "
    "natten nvdiffrast pyg-lib pytorch3d sgl-kernel tinycudann torch-cluster torch-scatter torch-sparse "
    "torch-spline-conv torchao torchaudio torchtext torchvision transformer-engine vllm xformers".split()
)
# Names that a script of one's own is sometimes given; Python finds it before the installed module.
_PACKAGES = ("torch", "torchvision", "torchaudio", "numpy", "scipy", "pandas", "tensorflow", "keras", "jax", "triton")
_STANDARD = ("random", "types", "typing", "copy", "queue", "logging", "inspect")
_PROJECT = ("pyproject.toml", "setup.py", "setup.cfg")


def leftovers(host: Host, place: Place) -> tuple[str, ...]:
    """Give the names that an interrupted pip left in the environment's site folders."""
    return tuple(name for folder in _own(place) for name in names(host, folder) if name.startswith("~"))


def without_record(host: Host, place: Place, packages: tuple[Package, ...]) -> tuple[str, ...]:
    """Name the watched distributions that pip or uv installed and whose list of files is gone.

    conda, Debian and others may leave it out rightly: they keep lists of their own.
    """
    by_others = {package.name for package in packages if package.installer not in ("pip", "uv", None) or package.build}
    found = []
    for folder, entry in _metadata(host, place):
        known = parse(entry)
        if known is None or known[0] in by_others or not watched(known[0]) or not entry.endswith(".dist-info"):
            continue
        if host.kind(f"{folder}/{entry}/RECORD") is None:
            found.append(known[0])
    return tuple(found)


def damaged(host: Host, place: Place) -> tuple[str, ...]:
    """Give the libraries of frameworks that their RECORD lists and that are missing or of another size."""
    found = []
    for folder, entry in _metadata(host, place):
        if entry.startswith(_COMPARED) and entry.endswith(".dist-info"):
            try:
                record = host.read(f"{folder}/{entry}/RECORD", _LARGEST_RECORD)
            except FileNotFoundError:
                continue
            found += [path for name, size in libraries(record) if (path := _wrong(host, f"{folder}/{name}", size))]
    return tuple(found)


def libraries(record: bytes) -> Iterator[tuple[str, int]]:
    r"""Give path and size of the libraries in a RECORD, which may hold ten thousand other lines.

    >>> list(libraries(b"torch/a.py,sha256=x,10\ntorch/lib/libc10.so,sha256=y,1234\n"))
    [('torch/lib/libc10.so', 1234)]
    """
    at = record.find(b".so")
    while at >= 0:
        start, end = record.rfind(b"\n", 0, at) + 1, record.find(b"\n", at)
        line = record[start : end if end >= 0 else len(record)].strip()
        path, _, rest = line.partition(b",")
        size = rest.rpartition(b",")[2]
        if (path.endswith(b".so") or b".so." in path) and not path.startswith(b'"') and size.isdigit():
            yield path.decode("utf-8", "replace"), int(size)
        at = record.find(b".so", end) if end >= 0 else -1


def _wrong(host: Host, path: str, size: int) -> str | None:
    node = host.node(path)
    if node is not None:
        return path if node.size is not None and node.size != size else None
    return path if host.kind(path) is None else None


def headers(host: Host, place: Place) -> bool | None:
    """Tell whether Python.h, which extensions are compiled with, is there; None: the version is not known."""
    if not place.version:
        return None
    name = f"python{minor(place.version)}"
    folders = dict.fromkeys(f"{prefix}/include/{name}" for prefix in (place.base_prefix, place.prefix))
    return any(host.kind(f"{folder}{suffix}/Python.h") == "file" for folder in folders for suffix in ("", "t"))


def home_missing(host: Host, place: Place) -> str | None:
    """Give the folder of the Python that a virtual environment was made from, if that Python is gone."""
    if place.manager != "venv":
        return None
    home = pyvenv(text(host, f"{place.prefix}/pyvenv.cfg", 1 << 16) or "").get("home")
    if not home:
        return None
    if place.prefix[1:2] == ":":  # a drive of Windows
        home = home.replace("\\", "/")
    gone = host.kind(home) is None or host.kind(host.realpath(place.executable)) is None
    return home if gone else None


def local_modules(host: Host) -> tuple[str, ...]:
    """Give files and folders of the working folder that hide an installed module; none in a project's source tree."""
    here = host.environ.get("PWD", "")
    if not here.startswith("/"):
        return ()
    there = names(host, here)
    if any(name in there for name in _PROJECT):
        return ()
    scripts = [f"{here}/{name}.py" for name in (*_PACKAGES, *_STANDARD) if f"{name}.py" in there]
    folders = [name for name in _PACKAGES if name in there]
    return (*scripts, *(f"{here}/{name}" for name in folders if host.kind(f"{here}/{name}/__init__.py") == "file"))


def extensions(host: Host, place: Place, packages: tuple[Package, ...]) -> tuple[Extension, ...]:
    """Describe the compiled packages that were made for one torch, or bring libraries for several CUDA versions."""
    found = []
    for package in packages:
        folder = package.location
        if package.build is not None or not folder:
            continue
        if package.name == "flash-attn":
            found.append(_flash_attention(host, place, folder, package))
        elif package.name in _COMPILED_HERE:
            found.append(_with_cxx(host, place, folder, Extension(package=package.name), _COMPILED_HERE[package.name]))
        elif package.name == "bitsandbytes":
            there = names(host, f"{folder}/bitsandbytes")
            found.append(Extension(package=package.name, cuda_builds=cuda_builds(there) if there else None))
    return tuple(found)


def linked(packages: tuple[Package, ...], framework: Framework) -> tuple[Package, ...]:
    """Give the distributions that are linked with a torch which their metadata does not name.

    What names this very torch fits, and costs nothing more.
    """
    here = f"torch=={public(framework.version)}"
    return tuple(
        package
        for package in packages
        if package.name in LINKED
        and package.location
        and package.build is None
        and here not in [text.partition(";")[0].replace(" ", "").strip("()") for text in package.requires]
    )


def cuda_builds(listed: tuple[str, ...]) -> tuple[str, ...]:
    """Give the CUDA versions that bitsandbytes brings libraries for.

    >>> cuda_builds(("libbitsandbytes_cpu.so", "libbitsandbytes_cuda118.so", "libbitsandbytes_cuda124.so"))
    ('118', '124')
    """
    stems = (name.partition(".")[0] for name in listed if name.startswith("libbitsandbytes_cuda"))
    return tuple(dict.fromkeys(digits for stem in stems if (digits := stem.partition("_cuda")[2][:3]).isdigit()))


def _flash_attention(host: Host, place: Place, folder: str, package: Package) -> Extension:
    origin = text(host, f"{folder}/flash_attn-{package.version}.dist-info/direct_url.json", 1 << 16) or ""
    file = origin.partition(".whl")[0].rpartition("/")[2] if ".whl" in origin else ""
    library = next((name for name in names(host, folder) if name.startswith("flash_attn_2_cuda")), None)
    needed = host.elf(f"{folder}/{library}").needed if library else ()
    cudart = next((name.rpartition(".so.")[2] for name in needed if name.startswith("libcudart.so.")), None)
    one = Extension(
        package="flash-attn",
        tags=file.replace("%2B", "+").replace("%2b", "+") or None,
        cudart=cudart.partition(".")[0] if cudart else None,
    )
    return _with_cxx(host, place, folder, one, "flash_attn_2_cuda")


def _with_cxx(host: Host, place: Place, folder: str, one: Extension, stem: str) -> Extension:
    """Add which C++ library the extension asks for, and what the copy has that it would be loaded with.

    conda's python names its own lib folder as RPATH, which everything it loads inherits, so that the environment's
    libstdc++ comes before LD_LIBRARY_PATH and the system's.
    """
    library = next((name for name in names(host, folder) if name.startswith(stem)), None)
    needed = host.elf(f"{folder}/{library}").glibcxx_needed if library else None
    if needed is None:
        return one
    own = (f"{place.prefix}/lib",) if place.manager == "conda" else ()
    chosen = loader.find(host, "libstdc++.so.6", rpath=own)
    if chosen is None:
        return replace(one, glibcxx=needed)
    return replace(one, glibcxx=needed, libstdcxx=chosen, libstdcxx_version=host.elf(chosen).glibcxx_defined)


def _own(place: Place) -> list[str]:
    return [folder for folder in place.site_dirs if posixpath.normpath(folder).startswith(f"{place.prefix}/")]


def _metadata(host: Host, place: Place) -> Iterator[tuple[str, str]]:
    for folder in _own(place):
        if not folder.endswith("dist-packages"):
            for entry in names(host, folder):
                if entry.endswith("-info"):
                    yield folder, entry
