"""What programs and the kernel print when memory runs out: the GPU's, the host's, /dev/shm."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import message, say
from envdoctor.rules.messages.allocations import Allocation, allocation
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import on_host
from envdoctor.rules.told import Said, mentions, said
from envdoctor.rules.wording import size

TORCH_MEMORY = "https://docs.pytorch.org/docs/stable/notes/cuda.html#memory-management"
SHM = "https://docs.docker.com/reference/cli/docker/container/run/#shm-size"
_OUT = (
    r"(?i)CUDA out of memory(?! (?:errors|exceptions|problems|issues)\b)",
    r"(?i)torch\.(?:cuda\.)?OutOfMemoryError|torch\.OutOfMemoryError",
    r"CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED",
    (
        r"(?i)cudaMalloc failed: out of memory|HIP out of memory|failed to allocate "
        r"[\d.]+ ?[KMG]i?B[^\n]{0,30}(?:device|gpu|vram)"
    ),
    (
        r"(?i)OOM when allocating tensor|RESOURCE_EXHAUSTED: (?:Out of memory|OOM|"
        r"Failed to allocate)[^\n]{0,60}|Resource exhausted: OOM"
    ),
    r"(?i)No available memory for the cache blocks|Allocation on device[^\n]{0,12} would exceed allowed memory",
    (
        r"(?i)max(?:imum)? (?:seq(?:uence)?|model) len[^\n]{0,60}larger than the (?:maximum "
        r"number of tokens|available KV cache)"
    ),
    r"(?i)KV cache[^\n]{0,80}(?:larger than|exceeds?|not enough|insufficient)[^\n]{0,40}",
    (
        r"(?i)(?:not enough|insufficient|out of) (?:gpu memory|vram|video memory|device "
        r"memory)|(?:gpu|显存)[^\n]{0,20}(?:out of memory|不足)|显存溢出"
    ),
    (
        r"(?i)(?:cuda|cublas|nccl|ggml|mps|hip|xpu|gpu)[^\n]{0,100}out of memory(?! (?:errors|exceptions|problems"
        r"|issues)\b)|make sure you have enough GPU RAM"
    ),
    r"(?i)CUDA error:? (?:2:? )?out of memory|out of memory[^\n]{0,30}(?:gpu|cuda|vram)",
)


@rule(
    "MSG804",
    "shm-too-small",
    "error",
    needs=("problems",),
    supersedes=("CTR004", "MSG801", "MSG713"),
    sources=(SHM, "https://docs.pytorch.org/docs/stable/multiprocessing.html"),
)
def shm(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The shared memory, /dev/shm, is too small for the workers or for NCCL.

    DataLoader workers hand batches over in shared memory, and NCCL exchanges data there. A container has 64 MB of it
    unless it is asked for more; the process that writes beyond gets a bus error.

    Check: `df -h /dev/shm`.
    """
    line = said(
        machine,
        r"(?i)out of shared memory|insufficient shared memory|raise your shared memory limit",
        r"(?i)unable to (?:open|allocate|write to|mmap)[^\n]{0,24}(?:shared memory|file </torch_\d)",
        r"(?i)/dev/shm[^\n]{0,80}(?:no space|too small|full|error|size \d|fail|100%)",
        r"(?i)(?:error|fail\w*)[^\n]{0,60}(?:shared memory segment|/dev/shm|shm)[^\n]{0,60}",
        (
            r"(?i)posix_fallocate failed|using /tmp instead of /dev/shm|no space left on device: '/(?:psm|torch)_"
            r"|</torch_[^\n]{0,60}no space left"
        ),
        r"(?m)^(?:shm|tmpfs)[ \t]+(?:64M|65536)\b[^\n]{0,60}/dev/shm",
        r"(?i)bus error",
        r"(?i)SHMEM allocation limit is set to the default of 64 ?MB",
    )
    if line is None:
        return
    yield found(
        say("The shared memory (/dev/shm) is too small for the workers of this program"),
        say("A container has 64 MB there by default."),
        evidence=(line.evidence,),
        certainty="likely"
        if "bus error" in line.words[0].lower() and not said(machine, r"(?i)shm|shared memory|DataLoader|docker")
        else None,
        fixes=(
            on_host(
                say(
                    "Start the container with --ipc=host or --shm-size=8g; in Kubernetes mount an emptyDir with "
                    "medium Memory there."
                ),
                page=SHM,
            ),
        ),
    )


