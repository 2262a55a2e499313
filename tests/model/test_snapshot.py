"""A snapshot: joined from parts, read by path, and honest about what it does not know."""

from __future__ import annotations

import msgspec
import pytest

from envdoctor.model.snapshot import (
    Cpu,
    Driver,
    Framework,
    Gap,
    Gpu,
    Memory,
    Package,
    Problem,
    PythonEnv,
    Snapshot,
    System,
    Variable,
    Wsl,
    merge,
)

WHOLE = Snapshot(
    system=System(os="linux", wsl=Wsl(version=2, libraries=("libcuda.so.1", "libdxcore.so"))),
    cpu=Cpu(logical=64, affinity=8, quota=2.5, features=()),
    driver=Driver(version="535.183.01", module_loaded=True),
    gpus=(Gpu(vendor="nvidia", name="GTX 1080 Ti", capability="6.1"), Gpu(vendor="amd", name="RX 7900 XTX")),
    pythons=(
        PythonEnv(
            executable="/env/bin/python",
            prefix="/env",
            packages=(Package(name="numpy", version="2.1.0"), Package(name="torch", version="2.7.1+cu118")),
            frameworks=(Framework(name="torch", version="2.7.1+cu118", cuda="11.8"),),
        ),
        PythonEnv(executable="/other/bin/python", prefix="/other"),
    ),
    variables=(Variable(name="CUDA_VISIBLE_DEVICES", value=""), Variable(name="TMPDIR", value="/scratch")),
    gaps=(Gap(probe="cpu", fact="cpu.quota", kind="denied", detail="no permission"),),
    origins={
        "system": "uname",
        "system.wsl": "/proc/sys/kernel/osrelease",
        "driver": "nvml",
        "gpus": "nvml",
        "gpus[1]": "kfd",
        "gpus.capability": "table",
        "pythons": "files",
        "variables": "environment",
    },
)


def test_the_first_part_that_has_a_value_gives_it() -> None:
    joined = merge(
        (
            Snapshot(taken_at="2026-11-24T13:00:00Z", origins={"cpu": "first", "driver": "first"}),
            Snapshot(cpu=Cpu(model="A"), gpus=(Gpu(vendor="nvidia"),), origins={"cpu": "second", "gpus": "second"}),
            Snapshot(cpu=Cpu(model="B"), gpus=(Gpu(vendor="amd"),), problems=(Problem(text="x"),)),
        )
    )
    assert joined == Snapshot(
        taken_at="2026-11-24T13:00:00Z",
        cpu=Cpu(model="A"),
        gpus=(Gpu(vendor="nvidia"), Gpu(vendor="amd")),
        problems=(Problem(text="x"),),
        origins={"cpu": "first", "driver": "first", "gpus": "second"},
    )


def test_joining_nothing_or_one_changes_nothing() -> None:
    assert merge(()) == Snapshot()
    assert merge((WHOLE,)) == WHOLE
    assert merge((Snapshot(), WHOLE)) == WHOLE


@pytest.mark.parametrize(
    ("hidden", "asked", "unknown"),
    [
        ("driver", "driver", True),
        ("driver", "driver.version", True),
        ("driver.version", "driver", True),  # a part of what is asked for is unknown
        ("driver.version", "driver.nvml", False),
        ("driver", "drivers", False),
        ("gpus", "gpus[1].capability", True),
        ("gpus[0].capability", "gpus[1].capability", True),  # the rule may ask for any of them
        ("gpus.capability", "gpus[1].name", False),
        ("cpu.quota", "cpu.quotas", False),
    ],
)
def test_a_gap_covers_what_is_below_and_above_it(hidden: str, asked: str, unknown: bool) -> None:
    gap = Gap(probe="x", fact=hidden, kind="timeout", detail="late")
    assert Snapshot(gaps=(gap,)).gap(asked) == (gap if unknown else None)


