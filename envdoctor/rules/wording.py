"""How values are spoken of in findings: sizes, cards, lists."""

from __future__ import annotations

from collections.abc import Iterable

from envdoctor.model.snapshot import Gpu
from envdoctor.model.speech import say

_MAKERS = {"nvidia": "NVIDIA", "amd": "AMD", "intel": "Intel", "apple": "Apple", "other": "other"}


def size(count: int) -> str:
    """Say a number of bytes as a person reads it.

    >>> size(64 << 20), size(12 << 30), size(int(7.75 * (1 << 30)))
    ('64 MiB', '12 GiB', '7.8 GiB')
    """
    if count < 1 << 30:
        return say("{count:.0f} MiB", count=count / (1 << 20))
    return say("{count:.1f} GiB", count=count / (1 << 30)).replace(".0 ", " ")


def card(gpu: Gpu) -> str:
    """Name a card by what is known of it: its name and number, else its place on the bus."""
    if gpu.name:
        return say("{name} (GPU {index})", name=gpu.name, index=gpu.index) if gpu.index is not None else gpu.name
    kind = f" ({gpu.pci_id})" if gpu.pci_id else ""
    if gpu.bus_id:
        return say("the {makers} card at {bus_id}{kind}", makers=_MAKERS[gpu.vendor], bus_id=gpu.bus_id, kind=kind)
    return (
        say("GPU {index}", index=gpu.index)
        if gpu.index is not None
        else say("the {makers} card{kind}", makers=_MAKERS[gpu.vendor], kind=kind)
    )


def listed(words: Iterable[str]) -> str:
    """Join words as a sentence does.

    >>> listed(["torch"]), listed(["torch", "jax"]), listed("abc")
    ('torch', 'torch and jax', 'a, b and c')
    """
    every = list(words)
    return " and ".join(", ".join(every).rsplit(", ", 1)) if len(every) > 1 else "".join(every)


def sentence(text: str) -> str:
    """Start with a capital letter, and keep the rest.

    >>> sentence("the card of NVIDIA")
    'The card of NVIDIA'
    """
    return text[:1].upper() + text[1:]
