"""GPU libraries on disk: which copy of cuDNN, NCCL and CUDA's runtime belongs to whom."""

from __future__ import annotations

import posixpath
from functools import partial
from typing import Literal, NamedTuple

from envdoctor.host import Host, loader, names, text
from envdoctor.model.snapshot import Library, Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import cudnn_of_wheel, numbers
from envdoctor.probes import Place, Probe, distributions
from envdoctor.probes.frameworks import cudnn_header
from envdoctor.probes.partial import Gaps

Kind = Literal["cudnn", "nccl", "cudart", "cublas", "nvjitlink", "other"]

# A library's file name up to ".so." -> its kind, and the wheel that brings it, without the suffix -cu12.
FAMILIES: dict[str, tuple[Kind, str]] = {
    "libcudnn": ("cudnn", "nvidia-cudnn"),
    "libnccl": ("nccl", "nvidia-nccl"),
    "libcudart": ("cudart", "nvidia-cuda-runtime"),
    "libcublas": ("cublas", "nvidia-cublas"),
    "libnvJitLink": ("nvjitlink", "nvidia-nvjitlink"),
    # The rest is looked at only where LD_LIBRARY_PATH may replace it (shadows.py).
    "libcublasLt": ("cublas", "nvidia-cublas"),
    "libcufft": ("other", "nvidia-cufft"),
    "libcurand": ("other", "nvidia-curand"),
    "libcusolver": ("other", "nvidia-cusolver"),
    "libcusparse": ("other", "nvidia-cusparse"),
    "libnvrtc": ("other", "nvidia-cuda-nvrtc"),
}
_REPORTED = ("libcudnn", "libnccl", "libcudart", "libcublas", "libnvJitLink")
_CONDA = {
    "libcudnn": ("cudnn", "libcudnn"),
    "libnccl": ("nccl",),
    "libcudart": ("cuda-cudart", "cudatoolkit"),
    "libcublas": ("libcublas", "cudatoolkit"),
    "libnvJitLink": ("libnvjitlink",),
}
_SYSTEM = ("libcudnn.so.7", "libcudnn.so.8", "libcudnn.so.9", "libcudnn.so.10", "libnccl.so.2")
_HEADERS = ("cudnn_version.h", "cudnn_version_v9.h", "cudnn_version_v8.h", "cudnn.h")


class Copy(NamedTuple):
    """A library file: `soname` is the name that programs ask for, `stem` that name up to ".so."."""

    stem: str
    soname: str
    path: str
    version: str | None = None
    package: str | None = None


def read(host: Host, place: Place | None) -> Snapshot:
    """Find the libraries of the environment, then those of the system; a file that two ways lead to is listed once."""
    gaps = Gaps("libraries")
    found: dict[str, Library] = {}
    wheels: list[Copy] = []
    for site_dir in place.site_dirs if place else ():
        wheels += gaps.ask("libraries", partial(_of_wheels, host, site_dir)) or []
    _add(found, host, [copy for copy in wheels if copy.stem in _REPORTED], "pip")
    if place:
        _add(found, host, gaps.ask("libraries", partial(_of_torch, host, place)) or [], "framework")
    if place and place.manager == "conda":
        _add(found, host, gaps.ask("libraries", partial(_of_conda, host, place.prefix)) or [], "conda")
    _add(found, host, gaps.ask("libraries", partial(_of_system, host)) or [], "system")
    if place and wheels and host.environ.get("LD_LIBRARY_PATH"):
        from envdoctor.probes import shadows  # reads large libraries; hardly anyone needs it

        for rival, copy in gaps.ask("libraries.shadows", partial(shadows.find, host, place, wheels)) or ():
            _add(found, host, [copy], "pip")
            _add(found, host, [rival], "system", shadows=copy.path)
    return Snapshot(
        libraries=tuple(found.values()),
        gaps=tuple(gaps.found),
        origins={"libraries": say("file names, headers and package metadata")},
    )


PROBE = Probe("libraries", ("libraries",), read)


def _add(
    found: dict[str, Library],
    host: Host,
    copies: list[Copy],
    owner: Literal["framework", "pip", "conda", "system"],
    shadows: str | None = None,
) -> None:
    for copy in copies:
        real = host.realpath(copy.path)
        if real in found and not shadows:
            continue
        known = found.get(real)
        beside = posixpath.dirname(posixpath.dirname(copy.path))
        by_conda = owner == "system" and host.kind(f"{beside}/conda-meta") == "directory"
        found[real] = Library(
            name=FAMILIES[copy.stem][0] if copy.stem in FAMILIES else "cudnn",  # a part of cuDNN 8
            path=copy.path,
            version=copy.version,
            owner=known.owner if known else "conda" if by_conda else owner,
            package=known.package if known else copy.package,
            shadows=shadows,
        )


def copies(host: Host, folder: str, stems: tuple[str, ...]) -> list[Copy]:
    """List a folder's libraries of these names, each by the shortest of its file names: libcudnn.so.9.

    The version is that of the file behind the links, if its name tells it in full; otherwise, for cuDNN, of the header.
    """
    shortest: dict[tuple[str, str], str] = {}
    for name in names(host, folder):
        stem, _, version = name.partition(".so.")
        # Wheels that were repaired by auditwheel have a hash in the name: libcudart-d0da41ae.so.11.0.
        key = (stem.partition("-")[0], version.partition(".")[0])
        if key[0] in stems and key[1].isdigit():
            shortest[key] = min(shortest.get(key, name), name, key=len)
    return [
        Copy(stem, name, f"{folder}/{name}", version_of(host, f"{folder}/{name}", stem))
        for (stem, _), name in shortest.items()
    ]


