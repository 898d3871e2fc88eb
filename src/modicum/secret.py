"""What a Secret is: environment variables whose values only the containers that name it get to see."""

from __future__ import annotations

import os

from modicum import _context, _remarks
from modicum._both import both
from modicum._exchange import ask_all
from modicum._missing import Explained
from modicum.exception import ExecutionError, InvalidError
from modicum.wire.messages import SECRET_BYTES_MAX, VARIABLE_BYTES_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from modicum._exchange import Operation

NAME_CHARS_MAX = 16_384
VALUE_CHARS_MAX = 32_768
"""Modal's limits."""

_WRONG_TYPE = "the env_dict argument to Secret has to be a dict[str, Union[str, None]]"


class Secret(Explained):
    """Environment variables for the containers of the functions that name it: `@app.function(secrets=[secret])`.

    The server keeps it encrypted. A secret that is sent along with code or arguments leaves its values behind.
    """

    __slots__ = ("_load", "_object_id", "_words")

    _load: Callable[[], dict[str, str]] | None  # None where its values are not
    _object_id: str | None
    _words: str

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise InvalidError("a Secret is made by a class method, such as `Secret.from_dict({…})`")

    @classmethod
    def from_dict(cls, env_dict: Mapping[str, str | None] = {}) -> Secret:
        """Make a secret of names and values; one whose value is None is left out. Raises `InvalidError`."""
        kept = checked(env_dict)
        return _make(f"Secret.from_dict([{', '.join(env_dict)}])", lambda: kept)

    @classmethod
    def from_local_environ(cls, env_keys: Sequence[str]) -> Secret:
        """Make a secret of variables of this process' environment; in a container, an empty one.

        Raises `InvalidError` if one of them is not set.
        """
        if isinstance(env_keys, str) or not all(isinstance(name, str) for name in env_keys):
            raise InvalidError(f"env_keys must be a list of names of environment variables, not {env_keys!r}")
        if not _context.is_local():
            return cls.from_dict({})
        missing = next((name for name in env_keys if name not in os.environ), None)
        if missing is not None:
            raise InvalidError(f"Could not find local environment variable '{missing}' for Secret.from_local_environ")
        return cls.from_dict({name: os.environ[name] for name in env_keys})

    @classmethod
    def from_dotenv(cls, path: str | Path | None = None, *, filename: str = ".env", client: None = None) -> Secret:
        """Make a secret of a `.env` file: the first one in the working directory and those above it.

        With `path`, which may be a file such as `__file__`, it is looked for from there upwards. It is read when the
        app begins to run. Without such a file the secret is empty, with a warning. Needs the package python-dotenv.
        """
        from modicum import _lookup

        _lookup.refuse_client("Secret.from_dotenv", client)
        return _make("Secret.from_dotenv()", lambda: _read_dotenv(path, filename))

    @property
    def name(self) -> str | None:
        """Its name, under which others find it: None, it has none."""
        return None

    @property
    def object_id(self) -> str:
        """The id, `st-…`. Raises `ExecutionError` before the server has the secret."""
        if self._object_id is None:
            raise ExecutionError(
                f"{self!r} has no id yet; it gets one when an app runs that names it, or by .hydrate()"
            )
        return self._object_id

    @both
    def hydrate(self, client: None = None) -> Operation[Secret]:
        """Have the server keep the secret now."""
        yield from create([self])
        return self

    def text(self) -> str:
        """Return names and values as they are sent. Raises `ExecutionError` if they are elsewhere."""
        if self._load is None:
            raise ExecutionError(
                f"the values of {self!r} are not here: they stay where it was made. Name it there, in `secrets=` of "
                "the function"
            )
        import json

        text = json.dumps(self._load(), sort_keys=True)
        if len(text) > SECRET_BYTES_MAX:
            raise InvalidError(
                f"{self!r} has {len(text):,} bytes, more than the {SECRET_BYTES_MAX:,} of a secret: large data belongs "
                "in a file"
            )
        return text

    def identity(self) -> str:
        """Return what tells it from others, in place of its values."""
        from hashlib import sha256

        return self._object_id or "" if self._load is None else sha256(self.text().encode()).hexdigest()

    def set_created(self, object_id: str) -> None:
        """Note under which id the server has it."""
        self._object_id = object_id

    @property
    def is_elsewhere(self) -> bool:
        """Whether only its id is here."""
        return self._load is None and self._object_id is not None

    def __reduce__(self) -> tuple[Any, ...]:
        """One that travels leaves its values behind: what it travels in is stored, and is no place for them."""
        return _arrive, (self._words, self._object_id)

    def __repr__(self) -> str:
        return f"modicum.{self._words}"


