"""Graphics cards and accelerators on the PCI bus, as sysfs shows them; nothing here wakes a sleeping card."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.host import Host, names, text
from envdoctor.model import Record

BUS = "/sys/bus/pci/devices"

NVIDIA, AMD, INTEL = "10de", "1002", "8086"

DISPLAY, ACCELERATOR = "03", "12"  # base classes: display controllers, and processing accelerators such as MI300


class Device(Record):
    """A device on the bus."""

    bus_id: str  # 0000:01:00.0
    kind: str  # base class
    vendor: str  # 10de
    device: str  # 2504
    driver: str | None  # kernel driver that holds it
    power_state: str | None  # D0, D3cold; None: the kernel does not say
    numa_node: int | None  # None: the firmware does not say
    gone: bool  # powered, yet every read gives ones: it has fallen off the bus

    @property
    def pci_id(self) -> str:
        """Give vendor and device as lspci -n does."""
        return f"{self.vendor}:{self.device}"


def devices(host: Host, *vendors: str, kinds: tuple[str, ...] = (DISPLAY,)) -> tuple[Device, ...]:
    """Give the cards of these vendors, in the order of the bus."""
    return tuple(_devices(host, vendors, kinds))


def _devices(host: Host, vendors: tuple[str, ...], kinds: tuple[str, ...]) -> Iterator[Device]:
    for bus_id in names(host, BUS):
        folder = f"{BUS}/{bus_id}"
        kind = _hex(host, f"{folder}/class")[:2]
        if kind not in kinds:
            continue
        vendor = _hex(host, f"{folder}/vendor")
        if vendor not in vendors:
            continue
        power = text(host, f"{folder}/power_state", 64)
        driver = host.realpath(f"{folder}/driver").rpartition("/")[2]
        yield Device(
            bus_id=bus_id.lower(),
            kind=kind,
            vendor=vendor,
            device=_hex(host, f"{folder}/device"),
            driver=None if driver == "driver" else driver,  # no link: nothing holds it
            power_state=power,
            numa_node=_node(host, folder),
            gone=power == "D0" and _reads_ones(host, folder),
        )


def _node(host: Host, folder: str) -> int | None:
    number = text(host, f"{folder}/numa_node", 64) or ""
    return int(number) if number.isdigit() else None  # -1: not known


def _reads_ones(host: Host, folder: str) -> bool:
    # Only asked of a card that is awake: one that sleeps reads all ones as well, and is well.
    try:
        return host.read(f"{folder}/config", 4) == b"\xff\xff\xff\xff"
    except OSError:
        return False


def _hex(host: Host, path: str) -> str:
    """Read one of sysfs's numbers: "0x10de" is "10de"; empty where the device has just gone."""
    return (text(host, path, 64) or "").removeprefix("0x")
