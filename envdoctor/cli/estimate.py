"""`envdoctor estimate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from envdoctor import errors
from envdoctor.cli import options
from envdoctor.cli.sizes import Size
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from envdoctor.estimate.device import Device
    from envdoctor.estimate.weighing import Model
    from envdoctor.model.estimate import Peaks, Workload

# What is larger is a slip of the finger, and no workload.
_MOST_SAMPLES = 1 << 20
_MOST_TOKENS = 1 << 24
_LARGEST_IMAGE = 1 << 14

_Command = Callable[..., None]


def _workload_options(command: _Command) -> _Command:
    """Add the options that say how the model is run."""
    choice = click.Choice
    for option in reversed(
        (
            click.option("--mode", type=choice(["inference", "training"]), default="inference", show_default=True),
            click.option("--batch", type=click.IntRange(1, _MOST_SAMPLES), default=1, show_default=True, metavar="N"),
            click.option(
                "--image-size", type=click.IntRange(32, _LARGEST_IMAGE), metavar="N", help="Pixels of a side."
            ),
            click.option("--seq-len", type=click.IntRange(1, _MOST_TOKENS), metavar="N", help="Tokens of a sample."),
            click.option(
                "--dtype",
                type=choice(["fp32", "fp16", "bf16", "amp-fp16", "amp-bf16", "int8", "int4"]),
                default="fp32",
                show_default=True,
                help="amp is autocast; int8 and int4 are the weights of linear layers.",
            ),
            click.option(
                "--optimizer",
                type=choice(["none", "sgd", "adam", "adamw"]),
                help="Default for training: adamw for language models, sgd (with momentum) for images.",
            ),
            click.option("--weight-decay", type=float, default=0.0, metavar="X"),
            click.option("--no-foreach", is_flag=True, help="The optimizer takes one weight at a time."),
            click.option("--attention", type=choice(["sdpa", "eager"]), default="sdpa", show_default=True),
            click.option("--kv-cache", is_flag=True, help="Inference keeps keys and values, as generation does."),
            click.option("--kv-dtype", type=choice(["same", "int8", "int4"]), default="same", show_default=True),
            click.option(
                "--logits", type=choice(["all", "last"]), default="all", show_default=True, help="Of which tokens."
            ),
            click.option("--checkpointing", is_flag=True, help="Activations are computed again in the backward pass."),
            click.option(
                "--accumulation", type=click.IntRange(1, 1 << 20), default=1, metavar="N", help="Passes before a step."
            ),
            click.option("--lora", type=click.IntRange(1, 1 << 14), metavar="RANK", help="Train adapters only."),
            click.option("--zero", type=click.IntRange(0, 3), default=0, help="ZeRO stage; 3 is also FSDP."),
            click.option(
                "--shards", type=click.IntRange(1, 1 << 16), default=1, metavar="N", help="Devices that share states."
            ),
        )
    ):
        command = option(command)
    return command


@click.command(
    epilog="""\b
