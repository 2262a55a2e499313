"""What is proved of a CNN and of GPT-2 in a framework that works on plain arrays.

`engine` is the framework: where it runs, its operations, and how it compiles, differentiates and trains.
"""

import exact
import images
import numpy
import words

LOSS_RATIO = 0.6  # of the first loss; without learning it stays at 1; 0.1 to 0.4 is usual
# A gradient in float32 against a difference in float64: rounding makes 1e-6 to 1e-5 of the largest, a wrong kernel 1.
SLOPE_TOLERANCE = 1e-3
LEAST_SLOPE = 1e-3  # of the largest: below it a slope is judged by this, since some are zero but for rounding
# As shares of the largest value, against float32. bfloat16 keeps 2^-9 of a number, float16 2^-12; fifty layers add up.
TOLERANCES = {"bf16": 0.15, "fp16": 0.02}


def prove_cnn(run, engine):
    """Prove a network for images: whole for speed and accuracy, on small images for training."""
    generator = numpy.random.default_rng(run.seed)
    network, drawn = build(run, images.Network(run.model, 1000), images.PUBLISHED_PARAMETERS[run.model])
    forward = engine.compiled(lambda weights, pictures: network(engine.ops, weights, pictures))
    pictures, _ = exact.gratings(generator, 2, 224, images.CLASSES)
    placed = engine.placed(drawn)
    run.progress("forward", 0, 2)
    output = engine.array(forward(placed, engine.tensor(pictures)))
    run.check("output shape", output.shape == (2, 1000), (2, 1000), output.shape)
    run.progress("forward", 1, 2)
    reference = network(exact.Exact(), exact.Doubled(drawn), pictures.astype(numpy.float64))
    agree(run, "output agrees with float64", output, reference)
    run.progress("forward", 2, 2)
    _check_slopes(run, engine, images.Network("tiny", 4), _image_loss, exact.gratings(generator, 4, 16, 4))
    slow = run.model == "mobilenetv2"  # plain SGD teaches it nothing in so few steps
    steps, side = (40, 64) if slow else (20, 32) if run.quick else (32, 64)
    optimizer = ("adam", 0.003) if slow else ("sgd", 0.002)
    small = images.Network(run.model, images.CLASSES)
    batches = [exact.gratings(generator, 32, side, images.CLASSES) for _ in range(steps)]
    _check_training(run, engine, small, _image_loss, batches, optimizer)
    batch = 8 if engine.kind == "cpu" else 64
    many = engine.tensor(exact.gratings(generator, batch, 224, images.CLASSES)[0])
    run.speed(lambda: engine.wait(forward(placed, many)), batch, "images/s", seconds(run))
    if run.thorough:
        _more(run, engine, small, _image_loss, batches[:4], optimizer)
        _precisions(run, engine, forward, placed, many, batch, "images/s")


def prove_gpt2(run, engine):
    """Prove a language model: whole for speed, accuracy and generation with a cache, a small one for training."""
    generator = numpy.random.default_rng(run.seed)
    network, drawn = build(run, words.Network(run.model), words.PUBLISHED_PARAMETERS[run.model])
    vocabulary = network.shapes["wte"][0]
    forward = engine.compiled(lambda weights, tokens: network(engine.ops, weights, tokens)[0])
    tokens = generator.integers(vocabulary, size=(1, 64)).astype(numpy.int32)
    placed = engine.placed(drawn)
    run.progress("forward", 0, 2)
    output = engine.array(forward(placed, engine.tensor(tokens)))
    run.check("output shape", output.shape == (1, 64, vocabulary), (1, 64, vocabulary), output.shape)
    run.progress("forward", 1, 2)
    agree(run, "output agrees with float64", output, network(exact.Exact(), exact.Doubled(drawn), tokens)[0])
    run.progress("forward", 2, 2)
    del drawn, output
    writer = Writer(engine, network, placed, 8 if run.quick else 24)
    written, chosen = writer.write(run.progress)
    whole = engine.array(forward(placed, engine.tensor(written[:, :-1])))
    agree(run, "generation with a cache agrees with a whole pass", chosen, whole[:, len(words.HELLO_WORLD) - 1 :])
    rows = exact.counting(generator, 4, 8, 11)
    _check_slopes(run, engine, words.Network("tiny"), _word_loss, (rows[:, :-1], rows[:, 1:]))
    batches = []
    for _ in range(70 if run.quick else 110):
        rows = exact.counting(generator, 32, 25, words.NUMBERS)
        batches.append((rows[:, :-1], rows[:, 1:]))
    small = words.Network("small")
    _check_training(run, engine, small, _word_loss, batches, ("adam", 2e-3))
    run.speed(writer.write, writer.count, "tokens/s", seconds(run))
    if run.thorough:
        _more(run, engine, small, _word_loss, batches[:4], ("adam", 2e-3))
        _precisions(run, engine, forward, placed, engine.tensor(tokens), 64, "tokens/s read")


