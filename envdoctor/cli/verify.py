"""`envdoctor verify`."""

from __future__ import annotations

import os

import click

from envdoctor import errors
from envdoctor.cli import options
from envdoctor.cli.sizes import Size


@click.command(
    epilog="""\b
Examples:
  envdoctor verify
  envdoctor verify --python ~/dl/bin/python --workload gpt2
  envdoctor verify --conda-env dl --device cuda --format json"""
)
@options.python
@click.option("--conda-env", metavar="NAME", help="conda environment to verify, by its name or its folder.")
@click.option(
    "--framework", type=click.Choice(["torch"]), default="torch", show_default=True, help="Whose workloads run."
)
@click.option("--workload", default="cnn,gpt2", show_default=True, metavar="LIST", help="cnn, gpt2 or both.")
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
@click.option("--logs", metavar="DIR", type=click.Path(file_okay=False), help="Keep the full output in this folder.")
@options.output_format
def verify(
    python: str | None,
    conda_env: str | None,
    framework: str,
    workload: str,
    device: str,
    timeout: float,
    memory_cap: int | None,
    quick: bool,
    logs: str | None,
    output: str,
) -> None:
    """Prove an environment by running a CNN and a GPT-2 in it.

    Both are the real networks with random weights; nothing is downloaded. Exits with 5 if one of them does not pass.
    """
    from envdoctor.app import verifying
    from envdoctor.cli.bars import Bars
    from envdoctor.host.local import LocalHost
    from envdoctor.report import documents, outcomes
    from envdoctor.verify import runner

    host = LocalHost()
    target = verifying.target_of(host, python, conda_env)
    workloads = tuple(dict.fromkeys(name.strip() for name in workload.split(",") if name.strip()))
    if not workloads:
        raise errors.UsageProblem("--workload names nothing", f"there are: {', '.join(runner.WORKLOADS)}")
    with Bars() as bars:
        results = runner.run(
            target,
            workloads,
            device,
            timeout,
            memory_cap or verifying.memory_cap(host),
            bars.show,
            framework=framework,
            logs=os.path.abspath(logs) if logs else None,
            quick=quick,
        )
    options.show(documents.outcomes(results) if output == "json" else outcomes.text(results, options.style()))
    if any(each.status != "passed" for each in results):
        raise SystemExit(errors.NOT_VERIFIED)
