"""`modicum deploy`: have an app live at the server under its name."""

from __future__ import annotations

from typing import Any

import click

from modicum import config
from modicum._publishing import STRATEGIES, deploy, deployment_name
from modicum._session import Session
from modicum.cli import options, schedules
from modicum.cli.errors import warn
from modicum.cli.reference import load_app
from modicum.exception import ImageBuildError
from modicum.output import show_on

strategy_option = click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default="rolling",
    show_default=True,
    help="Replace containers when those of the new version are ready, or end them at once.",
)


@click.command("deploy")
@click.argument("reference", metavar="REF")
@click.option("-n", "--name", metavar="NAME", help="Deploy the app under this name, in place of its own.")
@click.option("--tag", metavar="TAG", default="", help="A word for this version, for its history.")
@strategy_option
@click.option("--stream-logs", is_flag=True, help="Show what its containers print, until interrupted.")
@click.option("-m", "module", is_flag=True, help="REF names a module (pkg.mod), not a file.")
@click.option("--timestamps", is_flag=True, help="Put the time before each line of output.")
@options.environment
def deploy_app(
    reference: str, name: str | None, tag: str, strategy: str, stream_logs: bool, module: bool, timestamps: bool
) -> None:
    """Deploy an app: it lives until it is stopped, and its functions can be called by name from anywhere.

    What is deployed under its name is replaced as a whole; what is unchanged is left alone.

    \b
    modicum deploy my_app.py
    modicum deploy -m my_package.my_module --name staging
    """
    app = load_app(reference, module)
    called = deployment_name(app, name)
    with show_on(timestamps=timestamps):
        try:
            answer = deploy(app, called, tag=tag, strategy=strategy)
        except ImageBuildError:
            warn(f"nothing was deployed; what is under the name {called!r} stays as it is")
            raise
        for each in answer["schedules"]:
            click.echo(f"{each['function']} runs by itself: {schedules.sentence(each)}", err=True)
        if stream_logs:
            _follow(answer)
    if not stream_logs:
        click.echo(f"call it: modal.Function.from_name({called!r}, …); end it: {config.command()} app stop {called}")


def _follow(answer: dict[str, Any]) -> None:
    """Show an app's output from now on."""
    from modicum import output

    session = Session(answer["app"], output.current, answer["logged"])
    session.start()
    try:
        session.join(None)
    except KeyboardInterrupt:
        session.leave()  # the app goes on
