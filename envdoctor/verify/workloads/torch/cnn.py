"""Prove an environment with a convolutional network: whole for speed and accuracy, on small images for training.

ResNet-18, or ResNet-50 or MobileNetV2 with `--model`. Start it by hand with `python cnn.py --device auto`.
"""

import copy
import sys

import measure

run = measure.Run("cnn", "torch", ("resnet18", "resnet50", "mobilenetv2"))
with run.importing():
    import torch
    from networks import CLASSES, PUBLISHED_PARAMETERS, build, gratings, loss_of
    from thorough import Subject, check_more

LOSS_RATIO = 0.6  # 10 classes start at ln 10 = 2.3; without learning the ratio stays at 1; 0.1 to 0.3 is usual
# One in a million numbers lies so near to zero that float32 and float64 put it on different sides of a ReLU; each such
# number changes the first layer's gradient by up to 1 % (50 seeds measured), where a wrong kernel is off by 100 %.
GRADIENT_TOLERANCE = 0.05


def reference(model):
    """Copy a network to the CPU in float64."""
    return copy.deepcopy(model).to("cpu").double()


def check_whole(device, generator):
    """Check size, output and accuracy of the whole network, and give it back."""
    run.progress("build", 0, 1)
    model = build(run.model, 1000)
    published = PUBLISHED_PARAMETERS[run.model]
    count = sum(part.numel() for part in model.parameters())
    run.measured("parameters", count)
    run.check("parameter count", count == published, published, count)
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
    """Train such a network on generated images: gradients must agree with float64, and the loss must fall."""
    slow = run.model == "mobilenetv2"  # plain SGD teaches it nothing in so few steps
    steps, size = ((24, 64) if slow else (20, 32)) if run.quick else (32, 64)
    model = build(run.model, CLASSES)
    sample = gratings(generator, 8, 32)
    exact = reference(model)
    loss_of(exact, (sample[0].double(), sample[1])).backward()
    model = model.to(device.kind)
    with device.exact():
        loss_of(model, [part.to(device.kind) for part in sample]).backward()
    first, first_exact = (next(each.parameters()).grad for each in (model, exact))
    run.agree("gradient of the first layer agrees with float64", first, first_exact, GRADIENT_TOLERANCE)
    batches = [[part.to(device.kind) for part in gratings(generator, 32, size)] for _ in range(steps)]
    if slow:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    else:
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
    if run.thorough:
        batches = [[part.to(device.kind) for part in gratings(generator, 8, 64)] for _ in range(4)]
        more = Subject(
            model=model,
            inputs=images,
            once=lambda network, images: network(images),
            items=batch,
            unit="images/s",
            small=lambda: build(run.model, CLASSES),
            batches=batches,
            loss_of=loss_of,
        )
        check_more(run, more)


if __name__ == "__main__":
    sys.exit(run.through(work))
