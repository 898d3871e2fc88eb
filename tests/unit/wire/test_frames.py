"""Frames survive any slicing, and what is no frame is refused."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modicum.wire.frames import HEADER_BYTES_MAX, PAYLOAD_BYTES_MAX, Decoder, ProtocolError, encode

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
frames = st.tuples(
    st.dictionaries(st.text(max_size=8), json_values, max_size=4), st.text(max_size=10), st.binary(max_size=300)
).map(lambda parts: ({**parts[0], "t": parts[1]}, parts[2]))


def raw(header: bytes, payload: bytes = b"") -> bytes:
    return struct.pack(">II", len(header), len(payload)) + header + payload


@settings(max_examples=40)
@given(st.lists(frames, max_size=6), st.lists(st.integers(0, 2000), max_size=12))
def test_any_slicing_gives_the_same_frames(sent: list[tuple[dict[str, Any], bytes]], cuts: list[int]) -> None:
    stream = b"".join(encode(header, payload) for header, payload in sent)
    decoder = Decoder()
    got = []
    start = 0
    for stop in [*sorted(min(cut, len(stream)) for cut in cuts), len(stream)]:
        got += decoder.feed(stream[start:stop])
        start = stop
    assert got == sent


def test_byte_by_byte() -> None:
    decoder = Decoder()
    got = [frame for byte in encode({"t": "a", "x": 1}, b"payload") for frame in decoder.feed(bytes([byte]))]
    assert got == [({"t": "a", "x": 1}, b"payload")]


@settings(max_examples=40)
@given(st.binary(max_size=200))
def test_random_bytes_are_waited_for_or_refused(data: bytes) -> None:
    try:
        frames = Decoder().feed(data)
    except ProtocolError:
        return
    assert all(isinstance(header["t"], str) for header, _ in frames)


def test_payload_limit_is_exact() -> None:
    ((header, payload),) = Decoder().feed(encode({"t": "a"}, bytes(PAYLOAD_BYTES_MAX)))
    assert header == {"t": "a"} and len(payload) == PAYLOAD_BYTES_MAX
    with pytest.raises(ProtocolError, match="too large"):
        encode({"t": "a"}, bytes(PAYLOAD_BYTES_MAX + 1))
    with pytest.raises(ProtocolError, match="too large"):
        encode({"t": "a" * HEADER_BYTES_MAX})


def test_announced_lengths_are_believed_before_the_bytes_come() -> None:
    with pytest.raises(ProtocolError, match="announced"):
        Decoder().feed(struct.pack(">II", 2, PAYLOAD_BYTES_MAX + 1))
    with pytest.raises(ProtocolError, match="announced"):
        Decoder().feed(struct.pack(">II", HEADER_BYTES_MAX + 1, 0))


@pytest.mark.parametrize(
    "header",
    [b"", b"{", b"[]", b"null", b"{}", b'{"t": 1}', b'{"t": null}', b'"t"', b"\xff\xfe", b"[" * 100_000, b"1" * 5000],
    ids=lambda header: repr(header[:8]),
)
def test_malformed_headers_are_refused(header: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder().feed(raw(header))


def test_frames_before_a_malformed_one_do_not_hide_it() -> None:
    with pytest.raises(ProtocolError):
        Decoder().feed(encode({"t": "fine"}) + raw(b"no"))


def test_a_lone_surrogate_travels() -> None:
    header = json.loads('{"t": "a", "name": "\\ud800"}')
    assert Decoder().feed(encode(header)) == [(header, b"")]
    assert Decoder().feed(raw(b'{"t": "a", "name": "\\ud800"}')) == [(header, b"")]


def test_payload_may_be_any_buffer() -> None:
    for payload in (b"xyz", bytearray(b"xyz"), memoryview(b"xyz")):
        assert Decoder().feed(encode({"t": "a"}, payload)) == [({"t": "a"}, b"xyz")]
