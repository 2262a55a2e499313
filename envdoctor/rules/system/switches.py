"""Environment variables that switch something on for a purpose that may be over."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say, say_number
from envdoctor.rules.frameworks.installed import TORCH, torch
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import set_variable, unset_variable
from envdoctor.rules.wording import listed

_CUDA = "https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/environment-variables.html"
_JAX = "https://docs.jax.dev/en/latest/gpu_memory_allocation.html"
_ALLOCATORS = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
_ON = ("1", "ON", "YES", "TRUE")
_SMALL = 8 << 30  # bytes of GPU memory; a threshold of ours


def _without(machine: Snapshot, *names: str) -> Fix:
    return Fix(
        summary=say("Take it out, here and in your shell's start files."),
        commands=tuple(unset_variable(machine, name) for name in names),
    )


@rule(
    "ENV004",
    "cuda-launch-blocking",
    "warning",
    needs=("variables",),
    sources=(_CUDA, "https://github.com/pytorch/pytorch/blob/main/docs/source/cuda_environment_variables.rst"),
)
def launch_blocking_is_on(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """CUDA_LAUNCH_BLOCKING=1 makes the processor wait for each step of the GPU.

    It is meant for finding the line of an error. Training can be several times slower with it.

    Check: `printenv CUDA_LAUNCH_BLOCKING` prints nothing.
    """
    if machine.variable("CUDA_LAUNCH_BLOCKING") != "1" or not machine.nvidia_gpus:
        return
    yield found(
        say("CUDA_LAUNCH_BLOCKING=1 makes every GPU step wait, which is meant for finding errors"),
        say("Programs run several times slower with it."),
        evidence=("variables.CUDA_LAUNCH_BLOCKING",),
        fixes=(_without(machine, "CUDA_LAUNCH_BLOCKING"),),
    )


@rule(
    "ENV005",
    "ptx-switch-set",
    "warning",
    needs=("variables", "pythons.packages"),
    sources=(_CUDA, "https://www.tensorflow.org/install/pip"),
)
def ptx_switches_are_set(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Variables force or forbid that the driver compiles PTX.

    CUDA_FORCE_PTX_JIT=1 ignores machine code, so a build without PTX has nothing left to run. CUDA_CACHE_DISABLE=1 has
    everything compiled anew at each start.

    Check: `printenv | grep CUDA_` shows none of them.
    An error where the build of PyTorch was read and holds no PTX.
    """
    framework = torch(machine)
    archs = framework.archs if framework else None
    if machine.variable("CUDA_FORCE_PTX_JIT") == "1":
        bare = bool(archs) and not any(each.startswith("compute_") for each in archs or ())
        yield found(
            say("CUDA_FORCE_PTX_JIT=1 makes CUDA ignore machine code, and this PyTorch holds nothing else")
            if bare
            else say("CUDA_FORCE_PTX_JIT=1 makes CUDA ignore machine code"),
            say("It is meant for testing whether a build holds PTX."),
            evidence=("variables.CUDA_FORCE_PTX_JIT", *((f"{TORCH}.archs",) if bare else ())),
            severity="error" if bare else None,
            fixes=(_without(machine, "CUDA_FORCE_PTX_JIT"),),
        )
    for name in ("CUDA_DISABLE_PTX_JIT", "CUDA_CACHE_DISABLE"):
        if machine.variable(name) == "1":
            yield found(
                say("{variable}=1 forbids compiling PTX, which newer cards may need", variable=name)
                if "JIT" in name
                else say("{variable}=1 has PTX compiled at each start", variable=name),
                say("It is meant for testing."),
                evidence=(f"variables.{name}",),
                severity="note",
                fixes=(_without(machine, name),),
            )


