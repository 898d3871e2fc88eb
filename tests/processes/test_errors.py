"""What a caller is told when something of his program cannot be found, sent or loaded."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from modicum.exception import ExecutionError, RemoteError, SerializationError
from tests.processes import astray, broken


@pytest.fixture(scope="module")
def running(server: object) -> Iterator[None]:
    run = astray.app.run()
    with pytest.warns(UserWarning, match="the function 'large' has 3 MiB when it is serialized"):
        run.__enter__()
    yield
    run.__exit__(None, None, None)


def test_a_module_that_does_not_import_says_for_which_function(server: object) -> None:
    with broken.app.run(), pytest.raises(ModuleNotFoundError) as caught:
        broken.never.remote(1)
    (note,) = [note for note in caught.value.__notes__ if "cannot be imported" in note]
    assert note.startswith(
        "The module 'tests.processes.broken' cannot be imported in a container, as its function 'never'"
    )
    assert "if modal.is_local():" in note


def test_a_function_that_the_container_does_not_define(running: None) -> None:
    with pytest.raises(ExecutionError, match=r"'tests.processes.astray' has no 'only_here' when a container imports"):
        astray.only_here.remote()


def test_source_that_was_not_to_be_sent(running: None) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'tests"):
        astray.without_source.remote()


def test_results_that_cannot_be_sent(running: None) -> None:
    with pytest.raises(SerializationError, match="what 'returns_lock' returned, a lock, cannot be sent to its caller"):
        astray.returns_lock.remote()
    with pytest.raises(SerializationError, match="what 'returns_lock_later' returned, a lock, cannot be sent"):
        astray.returns_lock_later.remote()
    with pytest.raises(SerializationError, match="what 'yields_lock' yielded, a lock, cannot be sent"):
        list(astray.yields_lock.remote_gen())


def test_results_and_exceptions_of_classes_that_are_unknown_here(running: None) -> None:
    with pytest.raises(
        ExecutionError, match=r"returned a value that cannot be loaded here: AttributeError: .*Stranger"
    ):
        astray.returns_stranger.remote()
    with pytest.raises(
        ExecutionError, match=r"(?s)raised an exception that cannot be loaded here:\nTraceback .*\.StrangeError"
    ):
        astray.raises.remote("strange")


def test_exceptions_that_cannot_be_pickled(running: None) -> None:
    with pytest.raises(
        RemoteError, match=r"raised an exception that cannot be pickled:\nTraceback(?s:.*)Keeper: keeps a lock"
    ):
        astray.raises.remote("keeper")


def test_arguments_that_cannot_be_sent(running: None) -> None:
    expected = "the argument 'again', a lock, of 'echo' cannot be sent to a container: TypeError: cannot pickle"
    with pytest.raises(SerializationError, match=expected):
        astray.echo.remote(1, threading.Lock())
    with pytest.raises(SerializationError, match=expected):
        astray.echo.remote(1, again=threading.Lock())
    with pytest.raises(SerializationError, match="the argument 'value', a lock, of 'echo'"):
        list(astray.echo.map([1, threading.Lock()]))


def test_a_serialized_function_of_several_megabytes(running: None) -> None:
    assert astray.large.remote(1) == 1 + (3 << 20)
