"""`modicum setup`: check this machine, make the home, start the server, and say what to run next."""

from __future__ import annotations

import click

from modicum import _server, config
from modicum.cli.doctor import examine, show
from modicum.doctor.findings import can_run
from modicum.exception import Error

_NEXT = """\
Next, write a program, such as hello.py:

    import modicum

    app = modicum.App("hello")

    @app.function()
    def square(x):
        return x * x

    @app.local_entrypoint()
    def main():
        print(square.remote(7))

and run it:
"""


@click.command()
@click.option("--build/--no-build", default=True, help="Build the default image now, or with the first function.")
@click.option("--offline", is_flag=True, help="Do not try whether packages can be reached.")
def setup(build: bool, offline: bool) -> None:
    """Prepare this machine: check it, start the server, and build the default image. May be repeated at any time."""
    found = examine(offline)
    show(found)
    if not can_run(found):
        raise Error("this machine cannot run functions yet; the lines marked ✗ say what to do, then run this again")
    link = _server.connect()
    facts = _server.ask(link, {"t": "server.status"})
    link.close()
    click.echo(f"The server runs (pid {facts['pid']}); it keeps everything in {config.home()}.")
    if build:
        _build()
    click.echo()
    click.echo(_NEXT)
    click.echo(f"    {config.command()} run hello.py")


def _build() -> None:
    """Have the image of a function without any be there, showing how it is made."""
    from modicum import App
    from modicum._running import Run
    from modicum.output import show_on

    app = App("setup")
    app.function(serialized=True, name="nothing")(_nothing)
    with show_on(), Run(app, "setup"):
        pass
    click.echo("The default image is ready.")


def _nothing() -> None:
    """Do nothing."""
