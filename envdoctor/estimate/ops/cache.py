"""Keys and values that are kept from token to token."""

from __future__ import annotations

from math import prod

from envdoctor.estimate.ops.dense import HALF
from envdoctor.estimate.ops.shapes import cat
from envdoctor.estimate.tape import Storage, Tensor

GROUP = 64  # elements of a quantized cache that share a scale and a zero


class Cache:
    """Keys and values of the tokens so far, by layer; transformers' DynamicCache, with `bits` its QuantizedCache."""

    def __init__(self, bits: int | None = None) -> None:
        self.bits = bits
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}
        self.seen: dict[int, int] = {}

    @property
    def length(self) -> int:
        """Tokens that the first layer has seen."""
        return self.seen.get(0, 0)

    def extend(self, layer: int, keys: Tensor, values: Tensor, window: int | None = None) -> tuple[Tensor, Tensor]:
        """Join new keys and values to the old ones in new tensors, also the first time; return all of them.

        With a window only the last `window - 1` are joined the next time; till then they are a view of all of them.
        """
        old = self.layers.get(layer)
        if self.bits is not None and old is not None:
            old = (old[0].like(), old[1].like())  # unpacked
        all_keys = cat([old[0], keys] if old else [keys], 2)
        all_values = cat([old[1], values] if old else [values], 2)
        self.seen[layer] = self.seen.get(layer, 0) + keys.shape[2]
        self.layers[layer] = self._kept(all_keys, window), self._kept(all_values, window)
        return all_keys, all_values

    def _kept(self, x: Tensor, window: int | None) -> Tensor:
        tokens = x.shape[2] if window is None else min(window - 1, x.shape[2])
        shape = (*x.shape[:2], tokens, x.shape[3])
        if self.bits is None:
            return x.view(*shape)
        packed = prod(shape) * self.bits // 8 + 2 * HALF * -(-prod(shape) // GROUP)
        return Tensor(x.run, shape, x.item, Storage(x.run, packed))
