"""GPUs of other makers: AMD through its compute driver's topology, Intel from the bus, Apple from the system."""

from __future__ import annotations

from envdoctor.host import Host, loader, names, text
from envdoctor.model.snapshot import Gpu, Snapshot
from envdoctor.probes import Place, Probe, device_files, pci

_KFD = "/dev/kfd"
_TOPOLOGY = "/sys/class/kfd/kfd/topology/nodes"
# What Intel's compute runtime is reached by: its loader, and the half that knows the GPU.
_LEVEL_ZERO = ("libze_loader.so.1", "libze_intel_gpu.so.1")
_INTEL_INTEGRATED = "0000:00:02.0"  # where Intel's processors have had their graphics since 2004


def _read(host: Host, place: Place | None) -> Snapshot:
    system, _, machine = host.uname()
    if system == "Darwin":
        return Snapshot(gpus=_apple(host) if machine == "arm64" else (), origins={"gpus": "sysctl"})
    gpus = (*_amd(host), *_intel(host, place))
    wanted = [f"/dev/dri/{name}" for name in names(host, "/dev/dri") if name.startswith("renderD")]
    wanted += [f"/dev/infiniband/{name}" for name in names(host, "/dev/infiniband") if name.startswith("uverbs")]
    if host.kind(_KFD) is not None:
        wanted.insert(0, _KFD)
    files = device_files.describe(host, wanted) if wanted else ()
    return Snapshot(gpus=gpus, devices=files, origins=_ORIGINS)


def _amd(host: Host) -> tuple[Gpu, ...]:
    nodes = {_bus_id(node): node for node in _nodes(host)}
    cards = pci.devices(host, pci.AMD, kinds=(pci.DISPLAY, pci.ACCELERATOR))
    return tuple(_amd_gpu(host, card, nodes.get(card.bus_id, {})) for card in cards)


def _amd_gpu(host: Host, card: pci.Device, node: dict[str, int]) -> Gpu:
    folder = f"{pci.BUS}/{card.bus_id}"
    total = _number(host, f"{folder}/mem_info_vram_total")
    used = _number(host, f"{folder}/mem_info_vram_used")
    return Gpu(
        vendor="amd",
        name=text(host, f"{folder}/product_name", 256) or None,
        bus_id=card.bus_id,
        pci_id=card.pci_id,
        bound_driver=card.driver,
        power_state=card.power_state,
        target=gfx_target(node.get("gfx_target_version", 0)),
        memory_bytes=total,
        used_bytes=used,
        free_bytes=total - used if total is not None and used is not None else None,
        lost=card.gone,
        integrated=node.get("cpu_cores_count", 0) > 0,  # processor and GPU share one node of the topology
    )


def _nodes(host: Host) -> list[dict[str, int]]:
    """Give the GPUs that AMD's compute driver knows; a node without a target is a processor."""
    found = (properties(text(host, f"{_TOPOLOGY}/{name}/properties") or "") for name in names(host, _TOPOLOGY))
    return [node for node in found if node.get("gfx_target_version")]


def properties(listing: str) -> dict[str, int]:
    r"""Read a node of the topology: a name and a number a line; lines of another shape are left out.

    >>> properties("cpu_cores_count 0\nsimd_count 192\ngfx_target_version 110000")["gfx_target_version"]
    110000
    """
    pairs = (line.split() for line in listing.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def gfx_target(version: int) -> str | None:
    """Name the target that AMD's compiler builds for; minor and stepping are written in hexadecimal.

    >>> gfx_target(110000), gfx_target(90010), gfx_target(100302), gfx_target(0)
    ('gfx1100', 'gfx90a', 'gfx1032', None)
    """
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}" if version else None


def _bus_id(node: dict[str, int]) -> str:
    location = node.get("location_id", 0)
    return f"{node.get('domain', 0):04x}:{location >> 8 & 0xFF:02x}:{location >> 3 & 0x1F:02x}.{location & 7}"


def _intel(host: Host, place: Place | None) -> tuple[Gpu, ...]:
    cards = pci.devices(host, pci.INTEL)
    # An environment may bring the loader library itself (conda does).
    own = (f"{place.prefix}/lib",) if place else ()
    missing = tuple(name for name in _LEVEL_ZERO if cards and loader.find(host, name, also=own) is None)
    return tuple(
        Gpu(
            vendor="intel",
            bus_id=card.bus_id,
            pci_id=card.pci_id,
            bound_driver=card.driver,
            power_state=card.power_state,
            lost=card.gone,
            integrated=card.bus_id == _INTEL_INTEGRATED,
            missing_runtime=missing,
        )
        for card in cards
    )


def _apple(host: Host) -> tuple[Gpu, ...]:
    try:
        answer = host.run(("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"), host.patience)
    except OSError:
        answer = None
    name = answer.stdout.strip() if answer and answer.returncode == 0 else None
    return (Gpu(vendor="apple", name=name or None, integrated=True),)


def _number(host: Host, path: str) -> int | None:
    digits = text(host, path, 64) or ""
    return int(digits) if digits.isdigit() else None


_ORIGINS = {
    "gpus": pci.BUS,
    "gpus.target": _TOPOLOGY,
    "gpus.missing_runtime": "loader search for libze_loader.so.1 and libze_intel_gpu.so.1",
    "devices": "/dev",
}

PROBE = Probe("accelerators", ("gpus", "devices"), _read)
