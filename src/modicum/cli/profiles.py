"""`modicum config` and `modicum profile`: what this client is set to, and where that stands."""

from __future__ import annotations

import os
from typing import Any

import click

from modicum import config as settings
from modicum.cli import options, tables
from modicum.exception import InvalidError, NotFoundError, PermissionDeniedError


@click.group()
def config() -> None:
    """Look at this client's settings, and change them."""


@config.command("show")
@options.as_json
def show_config(as_json: bool) -> None:
    """Show every setting, and where it comes from."""
    rows = [{"key": key, "value": settings.get(key), "from": _origin(key)} for key in settings.KEYS]
    if as_json:
        tables.show_facts({row["key"]: row["value"] for row in rows})
    else:
        tables.show(rows, {"key": "Key", "value": "Value", "from": "From"}, False, "")


def _origin(key: str) -> str:
    variable = settings.variable_of(key)
    if variable is not None:
        return variable
    return f"profile {settings.active_name()}" if key in settings.active() else "default"


@config.command("set")
@click.argument("key", metavar="KEY", type=click.Choice(list(settings.KEYS)))
@click.argument("value")
def set_config(key: str, value: str) -> None:
    """Set a key of the active profile; `config show` lists the keys."""
    default = settings.KEYS[key][0]
    meant: Any = value
    if isinstance(default, bool):
        meant = click.BOOL.convert(value, None, None)
    if key == "environment":
        options.check_environment(value)
    _change(settings.active_name(), key, meant)


@config.command("set-environment")
@click.argument("environment_name")
def set_environment(environment_name: str) -> None:
    """Set the environment of the active profile; there is one, main."""
    options.check_environment(environment_name)
    _change(settings.active_name(), "environment", environment_name)


def _change(profile: str, key: str, value: Any) -> None:
    document = _document()
    table = document.setdefault(profile, {})
    if len(document) == 1:
        table["active"] = True
    table[key] = value
    _save(document)
    click.echo(f"{key} is {value!r} in the profile {profile!r} ({settings.path()})")


@click.group()
def profile() -> None:
    """Choose among several sets of settings."""


@profile.command("list")
@options.as_json
def list_profiles(as_json: bool) -> None:
    """List the profiles, and say which is active."""
    active, known = settings.active_name(), settings.profiles()
    rows = [
        {"name": name, "active": name == active, "home": known.get(name, {}).get("home", settings.KEYS["home"][0])}
        for name in known or [active]
    ]
    shown = [{**row, "mark": "•" if row["active"] else ""} for row in rows]
    columns = {"mark": "", "name": "Profile", "home": "Home"}
    tables.show(rows if as_json else shown, columns, as_json, "")


@profile.command("current")
def current_profile() -> None:
    """Print the name of the active profile."""
    click.echo(settings.active_name())


@profile.command("activate")
@click.argument("profile")
def activate_profile(profile: str) -> None:
    """Make a profile the active one."""
    document = _document()
    if profile not in document:
        known = ", ".join(document) or "none"
        raise NotFoundError(f"there is no profile {profile!r} in {settings.path()}; it has {known}")
    for name, table in document.items():
        if name == profile:
            table["active"] = True
        else:
            table.pop("active", None)
    _save(document)
    variable = settings.chosen_by_variable()
    if variable is not None:
        click.echo(f"{variable} is set: it comes before the profile that is active in the file", err=True)


def _document() -> Any:
    """Return the file as it is to be written again, comments and order kept."""
    import tomlkit

    settings.profiles()  # says what is wrong with it
    try:
        with open(settings.path(), encoding="utf-8") as file:
            return tomlkit.load(file)
    except FileNotFoundError:
        return tomlkit.document()


def _save(document: Any) -> None:
    """Replace the file as a whole: it may hold a token, so that only its owner may read it."""
    import tomlkit

    path = os.path.realpath(settings.path())
    new = f"{path}.new"
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            tomlkit.dump(document, file)
        os.replace(new, path)
    except PermissionError:
        raise PermissionDeniedError(f"{path} cannot be written: permission denied") from None
    except OSError as error:
        raise InvalidError(f"{path} cannot be written: {error.strerror}") from None
