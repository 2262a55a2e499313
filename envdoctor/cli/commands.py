"""The commands and where they live; a command's module is imported when it is called, and not before."""

from __future__ import annotations

import importlib

import click

from envdoctor import __version__
from envdoctor.cli.language import translated
from envdoctor.model.speech import message, say

# name -> (one line for --help, its module in this package)
COMMANDS = {
    "diagnose": message("Say what is wrong with this machine, or a reported one, and why."),
    "provision": message("Write the files of an environment that fits: conda, pip, Docker."),
    "verify": message("Prove an environment by running a CNN and a GPT-2 in it."),
    "estimate": message("Say whether a model fits into memory, and at which batch, before it runs."),
    "tune": message("Find by running what fits on this machine and is fast: batch, precision, threads."),
    "onboard": message("Do it all: diagnose, choose, write, create the environment, verify."),
    "check": message("Say whether a machine has what a job needs: for CI, HEALTHCHECK."),
    "run": message("Run a program under watch, and explain why it died."),
    "explain": message("Show the page of a rule."),
    "knowledge": message("Show the facts it judges by: their age and their sources."),
    "snapshot": message("Save what this machine looks like, for later or for a bug report."),
    "diff": message("Say what changed since a snapshot, and which findings came with it."),
    "schema": message("Print the JSON Schema of what a command prints."),
    "completion": message("Print what lets a shell complete the words of envdoctor."),
}


class LazyGroup(click.Group):
    """A group whose help needs no command's module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order a person meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command that is asked for."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"envdoctor.cli.{cmd_name}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return translated(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table above."""
        with formatter.section(say("Commands")):
            formatter.write_dl([(name, say(line)) for name, line in COMMANDS.items()])


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `envdoctor diagnose`. A new machine: `envdoctor onboard`.",
)
@click.version_option(__version__, prog_name="envdoctor")
def envdoctor() -> None:
    """An environment doctor for deep learning.

    It looks at a machine, says what is wrong and why, and hands over an environment that is proven to work on it.
    """