@rule(
    "MSG803",
    "gpu-memory-in-use",
    "error",
    needs=("problems",),
    supersedes=("MSG802", "HW010", "MSG609"),
    sources=(TORCH_MEMORY, "https://docs.vllm.ai/en/latest/configuration/conserving_memory.html"),
)
def in_use(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Another process holds most of the GPU's memory.

    PyTorch's message says how much the card has, how much is free and how much this process reserved: what is missing
    belongs to others. A crashed run that still lives, a notebook, or a server are the usual ones.

    Check: `nvidia-smi` lists the processes with their memory.
    """
    line = said(
        machine,
        r"(?i)(?:cuDevicePrimaryCtxRetain|cuCtxCreate\w*|create (?:a )?cuda context)[^\n]{0,60}out[_ ]of[_ ]memory",
        r"(?i)Free memory on device[^\n]{0,80}(?:is less than|less than) desired GPU memory",
        (
            r"(?i)(?:all CUDA-capable devices are busy or unavailable|cudaErrorDevicesUnavailable|"
            r"CUDA_ERROR_DEVICE_UNAVAILABLE)"
        ),
        r"(?i)MiB[^\n]{0,40}(?:used|held|occupied|taken) by (?:another|other|someone|somebody)",
        r"(?i)(?:another|other|zombie|stale|previous|defunct) (?:\w+ )?process(?:es)?[^\n]{0,40}(?:gpu|memory|vram)",
    )
    if line is None:
        line = _held_by_others(machine)
    if (
        line is None
        and _room_for_others(machine)
        and mentions(
            machine,
            r"(?:without|no) (?:any |running |visible )?process(?:es)?\b[^\n]{0,40}",
            r"(?:another|other) users?\b[^\n]{0,40}(?:gpu|memory|process)",
            (
                r"(?:still|already|also) (?:hold|occup|tak|us|hog|eat|sit|run)\w* (?:[^\n]{0,40}\b)?"
                r"(?:gpu|vram|memory|\d+(?:\.\d+)? ?(?:gi?b|mi?b))"
            ),
            (
                r"(?:notebook|jupyter|colleague|co-?worker|somebody|someone|roommate|ollama|browser|\bgame)"
                r"[^\n]{0,40}(?:hold|occup|using|uses|used|takes|taking|took|hog|eats|eating|sitting on)[^\n]{0,30}"
                r"(?:gpu|vram|memory|\d ?gi?b)"
            ),
            r"(?:after|until)[^\n]{0,20}\bkill(?:ed|ing)?\b[^\n]{0,60}(?:process|python|pid|it works|worked)",
            r"fuser -v /dev/nvidia",
            r"(?:看不到|没有)[^\n]{0,6}进程|(?:其他|别的|别人|同学|同事|其它)[^\n]{0,16}(?:占|进程|在用|使用)|显存[^\n]{0,8}被占|僵尸进程",
        )
    ):
        line = said(machine, *_OUT)
    if line is None:
        return
    figures = allocation(machine)
    yield found(
        say("Another process holds the GPU's memory"),
        told(figures) if figures else say("The memory that this program asked for was not free before it began."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say("Look who holds it and end what is left over, or choose another card."),
                commands=(("nvidia-smi",),),
            ),
        ),
    )


def _room_for_others(machine: Snapshot) -> bool:
    """Tell whether the figures, where the message has them, leave a part of the card that others may hold."""
    figures = allocation(machine)
    return figures is None or figures.own is None or figures.others > figures.total * 0.1


def _held_by_others(machine: Snapshot) -> Said | None:
    """Find an out-of-memory message whose figures leave a large part of the card to other processes."""
    figures = allocation(machine)
    if figures is not None and figures.free is not None and figures.own is not None:
        return figures.line if figures.held_by_others else None
    out = said(machine, *_OUT)
    busy = [
        gpu
        for gpu in machine.nvidia_gpus
        if gpu.memory_bytes and gpu.used_bytes and gpu.used_bytes > gpu.memory_bytes * 0.6
    ]
    return out if out and busy and len(busy) == len(machine.nvidia_gpus) else None


@rule(
    "MSG805",
    "gpu-memory-fragmented",
    "error",
    needs=("problems",),
    supersedes=("MSG802",),
    sources=(TORCH_MEMORY,),
)
def fragmented(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The GPU's memory is there, but in pieces that are each too small.

    PyTorch's allocator keeps what was freed in blocks of the sizes that were asked for. Where sizes change all the
    time, as with sentences of every length, much is reserved and none of it is large enough.

    Check: "reserved but unallocated" in the message is more than what was tried to allocate.
    """
    figures = allocation(machine)
    if figures is None or not figures.fragmented or figures.held_by_others:
        return
    yield found(
        say("The GPU's memory is fragmented: enough is reserved, but not in one piece"),
        told(figures),
        evidence=(figures.line.evidence,),
        fixes=(
            Fix(
                summary=say("Let segments grow (torch 2.1 or newer; before it max_split_size_mb:128)."),
                commands=(("export", "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"),),
                page=TORCH_MEMORY,
            ),
        ),
    )


def told(figures: Allocation) -> str:
    """Say what the message says, part by part."""
    wanted = say("more memory") if figures.wanted is None else say("{wanted} more", wanted=size(int(figures.wanted)))
    held = (
        (figures.free, message("{size} free")),
        (figures.allocated, message("{size} in tensors of this process")),
        (figures.unused, message("{size} reserved by its allocator and unused")),
        (figures.others or None, message("{size} held by other processes and CUDA itself")),
    )
    return say(
        "It asked for {wanted}, of a card with {total}: {parts}.",
        wanted=wanted,
        total=size(int(figures.total)),
        parts=", ".join(say(words, size=size(int(amount))) for amount, words in held if amount is not None),
    )


@rule(
    "MSG802",
    "gpu-out-of-memory",
    "error",
    needs=("problems",),
    sources=(TORCH_MEMORY,),
)
def gpu_full(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """What the program wants does not fit into the GPU's memory.

    Weights, optimiser, activations and caches add up; the message comes at the allocation that did not fit any more.

    Check: `nvidia-smi` while it runs, and the figures in the message.
    Where others hold the memory, that is said instead.
    """
    line = said(machine, *_OUT)
    if line is None:
        return
    figures = allocation(machine)
    memory = next((gpu.memory_bytes for gpu in machine.nvidia_gpus if gpu.memory_bytes), None)
    yield found(
        say("The program needs more memory than the GPU has"),
        told(figures)
        if figures
        else (
            say("The card has {memory}.", memory=size(memory)) if memory else say("The environment itself may be fine.")
        ),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Take a smaller batch, shorter sequences, a quantised or smaller model, gradient checkpointing or "
                    "offloading; lower what the engine reserves."
                )
            ),
        ),
    )


