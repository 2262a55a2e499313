from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from envdoctor.host import ElfFacts
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.model.snapshot import Extension, Framework, Package
from envdoctor.probes import fitting, installation

SITE = "/env/lib/python3.12/site-packages"
LIBRARY = f"{SITE}/mmcv/_ext.so"
TORCH = Framework(name="torch", version="2.8.0+cu128", location=f"{SITE}/torch", cuda="12.8")
MMCV = Package(name="mmcv", version="2.1.0", location=SITE, requires=("torch>=2.0",))
SYMBOL = "_ZNK3c106SymInt6sym_neERKS0_"


def machine(needed: tuple[str, ...], missing: tuple[str, ...] | None = (SYMBOL,), **more: str) -> RecordedHost:
    offered = ("libc10.so", "libtorch_cpu.so", "libtorch.so", "libtorch_python.so")
    return RecordedHost(
        Recording(
            files={
                **{f"{SITE}/torch/lib/{name}": "" for name in offered},
                f"{SITE}/mmcv-2.1.0.dist-info/RECORD": "mmcv/__init__.py,sha256=x,9\nmmcv/_ext.so,sha256=y,70\n",
                **{f"{SITE}/mmcv/{name}": "" for name in more.values()},
            },
            elfs={LIBRARY: ElfFacts(needed=needed)},
            unresolved={} if missing is None else {LIBRARY: missing},
        )
    )


def seen(host: RecordedHost, *packages: Package, known: tuple[Extension, ...] = (), **torch: Any) -> Any:
    found = fitting.add(host, "/env", replace(TORCH, **torch), packages or (MMCV,), known)
    return [(each.package, each.library, each.lacks) for each in found]


def test_symbols_that_this_torch_lacks() -> None:
    host = machine(("libc10.so", "libtorch_cpu.so", "libcudart.so.12", "libstdc++.so.6"))
    assert seen(host) == [("mmcv", LIBRARY, (SYMBOL,))]
    fits = machine(("libc10.so",), ())
    assert seen(fits) == [("mmcv", LIBRARY, ())]
    # What is known of the extension already is kept.
    (both,) = fitting.add(host, "/env", TORCH, (MMCV,), (Extension(package="mmcv", glibcxx="3.4.30"),))
    assert (both.glibcxx, both.lacks) == ("3.4.30", (SYMBOL,))


def test_a_library_that_this_torch_lacks() -> None:
    assert seen(machine(("libc10.so", "libtorch_cuda.so"), None)) == [("mmcv", LIBRARY, ("libtorch_cuda.so",))]


@pytest.mark.parametrize(
    "host",
    [
        machine(("libc.so.6",)),  # it has nothing to do with torch
        machine(("libc10.so",), None),  # it cannot be read
        machine(("libc10.so", "libother.so")),  # which may define the symbol, and was not found
        RecordedHost(Recording(files={f"{SITE}/torch/lib/libc10.so": ""})),  # an editable installation
    ],
)
def test_what_cannot_be_told_is_not_told(host: RecordedHost) -> None:
    assert seen(host) == []


def test_a_library_of_its_own_is_looked_at() -> None:
    host = machine(("libc10.so", "libmmcv_core.so"), own="libmmcv_core.so")
    assert seen(host) == [("mmcv", LIBRARY, (SYMBOL,))]


def test_a_torch_whose_libraries_are_elsewhere_is_not_judged() -> None:
    assert seen(machine(("libc10.so",)), location="/elsewhere/torch") == []


def test_only_packages_that_name_no_torch_are_looked_at() -> None:
    vision = Package(name="torchvision", version="0.23.0", location=SITE, requires=("numpy", "torch==2.8.0"))
    other = replace(vision, requires=("torch==2.7.1",))
    conda = replace(MMCV, build="py312_0")
    assert installation.linked((vision, other, MMCV, conda, replace(MMCV, name="numpy")), TORCH) == (other, MMCV)
