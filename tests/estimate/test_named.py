"""Names of models, and their published numbers of parameters."""

from __future__ import annotations

import pytest

from envdoctor.errors import USAGE
from envdoctor.estimate.models import NAMES, UnknownModel, from_config, named
from envdoctor.estimate.walk import walk
from envdoctor.model.estimate import Workload

# torchvision's and timm's tables, Ultralytics' model summary, and `num_parameters()` of transformers.
PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "mobilenetv2": 3_504_872,
    "mobilenetv3-large": 5_483_032,
    "mobilenetv3-small": 2_542_856,
    "efficientnet-b0": 5_288_548,
    "efficientnet-lite0": 4_652_008,
    "vgg16": 138_357_544,
    "vgg16-bn": 138_365_992,
    "yolov8n": 3_157_200,
    "yolov8s": 11_166_560,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones(name: str) -> None:
    assert named(name).parameters == PUBLISHED[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_can_be_walked_and_trained(name: str) -> None:
    model = named(name)
    seen = walk(Workload(model=name, seq_len=32 if model.kind == "tokens" else None), model)
    trained = walk(
        Workload(model=name, mode="training", optimizer="sgd", seq_len=32 if model.kind == "tokens" else None), model
    )
    assert seen.parameters == trained.parameters == model.parameters
    assert seen.parts.weights >= 4 * model.parameters
    assert trained.allocated_bytes > seen.allocated_bytes


@pytest.mark.parametrize("spelled", ["ResNet-50", "resnet_50", "RESNET50"])
def test_a_name_may_be_spelled_as_people_do(spelled: str) -> None:
    assert named(spelled).name == "resnet50"


def test_an_unknown_name_gets_near_ones() -> None:
    with pytest.raises(UnknownModel, match="'resnet51'") as caught:
        named("resnet51")
    assert caught.value.status == USAGE
    assert "resnet50" in str(caught.value.hint)


def test_a_config_of_gpt2_is_gpt2() -> None:
    config = {"model_type": "gpt2", "n_embd": 1024, "n_layer": 24, "n_head": 16}
    read, known = from_config("mine", config), named("gpt2-medium")
    assert read.parameters == known.parameters
    workload = Workload(model="mine", mode="training", optimizer="adamw", batch=2, seq_len=100)
    assert walk(workload, read) == walk(workload, known)
    smaller = from_config("mine", {**config, "n_inner": 1024, "vocab_size": 1000, "n_positions": 128})
    assert smaller.parameters < known.parameters / 2
    assert smaller.maximum_size == 128


def test_a_config_that_does_not_fit_together_is_said() -> None:
    from envdoctor.estimate.models.config import BadConfig

    with pytest.raises(BadConfig, match="n_embd 100 is no multiple of n_head 12"):
        from_config("mine", {"model_type": "gpt2", "n_embd": 100})
