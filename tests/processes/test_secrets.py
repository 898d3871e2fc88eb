"""Secrets, and outputs that nobody trusts, through a whole server."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import modicum
from modicum.exception import ExecutionError, InvalidError, RemoteError
from tests.processes import secretive

NOT_TAKEN = r"is not taken: there is a datetime\.date in it"


@pytest.fixture(scope="module", autouse=True)
def running(server: object) -> Iterator[None]:
    with secretive.app.run():
        yield


ALL = {"OF_APP": "app", "OF_BOTH": "function", "OF_FUNCTION": "x", "LAST": "env"}


def test_the_later_one_wins() -> None:
    assert secretive.look.remote() == ALL
    assert secretive.Looker().look.remote() == {"OF_APP": "app", "OF_BOTH": "app", "LAST": "class"}


def test_settings_replace_them_from_here_and_from_a_container() -> None:
    variant = secretive.look.with_options(secrets=[modicum.Secret.from_dict({"OF_APP": "1"})], env={"LAST": "2"})
    assert variant.remote() == {"OF_APP": "1", "LAST": "2"}
    value = secrets.token_hex()
    assert secretive.look_from_here.remote(value) == [ALL, {"LAST": value}]
    home = os.environ["MODICUM_HOME"]
    found = subprocess.run(["grep", "-rlF", value, home], capture_output=True, text=True, check=False)
    assert found.stdout == ""


def test_the_key_is_for_its_owner_alone() -> None:
    assert Path(os.environ["MODICUM_HOME"], "secrets.key").stat().st_mode & 0o777 == 0o600


def test_values_of_built_in_types_arrive_in_every_way_of_calling() -> None:
    value = {"a": [1, (2.5, None)], b"b": {1, 2}}
    large = "x" * (3 << 20)  # a blob
    assert secretive.untrusted.remote(value) == value
    assert secretive.untrusted.remote(large) == large
    assert list(secretive.untrusted.map([1, large, 3])) == [1, large, 3]
    call = secretive.untrusted.spawn(value)
    assert (call.get(), modicum.FunctionCall.gather(call)) == (value, [value])


def test_others_do_not() -> None:
    with pytest.raises(ExecutionError, match=NOT_TAKEN):
        secretive.untrusted.remote("date")
    one, other = secretive.untrusted.map(["date", 2], return_exceptions=True)
    assert (type(one), other) == (ExecutionError, 2)
    call = secretive.untrusted.spawn("date")
    for get in (call.get, modicum.FunctionCall.from_id(call.object_id).get):
        with pytest.raises(ExecutionError, match=NOT_TAKEN):
            get()
    items = secretive.untrusted_items.remote_gen(2)
    assert [next(iter(items)), next(items)] == [0, 1]
    with pytest.raises(ExecutionError, match=NOT_TAKEN):
        next(items)


def test_exceptions_are_text() -> None:
    with pytest.raises(RemoteError, match=r"(?s)^ValueError: it fails\n\nTraceback .*secretive\.py"):
        secretive.untrusted.remote("fail")


def test_what_plain_processes_cannot_keep() -> None:
    with (
        pytest.raises(
            InvalidError, match="'blocked' has block_network=True, which MODICUM_RUNTIME=process cannot keep"
        ),
        secretive.careful.run(),
    ):
        pass
