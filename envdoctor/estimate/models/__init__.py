"""Models, each written as its framework's module is: what a name means, and how it is built on a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from envdoctor.errors import UsageProblem
from envdoctor.estimate import ops
from envdoctor.estimate.tape import Run
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envdoctor.estimate.tape import Tensor

    Forward = Callable[[Tensor], Tensor]  # pixels or token ids -> logits, or what the loss takes
    Loss = Callable[[Tensor], Tensor]


class UnknownModel(UsageProblem):
    """No model of that name is known; the hint names near ones."""


class Architecture:
    """A model that can be walked.

    `build(run)` makes its weights and buffers on a run, in the order of `module.parameters()`, and returns its forward
    pass: from (batch, 3, side, side) pixels or (batch, tokens) ids to logits. `loss` makes those a number.

    `layers` are how many it has that are alike, one after the other (0: they are not), and `with_layers` gives the same
    model with another number of them.
    """

    __slots__ = (
        "assumptions",
        "build",
        "counted",
        "default_size",
        "kind",
        "layers",
        "loss",
        "maximum_size",
        "name",
        "with_layers",
    )

    def __init__(
        self,
        *,
        name: str,
        kind: Literal["image", "tokens"],
        build: Callable[[Run], Forward],
        default_size: int,
        maximum_size: int | None = None,
        loss: Loss | None = None,
        assumptions: tuple[str, ...] = (),
        layers: int = 0,
        with_layers: Callable[[int], Architecture] | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.build = build
        self.default_size = default_size  # pixels of a side, or tokens
        self.maximum_size = maximum_size  # None: any
        self.loss: Loss = loss or (ops.cross_entropy if kind == "image" else ops.causal_loss)
        self.assumptions = assumptions  # what a person must know about every figure of this model
        self.layers = layers
        self.with_layers = with_layers
        self.counted: int | None = None

    @property
    def parameters(self) -> int:
        """The number of weights' elements."""
        if self.counted is None:
            run = Run()
            self.build(run)
            self.counted = sum(p.count for p in run.parameters)
        return self.counted


# Name -> the module of this package that has it, as the function `architecture(name)`.
HOMES = {
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"), "resnet"),
    **dict.fromkeys(("mobilenetv2", "mobilenetv3-large", "mobilenetv3-small"), "mobilenet"),
    **dict.fromkeys(("efficientnet-b0", "efficientnet-lite0"), "efficientnet"),
    **dict.fromkeys(("vgg16", "vgg16-bn"), "vgg"),
    **dict.fromkeys(("yolov8n", "yolov8s"), "yolo"),
    **dict.fromkeys(("vit-b-16", "vit-l-16"), "vit"),
    **dict.fromkeys(("bert-base", "bert-base-masked-lm", "bert-large"), "bert"),
    **dict.fromkeys(("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"), "gpt2"),
}
NAMES = tuple(HOMES)


def named(name: str) -> Architecture:
    """Return the model of a name, whatever its case, dashes and underscores. Raises UnknownModel."""
    plain = _plain(name)
    for known, home in HOMES.items():
        if _plain(known) == plain:
            from importlib import import_module

            made: Architecture = import_module(f"envdoctor.estimate.models.{home}").architecture(known)
            return made
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), NAMES, 3, 0.5)
    raise UnknownModel(
        say("no model named {name!r} is known", name=name),
        say("near: {near}", near=", ".join(near))
        if near
        else say("give the path of a Hugging Face config.json, or one of `estimate --list`"),
    )


def from_config(name: str, config: Mapping[str, object]) -> Architecture:
    """Return the decoder that a Hugging Face `config.json` describes. Raises UnknownModel for another model type."""
    from envdoctor.estimate.models.decoder import from_config as read

    return read(name, config)


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")
