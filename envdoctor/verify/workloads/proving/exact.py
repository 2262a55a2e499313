"""The reference: each operation in float64 with numpy, which TensorFlow and JAX bring, and what a seed makes."""

import math

import numpy

HALF_WIDTH = 1e-6  # of the change of a weight in finite differences


class Exact:
    """The operations that the networks are made of."""

    def convolve(self, images, weight, stride, groups):
        """Convolve with zeros around; `groups` is 1 or the number of channels."""
        side = weight.shape[0]
        edge = side // 2
        images = numpy.pad(images, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
        windows = numpy.lib.stride_tricks.sliding_window_view(images, (side, side), (1, 2))[:, ::stride, ::stride]
        if groups == 1:
            return numpy.tensordot(windows, weight, ((3, 4, 5), (2, 0, 1)))
        return numpy.einsum("nhwckl,klc->nhwc", windows, weight[:, :, 0])

    def pool(self, images):
        """Give the largest of 3x3 numbers, with stride 2."""
        images = numpy.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-numpy.inf)
        return numpy.lib.stride_tricks.sliding_window_view(images, (3, 3), (1, 2))[:, ::2, ::2].max((-2, -1))

    def mean(self, values, axes, keep=False):
        """Average over axes."""
        return values.mean(axes, keepdims=keep)

    def softmax(self, values):
        """Give shares that add up to 1 along the last axis."""
        values = numpy.exp(values - values.max(-1, keepdims=True))
        return values / values.sum(-1, keepdims=True)

    def choose(self, seen, scores):
        """Keep the scores that are seen; the others become as low as can be."""
        return numpy.where(seen, scores, -1e30)

    clip = staticmethod(numpy.clip)
    maximum = staticmethod(numpy.maximum)
    sqrt = staticmethod(numpy.sqrt)
    tanh = staticmethod(numpy.tanh)
    arange = staticmethod(numpy.arange)
    transpose = staticmethod(numpy.transpose)
    reshape = staticmethod(numpy.reshape)

    def take(self, table, indices):
        """Give the rows of a table."""
        return table[indices]


class Doubled:
    """Weights that become float64 when they are asked for, one after the other, so that they never all are."""

    def __init__(self, weights):
        self.weights = weights

    def __getitem__(self, name):
        return self.weights[name].astype(numpy.float64)


def weights(network, seed):
    """Draw the weights of a network in float32: He's for convolutions, GPT-2's for the rest."""
    generator = numpy.random.default_rng(seed)
    drawn = {}
    for name, shape in network.shapes.items():
        if len(shape) == 1:
            drawn[name] = numpy.full(shape, 1.0 if name.endswith("scale") else 0.0, numpy.float32)
            continue
        if len(shape) == 4:
            # He's, by what goes out of a number: in a depthwise convolution one channel.
            out = shape[3] if shape[2] > 1 or shape[3] == 1 else 1
            spread = math.sqrt(2 / (shape[0] * shape[1] * out))
        else:
            spread = 0.02 / math.sqrt(2 * network.layers) if "_proj" in name else 0.02
        drawn[name] = generator.standard_normal(shape, numpy.float32) * numpy.float32(spread)
    return drawn


def gratings(generator, count, size, classes):
    """Draw striped images under noise; the class is the angle and the colour of the stripes."""
    labels = generator.integers(classes, size=count)
    angle, hue = labels * (math.pi / classes), labels * (2 * math.pi / classes)
    wavelength, phase = 6 + 6 * generator.random(count), 2 * math.pi * generator.random(count)
    rows, columns = numpy.arange(size)[None, :, None], numpy.arange(size)[None, None, :]
    along = numpy.cos(angle)[:, None, None] * columns + numpy.sin(angle)[:, None, None] * rows
    stripes = numpy.sin(2 * math.pi * along / wavelength[:, None, None] + phase[:, None, None])
    colour = numpy.stack([numpy.cos(hue + shift) for shift in (0.0, 2.1, 4.2)], 1)
    noise = generator.standard_normal((count, size, size, 3))
    return (colour[:, None, None, :] + stripes[..., None] + 0.5 * noise).astype(numpy.float32), labels


def counting(generator, rows, length, numbers):
    """Write rows that count up from anywhere by 1 to 5, over and over: two numbers of a row tell the rest."""
    start, stride = generator.integers(numbers, size=(rows, 1)), generator.integers(1, 6, size=(rows, 1))
    return ((start + stride * numpy.arange(length)) % numbers).astype(numpy.int32)


def cross_entropy(logits, labels):
    """Give the mean loss of labels."""
    logits = logits.reshape(-1, logits.shape[-1])
    highest = logits.max(-1, keepdims=True)
    logs = logits - highest - numpy.log(numpy.exp(logits - highest).sum(-1, keepdims=True))
    return -logs[numpy.arange(len(logs)), labels.reshape(-1)].mean()


def slopes(loss, drawn, generator, each):
    """Give what the loss does when a weight changes a little: name, place and slope, for some weights of every part."""
    exact = {name: part.astype(numpy.float64) for name, part in drawn.items()}
    for name in sorted(exact):
        flat = exact[name].reshape(-1)
        for place in generator.integers(flat.size, size=each):
            kept, ends = flat[place], []
            for change in (HALF_WIDTH, -HALF_WIDTH):
                flat[place] = kept + change
                ends.append(loss(exact))
            flat[place] = kept
            yield name, int(place), (ends[0] - ends[1]) / (2 * HALF_WIDTH)
