"""Which commands does a group have, and which of Modal's are yet to come?"""

from __future__ import annotations

from typing import Any

import click


class Group(click.Group):
    """Says of a command of Modal's that it is not here yet, rather than that there is none."""

    def __init__(self, *args: Any, not_yet: frozenset[str] = frozenset(), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.not_yet = not_yet

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in self.not_yet:
            raise click.ClickException(f"`{ctx.command_path} {args[0]}` is not in Modicum yet")
        return super().resolve_command(ctx, args)
