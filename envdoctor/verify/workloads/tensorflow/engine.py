"""TensorFlow as the proofs use it: its devices, its operations, and how it compiles, differentiates and trains."""

import os
import sys
import tempfile

import numpy
import tensorflow as tf
from machine import Unusable, cpu_name, host_peak_bytes, size

TYPES = {"bf16": tf.bfloat16, "fp16": tf.float16, "fp32": tf.float32}


def use(run):
    """Choose the device, prove it with a small calculation, seed every generator, and give the engine."""
    run.outcome["framework_version"] = tf.__version__
    cards = tf.config.list_physical_devices("GPU")
    seen = "mps" if sys.platform == "darwin" else "cuda"  # with Apple's plug-in its GPU is called GPU too
    kind = (seen if cards else "cpu") if run.wanted == "auto" else run.wanted
    if kind not in ("cpu", *([seen] if cards else [])):
        words = "tensorflow %s sees no %s device" % (tf.__version__, kind)
        if kind == "cuda" and not tf.test.is_built_with_cuda():
            words = "tensorflow %s is a CPU build: it cannot use a CUDA device" % tf.__version__
        raise Unusable(words, "envdoctor diagnose --python %s" % sys.executable)
    if kind == "cpu":
        tf.config.set_visible_devices([], "GPU")
    else:
        for card in cards:
            tf.config.experimental.set_memory_growth(card, True)
        tf.config.experimental.enable_tensor_float_32_execution(False)  # it would be found wanting, though it works
    engine = run.device = Engine(kind, cards)
    run.outcome["device"], run.outcome["device_name"] = engine.kind, engine.name
    total = float(tf.reduce_sum((tf.ones((16, 16)) * 2) @ tf.ones((16, 16))))
    if total != 16 * 16 * 32:
        raise Unusable("%s adds wrongly: %r instead of 8192" % (engine.name, total))
    tf.keras.utils.set_random_seed(run.seed)
    return engine


class Ops:
    """The operations that the networks are made of."""

    def convolve(self, images, weight, stride, groups):
        """Convolve with zeros around; `groups` is 1 or the number of channels."""
        edge = weight.shape[0] // 2
        edges = ((0, 0), (edge, edge), (edge, edge), (0, 0))
        if groups == 1:
            return tf.nn.conv2d(images, weight, stride, edges)
        weight = tf.transpose(weight, (0, 1, 3, 2))
        return tf.nn.depthwise_conv2d(images, weight, (1, stride, stride, 1), edges)

    def pool(self, images):
        """Give the largest of 3x3 numbers, with stride 2."""
        images = tf.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=images.dtype.min)
        return tf.nn.max_pool2d(images, 3, 2, "VALID")

    def mean(self, values, axes, keep=False):
        """Average over axes."""
        return tf.reduce_mean(values, axes, keep)

    def clip(self, values, low, high):
        """Cut values off at both ends."""
        return tf.clip_by_value(values, low, high)

    def choose(self, seen, scores):
        """Keep the scores that are seen; the others become as low as can be."""
        return tf.where(seen, scores, tf.constant(scores.dtype.min, scores.dtype))

    def put(self, cache, new, at):
        """Write new keys or values into a cache that holds `at` of them."""
        whole = tf.concat((cache[:, :, :at], new, cache[:, :, at + new.shape[2] :]), 2)
        return tf.ensure_shape(whole, cache.shape)

    maximum = staticmethod(tf.maximum)
    sqrt = staticmethod(tf.sqrt)
    tanh = staticmethod(tf.tanh)
    arange = staticmethod(tf.range)
    transpose = staticmethod(tf.transpose)
    reshape = staticmethod(tf.reshape)
    softmax = staticmethod(tf.nn.softmax)
    take = staticmethod(tf.gather)


