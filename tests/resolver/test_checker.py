"""The resolver against a checker that knows nothing of it: every GPU, driver branch, Python and system of the tables.

What no rule can tell apart is asked once: the classes come from the tables, and that their members get one answer is
tested too.
"""

from __future__ import annotations

from collections import Counter
from itertools import product
from random import Random

import pytest
from msgspec.structs import replace
from stack_checker import (
    ARCHITECTURES,
    BRANCHES,
    FAMILIES,
    JAX,
    JETSONS,
    TENSORFLOW,
    TORCH,
    capability_class,
    classes,
    driver_class,
    jax_fits,
    jax_on_cpu,
    linux_or_windows,
    pair_runs,
    published,
    python_class,
    table,
    tensorflow_fits,
    tensorflow_on_cpu,
    torch_builds,
    torch_on_cpu,
    torch_pythons,
    v,
    variant_of,
)

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.stack import Conflict, FrameworkName, Plan, Request, Stack, Target, TargetGpu
from envdoctor.report import documents
from envdoctor.resolver.choice import resolve

FACTS = Knowledge()

CAPABILITIES = list(ARCHITECTURES)
FLOORS = {row[side] for row in FAMILIES.values() for side in ("linux", "windows") if row[side]}
DRIVERS = sorted({row["first"] for row in BRANCHES} | {each for each in FLOORS if v(each) >= (384,)}, key=v)
PYTHONS = tuple(f"3.{minor}" for minor in range(6, 16))
SYSTEMS = ("linux", "wsl2", "windows", "arm")

Question = tuple[str, str, str, str, str]


def sample(count: int, seed: int) -> list[Question]:
    every = list(product(CAPABILITIES, DRIVERS, PYTHONS, SYSTEMS, ("2.17", "2.28", "2.39")))
    return [each for each in Random(seed).sample(every, count) if possible(each[0], each[3])]


def possible(capability: str, os: str) -> bool:
    """Tell whether there are such machines: what is integrated is soldered to a processor of its own."""
    return os == "arm" or not ARCHITECTURES[capability].get("integrated")


def machine(capability: str, driver: str, os: str, glibc: str) -> Target:
    return Target(
        os="linux" if os == "arm" else os,  # type: ignore[arg-type]
        arch="aarch64" if os == "arm" else "x86_64",
        glibc=None if os == "windows" else glibc,
        driver=driver,
        gpus=(TargetGpu(vendor="nvidia", capability=capability),),
    )


def check_torch(question: Question) -> str:
    """Ask for torch, prove the answer, and say what kind it was."""
    capability, driver, python, os, glibc = question
    found = resolve(Request(python=python), machine(capability, driver, os, glibc), FACTS)
    builds = torch_builds(capability, driver, python, os, glibc)
    if isinstance(found, Conflict):
        assert all(builds.values()), question
        if os == "arm" and capability in JETSONS:
            assert found.ways and bool(found.alternatives) == torch_on_cpu(python, os, glibc), question
        else:
            assert not torch_on_cpu(python, os, glibc), question
        return "conflict"
    stack = found.stack
    assert stack.python == python, question
    if stack.cuda is None:
        assert all(builds.values()), (question, [pair for pair, problem in builds.items() if not problem])
        return "cpu"
    assert builds[stack.framework_version, stack.variant] is None, (question, stack.variant)
    if not any(reason.choice == "not certain" for reason in found.reasons):
        wheels = linux_or_windows(os)[0]
        assert pair_runs(stack.framework_version, stack.variant, capability, driver, wheels) is True, question
        assert variant_of(stack.framework_version, stack.variant).get("doubt") is None, question
    return "cuda"


def check_other(framework: FrameworkName, question: Question) -> str:
    """Ask for TensorFlow or JAX, prove the answer, and say what kind it was."""
    capability, driver, python, os, glibc = question
    request = Request(framework=framework, python=python)
    found = resolve(request, machine(capability, driver, os, glibc), FACTS)
    if framework == "tensorflow":
        fit = {
            (version, f"cuda{v(row['cuda'])[0]}")
            for version, row in TENSORFLOW.items()
            if tensorflow_fits(row, capability, driver, python, os, glibc)
        }
        on_cpu = any(tensorflow_on_cpu(row, python, os, glibc) for row in TENSORFLOW.values())
    else:
        fit = {
            (version, f"cuda{cuda}")
            for version, row in JAX.items()
            for cuda in ("12", "13")
            if jax_fits(row, cuda, capability, driver, python, os)
        }
        on_cpu = any(jax_on_cpu(row, python) for row in JAX.values())
    if isinstance(found, Conflict):
        assert not fit and not on_cpu, question
        return "conflict"
    if found.stack.cuda is None:
        # On native Windows a release of 2022 is offered in words, and the newest one for the CPU is chosen.
        assert not fit or os == "windows", (question, fit)
        return "cpu"
    assert (found.stack.framework_version, found.stack.variant) in fit, question
    dropped = ARCHITECTURES[capability].get("cudnn_dropped")
    pins = [pin for name, pin in found.stack.packages.items() if "cudnn" in name]
    if framework == "jax" and dropped and v(dropped) >= (9,):
        assert pins == [f"<{dropped}"], question
    return "cuda"


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "jax"])
def test_every_machine_gets_what_the_facts_allow(framework: FrameworkName) -> None:
    capabilities = [each[0] for each in classes(framework, CAPABILITIES, capability_class)]
    drivers = [each[0] for each in classes(framework, DRIVERS, driver_class)]
    pythons = [each[0] for each in classes(framework, PYTHONS, python_class)]
    kinds: Counter[str] = Counter()
    for capability, driver, python, os in product(capabilities, drivers, pythons, SYSTEMS):
        if possible(capability, os):
            question = (capability, driver, python, os, "2.39")
            kinds[check_torch(question) if framework == "torch" else check_other(framework, question)] += 1
    assert min(kinds["cuda"], kinds["cpu"], kinds["conflict"]) > 50, kinds


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "jax"])
def test_an_old_c_library_is_respected(framework: FrameworkName) -> None:
    kinds = Counter(
        check_torch(each) if framework == "torch" else check_other(framework, each)
        for each in sample(200, seed=7)
        if framework != "jax" or each[4] == "2.39"  # which glibc jaxlib needs was not read
    )
    assert kinds["cuda"] and kinds["cpu"] and kinds["conflict"]


