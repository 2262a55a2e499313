"""Follow two steps of any torch model over shapes, and say which bytes were made and let go, and when.

Runs inside the environment that has the model: Python 3.8 or newer, the standard library and torch (2.1 or newer). It
imports and calls the person's module, which is code of theirs: it is started only when asked for. Tensors are torch's
FakeTensors, which have shapes and lifetimes but no numbers, so no memory to speak of is taken and nothing is computed.

What is said: JSON, one object a line on stdout. `{"stage": "trace"}` while it runs; the events in pieces,
`{"deltas": [512, -512], "mates": [4, 0]}` (bytes made and what for, or let go and by which event they were made), and
so the operations of the last pass and of its step, `{"work": [[0, 64, 512]]}` (kind, floating-point operations, and the
bytes that are read and written); at the end `{"traced": {...}}` or `{"problem": "...", "hint": "..."}`. Whatever the
module prints goes to stderr.
"""

import argparse
import collections
import functools
import importlib
import importlib.util
import json
import os
import sys
import traceback
import weakref

# What bytes are for, in the order of the fields of envdoctor's record Parts.
WEIGHTS, BUFFERS, GRADIENTS, OPTIMIZER, ACTIVATIONS, TEMPORARY, INPUTS = range(7)
PRODUCT, CONVOLUTION, ELEMENTS, IN_PLACE = range(4)  # what an operation does
BLOCK = 512  # the CUDA caching allocator rounds every request up to this
PIECE = 20000  # events a line


class Refused(Exception):
    """The model cannot be followed; the two arguments say why and what to do."""


class Voice:
    """The real stdout; everybody else's output becomes stderr."""

    def __init__(self):
        sys.stdout.flush()
        self.out = os.dup(1)
        os.dup2(2, 1)

    def say(self, **message):
        """Write one line."""
        line = (json.dumps(message) + "\n").encode()
        while line:
            line = line[os.write(self.out, line) :]