@rule(
    "MSG801",
    "host-out-of-memory",
    "error",
    certainty="likely",
    needs=("problems",),
    sources=("https://docs.kernel.org/admin-guide/mm/concepts.html#oom-killer",),
)
def host_full(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The process was ended because the host's memory was used up.

    Loading a model needs host memory first, often twice its size. The kernel ends the largest process; the shell then
    says only "Killed", and parents see signal 9 or exit status 137.

    Check: `sudo dmesg | grep -i oom`.
    """
    line = said(
        machine,
        r"(?i)out of memory: kill(?:ed)? process|oom[-_ ]?kill|OOMKilled|invoked oom-killer",
        r"(?m)^(?:[^\n]{0,80}\s)?[Kk]illed(?:\s+python[^\n]*)?\s*$",
        r"(?i)killed signal terminated program|node running (?:low on|out of) memory",
        r"(?i)DefaultCPUAllocator: (?:can't|not enough)|not enough memory: you tried to allocate",
        (
            r"(?i)(?:exit(?:ed)?|return(?:ed)?)[^\n]{0,20}(?:code|status):? ?\(?(?:-9|"
            r"137)\b|signal 9|SIGKILL|killed by signal: killed"
        ),
        r"(?i)(?:std::bad_alloc|(?<!OutOf)MemoryError|Cannot allocate memory)",
        r"(?i)paging file is too small|(?:OS |Win)error 1455|页面文件太小",
        r"(?i)Killed signal terminated program|internal compiler error: Killed",
        r"(?i)(?:systemd-oomd|earlyoom)[^\n]{0,80}kill|using all available RAM|Exceeded job memory limit",
        (
            r"(?i)(?:host|system|cpu)[^\n]{0,12} (?:memory|ram)[^\n]{0,40}(?:exhaust|full|"
            r"out of|not enough|insufficient|runs? out)"
        ),
    )
    if line is None:
        return
    yield found(
        say("The host's memory was used up, and the process was ended"),
        say("This is the computer's memory, not the GPU's."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Load with less memory (low_cpu_mem_usage, memory mapping, fewer workers), add swap, or use a "
                    "machine with more memory."
                )
            ),
        ),
    )
