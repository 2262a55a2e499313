"""NVIDIA GPUs and their driver: the bus, the kernel module, the user half, the device files, and NVML."""

from __future__ import annotations

import re

import msgspec

from envdoctor.host import Host, NvmlAnswer, NvmlGpu, loader, names
from envdoctor.model.snapshot import Driver, GapKind, Gpu, GpuProcess, Mig, Snapshot
from envdoctor.model.speech import message, say
from envdoctor.probes import Place, Probe, commands, nvidia_module, pci
from envdoctor.probes.partial import Gaps

_NVML, _LIBCUDA = "libnvidia-ml.so.1", "libcuda.so.1"
_WSL_SMI = "/usr/lib/wsl/lib/nvidia-smi"

# What only NVML tells of a card.
_TOLD_BY_NVML = ("name", "capability", "memory_bytes", "used_bytes", "mig", "processes")

# https://github.com/NVIDIA/go-nvml/blob/main/gen/nvml/nvml.h
_MEANINGS = {
    4: message("no permission"),
    9: message("the kernel module is not loaded"),
    12: message("the library cannot be loaded"),
    15: message("a GPU is lost"),
    17: message("the operating system refused"),
    18: message("library and kernel module are different releases"),
}
_PROVE_MODULE = (0, 15, 18)

_Why = tuple[GapKind, str]  # kind and detail of the gaps that an answer leaves


def _read(host: Host, place: Place | None) -> Snapshot:
    del place
    if host.uname()[0] == "Windows":
        from envdoctor.probes import windows_nvidia  # one package in System32, and nothing of what follows

        return windows_nvidia.read(host)
    nvml_path = loader.find(host, _NVML, also=loader.DRIVER_FOLDERS)
    libcuda_path = loader.find(host, _LIBCUDA, also=loader.DRIVER_FOLDERS)
    cards = pci.devices(host, pci.NVIDIA)
    wsl = "microsoft" in host.uname()[1].lower() or host.kind("/dev/dxg") == "character"
    if not (cards or nvml_path or nvidia_module.loaded(host) or _nodes(host) or (wsl and libcuda_path)):
        return Snapshot(origins={"driver": f"{pci.BUS}, {nvidia_module.MODULE}, {_NVML}"})
    from envdoctor.probes import device_files, nvidia_services  # most machines have no NVIDIA card

    gaps = Gaps("nvidia")
    answer, why = _ask(host, nvml_path)
    told = answer or (_nvidia_smi(host) if why and why[0] in ("not-reported", "crashed") else None)
    gpus = _gpus(host, cards, told, complete=why is None)
    seen = _driver(host, gaps, nvml_path, libcuda_path)
    driver = msgspec.structs.replace(
        seen,
        version=seen.version or (told.driver if told else None),
        # A sandbox may hide /sys/module; but NVML could not say this without the module, except in WSL, which has none.
        module_loaded=seen.module_loaded or bool(answer and answer.status in _PROVE_MODULE and not wsl),
        nvml=answer.status if answer else None,
        cuda=told.cuda if told else None,
    )
    driver = nvidia_services.complete(host, driver, gaps, bare=not wsl and host.kind("/.dockerenv") is None)
    # Where NVML answers, the files can be opened; where it does not, it is asked what keeps programs out.
    files = device_files.describe(host, nvidia_services.paths(driver), opened=bool(answer and answer.status))
    if why:
        _note_silence(gaps, why, answer, driver, gpus)
        bus_hidden = wsl or host.kind(pci.BUS) != "directory"
        if len(gpus) < ((answer.count if answer else None) or (1 if bus_hidden else 0)):
            gaps.note("gpus", *why)  # there are, or may be, cards that neither NVML nor the bus describes
    return Snapshot(
        driver=driver, gpus=gpus, devices=files, gaps=tuple(gaps.found), origins=_origins(seen, answer, told)
    )


