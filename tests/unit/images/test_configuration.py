"""What configuring steps make of an image's configuration."""

from __future__ import annotations

from typing import Any

import pytest

from modicum.wire.configuration import configure, expand

BASE: dict[str, Any] = {"env": {"PATH": "/bin"}, "workdir": "/root", "python": "/bin/python"}


def test_steps_apply_in_order_and_the_rest_stays() -> None:
    steps: list[dict[str, Any]] = [
        {"op": "configure", "env": {"A": "1"}},
        {"op": "configure", "env": {"A": "2", "B": "$A"}, "workdir": "/srv"},
        {"op": "configure", "workdir": "app/../web", "entrypoint": ["e"], "cmd": ["c"], "shell": ["/bin/bash", "-c"]},
        {"op": "configure", "entrypoint": []},
    ]
    assert configure(BASE, steps) == {
        "env": {"PATH": "/bin", "A": "2", "B": "$A"},
        "workdir": "/srv/web",
        "python": "/bin/python",
        "entrypoint": [],
        "cmd": ["c"],
        "shell": ["/bin/bash", "-c"],
    }
    assert configure(BASE, []) == BASE


def test_variables_expand_as_they_were_before_the_step() -> None:
    step = {"op": "configure", "env": {"PATH": "/opt:$PATH", "P": "$PATH$V"}, "workdir": "/$V", "expand": {"V": "7"}}
    made = configure(BASE, [step])
    assert made["env"] == {"PATH": "/opt:/bin", "P": "/bin7"}
    assert made["workdir"] == "/7"


def test_a_variable_of_the_image_hides_a_build_argument() -> None:
    assert configure(BASE, [{"op": "configure", "env": {"X": "$PATH"}, "expand": {"PATH": "no"}}])["env"]["X"] == "/bin"


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$A-${A}b", "1-1b"),
        ("$NONE.", "."),
        (r"\$A \\", r"$A " + "\\"),
        ("${EMPTY:-x} ${EMPTY-x} ${NONE-$A} ${NONE:-}", "x  1 "),
        ("${A:+y} ${EMPTY:+y} ${EMPTY+y}", "y  y"),
        ("a$", "a$"),
    ],
)
def test_what_a_dockerfile_expands(text: str, result: str) -> None:
    assert expand(text, {"A": "1", "EMPTY": ""}) == result
