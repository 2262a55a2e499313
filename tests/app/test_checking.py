"""A preflight answers for each requirement: met, not met, or not to be seen."""

from __future__ import annotations

import sys

import pytest

from envdoctor.app.checking import check
from envdoctor.host import Completed, NvmlAnswer, NvmlGpu, Space
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.model.requirement import Requirements

GIB = 1 << 30
LIBRARY = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"
CARD = NvmlGpu(
    index=0, name="NVIDIA A100", capability="8.0", memory_bytes=40 * GIB, free_bytes=30 * GIB, used_bytes=10 * GIB
)
OLD = NvmlGpu(index=1, name="Tesla T4", capability="7.5", memory_bytes=16 * GIB, free_bytes=15 * GIB, used_bytes=GIB)
PYTHON = "/env/bin/python"


def host(
    *gpus: NvmlGpu, status: int = 0, nvml_error: str | None = None, said: Completed | None = None, **environ: str
) -> RecordedHost:
    answer = NvmlAnswer(status=status, driver="550.54.14", cuda="12.4", count=len(gpus), gpus=gpus)
    cards = {
        f"/sys/bus/pci/devices/0000:0{n}:00.0/{name}": text for n, _ in enumerate(gpus) for name, text in PCI.items()
    }
    recording = Recording(
        environ=environ,
        files={
            "/proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n",
            "/sys/module/nvidia/version": "550.54.14",
            "/env/pyvenv.cfg": "home = /usr/bin\nversion = 3.12.4\n",
            **cards,
        },
        binaries={LIBRARY: b"", "/usr/bin/python3.12": b""},
        links={PYTHON: "/usr/bin/python3.12"},
        executables=(PYTHON, "/usr/bin/python3.12"),
        folders=("/dev/shm", "/scratch", "/env/lib/python3.12/site-packages", "/usr/lib/python3.12"),
        spaces={
            "/dev/shm": Space(total_bytes=GIB, free_bytes=GIB // 2, device=7),
            "/scratch": Space(total_bytes=100 * GIB, free_bytes=60 * GIB, device=8),
        },
        nvml=None if nvml_error else answer,
        nvml_error=nvml_error,
    )
    return Answering(recording, said)


PCI = {"vendor": "0x10de", "device": "0x20b0", "class": "0x030200"}


class Answering(RecordedHost):
    """A machine whose Python answers as it is told to."""

    def __init__(self, recording: Recording, said: Completed | None) -> None:
        super().__init__(recording)
        self.said = said
        self.asked: list[tuple[str, ...]] = []

    def run(self, argv: tuple[str, ...], timeout: float, environ: object = None) -> Completed:
        self.asked.append(argv)
        if self.said is None:
            raise TimeoutError(f"{argv[0]} gave no answer")
        return self.said


def states(machine: RecordedHost, **wanted: object) -> dict[str, str]:
    found = check(machine, Requirements(**wanted), PYTHON if "framework" in wanted else None, 5)  # type: ignore[arg-type]
    return {each.requirement: each.state for each in found}


def test_everything_is_met() -> None:
    wanted = {"gpus": 2, "cuda": "12.4", "driver": "550", "capability": "7.5", "gpu_free_bytes": 15 * GIB}
    found = states(
        host(CARD, OLD), **wanted, ram_bytes=8 * GIB, shm_bytes=GIB // 2, disk_bytes=GIB, disk_path="/scratch"
    )
    assert found == dict.fromkeys(("driver", "cuda", "gpu", "capability", "memory", "ram", "shm", "disk"), "ok")


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ({"gpus": 3}, "gpu"),
        ({"cuda": "12.5"}, "cuda"),
        ({"driver": "550.90"}, "driver"),
        ({"capability": "8.6"}, "capability"),
        ({"gpus": 2, "capability": "8.0"}, "capability"),
        ({"gpu_free_bytes": 31 * GIB}, "memory"),
        ({"capability": "7.5", "gpus": 2, "gpu_free_bytes": 16 * GIB}, "memory"),
        ({"ram_bytes": 9 * GIB}, "ram"),
        ({"shm_bytes": GIB}, "shm"),
        ({"disk_bytes": 61 * GIB, "disk_path": "/scratch"}, "disk"),
        ({"disk_bytes": 1, "disk_path": "/absent"}, "disk"),
    ],
)
def test_one_thing_too_little(wanted: dict[str, object], name: str) -> None:
    assert states(host(CARD, OLD), **wanted)[name] == "not met"


