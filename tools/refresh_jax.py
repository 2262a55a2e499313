"""Renew the table jax from the package index: jax itself and the CUDA 12 and 13 plugins that its extras bring.

    python tools/refresh_jax.py --check

Driver and capability floors, and the oldest CUDA for one's own installation, stand on JAX's page; a new row repeats
those of the row before it, with a doubt.
"""

from __future__ import annotations

import sys

from index import Index, Metadata
from published import admits, on, pythons, release_metadata, requirements, with_markers
from refresh import Fields, Found, Source, main

from envdoctor.knowledge.tables.frameworks import JaxRelease

FLOORS = "https://github.com/jax-ml/jax/blob/main/docs/installation.md"


def jax(index: Index, version: str, row: Fields, new: bool) -> Found:
    """Say what the index knows of a JAX release."""
    read = release_metadata(index, "jax", version)
    extras = sorted(
        extra
        for extra in read.extras
        if extra.startswith(("cpu", "cuda", "rocm", "tpu")) and requirements(read.requires, extra=extra)
    )
    columns: Fields = {
        "requires_python": read.requires_python,
        "numpy": with_markers(read.requires, "numpy"),
        "extras": extras,
        "cuda11": any(extra.startswith("cuda11") for extra in extras),
    }
    wheels = on(index.releases("jaxlib").get(version, ()), "linux_x86_64")
    if wheels:
        columns["python_max"] = pythons(wheels)[-1]
    days = [read.asked]
    for name in ("cuda12", "cuda13"):
        own = _cuda(index, name, version, read, days)
        if own is not None and row[name] is not None:
            columns[name] = {**row[name], **own}
        elif new:
            columns[name] = None
    doubts = ("not documented yet: driver and capability floors, repeated from the release before",)
    return Found(columns, min(days), doubts if new else (), read.withdrawn)


def _cuda(index: Index, name: str, version: str, read: Metadata, days: list[str]) -> Fields | None:
    """Give what an extra brings by its plugin, or None where there is no such extra or no plugin that it accepts."""
    package = f"jax-{name}-plugin"
    if not requirements(read.requires, package, extra=name):
        return None
    published = index.releases(package)
    wanted = [text.partition(";")[0] for text in with_markers(read.requires, package, extra=name)]
    plugin = next((each for each in published if admits(wanted, package, each)), None)
    if plugin is None:
        return {"plugin": False}
    brought = release_metadata(index, package, plugin)
    days.append(brought.asked)
    extra = next((each for each in brought.extras if each.replace("_", "-") == "with-cuda"), "")

    def one(*packages: str) -> str | None:
        return next(iter(requirements(brought.requires, *packages, extra=extra)), None)

    cuda = name.removeprefix("cuda")
    pinned = next(iter(requirements(read.requires, "jaxlib", extra=name)), "").removeprefix("jaxlib==")
    return {
        "plugin": version in published,
        "cudnn": one(f"nvidia-cudnn-cu{cuda}"),
        "nvcc": one(f"nvidia-cuda-nvcc-cu{cuda}"),
        "runtime": one("nvidia-cuda-runtime"),
        **({"jaxlib": pinned} if pinned[:1].isdigit() and pinned != version else {}),
    }


def fresh(before: Fields) -> Fields:
    """Make the row of a release that no page was read about."""
    repeated = {name: before[name] for name in ("floors_source", "cuda12", "cuda13")}
    return {"released": None, "windows_gpu": False, "note": None, **repeated}


SOURCES = (Source("jax", JaxRelease, "jax", jax, fresh, elsewhere=(f"oldest driver, capability and CUDA ({FLOORS})",)),)

if __name__ == "__main__":
    sys.exit(main(SOURCES, "Renew the table of JAX releases from the Python package index."))
