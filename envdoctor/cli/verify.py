"""`envdoctor verify`."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from envdoctor import errors
from envdoctor.cli import options
from envdoctor.cli.sizes import Size
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from envdoctor.host import Host
    from envdoctor.model.outcome import Outcome


@click.command(
    epilog="""\b
Examples:
  envdoctor verify
  envdoctor verify --python ~/dl/bin/python --workload gpt2
  envdoctor verify --framework jax --workload resnet50 --thorough
  envdoctor verify --conda-env dl --device cuda --format json
  envdoctor verify --image torch-cu128"""
)
@options.python
@click.option("--conda-env", metavar="NAME", help="conda environment to verify, by its name or its folder.")
@click.option("--image", metavar="NAME", help="Container image to verify, by the Docker engine here.")
@click.option(
    "--framework",
    type=click.Choice(["torch", "tensorflow", "jax"]),
    default="torch",
    show_default=True,
    help="Whose workloads run.",
)
@click.option(
    "--workload",
    default="cnn,gpt2",
    show_default=True,
    metavar="LIST",
    help="cnn, gpt2, resnet18, resnet50, mobilenetv2, gpt2-medium.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps", "xpu"]),
    default="auto",
    show_default=True,
    help="What they run on; auto takes the GPU if the framework sees one.",
)
@click.option(
    "--timeout", type=click.FloatRange(min=0.5), default=600.0, show_default=True, help="Seconds for each workload."
)
@click.option(
    "--memory-cap", type=Size(), help="End a workload that holds more, like 8GiB. Default: 90 % of what is free."
)
@click.option("--quick", is_flag=True, help="Fewer steps: a shorter and weaker proof.")
@click.option("--thorough", is_flag=True, help="Also precisions, checkpoints, workers, compilers, several GPUs.")
@click.option("--pretrained", is_flag=True, help="Also real weights, from packages, caches or the Hugging Face hub.")
@click.option("--logs", metavar="DIR", type=click.Path(file_okay=False), help="Keep the full output in this folder.")
@options.page_format
def verify(
    python: str | None,
    conda_env: str | None,
    image: str | None,
    framework: str,
    workload: str,
    device: str,
    timeout: float,
    memory_cap: int | None,
    quick: bool,
    thorough: bool,
    pretrained: bool,
    logs: str | None,
    output: str,
) -> None:
    """Prove an environment by running a CNN and a GPT-2 in it.

    Both are the real networks with random weights; nothing is downloaded. With --pretrained a trained CNN looks at a
    picture and OpenAI's GPT-2 writes; HF_ENDPOINT may name a mirror of the hub. Exits with 5 if one does not pass.
    """
    from envdoctor.app import verifying
    from envdoctor.cli.progress import Bars
    from envdoctor.host.local import LocalHost
    from envdoctor.report import documents, outcomes
    from envdoctor.verify import runner

    host = LocalHost()
    workloads = tuple(dict.fromkeys(name.strip() for name in workload.split(",") if name.strip()))
    if not workloads:
        raise errors.UsageProblem(
            say("--workload names nothing"), say("there are: {workloads}", workloads=", ".join(runner.WORKLOADS))
        )
    if pretrained:
        workloads = tuple(dict.fromkeys((*workloads, *runner.PRETRAINED)))
    _refuse_pretrained(workloads, framework, image)
    logs = os.path.abspath(logs) if logs else None
    chosen = memory_cap is not None
    memory_cap = memory_cap or verifying.memory_cap(host)
    if image is not None:
        if python or conda_env:
            raise errors.UsageProblem(
                say("--image names an environment, as --python and --conda-env do: give one of them")
            )
        run = _in_image(host, image, workloads, framework, device, timeout, memory_cap, logs, quick, thorough)
    else:
        run = partial(
            runner.run,
            verifying.target_of(host, python, conda_env),
            workloads,
            device,
            timeout,
            memory_cap,
            framework=framework,
            logs=logs,
            quick=quick,
            thorough=thorough,
            granted=verifying.granted_memory(host),
            chosen=chosen,
        )
    with Bars() as bars:
        results = run(report=bars.show)
    if output == "html":
        from envdoctor.app import pages

        options.show(pages.outcomes(results))
    else:
        options.show(documents.outcomes(results) if output == "json" else outcomes.text(results, options.style()))
    if any(each.status != "passed" for each in results):
        raise SystemExit(errors.NOT_VERIFIED)


def _refuse_pretrained(workloads: tuple[str, ...], framework: str, image: str | None) -> None:
    """Raise errors.UsageProblem where trained networks cannot be run at all."""
    from envdoctor.verify import runner

    if not set(workloads) & set(runner.PRETRAINED):
        return
    if framework != "torch":
        raise errors.UsageProblem(say("trained networks are run in torch"), say("leave --pretrained out"))
    if image is not None:
        raise errors.UsageProblem(
            say("a container is proved without network, where trained networks cannot be had"),
            say("leave --pretrained out, or prove an environment of this machine with --python"),
        )


def _in_image(
    host: Host,
    image: str,
    workloads: tuple[str, ...],
    framework: str,
    device: str,
    timeout: float,
    memory_cap: int | None,
    logs: str | None,
    quick: bool,
    thorough: bool,
) -> Callable[..., tuple[Outcome, ...]]:
    """Prepare a run of the workloads in an image, with the GPU of this machine where its engine can hand it over."""
    from envdoctor.app import containers
    from envdoctor.verify.container import Asking

    gpu, doubt = containers.gpu_for(host, device)
    if doubt:
        click.echo(say("envdoctor: {doubt}", doubt=doubt), err=True)
    asking = Asking(
        device=device,
        timeout=timeout,
        memory_cap=memory_cap,
        framework=framework,
        gpu=gpu,
        logs=logs,
        quick=quick,
        thorough=thorough,
    )
    return partial(containers.verify, image, workloads, asking)
