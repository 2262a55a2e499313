"""JAX as the proofs use it: its devices, its operations, and how it compiles, differentiates and trains."""

import os
import sys
import tempfile

import jax
import numpy
from jax import lax
from jax import numpy as jnp
from machine import Unusable, cpu_name, first_line, host_peak_bytes

TYPES = {"bf16": jnp.bfloat16, "fp16": jnp.float16, "fp32": jnp.float32}
# What `--device` calls them and what JAX does.
PLATFORMS = {"cuda": ("cuda", "rocm"), "mps": ("METAL",), "xpu": ("xpu",), "cpu": ("cpu",)}
MOMENTUM, FIRST, SECOND, TINY = 0.9, 0.9, 0.999, 1e-8  # of SGD and of Adam


def use(run):
    """Choose the device, prove it with a small calculation, and give the engine."""
    run.outcome["framework_version"] = jax.__version__
    if run.wanted == "cpu":
        jax.config.update("jax_platforms", "cpu")  # or every other platform is started too
    jax.config.update("jax_default_matmul_precision", "highest")  # TF32 would be found wanting, though it works
    engine = run.device = Engine(*choose(run.wanted))
    run.outcome["device"], run.outcome["device_name"] = engine.kind, engine.name
    with jax.default_device(engine.device):
        total = float(((jnp.ones((16, 16)) * 2) @ jnp.ones((16, 16))).sum())
    if total != 16 * 16 * 32:
        raise Unusable("%s adds wrongly: %r instead of 8192" % (engine.name, total))
    return engine


def choose(wanted):
    """Give the device wanted, or the first that JAX sees, and what it is called here."""
    problem = None
    for kind in ("cuda", "mps", "xpu", "cpu") if wanted == "auto" else (wanted,):
        for platform in PLATFORMS[kind]:
            try:
                return jax.devices(platform)[0], kind
            except RuntimeError as raised:
                problem = problem or raised
    raise Unusable(
        "jax %s sees no %s device: %s" % (jax.__version__, wanted, first_line(problem)),
        "envdoctor diagnose --python %s" % sys.executable,
    )


class Ops:
    """The operations that the networks are made of."""

    def convolve(self, images, weight, stride, groups):
        """Convolve with zeros around."""
        edge = weight.shape[0] // 2
        kinds = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            images, weight, (stride, stride), ((edge, edge),) * 2, dimension_numbers=kinds, feature_group_count=groups
        )

    def pool(self, images):
        """Give the largest of 3x3 numbers, with stride 2."""
        edges = ((0, 0), (1, 1), (1, 1), (0, 0))
        return lax.reduce_window(images, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), edges)

    def mean(self, values, axes, keep=False):
        """Average over axes."""
        return values.mean(axes, keepdims=keep)

    def choose(self, seen, scores):
        """Keep the scores that are seen; the others become as low as can be."""
        return jnp.where(seen, scores, jnp.finfo(scores.dtype).min)

    def put(self, cache, new, at):
        """Write new keys or values into a cache that holds `at` of them."""
        return lax.dynamic_update_slice(cache, new, (0, 0, at, 0))

    def take(self, table, indices):
        """Give the rows of a table."""
        return table[indices]

    clip = staticmethod(jnp.clip)
    maximum = staticmethod(jnp.maximum)
    sqrt = staticmethod(jnp.sqrt)
    tanh = staticmethod(jnp.tanh)
    arange = staticmethod(jnp.arange)
    transpose = staticmethod(jnp.transpose)
    reshape = staticmethod(jnp.reshape)
    softmax = staticmethod(jax.nn.softmax)