class Engine:
    """TensorFlow on one device."""

    def __init__(self, kind, cards):
        self.kind, self.ops = kind, Ops()
        self.details = tf.config.experimental.get_device_details(cards[0]) if kind != "cpu" else {}
        self.name = self.details.get("device_name", "GPU") if kind != "cpu" else cpu_name()

    def sync(self):
        """Wait for nothing: what is timed waits for its own result."""

    def peak_bytes(self):
        """Give the most memory held so far: what TensorFlow took on the device, or the whole process on a CPU."""
        return host_peak_bytes() if self.kind == "cpu" else tf.config.experimental.get_memory_info("GPU:0")["peak"]

    def room(self):
        """Tell how much of the device's memory TensorFlow has taken."""
        taken = tf.config.experimental.get_memory_info("GPU:0")["current"]
        return ["%s gave %s to TensorFlow" % (self.name, size(taken))]

    def no_code(self):
        """Say that this build has no machine code for this card."""
        return "this tensorflow has no code for %s" % self.name

    compiled = staticmethod(tf.function)

    def wait(self, value):
        """Wait until a tensor is there."""
        return value.numpy()

    def tensor(self, array):
        """Hand an array of numpy to the device."""
        return tf.convert_to_tensor(array)

    def placed(self, weights):
        """Hand weights to the device."""
        return {name: tf.convert_to_tensor(part) for name, part in weights.items()}

    def array(self, value):
        """Fetch an array from the device."""
        return value.numpy()

    def zeros(self, shape):
        """Make zeros on the device."""
        return tf.zeros(shape)

    def cast(self, value, dtype):
        """Change the precision of what is floating point."""
        return tf.cast(value, TYPES[dtype]) if value.dtype.is_floating else value

    def cross_entropy(self, logits, labels):
        """Give the mean loss of labels."""
        logits = tf.cast(logits, tf.float32)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))

    def gradients(self, loss):
        """Give the function of the gradients by the weights."""

        @tf.function
        def slopes(weights, *batch):
            with tf.GradientTape() as tape:
                tape.watch(weights)
                lost = loss(weights, *batch)
            return {name: tf.convert_to_tensor(part) for name, part in tape.gradient(lost, weights).items()}

        return slopes

    def trainer(self, loss, weights, optimizer):
        """Give a function that takes a step with a batch, and gives its loss and whether all gradients were finite."""
        kind, rate = optimizer
        optimizer = tf.keras.optimizers.Adam(rate) if kind == "adam" else tf.keras.optimizers.SGD(rate, momentum=0.9)
        variables = {name: tf.Variable(part) for name, part in weights.items()}
        optimizer.build(list(variables.values()))

        @tf.function
        def step(*batch):
            with tf.GradientTape() as tape:
                lost = loss(variables, *batch)
            slopes = [tf.convert_to_tensor(part) for part in tape.gradient(lost, list(variables.values()))]
            optimizer.apply_gradients(zip(slopes, variables.values()))
            return lost, tf.reduce_all([tf.reduce_all(tf.math.is_finite(part)) for part in slopes])

        def taken(*batch):
            lost, finite = step(*batch)
            return float(lost), bool(finite)

        return taken

    def stored(self, weights):
        """Save weights as a checkpoint, and give what comes back."""
        names = sorted(weights)
        parts = [tf.Variable(weights[name]) for name in names]
        back = [tf.Variable(tf.zeros_like(part)) for part in parts]
        with tempfile.TemporaryDirectory() as folder:
            path = tf.train.Checkpoint(parts=parts).write(os.path.join(folder, "weights"))
            tf.train.Checkpoint(parts=back).read(path).assert_consumed()
        return {name: part.numpy() for name, part in zip(names, back)}

    def why_not(self, dtype):
        """Say why the device does not run in a precision; None: it does."""
        if self.kind == "cpu":
            return "on a CPU float16 is emulated: bf16 is what processors have" if dtype == "fp16" else None
        capability = self.details.get("compute_capability")
        if dtype == "bf16" and capability and capability < (8, 0):
            return "%s has no bf16: that came with Ampere (8.0), and this is %d.%d" % (self.name, *capability)
        if dtype == "fp16" and capability and capability < (7, 0) and capability != (6, 0):
            return "%s (%d.%d) calculates float16 many times slower than float32" % (self.name, *capability)
        return None

    def more(self, run):
        """Train, save and load a Keras model, and add up over several GPUs; give what is left out and why."""
        check_keras(run)
        yield "int8", "TensorFlow quantizes for LiteRT, which is another program"
        count = len(tf.config.list_logical_devices("GPU"))
        if count < 2:
            yield "all-reduce over several devices", "there is one device"
            return
        strategy = tf.distribute.MirroredStrategy()

        def part():
            place = tf.distribute.get_replica_context()
            return place.all_reduce("SUM", tf.cast(place.replica_id_in_sync_group, tf.float32) + 1)

        total = [float(each) for each in strategy.experimental_local_results(strategy.run(part))]
        expected = [count * (count + 1) / 2] * count
        run.check("all-reduce over %d devices" % count, total == expected, expected, total)
        run.tried("all-reduce over several devices")


def check_keras(run):
    """Train a small Keras model with `fit`, save it, load it, and compare what both give."""
    run.progress("keras", 0, 1)
    generator = numpy.random.default_rng(run.seed)
    inputs = generator.standard_normal((256, 8)).astype(numpy.float32)
    labels = inputs.argmax(1)
    layers = [tf.keras.Input((8,)), tf.keras.layers.Dense(32, "relu"), tf.keras.layers.Dense(8)]
    model = tf.keras.Sequential(layers)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf.keras.optimizers.Adam(0.01), loss)
    losses = model.fit(inputs, labels, epochs=8, verbose=0).history["loss"]
    run.check("a Keras model learns", losses[-1] < 0.7 * losses[0], "below %.3g" % (0.7 * losses[0]), losses[-1])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        model.save(path)
        loaded = tf.keras.models.load_model(path)
    off = float(abs(loaded(inputs).numpy() - model(inputs).numpy()).max())
    run.check("a Keras model comes back", off == 0, "the same output", "off by %.3g" % off)
