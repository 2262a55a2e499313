"""`envdoctor provision`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from envdoctor import errors
from envdoctor.cli import building, making, options
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from envdoctor.app.creating import Manager
    from envdoctor.model.snapshot import Snapshot
    from envdoctor.model.stack import Artifact, Builder, FrameworkName, Plan, TargetOs


@click.command(
    epilog="""\b
Examples:
  envdoctor provision --cuda 11.8
  envdoctor provision --cuda cpu -o cpu-env
  envdoctor provision --framework tensorflow --gpu "RTX 3060" --driver 550.54.14
  envdoctor provision --gpu "RTX 5090" --driver 575.57.08 --dry-run --format json
  envdoctor provision --cuda cpu --lock --mirror tuna
  envdoctor provision --os windows --gpu "RTX 4090" --wheelhouse D:/wheels
  envdoctor provision --manager conda --lock --platform osx-arm64 --create
  envdoctor provision --cuda cpu --build"""
)
@click.option("--cuda", default="auto", show_default=True, metavar="X.Y|cpu|auto", help="CUDA of the build.")
@click.option(
    "--framework",
    type=click.Choice(["torch", "tensorflow", "jax"]),
    default="torch",
    show_default=True,
    help="What to install.",
)
@click.option(
    "--with", "companions", metavar="NAMES", help="Packages that must go with torch: xformers,transformers,vllm …"
)
@click.option("--framework-version", metavar="V", help="Its version. Default: the best that fits.")
@click.option("--python", "python", metavar="X.Y", help="Python version. Default: the one at hand, or the best.")
@click.option("--gpu", "gpus", multiple=True, metavar="NAME", help="A GPU of another machine, or a capability. Repeat.")
@click.option("--driver", metavar="V", help="NVIDIA driver of another machine.")
@click.option(
    "--os",
    "system",
    type=click.Choice(["linux", "wsl2", "windows", "macos"]),
    help="Operating system of another machine.",
)
@click.option("--glibc", metavar="V", help="C library version of another machine.")
@click.option("--arch", type=click.Choice(["x86_64", "aarch64"]), help="Processor architecture of another machine.")
@click.option("--snapshot", "source", metavar="FILE", help="Read the machine from a snapshot instead of this one.")
@options.mirror
@click.option("--lock", is_flag=True, help="Also pin everything that comes along, with hashes.")
@click.option("--wheelhouse", metavar="DIR", help="Download what a machine without network needs to install it.")
@making.options
@building.options
@click.option("-o", "--output", "folder", metavar="DIR", help="Folder for the files. Default: envdoctor-STACK.")
@click.option("--force", is_flag=True, help="Replace files that envdoctor did not generate.")
@click.option("--dry-run", is_flag=True, help="Choose and show, write nothing.")
@options.output_format
@options.timeout
def provision(
    cuda: str,
    framework: FrameworkName,
    companions: str | None,
    framework_version: str | None,
    python: str | None,
    gpus: tuple[str, ...],
    driver: str | None,
    system: TargetOs | None,
    glibc: str | None,
    arch: str | None,
    source: str | None,
    mirror: str | None,
    lock: bool,
    wheelhouse: str | None,
    platforms: tuple[str, ...],
    create: bool,
    manager: Manager | None,
    path: str | None,
    builder: Builder,
    build: bool,
    tag: str | None,
    folder: str | None,
    force: bool,
    dry_run: bool,
    output: str,
    timeout: float,
) -> None:
    """Write the files of an environment that fits: conda, pip, Docker.

    The options describe another machine; what they leave out is read from this one.
    """
    from datetime import date

    from envdoctor.app import mirroring, planning
    from envdoctor.app.artifacts import artifacts_of, folder_of
    from envdoctor.knowledge.load import Knowledge
    from envdoctor.knowledge.targets import target_of
    from envdoctor.model.stack import Conflict, Request
    from envdoctor.report import documents, plans

    if not re.fullmatch(r"auto|cpu|\d{1,2}(\.\d{1,2})?", cuda):
        raise errors.UsageProblem(say("--cuda {cuda} is neither a version like 11.8, nor cpu, nor auto", cuda=cuda))
    for name, value in (("--python", python), ("--framework-version", framework_version)):
        if value is not None and not re.fullmatch(r"\d+(\.\d+){1,2}", value):
            raise errors.UsageProblem(say("{option} {version} is not a version like 3.12", option=name, version=value))
    if wheelhouse == "":
        raise errors.UsageProblem(say("--wheelhouse names no folder"))
    elsewhere = (("--snapshot", source), ("--os", system), ("--arch", arch), ("--glibc", glibc))
    words = making.Words(platforms, create, manager, path)
    making.refuse(words, lock=lock, dry_run=dry_run, elsewhere=elsewhere)
    beside = planning.companions(companions, framework)
    container = building.Words(builder, build, tag)
    building.refuse(container, dry_run=dry_run, companions=beside)
    facts = Knowledge()
    stand_in = mirroring.mirror_named(mirror, facts)
    machine = _machine(source, timeout)
    target = planning.described(
        target_of(machine, facts),
        facts,
        gpus=gpus,
        driver=driver,
        os=system,
        glibc=glibc,
        arch=arch,
    )
    target, interpreters = making.interpreters_for(target, machine, words)
    request = Request(
        cuda=cuda, framework=framework, framework_version=framework_version, python=python, companions=beside
    )
    chosen = planning.plan(request, target, facts, date.today())
    if isinstance(chosen, Conflict):
        options.show(documents.conflict(chosen) if output == "json" else plans.conflict(chosen, options.style()))
        raise SystemExit(errors.NO_STACK)
    chosen = mirroring.sourced(chosen, machine, stand_in, facts, here=source is None)
    folder = folder or folder_of(chosen.stack)
    building.prepare(container, chosen)
    where = making.place(folder, words, lock=lock, force=force)
    chosen = making.standing(where, chosen, target)
    by_pip = lock and manager != "conda"
    artifacts = artifacts_of(chosen, folder, locked=by_pip, builder=builder)
    paths = tuple(artifact.path for artifact in artifacts)
    filled: tuple[str, ...] = ()
    if not dry_run:
        from envdoctor.host.writing import write

        if by_pip or wheelhouse:
            added, filled = _locked(chosen, folder, by_pip, wheelhouse, force)
            artifacts += added
        write(artifacts, folder, force=force)
        paths = tuple(artifact.path for artifact in artifacts)
        if lock:
            paths += making.conda_lock(chosen, folder, facts, words, force=force)
    made = making.environment(where, chosen, target, interpreters, facts) if where else None
    image = building.image(container, chosen, folder)
    if output == "json":
        options.show(documents.plan(chosen, paths, filled, made, image))
    else:
        options.show(plans.plan(chosen, paths, None if dry_run else folder, options.style()))
        if wheelhouse and filled:
            options.show(plans.wheelhouse(chosen, wheelhouse, filled, options.style()))
        if made:
            options.show(plans.made(made, options.style()))
        if image:
            options.show(plans.image(image, options.style()))


def _locked(
    chosen: Plan, folder: str, lock: bool, wheelhouse: str | None, force: bool
) -> tuple[tuple[Artifact, ...], tuple[str, ...]]:
    """Give the lock files, which are not written yet, and the paths of the wheelhouse's files, which are."""
    from envdoctor.app import locking
    from envdoctor.app.listener import Listener
    from envdoctor.cli.progress import Progress

    with Progress() as progress:
        listener = Listener(step=progress.step, line=progress.line)
        added = locking.lock_artifacts(chosen, folder, listener) if lock else ()
        filled = locking.fill(chosen, wheelhouse, listener, force=force) if wheelhouse else ()
    return added, filled


def _machine(source: str | None, timeout: float) -> Snapshot:
    if source is not None:
        from envdoctor.app.reading import read_snapshot

        return read_snapshot(source)
    from envdoctor.app.examining import examine
    from envdoctor.host.local import LocalHost

    return examine(LocalHost(), None, timeout)
