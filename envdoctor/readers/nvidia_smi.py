"""The table of nvidia-smi: driver, its CUDA level, cards, memory and who holds it."""

from __future__ import annotations

import re

from envdoctor.formats.nvidia_smi import parse
from envdoctor.model.snapshot import Driver, Gpu, GpuProcess, Mig, Snapshot
from envdoctor.readers.names import gpu_of

ORIGIN = "report: nvidia-smi"
_HEAD = re.compile(r"NVIDIA-SMI\s{1,9}[\w.]{1,20}\s{1,60}(?:Driver|KMD) Version:\s{0,9}([\d.]{3,20})")
_NO_CUDA = re.compile(r"CUDA (?:UMD )?Version:\s{0,9}(?:N/A|ERR!)")
# Tables that lost their frame, or were cut: index, name, mode, bus.
_ROW = re.compile(
    r"^ {0,8}\|?\s{0,6}(\d{1,3})\s{1,6}(\S.{1,60}?)\s{1,30}(?:On|Off|N/A|TCC|WDDM|MCDM|ERR!)\s{0,6}\|?\s{1,6}"
    r"([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f])"
)
_MEMORY = re.compile(r"(\d{1,7})\s?MiB\s{0,4}/\s{0,4}(\d{1,7})\s?MiB")
_PROCESS = re.compile(
    r"^ {0,8}\|?\s{1,6}(\d{1,3})\s{1,9}(?:\S{1,4}\s{1,9}\S{1,4}\s{1,12})?(\d{2,8})\s{1,9}[CGM+]{1,3}\s"
    r".{0,80}?(\d{1,7})MiB"
)


def sniff(text: str) -> bool:
    """Tell whether there is the head of such a table, or a card's row of one that lost its head."""
    if "NVIDIA-SMI" in text and ("Driver Version:" in text or "KMD Version:" in text):
        return True
    return "MiB" in text and ":00.0 " in text


def read(text: str) -> Snapshot:
    """Read the first table."""
    head = _HEAD.search(text)
    if head is None:
        return _without_head(text)
    answer = parse(text[head.start() : head.start() + 20_000])
    if answer is None:
        return Snapshot()
    table = text[head.start() :].split("\n")[:400]
    driver = Driver(version=answer.driver, module_loaded=True, nvml=0, cuda=answer.cuda)
    origins = {"driver": ORIGIN}
    if _NO_CUDA.search(text, head.start(), head.start() + 400):
        origins["driver.cuda"] = ORIGIN
    gpus = _gpus(table)
    if gpus:
        origins["gpus"] = ORIGIN
    return Snapshot(driver=driver, gpus=gpus, origins=origins)


def _without_head(text: str) -> Snapshot:
    """Read the rows of a table whose head was cut off: they prove that the driver answers, not which one it is."""
    lines = text.split("\n")
    first = next((number for number, line in enumerate(lines) if ":00.0 " in line and _ROW.match(line)), None)
    gpus = _gpus(lines[first : first + 400]) if first is not None else ()
    if not any(gpu.memory_bytes for gpu in gpus):
        return Snapshot()
    return Snapshot(driver=Driver(module_loaded=True, nvml=0), gpus=gpus, origins={"driver": ORIGIN, "gpus": ORIGIN})


def _cut_off(name: str) -> Gpu:
    """Give a card whose name the table cut: with what all cards that begin so have in common."""
    from msgspec.structs import replace

    card = gpu_of(name)
    return replace(card, name=name if card.capability else None)


def _gpus(table: list[str]) -> tuple[Gpu, ...]:
    from msgspec.structs import replace

    gpus: dict[int, Gpu] = {}
    processes: dict[int, list[GpuProcess]] = {}
    last = -1
    for line in table:
        row = _ROW.match(line)
        if row:
            last = int(row[1])
            if last in gpus:
                break  # a second table
            name = row[2].split("  ")[0].strip()
            domain, _, place = row[3].partition(":")
            card = _cut_off(name) if name.endswith("...") else gpu_of(name)
            bus = f"{int(domain, 16):04x}:{place.lower()}"
            gpus[last] = replace(card, vendor="nvidia", index=last, bus_id=bus)
            continue
        memory = _MEMORY.search(line)
        if memory and last in gpus and gpus[last].memory_bytes is None:
            used, total = int(memory[1]) << 20, int(memory[2]) << 20
            gpus[last] = replace(gpus[last], used_bytes=used, memory_bytes=total)
        elif "Disabled" in line or "Enabled" in line:
            if last in gpus and gpus[last].mig is None:
                on = "Enabled" in line
                gpus[last] = replace(gpus[last], mig=Mig(enabled=on, pending=False))
        else:
            held = _PROCESS.match(line)
            if held:
                one = GpuProcess(pid=int(held[2]), memory_bytes=int(held[3]) << 20)
                processes.setdefault(int(held[1]), []).append(one)
    return tuple(replace(card, processes=tuple(processes.get(index, ())) or None) for index, card in gpus.items())
