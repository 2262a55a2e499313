"""`envdoctor check`."""

from __future__ import annotations

import re

import click

from envdoctor import errors
from envdoctor.cli import options
from envdoctor.cli.sizes import Size
from envdoctor.model.speech import say

_VERSION = re.compile(r"\d{1,6}(\.\d{1,6}){0,4}")
_FRAMEWORK = re.compile(r"(torch|tensorflow|jax)\s*((?:(?:[<>]=?|[=!~]=)\s*[\w.+*]+\s*,?\s*)*)")


class Version(click.ParamType[str]):
    """Dotted numbers: 535.183.01, 12.4, 8.6."""

    name = "version"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read a version."""
        if not _VERSION.fullmatch(str(value)):
            self.fail(say("{version} is not a version like 12.4", version=value), param, ctx)
        return str(value)


@click.command(
    epilog="""\b
Examples:
  envdoctor check --require-gpu 1 --require-cuda 12.4 --framework 'torch>=2.4'
  envdoctor check --require-memory 8GiB --require-shm 1GiB --require-disk 50GiB:/scratch
  HEALTHCHECK CMD envdoctor check --require-gpu 1 --framework torch

\b
Exit status: 0 all is met, 1 something is not met, 3 something could not be looked at."""
)
@click.option("--require-gpu", type=click.IntRange(min=0), metavar="N", help="GPUs that a program here can use.")
@click.option("--require-cuda", type=Version(), metavar="X.Y", help="CUDA that the driver runs, or newer.")
@click.option("--require-driver", type=Version(), metavar="V", help="Release of the NVIDIA driver, or newer.")
@click.option(
    "--require-capability", type=Version(), metavar="X.Y", help="Compute capability of those GPUs, or higher."
)
@click.option("--require-memory", type=Size(), metavar="SIZE", help="Free memory on each of those GPUs, like 8GiB.")
@click.option("--require-ram", type=Size(), metavar="SIZE", help="Main memory that is available and granted.")
@click.option("--require-shm", type=Size(), metavar="SIZE", help="Free shared memory (/dev/shm).")
@click.option("--require-disk", metavar="SIZE[:DIR]", help="Free disk space at DIR. Default: the working folder.")
@click.option(
    "--framework",
    metavar="NAME[>=V]",
    help="torch, tensorflow or jax can be imported, and sees a GPU if one is required. Starts a Python.",
)
@options.python
@click.option("--allow-unknown", is_flag=True, help="Let pass what could not be looked at.")
@options.output_format
@click.option(
    "--timeout", type=click.FloatRange(min=0.5), default=60.0, show_default=True, help="Seconds for each look."
)
def check(
    require_gpu: int | None,
    require_cuda: str | None,
    require_driver: str | None,
    require_capability: str | None,
    require_memory: int | None,
    require_ram: int | None,
    require_shm: int | None,
    require_disk: str | None,
    framework: str | None,
    python: str | None,
    allow_unknown: bool,
    output: str,
    timeout: float,
) -> None:
    """Say whether this machine has what a job needs, a line for each requirement.

    Only what is asked for is looked at, and nothing is changed. It is meant for CI, for HEALTHCHECK of a container,
    and for the head of a job's script.
    """
    from envdoctor.app import checking
    from envdoctor.host.local import LocalHost
    from envdoctor.model.requirement import Requirements
    from envdoctor.report import checks, documents

    name, versions = _framework(framework)
    disk, folder = _disk(require_disk)
    wanted = Requirements(
        gpus=require_gpu,
        cuda=require_cuda,
        driver=require_driver,
        capability=require_capability,
        gpu_free_bytes=require_memory,
        ram_bytes=require_ram,
        shm_bytes=require_shm,
        disk_bytes=disk,
        disk_path=folder,
        framework=name,
        framework_versions=versions,
    )
    if wanted == Requirements():
        raise errors.UsageProblem(say("nothing is required"), say("for example: envdoctor check --require-gpu 1"))
    if python is not None and name is None:
        raise errors.UsageProblem(say("--python names whose --framework is asked, and none is named"))
    found = checking.check(LocalHost(), wanted, python, timeout)
    options.show(documents.checks(found) if output == "json" else checks.text(found, options.style()))
    states = {each.state for each in found}
    if "not met" in states:
        raise SystemExit(errors.FINDINGS)
    if "unknown" in states and not allow_unknown:
        raise SystemExit(errors.UNREADABLE)


def _framework(text: str | None) -> tuple[str | None, str]:
    """Read `torch`, `torch>=2.4` or `torch>=2.4,<3`."""
    if text is None:
        return None, ""
    found = _FRAMEWORK.fullmatch(text.strip())
    if found is None:
        raise errors.UsageProblem(
            say("--framework {wanted} is not a framework with versions", wanted=text),
            say("write torch, 'torch>=2.4', tensorflow or jax"),
        )
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    versions = found[2].replace(" ", "")
    try:
        SpecifierSet(versions)
    except InvalidSpecifier:
        raise errors.UsageProblem(
            say("--framework {wanted}: {versions} is not a range of versions", wanted=text, versions=versions)
        ) from None
    return found[1], versions


def _disk(text: str | None) -> tuple[int | None, str]:
    """Read `50GiB` or `50GiB:/scratch`."""
    if text is None:
        return None, "."
    amount, colon, folder = text.partition(":")
    if colon and not folder:
        raise errors.UsageProblem(say("--require-disk {wanted} names no folder after the colon", wanted=text))
    return Size().convert(amount, None, None), folder or "."
