"""GPT-2 in plain torch (Radford et al. 2019, https://github.com/openai/gpt-2), and rows to train it on."""

import math

import torch
from torch import nn
from torch.nn import functional

# width, layers, heads
SIZES = {"gpt2": (768, 12, 12), "gpt2-medium": (1024, 24, 16)}
VOCABULARY, POSITIONS = 50257, 1024
# With the head tied to the embedding. https://huggingface.co/docs/transformers/model_doc/gpt2
PUBLISHED_PARAMETERS = {"gpt2": 124439808, "gpt2-medium": 354823168}
NUMBERS = 32  # that `counting` counts through


def build(name):
    """Make a GPT-2 by its name, with random weights."""
    width, layers, heads = SIZES[name]
    return Gpt2(VOCABULARY, POSITIONS, width, layers, heads)


class Attention(nn.Module):
    """Causal self-attention that can go on from earlier keys and values."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, hidden, past=None):
        """Give the mixed values, and the keys and values to go on from."""
        batch, length, width = hidden.shape
        parts = self.c_attn(hidden).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if past is not None:
            key, value = torch.cat((past[0], key), 2), torch.cat((past[1], value), 2)
        mixed = attend(query, key, value, causal=past is None)
        return self.c_proj(mixed.transpose(1, 2).reshape(batch, length, width)), (key, value)


def attend(query, key, value, causal):
    """Attend; with earlier keys the query is the one newest token, which may see them all."""
    if hasattr(functional, "scaled_dot_product_attention"):  # torch 2.0
        return functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if causal:
        length = query.shape[-2]
        later = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
        scores = scores.masked_fill(later, float("-inf"))
    return scores.softmax(-1) @ value


class Layer(nn.Module):
    """Attention and a two-layer network, each after a normalization and around a residual."""

    def __init__(self, width, heads):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, hidden, past=None):
        """Give the next hidden values, and the keys and values to go on from."""
        mixed, kept = self.attn(self.ln_1(hidden), past)
        hidden = hidden + mixed
        inner = functional.gelu(self.c_fc(self.ln_2(hidden)), approximate="tanh")  # what GPT-2 calls gelu_new
        return hidden + self.c_proj(inner), kept


class Gpt2(nn.Module):
    """GPT-2 of any size; gives the logits and the keys and values to go on from."""

    def __init__(self, vocabulary, positions, width, layers, heads):
        super().__init__()
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Embedding(positions, width)
        self.layers = nn.ModuleList([Layer(width, heads) for _ in range(layers)])
        self.ln_f = nn.LayerNorm(width)
        for name, part in self.named_parameters():
            if part.dim() > 1:
                nn.init.normal_(part, std=0.02 / math.sqrt(2 * layers) if name.endswith("c_proj.weight") else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(part)

    def forward(self, tokens, past=None):
        """Give the logits of each next token, and the keys and values of every layer."""
        start = past[0][0].shape[2] if past else 0
        places = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        hidden, kept = self.wte(tokens) + self.wpe(places), []
        for index, layer in enumerate(self.layers):
            hidden, pair = layer(hidden, past[index] if past else None)
            kept.append(pair)
        return self.ln_f(hidden) @ self.wte.weight.t(), kept


def generate(model, prompt, count, tell=None):
    """Generate greedily with a cache; gives prompt and new tokens, and the logits that chose each new one."""
    tokens, chosen = prompt, []
    logits, past = model(prompt)
    for done in range(count):
        chosen.append(logits[:, -1])
        newest = chosen[-1].argmax(-1, keepdim=True)
        tokens = torch.cat((tokens, newest), 1)
        if tell:
            tell("generate", done + 1, count)
        if done + 1 < count:
            logits, past = model(newest, past)
    return tokens, torch.stack(chosen, 1)


def counting(generator, rows, length):
    """Write rows that count up from anywhere by 1 to 5, over and over through NUMBERS: two of them tell the rest."""
    start = torch.randint(NUMBERS, (rows, 1), generator=generator)
    stride = torch.randint(1, 6, (rows, 1), generator=generator)
    return (start + stride * torch.arange(length).view(1, length)) % NUMBERS


def loss_of(model, rows):
    """Give the loss of foretelling each next number."""
    return functional.cross_entropy(model(rows[:, :-1])[0].flatten(0, 1), rows[:, 1:].flatten())