def test_the_same_gpu_must_meet_it_all() -> None:
    """The old card has the free memory, the new one the capability."""
    full = NvmlGpu(
        index=0, name="NVIDIA A100", capability="8.0", memory_bytes=40 * GIB, free_bytes=GIB, used_bytes=39 * GIB
    )
    assert states(host(full, OLD), capability="8.0", gpu_free_bytes=8 * GIB) == {
        "capability": "ok",
        "memory": "not met",
    }


def test_hidden_gpus_are_not_counted() -> None:
    found = check(host(CARD, OLD, CUDA_VISIBLE_DEVICES="1"), Requirements(gpus=2), None, 5)
    assert (found[0].state, found[0].found) == ("not met", "1 can be used, CUDA_VISIBLE_DEVICES hides 1")


def test_nvml_that_hangs_is_unknown() -> None:
    assert states(host(CARD, nvml_error="timeout"), gpus=1, cuda="12", gpu_free_bytes=1) == {
        "gpu": "unknown",
        "cuda": "unknown",
        "memory": "unknown",
    }


def test_a_driver_that_refuses_has_answered() -> None:
    assert states(host(status=18), gpus=1, cuda="12", driver="500") == {
        "gpu": "not met",
        "cuda": "not met",
        "driver": "ok",
    }


def test_no_driver_at_all() -> None:
    bare = RecordedHost(Recording())
    assert states(bare, gpus=1, cuda="12", driver="500") == {"gpu": "not met", "cuda": "not met", "driver": "not met"}
    assert states(bare, gpus=0) == {"gpu": "ok"}


def test_a_gpu_that_does_not_say_its_memory_is_unknown() -> None:
    quiet = NvmlGpu(index=0, name="NVIDIA GeForce", capability="8.6")
    assert states(host(quiet), gpu_free_bytes=GIB)["memory"] == "unknown"


@pytest.mark.parametrize(
    ("said", "wanted", "state"),
    [
        (Completed(returncode=0, stdout='hello\n\n{"version": "2.6.0+cu124", "gpus": 1}\n', stderr=""), {}, "ok"),
        (Completed(returncode=0, stdout='{"version": "2.6.0+cu124", "gpus": 0}', stderr=""), {"gpus": 1}, "not met"),
        (Completed(returncode=0, stdout='{"version": "2.6.0+cu124", "gpus": 0}', stderr=""), {}, "ok"),
        (Completed(returncode=0, stdout='{"version": "2.3.1", "gpus": 1}', stderr=""), {}, "not met"),
        (Completed(returncode=0, stdout='{"version": "odd", "gpus": 1}', stderr=""), {}, "not met"),
        (Completed(returncode=0, stdout="", stderr=""), {}, "not met"),
        (Completed(returncode=-11, stdout="", stderr=""), {}, "not met"),
        (None, {}, "unknown"),
    ],
)
def test_the_framework(said: Completed | None, wanted: dict[str, object], state: str) -> None:
    machine = host(CARD, said=said)
    assert states(machine, framework="torch", framework_versions=">=2.4", **wanted)["framework"] == state


def test_only_what_is_asked_for_is_looked_at() -> None:
    class Watched(RecordedHost):
        nvml_asked = False

        def nvml(self, timeout: float) -> NvmlAnswer:
            self.nvml_asked = True
            return super().nvml(timeout)

    machine = Watched(host(CARD).recording)
    assert states(machine, ram_bytes=1) == {"ram": "ok"}
    assert not machine.nvml_asked


def test_an_interpreter_of_this_machine_is_really_asked() -> None:
    from envdoctor.host.local import LocalHost
    from envdoctor.verify import sight

    seen = sight.ask(LocalHost(), sys.executable, "jax", 60)
    assert seen.failed is not None
    assert "No module named 'jax'" in seen.failed