@rule(
    "ENV006",
    "allocator-variable-wrong",
    "warning",
    certainty="likely",
    needs=("variables", "pythons.packages"),
    sources=(
        "https://docs.pytorch.org/docs/stable/notes/cuda.html#optimizing-memory-usage-with-pytorch-cuda-alloc-conf",
        "https://docs.vllm.ai/en/latest/api/vllm/device_allocator/alloc_conf/",
    ),
)
def allocator_variable_is_wrong(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The variable for PyTorch's memory allocator is not of the form it must have, or is set under two names.

    One text holds all options as key:value pairs with commas between. One that cannot be read stops PyTorch at the
    first use of CUDA; two names with different values make it unclear which is in force.

    Check: `python -c "import torch; torch.zeros(1).cuda()"`.
    Which keys exist changes with each release and is not judged.
    """
    values = {name: value for name in _ALLOCATORS if (value := machine.variable(name))}
    for name, value in values.items():
        if not _well_formed(value):
            yield found(
                say("{name}={value} is not a list of key:value pairs", name=name, value=value),
                say("PyTorch stops at the first use of CUDA when it cannot read it."),
                evidence=(f"variables.{name}",),
                fixes=(
                    Fix(
                        summary=say("Write it as pairs, for example like this."),
                        commands=(set_variable(machine, name, "expandable_segments:True"),),
                    ),
                ),
            )
    if len(set(values.values())) > 1:
        yield found(
            say("{values} are set to different values", values=listed(values)),
            say("They are names of one setting, and which counts depends on the release of PyTorch."),
            evidence=tuple(f"variables.{name}" for name in values),
            fixes=(_without(machine, *list(values)[1:]),),
        )


def _well_formed(value: str) -> bool:
    depth, parts, part = 0, [], ""
    for letter in value:
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += letter
    return all(":" in each and all(side.strip() for side in each.split(":", 1)) for each in (*parts, part))


@rule(
    "ENV007",
    "tensorflow-memory-growth",
    "note",
    certainty="hint",
    needs=("variables", "pythons.packages", "gpus.memory_bytes"),
    sources=("https://www.tensorflow.org/guide/gpu", _JAX),
)
def tensorflow_takes_all_memory(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """TensorFlow takes nearly all GPU memory at its start, and something else here needs some.

    Another framework, or the desktop on the same card, then runs out of memory.

    Check: `nvidia-smi` while a TensorFlow program runs.
    Silent where TF_FORCE_GPU_ALLOW_GROWTH is set, for CPU builds, and where TensorFlow is the only framework on a card
    without a display and with more than 8 GiB (a threshold of ours).
    """
    python = machine.python
    framework = python.framework("tensorflow") if python else None
    if python is None or framework is None or framework.gpu_build is not True or not machine.nvidia_gpus:
        return
    if machine.variable("TF_FORCE_GPU_ALLOW_GROWTH"):
        return
    small = [
        i for i, g in enumerate(machine.gpus) if g.vendor == "nvidia" and g.memory_bytes and g.memory_bytes <= _SMALL
    ]
    shown = [i for i, g in enumerate(machine.gpus) if g.vendor == "nvidia" and g.display_active]
    others = [each.name for each in python.frameworks if each.name != "tensorflow" and each.gpu_build]
    if not (small or shown or others):
        return
    reason = (
        say("{others} here", others=listed(others))
        if others
        else say("the display on the same card")
        if shown
        else say("little GPU memory")
    )
    yield found(
        say("TensorFlow takes nearly all GPU memory at its start; with {reason} that is soon too much", reason=reason),
        say("It takes what it needs instead when it is told so."),
        evidence=(
            "pythons[0].frameworks.tensorflow.version",
            *(f"gpus[{i}].display_active" for i in shown),
            *(f"gpus[{i}].memory_bytes" for i in small),
        ),
        fixes=(
            Fix(
                summary=say("Let TensorFlow take what it needs."),
                commands=(set_variable(machine, "TF_FORCE_GPU_ALLOW_GROWTH", "true"),),
            ),
        ),
    )


@rule(
    "ENV008",
    "jax-variable-set",
    "warning",
    needs=("variables", "pythons.packages"),
    sources=(_JAX, "https://github.com/jax-ml/jax/blob/main/jax_plugins/cuda/__init__.py"),
)
def jax_variables_are_set(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A variable keeps JAX off the GPU, or slows it down.

    JAX obeys JAX_PLATFORMS before anything else. XLA_PYTHON_CLIENT_ALLOCATOR=platform asks the driver for each piece of
    memory, which is slow. JAX_SKIP_CUDA_CONSTRAINTS_CHECK hides that libraries are too old.

    Check: `python -c "import jax; print(jax.devices())"`.
    Silent without JAX and without its CUDA plugin, and where JAX_PLATFORMS names cuda or gpu.
    """
    python = machine.python
    framework = python.framework("jax") if python else None
    if framework is None or not framework.gpu_build:
        return
    platforms = machine.variable("JAX_PLATFORMS")
    if platforms and not any(word in platforms for word in ("cuda", "gpu", "rocm")) and machine.gpus:
        yield found(
            say(
                "JAX_PLATFORMS={platforms} keeps JAX off the GPU, and its GPU plugin is installed", platforms=platforms
            ),
            say("JAX uses only the platforms that this names."),
            evidence=("variables.JAX_PLATFORMS", "pythons[0].frameworks.jax.gpu_build"),
            fixes=(_without(machine, "JAX_PLATFORMS"),),
        )
    if machine.variable("XLA_PYTHON_CLIENT_ALLOCATOR") == "platform":
        yield found(
            say("XLA_PYTHON_CLIENT_ALLOCATOR=platform makes JAX ask the driver for each piece of memory"),
            say("That is slow, and meant for programs that must give memory back."),
            evidence=("variables.XLA_PYTHON_CLIENT_ALLOCATOR",),
            fixes=(_without(machine, "XLA_PYTHON_CLIENT_ALLOCATOR"),),
        )
    if machine.variable("JAX_SKIP_CUDA_CONSTRAINTS_CHECK"):
        yield found(
            say("JAX_SKIP_CUDA_CONSTRAINTS_CHECK hides that CUDA libraries are too old for JAX"),
            say("JAX then starts with libraries that it was not built for."),
            evidence=("variables.JAX_SKIP_CUDA_CONSTRAINTS_CHECK",),
            fixes=(_without(machine, "JAX_SKIP_CUDA_CONSTRAINTS_CHECK"),),
        )


@rule(
    "ENV010",
    "hub-offline",
    "note",
    needs=("variables",),
    sources=("https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables",),
)
def hub_is_offline(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Hugging Face libraries are told to stay offline.

    Then nothing is downloaded and only the cache is read; a model that is not in it fails although the network works.

    Check: `printenv | grep OFFLINE`.
    On machines without a network this is as it should be.
    """
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
    on = [name for name in names if (machine.variable(name) or "").upper() in _ON]
    if not on:
        return
    yield found(
        say_number(
            "{variables} keeps Hugging Face libraries offline",
            "{variables} keep Hugging Face libraries offline",
            len(on),
            variables=listed(on),
        ),
        say("Only models that are in the cache can be used."),
        evidence=tuple(f"variables.{name}" for name in on),
        fixes=(_without(machine, *on),),
    )


@rule(
    "ENV011",
    "preloaded-library",
    "warning",
    needs=("variables",),
    sources=("https://man7.org/linux/man-pages/man8/ld.so.8.html",),
)
def preload_interferes(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """LD_PRELOAD names a library that is missing, or puts a CUDA library before the framework's own.

    Preloaded libraries win over every other one. A missing file makes the loader complain at each start.

    Check: `printenv LD_PRELOAD`.
    Silent about jemalloc, tcmalloc and the OpenMP libraries, which tuning guides recommend.
    """
    value = machine.variable("LD_PRELOAD")
    if not value:
        return
    entry = next(each for each in machine.variables if each.name == "LD_PRELOAD")
    cuda = [
        path
        for path in value.replace(":", " ").split()
        if any(stem in path.rpartition("/")[2] for stem in ("libcudart", "libcudnn", "libcublas", "libnccl"))
    ]
    if not entry.missing and not cuda:
        return
    yield found(
        say("LD_PRELOAD names {missing}, which does not exist", missing=entry.missing)
        if entry.missing
        else say("LD_PRELOAD puts {cuda} before the framework's own", cuda=listed(cuda)),
        say("The loader complains at each start of a program.")
        if entry.missing
        else say("A preloaded library wins over the one that the framework brought."),
        evidence=("variables.LD_PRELOAD",),
        fixes=(_without(machine, "LD_PRELOAD"),),
    )
