"""Values that hostile code may have made: built-in types arrive, and nothing else runs, is named or is made."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from datetime import date
from typing import Any

import cloudpickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modicum.wire import plain
from modicum.wire.plain import NotPlain
from modicum.wire.values import dump_exception, dumps

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
    | st.binary().map(bytearray)
)
hashable = st.recursive(
    st.integers() | st.text() | st.binary(),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4),
    max_leaves=8,
)
values = st.recursive(
    scalars | st.sets(hashable, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(hashable, inner, max_size=5)
    ),
    max_leaves=25,
)


@settings(max_examples=60)
@given(values)
def test_values_of_built_in_types_arrive_as_they_are(value: Any) -> None:
    for data in (dumps(value), cloudpickle.dumps(value, protocol=5)):
        found = plain.loads(data)
        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize(
    "value",
    [range(3, 9, 2), slice(1, None), 1j, [complex(1, 2)] * 3, "x" * 70_000, b"y" * 70_000, bytearray(70_000), 1 << 9000,
     -(1 << 3000), list(range(1000)), dict.fromkeys(range(1000)), set(range(1000)), frozenset(range(1000)), (1,) * 300],
)  # fmt: skip
def test_large_and_seldom_ones(value: Any) -> None:
    assert plain.loads(dumps(value)) == value


def test_what_contains_itself() -> None:
    looped: list[Any] = [1]
    looped.append((looped, {"me": looped}))
    found = plain.loads(dumps(looped))
    assert found[1][0] is found is found[1][1]["me"]


class Evil:
    """Unpickling it would run a command."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


def marked(path: Any) -> Evil:
    return Evil(os.system, f"touch {path}")


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_called(tmp_path: Any, protocol: int) -> None:
    mark = tmp_path / "mark"
    for value in (marked(mark), [1, marked(mark)], {"a": marked(mark)}, Evil(eval, "1"), Evil(getattr, 1, "real")):
        with pytest.raises(NotPlain):
            plain.loads(pickle.dumps(value, protocol))
    assert not mark.exists()


@pytest.mark.parametrize(
    "value", [date(2026, 1, 1), OrderedDict(), object(), ValueError("x"), os.system, dict, Evil, len, sys, Ellipsis]
)
def test_other_types_are_not_taken(value: Any) -> None:
    with pytest.raises(NotPlain, match="in it"):
        plain.loads(cloudpickle.dumps(value))


BUILD = pickle.dumps(1j)[:-1] + b"}\x8c\x04real\x8c\x01xsb."
WRONG = {
    "nothing": b"",
    "no end": pickle.dumps([1, 2], 5)[:-1],
    "a text cut short": b"\x80\x05\x8c\xffabc.",
    "a length beyond all": b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "a memo of gigabytes": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "a memo by text": b"\x80\x02Np2147483647\n.",
    "an old global": b"cos\nsystem\n(S'true'\ntR.",
    "an instance": b"(S'true'\nios\nsystem\n.",
    "a persistent id": b"Pabc\n.",
    "an extension": b"\x82\x01.",
    "state of what was made": BUILD,
    "a buffer of elsewhere": b"\x80\x05\x97.",
    "an empty stack": b"\x80\x05.",
    "a call of a text": b"\x80\x05\x8c\x01a)R.",
    "a name of nothing": b"\x80\x05\x8c\x08builtins\x8c\x04eval\x93.",
    "a name with dots": b"\x80\x05\x8c\x08builtins\x8c\x0ccomplex.real\x93.",
    "a class that hashes": b"\x80\x05\x8c\x08builtins\x8c\x05range\x93\x8c\x01x\x85R.",
}


@pytest.mark.parametrize("name", WRONG)
def test_bytes_that_no_pickler_writes(name: str) -> None:
    with pytest.raises(NotPlain):
        plain.loads(WRONG[name])


@given(st.binary(max_size=60))
def test_any_bytes_make_a_value_or_an_error(data: bytes) -> None:
    try:
        plain.loads(data)
    except NotPlain:
        pass


def test_a_hostile_value_takes_no_memory_of_its_reader() -> None:
    code = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
from modicum.wire import plain
for data in {!r}:
    try:
        plain.loads(data)
    except plain.NotPlain:
        print("refused")
