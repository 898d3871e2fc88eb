"""`modicum shell`: a shell, or another command, in a container of its own or in one that runs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from modicum import _creating, _idling, image
from modicum._exchange import Request
from modicum._running import Run
from modicum.app import App
from modicum.cli import options
from modicum.cli.executing import execute, wants_terminal
from modicum.cli.reference import Method, choose, load
from modicum.exception import InvalidError
from modicum.function import Function
from modicum.output import show_on

if TYPE_CHECKING:
    from modicum._exchange import Operation

TIMEOUT_S = 3600

_SHELL = "s=/bin/bash; [ -x $s ] || s=/bin/sh; exec $s"
"""bash, where the image has it."""

_CARRIED = ("block_network", "cpu", "ephemeral_disk", "gpu", "memory", "placement", "restrict_modal_access")
"""What a shell's container takes of a function's options: all that makes its surroundings, none of how it is called."""


@click.command()
@click.argument("reference", metavar="[REF]", required=False)
@click.option("-c", "--cmd", metavar="COMMAND", help="Run this in place of an interactive shell.")
@click.option("--image", "tag", metavar="TAG", help="An image of a registry, in place of the default one.")
@click.option("--add-python", metavar="VERSION", help="Add Python to the image of a registry.")
@click.option("--volume", "volumes", metavar="NAME", multiple=True, help="A volume, to be at /mnt/NAME.")
@click.option("--add-local", metavar="PATH", multiple=True, help="A file or directory of ours, to be at /mnt/its name.")
@click.option("--secret", "secrets", metavar="NAME", multiple=True, help="A secret whose variables it gets.")
@click.option("--cpu", metavar="CORES", type=int, help="How many cores it gets.")
@click.option("--memory", metavar="MIB", type=int, help="How much memory it gets.")
@click.option("--gpu", metavar="TYPE", help="Which GPUs it gets: any, a100:4.")
@click.option("--cloud", metavar="NAME", help="Has no effect: every container runs on your own machines.")
@click.option("--region", metavar="NAME", help="Has no effect, as --cloud.")
@click.option("--runtime", type=click.Choice(["gvisor", "vm"]), help="Not in Modicum yet.")
@click.option("--pty/--no-pty", default=None, help="Give the command a terminal, or none; by default, if this is one.")
@click.option("-m", "module", is_flag=True, help="REF names a module (pkg.mod), not a file.")
@options.environment
@click.pass_context
def shell(context: click.Context, /, reference: str | None, cmd: str | None, pty: bool | None, **given: Any) -> None:
    """Go into a container: one of its own, or one that runs.

    REF is `file.py::function` for a container as that function's, with its image, files, secrets and resources; `ta-…`
    for a container that runs; `im-…` for an image. Without it the container is of `Image.debian_slim()`. One of its own
    ends with the shell, and after an hour. Ends with the exit code of the shell.

    \b
    modicum shell
    modicum shell my_app.py::process
    modicum shell ta-123456789
    modicum shell -c 'pip list' > packages.txt
    """
    terminal = wants_terminal(pty)
    _refuse_missing(given)
    if reference is not None and reference.startswith("sb-"):
        raise InvalidError("sandboxes are not in Modicum yet; `modicum container list` shows what can be gone into")
    if reference is not None and reference.startswith("ta-"):
        _refuse_configuration(context, f"to go into the container {reference}, which runs")
        sys.exit(execute(reference, _command(cmd), terminal=terminal))
    app = App("shell")
    if reference is None:
        function, built = _of_image(app, _base(given), given), None
    elif reference.startswith("im-"):
        function, built = _of_image(app, None, given), reference
    else:
        _refuse_configuration(context, f"for a container of {reference}, which says so itself", ("module",))
        function, built = _like(app, _chosen(reference, given["module"])), None
    sys.exit(_run(app, function, built, _command(cmd), terminal))


def _run(
    app: App, function: Function[Any, Any, Any], built: str | None, command: tuple[str, ...], terminal: bool
) -> int:
    """Run the command in a container of the function's, which ends with it."""
    running = _ShellRun(app, function, built)
    showing = show_on(quiet=not sys.stderr.isatty())
    showing.__enter__()
    try:
        with running:
            container = next(iter(function.remote_gen()))
            showing.__exit__(None, None, None)  # from here on the terminal is the command's
            return execute(container, command, terminal=terminal)
    finally:
        showing.__exit__(None, None, None)


