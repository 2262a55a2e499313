"""How settings change a model: its precision, its layout, its layers, what runs it, and what that does to it."""

import ctypes
import importlib.util
import io
import os
import tempfile

from thorough import quantized, why_no_int8, why_no_precision, why_not_compiled
from torch import nn
from torch.utils.checkpoint import checkpoint as compute_twice

TYPES = {"bf16": "bfloat16", "fp16": "float16"}
LEFT_OUT = 4  # one in so many of the layers that can be left out


def abilities(torch, device, goal, images):
    """Say of each choice why it cannot be made here; None: it can."""
    training = goal == "training"
    found = {"channels_last": None if images else "a language model has no images"}
    for dtype in ("bf16", "fp16"):
        found["amp-%s" % dtype if training else dtype] = why_no_precision(device, dtype)
    writing = not images and not training
    found["compile"] = (
        "text that grows token by token is compiled anew for each length" if writing else why_not_compiled(device)
    )
    if not training:
        found["int8"] = why_no_int8(device)
        found["onnxruntime"] = _why_no_onnx(images)
        found["tensorrt"] = _why_no_tensorrt(device)
    return found


def _why_no_onnx(images):
    if not images:
        return "it is tried for image networks only"
    for name in ("onnxruntime", "onnx"):
        if importlib.util.find_spec(name) is None:
            return "%s is not installed" % name
    return None


def _why_no_tensorrt(device):
    if device.kind != "cuda":
        return "TensorRT runs on NVIDIA's GPUs only"
    return None if importlib.util.find_spec("torch_tensorrt") else "torch_tensorrt is not installed"


def settled(torch, model, settings, kind, subject):
    """Change a model for inference as the settings say, and put it on the device."""
    if settings["pruned"]:
        drop(subject.droppable(model))
    precision, runtime = settings["precision"], settings["runtime"]
    if precision == "int8":
        model = quantized(model)
    elif precision in TYPES:
        model = model.to(getattr(torch, TYPES[precision]))
    model = model.to(kind)
    if settings["channels_last"]:
        model = model.to(memory_format=torch.channels_last)
    if runtime == "compile":
        return torch.compile(model)
    if runtime == "tensorrt":
        import torch_tensorrt  # noqa: F401  its import makes the backend known

        return torch.compile(model, backend="tensorrt")
    if runtime == "onnxruntime":
        return Onnx(torch, model, subject.inputs(2), kind)
    return model


def cast(torch, inputs, settings, kind):
    """Give inputs the type and the place that a model wants; token numbers keep theirs."""
    inputs = inputs.to(kind)
    if inputs.is_floating_point() and settings["precision"] in TYPES:
        inputs = inputs.to(getattr(torch, TYPES[settings["precision"]]))
    return laid_out(torch, inputs, settings)


def laid_out(torch, inputs, settings):
    """Lay out images as the settings say."""
    if settings["channels_last"] and inputs.dim() == 4:
        return inputs.contiguous(memory_format=torch.channels_last)
    return inputs


class Onnx:
    """A network that ONNX Runtime runs, called as the module was."""

    def __init__(self, torch, model, example, kind):
        import onnxruntime

        self.torch = torch
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.onnx")
            names = {"input_names": ["images"], "output_names": ["logits"]}
            shapes = {"images": {0: "batch", 2: "height", 3: "width"}, "logits": {0: "batch"}}
            options = {} if torch.__version__.startswith("1.") else _exporter(torch)
            torch.onnx.export(model, example.to(kind), path, dynamic_axes=shapes, **names, **options)
            self.size = os.path.getsize(path)
            first = "CUDAExecutionProvider" if kind == "cuda" else "CPUExecutionProvider"
            choices = onnxruntime.SessionOptions()
            choices.intra_op_num_threads = torch.get_num_threads()
            self.session = onnxruntime.InferenceSession(path, choices, providers=[first])

    def __call__(self, images):
        """Give the logits."""
        return self.torch.from_numpy(self.session.run(None, {"images": images.cpu().numpy()})[0])


def _exporter(torch):
    """Choose the exporter that needs onnx alone; the newer one also wants onnxscript."""
    import inspect

    return {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}


def drop(layers):
    """Leave out every fourth of the layers, from the last but one backwards, so that the places before stay."""
    for container, index in layers[-2::-LEFT_OUT] or layers[-1:]:
        del container[index]


def checkpoint(model, layers):
    """Let each layer forget what it computed, and compute it again in the backward pass."""
    for container, key in layers:
        setattr(container, key, Twice(getattr(container, key)))


class Twice(nn.Module):
    """A layer that is computed again in the backward pass."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *inputs):
        """Give what the layer gives."""
        return compute_twice(self.inner, *inputs, use_reentrant=False)


def scaler(torch, enabled):
    """Make what keeps small gradients of fp16 above zero; it moved to torch.amp with 2.3."""
    if hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler("cuda", enabled=enabled)
    return torch.cuda.amp.GradScaler(enabled=enabled)


def first(output):
    """Give the logits of a network that also gives a cache."""
    return output[0] if isinstance(output, tuple) else output


def agreement(torch, actual, expected):
    """Give the share of equal first choices, and how far outputs moved as a share of how far apart they lie."""
    actual, expected = actual.detach().cpu().double(), expected.detach().cpu().double()
    same = (actual.argmax(-1) == expected.argmax(-1)).double().mean().item()
    spread = (expected - expected.mean(-1, keepdim=True)).pow(2).mean().sqrt().item()
    moved = (actual - expected).pow(2).mean().sqrt().item()
    return same, moved / spread if spread else 0.0


class _Counter(io.RawIOBase):
    """A file that only counts what is written to it."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def writable(self):
        """Say that it can be written to."""
        return True

    def write(self, data):
        """Count, and keep nothing."""
        self.count += len(data)
        return len(data)


def file_bytes(torch, model):
    """Give the size of the file that the weights are saved in."""
    if isinstance(model, Onnx):
        return model.size
    counter = _Counter()
    torch.save(model.state_dict(), counter)
    return counter.count


def forget_peak(torch, kind):
    """Start to count the highest point anew, where the system lets a process do that."""
    if kind == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    try:
        ctypes.CDLL(None).malloc_trim(0)  # the C library keeps what was freed; only glibc has this
    except (AttributeError, OSError, TypeError):
        pass
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")  # proc(5): the peak becomes what is held now
    except OSError:
        pass
