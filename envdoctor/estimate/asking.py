"""From what a person says of a run to a Workload that the model can be run with."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import msgspec

from envdoctor import errors
from envdoctor.model.estimate import Optimizer, Workload
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from envdoctor.estimate.weighing import Model

# A tensor of a larger workload would have more elements than torch can count.
_MOST_ELEMENTS = 1 << 48


def workload(model: Model, *, optimizer: Optimizer | None = None, **how: Any) -> Workload:
    """Make a workload of that model; `how` are fields of Workload, and what is left out has its default.

    Raises:
        errors.UsageProblem: the words do not fit together, or not to this model.
    """
    try:
        made = msgspec.convert({**how, "model": model.name}, type=Workload)
    except msgspec.ValidationError as problem:
        raise errors.UsageProblem(say("this is no workload: {problem}", problem=problem)) from None
    training = made.mode == "training"
    if optimizer is None and training:
        optimizer = "adamw" if model.kind == "tokens" else "sgd"
    made = msgspec.structs.replace(made, optimizer=optimizer or "none")
    for reason, wrong in _contradictions(made, model).items():
        if wrong:
            raise errors.UsageProblem(reason)
    return made


# What may stand in a short text -> the field that it is.
_KEYS = {
    "batch": "batch",
    "image": "image_size",
    "seq": "seq_len",
    "dtype": "dtype",
    "optimizer": "optimizer",
    "attention": "attention",
    "accumulation": "accumulation",
    "checkpointing": "checkpointing",
    "lora": "lora_rank",
    "logits": "logits",
    "cache": "kv_cache",
}
# Larger numbers are slips of the finger, and no workloads.
LARGEST = {"batch": 1 << 20, "image_size": 1 << 14, "seq_len": 1 << 24, "accumulation": 1 << 20, "lora_rank": 1 << 14}
_WORDS = {"yes": True, "no": False, "true": True, "false": False}


def short(text: str) -> tuple[str, dict[str, Any]]:
    """Read `gpt2:training:batch=8,dtype=amp-fp16,seq=512`: the model's name, and fields of Workload.

    >>> short("gpt2:training:batch=8,seq=512")
    ('gpt2', {'mode': 'training', 'batch': 8, 'seq_len': 512})

    Raises:
        errors.UsageProblem: it is no such text, or a number is too large.
    """
    name, _, rest = text.partition(":")
    mode, _, settings = rest.partition(":")
    if not name or mode not in ("training", "inference"):
        raise errors.UsageProblem(
            say("{workload} is no workload", workload=text),
            say("write a model and how it is run: gpt2:training:batch=8,dtype=amp-fp16,seq=512"),
        )
    how: dict[str, Any] = {"mode": mode}
    for setting in filter(None, settings.split(",")):
        key, _, value = (part.strip() for part in setting.partition("="))
        if key not in _KEYS:
            raise errors.UsageProblem(
                say("{workload}: {key} is not known", workload=text, key=key),
                say("there are: {keys}", keys=", ".join(_KEYS)),
            )
        field = _KEYS[key]
        number = int(value) if value.isascii() and value.isdecimal() and len(value) < 20 else None
        if field in LARGEST and (number is None or not 1 <= number <= LARGEST[field]):
            raise errors.UsageProblem(
                say("{workload}: {key} is a number from 1 to {largest}", workload=text, key=key, largest=LARGEST[field])
            )
        how[field] = number if number is not None else _WORDS.get(value, value)
    return name, how


def _contradictions(made: Workload, model: Model) -> dict[str, bool]:
    training, tokens = made.mode == "training", model.kind == "tokens"
    elements = made.batch * (made.seq_len or 1) * (made.image_size or 1) ** 2
    return {
        say("{model} is given images, which have no --seq-len", model=model.name): made.seq_len is not None
        and not tokens,
        say("{model} is given tokens, which have no --image-size", model=model.name): made.image_size is not None
        and tokens,
        say("{model} is given images and has no --kv-cache", model=model.name): made.kv_cache and not tokens,
        say("--optimizer is for --mode training"): made.optimizer != "none" and not training,
        say("--kv-cache is for --mode inference"): made.kv_cache and training,
        say("--kv-dtype is the type of a cache: add --kv-cache"): made.kv_dtype != "same" and not made.kv_cache,
        say("--checkpointing is for --mode training"): made.checkpointing and not training,
        say("--accumulation is for --mode training"): made.accumulation > 1 and not training,
        say("--lora is for --mode training"): made.lora_rank is not None and not training,
        say("weights of {dtype} cannot be trained; with --lora adapters beside them can", dtype=made.dtype): training
        and made.dtype in ("int8", "int4")
        and made.lora_rank is None,
        say("--zero shares among devices: say how many with --shards"): made.zero_stage > 0 and made.shards == 1,
        say("--shards needs --zero 1, 2 or 3, which says what is shared"): made.shards > 1 and made.zero_stage == 0,
        say("--weight-decay must be a number from 0 up"): not isfinite(made.weight_decay) or made.weight_decay < 0,
        say("batch and size together are more than torch can count"): elements > _MOST_ELEMENTS,
    }
