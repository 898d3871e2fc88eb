"""What this client is set to: by variables of the environment, else by the active profile of `~/.modicum.toml`.

    [default]
    active = true
    environment = "main"

`MODICUM_<KEY>` comes before `MODAL_<KEY>`, and both before the file. `MODICUM_CONFIG_PATH` names another file,
`MODICUM_PROFILE` another profile than the active one.
"""

from __future__ import annotations

import os

from modicum import _context
from modicum.exception import InvalidError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Profiles = dict[str, dict[str, Any]]

KEYS: dict[str, tuple[object, str]] = {
    "home": ("~/.modicum", "The directory of the server that this client uses, or starts."),
    "environment": ("main", "The environment of your apps; there is one, `main`."),
    "force_build": (False, "Build images anew, for everybody who uses them."),
    "ignore_cache": (False, "Build images anew without touching those that there are."),
    "strict_names": (False, "Refuse older names of parameters and methods, as newer clients of Modal do."),
    "traceback": (False, "Show where in Modicum an error arose."),
}
"""Every key: what it is unless it is set, and what it means."""

MODALS = frozenset({
    "server_url", "token_id", "token_secret", "loglevel", "log_format", "log_pattern", "dev_suffix", "logs_timeout",
    "image_builder_version", "payload_format", "serve_timeout", "max_throttle_wait", "sandbox_v2", "build_validation",
})  # fmt: skip
"""Keys of Modal's that mean nothing here: a file that has them is accepted."""

_files: dict[str, tuple[int, Profiles]] = {}


def command() -> str:
    """Return the name of the command that was called, for messages: `modicum`, or `modal` through `compat/modal`."""
    import sys

    return "modal" if os.path.basename(sys.argv[0]) == "modal" else "modicum"


def home() -> str:
    """Return the absolute path of the server's directory: `MODICUM_HOME`, by default `~/.modicum`."""
    return os.path.abspath(os.path.expanduser(str(get("home"))))


def flag(name: str) -> bool:
    """Return whether a key, named as in its variable (`FORCE_BUILD`), is set to true."""
    return bool(get(name.lower()))


def strict_names() -> bool:
    """Return whether older names are refused, rather than accepted with a warning."""
    return flag("STRICT_NAMES")


def get(key: str) -> Any:
    """Return what a key is set to. Raises `InvalidError` if that is no value for it, or the file makes no sense."""
    default = KEYS[key][0]
    variable = variable_of(key)
    if variable is not None:
        return _as(type(default), os.environ[variable], variable)
    value = active().get(key, default)
    if type(value) is not type(default):
        raise InvalidError(f"{path()}: {key} must be a {_NAMES[type(default)]}, not {value!r}")
    return value


def variable_of(key: str) -> str | None:
    """Return the name of the variable that sets a key, None if none does."""
    for name in (f"MODICUM_{key.upper()}", f"MODAL_{key.upper()}"):
        if os.environ.get(name):
            return name
    return None


def path() -> str:
    """Return the path of the file with the profiles, whether it is there or not."""
    return os.path.abspath(os.path.expanduser(os.environ.get("MODICUM_CONFIG_PATH") or "~/.modicum.toml"))


def active() -> dict[str, Any]:
    """Return what the active profile sets."""
    known = profiles()
    name = active_name()
    if name not in known:
        if chosen_by_variable() is None:
            return {}
        raise NotFoundError(f"there is no profile {name!r} in {path()}; it has {', '.join(known) or 'none'}")
    return known[name]


def active_name() -> str:
    """Return the name of the active profile. Raises `InvalidError` if several say that they are."""
    chosen = chosen_by_variable()
    if chosen is not None:
        return os.environ[chosen]
    found = [name for name, values in profiles().items() if values.get("active") is True]
    if len(found) > 1:
        raise InvalidError(
            f"{path()}: {len(found)} profiles are active ({', '.join(found)}); `active = true` is for one"
        )
    return found[0] if found else "default"


def chosen_by_variable() -> str | None:
    """Return the name of the variable that names a profile, None if none does."""
    return next((name for name in ("MODICUM_PROFILE", "MODAL_PROFILE") if os.environ.get(name)), None)


def profiles() -> Profiles:
    """Return all profiles of the file. Raises `InvalidError` saying what is wrong with it."""
    if _context.socket_directory is not None:
        return {}  # a container has no file of ours
    file = path()
    try:
        changed = os.stat(file).st_mtime_ns
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InvalidError(f"{file} cannot be read: {error.strerror}") from None
    if file not in _files or _files[file][0] != changed:
        _files[file] = changed, _read(file)
    return _files[file][1]


def _read(file: str) -> Profiles:
    import tomllib  # nobody has a file on Python 3.10: that runs in containers alone

    try:
        with open(file, "rb") as opened:
            found = tomllib.load(opened)
    except OSError as error:
        raise InvalidError(f"{file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidError(f"{file} is no TOML: {error}") from None
    for name, values in found.items():
        if not isinstance(values, dict):
            raise InvalidError(f"{file}: {name} stands outside of a profile; write it below a line such as [default]")
        unknown = sorted(values.keys() - KEYS.keys() - MODALS - {"active"})
        if unknown:
            raise InvalidError(
                f"{file}: the profile {name!r} has the unknown key {unknown[0]!r}; keys are {', '.join(KEYS)}"
            )
    return found


_NAMES: dict[type, str] = {str: "text", bool: "true or false"}
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def _as(kind: type, text: str, variable: str) -> Any:
    if kind is not bool:
        return text
    if text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    raise InvalidError(f"{variable}={text!r} is neither true nor false; write 1 or 0")
