"""Networks for images, written once for every framework that works on plain arrays: ResNet-18, ResNet-50, MobileNetV2.

He et al., https://arxiv.org/abs/1512.03385 (with the stride in the 3x3 convolution), and Sandler et al.,
https://arxiv.org/abs/1801.04381. Images are batch, height, width, channels. `ops` does the calculation: `exact.Exact`
in float64 with numpy, and one class for each framework.
"""

import math

# Trainable numbers with 1000 classes. https://docs.pytorch.org/vision/stable/models.html
PUBLISHED_PARAMETERS = {"resnet18": 11689512, "resnet50": 25557032, "mobilenetv2": 3504872}
CLASSES = 10  # of the images that `gratings` draws
DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3), "tiny": (1, 1)}
WIDTHS = {"tiny": (4, 8)}
# widening, channels, repeats, stride of the first: table 2 of the paper on MobileNetV2
PLAN = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class Unit:
    """A convolution, its normalization, and what comes after."""

    def __init__(self, name, side, before, channels, stride=1, groups=1, after=None):
        self.name, self.stride, self.groups, self.after = name, stride, groups, after
        self.shapes = {
            name + ".weight": (side, side, before // groups, channels),
            name + ".scale": (channels,),
            name + ".shift": (channels,),
        }

    def __call__(self, ops, weights, images, training):
        """Give the next feature maps."""
        images = ops.convolve(images, weights[self.name + ".weight"], self.stride, self.groups)
        images = normalize(ops, images, weights[self.name + ".scale"], weights[self.name + ".shift"], training)
        if self.after is None:
            return images
        return ops.clip(images, 0.0, 6.0) if self.after == "relu6" else ops.maximum(images, 0.0)


class Residual:
    """Some units and the way around them, which may be a unit too."""

    def __init__(self, units, around=None, relu=True):
        self.units, self.around, self.relu = units, around, relu
        self.shapes = {}
        for unit in (*units, *([around] if around else [])):
            self.shapes.update(unit.shapes)

    def __call__(self, ops, weights, images, training):
        """Give the next feature maps."""
        inner = images
        for unit in self.units:
            inner = unit(ops, weights, inner, training)
        inner = inner + (self.around(ops, weights, images, training) if self.around else images)
        return ops.maximum(inner, 0.0) if self.relu else inner


class Pool:
    """The largest of 3x3 numbers, with stride 2."""

    shapes = {}

    def __call__(self, ops, weights, images, training):
        """Give the smaller feature maps."""
        return ops.pool(images)


class Network:
    """A network by its name; `shapes` has the names and shapes of its weights."""

    def __init__(self, name, classes):
        self.parts, width = _mobilenet() if name == "mobilenetv2" else _resnet(name)
        self.shapes = {"head.weight": (width, classes), "head.bias": (classes,)}
        for part in self.parts:
            self.shapes.update(part.shapes)

    def __call__(self, ops, weights, images, training=False):
        """Give the logits of each class. In training, batches are normalized by their own mean and variance."""
        for part in self.parts:
            images = part(ops, weights, images, training)
        return ops.mean(images, (1, 2)) @ weights["head.weight"] + weights["head.bias"]

    def count(self):
        """Count the trainable numbers."""
        return sum(math.prod(shape) for shape in self.shapes.values())


def _resnet(name):
    widths = WIDTHS.get(name, (64, 128, 256, 512))
    before, parts = widths[0], [Unit("stem", 7, 3, widths[0], 2, after="relu"), Pool()]
    for stage, (depth, channels) in enumerate(zip(DEPTHS[name], widths)):
        for index in range(depth):
            stride, at = 2 if stage and not index else 1, "%d.%d" % (stage, index)
            if name == "resnet50":
                after = 4 * channels
                units = [
                    Unit(at + ".1", 1, before, channels, after="relu"),
                    Unit(at + ".2", 3, channels, channels, stride, after="relu"),
                    Unit(at + ".3", 1, channels, after),
                ]
            else:
                after = channels
                units = [
                    Unit(at + ".1", 3, before, channels, stride, after="relu"),
                    Unit(at + ".2", 3, channels, channels),
                ]
            around = None if stride == 1 and before == after else Unit(at + ".around", 1, before, after, stride)
            parts.append(Residual(units, around))
            before = after
    return parts, before


def _mobilenet():
    before, parts = 32, [Unit("stem", 3, 3, 32, 2, after="relu6")]
    for stage, (widening, channels, repeats, first) in enumerate(PLAN):
        for index in range(repeats):
            stride, at, inner = 1 if index else first, "%d.%d" % (stage, index), before * widening
            units = [Unit(at + ".1", 1, before, inner, after="relu6")] if widening != 1 else []
            units += [
                Unit(at + ".2", 3, inner, inner, stride, inner, after="relu6"),
                Unit(at + ".3", 1, inner, channels),
            ]
            parts += [Residual(units, relu=False)] if stride == 1 and before == channels else units
            before = channels
    return [*parts, Unit("last", 1, before, 1280, after="relu6")], 1280


def normalize(ops, images, scale, shift, training):
    """Normalize each channel; outside of training the kept mean is 0 and the kept variance 1, as they begin."""
    if training:
        images = images - ops.mean(images, (0, 1, 2))
        variance = ops.mean(images * images, (0, 1, 2))
        return images * (scale / ops.sqrt(variance + 1e-5)) + shift
    return images * (scale * (1 + 1e-5) ** -0.5) + shift