def test_the_first_gap_that_covers_is_given() -> None:
    one = Gap(probe="a", fact="cpu.quota", kind="denied", detail="1")
    two = Gap(probe="b", fact="cpu", kind="crashed", detail="2")
    assert Snapshot(gaps=(one, two)).gap("cpu.model") == two
    assert Snapshot(gaps=(one, two)).gap("cpu.quota") == one


@pytest.mark.parametrize(
    ("fact", "value", "source"),
    [
        ("driver.version", "535.183.01", "nvml"),
        ("driver.module_loaded", "yes", "nvml"),
        ("driver.blacklisted", "none", "nvml"),
        ("system.wsl.version", "2", "/proc/sys/kernel/osrelease"),
        ("system.wsl.libraries", "libcuda.so.1, libdxcore.so", "/proc/sys/kernel/osrelease"),
        ("system.wsl.dxg", "no", "/proc/sys/kernel/osrelease"),
        ("system.kernel", "none", "uname"),
        ("gpus[0].name", "GTX 1080 Ti", "nvml"),
        ("gpus[0].capability", "6.1", "table"),
        ("gpus[1].name", "RX 7900 XTX", "kfd"),
        ("pythons[0].packages.torch.version", "2.7.1+cu118", "files"),
        ("python.frameworks.torch.cuda", "11.8", "snapshot"),
        ("variables.TMPDIR", "/scratch", "environment"),
        ("variables.CUDA_VISIBLE_DEVICES", "", "environment"),
        ("cpu.features", "none", "snapshot"),
        ("cpu.quota", "2.5", "snapshot"),
        ("problems", "none", "snapshot"),
    ],
)
def test_evidence_by_path(fact: str, value: str, source: str) -> None:
    (shown,) = WHOLE.evidence(fact)
    assert (shown.fact, shown.value, shown.source) == (fact, value, source)


@pytest.mark.parametrize(
    ("fact", "error"),
    [
        ("driver.colour", AttributeError),
        ("gpus[7].name", IndexError),
        ("memory.total_bytes", AttributeError),
        ("driver.version[0]", AssertionError),
    ],
)
def test_a_path_that_is_not_there_is_a_defect_of_the_rule(fact: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        WHOLE.evidence(fact)


def test_what_is_asked_for_most() -> None:
    assert WHOLE.python is WHOLE.pythons[0]
    assert WHOLE.wsl == Wsl(version=2, libraries=("libcuda.so.1", "libdxcore.so"))
    assert [gpu.name for gpu in WHOLE.nvidia_gpus] == ["GTX 1080 Ti"]
    assert (WHOLE.variable("CUDA_VISIBLE_DEVICES"), WHOLE.variable("CUDA_HOME")) == ("", None)
    python = WHOLE.pythons[0]
    assert python.package("torch") == Package(name="torch", version="2.7.1+cu118")
    assert python.package("tensorflow") is None
    assert python.framework("torch") == Framework(name="torch", version="2.7.1+cu118", cuda="11.8")
    assert python.framework("jax") is None
    assert (Snapshot().python, Snapshot().wsl, Snapshot().nvidia_gpus) == (None, None, ())


def test_what_is_really_granted() -> None:
    assert Cpu(logical=64, affinity=8, quota=2.5).usable == 2.5
    assert Cpu(logical=64).usable == 64.0
    assert Cpu().usable is None
    assert Memory(total_bytes=100, limit_bytes=40).effective_bytes == 40
    assert Memory(total_bytes=100, limit_bytes=400).effective_bytes == 100
    assert Memory(total_bytes=100).effective_bytes == 100


def test_a_snapshot_survives_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(WHOLE), type=Snapshot) == WHOLE


def test_a_record_cannot_be_changed_and_takes_no_unnamed_values() -> None:
    with pytest.raises(AttributeError):
        WHOLE.cpu.logical = 3  # type: ignore[union-attr]
    with pytest.raises(TypeError):
        Cpu("Xeon")