class _ShellRun(Run):
    """The app of a shell; its image may be one that is known by its id alone."""

    def __init__(self, app: App, function: Function[Any, Any, Any], built: str | None) -> None:
        super().__init__(app, "shell")
        self._function = function
        self._built = built

    def _create_functions(self, app_id: str) -> Operation[int]:
        if self._built is None:
            return (yield from super()._create_functions(app_id))
        creation, code = _creating._creation(app_id, self._function, self._built, [], {})
        creation["options"] = self._function.options.as_dict()
        ((answer, _),) = yield Request((creation, code))
        self._hydrated = [(self._function, answer["function"])]
        self._function.hydrate_with(answer["function"])
        return 1


def _command(cmd: str | None) -> tuple[str, ...]:
    return ("/bin/sh", "-c", _SHELL) if cmd is None else ("/bin/sh", "-c", f'{_SHELL} -c "$0"', cmd)


def _base(given: dict[str, Any]) -> image.Image:
    base = image.Image.debian_slim()
    for path in given["add_local"]:
        full = os.path.abspath(os.path.expanduser(path))
        target = f"/mnt/{os.path.basename(full)}"
        base = base.add_local_dir(full, target) if os.path.isdir(full) else base.add_local_file(full, target)
    return base


def _of_image(app: App, base: image.Image | None, given: dict[str, Any]) -> Function[Any, Any, Any]:
    """Return the function of a container that idles, of an image."""
    if base is None and given["add_local"]:
        raise InvalidError("--add-local goes with no image that is named by its id: it is built already")
    wishes = {name: given[name] for name in ("cpu", "memory", "gpu") if given[name] is not None}
    return app.function(image=base, name="shell", timeout=TIMEOUT_S, include_source=False, **wishes)(_idling.idle)


def _like(app: App, model: Function[Any, Any, Any]) -> Function[Any, Any, Any]:
    """Return the function of a container that idles, with all that a container of `model` has."""
    assert model.app is not None
    idling = app.function(image=model.app.image_of(model), name="shell", timeout=TIMEOUT_S)(_idling.idle)
    for name in _CARRIED:
        setattr(idling.options, name, getattr(model.options, name))
    idling.options.secrets = model.app.secrets_of(model)
    has_source = model.includes_source and not model.serialized
    function: Function[Any, Any, Any] = Function(
        model.raw_function if has_source else _idling.idle,
        idling.name,
        idling.options,
        idling.image,
        is_generator=True,
        is_async=False,
        serialized=False,
        include_source=has_source,
        app=app,
    )
    function.facts = {"module": _idling.__name__, "qualname": _idling.idle.__qualname__}
    app._functions[function.name] = function
    return function


def _chosen(reference: str, module: bool) -> Function[Any, Any, Any]:
    """Return the function that a reference names, for a method that of its class."""
    target = choose(load(reference, module), verb="shell")
    if isinstance(target, Method):
        return target.cls._service
    assert isinstance(target, Function)
    return target


def _refuse_missing(given: dict[str, Any]) -> None:
    """Raise `InvalidError` for an option that is yet to come."""
    flags = {"tag": "--image", "add_python": "--add-python", "volumes": "--volume", "secrets": "--secret"}
    for name, flag in {**flags, "runtime": "--runtime"}.items():
        if given[name]:
            raise InvalidError(f"{flag} of `modicum shell` is not in Modicum yet; leave it out")


def _refuse_configuration(context: click.Context, why: str, allowed: tuple[str, ...] = ()) -> None:
    """Raise `InvalidError` for an option that says how a container is to be, where something else says so."""
    commandline = click.core.ParameterSource.COMMANDLINE
    for parameter in context.command.params:
        name = str(parameter.name)
        if (
            name not in ("reference", "cmd", "pty", "env", *allowed)
            and context.get_parameter_source(name) is commandline
        ):
            raise InvalidError(f"{parameter.opts[-1]} cannot be given {why}; leave it out")
