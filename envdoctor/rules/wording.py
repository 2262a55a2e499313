"""How values are spoken of in findings: sizes, cards, lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from envdoctor.model.snapshot import Gpu
from envdoctor.model.speech import message, say

_MAKERS = {"nvidia": "NVIDIA", "amd": "AMD", "intel": "Intel", "apple": "Apple", "other": message("other")}


def size(count: int) -> str:
    """Say a number of bytes as a person reads it.

    >>> size(64 << 20), size(12 << 30), size(int(7.75 * (1 << 30)))
    ('64 MiB', '12 GiB', '7.8 GiB')
    """
    if count < 1 << 30:
        return f"{count / (1 << 20):.0f} MiB"
    return f"{count / (1 << 30):.1f} GiB".replace(".0 ", " ")


def card(gpu: Gpu) -> str:
    """Name a card by what is known of it: its name and number, else its place on the bus."""
    if gpu.name:
        return say("{name} (GPU {index})", name=gpu.name, index=gpu.index) if gpu.index is not None else gpu.name
    maker = say(_MAKERS[gpu.vendor])
    if gpu.bus_id:
        place = f"{gpu.bus_id} ({gpu.pci_id})" if gpu.pci_id else gpu.bus_id
        return say("the {maker} card at {bus_id}", maker=maker, bus_id=place)
    if gpu.index is not None:
        return say("GPU {index}", index=gpu.index)
    if gpu.pci_id:
        return say("the {maker} card ({pci_id})", maker=maker, pci_id=gpu.pci_id)
    return say("the {maker} card", maker=maker)


def listed(words: Iterable[str]) -> str:
    """Join words as a sentence does.

    >>> listed(["torch"]), listed(["torch", "jax"]), listed("abc")
    ('torch', 'torch and jax', 'a, b and c')
    """
    every = list(words)
    if len(every) < 2:
        return "".join(every)
    return say("{words} and {last}", words=say(", ").join(every[:-1]), last=every[-1])


def few(words: Sequence[str], shown: int = 3) -> str:
    """Join words as a sentence does, and count those beyond the first.

    >>> few("ab"), few("abcde")
    ('a and b', 'a, b, c and 2 more')
    """
    if len(words) <= shown:
        return listed(words)
    return say("{words} and {count} more", words=say(", ").join(words[:shown]), count=len(words) - shown)


def sentence(text: str) -> str:
    """Start with a capital letter, and keep the rest.

    >>> sentence("the card of NVIDIA")
    'The card of NVIDIA'
    """
    return text[:1].upper() + text[1:]
