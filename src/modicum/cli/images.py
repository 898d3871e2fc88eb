"""`modicum image`: which images there are, and how to make room."""

from __future__ import annotations

import click

from modicum._display import counted
from modicum.cli import options, tables
from modicum.cli.asking import ask
from modicum.cli.groups import Group


@click.group(cls=Group, not_yet=frozenset({"build", "logs", "names", "pull"}))
def image() -> None:
    """Look at built images, and remove those that nothing uses."""


@image.command("list")
@options.as_json
@options.environment
def list_images(as_json: bool) -> None:
    """List the images that are built. Images share layers: together they take less than their sizes' sum."""
    answer = ask({"t": "image.list"})
    rows = [
        {
            "image_id": each["id"],
            "layers": each["layers"],
            "size": each["bytes"] if as_json else tables.size(each["bytes"]),
            "in_use": each["in_use"],
        }
        for each in sorted(answer["images"], key=lambda each: -each["bytes"])
    ]
    columns = {"image_id": "Image", "layers": "Layers", "size": "Size", "in_use": "In use"}
    tables.show(rows, columns, as_json, "no image is built")
    if not as_json and answer["layers"]:
        click.echo(f"{counted(answer['layers'], 'layer')}, {tables.size(answer['bytes'])} on the disk")


@image.command("prune")
@options.yes
@options.as_json
@options.environment
def prune_images(yes: bool, as_json: bool) -> None:
    """Remove all images and layers that no running app uses. They are built again when they are wanted."""
    if not yes:
        found = ask({"t": "image.prune", "dry_run": True})
        if not found["layers"]:
            click.echo("nothing to remove: running apps use all that there is")
            return
        question = f"Remove {_counts(found)} ({tables.size(found['bytes'])})?"
        options.confirm(question)
    done = ask({"t": "image.prune", "dry_run": False})
    if as_json:
        tables.show_facts({"images": done["images"], "layers": done["layers"], "bytes": done["bytes"]})
    else:
        click.echo(f"removed {_counts(done)}, freed {tables.size(done['bytes'])}")


def _counts(found: dict[str, int]) -> str:
    return f"{counted(found['images'], 'image')} and {counted(found['layers'], 'layer')}"