def stack_of(framework: FrameworkName, target: Target) -> Stack | str:
    found = resolve(Request(framework=framework), target, FACTS)
    return found.stack if isinstance(found, Plan) else found.summary


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "jax"])
def test_a_class_of_capabilities_or_drivers_gets_one_answer(framework: FrameworkName) -> None:
    random, asked = Random(23), 0
    for first, *others in classes(framework, CAPABILITIES, capability_class):
        for other, driver, os in product(others, random.sample(DRIVERS, 6), SYSTEMS):
            if possible(other, os):
                one, two = (stack_of(framework, machine(each, driver, os, "2.39")) for each in (first, other))
                assert one == two, (first, other, driver, os)
                asked += 1
    for first, *others in classes(framework, DRIVERS, driver_class):
        for other, capability, os in product(others, random.sample(CAPABILITIES, 4), ("linux", "windows")):
            one, two = (stack_of(framework, machine(capability, each, os, "2.39")) for each in (first, other))
            differs = (one, two) if isinstance(one, Stack) else (one.replace(first, ""), str(two).replace(other, ""))
            assert differs[0] == differs[1], (capability, first, other, os)
            asked += 1
    assert asked > 20


def test_every_nvidia_gpu_gets_the_stack_of_its_capability() -> None:
    for row in FACTS.gpus:
        if row.vendor == "nvidia" and row.capability:
            os = "arm" if ARCHITECTURES[row.capability].get("integrated") else "linux"
            for driver in ("470.82.01", "580.65.06"):
                target = machine(row.capability, driver, os, "2.39")
                gpu = TargetGpu(vendor="nvidia", capability=row.capability, name=row.name)
                assert stack_of("torch", replace(target, gpus=(gpu,))) == stack_of("torch", target), row.name


ROCM = {row["tag"]: row["targets"] for row in table("rocm")}
OTHER_GPUS = sorted({(row.vendor, row.target or "") for row in FACTS.gpus if row.vendor != "nvidia"})


def test_every_amd_and_intel_gpu_gets_what_the_facts_allow() -> None:
    kinds: Counter[str] = Counter()
    for (vendor, target), python, os in product(OTHER_GPUS, PYTHONS, SYSTEMS):
        gpu = TargetGpu(vendor=vendor, target=target or None)
        wanted = replace(machine("8.6", "1", os, "2.39"), driver=None, gpus=(gpu,))
        found = resolve(Request(python=python), wanted, FACTS)
        wheels = linux_or_windows(os)[0]
        fit = {
            (version, tag)
            for version, row in TORCH.items()
            for tag in (row["rocm"] if vendor == "amd" else ["xpu"] * bool(row.get("xpu")))
            if python in torch_pythons(version, wheels) and wheels != "arm"
            if vendor == "intel" or (os == "linux" and target in ROCM.get(tag, ()))
        }
        asked = (vendor, target, python, os)
        if isinstance(found, Conflict):
            assert not fit and not torch_on_cpu(python, os, "2.39"), asked
        elif found.stack.variant == "cpu":
            assert not fit, asked
        else:
            assert (found.stack.framework_version, found.stack.variant) in fit, asked
            kinds[vendor] += 1
        assert isinstance(found, Conflict) or found.stack.cuda is None, asked
    assert kinds["amd"] > 80 and kinds["intel"] > 10, kinds


@pytest.mark.parametrize("arch", ["aarch64", "x86_64"])
def test_every_python_of_a_mac_gets_what_the_facts_allow(arch: str) -> None:
    column = "pythons_macos_arm64" if arch == "aarch64" else "pythons_macos_x86_64"
    for python in PYTHONS:
        fit = {version for version, row in TORCH.items() if python in row[column]}
        found = resolve(Request(python=python), Target(os="macos", arch=arch, glibc=None), FACTS)
        if isinstance(found, Conflict):
            assert not fit, python
        else:
            assert found.stack.framework_version in fit and found.stack.cuda is None and found.stack.python == python
            assert found.stack.variant == ("mps" if arch == "aarch64" else "cpu")


def test_an_exact_cuda_is_kept_to_or_its_absence_is_proved() -> None:
    plans = conflicts = 0
    for number, (capability, driver, python, os, glibc) in enumerate(sample(600, seed=11)):
        cuda = ("11.8", "12.1", "12.6", "12.8", "13.0")[number % 5]
        found = resolve(Request(cuda=cuda, python=python), machine(capability, driver, os, glibc), FACTS)
        fit = [
            pair
            for pair, problem in torch_builds(capability, driver, python, os, glibc).items()
            if problem is None and variant_of(*pair)["cuda"] == cuda
        ]
        if isinstance(found, Plan):
            plans += 1
            assert found.stack.cuda == cuda and (found.stack.framework_version, found.stack.variant) in fit
        else:
            conflicts += 1
            assert fit == [] and found.reasons
            for stack in found.alternatives:
                assert published(stack)
    assert plans > 20 and conflicts > 50


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
