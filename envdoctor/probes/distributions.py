"""Distributions: what is installed, from the names of metadata folders; importlib.metadata takes ten times as long."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from envdoctor.host import Host, names, text
from envdoctor.model.snapshot import Package
from envdoctor.probes.partial import Gaps

# Distributions that rules look into: of these the requirements and the installer are read too, of others only the name.
WATCHED = frozenset(
    "accelerate apex auto-gptq autoawq bitsandbytes ctranslate2 cupy deepspeed diffusers faiss-gpu faster-whisper "  # noqa: SIM905 - sixty quoted lines say no more
    "fairscale flash-attn flashinfer-python intel-extension-for-pytorch keras lightning llama-cpp-python mmcv "
    "ml-dtypes mxnet numba numpy pandas peft pynvml pytorch-lightning pytorch-triton scikit-learn scipy "
    "sentence-transformers sglang tensorrt tf-keras tf-nightly timm tokenizers torch torchao torchaudio torchdata "
    "torchtext torchvision transformer-engine transformers triton unsloth vllm xformers".split()
)
WATCHED_FAMILIES = ("cuda-", "cupy-", "jax", "nvidia-", "onnxruntime", "opencv-", "tensorflow", "tensorrt-")

_HEADERS = 1 << 18  # bytes of METADATA; the headers come before the description


class Entry(NamedTuple):
    """A metadata folder: normalised name, version, and the folder's path."""

    name: str
    version: str
    path: str


def normalised(name: str) -> str:
    """Give a distribution's name the one form it is compared in.

    >>> normalised("Flash_Attn"), normalised("ruamel.yaml")
    ('flash-attn', 'ruamel-yaml')
    """
    plain = name.lower().replace("_", "-").replace(".", "-")
    while "--" in plain:
        plain = plain.replace("--", "-")
    return plain


def watched(name: str) -> bool:
    """Tell whether rules look into this distribution."""
    return name in WATCHED or name.startswith(WATCHED_FAMILIES)


def parse(folder: str) -> tuple[str, str] | None:
    """Read name and version off a metadata folder's name; None: it is none. The version may be missing.

    Names that begin with ~ are what pip leaves behind when it is interrupted; it ignores them itself.

    >>> parse("torch-2.13.0+cpu.dist-info"), parse("PyYAML-6.0-py3.11-linux-x86_64.egg-info"), parse("six.egg-info")
    (('torch', '2.13.0+cpu'), ('pyyaml', '6.0'), ('six', ''))
    >>> parse("torch"), parse("~orch-2.1.0.dist-info")
    (None, None)
    """
    stem, ending = posixpath.splitext(folder)
    if ending not in (".dist-info", ".egg-info") or stem.startswith("~"):
        return None
    if ending == ".egg-info":
        stem = stem.partition("-py3")[0].partition("-py2")[0]
    name, _, version = stem.rpartition("-")
    return (normalised(name), version) if name else (normalised(version), "")


def entries(host: Host, site_dir: str) -> Iterator[Entry]:
    """Give every distribution of a site folder, duplicates too."""
    listed = names(host, site_dir)
    versioned = set()
    nameless = []
    for folder in listed:
        if not folder.endswith("-info"):
            continue
        found = parse(folder)
        if found is None:
            continue
        if found[1]:
            versioned.add(found[0])
            yield Entry(*found, posixpath.join(site_dir, folder))
        else:
            nameless.append((found[0], folder))
    for name, folder in nameless:
        if name not in versioned:  # Debian keeps a bare egg-info beside some dist-info
            path = posixpath.join(site_dir, folder)
            version = next(iter(_headers(host, path, "PKG-INFO", "Version")), "")
            if version:
                yield Entry(name, version, path)


def packages(host: Host, site_dirs: tuple[str, ...], prefix: str, gaps: Gaps) -> tuple[Package, ...]:
    """List the distributions of the site folders, in their order, and then conda's own list of the prefix.

    What conda installed stands in both, as pip's view and as conda's; a name that is there twice is listed twice.
    """
    conda = gaps.ask("pythons[0].packages", lambda: _conda(host, prefix)) or ()
    by_conda = {package.name: package.version for package in conda}
    found: list[Package] = []
    for site_dir in site_dirs:
        for entry in gaps.ask("pythons[0].packages", partial(_listed, host, site_dir)) or ():
            closer = watched(entry.name) or by_conda.get(entry.name, entry.version) != entry.version
            found.append(_package(host, entry, closer, gaps))
    return (*found, *conda)


def _listed(host: Host, site_dir: str) -> tuple[Entry, ...]:
    return tuple(entries(host, site_dir))


def _package(host: Host, entry: Entry, closer: bool, gaps: Gaps) -> Package:
    location = posixpath.dirname(entry.path)
    if not closer:
        return Package(name=entry.name, version=entry.version, location=location)
    fact = f"pythons[0].packages.{entry.name}"
    metadata = "METADATA" if entry.path.endswith(".dist-info") else "PKG-INFO"
    requires = gaps.ask(f"{fact}.requires", lambda: _headers(host, entry.path, metadata, "Requires-Dist"))
    installer = gaps.ask(f"{fact}.installer", lambda: text(host, f"{entry.path}/INSTALLER", 256))
    return Package(
        name=entry.name,
        version=entry.version,
        installer=(installer or "").strip() or None,
        location=location,
        requires=requires or (),
    )


def _headers(host: Host, folder: str, name: str, header: str) -> tuple[str, ...]:
    """Give every value of a header of METADATA; an egg-info may be the file itself."""
    content = text(host, f"{folder}/{name}", _HEADERS)
    if content is None and folder.endswith(".egg-info"):
        content = text(host, folder, _HEADERS)
    start = header + ":"
    values = []
    for line in (content or "").splitlines():
        if not line.strip():
            break
        if line.startswith(start):
            values.append(line[len(start) :].strip())
    return tuple(values)


def _conda(host: Host, prefix: str) -> tuple[Package, ...]:
    folder = f"{prefix}/conda-meta"
    records = [file.removesuffix(".json").rsplit("-", 2) for file in names(host, folder) if file.endswith(".json")]
    return tuple(
        Package(name=normalised(parts[0]), version=parts[1], build=parts[2], installer="conda", location=folder)
        for parts in records
        if len(parts) == 3
    )
