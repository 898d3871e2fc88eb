"""The command `modicum`."""

from __future__ import annotations

import sys

import click

from modicum._alias import install_as_modal
from modicum.cli.doctor import doctor
from modicum.cli.errors import reporting_errors
from modicum.cli.run import run
from modicum.cli.server import server
from modicum.cli.setup import setup


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="modicum", message="modicum %(version)s")
def cli() -> None:
    """Serverless Python on machines of your own."""


cli.add_command(doctor)
cli.add_command(run)
cli.add_command(server)
cli.add_command(setup)


def main() -> None:
    """Run the command line; `import modal` means this package from here on."""
    install_as_modal()
    with reporting_errors():
        sys.exit(cli.main(standalone_mode=False))  # else click itself would report, and end an interrupted run with 1


if __name__ == "__main__":
    main()
