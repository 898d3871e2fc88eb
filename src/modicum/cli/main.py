"""The command `modicum`, and `modal` where `compat/modal` is installed."""

from __future__ import annotations

import os
import sys

import click

from modicum import config as settings
from modicum._alias import install_as_modal
from modicum.cli import calls, logs, run_now, versions  # noqa: F401 - they add commands to the groups
from modicum.cli.billing import billing
from modicum.cli.completion import completion
from modicum.cli.containers import container
from modicum.cli.deploy import deploy_app
from modicum.cli.dicts import dicts
from modicum.cli.doctor import doctor
from modicum.cli.errors import INTERRUPTED, reporting_errors
from modicum.cli.functions import function
from modicum.cli.groups import Group
from modicum.cli.images import image
from modicum.cli.listing import app
from modicum.cli.profiles import config, profile
from modicum.cli.queues import queues
from modicum.cli.run import run
from modicum.cli.serve import serve
from modicum.cli.server import server
from modicum.cli.setup import setup
from modicum.cli.shell import shell

_NOT_YET = frozenset({
    "changelog", "cluster", "curl", "dashboard", "endpoint", "environment",
    "launch", "nfs", "secret", "skills", "token", "volume", "workspace",
})  # fmt: skip
"""Commands of Modal's that are to come."""


@click.group(cls=Group, not_yet=_NOT_YET, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="modicum", message="modicum %(version)s")
def cli() -> None:
    """Serverless Python on machines of your own."""


for command in (
    run, shell, serve, deploy_app, app, container, function, image, dicts, queues, billing, server, config, profile,
    setup, doctor, completion,
):  # fmt: skip
    cli.add_command(command)


def main() -> None:
    """Run the command line; `import modal` means this package from here on."""
    install_as_modal()
    _open_what_is_closed()
    try:
        with reporting_errors():
            # Not standalone: click itself would report, and end an interrupted run with 1.
            sys.exit(cli.main(standalone_mode=False, prog_name=settings.command()))
    except KeyboardInterrupt:  # another one, while the first was being told
        os._exit(INTERRUPTED)


def _open_what_is_closed() -> None:
    """Have standard streams that are closed lead nowhere: what is opened next would take their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))


if __name__ == "__main__":
    main()