Examples:
  envdoctor estimate resnet50 --mode training --batch 32 --gpu "GTX 1660 Super"
  envdoctor estimate gpt2 --mode training --batch 8 --seq-len 1024 --memory 8GiB
  envdoctor estimate gpt2 --dtype fp16 --kv-cache --for-gpus
  envdoctor estimate ./my-model/config.json --mode training --lora 16 --dtype int4
  envdoctor estimate hf:Qwen/Qwen2.5-0.5B --dtype bf16
  envdoctor estimate net.py:make --input 1,3,224,224 --python ~/dl/bin/python"""
)
@click.argument("model", required=False)
@_workload_options
@click.option("--gpu", metavar="NAME", help="Card to judge for, by its name: RTX 3060, T4.")
@click.option("--memory", type=Size(), help="Memory that is free, like 8GiB. Default: what is free on this machine.")
@click.option("--device", type=click.Choice(["cuda", "cpu"]), help="cpu: host memory of a run on the processor.")
@click.option("--torch", metavar="VERSION", help="Release of torch; 1.12 and older load all of CUDA at once.")
@click.option("--speed", is_flag=True, help="Measure this processor with torch, a second, to predict a CPU run better.")
@click.option("--for-gpus", is_flag=True, help="List every card that is known with its largest batch.")
@click.option(
    "--input", "inputs", multiple=True, metavar="SIZES", help="What module.py:factory is called with: 1,3,224,224."
)
@click.option("--python", metavar="PATH", help="Interpreter that has module.py's torch. Default: the active one.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.5), default=120.0, show_default=True, help="Seconds for each such run."
)
@click.option(
    "--fail-on", type=click.Choice(["tight", "out-of-memory"]), help="Exit with 1 if it is that bad, or worse."
)
@click.option("--list", "list_models", is_flag=True, help="Name the models that are known, and leave.")
@options.page_format
def estimate(
    model: str | None,
    gpu: str | None,
    memory: int | None,
    device: str | None,
    torch: str | None,
    speed: bool,
    for_gpus: bool,
    inputs: tuple[str, ...],
    python: str | None,
    timeout: float,
    fail_on: str | None,
    list_models: bool,
    output: str,
    **how: Any,
) -> None:
    """Say whether a model fits into memory, and at which batch, before it runs.

    MODEL is a known name (--list), the path of a Hugging Face config.json, hf:org/name (asks the hub, if the cache has
    it not), or module.py:factory, whose code is then run, in the interpreter that has torch, to follow its shapes.

    Exits with 0 whatever the verdict is, unless --fail-on is given.
    """
    if list_models:
        from envdoctor.estimate.models import NAMES

        options.show("\n".join(NAMES) + "\n")
        return
    if model is None:
        raise errors.UsageProblem(
            say("no model is named"), say("`envdoctor estimate --list` names those that are known")
        )
    if for_gpus and output == "html":
        raise errors.UsageProblem(say("--for-gpus has no page"), say("it prints --format text and json"))
    _check_torch(torch)
    found = _model(model, inputs, python, timeout, speed)
    workload = _workload(found, device, how)
    if for_gpus:
        if gpu is not None or memory is not None or device == "cpu" or speed:
            raise errors.UsageProblem(
                say("--for-gpus judges for every card; --gpu, --memory, --device and --speed for one")
            )
        _show_capacities(found, workload, torch, output)
        return
    judged_for = _device(gpu, memory, device, torch)
    if speed and judged_for.kind != "cpu":
        raise errors.UsageProblem(say("--speed measures this machine's processor: give it with --device cpu"))
    _show_estimate(found, workload, judged_for, _peaks(judged_for, python, speed), fail_on, output)


def _peaks(device: Device, python: str | None, measure: bool) -> Peaks | None:
    """Give how fast the device can be; None: it is not known."""
    from envdoctor.app import estimating
    from envdoctor.host.local import LocalHost

    if device.kind == "cpu":
        return estimating.processor(LocalHost(), python, measure)
    return estimating.card(device.name)


def _model(text: str, inputs: tuple[str, ...], python: str | None, timeout: float, speed: bool) -> Model:
    from envdoctor.app import estimating

    place, colon, _ = text.rpartition(":")
    if colon and place and not text.startswith("hf:"):
        return estimating.traced(text, inputs, python, timeout, lambda words: click.echo(words, err=True))
    if inputs or (python is not None and not speed):
        raise errors.UsageProblem(say("--input and --python are for a model of your own: module.py:factory"))
    return estimating.model(text)


def _workload(model: Model, device: str | None, how: dict[str, Any]) -> Workload:
    """Make the workload of the options.

    Raises:
        errors.UsageProblem: they do not fit together, or not to this model.
    """
    from envdoctor.estimate.asking import workload

    return workload(
        model,
        device="cpu" if device == "cpu" else "cuda",
        foreach=not how.pop("no_foreach"),
        lora_rank=how.pop("lora"),
        zero_stage=how.pop("zero"),
        **how,
    )


def _check_torch(version: str | None) -> None:
    import re

    if version is not None and not re.fullmatch(r"\d{1,4}(\.\d{1,4}){1,2}(\+\w+)?", version):
        raise errors.UsageProblem(say("--torch {version} is not a release like 2.7.1", version=version))


def _device(gpu: str | None, memory: int | None, device: str | None, torch: str | None) -> Device:
    from envdoctor.app import estimating
    from envdoctor.estimate.device import Device

    if device == "cpu":
        if gpu is not None:
            raise errors.UsageProblem(say("--gpu names a card, and --device cpu wants none"))
        if memory is not None:
            return Device(kind="cpu", name="CPU", free_bytes=memory)
    if gpu is not None:
        from envdoctor.knowledge.load import Knowledge

        return estimating.sold_device(estimating.gpu_row(gpu, Knowledge()), memory, torch)
    if memory is not None:
        return Device(free_bytes=memory, torch=torch)
    from envdoctor.host.local import LocalHost

    host = LocalHost()
    return estimating.host_device(host) if device == "cpu" else estimating.device_here(host, torch)


def _show_estimate(
    model: Model, workload: Workload, device: Device, peaks: Peaks | None, fail_on: str | None, output: str
) -> None:
    from msgspec.structs import replace

    from envdoctor.estimate import answer
    from envdoctor.estimate.weighing import Scales

    if device.kind != workload.device:
        # torch's optimizers take one weight at a time on the CPU.
        workload = replace(workload, device=device.kind, foreach=device.kind == "cuda" and workload.foreach)
    found = answer.estimate(workload, Scales(model), device, peaks)
    if output == "json":
        from envdoctor.report import documents

        options.show(documents.estimate(found))
    elif output == "html":
        from envdoctor.app import pages

        options.show(pages.estimate(found))
    else:
        from envdoctor.report import estimates

        options.show(estimates.text(found, options.style()))
    bad = {"tight": ("tight", "out-of-memory"), "out-of-memory": ("out-of-memory",)}
    if fail_on is not None and found.verdict in bad[fail_on]:
        raise SystemExit(errors.FINDINGS)


def _show_capacities(model: Model, workload: Workload, torch: str | None, output: str) -> None:
    from envdoctor.app import estimating
    from envdoctor.estimate import answer
    from envdoctor.estimate.weighing import Scales
    from envdoctor.knowledge.load import Knowledge

    devices = estimating.every_device(Knowledge(), torch)
    found = answer.capacities(workload, Scales(model), devices)
    if output == "json":
        from envdoctor.report import documents

        options.show(documents.capacities(workload, found))
    else:
        from envdoctor.report import estimates

        options.show(estimates.capacities(workload, found, options.style()))
