"""GPT-2 written once for every framework that works on plain arrays (Radford et al. 2019, OpenAI's gpt-2).

`ops` does the calculation: `exact.Exact` in float64 with numpy, and one class for each framework. With a cache, which
has room for a fixed number of tokens, so that a compiled step is compiled once, `at` is how many it holds already.
"""

import math

# width, layers, heads, vocabulary, positions
SIZES = {
    "gpt2": (768, 12, 12, 50257, 1024),
    "gpt2-medium": (1024, 24, 16, 50257, 1024),
    "small": (128, 4, 4, 32, 32),
    "tiny": (16, 2, 2, 11, 8),
}
# With the head tied to the embedding. https://huggingface.co/docs/transformers/model_doc/gpt2
PUBLISHED_PARAMETERS = {"gpt2": 124439808, "gpt2-medium": 354823168}
HELLO_WORLD = (15496, 11, 995, 0)  # "Hello, world!" in GPT-2's own tokens
NUMBERS = SIZES["small"][3]  # that `counting` counts through


class Network:
    """GPT-2 by the name of its size; `shapes` has the names and shapes of its weights."""

    def __init__(self, name):
        self.width, self.layers, self.heads, vocabulary, positions = SIZES[name]
        self.shapes = {"wte": (vocabulary, self.width), "wpe": (positions, self.width)}
        self._norm("ln_f")
        for layer in range(self.layers):
            at = "%d." % layer
            self._norm(at + "ln_1")
            self._linear(at + "c_attn", self.width, 3 * self.width)
            self._linear(at + "c_proj", self.width, self.width)
            self._norm(at + "ln_2")
            self._linear(at + "mlp", self.width, 4 * self.width)
            self._linear(at + "mlp_proj", 4 * self.width, self.width)

    def _norm(self, name):
        self.shapes.update({name + ".scale": (self.width,), name + ".shift": (self.width,)})

    def _linear(self, name, into, out):
        self.shapes.update({name + ".weight": (into, out), name + ".bias": (out,)})

    def count(self):
        """Count the trainable numbers."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def cache_shape(self, rows, room):
        """Give the shape of the keys, or values, of one layer for so many tokens."""
        return (rows, self.heads, room, self.width // self.heads)

    def __call__(self, ops, weights, tokens, cache=None, at=0):
        """Give the logits of each next token, and the cache with these tokens in it (None without one)."""
        places = ops.arange(tokens.shape[1]) + at
        hidden = ops.take(weights["wte"], tokens) + ops.take(weights["wpe"], places)
        kept = []
        for layer in range(self.layers):
            hidden, pair = self._layer(ops, weights, "%d." % layer, hidden, places, cache and cache[layer], at)
            kept.append(pair)
        hidden = self._normalized(ops, weights, "ln_f", hidden)
        return hidden @ ops.transpose(weights["wte"], (1, 0)), (kept if cache else None)

    def _layer(self, ops, weights, name, hidden, places, pair, at):
        inner = self._normalized(ops, weights, name + "ln_1", hidden)
        query, key, value = self._split(ops, _linear(weights, name + "c_attn", inner))
        if pair:
            key, value = ops.put(pair[0], key, at), ops.put(pair[1], value, at)
        scores = query @ ops.transpose(key, (0, 1, 3, 2)) * (query.shape[-1] ** -0.5)
        seen = ops.arange(key.shape[2])[None, :] <= places[:, None]
        mixed = ops.transpose(ops.softmax(ops.choose(seen, scores)) @ value, (0, 2, 1, 3))
        hidden = hidden + _linear(weights, name + "c_proj", ops.reshape(mixed, tuple(hidden.shape)))
        inner = _linear(weights, name + "mlp", self._normalized(ops, weights, name + "ln_2", hidden))
        # What GPT-2 calls gelu_new.
        inner = 0.5 * inner * (1.0 + ops.tanh((2 / math.pi) ** 0.5 * (inner + 0.044715 * inner * inner * inner)))
        return hidden + _linear(weights, name + "mlp_proj", inner), (key, value)

    def _split(self, ops, both):
        rows, length, _ = both.shape
        parts = ops.reshape(both, (rows, length, 3, self.heads, self.width // self.heads))
        parts = ops.transpose(parts, (2, 0, 3, 1, 4))
        return parts[0], parts[1], parts[2]

    def _normalized(self, ops, weights, name, hidden):
        hidden = hidden - ops.mean(hidden, (-1,), True)
        variance = ops.mean(hidden * hidden, (-1,), True)
        return hidden / ops.sqrt(variance + 1e-5) * weights[name + ".scale"] + weights[name + ".shift"]


def _linear(weights, name, hidden):
    return hidden @ weights[name + ".weight"] + weights[name + ".bias"]
