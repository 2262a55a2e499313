"""Real calls of nvidia-ml-py into a real shared library that plays a driver, and what the probe makes of them."""

from __future__ import annotations

import gc
import os
import signal
import time
from pathlib import Path

import pytest

from envdoctor.host import NvmlAnswer, nvml
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.model.snapshot import GpuHealth, GpuProcess, Mig, Snapshot
from envdoctor.probes import nvidia
from native.conftest import FakeNvml

pytestmark = pytest.mark.compiler

MIB = 1 << 20
PLENTY = 30.0  # seconds; a call that answers does so in a fraction of one

RTX_3060 = """
driver 535.183.01
cuda 12020
gpu
    name NVIDIA GeForce RTX 3060
    uuid GPU-11111111-2222-3333-4444-555555555555
    capability 8.6
    memory 12288 500 200
    bus 0000:01:00.0
    pci 10de:2504
    minor 0
    display 1
    process 4711 400
    process 4712 -1
"""

MIXED = """
driver 550.54.14
cuda 12040
gpu
    name NVIDIA GeForce RTX 4090
    capability 8.9
    memory 24564 1000 300
    bus 0000:41:00.0
    pci 10de:2684
    minor 1
gpu
    name NVIDIA GeForce GTX 1080 Ti
    capability 6.1
    memory 11264 11 100
    bus 0000:01:00.0
    pci 10de:1b06
    minor 0
    {fault}
"""


class MachineWithFakeNvml(RecordedHost):
    """A recorded machine whose NVML is really asked."""

    def __init__(self, recording: Recording, environ: dict[str, str], patience: float) -> None:
        super().__init__(recording)
        self._environ = environ
        self.patience = patience

    def nvml(self, timeout: float) -> NvmlAnswer:
        return nvml.ask(self._environ, timeout)


def probe(environ: dict[str, str], *cards: str, patience: float = PLENTY) -> Snapshot:
    """Probe a workstation with these cards on its bus: "0000:01:00.0 2504" is place and model."""
    library = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"
    files = {
        library: "",
        f"{library[:-2]}.535.183.01": "",
        "/sys/module/nvidia/version": "535.183.01\n",
        "/sys/module/nvidia/taint": "OE\n",
    }
    links = {library: "libnvidia-ml.so.535.183.01"}
    for number, card in enumerate(cards):
        place, model = card.split()
        folder = f"/sys/bus/pci/devices/{place}"
        files |= {
            f"{folder}/class": "0x030000\n",
            f"{folder}/vendor": "0x10de\n",
            f"{folder}/device": f"0x{model}\n",
            f"{folder}/power_state": "D0\n",
            f"{folder}/config": "\x10\x20\x04\x25",
            f"/proc/driver/nvidia/gpus/{place}/information": f"Device Minor: \t {number}\n",
        }
        links[f"{folder}/driver"] = "/sys/bus/pci/drivers/nvidia"
    nodes = ("/dev/nvidiactl", *(f"/dev/nvidia{number}" for number in range(len(cards))))
    machine = Recording(release="6.1.0", files=files, links=links, devices=nodes)
    return nvidia.PROBE.read(MachineWithFakeNvml(machine, environ, patience), None)


def test_one_card_is_described_in_full(fake_nvml: FakeNvml) -> None:
    answer = nvml.ask(fake_nvml(RTX_3060), PLENTY)

    assert (answer.status, answer.driver, answer.cuda, answer.incomplete) == (0, "535.183.01", "12.2", None)
    (card,) = answer.gpus
    assert (card.name, card.capability, card.minor, card.display_active) == ("NVIDIA GeForce RTX 3060", "8.6", 0, True)
    assert (card.bus_id, card.pci_id) == ("0000:01:00.0", "10de:2504")
    assert card.uuid == "GPU-11111111-2222-3333-4444-555555555555"
    assert (card.memory_bytes, card.used_bytes, card.reserved_bytes) == (12288 * MIB, 500 * MIB, 200 * MIB)
    assert card.free_bytes == (12288 - 700) * MIB
    assert card.processes == ((4711, 400 * MIB), (4712, None))
    assert card.mig_enabled is None
    assert answer.missing == ()


