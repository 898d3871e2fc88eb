"""What do the commands for dicts and queues have in common?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modicum.cli import tables

if TYPE_CHECKING:
    from modicum._object import NamedObject

COLUMNS = {"name": "Name", "created_at": "Created at", "created_by": "Created by"}

allow_missing = click.option("--allow-missing", is_flag=True, help="It is no error if there is none.")


def listed(kind: type[NamedObject], **more: Any) -> list[dict[str, Any]]:
    """Return what the server knows of all objects that have names, the newest first."""
    from modicum import _object
    from modicum._blocking import run

    return run(_object.listed(kind.kind, None, None, **more))


def row(facts: dict[str, Any], as_json: bool) -> dict[str, Any]:
    """Return the columns that both lists have."""
    written = tables.iso if as_json else tables.moment
    return {"name": facts["name"], "created_at": written(facts["created_at"]), "created_by": facts["created_by"]}
