"""`envdoctor completion`."""

from __future__ import annotations

import click

from envdoctor.cli import options


@click.command(
    epilog="""\b
Examples:
  envdoctor completion bash > ~/.local/share/bash-completion/completions/envdoctor
  envdoctor completion zsh > "${fpath[1]}/_envdoctor"
  envdoctor completion fish > ~/.config/fish/completions/envdoctor.fish"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete the words of envdoctor, for bash 4.4, zsh or fish.

    The shell asks envdoctor itself for the words, so that they are those of the installed version.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # click.Choice has checked it
    options.show(kind(context.find_root().command, {}, "envdoctor", "_ENVDOCTOR_COMPLETE").source() + "\n")
