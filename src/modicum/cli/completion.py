"""`modicum completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from modicum import config


@click.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell (bash, zsh or fish) complete this command.

    \b
    bash: put   eval "$(modicum completion bash)"     into ~/.bashrc
    zsh:  put   eval "$(modicum completion zsh)"      into ~/.zshrc
    fish: put   modicum completion fish | source      into ~/.config/fish/config.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    name = config.command()
    click.echo(kind(context.find_root().command, {}, name, f"_{name.upper()}_COMPLETE").source())
