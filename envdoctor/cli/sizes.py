"""Sizes of memory as people type them."""

from __future__ import annotations

import re

import click

from envdoctor.model.speech import say

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?)b?|b)?", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


class Size(click.ParamType[int]):
    """A number of bytes: 8GiB, 8G, 512MiB; GB, MB and the like are powers of 1000."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a size."""
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(str(value).strip())
        if found is None:
            self.fail(say("{size} is not a size like 8GiB or 512MiB", size=value), param, ctx)
        number, unit, binary = found.groups()
        # A bare G means what the tools of this field mean by it: 2^30.
        decimal = unit is not None and not binary and str(value).strip()[-1] in "bB"
        amount = float(number) * (1000 if decimal else 1024) ** _POWERS.get((unit or "").lower(), 0)
        if amount >= 1 << 63:
            self.fail(say("no memory is that large"), param, ctx)
        count = int(amount)
        if count <= 0:
            self.fail(say("a size must be above zero"), param, ctx)
        return count
