"""How a server comes to run from the machine's start on, and again when it dies: as a service of systemd's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from modicum import _server, config
from modicum.exception import Error

BOOTED = Path("/run/systemd/system")
"""There if systemd runs the machine: sd_booted(3)."""

NAME = "modicum.service"


def unit(python: str, environment: Mapping[str, str], is_root: bool) -> str:
    """Return the service's unit. One that was killed is started again; one that was stopped is not."""
    target = "multi-user.target" if is_root else "default.target"
    program = _quoted(python.replace("$", "$$"))  # only commands have variables
    variables = "".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in sorted(environment.items()))
    return f"""\
[Unit]
Description=Modicum: serverless Python
After=network.target

[Service]
Type=exec
{variables}ExecStart={program} -m modicum.server.main
ExecStop={program} -m modicum.cli.main server stop
Restart=on-failure
RestartSec=1
KillMode=process
Delegate=yes

[Install]
WantedBy={target}
"""


@click.command("install")
@click.option("--print", "is_printed", is_flag=True, help="Print the unit, and install nothing.")
def install(is_printed: bool) -> None:
    """Have systemd start the server with the machine, and again whenever it is killed.

    As root for the whole machine, otherwise for you alone. What is deployed so comes back by itself.
    """
    is_root = os.geteuid() == 0
    environment = {**_server.server_environment(), "MODICUM_HOME": config.home()}
    text = unit(sys.executable, environment, is_root)
    if is_printed:
        click.echo(text, nl=False)
        return
    if not BOOTED.is_dir():
        raise Error(
            f"systemd does not run this machine ({BOOTED} is not there); have whatever does run "
            f"`{config.command()} server start` at its start"
        )
    path = folder(is_root) / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)  # a proxy's address may have a password
    path.write_text(text)
    systemctl = ["systemctl"] if is_root else ["systemctl", "--user"]
    _run(*systemctl, "daemon-reload")
    _run(*systemctl, "enable", NAME)
    if not is_root:
        _run("loginctl", "enable-linger")  # else it would begin with a log-in, and end with it
    click.echo(f"installed {path}: the server starts with the machine; now: `{' '.join(systemctl)} start modicum`")
    click.echo(f"to undo: `{' '.join(systemctl)} disable --now modicum`")


def folder(is_root: bool) -> Path:
    """Return where systemd looks for units of this machine's, or of this user's."""
    if is_root:
        return Path("/etc/systemd/system")
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "systemd" / "user"


def _quoted(text: str) -> str:
    """Return a word of a unit: systemd.syntax(7), and its specifiers."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise Error(f"`{' '.join(command)}` failed: {done.stderr.strip() or done.returncode}")
