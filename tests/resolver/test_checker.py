"""The resolver against a checker that knows nothing of it: it reads the tables as they stand on disk."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest

from envdoctor import knowledge
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.stack import Conflict, Plan, Request, Stack, Target, TargetGpu
from envdoctor.report import documents
from envdoctor.resolver.choice import resolve

FACTS = Knowledge()
Row = dict[str, Any]


def table(name: str) -> list[Row]:
    rows: list[Row] = json.loads((Path(knowledge.__file__).parent / f"{name}.json").read_text())["rows"]
    return rows


TORCH = {row["version"]: row for row in table("torch")}
TENSORFLOW = {row["version"]: row for row in table("tensorflow")}
JAX = {row["version"]: row for row in table("jax")}
FAMILIES = {row["cuda"]: row for row in table("cuda_families")}
BRANCHES = table("driver_branches")
ARCHITECTURES = {row["capability"]: row for row in table("architectures")}


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


def offers(driver: str) -> str:
    return max((row for row in BRANCHES if row["branch"] <= v(driver)[0]), key=lambda row: row["branch"])["cuda"]  # type: ignore[no-any-return]


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
    side = "windows_" if os == "windows" else ""
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


def torch_pythons(row: Row, os: str) -> list[str]:
    if os == "windows":
        return list(row["pythons_windows"])
    first, last = (int(row[key].split(".")[1]) for key in ("python_min", "python_max"))
    return [f"3.{each}" for each in range(first, last + 1)]


def torch_problem(row: Row, variant: Row, capability: str, driver: str, python: str, os: str, glibc: str) -> str | None:
    """Say what is certainly wrong with a CUDA build of torch; None: nothing is."""
    wheels, side = linux_or_windows(os)
    if python not in torch_pythons(row, wheels):
        return "no wheel for that Python"
    if wheels == "windows" and variant.get("linux_only"):
        return "Linux only"
    if wheels == "linux" and v(glibc) < v(variant.get("glibc") or row["glibc"]):
        return "glibc"
    if problem := driver_problem(variant["cuda"], capability, driver, side):
        return problem
    return "no code" if code_runs(variant, capability, driver, wheels) is False else None


CAPABILITIES = [capability for capability, row in ARCHITECTURES.items() if not row.get("integrated")]
DRIVERS = sorted({row["first"] for row in BRANCHES if row["branch"] >= 440}, key=v)
SYSTEMS = ("linux", "wsl2", "windows")


def sample(count: int, seed: int) -> list[tuple[str, str, str, str, str]]:
    every = list(
        product(
            CAPABILITIES, DRIVERS, ("3.8", "3.9", "3.10", "3.12", "3.13", "3.14"), SYSTEMS, ("2.17", "2.28", "2.39")
        )
    )
    return Random(seed).sample(every, count)


def machine(capability: str, driver: str, os: str, glibc: str) -> Target:
    return Target(
        os=os,  # type: ignore[arg-type]
        glibc=None if os == "windows" else glibc,
        driver=driver,
        gpus=(TargetGpu(vendor="nvidia", capability=capability),),
    )


def linux_or_windows(os: str) -> tuple[str, str]:
    """Give whose wheels and whose driver count."""
    return ("windows" if os == "windows" else "linux"), ("linux" if os == "linux" else "windows")


def torch_builds(capability: str, driver: str, python: str, os: str, glibc: str) -> dict[tuple[str, str], str | None]:
    return {
        (version, variant["tag"]): torch_problem(row, variant, capability, driver, python, os, glibc)
        for version, row in TORCH.items()
        for variant in row["variants"]
        if variant["cuda"]
    }


def test_torch_is_what_the_facts_allow() -> None:
    plans = conflicts = cpus = 0
    for capability, driver, python, os, glibc in sample(900, seed=7):
        asked = f"{capability} {driver} {python} {os} {glibc}"
        found = resolve(Request(python=python), machine(capability, driver, os, glibc), FACTS)
        builds = torch_builds(capability, driver, python, os, glibc)
        if isinstance(found, Conflict):
            conflicts += 1
            # Not even a build for the CPU fits, so that there is no wheel at all.
            assert all(builds.values()), asked
            continue
        stack = found.stack
        if stack.cuda is None:
            cpus += 1
            assert all(builds.values()), (asked, [pair for pair, problem in builds.items() if not problem])
            continue
        plans += 1
        assert builds[stack.framework_version, stack.variant] is None, (asked, stack.variant)
        assert stack.python == python
        row = TORCH[stack.framework_version]
        variant = next(each for each in row["variants"] if each["tag"] == stack.variant)
        certain = not any(reason.choice == "not certain" for reason in found.reasons)
        if certain:
            assert code_runs(variant, capability, driver, linux_or_windows(os)[0]) is True, asked
            assert variant.get("doubt") is None
    assert plans > 200 and cpus > 50 and conflicts > 10


def test_an_exact_cuda_is_kept_to_or_its_absence_is_proved() -> None:
    plans = conflicts = 0
    for number, (capability, driver, python, os, glibc) in enumerate(sample(500, seed=11)):
        cuda = ("11.8", "12.1", "12.6", "12.8", "13.0")[number % 5]
        found = resolve(Request(cuda=cuda, python=python), machine(capability, driver, os, glibc), FACTS)
        fit = [
            pair
            for pair, problem in torch_builds(capability, driver, python, os, glibc).items()
            if problem is None
            and next(each["cuda"] for each in TORCH[pair[0]]["variants"] if each["tag"] == pair[1]) == cuda
        ]
        if isinstance(found, Plan):
            plans += 1
            assert found.stack.cuda == cuda and (found.stack.framework_version, found.stack.variant) in fit
        else:
            conflicts += 1
            assert fit == [] and found.reasons
            for stack in found.alternatives:
                assert published(stack)
    assert plans > 50 and conflicts > 50


def published(stack: Stack) -> bool:
    if stack.framework == "torch":
        row = TORCH[stack.framework_version]
        return stack.variant in [each["tag"] for each in row["variants"]] + row["rocm"] + ["mps"]
    return stack.framework_version in (TENSORFLOW if stack.framework == "tensorflow" else JAX)


def tensorflow_fits(row: Row, capability: str, driver: str, python: str, os: str, glibc: str) -> bool:
    wheels, side = linux_or_windows(os)
    if python not in row["pythons"] or (wheels == "windows" and not row["windows_gpu"]):
        return False
    if wheels == "linux" and v(glibc) < v(row["glibc"]):
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


def jax_fits(row: Row, cuda: str, capability: str, driver: str, python: str, os: str) -> bool:
    extra = row[f"cuda{cuda}"]
    if os == "windows" or extra is None or not extra["plugin"] or f"cuda{cuda}" not in (row["extras"] or ()):
        return False
    if row["requires_python"] is None or not v(row["requires_python"][2:]) <= v(python) <= v(row["python_max"]):
        return False
    known = ARCHITECTURES[capability]
    newest = known["last_cuda"]
    if v(capability) < v(extra["capability_min"]) or (newest and v(newest) < (int(cuda),)):
        return False
    return driver_problem(cuda, capability, driver, linux_or_windows(os)[1]) is None


@pytest.mark.parametrize("framework", ["tensorflow", "jax"])
def test_the_others_are_what_the_facts_allow(framework: str) -> None:
    gpus = cpus = 0
    for capability, driver, python, os, glibc in sample(400, seed=13):
        asked = f"{capability} {driver} {python} {os} {glibc}"
        request = Request(framework=framework, python=python)  # type: ignore[arg-type]
        found = resolve(request, machine(capability, driver, os, glibc), FACTS)
        if framework == "tensorflow":
            fit = {
                (version, f"cuda{v(row['cuda'])[0]}")
                for version, row in TENSORFLOW.items()
                if tensorflow_fits(row, capability, driver, python, os, glibc)
            }
        else:
            fit = {
                (version, f"cuda{cuda}")
                for version, row in JAX.items()
                for cuda in ("12", "13")
                if jax_fits(row, cuda, capability, driver, python, os)
            }
        if isinstance(found, Conflict):
            assert not fit, asked
        elif found.stack.cuda is None:
            cpus += 1
            # On native Windows a release of 2022 is offered in words, and the newest one for the CPU is chosen.
            assert not fit or os == "windows", (asked, fit)
        else:
            gpus += 1
            assert (found.stack.framework_version, found.stack.variant) in fit, asked
            dropped = ARCHITECTURES[capability].get("cudnn_dropped")
            pins = [pin for name, pin in found.stack.packages.items() if "cudnn" in name]
            if framework == "jax" and dropped and v(dropped) >= (9,):
                assert pins == [f"<{dropped}"], asked
    assert gpus > 50 and cpus > 50


def test_a_thousand_questions_have_the_same_bytes_twice() -> None:
    random = Random(17)
    again = Knowledge()
    for capability, driver, python, os, glibc in sample(1000, seed=19):
        request = Request(
            framework=random.choice(("torch", "torch", "tensorflow", "jax")),
            cuda=random.choice(("auto", "auto", "cpu", "11.8", "12.6", "13.0")),
            python=random.choice((None, python)),
        )
        target = machine(capability, driver, os, glibc)
        first, second = (resolve(request, target, facts) for facts in (FACTS, again))
        assert said(first) == said(second)


def said(found: Plan | Conflict) -> str:
    return documents.plan(found, ()) if isinstance(found, Plan) else documents.conflict(found)