def test_the_state_of_a_card_is_asked(fake_nvml: FakeNvml) -> None:
    state = """
    compute_mode 3
    persistence 0
    ecc 2 5
    pages 0
    rows 1 0
    reasons 64
    temperature 91
    power 100000 170000
    link 8 16
    recovery 1
    fabric 3
    """
    (card,) = nvml.ask(fake_nvml(RTX_3060 + state), PLENTY).gpus

    assert card.health == GpuHealth(
        compute_mode="exclusive-process",
        persistence=False,
        ecc_uncorrected=2,
        ecc_uncorrected_ever=5,
        pages_pending=False,
        remap_pending=True,
        remap_failed=False,
        held_back=64,
        temperature=91,
        power_limit_watts=100.0,
        power_default_watts=170.0,
        link_width=8,
        link_width_max=16,
        recovery=1,
        fabric=3,
    )


def test_a_laptop_tells_nothing_of_its_state(fake_nvml: FakeNvml) -> None:
    (card,) = nvml.ask(fake_nvml(RTX_3060), PLENTY).gpus
    assert card.health == GpuHealth()


def test_card_on_bus_and_in_nvml_is_one_card(fake_nvml: FakeNvml) -> None:
    machine = probe(fake_nvml(RTX_3060), "0000:01:00.0 2504")

    assert machine.gaps == ()
    (card,) = machine.gpus
    assert (card.bound_driver, card.power_state, card.capability) == ("nvidia", "D0", "8.6")
    assert card.processes == (GpuProcess(pid=4711, memory_bytes=400 * MIB), GpuProcess(pid=4712))
    assert machine.driver
    assert (machine.driver.version, machine.driver.nvml, machine.driver.cuda) == ("535.183.01", 0, "12.2")
    assert machine.driver.nvml_path == "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.535.183.01"
    assert machine.evidence("gpus[0].capability")[0].source == "NVML"
    assert machine.evidence("driver.version")[0].source == "/sys/module/nvidia/version"


def test_old_and_new_card_keep_nvml_order(fake_nvml: FakeNvml) -> None:
    machine = probe(fake_nvml(MIXED.format(fault="")), "0000:01:00.0 1b06", "0000:41:00.0 2684")

    assert [(g.index, g.name, g.capability, g.bus_id) for g in machine.gpus] == [
        (0, "NVIDIA GeForce RTX 4090", "8.9", "0000:41:00.0"),
        (1, "NVIDIA GeForce GTX 1080 Ti", "6.1", "0000:01:00.0"),
    ]
    assert machine.gaps == ()


def test_mismatched_library_is_a_fact_and_leaves_the_card(fake_nvml: FakeNvml) -> None:
    machine = probe(fake_nvml("init 18"), "0000:01:00.0 2504")

    assert machine.driver
    assert (machine.driver.nvml, machine.driver.cuda, machine.driver.version) == (18, None, "535.183.01")
    assert [(g.pci_id, g.bound_driver, g.capability) for g in machine.gpus] == [("10de:2504", "nvidia", None)]
    gap = machine.gap("gpus.capability")
    assert gap
    assert (gap.kind, gap.detail) == (
        "not-reported",
        "NVML answers 18: library and kernel module are different releases",
    )
    assert machine.gap("driver.nvml") is None


@pytest.mark.parametrize("code", [4, 9, 15, 999])
def test_return_codes_of_init_are_facts(fake_nvml: FakeNvml, code: int) -> None:
    assert nvml.ask(fake_nvml(f"init {code}"), PLENTY).status == code


def test_count_that_fails_counts_as_failed_init(fake_nvml: FakeNvml) -> None:
    answer = nvml.ask(fake_nvml(RTX_3060.replace("\ngpu", "\nfail nvmlDeviceGetCount_v2 999\ngpu", 1)), PLENTY)

    assert (answer.status, answer.driver, answer.gpus) == (999, "535.183.01", ())


