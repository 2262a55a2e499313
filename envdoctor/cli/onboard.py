"""`envdoctor onboard`."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import click

from envdoctor import errors
from envdoctor.cli import options
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from envdoctor.model.stack import FrameworkName


@click.command(
    epilog="""\b
Examples:
  envdoctor onboard
  envdoctor onboard --cuda 11.8 -o ~/dl
  envdoctor onboard --framework jax
  envdoctor onboard --mirror tuna
  envdoctor onboard --manager conda"""
)
@click.option("--cuda", default="auto", show_default=True, metavar="X.Y|cpu|auto", help="CUDA of the build.")
@click.option(
    "--framework",
    type=click.Choice(["torch", "tensorflow", "jax"]),
    default="torch",
    show_default=True,
    help="What to install.",
)
@click.option("--framework-version", metavar="V", help="Its version. Default: the best that fits.")
@options.mirror
@click.option("-o", "--output", "folder", default="envdoctor-env", show_default=True, metavar="DIR", help="Folder.")
@click.option(
    "--manager", type=click.Choice(["venv", "conda"]), default="venv", show_default=True, help="What makes it."
)
@click.option("--force", is_flag=True, help="Replace what stands in the folder and is not envdoctor's.")
@options.python
@options.output_format
@options.timeout
def onboard(
    cuda: str,
    framework: FrameworkName,
    framework_version: str | None,
    mirror: str | None,
    folder: str,
    manager: str,
    force: bool,
    python: str | None,
    output: str,
    timeout: float,
) -> None:
    """Do it all: diagnose, choose, write, create the environment, verify.

    Interrupted and started again, it goes on where it stopped. It installs with your own pip configuration.
    """
    from envdoctor.app import mirroring, onboarding
    from envdoctor.app.listener import Listener
    from envdoctor.cli.progress import Progress
    from envdoctor.host.local import LocalHost
    from envdoctor.knowledge.load import Knowledge
    from envdoctor.model.stack import Request
    from envdoctor.report import documents, onboardings

    if not re.fullmatch(r"auto|cpu|\d{1,2}\.\d{1,2}", cuda):
        raise errors.UsageProblem(say("--cuda {cuda} is neither a version like 11.8, nor cpu, nor auto", cuda=cuda))
    wishes = onboarding.Wishes(
        request=Request(cuda=cuda, framework=framework, framework_version=framework_version),
        folder=folder,
        mirror=mirroring.mirror_named(mirror, Knowledge()) if mirror else None,
        manager="conda" if manager == "conda" else "venv",
        python=python,
        force=force,
        timeout=timeout,
    )
    with Progress(os.path.join(folder, "logs", "onboard.log")) as progress:
        result = onboarding.onboard(
            LocalHost(), wishes, Listener(step=progress.step, line=progress.line, expect=progress.expect)
        )
    if output == "json":
        options.show(documents.onboarding(result))
    else:
        options.show(onboardings.screen(result, options.style()))
    if result.conflict is not None:
        raise SystemExit(errors.NO_STACK)
    if not result.verified:
        raise SystemExit(errors.NOT_VERIFIED)
