"""Frameworks and packages as records, from the versions that reports write in their many ways."""

from __future__ import annotations

import re
from typing import Literal

from envdoctor.model.snapshot import Framework, Package, PythonEnv, Snapshot
from envdoctor.model.version import numbers, readable

FrameworkName = Literal["torch", "tensorflow", "jax"]

# Distributions that are a framework under another name.
_FRAMEWORKS: dict[str, FrameworkName] = {
    "torch": "torch",
    "pytorch": "torch",
    "tensorflow": "tensorflow",
    "tensorflow-gpu": "tensorflow",
    "tensorflow-cpu": "tensorflow",
    "tensorflow-base": "tensorflow",
    "tensorflow-intel": "tensorflow",
    "tf-nightly": "tensorflow",
    "jax": "jax",
}
_CUDA_BUILD = re.compile(r"(?:^|_)cuda(1\d|9|8)\.?(\d)")


def package(name: str, version: str, build: str | None = None, **rest: str | None) -> Package:
    """Give a distribution with its name normalised."""
    return Package(name=name.lower().replace("_", "-").replace(".", "-"), version=version, build=build, **rest)  # type: ignore[arg-type]


def framework(
    name: FrameworkName, version: str, cuda: str | None = None, *, cpu: bool = False, hip: str | None = None
) -> Framework:
    """Give a framework; its local tag tells what it was built with, where it has one. `cpu`: said to have no CUDA."""
    version = version.removeprefix("v").strip("`'\",;:()")
    tag = version.partition("+")[2]
    if tag.startswith("cu") and tag[2:].isdigit() and len(tag) >= 4:
        cuda = cuda or f"{tag[2:-1]}.{tag[-1]}"
    elif tag.startswith("rocm"):
        hip = hip or tag.removeprefix("rocm")
    none = cpu or tag == "cpu"
    return Framework(
        name=name,
        version=version,
        cuda=None if none else cuda,
        hip=hip,
        gpu_build=False if none else True if cuda or hip else None,
    )


def environment(
    origin: str,
    packages: tuple[Package, ...] = (),
    frameworks: tuple[Framework, ...] = (),
    version: str | None = None,
    bits: int | None = None,
    **rest: str,
) -> Snapshot:
    """Give what is told of a Python environment as a part of a Snapshot; frameworks and packages name each other."""
    named = {each.name for each in packages}
    told = {each.name for each in frameworks}
    more = tuple(
        framework(_FRAMEWORKS[each.name], each.version, _cuda_in(each), cpu=_is_cpu(each))
        for each in packages
        if each.name in _FRAMEWORKS and _FRAMEWORKS[each.name] not in told and readable(each.version)
    )
    added = tuple(package(each.name, each.version) for each in frameworks if each.name not in named)
    every = {each.name: each for each in (*reversed(more), *frameworks)}
    python = PythonEnv(
        executable=rest.get("executable", "python"),
        prefix=rest.get("prefix", ""),
        version=version,
        bits=bits,
        manager=rest.get("manager", "other"),  # type: ignore[arg-type]
        selected_by="report",
        packages=(*packages, *added),
        frameworks=tuple(every.values()),
    )
    origins = {"pythons": origin}
    for each in every.values():
        if each.cuda is None and (each.gpu_build is False or each.hip):
            origins[f"pythons.frameworks.{each.name}.cuda"] = origin
    return Snapshot(pythons=(python,), origins=origins)


def _is_cpu(one: Package) -> bool:
    """Tell whether a package is a CPU build by its name or by conda's build string.

    conda-forge writes cpu_…, the channel pytorch py3.9_cpu_0; TensorFlow of defaults has mkl_ and eigen_ beside gpu_.
    """
    build = one.build or ""
    if build.startswith(("mkl_", "eigen_")):
        return one.name.startswith("tensorflow")
    return build.startswith("cpu_") or (build.startswith("py") and "_cpu" in build) or one.name.endswith("-cpu")


def _cuda_in(one: Package) -> str | None:
    """Give the CUDA that conda's build string names; None: it names none.

    The channel pytorch writes py3.9_cuda11.3_cudnn8.2.0_0, conda-forge cuda112py310h… or cuda118_generic_….
    """
    found = _CUDA_BUILD.search(one.build or "")
    return f"{found[1]}.{found[2]}" if found else None


def cuda_of(text: str) -> str | None:
    """Give a CUDA version as tables have it: 10.1.243 is 10.1; None: no version."""
    if not readable(text):
        return None
    parts = (*numbers(text), 0)
    return f"{parts[0]}.{parts[1]}"


def version_in(text: str) -> str | None:
    """Give the first version in a text; None: there is none.

    >>> version_in("v2.11.0-rc2-15-g6290819256d 2.11.0"), version_in("TF 2.16"), version_in("none")
    ('2.11.0', '2.16', None)
    """
    found: list[str] = list(re.findall(r"(?<![\w.-])v?(\d{1,4}(?:\.\d{1,8}){1,3}[\w.+]{0,40})", text[:500]))
    released = [each for each in found if "rc" not in each]
    best = released[-1] if text.startswith("v") and released else found[0] if found else None
    return best.rstrip(".") if best else None
