"""What the tables allow, read from them as they stand on disk, by nothing that the resolver is made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from envdoctor import knowledge
from envdoctor.model.stack import Stack

Row = dict[str, Any]


def table(name: str) -> list[Row]:
    rows: list[Row] = json.loads((Path(knowledge.__file__).parent / f"{name}.json").read_text())["rows"]
    return rows


TORCH = {row["version"]: row for row in table("torch")}
TENSORFLOW = {row["version"]: row for row in table("tensorflow")}
JAX = {row["version"]: row for row in table("jax")}
FAMILIES = {row["cuda"]: row for row in table("cuda_families")}
BRANCHES = table("driver_branches")
JETSONS = {capability for row in table("other_indexes") for capability in row.get("jetson", ())}
ARCHITECTURES = {row["capability"]: row for row in table("architectures")}


@cache
def v(text: str) -> tuple[int, ...]:
    """Read a dotted version; zeros at its end do not count."""
    parts = [int(part) for part in text.split("+")[0].split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def floor(cuda: str, os: str) -> str | None:
    row = FAMILIES[cuda.split(".")[0] if v(cuda) >= (11,) else cuda]
    found: str | None = row["linux"] if os == "linux" else row["windows"]
    return found


@cache
def offers(driver: str) -> str:
    return max((row for row in BRANCHES if row["branch"] <= v(driver)[0]), key=lambda row: row["branch"])["cuda"]  # type: ignore[no-any-return]


@cache
def driver_problem(cuda: str, capability: str, driver: str, os: str) -> str | None:
    lowest = floor(cuda, os)
    if lowest and v(driver) < v(lowest):
        return f"driver {driver} < {lowest}"
    row = ARCHITECTURES[capability]
    if row.get("first_driver") and v(driver)[0] < row["first_driver"]:
        return "driver does not know the GPU yet"
    if row.get("last_driver") and v(driver)[0] > row["last_driver"]:
        return "driver knows the GPU no more"
    return None


def code_of(variant: Row, os: str) -> tuple[list[str], list[str]] | None:
    side = {"windows": "windows_", "arm": "aarch64_"}.get(os, "")
    sm = variant.get(f"{side}sm")
    return None if sm is None else (sm, variant.get(f"{side}ptx") or [])


def code_runs(variant: Row, capability: str, driver: str, os: str) -> bool | None:
    """Tell whether a torch build has code for a GPU; None: that was not read or is doubted."""
    row = ARCHITECTURES[capability]
    if row["last_cuda"] and v(variant["cuda"]) > v(row["last_cuda"]):
        return False
    code = code_of(variant, os)
    if code is None:
        return None
    have = tuple(int(part) for part in capability.split("."))
    for sm in code[0]:
        built = tuple(int(part) for part in sm.split("."))
        if built[0] == have[0] and built <= have and (not row.get("integrated") or built == have):
            return True
    if any(tuple(int(part) for part in ptx.split(".")) <= have for ptx in code[1]):
        if v(offers(driver)) < v(variant["cuda"]):
            return False
        return None if variant.get("ptx_doubt") else True
    return False


@cache
def pair_runs(version: str, tag: str, capability: str, driver: str, os: str) -> bool | None:
    """Tell the same of a build by its name."""
    return code_runs(variant_of(version, tag), capability, driver, os)


@cache
def variant_of(version: str, tag: str) -> Row:
    row: Row = next(each for each in TORCH[version]["variants"] if each["tag"] == tag)
    return row


@cache
def torch_pythons(version: str, os: str) -> tuple[str, ...]:
    row = TORCH[version]
    if os != "linux":
        return tuple(row["pythons_windows" if os == "windows" else "pythons_aarch64"])
    first, last = (int(row[key].split(".")[1]) for key in ("python_min", "python_max"))
    return tuple(f"3.{each}" for each in range(first, last + 1))


@cache
def no_wheel(version: str, tag: str, python: str, wheels: str, glibc: str) -> str | None:
    """Say why a build of torch, for CUDA or the CPU, cannot be installed; None: it can."""
    row, variant = TORCH[version], variant_of(version, tag)
    if python not in torch_pythons(version, wheels):
        return "no wheel for that Python"
    if wheels == "windows" and variant.get("linux_only"):
        return "Linux only"
    if wheels == "arm" and variant["cuda"] and variant.get("aarch64_sm") is None:
        return "not for aarch64"
    oldest = row.get("glibc_aarch64") if wheels == "arm" else variant.get("glibc") or row["glibc"]
    return "glibc" if wheels != "windows" and oldest and v(glibc) < v(oldest) else None


CUDA_BUILDS = [(version, each["tag"]) for version, row in TORCH.items() for each in row["variants"] if each["cuda"]]


def torch_builds(capability: str, driver: str, python: str, os: str, glibc: str) -> dict[tuple[str, str], str | None]:
    """Say of each CUDA build of torch what is certainly wrong with it; None: nothing is."""
    wheels, side = linux_or_windows(os)
    return {
        (version, tag): no_wheel(version, tag, python, wheels, glibc)
        or driver_problem(variant_of(version, tag)["cuda"], capability, driver, side)
        or ("no code" if pair_runs(version, tag, capability, driver, wheels) is False else None)
        for version, tag in CUDA_BUILDS
    }


def torch_on_cpu(python: str, os: str, glibc: str) -> bool:
    """Tell whether any build of torch for the CPU can be installed."""
    wheels = linux_or_windows(os)[0]
    return any(no_wheel(version, "cpu", python, wheels, glibc) is None for version in TORCH)


def linux_or_windows(os: str) -> tuple[str, str]:
    """Give whose wheels and whose driver count; `arm` is Linux on aarch64."""
    return ("linux" if os == "wsl2" else os), ("linux" if os in ("linux", "arm") else "windows")


def published(stack: Stack) -> bool:
    if stack.framework == "torch":
        row = TORCH[stack.framework_version]
        return stack.variant in [each["tag"] for each in row["variants"]] + row["rocm"] + ["mps"]
    return stack.framework_version in (TENSORFLOW if stack.framework == "tensorflow" else JAX)


def tensorflow_on_cpu(row: Row, python: str, os: str, glibc: str) -> bool:
    wheels = linux_or_windows(os)[0]
    if python not in row["pythons"] or (wheels == "windows" and not row["windows_wheel"]):
        return False
    return wheels == "windows" or v(glibc) >= v(row["glibc"])


def tensorflow_fits(row: Row, capability: str, driver: str, python: str, os: str, glibc: str) -> bool:
    wheels, side = linux_or_windows(os)
    if not tensorflow_on_cpu(row, python, os, glibc) or (wheels == "windows" and not row["windows_gpu"]):
        return False
    if wheels == "arm":
        return False
    # tensorrt 8.5 has no wheels after Python 3.10, and tensorrt-libs 8.6.1 is not on the plain index at all.
    brought = row["and_cuda"] or {}
    if "tensorrt-libs" in brought or ("tensorrt" in brought and v(python) > (3, 10)):
        return False
    known = ARCHITECTURES[capability]
    if known["last_cuda"] and v(row["cuda"]) > v(known["last_cuda"]):
        return False
    if v(row["version"]) >= (2, 17) and v(capability) < (6,):
        return False
    older = known["first_cuda"] is not None and v(known["first_cuda"]) > v(row["cuda"])
    if older and v(offers(driver)) < v(row["cuda"]):
        return False
    return driver_problem(row["cuda"], capability, driver, side) is None


def jax_on_cpu(row: Row, python: str) -> bool:
    if row["requires_python"] is None or row["python_max"] is None:
        return False
    return v(row["requires_python"][2:]) <= v(python) <= v(row["python_max"])


def jax_fits(row: Row, cuda: str, capability: str, driver: str, python: str, os: str) -> bool:
    extra = row[f"cuda{cuda}"]
    if os == "windows" or extra is None or not extra["plugin"] or f"cuda{cuda}" not in (row["extras"] or ()):
        return False
    if not jax_on_cpu(row, python):
        return False
    known = ARCHITECTURES[capability]
    newest = known["last_cuda"]
    if v(capability) < v(extra["capability_min"]) or (newest and v(newest) < (int(cuda),)):
        return False
    return driver_problem(cuda, capability, driver, linux_or_windows(os)[1]) is None


CUDAS = {
    "torch": {variant_of(*pair)["cuda"] for pair in CUDA_BUILDS},
    "tensorflow": {row["cuda"] for row in TENSORFLOW.values()},
    "jax": {"12", "13"},
}


def driver_class(framework: str, driver: str) -> object:
    """Give all that a rule could read from a driver: the floors it meets, the CUDA it offers, the GPUs it knows."""
    cudas = sorted(CUDAS[framework], key=v)
    floors = tuple(v(driver) >= v(floor(cuda, os) or "0") for cuda in cudas for os in ("linux", "windows"))
    newest = offers(driver) if v(driver)[0] >= BRANCHES[0]["branch"] else "0"
    known = tuple(
        (row.get("first_driver") or 0) <= v(driver)[0] <= (row.get("last_driver") or 9999)
        for row in ARCHITECTURES.values()
    )
    return floors, tuple(v(newest) >= v(cuda) for cuda in cudas), known


def capability_class(framework: str, capability: str) -> object:
    """Give all that a rule could read from a capability: its row, and which builds have code for it."""
    row = ARCHITECTURES[capability]
    said = tuple(row.get(each) for each in ("last_cuda", "first_driver", "last_driver", "cudnn_dropped", "integrated"))
    jetson = framework == "torch" and capability in JETSONS
    if framework == "jax":
        floors = {
            row[f"cuda{each}"]["capability_min"] for row in JAX.values() for each in (12, 13) if row[f"cuda{each}"]
        }
        return said, tuple(v(capability) >= v(each) for each in sorted(floors))
    if framework == "tensorflow":
        younger = tuple(v(row["first_cuda"] or "0") > v(cuda) for cuda in sorted(CUDAS["tensorflow"]))
        return said, younger, v(capability) >= (5,), v(capability) >= (6,)
    code = tuple(
        (
            pair_runs(version, tag, capability, "9999", wheels),  # any PTX
            pair_runs(version, tag, capability, BRANCHES[0]["first"], wheels),  # machine code only
        )
        for version, tag in CUDA_BUILDS
        for wheels in ("linux", "windows", "arm")
    )
    return said, jetson, code


def python_class(framework: str, python: str) -> object:
    """Give which releases have wheels for a Python, on each system."""
    if framework == "torch":
        return tuple(
            python in torch_pythons(version, each) for version in TORCH for each in ("linux", "windows", "arm")
        )
    if framework == "tensorflow":
        return tuple(python in row["pythons"] for row in TENSORFLOW.values()), v(python) > (3, 10)
    return tuple(jax_on_cpu(row, python) for row in JAX.values())


def classes(framework: str, values: Iterable[str], signature: Callable[[str, str], object]) -> list[list[str]]:
    """Put together the values that no rule of a framework can tell apart."""
    found: dict[object, list[str]] = {}
    for value in values:
        found.setdefault(signature(framework, value), []).append(value)
    return list(found.values())
