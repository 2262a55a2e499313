"""Prove an environment with a convolutional network: ResNet-18, whole for speed and accuracy, small for training.

The network is the published one (He et al., https://arxiv.org/abs/1512.03385), in plain torch, so that an environment
without torchvision can be proved too. Start it by hand with `python cnn.py --device auto`.
"""

import copy
import math
import sys

import measure

run = measure.Run("cnn", "torch")
with run.importing():
    import torch
    from torch import nn
    from torch.nn import functional

# https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.resnet18.html
PUBLISHED_PARAMETERS = 11689512
LOSS_RATIO = 0.6  # 10 classes start at ln 10 = 2.3; without learning the ratio stays at 1; 0.1 to 0.3 is usual
CLASSES = 10
# One in a million numbers lies so near to zero that float32 and float64 put it on different sides of a ReLU; each such
# number changes the first layer's gradient by up to 1 % (50 seeds measured), where a wrong kernel is off by 100 %.
GRADIENT_TOLERANCE = 0.05


class Block(nn.Module):
    """Two 3x3 convolutions and the way around them."""

    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.around = nn.Sequential()
        if stride != 1 or channels_in != channels:
            self.around = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, images):
        """Give the next feature maps."""
        inner = functional.relu(self.norm1(self.conv1(images)))
        return functional.relu(self.norm2(self.conv2(inner)) + self.around(images))


class ResNet18(nn.Module):
    """The 18-layer residual network for colour images of any size from 32x32 up."""

    def __init__(self, classes):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        blocks, before = [], 64
        for channels in (64, 128, 256, 512):
            blocks += [Block(before, channels, 1 if channels == 64 else 2), Block(channels, channels, 1)]
            before = channels
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(512, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images):
        """Give the logits of each class."""
        return self.head(self.blocks(self.stem(images)).mean((2, 3)))


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


def reference(model):
    """Copy a network to the CPU in float64."""
    return copy.deepcopy(model).to("cpu").double()


def check_whole(device, generator):
    """Check size, output and accuracy of the whole network, and give it back."""
    run.progress("build", 0, 1)
    model = ResNet18(1000)
    count = sum(part.numel() for part in model.parameters())
    run.measured("parameters", count)
    run.check("parameter count", count == PUBLISHED_PARAMETERS, PUBLISHED_PARAMETERS, count)
    model = model.to(device.kind).eval()
    run.progress("build", 1, 1)
    images, _ = gratings(generator, 2, 224)
    with torch.no_grad(), device.exact():
        run.progress("forward", 0, 2)
        output = model(images.to(device.kind))
        run.check("output shape", tuple(output.shape) == (2, 1000), (2, 1000), tuple(output.shape))
        run.progress("forward", 1, 2)
        run.agree("output agrees with float64", output, reference(model)(images.double()))
        run.progress("forward", 2, 2)
    return model


def check_training(device, generator):
    """Train a ResNet-18 on generated images: gradients must agree with float64, and the loss must fall."""
    steps, size = (20, 32) if run.quick else (32, 64)
    model = ResNet18(CLASSES)
    sample = gratings(generator, 8, 32)
    exact = reference(model)
    loss_of(exact, (sample[0].double(), sample[1])).backward()
    model = model.to(device.kind)
    with device.exact():
        loss_of(model, [part.to(device.kind) for part in sample]).backward()
    first, first_exact = model.stem[0].weight.grad, exact.stem[0].weight.grad
    run.agree("gradient of the first layer agrees with float64", first, first_exact, GRADIENT_TOLERANCE)
    batches = [[part.to(device.kind) for part in gratings(generator, 32, size)] for _ in range(steps)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002, momentum=0.9)
    losses, finite = measure.train(torch, run, model, batches, loss_of, optimizer)
    run.check("gradients are finite", finite, "finite in every step", "finite" if finite else "NaN or infinite")
    run.fell(losses, LOSS_RATIO)


def work(run):
    """Do everything this workload proves."""
    device = run.use(torch)
    generator = torch.Generator().manual_seed(run.seed)
    model = check_whole(device, generator)
    check_training(device, generator)
    batch = 8 if device.kind == "cpu" else 64
    images = gratings(generator, batch, 224)[0].to(device.kind)
    with torch.no_grad():
        run.speed(lambda: model(images), batch, "images/s", 0.5 if run.quick else 3.0)


if __name__ == "__main__":
    sys.exit(run.through(work))
