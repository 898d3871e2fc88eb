"""Values come back equal, exceptions as themselves with all that hangs on them."""

from __future__ import annotations

import linecache
import pickle
import subprocess
import sys
import threading
import traceback
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modicum.wire import values
from modicum.wire.values import Unloadable, dump_exception, dumps, load_exception, loads

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner) | st.sets(st.integers())
    ),
    max_leaves=10,
)


class Own(ValueError):
    """An exception with more than its arguments."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class Contrary(Exception):
    """Pickles, but cannot be made again."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


def caught(error: BaseException) -> BaseException:
    """Return the exception as one that has been raised."""
    try:
        raise error
    except BaseException as same:
        return same


def there_and_back(error: BaseException) -> BaseException:
    return load_exception(dump_exception(error))


@settings(max_examples=40)
@given(plain)
def test_plain_values(value: object) -> None:
    assert loads(dumps(value)) == value


def test_plain_values_never_import_cloudpickle() -> None:
    code = (
        "import sys; from modicum.wire.values import dumps, loads; "
        "value = ((1, 2.5, 'x', b'y', None, True, [1], {'a': {1, 2}}, frozenset({3}), bytearray(b'z')), {}); "
        "assert loads(dumps(value)) == value; assert 'cloudpickle' not in sys.modules; "
        "dumps(lambda: 1); assert 'cloudpickle' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_other_values_go_through_cloudpickle() -> None:
    made = loads(dumps([lambda x: x + 1]))
    assert made[0](2) == 3


def test_what_cannot_be_pickled_raises() -> None:
    with pytest.raises(TypeError, match="lock"):
        dumps(threading.Lock())


def test_exception_comes_as_itself() -> None:
    error = caught(Own("no", code=7))
    error.add_note("a note")
    got = there_and_back(error)
    assert type(got) is Own
    assert (str(got), got.code, got.__notes__) == ("no", 7, ["a note"])


def test_notes_are_not_doubled() -> None:
    error = ValueError("x")
    error.add_note("one")
    assert there_and_back(error).__notes__ == ["one"]


def raise_with_a_cause() -> None:
    try:
        try:
            _ = 1 / 0
        except ZeroDivisionError:
            _ = dict[str, int]()["middle"]
    except KeyError as cause:
        raise RuntimeError("outer") from cause


def test_causes_contexts_and_suppression() -> None:
    with pytest.raises(RuntimeError) as raised:
        raise_with_a_cause()
    got = there_and_back(raised.value)
    assert isinstance(got.__cause__, KeyError)
    assert got.__cause__ is got.__context__
    assert got.__suppress_context__
    assert isinstance(got.__cause__.__context__, ZeroDivisionError)
    assert not got.__cause__.__suppress_context__


def test_context_cycle_ends() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__context__, two.__context__ = two, one
    got = there_and_back(one)
    assert got.__context__ is not None
    assert got.__context__.__context__ is got


def test_very_long_chain_of_contexts() -> None:
    error: BaseException = ValueError("0")
    for n in range(1, 5000):
        outer = ValueError(str(n))
        outer.__context__ = error
        error = outer
    got: BaseException | None = there_and_back(error)
    length = 0
    while got is not None:
        got, length = got.__context__, length + 1
    assert length == 5000


def test_unpicklable_exception_comes_as_text() -> None:
    got = there_and_back(caught(Own(threading.Lock())))  # type: ignore[arg-type]
    assert isinstance(got, Unloadable)
    assert not got.was_pickled
    assert "Own: <unlocked" in str(got)
    assert "in caught" in got.text


def test_exception_that_cannot_be_made_again_comes_as_text() -> None:
    got = there_and_back(caught(Contrary("one", "two")))
    assert isinstance(got, Unloadable)
    assert "Contrary: one" in got.text


def test_exception_whose_class_is_unknown_here(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("only_there")
    exec("class Foreign(Exception): pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_there", module)
    data = dump_exception(caught(module.Foreign("x")))
    monkeypatch.delitem(sys.modules, "only_there")
    got = load_exception(data)
    assert isinstance(got, Unloadable)
    assert got.was_pickled
    assert str(got) == "only_there.Foreign: x"


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class OddNotes(Exception):
    __notes__ = 5  # type: ignore[assignment]


def test_exceptions_that_resist_being_looked_at() -> None:
    data = dump_exception(Mute("x"))
    assert pickle.loads(data)[0]["text"] == "<no text: its __str__ failed>"
    assert isinstance(load_exception(data), Mute)
    assert isinstance(there_and_back(OddNotes("x")), OddNotes)


def test_data_loads_without_the_user_module() -> None:
    data = dump_exception(caught(Own("x")))
    code = "import sys, pickle; print(type(pickle.loads(sys.stdin.buffer.read())).__name__)"
    done = subprocess.run([sys.executable, "-I", "-c", code], input=data, capture_output=True, check=True)
    assert done.stdout == b"list\n"


def test_traceback_shows_remote_frames_and_lines() -> None:
    got = there_and_back(caught(Own("no")))
    text = "".join(traceback.format_exception(got))
    assert "in caught" in text
    assert "raise error" in text
    assert __file__ in text


def test_lines_of_files_that_are_not_here() -> None:
    name = "/nowhere/at/all.py"
    source = "def work():\n    raise ValueError('far')\n"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    scope: dict[str, types.FunctionType] = {}
    exec(compile(source, name, "exec"), scope)
    with pytest.raises(ValueError, match="far") as caught_here:
        scope["work"]()
    data = dump_exception(caught_here.value)
    linecache.cache.pop(name)
    text = "".join(traceback.format_exception(load_exception(data)))
    assert 'File "/nowhere/at/all.py", line 2, in work' in text
    assert "raise ValueError('far')" in text
    linecache.cache.pop(name)


def test_our_own_frames_are_left_out() -> None:
    with pytest.raises(TypeError) as caught_here:
        values._traceback([("x.py", "no number", "f", "")])  # type: ignore[list-item]
    records = pickle.loads(dump_exception(caught_here.value))
    assert [frame[2] for frame in records[0]["frames"]] == ["test_our_own_frames_are_left_out"]


def test_a_cause_that_cannot_be_loaded_tells_its_own_traceback() -> None:
    error = ValueError("outer")
    error.__cause__ = Contrary("inner", "two")
    cause = load_exception(dump_exception(error)).__cause__
    assert isinstance(cause, Unloadable)
    assert "inner" in cause.text
    assert "outer" not in cause.text


def test_format_remote_reads_as_python_prints_it() -> None:
    error = caught(Own("no"))
    error.add_note("a note")
    text = values.format_remote(pickle.loads(dump_exception(error))[0])
    assert text.startswith("Traceback (most recent call last):\n  File ")
    assert text.endswith("Own: no\na note\n")
