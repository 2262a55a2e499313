"""Which generation an NVIDIA card is of, when only the bus tells of it: by the range of its PCI device number."""

from __future__ import annotations

from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.targets import capability_of
from envdoctor.model.snapshot import Gpu

SOURCE = "https://envytools.readthedocs.io/en/latest/hw/pciid.html"

# First and last number of a chip's range, and a compute capability of its generation.
_RANGES = (
    (0x0FC0, 0x0FFF, "3.0"),  # GK107
    (0x1000, 0x103F, "3.5"),  # GK110
    (0x1180, 0x11FF, "3.0"),  # GK104, GK106
    (0x1280, 0x12BF, "3.5"),  # GK208
    (0x1340, 0x13BF, "5.0"),  # GM108, GM107
    (0x13C0, 0x143F, "5.2"),  # GM204, GM206
    (0x15F0, 0x15FF, "6.0"),  # GP100
    (0x17C0, 0x17FF, "5.2"),  # GM200
    (0x1B00, 0x1D7F, "6.1"),  # GP102 to GP108
    (0x1D80, 0x1DFF, "7.0"),  # GV100
    (0x1E00, 0x1FFF, "7.5"),  # TU102 to TU117
    (0x2080, 0x20FF, "8.0"),  # GA100
    (0x2180, 0x21FF, "7.5"),  # TU116
    (0x2200, 0x227F, "8.6"),  # GA102
    (0x2300, 0x237F, "9.0"),  # GH100
    (0x2480, 0x25FF, "8.6"),  # GA104 to GA107
    (0x2680, 0x28FF, "8.9"),  # AD102 to AD107
    (0x2900, 0x29FF, "10.0"),  # GB100
    (0x2B80, 0x2C7F, "12.0"),  # GB202, GB203
    (0x2D00, 0x2DFF, "12.0"),  # GB206, GB207
    (0x2F00, 0x2F7F, "12.0"),  # GB205
)


def generation_of(gpu: Gpu, facts: Knowledge) -> str | None:
    """Give the compute capability of a card's generation: as NVML or its name tells, else by its number on the bus.

    None: not known, which is no verdict; new numbers appear with every generation.
    """
    known = capability_of(gpu, facts)
    if known or gpu.vendor != "nvidia":
        return known
    vendor, _, device = (gpu.pci_id or "").partition(":")
    try:
        number = int(device, 16) if vendor == "10de" else -1
    except ValueError:
        return None
    return next((capability for first, last, capability in _RANGES if first <= number <= last), None)