"""
    hostile = [WRONG["a memo of gigabytes"], WRONG["a memo by text"], WRONG["a length beyond all"]]
    done = subprocess.run([sys.executable, "-c", code.format(hostile)], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (["refused"] * 3, "")


def deep(levels: int, level: bytes, bottom: bytes = b")") -> bytes:
    """Return bytes of a set with one member, which has so many levels."""
    return b"\x80\x05\x8f(" + bottom + level * levels + b"\x90."


LEVELS = {"in themselves": b"\x85", "with another": b"K\x01\x86", "with two others": b"NN\x87"}


@pytest.mark.parametrize("name", LEVELS)
def test_a_tuple_too_deep_to_be_hashed_does_not_end_its_reader(name: str) -> None:
    for levels in (1001, 300_000):
        with pytest.raises(NotPlain, match="a tuple in it is more than 1000 deep"):
            plain.loads(deep(levels, LEVELS[name]))
    (found,) = plain.loads(deep(999, LEVELS[name]))
    assert isinstance(found, tuple)


def test_depth_is_followed_through_the_memo() -> None:
    step = b"".join(b"0j" + number.to_bytes(4, "little") + b"\x85\x94" for number in range(2000))
    with pytest.raises(NotPlain, match="a tuple in it is more than 1000 deep"):
        plain.loads(b"\x80\x05\x8f()\x94" + step + b"\x90.")


BUILTIN = b"\x8c\x08builtins"
SLICE = BUILTIN + b"\x8c\x05slice\x93K\x00K\x00N\x87R"
RANGE = BUILTIN + b"\x8c\x05range\x93J\xff\xff\xff\x7f\x85R"
DOUBLED = b"K\x01\x85\x94" + b"".join(b"h%c\x86\x94" % number for number in range(60))
"""A tuple of 2 to the power of 60 parts: two of the one before, and so on."""

SMALL_AND_LARGE = {
    "a range put into a list": b"\x80\x05]" + SLICE + RANGE + b"s.",
    "ranges put into a list": b"\x80\x05](" + SLICE + RANGE + b"u.",
    "a list put into itself": b"\x80\x05]\x94K\x01a" + SLICE + b"\x940" + b"h\x01h\x00s" * 40 + b".",
    "an array put into itself": b"\x80\x05C\x01a\x94" + b"(" + SLICE + b"h\x00u.",
    "a key": b"\x80\x05}" + DOUBLED + b"Ns.",
    "a key of many": b"\x80\x05}(" + DOUBLED + b"Nu.",
    "a member": b"\x80\x05\x8f(" + DOUBLED + b"\x90.",
    "a member of what is frozen": b"\x80\x05(" + DOUBLED + b"\x91.",
    "a long number in a key": b"\x80\x05\x8b\x00\x00\x01\x00" + b"\x01" * 65536 + b"\x94}(" + b"h\x00" * 5000 + b"tNs.",
    "many keys": b"\x80\x05(" + b"N" * 50_000 + b"t\x94}(" + b"h\x00N" * 5000 + b"u.",
}


@pytest.mark.parametrize("name", SMALL_AND_LARGE)
def test_a_small_value_that_would_take_all_memory_or_all_time_is_refused(name: str) -> None:
    with pytest.raises(NotPlain, match=r"filled like|too often"):
        plain.loads(SMALL_AND_LARGE[name])


def test_a_tuple_in_itself_is_taken_where_nothing_hashes_it() -> None:
    found = plain.loads(b"\x80\x05" + DOUBLED + b".")
    assert found[0] is found[1]
    shared = ("x", (1, 2)) * 20
    keys = {(shared, n): n for n in range(2000)}
    assert plain.loads(dumps(keys)) == keys


def test_many_flat_tuples_and_texts_are_not_deep() -> None:
    for value in (
        [(n, (n, "t")) for n in range(3000)],
        "tR" * 5000,
        {(n,): {(n, n)} for n in range(2000)},
        [1j, 2j] * 900,
    ):
        assert plain.loads(dumps(value)) == value
    looped: list[Any] = [(n,) for n in range(2000)]
    looped.append((looped, {(1, 2): (looped,)}))
    assert len(plain.loads(dumps(looped))) == 2001


@given(values)
@settings(max_examples=30)
def test_any_value_can_be_looked_through(value: Any) -> None:
    plain._look_through(dumps([value, value]))


def raised() -> BaseException:
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error
    except ValueError as error:
        return error


def test_exceptions_become_text() -> None:
    summary, text = plain.text_of_exception(dump_exception(raised()))
    assert summary == "ValueError: second"
    assert text.index("KeyError: 'first'") < text.index("direct cause") < text.index("ValueError: second")
    assert "in raised" in text


def test_an_exception_that_leads_to_itself() -> None:
    one, two = ValueError("one"), KeyError("two")
    one.__context__, two.__context__ = two, one
    summary, text = plain.text_of_exception(dump_exception(one))
    assert summary == "ValueError: one"
    assert text.count("During handling") == 1


def test_the_pickled_exception_in_it_is_left_alone(tmp_path: Any) -> None:
    mark = tmp_path / "mark"
    record = {"type": "E", "text": "t", "notes": [], "frames": [], "suppress": False}
    hostile = pickle.dumps([{**record, "pickled": pickle.dumps(marked(mark))}], 5)
    assert plain.text_of_exception(hostile)[0] == "E: t"
    assert not mark.exists()


LISTS = b"]\x94" + b"".join(b"0](h%ch%ce\x94" % (number, number) for number in range(60))
"""A short list that would be shown as a text without end."""


@pytest.mark.parametrize("field", ["type", "text", "notes", "frames"])
@pytest.mark.parametrize("value", [LISTS, b"](" + b"\x8c\x01x" * 2 + b"NNe"], ids=["lists", "others"])
def test_what_is_shown_of_an_exception_is_text(field: str, value: bytes) -> None:
    fields = {"type": b"\x8c\x01E", "text": b"\x8c\x01t", "notes": b"]", "frames": b"]", "suppress": b"\x89"}
    fields[field] = value
    record = b"".join(b"\x8c%c%s" % (len(name), name.encode()) + what for name, what in fields.items())
    with pytest.raises(NotPlain, match="it is no exception"):
        plain.text_of_exception(b"\x80\x05](}(" + record + b"ue.")


def test_a_traceback_that_names_the_same_text_without_end() -> None:
    line = ["x" * 10_000]
    record = {"type": "E", "text": "t", "notes": line * 2000, "frames": [], "suppress": False}
    with pytest.raises(NotPlain, match="it is no exception"):
        plain.text_of_exception(pickle.dumps([record], 5))
    record["notes"] = line * 1000
    assert plain.text_of_exception(pickle.dumps([record], 5))[0] == "E: t"


@pytest.mark.parametrize(
    "records", [None, [], {}, [1], [{}], [{"type": "E"}], [{"type": "E", "text": "t", "notes": 1, "frames": 2}], "x"]
)
def test_what_is_no_exception(records: Any) -> None:
    with pytest.raises(NotPlain, match="it is no exception"):
        plain.text_of_exception(pickle.dumps(records, 5))
