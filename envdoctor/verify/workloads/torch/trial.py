"""Run a model with given settings, once, and say how fast it was and what it held; `envdoctor tune` starts this.

Beside the options of every workload:

    --goal inference|training
    --settings JSON     batch, precision, size, threads, accumulation, checkpointing, channels_last, runtime, pruned

By hand: `python trial.py --model resnet18 --goal inference --settings '{"batch": 4, "size": 224}'`.
"""

import argparse
import gc
import json
import statistics
import sys
import time

import measure

# The options that only this script has are taken out first: the rest are read as every workload's.
_own = argparse.ArgumentParser(add_help=False)
_own.add_argument("--goal", choices=("inference", "training"), required=True)
_own.add_argument("--settings", type=json.loads, required=True)
own, sys.argv[1:] = _own.parse_known_args()

IMAGES = ("resnet18", "resnet50", "mobilenetv2")
run = measure.Run("trial", "torch", (*IMAGES, "gpt2", "gpt2-medium"))
with run.importing():
    import settling
    import torch

DEFAULTS = {
    "batch": 1,
    "precision": "fp32",
    "size": 224,
    "threads": None,
    "accumulation": 1,
    "checkpointing": False,
    "channels_last": False,
    "runtime": "eager",
    "pruned": False,
}
MEASURED = 1.0  # seconds that speed is measured for at the least
ROUNDS = 2  # and so many steps, unless one takes that long alone


def infer(subject, settings):
    """Measure inference; where the model was changed, also how much its outputs still agree."""
    model = subject.build().eval()
    changed = settings["precision"] != "fp32" or settings["pruned"] or settings["runtime"] != "eager"
    with torch.no_grad():
        expected = settling.first(model(subject.sample())) if changed else None
        model = settling.settled(torch, model, settings, run.device.kind, subject)
        if changed:
            run.progress("compare", 0, 1)
            actual = settling.first(model(settling.cast(torch, subject.sample(), settings, run.device.kind)))
            agreement, difference = settling.agreement(torch, actual, expected)
            run.measured("agreement", agreement)
            run.measured("difference", difference)
            del actual, expected
        run.measured("file_bytes", settling.file_bytes(torch, model))
        inputs = settling.cast(torch, subject.inputs(settings["batch"]), settings, run.device.kind)
        settle()
        finite = torch.tensor(True)

        def once():
            nonlocal finite
            seconds, output = subject.infer(model, inputs, run.device.sync)
            finite = torch.isfinite(output).all()
            return seconds

        paces(once, subject.items_written(settings["batch"]))
    run.check("outputs are finite", bool(finite), "finite", "finite" if finite else "NaN or infinite")


def train(subject, settings):
    """Measure training: forward, backward and the optimizer's step, with as many parts as are summed."""
    kind, precision = run.device.kind, settings["precision"]
    model = subject.build().to(kind).train()
    if settings["channels_last"]:
        model = model.to(memory_format=torch.channels_last)
    if settings["checkpointing"]:
        settling.checkpoint(model, subject.layers(model))
    optimizer = subject.optimizer(model.parameters())
    compiled = torch.compile(model) if settings["runtime"] == "compile" else model
    dtype = {"amp-bf16": torch.bfloat16, "amp-fp16": torch.float16}.get(precision)
    scaler = settling.scaler(torch, precision == "amp-fp16" and kind == "cuda")
    parts = settings["accumulation"]
    batch = [settling.laid_out(torch, part.to(kind), settings) for part in subject.labelled(settings["batch"])]
    settle()
    loss = torch.zeros(())

    def once():
        nonlocal loss
        begun = time.perf_counter()
        optimizer.zero_grad()
        for _ in range(parts):
            if dtype is None:
                loss = subject.loss(compiled, batch)
            else:
                with torch.autocast(kind, dtype=dtype):
                    loss = subject.loss(compiled, batch)
            scaler.scale(loss / parts).backward()
        scaler.step(optimizer)
        scaler.update()
        run.device.sync()
        return time.perf_counter() - begun

    paces(once, subject.items_trained(settings["batch"]) * parts)
    finite = bool(torch.isfinite(loss))
    run.check("loss is finite", finite, "finite", "finite" if finite else "NaN or infinite")


def paces(once, items):
    """Measure how many items a second `once` handles, which gives the seconds that count of its own."""
    run.progress("warm up", 0, 1)
    once()
    begun, counted, whole = time.perf_counter(), [], []
    while True:
        start = time.perf_counter()
        counted.append(once())
        whole.append(time.perf_counter() - start)
        spent = time.perf_counter() - begun
        run.progress("measure", min(100, int(100 * spent / MEASURED)), 100)
        if spent >= MEASURED and (len(whole) >= ROUNDS or whole[-1] >= MEASURED):
            break
    run.measured("throughput", items / statistics.median(counted))
    run.measured("step_seconds", statistics.median(whole))


def settle():
    """Give back what only the preparation needed, and count the highest point from here on."""
    gc.collect()
    settling.forget_peak(torch, run.device.kind)


def work(run):
    """Do what the settings say."""
    settings = dict(DEFAULTS, **own.settings)
    device = run.use(torch)
    run.outcome["abilities"] = settling.abilities(torch, device, own.goal, run.model in IMAGES)
    run.outcome["threads"] = torch.get_num_threads()
    if settings["threads"]:
        torch.set_num_threads(settings["threads"])
    run.progress("build", 0, 1)
    if run.model in IMAGES:
        from subjects import Pictures as Subject
    else:
        from subjects import Texts as Subject
    subject = Subject(run.model, settings["size"], device.kind, run.seed)
    (infer if own.goal == "inference" else train)(subject, settings)


if __name__ == "__main__":
    sys.exit(run.through(work))