def _ask(host: Host, path: str | None) -> tuple[NvmlAnswer | None, _Why | None]:
    """Ask NVML: its answer, and why that does not describe all GPUs, if it does not.

    On a hybrid laptop this wakes the card for a moment, as nvidia-smi does: a person asked for a diagnosis, and what
    the card can run is the heart of it.
    """
    if path is None:
        return None, ("not-reported", say("there is no {nvml} to ask", nvml=_NVML))
    try:
        answer = host.nvml(host.patience)
    except FileNotFoundError as problem:
        return None, ("unsupported", problem.strerror or str(problem))
    except TimeoutError as problem:
        return None, ("timeout", str(problem))
    except ChildProcessError as problem:
        return None, ("crashed", str(problem))
    if answer.incomplete:
        return answer, ("crashed" if answer.crashed else "timeout", f"{_NVML}: {answer.incomplete}")
    if answer.status:
        meaning = say(_MEANINGS.get(answer.status, message("an error without a name")))
        return answer, ("not-reported", say("NVML answers {status}: {meaning}", status=answer.status, meaning=meaning))
    return answer, None


def _note_silence(gaps: Gaps, why: _Why, answer: NvmlAnswer | None, driver: Driver, gpus: tuple[Gpu, ...]) -> None:
    """Tell what is unknown because NVML did not answer; a return code, or a missing library, is itself a fact."""
    if answer is None and driver.nvml_path:
        gaps.note("driver.nvml", *why)
    if driver.cuda is None and driver.nvml_path and (answer is None or answer.incomplete):
        gaps.note("driver.cuda", *why)
    if driver.version is None and answer and answer.incomplete:
        gaps.note("driver.version", *why)
    for field in _TOLD_BY_NVML:
        if any(getattr(gpu, field) is None for gpu in gpus):
            gaps.note(f"gpus.{field}", *why)


def _nvidia_smi(host: Host) -> NvmlAnswer | None:
    """Ask nvidia-smi, which may find the library by means of its own; None: there is none, or it has no answer."""
    program = next(commands.found(host, "nvidia-smi"), _WSL_SMI if host.executable(_WSL_SMI) else None)
    if program is None:
        return None
    from envdoctor.formats import nvidia_smi  # seldom needed

    try:
        return nvidia_smi.parse(host.run((program,), host.patience).stdout)
    except OSError:
        return None


def _driver(host: Host, gaps: Gaps, nvml_path: str | None, libcuda_path: str | None) -> Driver:
    nvml_file = host.realpath(nvml_path) if nvml_path else None
    libcuda_file = host.realpath(libcuda_path) if libcuda_path else None
    return msgspec.structs.replace(
        nvidia_module.read(host, gaps),
        # Listed after NVML was asked: the first program to ask lets nvidia-modprobe create them.
        device_nodes=gaps.ask("driver.device_nodes", lambda: _nodes(host)),
        nvml_path=nvml_file,
        nvml_version=file_release(nvml_file or ""),
        libcuda_path=libcuda_file,
        libcuda_version=file_release(libcuda_file or ""),
    )


def file_release(path: str) -> str | None:
    """Read the driver's release from a library's file name; None: the name bears none, as in WSL.

    >>> file_release("/usr/lib/libcuda.so.570.124.06"), file_release("/usr/lib/wsl/lib/libcuda.so.1.1")
    ('570.124.06', None)
    """
    found = re.search(r"\.so\.(\d{3,}(?:\.\d+)+)$", path)
    return found[1] if found else None


def _nodes(host: Host) -> tuple[str, ...]:
    paths = (f"/dev/{name}" for name in names(host, "/dev") if name.startswith("nvidia"))
    return tuple(path for path in paths if host.kind(path) == "character")


def _gpus(host: Host, cards: tuple[pci.Device, ...], answer: NvmlAnswer | None, *, complete: bool) -> tuple[Gpu, ...]:
    """Join what the bus, the module and NVML say of each card: in NVML's order, then those it does not list."""
    known = nvidia_module.cards(host)
    on_bus = {card.bus_id: card for card in cards}
    listed = answer.gpus if answer else ()
    told = [_gpu(host, one, on_bus.pop(one.bus_id or "", None), known.get(one.bus_id or "")) for one in listed]
    others = [
        _gpu(host, None, card, known.get(card.bus_id))
        for card in on_bus.values()
        if not (complete and _elsewhere(host, card, known.get(card.bus_id)))
    ]
    return (*told, *others)


def _elsewhere(host: Host, card: pci.Device, known: nvidia_module.Card | None) -> bool:
    """Tell whether a card that NVML leaves out was not handed to this container: it has no device file here."""
    if card.driver != "nvidia":
        return False
    return known is None or known.minor is None or host.kind(f"/dev/nvidia{known.minor}") != "character"