def build(run, network, published):
    """Draw the weights of the whole network and compare their count with the published one."""
    run.progress("build", 0, 1)
    drawn = exact.weights(network, run.seed)
    count = sum(part.size for part in drawn.values())
    run.measured("parameters", int(count))
    run.check("parameter count", count == published, published, count)
    run.progress("build", 1, 1)
    return network, drawn


class Writer:
    """Greedy generation with a cache: the prompt in one pass, then one token after the other."""

    def __init__(self, engine, network, placed, count):
        self.engine, self.network, self.placed, self.count = engine, network, placed, count
        self.step = engine.compiled(lambda weights, new, cache, at: network(engine.ops, weights, new, cache, at))

    def write(self, tell=None):
        """Give prompt and new tokens, and the logits that chose each new one."""
        engine, tokens, chosen = self.engine, list(words.HELLO_WORLD), []
        shape = self.network.cache_shape(1, len(tokens) + self.count)
        cache = [(engine.zeros(shape), engine.zeros(shape)) for _ in range(self.network.layers)]
        new, at = tokens, 0
        for done in range(self.count):
            logits, cache = self.step(
                self.placed, engine.tensor(numpy.array([new], numpy.int32)), cache, engine.tensor(numpy.int32(at))
            )
            chosen.append(engine.array(logits[:, -1]))
            at += len(new)
            new = [int(chosen[-1][0].argmax())]
            tokens += new
            if tell:
                tell("generate", done + 1, self.count)
        return numpy.array([tokens], numpy.int32), numpy.stack(chosen, 1)


def agree(run, name, actual, reference, relative=None):
    """Check an array against its reference: no value may be further off than this share of the largest one."""
    reference = numpy.asarray(reference, numpy.float64)
    error = float(abs(numpy.asarray(actual, numpy.float64) - reference).max())
    scale = float(abs(reference).max())
    if relative is None:
        run.within(name, error, scale)
    else:
        run.within(name, error, scale, relative)


def train(run, engine, network, loss, batches, optimizer):
    """Train a small network; gives the loss of every step and whether all gradients were finite."""
    trainer = engine.trainer(_loss(engine, network, loss), engine.placed(exact.weights(network, run.seed)), optimizer)
    losses, finite = [], True
    for step, batch in enumerate(batches):
        lost, fine = trainer(*(engine.tensor(part) for part in batch))
        losses.append(lost)
        finite = finite and fine
        run.progress("train", step + 1, len(batches))
    return losses, finite


def _check_training(run, engine, network, loss, batches, optimizer):
    losses, finite = train(run, engine, network, loss, batches, optimizer)
    run.check("gradients are finite", finite, "finite in every step", "finite" if finite else "NaN or infinite")
    run.fell(losses, LOSS_RATIO)


def _image_loss(ops, network, weights, pictures, labels, cross_entropy):
    return cross_entropy(network(ops, weights, pictures, True), labels)


def _word_loss(ops, network, weights, rows, after, cross_entropy):
    return cross_entropy(network(ops, weights, rows)[0], after)


