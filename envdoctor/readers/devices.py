"""`lspci`: the graphics cards on the bus, and which kernel driver holds them."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Gpu, Snapshot, Vendor

ORIGIN = "report: lspci"
_CARD = re.compile(
    r"^\s{0,8}(?:(?:[0-9a-f]{4}:)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]) )?(?:VGA "
    r"compatible controller|3D controller|Display controller)"
    r"[^:\n]{0,12}: (.{3,160})$",
    re.M,
)
_HELD = re.compile(r"^\s{1,8}Kernel driver in use: ([\w-]{2,30})$", re.M)
_NAME = re.compile(r"\[([A-Z][^\]\n]{3,60})\]")


def sniff(text: str) -> bool:
    """Tell whether the bus was listed."""
    return "VGA compatible controller" in text or "3D controller" in text or "Display controller" in text


def read(text: str) -> Snapshot:
    """Read the cards, those of processors included."""
    from envdoctor.readers.names import gpu_of

    gpus: list[Gpu] = []
    cards = list(_CARD.finditer(text))[:32]
    for card, following in zip(cards, [*cards[1:], None], strict=False):
        vendor = _vendor(card[2])
        named = [each for each in _NAME.findall(card[2]) if "AMD" not in each]
        end = following.start() if following else len(text)
        held = _HELD.search(text, card.end(), min(end, card.end() + 600))
        known = gpu_of(named[-1]) if named and vendor in ("nvidia", "amd") else None
        gpus.append(
            Gpu(
                vendor=vendor,
                name=known.name if known else None,
                capability=known.capability if known and vendor == "nvidia" else None,
                bus_id=f"0000:{card[1]}" if card[1] else None,
                bound_driver=held[1] if held else None,
                integrated=vendor == "intel",
            )
        )
    return Snapshot(gpus=tuple(gpus), origins={"gpus": ORIGIN} if gpus else {})


def _vendor(text: str) -> Vendor:
    low = text.lower()
    if "nvidia" in low:
        return "nvidia"
    if "amd" in low or "ati " in low or "advanced micro" in low:
        return "amd"
    return "intel" if "intel" in low else "other"
