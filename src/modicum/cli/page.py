"""The reference page of the command line, made of the commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

HEAD = """# The command line

Every command, its arguments and options. This page is made of the commands themselves by `scripts/docs`.

With `compat/modal` installed the same commands go by the name `modal`. Settings stand in `~/.modicum.toml`, or in
variables named `MODICUM_<KEY>` (`modicum config show` lists them). `modicum completion` makes a shell complete them.
"""


def render(root: click.Group) -> str:
    """Return the page."""
    return "\n".join([HEAD, *_sections(root, "modicum")]).rstrip() + "\n"


def _sections(group: click.Group, path: str) -> Iterator[str]:
    for name in sorted(group.commands):
        command = group.commands[name]
        if command.hidden:
            continue
        if isinstance(command, click.Group):
            yield from _sections(command, f"{path} {name}")
        else:
            yield from _section(command, f"{path} {name}")


def _section(command: click.Command, path: str) -> Iterator[str]:
    context = click.Context(command, info_name=path, help_option_names=["-h", "--help"])  # click keeps them
    yield f"## `{path}`\n"
    yield f"```\n{' '.join([path, *command.collect_usage_pieces(context)])}\n```\n"
    yield from _help(command)
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    if options:
        yield "| Option | |\n|---|---|"
        yield from (f"| {_names(option)} | {option.help or ''} |" for option in options)
        yield ""


def _help(command: click.Command) -> Iterator[str]:
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            yield "```sh\n" + paragraph.removeprefix("\b").strip("\n") + "\n```\n"
        else:
            yield f"{paragraph}\n"


def _names(option: click.Option) -> str:
    value = "" if option.is_flag else f" {option.metavar or option.type.name.upper()}"
    return ", ".join(f"`{name}{value}`" for name in [*option.opts, *option.secondary_opts])
