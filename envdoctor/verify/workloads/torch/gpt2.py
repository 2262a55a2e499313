"""Prove an environment with a language model: GPT-2, whole for speed and accuracy, a small one for training.

GPT-2 small, or medium with `--model gpt2-medium`, with random weights: nothing is downloaded. Start it by hand with
`python gpt2.py --device auto`.
"""

import copy
import sys

import measure

run = measure.Run("gpt2", "torch", ("gpt2", "gpt2-medium"))
with run.importing():
    import torch
    from decoder import NUMBERS, PUBLISHED_PARAMETERS, SIZES, VOCABULARY, Gpt2, build, counting, generate, loss_of
    from thorough import Subject, check_more

LOSS_RATIO = 0.6  # 32 numbers start at ln 32 = 3.5; without learning the ratio stays at 1; 0.1 to 0.4 is usual
HELLO_WORLD = (15496, 11, 995, 0)  # "Hello, world!" in GPT-2's own tokens


def reference(model):
    """Copy a network, or a part of one, to the CPU in float64."""
    return copy.deepcopy(model).to("cpu").double()


def check_whole(device, generator):
    """Check size, output, one layer and cached generation of the whole network, and give it back."""
    run.progress("build", 0, 1)
    model = build(run.model)
    published, width = PUBLISHED_PARAMETERS[run.model], SIZES[run.model][0]
    count = sum(part.numel() for part in model.parameters())
    run.measured("parameters", count)
    run.check("parameter count", count == published, published, count)
    model = model.to(device.kind).eval()
    run.progress("build", 1, 1)
    with torch.no_grad(), device.exact():
        run.progress("forward", 0, 2)
        hidden = torch.randn(1, 64, width, generator=generator)
        output = model.layers[0](hidden.to(device.kind))[0]
        run.agree("one layer agrees with float64", output, reference(model.layers[0])(hidden.double())[0])
        run.progress("forward", 1, 2)
        logits, _ = model(torch.randint(VOCABULARY, (1, 64), generator=generator).to(device.kind))
        run.check("output shape", tuple(logits.shape) == (1, 64, VOCABULARY), (1, 64, VOCABULARY), tuple(logits.shape))
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
    if run.thorough:
        more = Subject(
            model=model,
            inputs=torch.randint(VOCABULARY, (1, 64), generator=generator).to(device.kind),
            once=lambda network, _: generate(network, prompt, count),
            items=count,
            unit="tokens/s",
            small=lambda: Gpt2(NUMBERS, 32, 128, 4, 4),
            batches=[counting(generator, 32, 25).to(device.kind) for _ in range(4)],
            loss_of=loss_of,
        )
        check_more(run, more)


if __name__ == "__main__":
    sys.exit(run.through(work))