class Book:
    """The events: bytes made (positive) or let go (negative); `mates` says what for, or which event made them."""

    def __init__(self):
        self.deltas = []
        self.mates = []
        self.marks = []
        self.kind = WEIGHTS
        self.flops = 0
        self.moved = 0
        self.work = []  # of the last pass, and behind it of the step
        self.known = weakref.WeakKeyDictionary()

    def see(self, tensor):
        """Note a tensor's storage, once; it is let go when the last tensor that shares it is."""
        storage = tensor.untyped_storage()
        if storage in self.known:
            return
        at = len(self.deltas)
        size = storage.nbytes()
        self.deltas.append(-(-size // BLOCK) * BLOCK)
        self.mates.append(self.kind)
        self.known[storage] = at
        weakref.finalize(storage, self.gone, at)

    def gone(self, at):
        """Note that the bytes of an event are let go."""
        self.deltas.append(-self.deltas[at])
        self.mates.append(at)

    def becomes(self, tensor, kind):
        """Say that these bytes are for something else than what was going on when they were made."""
        at = self.known.get(tensor.untyped_storage())
        if at is not None:
            self.mates[at] = kind

    def enter(self, phase):
        """Say what happens from here on."""
        self.marks.append([phase, len(self.deltas)])
        self.kind = ACTIVATIONS if phase == "forward" else TEMPORARY


def options():
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Follow two steps of a torch model over shapes.")
    parser.add_argument("factory", help="module.py:factory or package.module:factory")
    parser.add_argument("--input", action="append", required=True, help="1,3,224,224, or 1,128:int64 for token ids")
    parser.add_argument("--mode", choices=("inference", "training"), default="inference")
    parser.add_argument("--dtype", choices=("fp32", "fp16", "bf16", "amp-fp16", "amp-bf16"), default="fp32")
    parser.add_argument("--optimizer", choices=("none", "sgd", "adam", "adamw"), default="none")
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--no-foreach", action="store_true")
    parser.add_argument("--accumulation", type=int, default=1, help="passes whose gradients are summed before a step")
    return parser.parse_args()


def load(text):
    """Import the module and give its factory."""
    place, _, name = text.rpartition(":")
    if place.endswith(".py"):
        path = os.path.abspath(place)
        if not os.path.isfile(path):
            raise Refused("there is no file %s" % place, None)
        sys.path.insert(0, os.path.dirname(path))
        spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    else:
        sys.path.insert(0, os.getcwd())
        module = importlib.import_module(place)
    found = functools.reduce(lambda each, part: getattr(each, part, None), name.split("."), module)
    if not callable(found):
        names = sorted(each for each in vars(module) if callable(getattr(module, each)) and not each.startswith("_"))
        raise Refused("%s has no function or class %s" % (place, name), "it has: %s" % ", ".join(names[:8]))
    return found


def follow(torch, book, wanted):
    """Build the model and run it; gives its number of parameters."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_flatten

    try:
        from torch.utils.flop_counter import flop_registry
    except ImportError:
        flop_registry = {}

    class Watch(TorchDispatchMode):
        """Sees every operation, also those of the backward pass and of the optimizer."""

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            out = func(*args, **kwargs)
            flat = [each for each in tree_flatten(out)[0] if isinstance(each, torch.Tensor)]
            given = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, torch.Tensor)]
            for each in flat:
                book.see(each)
            moved = 0 if func.is_view else sum(each.numel() * each.element_size() for each in (*given, *flat))
            count = flop_registry.get(func._overloadpacket)
            flops = 0 if count is None else int(count(*args, **kwargs, out_val=out))
            book.moved += moved
            book.flops += flops
            if not func.is_view:
                name = func._overloadpacket.__name__
                kind = ELEMENTS if count is None else CONVOLUTION if "conv" in name else PRODUCT
                book.work.append([IN_PLACE if kind == ELEMENTS and name.endswith("_") else kind, flops, moved])
            return out

    # Modules that copy their layers (nn.TransformerEncoder) copy a fake tensor's mode too, and two modes do not mix.
    FakeTensorMode.__deepcopy__ = lambda mode, memo: mode
    dtypes = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    with FakeTensorMode():
        model = load(wanted.factory)()
        if not isinstance(model, torch.nn.Module):
            raise Refused("the factory gave %s, and not a torch.nn.Module" % type(model).__name__, None)
        if wanted.dtype in dtypes:
            convert(torch, model, dtypes[wanted.dtype])
        model.train(wanted.mode == "training")
        batch = [make(torch, each, dtypes.get(wanted.dtype, torch.float32)) for each in wanted.input]
        for kind, tensors in ((WEIGHTS, model.parameters()), (BUFFERS, model.buffers()), (INPUTS, batch)):
            book.kind = kind
            for each in tensors:
                book.see(each)
        made = len(book.deltas)
        step = Steps(torch, book, model, batch, wanted)
        with Watch():
            for _ in range(2 if wanted.mode == "training" else 1):
                book.flops = book.moved = 0
                ready = len(book.deltas)
                step.once()
        return {
            "parameters": sum(each.numel() for each in model.parameters()),
            "made": made,
            "ready": ready,
            "marks": book.marks,
            "flops": book.flops,
            "moved": book.moved,
            "events": len(book.deltas),
            "passed": step.passed,
            "operations": len(book.work),
        }


def convert(torch, model, dtype):
    """Do what model.to(dtype) does, which refuses fake tensors; a weight that is shared stays shared."""
    done = {}
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            for name, each in held.items():
                if each is None or not each.is_floating_point() or each.dtype == dtype:
                    continue
                if id(each) not in done:
                    cast = each.detach().to(dtype)
                    parameter = isinstance(each, torch.nn.Parameter)
                    done[id(each)] = (torch.nn.Parameter(cast, each.requires_grad) if parameter else cast, each)
                held[name] = done[id(each)][0]


def make(torch, text, dtype):
    """Make one input: sizes with commas, and `:int64` behind them for what counts or names things."""
    sizes, _, kind = text.partition(":")
    shape = [int(each) for each in sizes.split(",")]
    return torch.zeros(shape, dtype=getattr(torch, kind)) if kind else torch.zeros(shape, dtype=dtype)


class Steps:
    """One step after the other, as a plain training loop does them."""

    def __init__(self, torch, book, model, batch, wanted):
        self.torch, self.book, self.model, self.batch, self.wanted = torch, book, model, batch, wanted
        weights = [each for each in model.parameters() if each.requires_grad]
        decay = {"weight_decay": wanted.weight_decay, "foreach": not wanted.no_foreach}
        make = {
            "none": lambda: None,
            "sgd": lambda: torch.optim.SGD(weights, lr=0.1, momentum=0.9, **decay),
            "adam": lambda: torch.optim.Adam(weights, **decay),
            "adamw": lambda: torch.optim.AdamW(weights, **decay),
        }
        self.weights = weights
        self.passed = 0  # operations of a pass
        self.optimizer = make[wanted.optimizer]() if wanted.mode == "training" else None

    def once(self):
        """Do one step. Two passes show what summed gradients hold; more of them would show nothing else."""
        book, training = self.book, self.wanted.mode == "training"
        passes = min(self.wanted.accumulation, 2) if training else 1
        for _ in range(passes):
            self.forward_and_backward(training)
        book.flops = book.flops // passes * self.wanted.accumulation
        book.moved = book.moved // passes * self.wanted.accumulation
        self.passed = len(book.work)
        if training:
            book.enter("step")
            self.optimize()

    def forward_and_backward(self, training):
        """Do one pass."""
        book, torch = self.book, self.torch
        book.work = []
        book.enter("forward")
        mixed = {"amp-fp16": torch.float16, "amp-bf16": torch.bfloat16}.get(self.wanted.dtype)
        casting = torch.autocast("cpu", mixed or torch.bfloat16, enabled=mixed is not None)
        with torch.set_grad_enabled(training), casting:
            result = self.model(*self.batch)
            loss = self.loss(result) if training else None
        del result
        if not training:
            return
        book.enter("backward")
        loss.backward()
        for each in self.weights:
            if each.grad is not None:
                book.becomes(each.grad, GRADIENTS)

    def optimize(self):
        """Let the optimizer do its step, and drop the gradients as zero_grad does."""
        if self.optimizer is not None:
            self.optimizer.step()
            for state in self.optimizer.state.values():
                for each in state.values():
                    if isinstance(each, self.torch.Tensor):
                        self.book.becomes(each, OPTIMIZER)
        for each in self.weights:
            each.grad = None

    def loss(self, result):
        """Make a number of what the model gave: its own loss, cross-entropy for classes, else a mean."""
        torch = self.torch
        own = getattr(result, "loss", None)
        if isinstance(own, torch.Tensor):
            return own
        result = getattr(result, "logits", result)
        if isinstance(result, dict):
            result = list(result.values())
        tensors = [result] if isinstance(result, torch.Tensor) else list(result)
        floating = [each for each in tensors if isinstance(each, torch.Tensor) and each.is_floating_point()]
        if not floating:
            raise Refused("the model gave no tensor of floats, so there is no loss to train it by", None)
        first = floating[0]
        if first.dim() in (2, 3) and first.shape[-1] > 1:
            classes = first.reshape(-1, first.shape[-1]).float()
            return torch.nn.functional.cross_entropy(classes, torch.zeros(classes.shape[0], dtype=torch.int64))
        return first.float().mean()


def words(problem):
    """Give the first line of what an exception says."""
    return (str(problem).strip().splitlines() or ["no message"])[0][:300]


def main():
    """Follow the model, say what was seen, and give the exit status."""
    wanted = options()
    voice = Voice()
    voice.say(stage="import")
    try:
        import torch
    except Exception as problem:
        voice.say(problem="torch cannot be imported in %s: %s" % (sys.executable, words(problem)), hint=None)
        return 1
    book = Book()
    voice.say(stage="trace")
    try:
        traced = follow(torch, book, wanted)
    except Refused as problem:
        voice.say(problem=problem.args[0], hint=problem.args[1])
        return 1
    except BaseException as problem:
        traceback.print_exc()
        where = collections.deque(traceback.extract_tb(problem.__traceback__), 1)[0]
        place = "%s line %s" % (os.path.basename(where.filename), where.lineno)
        voice.say(problem="the model raised %s: %s (%s)" % (type(problem).__name__, words(problem), place), hint=None)
        return 1
    deltas, mates = book.deltas[: traced["events"]], book.mates[: traced["events"]]
    for at in range(0, len(deltas), PIECE):
        voice.say(deltas=deltas[at : at + PIECE], mates=mates[at : at + PIECE])
    for at in range(0, len(book.work), PIECE):
        voice.say(work=book.work[at : at + PIECE])
    voice.say(traced=traced)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # taking thousands of tensors apart would only cost time
