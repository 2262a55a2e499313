"""What `--thorough` adds: other precisions, finite differences, checkpoints, workers, the compiler, several devices.

What this machine cannot do is told with its reason (`trials` of the outcome), and is no failure.
"""

import contextlib
import copy
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile

import measure
import torch
from torch import nn
from torch.nn import functional

# As shares of the largest value, against float32. bfloat16 keeps 2^-9 of a number and float16 2^-12; some fifty layers
# add up: measured 0.005 to 0.012 in bf16. int8 keeps 1/255 of each layer's range: measured 0.01 to 0.07.
TOLERANCES = {"bf16": 0.04, "fp16": 0.01, "int8": 0.2}
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
STEPS = 8  # on one batch, whose loss must fall
WORKERS = 2
ALL_REDUCE_SECONDS = 300


class Subject:
    """What is looked at more closely: a whole network with its input, and a small one with what trains it."""

    def __init__(self, model, inputs, once, items, unit, small, batches, loss_of):
        self.model, self.inputs = model, inputs
        self.once, self.items, self.unit = once, items, unit  # once(model, inputs) handles so many items
        self.small, self.batches, self.loss_of = small, batches, loss_of


def check_more(run, subject):
    """Check everything; the whole network is not changed."""
    check_precisions(run, subject)
    check_finite_differences(run)
    check_checkpoint(run, subject)
    check_same_curve(run, subject)
    check_workers(run)
    check_compiled(run, subject)
    check_all_reduce(run)


def check_precisions(run, subject):
    """Run and train in each precision that the device has."""
    with torch.no_grad():
        expected = logits(subject.model(subject.inputs))
    for dtype in ("bf16", "fp16"):
        why = why_no_precision(run.device, dtype)
        for mode in ("inference", "training"):
            run.progress("%s %s" % (dtype, mode), 0, 1)
            if why:
                run.left_out("%s %s" % (dtype, mode), why)
        if not why:
            _inference(run, subject, dtype, expected, lambda kind=TYPES[dtype]: copy.deepcopy(subject.model).to(kind))
            _training(run, subject, dtype)
    why = why_no_int8(run.device)
    if why:
        run.left_out("int8 inference", why)
    else:
        _inference(run, subject, "int8", expected, lambda: quantized(subject.model))
    run.left_out("int8 training", "torch trains in floating point only")


def _inference(run, subject, dtype, expected, make):
    name = "%s inference" % dtype
    run.progress(name, 0, 1)
    model, inputs = make(), subject.inputs
    if dtype in TYPES and inputs.is_floating_point():
        inputs = inputs.to(TYPES[dtype])
    with torch.no_grad():
        run.agree("%s agrees with float32" % name, logits(model(inputs)), expected, TOLERANCES[dtype])
        run.tried(name, run.pace(lambda: subject.once(model, inputs), subject.items, 0.5), subject.unit)


