"""What `provision` does with its Dockerfile: whose form it has, and the image itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from envdoctor import errors
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from envdoctor.model.onboarding import BuiltImage
    from envdoctor.model.stack import Builder, Plan


class Words(NamedTuple):
    """What was said of these options."""

    builder: Builder
    build: bool
    tag: str | None


_Command = TypeVar("_Command", bound=Callable[..., Any])


def options(command: _Command) -> _Command:
    """Add the options of this module to a command."""
    for option in reversed(
        (
            click.option(
                "--builder",
                type=click.Choice(["classic", "buildkit"]),
                default="classic",
                show_default=True,
                help="Form of the Dockerfile: for every builder, or with BuildKit's caches.",
            ),
            click.option("--build", is_flag=True, help="Build the image too, by the Docker engine here."),
            click.option("--tag", metavar="NAME", help="With --build: the image's name. Default: as in the README."),
        )
    ):
        command = option(command)
    return command


def refuse(words: Words, *, dry_run: bool, companions: tuple[str, ...]) -> None:
    """Raise errors.UsageProblem where options do not go together, before anything is looked at."""
    if words.tag is not None and not words.build:
        raise errors.UsageProblem(say("--tag names the image, and goes with --build"))
    if words.build and dry_run:
        raise errors.UsageProblem(say("--build makes an image, and --dry-run makes nothing"))
    if words.build and "flash-attn" in companions:
        raise errors.UsageProblem(
            say("flash-attn is compiled, and the Dockerfile brings no compiler"), say("leave out --build")
        )
    if words.tag is not None:
        from envdoctor.environments.images import refuse_tag

        refuse_tag(words.tag)


def prepare(words: Words, chosen: Plan) -> None:
    """See, before any file is written, whether an image can be built here, and say what may go wrong.

    Raises:
        errors.MissingPart: it cannot.
    """
    if not words.build:
        return
    from envdoctor.environments import images
    from envdoctor.host.local import LocalHost

    doubt = images.ready(LocalHost(), chosen.stack, words.builder)
    if doubt:
        click.echo(say("envdoctor: {doubt}", doubt=doubt), err=True)


def image(words: Words, chosen: Plan, folder: str) -> BuiltImage | None:
    """Build the image of a folder whose files are written; None: none is asked for.

    Raises:
        errors.NotVerified: it could not be built.
    """
    if not words.build:
        return None
    from envdoctor.app import containers
    from envdoctor.cli.progress import Progress
    from envdoctor.host.local import LocalHost
    from envdoctor.render.artifacts import name_of

    os.makedirs(os.path.join(folder, "logs"), exist_ok=True)
    with Progress(os.path.join(folder, "logs", "build.log")) as progress:
        return containers.build(
            LocalHost(), chosen, folder, words.tag or name_of(chosen.stack), words.builder, progress.step, progress.line
        )
