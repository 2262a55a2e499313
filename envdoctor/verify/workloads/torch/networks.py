"""Networks for images in plain torch, as published: ResNet-18, ResNet-50 and MobileNetV2, and images to train them on.

He et al., https://arxiv.org/abs/1512.03385 (with the stride in the 3x3 convolution, as torchvision has it), and Sandler
et al., https://arxiv.org/abs/1801.04381. An environment without torchvision can be proved too.
"""

import math

import torch
from torch import nn
from torch.nn import functional

# Trainable numbers with 1000 classes. https://docs.pytorch.org/vision/stable/models.html
PUBLISHED_PARAMETERS = {"resnet18": 11689512, "resnet50": 25557032, "mobilenetv2": 3504872}
CLASSES = 10  # of the images that `gratings` draws


def build(name, classes):
    """Make a network by its name, with random weights."""
    if name == "mobilenetv2":
        return MobileNetV2(classes)
    return ResNet(Block, (2, 2, 2, 2), classes) if name == "resnet18" else ResNet(Bottleneck, (3, 4, 6, 3), classes)


def initialize(model):
    """Draw the weights of the convolutions so that the signal keeps its size."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            # He's, by what goes out of a number; a depthwise convolution has one channel for each.
            out = module.out_channels // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / (module.weight[0, 0].numel() * out)))


def around(channels_in, channels, stride):
    """Make the way around a block: nothing, or a convolution where the shapes differ."""
    if stride == 1 and channels_in == channels:
        return nn.Sequential()
    return nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))


class Block(nn.Module):
    """Two 3x3 convolutions and the way around them."""

    expansion = 1

    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.around = around(channels_in, channels, stride)

    def forward(self, images):
        """Give the next feature maps."""
        inner = functional.relu(self.norm1(self.conv1(images)))
        return functional.relu(self.norm2(self.conv2(inner)) + self.around(images))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones, and the way around them."""

    expansion = 4

    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(4 * channels)
        self.around = around(channels_in, 4 * channels, stride)

    def forward(self, images):
        """Give the next feature maps."""
        inner = functional.relu(self.norm1(self.conv1(images)))
        inner = functional.relu(self.norm2(self.conv2(inner)))
        return functional.relu(self.norm3(self.conv3(inner)) + self.around(images))


class ResNet(nn.Module):
    """A residual network for colour images of any size from 32x32 up."""

    def __init__(self, block, depths, classes, widths=(64, 128, 256, 512)):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 7, 2, 3, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        blocks, before = [], widths[0]
        for stage, (depth, channels) in enumerate(zip(depths, widths)):
            for index in range(depth):
                blocks.append(block(before, channels, 2 if stage and not index else 1))
                before = block.expansion * channels
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(before, classes)
        initialize(self)

    def forward(self, images):
        """Give the logits of each class."""
        return self.head(self.blocks(self.stem(images)).mean((2, 3)))


class Inverted(nn.Module):
    """Widen, filter each channel, narrow; around it a residual where the shapes allow."""

    def __init__(self, channels_in, channels, stride, widening):
        super().__init__()
        inner = channels_in * widening
        widen = unit(channels_in, inner, 1) if widening != 1 else nn.Sequential()
        narrow = nn.Sequential(nn.Conv2d(inner, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.parts = nn.Sequential(widen, unit(inner, inner, 3, stride, inner), narrow)
        self.residual = stride == 1 and channels_in == channels

    def forward(self, images):
        """Give the next feature maps."""
        inner = self.parts(images)
        return images + inner if self.residual else inner


def unit(channels_in, channels, side, stride=1, groups=1):
    """Make a convolution with its normalization and a ReLU that ends at 6."""
    convolution = nn.Conv2d(channels_in, channels, side, stride, side // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU6())


class MobileNetV2(nn.Module):
    """MobileNetV2 of width 1."""

    # widening, channels, repeats, stride of the first: table 2 of the paper
    PLAN = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(self, classes):
        super().__init__()
        blocks, before = [unit(3, 32, 3, 2)], 32
        for widening, channels, repeats, stride in self.PLAN:
            for index in range(repeats):
                blocks.append(Inverted(before, channels, 1 if index else stride, widening))
                before = channels
        self.blocks = nn.Sequential(*blocks, unit(before, 1280, 1))
        self.head = nn.Linear(1280, classes)
        initialize(self)

    def forward(self, images):
        """Give the logits of each class."""
        return self.head(self.blocks(images).mean((2, 3)))


def gratings(generator, count, size):
    """Draw striped images under noise; the class is the angle and the colour of the stripes."""
    labels = torch.randint(CLASSES, (count,), generator=generator)
    angle = labels * (math.pi / CLASSES)
    wavelength = 6 + 6 * torch.rand(count, generator=generator)
    phase = 2 * math.pi * torch.rand(count, generator=generator)
    rows, columns = torch.arange(size).view(1, size, 1), torch.arange(size).view(1, 1, size)
    along = angle.cos().view(-1, 1, 1) * columns + angle.sin().view(-1, 1, 1) * rows
    stripes = torch.sin(2 * math.pi * along / wavelength.view(-1, 1, 1) + phase.view(-1, 1, 1))
    hue = 2 * math.pi * labels / CLASSES
    colour = torch.stack([torch.cos(hue + shift) for shift in (0.0, 2.1, 4.2)], 1)
    noise = torch.randn(count, 3, size, size, generator=generator)
    return colour.view(-1, 3, 1, 1) + stripes.unsqueeze(1) + 0.5 * noise, labels


def loss_of(model, batch):
    """Give the loss of one batch."""
    images, labels = batch
    return functional.cross_entropy(model(images), labels)
