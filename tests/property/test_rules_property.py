"""No machine makes a rule raise, every finding says how it is known, and the same machine is judged the same."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from envdoctor.knowledge.load import Knowledge
from envdoctor.model import Record
from envdoctor.model.finding import SEVERITIES
from envdoctor.model.snapshot import (
    Cpu,
    Disk,
    Driver,
    Framework,
    Gap,
    Gpu,
    Library,
    Memory,
    Package,
    PythonEnv,
    Snapshot,
    System,
    Toolkit,
    Variable,
)
from envdoctor.rules import registry

FACTS = Knowledge()

ODD = [
    "",
    " ",
    "nightly",
    "unknown",
    "N/A",
    "2.9.0a0+gitabc",
    "2.6.0a0+df5bbc09d1.nv24.12",
    "v",
    "+cu128",
    "1e9",
    "７.0",
]
VERSIONS = [
    *ODD,
    "2.8.0+cu128",
    "2.2.2",
    "2.11.0",
    "2.13.0+cpu",
    "2.14.1+cu130",
    "2.9.0.dev20250901+cu128",
    "0.23.0",
    "0.21.0+cu118",
    "1.26.4",
    "2.1.3",
    "9.10.2.21",
    "13.0.96",
    "12",
    "3.12.4",
    "3.7",
    "3.16.0rc1",
    "2.35",
    "2.17",
    "570.124.06",
    "451.48",
    "580.65.06",
    "999.9",
    "12.8",
    "13.0",
]
# What a field usually holds; of others any short text, and any path.
WORDS: dict[str, list[str]] = {
    "capability": [*ODD, "8.6", "6.1", "3.7", "12.0", "7", "8.6.1", "-1.0", "9.0a", "99.9"],
    "archs": ["sm_86", "sm_90a", "sm_120", "compute_90", "sm_", "sm_x", "gfx1100", "", "sm_5", "sm_500"],
    "requires": [
        "torch==2.8.0",
        "torch>=2.14.0",
        "numpy<2",
        "numpy>=1.26; python_version < '3.9'",
        'nvidia-cudnn-cu12==9.10.2.21; platform_system == "Linux"',
        "cuda-toolkit[cublas]==13.0.3",
        "nvidia-nccl-cu13",
        "torch @ file:///tmp/x.whl",
        "torch (==2.8.0)",
        "torch ===x",
        'numpy<2; extra == "x"',
        "(",
        "",
    ],
    "found_by": ["PATH", "CUDA_HOME", "CUDA_PATH", "/usr/local/cuda", "pip", "conda"],
    "purposes": ["environment", "cache", "temporary", "home"],
    "shadows": ["/a/libcudnn.so.9", "/b/libcudnn.so.9", ""],
    "path": ["/a/libcudnn.so.9", "/b/libcudnn.so.9", "/", "", "/home/me", "x"],
    "machine": ["x86_64", "aarch64", "arm64", "AMD64", ""],
    "installer": ["pip", "uv", "conda", ""],
    "build": ["py312_0", ""],
    "location": ["/e/lib/python3.12/site-packages", "/e/lib/python3.12/site-packages/x.dist-info", "/usr/lib/x", ""],
    "prefix": ["/e", "/e/", "/usr", ""],
    "bound_driver": ["nvidia", "nouveau", "vfio-pci"],
    "detail": ["may not be read"],
    "value": ["", "0", "-1", "0,1", "GPU-1", "/usr/local/cuda/lib64:/x", "all"],
}
PACKAGES = "torch pytorch torchvision torchaudio numpy pip flash-attn tensorflow nvidia-cudnn-cu12 nvidia-cudnn-cu13"
PACKAGES += " nvidia-cublas nvidia-cuda-runtime cuda-toolkit a.b"
NAMES: dict[type[Record], list[str]] = {
    Package: [*PACKAGES.split(), "", "x y"],
    Gpu: ["NVIDIA GeForce RTX 3060", "Tesla K80", "NVIDIA GB10", "AMD Radeon RX 7900 XTX", "Intel UHD", "", "?"],
}
FACTS_OF_GAPS = [
    "driver",
    "gpus",
    "gpus.capability",
    "pythons",
    "pythons[0].packages",
    "memory.swap_bytes",
    "system",
    "x",
]
VARIABLES = ["CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "CUDA_FORCE_PTX_JIT", "CUDA_HOME", "PATH"]
SIZES = [0, 1, -1, 3, 64, 64 << 20, 3 * 10**9, 7 * 10**9, 12 << 30, 64 << 30, 1 << 50]


def record(kind: type[Record]) -> st.SearchStrategy[Any]:
    """Make records of a type from its own declaration, so that a new field is tried without a word here."""
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{name: value(kind, name, hints[name]) for name in kind.__struct_fields__})


def value(kind: type[Record], name: str, hint: Any) -> st.SearchStrategy[Any]:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return st.one_of([value(kind, name, each) for each in inside])
    if origin is typing.Literal:
        return st.sampled_from(inside)
    if origin is tuple:
        return st.lists(value(kind, name, inside[0]), max_size=4).map(tuple)
    if origin is dict:
        return st.just({})
    if hint is type(None):
        return st.none()
    if hint is bool:
        return st.booleans()
    if hint in (int, float):
        return st.sampled_from(SIZES) if hint is int else st.sampled_from([0.0, 0.5, 4.0])
    if hint is str:
        return st.sampled_from(words(kind, name))
    return record(hint)


def words(kind: type[Record], name: str) -> list[str]:
    if kind is Gap and name == "fact":
        return FACTS_OF_GAPS
    if name == "name" and kind.__name__ == "Variable":
        return VARIABLES
    if name == "name" and kind in NAMES:
        return NAMES[kind]
    return WORDS.get(name, WORDS["prefix"] if name.endswith("prefix") else VERSIONS)


# The parts are drawn each by itself: one strategy for the whole tree is too large to draw from.
random_machines = st.builds(
    Snapshot,
    **{
        name: value(Snapshot, name, hint)
        for name, hint in typing.get_type_hints(Snapshot).items()
        if name not in ("schema_version", "origins", "pythons", "gaps")
    },
    pythons=st.lists(record(PythonEnv), max_size=1).map(tuple),
    gaps=st.lists(record(Gap), max_size=1).map(tuple),
)


def crowded(kind: Literal["cpu", "plain", "mixed"]) -> Snapshot:
    """Give a machine near to many findings at once, so that a few changed facts set rules off."""
    version, cuda = {"cpu": ("2.2.2+cpu", None), "plain": ("2.11.0", "13.0"), "mixed": ("2.6.0+cu124", "12.4")}[kind]
    site, meta = "/e/lib/python3.12/site-packages", "/e/conda-meta"
    listed = [("torchvision", "0.20.1+cu121"), ("torchaudio", "2.11.0"), ("numpy", "1.26.4"), ("numpy", "2.1.3")]
    listed += [("nvidia-cudnn-cu12", "9.13.0.50"), ("nvidia-cudnn-cu13", "9.24.0.43"), ("flash-attn", "2.8.3")]
    asked = ("nvidia-cudnn-cu12==9.10.2.21", 'nvidia-nccl-cu12==2.27.3; platform_system == "Linux"')
    packages = [Package(name="torch", version=version, installer="pip", location=site, requires=asked)]
    packages += [Package(name=n, version=v, installer="pip", location=site) for n, v in listed]
    packages += [Package(name="pytorch", version="2.5.1", installer="conda", location=meta, build="cuda126_0")]
    return Snapshot(
        system=System(
            os="linux",
            distribution="ubuntu",
            distribution_version="22.04",
            kernel="6.8.0",
            machine="x86_64",
            libc="glibc",
            libc_version="2.17",
            virtual=False,
        ),
        cpu=Cpu(model="x", logical=8, features=("sse4_2",)),
        memory=Memory(total_bytes=8 << 30, available_bytes=1 << 30, swap_bytes=0, shm_bytes=64 << 20),
        disks=(Disk(path="/e", purposes=("environment", "cache"), free_bytes=3 * 10**9, kind="hdd"),),
        driver=Driver(version="450.80.02", module_loaded=True, device_nodes=("/dev/nvidiactl", "/dev/nvidia0"), nvml=0),
        gpus=(
            Gpu(vendor="nvidia", index=0, name="NVIDIA GeForce RTX 3060", capability="8.6", memory_bytes=12 << 30),
            Gpu(vendor="nvidia", index=1, name="NVIDIA GeForce GTX 1080 Ti", capability="6.1", memory_bytes=11 << 30),
        ),
        toolkits=(
            Toolkit(path="/usr/local/cuda-11.8", version="11.8", nvcc="/a/nvcc", found_by=("PATH",)),
            Toolkit(path="/usr/local/cuda-12.4", version="12.4", found_by=("CUDA_HOME", "/usr/local/cuda")),
        ),
        libraries=(
            Library(name="cudnn", path="/b/libcudnn.so.9", version="9.10.2"),
            Library(name="cudnn", path="/a/libcudnn.so.9", version="9.1.0", shadows="/b/libcudnn.so.9"),
        ),
        pythons=(
            PythonEnv(
                executable="/e/bin/python",
                prefix="/e",
                version="3.12.4",
                bits=64,
                manager="conda",
                selected_by="CONDA_PREFIX",
                pip_prefix="/usr",
                packages=tuple(packages),
                frameworks=(Framework(name="torch", version=version, cuda=cuda, gpu_build=cuda is not None),),
            ),
        ),
        variables=(Variable(name="LD_LIBRARY_PATH", value="/a"), Variable(name="CUDA_VISIBLE_DEVICES", value="0")),
    )


@st.composite
def changed_machines(draw: st.DrawFn) -> Snapshot:
    """Change a few facts of a crowded machine, anywhere in it."""
    machine = crowded(draw(st.sampled_from(["cpu", "plain", "mixed"])))
    for _ in range(draw(st.integers(min_value=0, max_value=6))):
        machine = one_change(draw, machine)
    return machine


def one_change(draw: st.DrawFn, held: Any) -> Any:
    names = [name for name in held.__struct_fields__ if name not in ("schema_version", "origins")]
    name = draw(st.sampled_from(names))
    old = getattr(held, name)
    if isinstance(old, Record):
        return replace(held, **{name: one_change(draw, old)})
    if isinstance(old, tuple) and old and isinstance(old[0], Record) and draw(st.booleans()):
        at = draw(st.integers(min_value=0, max_value=len(old) - 1))
        return replace(held, **{name: (*old[:at], one_change(draw, old[at]), *old[at + 1 :])})
    hint = typing.get_type_hints(type(held))[name]
    return replace(held, **{name: draw(value(type(held), name, hint))})


machines = st.one_of(random_machines, changed_machines())
slow = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@slow
@given(machines)
def test_no_machine_makes_a_rule_raise(machine: Snapshot) -> None:
    diagnosis = registry.evaluate(machine, FACTS)
    for finding in diagnosis.findings:
        assert finding.evidence, finding.id
        told = any(each.fact.startswith("problems[") for each in finding.evidence)
        assert finding.severity != "error" or finding.certainty == "certain" or told, finding.id
        assert finding.title
        assert "\n" not in finding.title
        for fix in finding.fixes:
            assert fix.summary
            for command in fix.commands:
                # A word is never shell text: nothing in it is read as a pipe or a second command.
                assert command
                assert not {"|", ">", "&&", ";", ">>", "<"} & set(command), finding.id
    assert {each.id for each in diagnosis.findings}.isdisjoint(each.id for each in diagnosis.not_checked)


@slow
@given(machines)
def test_the_same_machine_is_judged_the_same(machine: Snapshot) -> None:
    first, second = registry.evaluate(machine, FACTS), registry.evaluate(machine, Knowledge())
    assert first == second
    order = [SEVERITIES.index(finding.severity) for finding in first.findings]
    assert order == sorted(order)


@given(st.sampled_from(SIZES[3:]), st.sampled_from(SIZES[3:]), st.sampled_from(SIZES[3:]))
def test_more_memory_never_adds_a_finding(gpu_bytes: int, memory_bytes: int, more: int) -> None:
    def found(total: int) -> list[str]:
        machine = Snapshot(
            gpus=(Gpu(vendor="nvidia", name="A", memory_bytes=gpu_bytes),), memory=Memory(total_bytes=total)
        )
        return [each.severity for each in registry.evaluate(machine, FACTS).findings if each.id == "MEM001"]

    rank = {(): 0, ("note",): 1, ("warning",): 2}
    assert rank[tuple(found(memory_bytes + more))] <= rank[tuple(found(memory_bytes))]


@given(st.integers(min_value=0, max_value=20 * 10**9), st.integers(min_value=0, max_value=20 * 10**9))
def test_more_room_never_adds_a_finding(free: int, more: int) -> None:
    disk = Disk(path="/e", purposes=("environment", "cache"), free_bytes=free)
    python = PythonEnv(executable="/e/bin/python", prefix="/e")
    machine = Snapshot(gpus=(Gpu(vendor="nvidia", name="A"),), disks=(disk,), pythons=(python,))

    def severities(one: Snapshot) -> list[int]:
        found = [each for each in registry.evaluate(one, FACTS).findings if each.id == "DISK001"]
        return [3 - SEVERITIES.index(each.severity) for each in found] or [0]

    roomier = replace(machine, disks=(replace(disk, free_bytes=free + more),))
    assert severities(roomier) <= severities(machine)


def test_a_machine_of_which_nothing_is_known_has_no_finding() -> None:
    facts = ["system", "cpu", "memory", "disks", "driver", "gpus", "toolkits", "libraries", "pythons", "variables"]
    facts += ["devices", "compilers", "docker", "pip", "network"]
    gaps = tuple(Gap(probe="test", fact=fact, kind="denied", detail="may not be read") for fact in facts)
    diagnosis = registry.evaluate(Snapshot(gaps=gaps), FACTS)
    assert diagnosis.findings == ()
    # Nothing was pasted, no file of a project was handed in, and no workload was asked about: none has to be judged.
    rooms = (".messages.", ".files.", ".fit")
    unasked = {each.id for each in registry.rules() if any(room in each.judge.__module__ for room in rooms)}
    assert {each.id for each in diagnosis.not_checked} == {each.id for each in registry.rules()} - unasked
