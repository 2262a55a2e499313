"""Shadows: where LD_LIBRARY_PATH makes a framework load another copy of a library than the one pip brought for it."""

from __future__ import annotations

import posixpath

from envdoctor.host import Host, loader, names
from envdoctor.probes import Place
from envdoctor.probes.libraries import FAMILIES, Copy, differ, version_of

# torch loads these two in this order, and what they need with them.
_TORCH = ("torch/lib/libtorch_global_deps.so", "torch/lib/libtorch_cuda.so")
# These need nothing by name, but open every library when the first GPU is used.
_TENSORFLOW = ("tensorflow/libtensorflow_framework.so.2", "tensorflow/libtensorflow_cc.so.2")


def find(host: Host, place: Place, wheels: list[Copy]) -> list[tuple[Copy, Copy]]:
    """Give each library that is loaded instead of a wheel's, with the wheel's.

    That LD_LIBRARY_PATH names a folder proves nothing: folders in DT_RPATH are searched before it, those in DT_RUNPATH
    after it (https://man7.org/linux/man-pages/man8/ld.so.8.html), and torch has had either. So the loading is followed
    as the loader does it. Copies of the same version are left out, and those whose version nothing tells.
    """
    rivals = _rivals(host, wheels)
    if not rivals:
        return []
    loaded: dict[str, str] = {}
    for root, opens in _roots(host, place):
        _follow(host, root, tuple(rivals) if opens else (), tuple(rivals), loaded)
    return [
        (rival, wheel)
        for soname, (rival, wheel) in rivals.items()
        if soname in loaded and host.realpath(loaded[soname]) == host.realpath(rival.path)
    ]


def _rivals(host: Host, wheels: list[Copy]) -> dict[str, tuple[Copy, Copy]]:
    """Find by soname the first other copy in LD_LIBRARY_PATH, where it is known to be of another version."""
    folders = [f.rstrip("/") for f in host.environ.get("LD_LIBRARY_PATH", "").replace(";", ":").split(":")]
    there = [(folder, set(names(host, folder))) for folder in folders if folder.startswith("/")]
    rivals = {}
    for wheel in wheels:
        folder = next((folder for folder, listed in there if wheel.soname in listed), None)
        if folder is None or wheel.soname in rivals:
            continue
        path = f"{folder}/{wheel.soname}"
        stem = "libcudnn" if wheel.stem.startswith("libcudnn") else wheel.stem
        rival = Copy(stem, wheel.soname, path, version_of(host, path, stem))
        if host.realpath(path) != host.realpath(wheel.path) and differ(rival.version, wheel.version):
            rivals[wheel.soname] = (rival, wheel)
    return rivals


def _roots(host: Host, place: Place) -> list[tuple[str, bool]]:
    """List the frameworks' own libraries; True: it opens others by name at run time instead of needing them."""
    found = []
    for site_dir in place.site_dirs:
        roots = [(name, False) for name in _TORCH] + [(name, True) for name in _TENSORFLOW]
        plugins = [name for name in names(host, f"{site_dir}/jax_plugins") if name.startswith("xla_cuda")]
        roots += [(f"jax_plugins/{name}/xla_cuda_plugin.so", True) for name in plugins]
        found += [(f"{site_dir}/{name}", opens) for name, opens in roots if host.kind(f"{site_dir}/{name}") == "file"]
    return found


def _follow(host: Host, root: str, opens: tuple[str, ...], rivals: tuple[str, ...], loaded: dict[str, str]) -> None:
    """Load a library and all it needs, breadth first; what is loaded already is not looked for again."""
    waiting: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = [(root, opens, ())]
    for path, opened, inherited in waiting:  # grows while it is gone through
        facts = host.elf(path)
        runpath = _folders(facts.runpath, path)
        own = () if runpath else _folders(facts.rpath, path)
        chain = (*own, *inherited)
        for soname in (*facts.needed, *opened):
            if soname in loaded or not _concerns(soname):
                continue
            chosen = loader.find(host, soname, rpath=() if runpath else chain, runpath=runpath)
            if chosen is None:
                continue
            loaded[soname] = chosen
            # cuDNN 8 opens its parts by name, as its own library's folders and the variable have it; 9 looks beside
            # itself first (https://github.com/pytorch/pytorch/issues/119989).
            parts = tuple(name for name in rivals if name.startswith("libcudnn_") and name.endswith(".so.8"))
            waiting.append((chosen, parts if soname == "libcudnn.so.8" else (), chain))


def _concerns(soname: str) -> bool:
    stem = soname.partition(".so.")[0]
    return stem in FAMILIES or stem.startswith("libcudnn_")


def _folders(listed: str | None, path: str) -> tuple[str, ...]:
    origin = posixpath.dirname(path)
    folders = (listed or "").replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", origin).split(":")
    return tuple(posixpath.normpath(folder) for folder in folders if folder.startswith("/"))
