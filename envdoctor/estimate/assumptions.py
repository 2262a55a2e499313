"""What a figure rests on that was not measured, in the words of a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.model.speech import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envdoctor.model.estimate import Workload


def assumed(workload: Workload) -> tuple[str, ...]:
    """Return one sentence for each term of a workload that no measured row covers, or that is a choice."""
    return tuple(_assumed(workload))


def _assumed(workload: Workload) -> Iterator[str]:
    training = workload.mode == "training"
    if workload.dtype == "int4":
        yield (
            say(
                "int4 weights are bitsandbytes' nf4 with double quantization, 4.127 bits each, and unpacked for each "
                "product; not measured here, but after the QLoRA paper. GPTQ and AWQ take 4.2 to 4.3 bits"
            )
        )
    if workload.dtype == "int8":
        yield (
            say(
                "int8 weights are bitsandbytes' LLM.int8, one byte and a scale a row; not measured here, but after "
                "bitsandbytes' code"
            )
        )
    if workload.dtype in ("int4", "int8") and training:
        yield say("weights that are not packed are fp32, as peft.prepare_model_for_kbit_training leaves them")
    if training and workload.lora_rank is not None:
        yield say("adapters beside every linear layer but the head (peft's all-linear), in fp32, without dropout")
    if workload.kv_cache and workload.kv_dtype != "same":
        yield (
            say(
                "the {kv_dtype} key-value cache has two half-precision numbers for every 64 elements, and one layer "
                "of it is unpacked at a time; not measured here, but after transformers' QuantizedCache",
                kv_dtype=workload.kv_dtype,
            )
        )
    if training and workload.shards > 1:
        yield from _shared(workload)


def _shared(workload: Workload) -> Iterator[str]:
    if workload.zero_stage == 0:
        yield say("data parallel: gradients are held a second time, in the buckets that are sent; not measured here")
        return
    yield say(
        "ZeRO stage {zero_stage} divides states as the ZeRO paper says; not measured here",
        zero_stage=workload.zero_stage,
    )
    if workload.dtype.startswith("amp"):
        yield say("the model itself is in half precision, with an fp32 copy of the weights among the divided states")
    if workload.zero_stage == 3:
        yield say("two layers, and what is in no layer, are whole at a time (FSDP with one unit a layer)")
    else:
        yield say("up to 500 million gradient elements are reduced at a time (DeepSpeed's reduce_bucket_size)")