def _loss(engine, network, loss, dtype=None):
    def lost(weights, inputs, labels):
        if dtype is not None:
            weights = {name: engine.cast(part, dtype) for name, part in weights.items()}
            inputs = engine.cast(inputs, dtype)
        return loss(engine.ops, network, weights, inputs, labels, engine.cross_entropy)

    return lost


def _check_slopes(run, engine, network, loss, batch):
    """Compare the gradients of a tiny network with what small changes of its weights do in float64."""
    run.progress("gradient", 0, 1)
    drawn = exact.weights(network, run.seed)
    inputs, labels = batch
    reference = inputs.astype(numpy.float64) if inputs.dtype == numpy.float32 else inputs
    found = engine.gradients(_loss(engine, network, loss))(
        engine.placed(drawn), engine.tensor(inputs), engine.tensor(labels)
    )
    found = {name: engine.array(part).reshape(-1) for name, part in found.items()}
    lost = loss_in(exact.Exact(), network, loss, reference, labels)
    parts = {}
    for name, place, slope in exact.slopes(lost, drawn, numpy.random.default_rng(run.seed), 3):
        parts.setdefault(name, []).append((found[name][place], slope))
    # As shares of the largest of their own part: beside the head's, a wrong slope of attention would not be seen.
    scales = {name: max(abs(slope) for _, slope in pairs) for name, pairs in parts.items()}
    least = LEAST_SLOPE * max(scales.values())
    shares = [
        (actual / max(scales[name], least), slope / max(scales[name], least))
        for name, pairs in parts.items()
        for actual, slope in pairs
    ]
    actual, expected = zip(*shares)
    agree(run, "gradient agrees with finite differences", actual, expected, SLOPE_TOLERANCE)


def loss_in(ops, network, loss, inputs, labels):
    """Give the loss as a function of the weights alone, in float64."""
    return lambda weights: loss(ops, network, weights, inputs, labels, exact.cross_entropy)


def _more(run, engine, network, loss, batches, optimizer):
    """Check what `--thorough` adds to training: same losses from the same seed, and a checkpoint."""
    if engine.kind == "cpu":
        curves = [train(run, engine, network, loss, batches, optimizer)[0] for _ in range(2)]
        run.check("same seed, same losses on the CPU", curves[0] == curves[1], curves[0], curves[1])
    drawn = exact.weights(network, run.seed + 1)
    run.progress("checkpoint", 0, 1)
    loaded = engine.stored(engine.placed(drawn))
    same = set(loaded) == set(drawn) and all((loaded[name] == part).all() for name, part in drawn.items())
    run.check("checkpoint comes back", same, "the same weights", "the same weights" if same else "other weights")
    for dtype in TOLERANCES:
        name, why = "%s training" % dtype, engine.why_not(dtype)
        if why:
            run.left_out(name, why)
            continue
        trainer = engine.trainer(_loss(engine, network, loss, dtype), engine.placed(drawn), optimizer)
        one = [engine.tensor(part) for part in batches[0]]
        losses = [trainer(*one)[0] for _ in range(8)]
        run.check("%s lowers the loss" % name, losses[-1] < losses[0], "below %.3g" % losses[0], "%.3g" % losses[-1])
        run.tried(name)
    for name, why in engine.more(run):
        run.left_out(name, why)


def _precisions(run, engine, forward, placed, inputs, items, unit):
    """Run the whole network in each precision that the device has."""
    expected = engine.array(forward(placed, inputs))
    for dtype, tolerance in TOLERANCES.items():
        name, why = "%s inference" % dtype, engine.why_not(dtype)
        run.progress(name, 0, 1)
        if why:
            run.left_out(name, why)
            continue
        weights = {key: engine.cast(part, dtype) for key, part in placed.items()}
        fewer = engine.cast(inputs, dtype)
        actual = engine.array(engine.cast(forward(weights, fewer), "fp32"))
        agree(run, "%s agrees with float32" % name, actual, expected, tolerance)
        run.tried(name, run.pace(lambda: engine.wait(forward(weights, fewer)), items, 0.5), unit)  # noqa: B023


def seconds(run):
    """Give how long speed is measured."""
    return 0.5 if run.quick else 3.0
