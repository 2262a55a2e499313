"""Prove an environment with a language model: GPT-2 small, whole for speed and accuracy, a small one for training.

The network is the published one (Radford et al. 2019, https://github.com/openai/gpt-2), in plain torch and with random
weights, so that nothing is downloaded. Start it by hand with `python gpt2.py --device auto`.
"""

import copy
import math
import sys

import measure

run = measure.Run("gpt2", "torch")
with run.importing():
    import torch
    from torch import nn
    from torch.nn import functional

PUBLISHED_PARAMETERS = 124439808  # 12 layers, 768 wide, 50257 tokens, 1024 positions, head tied to the embedding
LOSS_RATIO = 0.6  # 32 numbers start at ln 32 = 3.5; without learning the ratio stays at 1; 0.1 to 0.4 is usual
HELLO_WORLD = (15496, 11, 995, 0)  # "Hello, world!" in GPT-2's own tokens
NUMBERS = 32


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


def reference(model):
    """Copy a network, or a part of one, to the CPU in float64."""
    return copy.deepcopy(model).to("cpu").double()


def check_whole(device, generator):
    """Check size, output, one layer and cached generation of the whole network, and give it back."""
    run.progress("build", 0, 1)
    model = Gpt2(50257, 1024, 768, 12, 12)
    count = sum(part.numel() for part in model.parameters())
    run.measured("parameters", count)
    run.check("parameter count", count == PUBLISHED_PARAMETERS, PUBLISHED_PARAMETERS, count)
    model = model.to(device.kind).eval()
    run.progress("build", 1, 1)
    with torch.no_grad(), device.exact():
        run.progress("forward", 0, 2)
        hidden = torch.randn(1, 64, 768, generator=generator)
        output = model.layers[0](hidden.to(device.kind))[0]
        run.agree("one layer agrees with float64", output, reference(model.layers[0])(hidden.double())[0])
        run.progress("forward", 1, 2)
        logits, _ = model(torch.randint(50257, (1, 64), generator=generator).to(device.kind))
        run.check("output shape", tuple(logits.shape) == (1, 64, 50257), (1, 64, 50257), tuple(logits.shape))
        finite = bool(torch.isfinite(logits).all())
        run.check("output is finite", finite, "finite", "finite" if finite else "NaN or infinite")
        run.progress("forward", 2, 2)
        prompt = torch.tensor([HELLO_WORLD], device=device.kind)
        tokens, cached = generate(model, prompt, 8 if run.quick else 24, run.progress)
        whole = model(tokens[:, :-1])[0][:, prompt.shape[1] - 1 :]
        run.agree("generation with a cache agrees with a whole pass", cached, whole)
    return model


def check_training(device, generator):
    """Train a small GPT-2 to count: its loss must fall, and what it learned must agree with float64."""
    steps = 70 if run.quick else 110
    model = Gpt2(NUMBERS, 32, 128, 4, 4).to(device.kind)
    batches = [counting(generator, 32, 25).to(device.kind) for _ in range(steps)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses, finite = measure.train(torch, run, model, batches, loss_of, optimizer)
    run.check("gradients are finite", finite, "finite in every step", "finite" if finite else "NaN or infinite")
    run.fell(losses, LOSS_RATIO)
    rows = counting(generator, 8, 25)
    exact = reference(model)
    loss_of(exact, rows).backward()
    model.zero_grad()
    with device.exact():
        loss_of(model, rows.to(device.kind)).backward()
        with torch.no_grad():
            run.agree("output agrees with float64", model(rows.to(device.kind))[0], exact(rows)[0])
    run.agree("gradient agrees with float64", model.wte.weight.grad, exact.wte.weight.grad)


def work(run):
    """Do everything this workload proves."""
    device = run.use(torch)
    generator = torch.Generator().manual_seed(run.seed)
    model = check_whole(device, generator)
    check_training(device, generator)
    prompt = torch.tensor([HELLO_WORLD], device=device.kind)
    count = 8 if run.quick else 16
    with torch.no_grad():
        run.speed(lambda: generate(model, prompt, count), count, "tokens/s", 0.5 if run.quick else 3.0)


if __name__ == "__main__":
    sys.exit(run.through(work))