def version_of(host: Host, path: str, stem: str) -> str | None:
    """Tell a library's version by its full file name, for cuDNN else by the header beside it; None: nothing tells."""
    name = posixpath.basename(host.realpath(path)).partition(".so.")[2]
    if name.count(".") >= 2 and name.replace(".", "").isdigit():
        return name
    return _by_header(host, path) if stem == "libcudnn" else None


def _by_header(host: Host, path: str) -> str | None:
    major = posixpath.basename(path).partition(".so.")[2].partition(".")[0]
    above = posixpath.dirname(posixpath.dirname(path))
    for folder in dict.fromkeys((f"{above}/include", *_multiarch_headers(path))):
        for name in _HEADERS:
            version = cudnn_header(text(host, f"{folder}/{name}", 1 << 18) or "")
            if version and version.partition(".")[0] == major:
                return version
    return None


def _multiarch_headers(path: str) -> tuple[str, ...]:
    """Give Debian's include folders for a library in /usr/lib/x86_64-linux-gnu."""
    folder = posixpath.dirname(path)
    if not folder.startswith(("/usr/lib", "/lib")):
        return ()
    return (f"/usr/include/{posixpath.basename(folder)}", "/usr/include")


def _of_wheels(host: Host, site_dir: str) -> list[Copy]:
    folders = names(host, f"{site_dir}/nvidia")
    if not folders:
        return []
    wheels = [entry for entry in distributions.entries(host, site_dir) if entry.name.startswith("nvidia-")]
    found = []
    for folder in folders:
        path = f"{site_dir}/nvidia/{folder}/lib"
        stems = {name.partition(".so.")[0] for name in names(host, path) if ".so." in name}
        # cuDNN 8 opens its parts by name; they are wanted for the question of who wins.
        wanted = tuple(stem for stem in stems if stem in FAMILIES or stem.startswith("libcudnn_"))
        found += [_owned(copy, wheels, of_cuda=folder.startswith("cu1")) for copy in copies(host, path, wanted)]
    return found


def _owned(copy: Copy, wheels: list[distributions.Entry], of_cuda: bool) -> Copy:
    """Name the wheel that a library came with; its version decides, for its file name tells the major version only.

    Wheels for CUDA 12 and 13 share the folder of cuDNN and NCCL: the one installed last has won, and only the header
    tells which. Names without a suffix are CUDA 13's, and their files are in nvidia/cu13.
    """
    stem = "nvidia-cudnn" if copy.stem.startswith("libcudnn") else FAMILIES[copy.stem][1]
    major = copy.soname.partition(".so.")[2].partition(".")[0]
    fitting = [
        wheel
        for wheel in wheels
        if (wheel.name == stem or wheel.name.startswith(f"{stem}-cu")) and wheel.version.partition(".")[0] == major
    ]
    alone = [wheel for wheel in fitting if (wheel.name == stem) == of_cuda]
    fitting = alone or fitting
    released = {wheel.version: cudnn_of_wheel(wheel.version) for wheel in fitting}
    if "cudnn" not in stem:
        released = {version: version for version in released}
    if len(set(released.values())) > 1:
        fitting = [wheel for wheel in fitting if released[wheel.version] == copy.version]
    if not fitting:
        return copy
    package = ", ".join(dict.fromkeys(wheel.name for wheel in fitting))
    return copy._replace(version=released[fitting[0].version], package=package)


def _of_torch(host: Host, place: Place) -> list[Copy]:
    """List what a framework carries inside itself, as torch's wheels did before 2.0."""
    found = []
    for site_dir in place.site_dirs:
        found += [copy._replace(package="torch") for copy in copies(host, f"{site_dir}/torch/lib", _REPORTED)]
    return found


def _of_conda(host: Host, prefix: str) -> list[Copy]:
    meta = [name.rsplit("-", 2) for name in names(host, f"{prefix}/conda-meta")]
    versions = {parts[0]: parts[1] for parts in meta if len(parts) == 3}
    found = []
    for copy in copies(host, f"{prefix}/lib", _REPORTED):
        package = next((name for name in _CONDA[copy.stem] if name in versions), None)
        told = versions[package] if package else None
        version = copy.version or (cudnn_of_wheel(told) if told and copy.stem == "libcudnn" else told)
        found.append(copy._replace(version=version, package=package))
    return found


def _of_system(host: Host) -> list[Copy]:
    """List what the loader can see, and what lies in CUDA toolkits, of cuDNN and NCCL."""
    found = []
    for soname in _SYSTEM:
        stem = soname.partition(".so.")[0]
        found += [Copy(stem, soname, path, version_of(host, path, stem)) for path in loader.candidates(host, soname)]
    toolkits = [f"/usr/local/{name}" for name in names(host, "/usr/local") if name.startswith("cuda")]
    for folder in dict.fromkeys(host.realpath(toolkit) for toolkit in (*toolkits, "/opt/cuda")):
        for library in dict.fromkeys(host.realpath(f"{folder}/{name}") for name in ("lib64", "lib")):
            found += copies(host, library, ("libcudnn", "libnccl"))
    return found


def differ(left: str | None, right: str | None) -> bool:
    """Tell whether two versions are known to differ; a missing build number does not make a difference.

    >>> differ("9.1.0", "9.1.0.70"), differ("9.1.0", "9.5.1"), differ(None, "9.5.1")
    (False, True, False)
    """
    if not left or not right:
        return False
    return any(a != b for a, b in zip(numbers(left), numbers(right), strict=False))