def described(host: Host, told: NvmlGpu) -> Gpu:
    """Give a card as NVML alone tells of it."""
    return _gpu(host, told, None, None)


def _gpu(host: Host, told: NvmlGpu | None, card: pci.Device | None, known: nvidia_module.Card | None) -> Gpu:
    known = known or nvidia_module.Card(name=None, uuid=None, minor=None)
    gpu = Gpu(
        vendor="nvidia",
        name=known.name,
        uuid=known.uuid,
        minor=known.minor,
        bus_id=card.bus_id if card else None,
        pci_id=card.pci_id if card else None,
        bound_driver=card.driver if card else None,
        power_state=card.power_state if card else None,
        numa_node=card.numa_node if card else None,
        lost=card.gone if card else False,
    )
    if told is None:
        return gpu
    return msgspec.structs.replace(
        gpu,
        index=told.index,
        name=told.name or gpu.name,
        uuid=told.uuid or gpu.uuid,
        minor=gpu.minor if told.minor is None else told.minor,
        bus_id=gpu.bus_id or told.bus_id,
        pci_id=gpu.pci_id or told.pci_id,
        capability=told.capability,
        memory_bytes=told.memory_bytes,
        used_bytes=told.used_bytes,
        free_bytes=told.free_bytes,
        reserved_bytes=told.reserved_bytes,
        display_active=told.display_active,
        health=told.health,
        mig_uuids=told.mig_uuids,
        mig=None
        if told.mig_enabled is None
        else Mig(enabled=told.mig_enabled, pending=bool(told.mig_pending), instances=told.mig_instances),
        processes=None
        if told.processes is None
        else tuple(GpuProcess(pid=pid, memory_bytes=memory) for pid, memory in told.processes),
        lost=gpu.lost or told.error == 15,
        nvml_error=told.error,
        integrated=card is None and host.kind("/etc/nv_tegra_release") is not None,
    )


def _origins(seen: Driver, answer: NvmlAnswer | None, told: NvmlAnswer | None) -> dict[str, str]:
    """Say where each fact was read; `seen` is the driver as it shows itself without being asked."""
    asked = "NVML" if answer else "nvidia-smi"
    origins = {
        "driver": nvidia_module.MODULE,
        "driver.version": f"{nvidia_module.MODULE}/version" if seen.version or not told else asked,
        "driver.module_loaded": nvidia_module.MODULE if seen.module_loaded or not told else asked,
        "driver.module_on_disk": "/lib/modules/*/modules.dep",
        "driver.module_flavour": f"{nvidia_module.PROC}/version",
        "driver.blacklisted": "/etc/modprobe.d, /usr/lib/modprobe.d, /proc/cmdline",
        "driver.nouveau_loaded": "/sys/module/nouveau, /sys/module/nova_core",
        "driver.dkms": "/var/lib/dkms",
        "driver.headers": "/lib/modules/*/build",
        "driver.device_nodes": "/dev",
        "driver.nvml": "nvmlInit",
        "driver.nvml_path": say("loader search for libnvidia-ml.so.1"),
        "driver.nvml_version": say("name of the file that libnvidia-ml.so.1 leads to"),
        "driver.libcuda_path": say("loader search for libcuda.so.1"),
        "driver.libcuda_version": say("name of the file that libcuda.so.1 leads to"),
        "driver.cuda": asked,
        "driver.copies": say("loader search for libcuda.so.1 and libnvidia-ml.so.1"),
        "driver.uvm": "/proc/devices",
        "driver.nvswitch": "/dev",
        "driver.fabric_manager": "/run/nvidia-fabricmanager",
        "driver.fabric_manager_version": "/var/lib/dpkg/status",
        "driver.persistenced": "/run/nvidia-persistenced",
        "driver.xids": "dmesg",
        "driver.wants_open_module": "dmesg",
        "devices": "/dev",
        "gpus": f"{asked}, {pci.BUS}" if told else pci.BUS,
        "gpus.bound_driver": pci.BUS,
        "gpus.power_state": pci.BUS,
        "gpus.pci_id": pci.BUS,
    }
    for field in (*_TOLD_BY_NVML, "free_bytes", "display_active", "nvml_error", "health", "mig_uuids"):
        origins[f"gpus.{field}"] = asked if told else say("not reported")
    return origins


PROBE = Probe("nvidia", ("driver", "gpus"), _read)