@pytest.mark.parametrize("fault", ["fail * 15", "fail nvmlDeviceGetHandleByIndex_v2 15"])
def test_lost_card_does_not_hide_the_other(fake_nvml: FakeNvml, fault: str) -> None:
    machine = probe(fake_nvml(MIXED.format(fault=fault)), "0000:01:00.0 1b06", "0000:41:00.0 2684")

    assert [(g.lost, g.nvml_error, g.capability) for g in machine.nvidia_gpus if g.pci_id == "10de:2684"] == [
        (False, None, "8.9")
    ]
    lost = next(g for g in machine.gpus if g.nvml_error == 15)
    assert (lost.lost, lost.capability, lost.index) == (True, None, 1)


def test_card_lost_midway_keeps_what_it_said(fake_nvml: FakeNvml) -> None:
    machine = probe(
        fake_nvml(MIXED.format(fault="fail nvmlDeviceGetMemoryInfo_v2 15")), "0000:01:00.0 1b06", "0000:41:00.0 2684"
    )

    assert [(g.bus_id, g.capability, g.lost, g.memory_bytes) for g in machine.gpus if g.lost] == [
        ("0000:01:00.0", "6.1", True, None)
    ]


def test_call_that_never_returns_leaves_driver_and_earlier_cards(fake_nvml: FakeNvml) -> None:
    environ = fake_nvml(MIXED.format(fault="fail nvmlDeviceGetName hang"))
    started = time.monotonic()
    machine = probe(environ, "0000:01:00.0 1b06", "0000:41:00.0 2684", patience=4.0)

    assert time.monotonic() - started < PLENTY  # it would never end
    assert machine.driver
    assert (machine.driver.nvml, machine.driver.cuda) == (0, "12.4")
    assert [(g.bus_id, g.capability) for g in machine.gpus] == [("0000:41:00.0", "8.9"), ("0000:01:00.0", None)]
    assert "gpus" not in {gap.fact for gap in machine.gaps}  # the bus shows them all
    gap = machine.gap("gpus.capability")
    assert gap
    assert (gap.kind, gap.detail) == ("timeout", "libnvidia-ml.so.1: no answer within 4 s")


def test_card_that_only_nvml_counts_is_a_gap(fake_nvml: FakeNvml) -> None:
    machine = probe(fake_nvml(MIXED.format(fault="fail nvmlDeviceGetName hang")), patience=4.0)

    assert [g.capability for g in machine.gpus] == ["8.9"]
    assert ("gpus", "timeout") in {(gap.fact, gap.kind) for gap in machine.gaps}


def test_init_that_never_returns_is_a_timeout_and_ends_its_process(fake_nvml: FakeNvml) -> None:
    environ = fake_nvml("fail nvmlInitWithFlags hang")
    with pytest.raises(TimeoutError, match=r"no answer within 2 s"):
        nvml.ask(environ, 2.0)
    assert _running(environ["FAKE_NVML"]) == []

    machine = probe(environ, "0000:01:00.0 2504", patience=2.0)
    assert {gap.kind for gap in machine.gaps} == {"timeout"}
    assert {"driver.nvml", "driver.cuda", "gpus.capability", "gpus.memory_bytes"} <= {g.fact for g in machine.gaps}
    assert [g.pci_id for g in machine.gpus] == ["10de:2504"]


def _running(script: str) -> list[str]:
    """List the processes that were started for this script of the fake library."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            environ, state = Path(f"/proc/{pid}/environ").read_bytes(), Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        if f"FAKE_NVML={script}".encode() in environ and state.rpartition(")")[2].split()[0] != "Z":
            found.append(pid)
    return found


def test_process_that_cannot_be_ended_is_left_behind(fake_nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that waits in the kernel survives SIGKILL for now; neither we nor Python's warnings wait for it."""
    environ = fake_nvml("fail nvmlInitWithFlags hang")
    with monkeypatch.context() as kernel:
        kernel.setattr(os, "killpg", lambda *_: None)
        with pytest.raises(TimeoutError):
            nvml.ask(environ, 2.0)
    (left,) = _running(environ["FAKE_NVML"])
    gc.collect()  # a ResourceWarning would be an error

    os.kill(int(left), signal.SIGKILL)
    os.waitpid(int(left), 0)


def test_crash_names_the_signal(fake_nvml: FakeNvml) -> None:
    with pytest.raises(ChildProcessError, match=r"^libnvidia-ml ended the process with SIGSEGV$"):
        nvml.ask(fake_nvml("fail nvmlInitWithFlags crash"), PLENTY)


