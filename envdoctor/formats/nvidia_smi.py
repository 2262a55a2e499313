"""The table that nvidia-smi prints."""

from __future__ import annotations

import re

from envdoctor.host import NvmlAnswer, NvmlGpu

# Since release 610 the kernel half and the CUDA of the user half are named apart: KMD Version, CUDA UMD Version
# (https://docs.nvidia.com/deploy/nvidia-smi/index.html).
_DRIVER = re.compile(r"\b(?:Driver|KMD) Version:\s*(\d+(?:\.\d+)+)")
_CUDA = re.compile(r"\bCUDA (?:UMD )?Version:\s*(\d+\.\d+)")

# The first line of a card: index, name, a mode (persistence, on Windows the driver model), bus, display.
_CARD = re.compile(
    r"^\|\s*(\d+)\s+(\S.*?)\s+(?:On|Off|N/A|TCC|WDDM|MCDM)\s*\|"
    r"\s*([0-9A-Fa-f]+):([0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f])\s+(On|Off|N/A)\s*\|"
)
_MEMORY = re.compile(r"(\d+)\s*MiB\s*/\s*(\d+)\s*MiB")


def parse(output: str) -> NvmlAnswer | None:
    """Read the table that `nvidia-smi` prints without options; None: it could not reach the driver.

    A name that was cut to fit its column is left out, for it may be that of several models.
    """
    driver = _DRIVER.search(output)
    if driver is None:
        return None
    cuda = _CUDA.search(output)
    return NvmlAnswer(status=0, driver=driver[1], cuda=cuda[1] if cuda else None, gpus=_gpus(output))


def _gpus(output: str) -> tuple[NvmlGpu, ...]:
    gpus = []
    lines = output.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        card = _CARD.match(line)
        if card is None:
            continue
        index, name, domain, place, display = card.groups()
        memory = _MEMORY.search(following)
        used, total = (int(memory[1]) << 20, int(memory[2]) << 20) if memory else (None, None)
        gpus.append(
            NvmlGpu(
                index=int(index),
                name=None if name.endswith("...") else name,
                bus_id=f"{int(domain, 16):04x}:{place.lower()}",
                memory_bytes=total,
                used_bytes=used,
                display_active={"On": True, "Off": False}.get(display),
            )
        )
    return tuple(gpus)