class Engine:
    """JAX on one device."""

    def __init__(self, device, kind):
        self.device, self.kind, self.ops = device, kind, Ops()
        self.name = cpu_name() if kind == "cpu" else device.device_kind

    def sync(self):
        """Wait for nothing: what is timed waits for its own result."""

    def peak_bytes(self):
        """Give the most memory held so far: what JAX took on the device, or the whole process on a CPU."""
        return host_peak_bytes() if self.kind == "cpu" else (self.device.memory_stats() or {}).get("peak_bytes_in_use")

    def room(self):
        """Tell how much of the device's memory JAX may take and has taken."""
        found = self.device.memory_stats() or {}
        limit, used = found.get("bytes_limit"), found.get("bytes_in_use")
        return [] if limit is None or used is None else ["JAX may take %d bytes and has taken %d" % (limit, used)]

    def no_code(self):
        """Say that this build has no machine code for this card."""
        return "this jax has no code for %s" % self.name

    compiled = staticmethod(jax.jit)
    wait = staticmethod(jax.block_until_ready)

    def tensor(self, array):
        """Hand an array of numpy to the device."""
        return jax.device_put(array, self.device)

    def placed(self, weights):
        """Hand weights to the device."""
        return {name: self.tensor(part) for name, part in weights.items()}

    def array(self, value):
        """Fetch an array from the device."""
        return numpy.asarray(value)

    def zeros(self, shape):
        """Make zeros on the device."""
        return self.tensor(numpy.zeros(shape, numpy.float32))

    def cast(self, value, dtype):
        """Change the precision of what is floating point."""
        return value.astype(TYPES[dtype]) if jnp.issubdtype(value.dtype, jnp.floating) else value

    def cross_entropy(self, logits, labels):
        """Give the mean loss of labels."""
        logs = jax.nn.log_softmax(logits.astype(jnp.float32)).reshape(-1, logits.shape[-1])
        return -jnp.take_along_axis(logs, labels.reshape(-1, 1), 1).mean()

    def gradients(self, loss):
        """Give the function of the gradients by the weights."""
        return jax.jit(jax.grad(loss))

    def trainer(self, loss, weights, optimizer):
        """Give a function that takes a step with a batch, and gives its loss and whether all gradients were finite."""
        return Trainer(loss, weights, *optimizer)

    def stored(self, weights):
        """Save weights to a file, and give what comes back."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "weights.npz")
            numpy.savez(path, **weights)
            with numpy.load(path) as file:
                return {name: self.array(self.tensor(file[name])) for name in file.files}

    def why_not(self, dtype):
        """Say why the device does not run in a precision; None: it does."""
        if self.kind == "cpu":
            return "on a CPU float16 is emulated: bf16 is what processors have" if dtype == "fp16" else None
        capability = getattr(self.device, "compute_capability", None)
        if dtype == "bf16" and capability and float(capability) < 8:
            return "%s has no bf16: that came with Ampere (8.0), and this is %s" % (self.name, capability)
        if dtype == "fp16" and capability and float(capability) < 7 and float(capability) != 6:
            return "%s (%s) calculates float16 many times slower than float32" % (self.name, capability)
        return None

    def more(self, run):
        """Add up over several devices; give what is left out and why."""
        yield "int8", "JAX has no quantized layers of its own"
        count = jax.local_device_count(self.device.platform)
        if count < 2:
            yield "all-reduce over several devices", "there is one device"
            return
        devices = jax.local_devices(backend=self.device.platform)
        total = jax.pmap(lambda part: lax.psum(part, "all"), "all", devices=devices)(jnp.arange(1.0, count + 1))
        expected = [count * (count + 1) / 2] * count
        run.check("all-reduce over %d devices" % count, total.tolist() == expected, expected, total.tolist())
        run.tried("all-reduce over several devices")


class Trainer:
    """SGD with momentum, or Adam, in one compiled step."""

    def __init__(self, loss, weights, kind, rate):
        # Each state is an array of its own, for a step takes them over.
        zeros = [{name: jnp.zeros_like(part) for name, part in weights.items()} for _ in range(2)]
        self.state = weights, *zeros, jnp.zeros((), jnp.int32)
        change = _adam if kind == "adam" else _sgd

        def step(state, *batch):
            lost, slopes = jax.value_and_grad(loss)(state[0], *batch)
            finite = jnp.all(jnp.stack([jnp.isfinite(part).all() for part in slopes.values()]))
            return change(state, slopes, rate), lost, finite

        self.step = jax.jit(step, donate_argnums=0)

    def __call__(self, *batch):
        """Take a step."""
        self.state, lost, finite = self.step(self.state, *batch)
        return float(lost), bool(finite)


def _sgd(state, slopes, rate):
    weights, speed, unused, count = state
    speed = {name: MOMENTUM * part + slopes[name] for name, part in speed.items()}
    return {name: part - rate * speed[name] for name, part in weights.items()}, speed, unused, count + 1


def _adam(state, slopes, rate):
    weights, first, second, count = state
    count = count + 1
    first = {name: FIRST * part + (1 - FIRST) * slopes[name] for name, part in first.items()}
    second = {name: SECOND * part + (1 - SECOND) * slopes[name] ** 2 for name, part in second.items()}
    one, two = 1 - FIRST**count, 1 - SECOND**count
    new = {
        name: part - rate * (first[name] / one) / (jnp.sqrt(second[name] / two) + TINY)
        for name, part in weights.items()
    }
    return new, first, second, count