def test_crash_midway_keeps_the_earlier_cards(fake_nvml: FakeNvml) -> None:
    environ = fake_nvml(MIXED.format(fault="fail nvmlDeviceGetName crash"))
    machine = probe(environ, "0000:01:00.0 1b06", "0000:41:00.0 2684")

    assert [g.capability for g in machine.gpus] == ["8.9", None]
    gap = machine.gap("gpus.capability")
    assert gap
    assert (gap.kind, gap.detail) == (
        "crashed",
        f"libnvidia-ml.so.1: libnvidia-ml ended the process with {signal.SIGSEGV.name}",
    )


def test_old_driver_is_read_through_its_older_calls(fake_nvml: FakeNvml) -> None:
    answer = nvml.ask(fake_nvml(RTX_3060.replace("535.183.01", "418.67").replace("12020", "10010"), old=True), PLENTY)

    assert (answer.status, answer.driver, answer.cuda, answer.incomplete) == (0, "418.67", "10.1", None)
    (card,) = answer.gpus
    assert (card.used_bytes, card.reserved_bytes) == (700 * MIB, None)  # it counts the driver's part as used
    assert card.free_bytes == (12288 - 700) * MIB
    assert card.processes == ((4711, 400 * MIB), (4712, None))
    assert card.mig_enabled is None
    assert set(answer.missing) == {
        "nvmlSystemGetCudaDriverVersion_v2",
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetMigMode",
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetRemappedRows",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetGpuFabricInfo",
    }


def test_what_a_laptop_does_not_support_is_none_and_no_gap(fake_nvml: FakeNvml) -> None:
    script = "driver 581.29\ncuda 13000\ngpu\nname NVIDIA GeForce RTX 4060 Laptop GPU\ncapability 8.9\nbus 0000:01:00.0"
    machine = probe(fake_nvml(script), "0000:01:00.0 28a0")

    (card,) = machine.gpus
    assert (card.memory_bytes, card.used_bytes, card.display_active, card.mig) == (None, None, None, None)
    assert card.processes == ()
    assert machine.gaps == ()


def test_mig_instances_are_counted(fake_nvml: FakeNvml) -> None:
    script = "gpu\nname NVIDIA A100-SXM4-80GB\ncapability 8.0\nbus 0000:01:00.0\n"
    machine = probe(fake_nvml(f"{script}mig 1 1 2"), "0000:01:00.0 20b2")
    assert machine.gpus[0].mig == Mig(enabled=True, pending=True, instances=2)

    machine = probe(fake_nvml(f"{script}mig 1 0 0"), "0000:01:00.0 20b2")
    assert machine.gpus[0].mig == Mig(enabled=True, pending=False, instances=0)

    hidden = f"{script}mig 1 1 2\nfail nvmlDeviceGetMigDeviceHandleByIndex 4"
    machine = probe(fake_nvml(hidden), "0000:01:00.0 20b2")
    assert machine.gpus[0].mig == Mig(enabled=True, pending=True, instances=None)


def test_cards_of_other_containers_are_left_out(fake_nvml: FakeNvml) -> None:
    cards = ("0000:01:00.0 2504", "0000:02:00.0 2504")
    machine = probe(fake_nvml(RTX_3060), *cards)
    assert [g.bus_id for g in machine.gpus] == ["0000:01:00.0", "0000:02:00.0"]  # its device file is here: it is ours

    environ = fake_nvml(RTX_3060)
    host = MachineWithFakeNvml(_without_second_device(cards), environ, PLENTY)
    assert [g.bus_id for g in nvidia.PROBE.read(host, None).gpus] == ["0000:01:00.0"]


def _without_second_device(cards: tuple[str, ...]) -> Recording:
    files = {"/usr/lib/libnvidia-ml.so.1": ""}
    links = {}
    for card in cards:
        folder = f"/sys/bus/pci/devices/{card.split()[0]}"
        files |= {f"{folder}/class": "0x030000", f"{folder}/vendor": "0x10de", f"{folder}/device": "0x2504"}
        links[f"{folder}/driver"] = "/sys/bus/pci/drivers/nvidia"
    return Recording(files=files, links=links, devices=("/dev/nvidiactl", "/dev/nvidia0"))
