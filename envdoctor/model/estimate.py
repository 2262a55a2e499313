"""What shall run, and what it will need: memory in bytes, time in seconds."""

from __future__ import annotations

from typing import Literal

from envdoctor.model import Record

Mode = Literal["inference", "training"]
Dtype = Literal["fp32", "fp16", "bf16", "amp-fp16", "amp-bf16", "int8", "int4"]
Optimizer = Literal["none", "sgd", "adam", "adamw"]
Verdict = Literal["fits", "tight", "out-of-memory", "unknown"]


class Workload(Record):
    """A model and how it is run. The defaults are torch's on CUDA: foreach optimizers, scaled-dot-product attention.

    `sgd` has a momentum of 0.9. `int8` and `int4` are the weights of linear layers; what is computed is then fp16.
    """

    model: str  # a name of `estimate.models.NAMES`, or the text that named it
    mode: Mode = "inference"
    batch: int = 1  # samples a step on one device, before accumulation
    image_size: int | None = None  # pixels of a square side; None: the model's own
    seq_len: int | None = None  # tokens of a sample; None: the model's own
    dtype: Dtype = "fp32"
    optimizer: Optimizer = "none"
    weight_decay: float = 0.0
    foreach: bool = True
    attention: Literal["sdpa", "eager"] = "sdpa"
    kv_cache: bool = False
    kv_dtype: Literal["same", "int8", "int4"] = "same"
    logits: Literal["all", "last"] = "all"
    checkpointing: bool = False
    accumulation: int = 1  # steps whose gradients are summed before one optimizer step
    lora_rank: int | None = None  # None: every weight is trained
    shards: int = 1  # devices that share the states
    zero_stage: Literal[0, 1, 2, 3] = 0  # ZeRO; 3 is also FSDP's full shard
    device: Literal["cuda", "cpu"] = "cuda"


class Parts(Record):
    """The bytes at the peak, by what they are for; their sum is the allocated bytes up to rounding of blocks."""

    weights: int = 0
    buffers: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    temporary: int = 0
    inputs: int = 0


class Memory(Record):
    """What the walk over one workload found."""

    parameters: int
    parts: Parts
    allocated_bytes: int  # torch.cuda.max_memory_allocated
    reserved_bytes: int  # torch.cuda.max_memory_reserved: the caching allocator's segments
    peak_in: Literal["forward", "backward", "step"]
    flops: int  # floating-point operations of one step (forward, and backward where training); a multiply-add is two
    bytes_moved: int  # bytes read and written by the operations of one step
    assumptions: tuple[str, ...] = ()


class Range(Record):
    """A figure that is known to lie between two others."""

    low: float
    high: float


class Change(Record):
    """One thing to change so that a workload fits, and what it then needs."""

    what: str  # the words of a person
    workload: Workload
    device_bytes: int  # the upper end
    saved_bytes: int
    at_least: bool = False  # even the least that it allocates is too much: it needs `device_bytes` or more, saves less


class Peaks(Record):
    """How fast a device computes and moves bytes when one operation has it for itself; each as far as it is known.

    Operations and bytes a second; `dispatch` is the seconds that any operation costs, however small it is.
    """

    device: Literal["cuda", "cpu"]
    name: str | None  # as its maker calls it; None: the machine does not say
    fp32: Range  # matrix products; TF32 where a framework uses it by default
    convolution: Range  # fp32
    fp16: Range | None  # None: the device cannot compute with it
    bf16: Range | None
    stream: Range  # from the device's memory
    stream_bf16: Range | None  # in a product of bf16 weights with one row; None: as any other
    cached: Range  # from its caches
    fresh: Range | None  # into memory that the system has to hand out first; None: it costs nothing
    dispatch: Range
    basis: str  # whose figures these are, and where they are from


class Speed(Record):
    """How fast it will be; the range holds what a prediction of this kind was off by."""

    throughput: Range
    unit: Literal["images/s", "tokens/s", "sequences/s"]
    step_seconds: Range
    bound: Literal["compute", "memory"]
    basis: str  # whose peak figures were used, and where they are from
    stage: Literal["inference", "prefill", "decode", "training"] = "inference"


class Outlook(Record):
    """What a speed means for a person who has only this device."""

    stage: Literal["inference", "prefill", "decode", "training"]
    grade: Literal["fine", "slow", "hopeless"]
    words: str


class Estimate(Record):
    """The answer to "will it fit, at which batch, and how fast?"."""

    workload: Workload
    memory: Memory
    device_name: str | None = None
    free_bytes: int | None = None  # what the device has for this process; None: not known
    device_bytes_low: int = 0
    device_bytes_high: int = 0
    device_bytes_likely: int = 0  # the best single figure between the two
    verdict: Verdict = "unknown"
    max_batch: int | None = None  # None: nothing to measure it against; 0: not even one
    changes: tuple[Change, ...] = ()
    speeds: tuple[Speed, ...] = ()  # a language model with a cache: reading the prompt, then writing
    outlooks: tuple[Outlook, ...] = ()  # what each of them means for a person
    assumptions: tuple[str, ...] = ()


class Capacity(Record):
    """The largest batch on a card that is sold."""

    device_name: str
    free_bytes: int
    max_batch: int  # 0: not even one
