"""Numbers as people read them."""

from __future__ import annotations

from envdoctor.model.speech import say


def size(count: int | None) -> str:
    """Write bytes with a binary unit, three figures.

    >>> size(12884901888), size(8_585_740_288), size(512), size(None)
    ('12 GiB', '8 GiB', '512 B', 'unknown')
    """
    if count is None:
        return say("unknown")
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{amount:.3g} {unit}" if amount < 999.5 else f"{amount:.0f} {unit}"


def figures(amount: float) -> str:
    """Write a number with three figures, a large one whole.

    >>> figures(0.01234), figures(27.71), figures(3291.4)
    ('0.0123', '27.7', '3,291')
    """
    return f"{amount:.3g}" if amount < 999.5 else f"{amount:,.0f}"
