"""GPUs of other makers, written down file by file."""

from __future__ import annotations

import pytest

from envdoctor.host import Completed
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.model.snapshot import Gpu
from envdoctor.probes import Place, accelerators


def card(bus_id: str, kind: str, vendor: str, device: str, driver: str | None = None) -> Recording:
    folder = f"/sys/bus/pci/devices/{bus_id}"
    return Recording(
        files={
            f"{folder}/class": f"0x{kind}\n",
            f"{folder}/vendor": f"0x{vendor}\n",
            f"{folder}/device": f"0x{device}\n",
            f"{folder}/power_state": "D0\n",
            f"{folder}/config": "\x02\x10",
        },
        links={f"{folder}/driver": f"../../../bus/pci/drivers/{driver}"} if driver else {},
    )


def node(number: int, **properties: int) -> Recording:
    lines = "".join(f"{name} {value}\n" for name, value in properties.items())
    return Recording(files={f"/sys/class/kfd/kfd/topology/nodes/{number}/properties": lines})


def gpus(*parts: Recording, files: dict[str, str] | None = None, place: Place | None = None) -> tuple[Gpu, ...]:
    machine = Recording(
        files={**{path: text for part in parts for path, text in part.files.items()}, **(files or {})},
        links={path: target for part in parts for path, target in part.links.items()},
    )
    return accelerators.PROBE.read(RecordedHost(machine), place).gpus


PROCESSOR = node(0, cpu_cores_count=16, simd_count=0, gfx_target_version=0, location_id=0)


def test_amd_card_with_its_compute_driver() -> None:
    found = gpus(
        card("0000:03:00.0", "030000", "1002", "744c", "amdgpu"),
        PROCESSOR,
        node(1, cpu_cores_count=0, simd_count=192, gfx_target_version=110000, location_id=0x300, domain=0),
        files={
            "/sys/bus/pci/devices/0000:03:00.0/mem_info_vram_total": "25753026560\n",
            "/sys/bus/pci/devices/0000:03:00.0/mem_info_vram_used": "1000000000\n",
        },
    )
    assert found == (
        Gpu(
            vendor="amd",
            bus_id="0000:03:00.0",
            pci_id="1002:744c",
            bound_driver="amdgpu",
            power_state="D0",
            target="gfx1100",
            memory_bytes=25753026560,
            used_bytes=1000000000,
            free_bytes=24753026560,
        ),
    )


def test_amd_card_without_compute_driver_is_present() -> None:
    (found,) = gpus(card("0000:03:00.0", "030000", "1002", "744c"), PROCESSOR)
    assert (found.vendor, found.bound_driver, found.target, found.memory_bytes) == ("amd", None, None, None)


def test_amd_accelerator_and_graphics_of_a_processor() -> None:
    found = gpus(
        card("0000:0c:00.0", "038000", "1002", "1681", "amdgpu"),
        card("0001:41:00.0", "120000", "1002", "74a1", "amdgpu"),
        node(0, cpu_cores_count=16, simd_count=12, gfx_target_version=100305, location_id=0x0C00),
        node(1, cpu_cores_count=0, simd_count=1216, gfx_target_version=90402, location_id=0x4100, domain=1),
        files={"/sys/bus/pci/devices/0001:41:00.0/product_name": "AMD Instinct MI300X OAM\n"},
    )
    assert [(g.target, g.integrated, g.name) for g in found] == [
        ("gfx1035", True, None),
        ("gfx942", False, "AMD Instinct MI300X OAM"),
    ]


def test_intel_graphics_of_the_processor_and_a_card() -> None:
    found = gpus(
        card("0000:00:02.0", "030000", "8086", "a780", "i915"),
        card("0000:03:00.0", "030000", "8086", "56a0", "xe"),
        card("0000:00:0b.0", "120000", "8086", "7d1d", "intel_vpu"),  # a processor for neural networks, no GPU
    )
    assert [(g.vendor, g.pci_id, g.bound_driver, g.integrated) for g in found] == [
        ("intel", "8086:a780", "i915", True),
        ("intel", "8086:56a0", "xe", False),
    ]


def test_libraries_that_intels_card_needs() -> None:
    arc = card("0000:03:00.0", "030000", "8086", "56a0", "xe")
    driver, by_conda = "/usr/lib/x86_64-linux-gnu/libze_intel_gpu.so.1", "/env/lib/libze_loader.so.1"
    place = Place(
        executable="/env/bin/python",
        prefix="/env",
        base_prefix="/env",
        version="3.12",
        manager="conda",
        selected_by="PATH",
    )
    both = ("libze_loader.so.1", "libze_intel_gpu.so.1")
    assert [each.missing_runtime for each in gpus(arc)] == [both]
    assert [each.missing_runtime for each in gpus(arc, files={driver: "", by_conda: ""})] == [both[:1]]
    assert [each.missing_runtime for each in gpus(arc, files={driver: "", by_conda: ""}, place=place)] == [()]


def test_nvidia_and_virtual_displays_are_not_this_probes() -> None:
    assert gpus(card("0000:01:00.0", "030000", "10de", "2504"), card("0000:00:01.0", "030000", "1af4", "1050")) == ()


def test_machine_without_a_bus() -> None:
    assert gpus() == ()


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (Completed(returncode=0, stdout="Apple M2 Pro\n", stderr=""), "Apple M2 Pro"),
        (Completed(returncode=1, stdout="", stderr="unknown oid"), None),
        (None, None),
    ],
)
def test_apple(answer: Completed | None, name: str | None) -> None:
    question = "/usr/sbin/sysctl -n machdep.cpu.brand_string"
    commands = {question: answer} if answer else {}
    machine = RecordedHost(Recording(system="Darwin", release="24.1.0", machine="arm64", commands=commands))
    assert accelerators.PROBE.read(machine, None).gpus == (Gpu(vendor="apple", name=name, integrated=True),)


def test_mac_with_an_intel_processor() -> None:
    machine = RecordedHost(Recording(system="Darwin", machine="x86_64"))
    assert accelerators.PROBE.read(machine, None).gpus == ()