def _training(run, subject, dtype):
    name = "%s training" % dtype
    kind = run.device.kind
    model = subject.small().to(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scaler = torch.cuda.amp.GradScaler(enabled=dtype == "fp16" and kind == "cuda")
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        with torch.autocast(kind, dtype=TYPES[dtype]):
            loss = subject.loss_of(model, subject.batches[0])
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
        run.progress(name, step + 1, STEPS)
    run.check("%s lowers the loss" % name, losses[-1] < losses[0], "below %.3g" % losses[0], "%.3g" % losses[-1])
    run.tried(name)


def why_no_precision(device, dtype):
    """Say why a device does not run in a precision; None: it does."""
    if device.kind == "cpu":
        return "on a CPU float16 is emulated: bf16 or int8 is what processors have" if dtype == "fp16" else None
    if device.kind == "cuda" and torch.version.hip is None:
        major, minor = torch.cuda.get_device_capability(0)
        if dtype == "bf16" and major < 8:
            return "%s has no bf16: that came with Ampere (8.0), and this is %d.%d" % (device.name, major, minor)
        if dtype == "fp16" and major < 7 and (major, minor) != (6, 0):
            return "%s (%d.%d) calculates float16 many times slower than float32" % (device.name, major, minor)
    return None


def why_no_int8(device):
    """Say why int8 is not run; None: it is."""
    if device.kind != "cpu":
        return "torch quantizes dynamically for the CPU alone"
    if not [engine for engine in torch.backends.quantized.supported_engines if engine != "none"]:
        return "this build of torch has no quantized kernels"
    return None


def quantized(model):
    """Copy a network with its linear layers in int8."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch moves this function, and says so
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


def logits(output):
    """Give the logits of a network that also gives a cache."""
    return output[0] if isinstance(output, tuple) else output


def check_finite_differences(run):
    """Compare the gradients of a tiny network, on the device, with what a small change of a weight does."""
    kind = run.device.kind
    exact = torch.float32 if kind == "mps" else torch.float64  # Apple's GPUs have no float64
    width, tolerance = (1e-2, 2e-2) if kind == "mps" else (1e-6, 1e-5)
    generator = torch.Generator().manual_seed(run.seed)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 8), nn.LayerNorm(8), nn.GELU())
    model = model.to(kind, exact)
    images = torch.randn(2, 3, 8, 8, generator=generator).to(kind, exact)
    labels = torch.tensor([1, 5], device=kind)

    def loss():
        return functional.cross_entropy(model(images), labels)

    loss().backward()
    found, expected = [], []
    with torch.no_grad():
        for part in model.parameters():
            flat = part.view(-1)
            for index in torch.randint(flat.numel(), (3,), generator=generator).tolist():
                kept = flat[index].item()
                ends = []
                for change in (width, -width):
                    flat[index] = kept + change
                    ends.append(loss().item())
                flat[index] = kept
                found.append(part.grad.view(-1)[index].item())
                expected.append((ends[0] - ends[1]) / (2 * width))
    run.agree(
        "gradient agrees with finite differences",
        torch.tensor(found, dtype=torch.float64),
        torch.tensor(expected, dtype=torch.float64),
        tolerance,
    )


def check_checkpoint(run, subject):
    """Save a network, load it into another, and compare what they give."""
    run.progress("checkpoint", 0, 1)
    first, second = subject.small().eval(), subject.small().eval()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.pt")
        torch.save(first.state_dict(), path)
        second.load_state_dict(torch.load(path, map_location="cpu"))
    batch = to_cpu(subject.batches[0])
    with torch.no_grad():
        same = bool(subject.loss_of(first, batch) == subject.loss_of(second, batch))
    run.check("checkpoint comes back", same, "the same loss", "the same loss" if same else "another loss")


def to_cpu(batch):
    """Copy a batch to the CPU."""
    return batch.cpu() if torch.is_tensor(batch) else [part.cpu() for part in batch]


def check_same_curve(run, subject):
    """Train twice on the CPU from the same seed: every loss must be the same number."""
    batches, curves = [to_cpu(batch) for batch in subject.batches], []
    for _ in range(2):
        torch.manual_seed(run.seed)
        model = subject.small()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.002, momentum=0.9)
        curves.append(measure.train(torch, run, model, batches, subject.loss_of, optimizer)[0])
    run.check("same seed, same losses on the CPU", curves[0] == curves[1], curves[0], curves[1])


class Pictures(torch.utils.data.Dataset):
    """Grey pictures, each of its own number."""

    def __len__(self):
        return 16

    def __getitem__(self, index):
        return torch.full((3, 224, 224), float(index))


def check_workers(run):
    """Load pictures in other processes, which hand them over through shared memory (/dev/shm on Linux)."""
    run.progress("workers", 0, 1)
    loader = torch.utils.data.DataLoader(Pictures(), batch_size=4, num_workers=WORKERS)
    seen = [int(picture[0, 0, 0]) for batch in loader for picture in batch]
    run.check("pictures come from %d workers" % WORKERS, seen == list(range(16)), list(range(16)), seen)


def check_compiled(run, subject):
    """Compile a small network and compare it with itself, where there is what compiles."""
    why = why_not_compiled(run.device)
    if why:
        run.left_out("torch.compile", why)
        return
    run.progress("torch.compile", 0, 1)
    model = subject.small().to(run.device.kind).eval()
    batch = subject.batches[0]
    inputs = batch if torch.is_tensor(batch) else batch[0]
    with torch.no_grad(), run.device.exact():
        expected, actual = logits(model(inputs)), logits(torch.compile(model)(inputs))
    run.agree("compiled agrees with uncompiled", actual, expected, 1e-3)
    run.tried("torch.compile")


def why_not_compiled(device):
    """Say why torch.compile is not tried; None: it is."""
    if not hasattr(torch, "compile"):
        return "torch %s has no torch.compile: that came with 2.0" % torch.__version__
    if device.kind == "mps":
        return "torch.compile for MPS is a prototype"
    if device.kind != "cpu":
        with contextlib.suppress(ImportError):
            import triton  # noqa: F401

            return None
        return "triton is not installed"
    names = [os.environ.get("CXX"), "g++", "clang++", "c++"]
    if not any(name and shutil.which(name) for name in names):
        return "no C++ compiler is on PATH"
    header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
    return None if os.path.exists(header) else "Python's headers are not installed: %s is missing" % header


def check_all_reduce(run):
    """Add up a tensor over every GPU, each in a process of its own."""
    count = torch.cuda.device_count() if run.device.kind == "cuda" else 1
    if count < 2:
        run.left_out("all-reduce over several devices", "there is one device")
        return
    run.progress("all-reduce", 0, 1)
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "allreduce.py")
    command = [sys.executable, script, "--backend", "nccl", "--processes", str(count)]
    try:
        told = "status %d" % subprocess.run(command, stdout=2, timeout=ALL_REDUCE_SECONDS, check=False).returncode
    except subprocess.TimeoutExpired:
        told = "no end after %d s" % ALL_REDUCE_SECONDS
    run.check("all-reduce over %d GPUs" % count, told == "status 0", "status 0", told)
    run.tried("all-reduce over several devices")