def _make(words: str, load: Callable[[], dict[str, str]] | None, object_id: str | None = None) -> Secret:
    made: Secret = object.__new__(Secret)
    made._words, made._load, made._object_id = words, load, object_id
    return made


def _arrive(words: str, object_id: str | None) -> Secret:
    return _make(words, None, object_id)


def create(secrets: Sequence[Secret]) -> Operation[list[str]]:
    """Have the server keep secrets; return their ids, in order. What is kept already is kept once."""
    ours = [each for each in dict.fromkeys(secrets) if not each.is_elsewhere]
    messages = [({"t": "secret.create"}, each.text().encode()) for each in ours]
    if messages:
        for each, (header, _) in zip(ours, (yield from ask_all(*messages))):
            each.set_created(header["secret"])
    return [each.object_id for each in secrets]


def read(name: str, value: Any) -> list[Secret]:
    """Return what the parameter `secrets` is given. Raises `InvalidError` for what are no secrets."""
    given = [] if value is None else value
    if isinstance(given, (str, Secret)) or not hasattr(given, "__iter__"):
        raise InvalidError(f"{name} must be a list of modicum.Secret, not of type {_kind(given)}")
    found = list(given)
    for each in found:
        if not isinstance(each, Secret):
            raise InvalidError(f"{name} must be a list of modicum.Secret; one of them is of type {_kind(each)}")
    return found


def read_env(name: str, value: Any) -> Secret | None:
    """Return what the parameter `env` is given, as a secret. Raises `InvalidError` for what are no variables."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InvalidError(f"{name} must be a dict of names to values, not of type {_kind(value)}")
    return Secret.from_dict(value) if value else None


def checked(env_dict: Any) -> dict[str, str]:
    """Return variables without those that are None. Raises `InvalidError`, which never tells a value."""
    if not isinstance(env_dict, dict):
        raise InvalidError(f"{_WRONG_TYPE}, got {type(env_dict).__name__}")
    kept = {name: value for name, value in env_dict.items() if value is not None}
    for name, value in kept.items():
        if not isinstance(name, str):
            raise InvalidError(f"{_WRONG_TYPE}, key has type {type(name).__name__}")
        if not isinstance(value, str):
            raise InvalidError(f"{_WRONG_TYPE}, value for key {name!r} has type {type(value).__name__}")
        _check_variable(name, value)
    return kept


def _check_variable(name: str, value: str) -> None:
    """Raise `InvalidError` for a variable that no process can be given."""
    shown = name if len(name) <= 64 else f"{name[:64]}…"
    if not (name.isascii() and name.isidentifier()):
        raise InvalidError(f"{shown!r} is no name of a variable: letters, digits and '_', no digit first")
    if len(name) > NAME_CHARS_MAX:
        raise InvalidError(f"the name {shown!r} has {len(name):,} characters, more than {NAME_CHARS_MAX:,}")
    if len(value) > VALUE_CHARS_MAX:
        raise InvalidError(
            f"the value of {shown!r} has {len(value):,} characters, more than {VALUE_CHARS_MAX:,}; large data belongs "
            "in a file"
        )
    try:
        size = len(name) + len(value.encode()) + 1
    except UnicodeEncodeError:
        raise InvalidError(f"the value of {shown!r} is no text in UTF-8") from None
    if "\0" in value:
        raise InvalidError(f"the value of {shown!r} holds a null byte, which no environment variable can")
    if size > VARIABLE_BYTES_MAX:
        raise InvalidError(f"{shown!r} and its value have {size:,} bytes; the kernel takes {VARIABLE_BYTES_MAX:,}")


def _read_dotenv(path: Any, filename: str) -> dict[str, str]:
    try:
        from dotenv import dotenv_values  # few programs have such a file
    except ImportError:
        raise ImportError(
            "Need the `dotenv` package installed. You can install it by running `pip install python-dotenv`."
        ) from None
    start = os.path.abspath(os.getcwd() if path is None else os.fspath(path))
    if not os.path.exists(start):
        raise InvalidError(f"Secret.from_dotenv: there is no {start}")
    found = _find_above(start, filename)
    if found is None:
        _remarks.say(f"Secret.from_dotenv: there is no file {filename!r} in {start} or above it; the secret is empty")
        return {}
    return checked({name: value or "" for name, value in dotenv_values(found).items()})


def _find_above(start: str, filename: str) -> str | None:
    folder = start if os.path.isdir(start) else os.path.dirname(start)
    while True:
        candidate = os.path.join(folder, filename)
        if os.path.isfile(candidate):
            return candidate
        if folder == (folder := os.path.dirname(folder)):
            return None


def _kind(value: object) -> str:
    """Name what was given by its type: it may hold what nobody is to see."""
    return repr(type(value).__name__)


__all__ = ["Secret"]
