"""When a function of the program has to run again as a build step, and what is refused."""

from __future__ import annotations

import base64
import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modicum.exception import InvalidError
from modicum.image import Image
from modicum.wire.values import loads

PROGRAM = """
import os
import modicum
NAMES = {names!r}
def helper():
    return {helper!r}
def unused():
    return {unused!r}
class Thing:
    pass
thing = Thing()
def fetch(x, y=0):
    return os.getcwd(), NAMES, helper(), Thing, [thing for _ in ()]
image = modicum.Image.debian_slim("3.12").run_function(fetch, args=[{arg!r}], kwargs={{"y": {{1: 2}}}})
step = image.steps[1]
if __name__ == "__main__":
    print(step["key"], step["function"], step["shipped"]["module"])
"""


def key(tmp_path: Path, *, names: object = ("a",), helper: object = 1, unused: object = 1, arg: object = 1) -> str:
    """Run the program as its user does; return the key of its step."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.format(names=names, helper=helper, unused=unused, arg=arg))
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True)
    found, *named = done.stdout.split()
    assert named == ["fetch", "program"]
    return found


def test_it_runs_again_when_what_it_is_made_of_changes(tmp_path: Path) -> None:
    first = key(tmp_path)
    assert key(tmp_path) == first
    assert key(tmp_path, unused=2) == first
    changed = [key(tmp_path, names=("b",)), key(tmp_path, helper=2), key(tmp_path, arg=2)]
    assert len({first, *changed}) == 4


def module_level(x: int = 0) -> int:
    return x


def slim() -> Image:
    return Image.debian_slim("3.12")


def test_the_step_carries_its_arguments_and_its_programs_files() -> None:
    resolution = slim().run_function(module_level, args=(7,), timeout=5, env={"A": "1"}).resolve()
    step = resolution.steps[1]
    assert loads(base64.b64decode(step["shipped"]["arguments"])) == ((7,), {})
    assert list(resolution.uploads) == [step["shipped"]["files"]]
    assert (step["timeout"], step["env"]) == (5, {"A": "1"})
    bare = slim().run_function(module_level, include_source=False).resolve()
    assert (bare.uploads, "files" in bare.steps[1]["shipped"]) == ({}, False)


def nested() -> Callable[[], None]:
    def inner() -> None: ...

    return inner


@pytest.mark.parametrize(
    ("function", "options", "says"),
    [
        (lambda: None, {}, "a lambda cannot be a build step"),
        (functools.partial(module_level), {}, "must be a function, not partial"),
        (3, {}, "must be a function, not int"),
        (nested(), {}, "define it with `def` at the top level"),
        (module_level, {"timeout": 0}, "`timeout` must be a number of seconds above 0"),
        (module_level, {"gpu": "T4"}, "`gpu` is not in Modicum yet"),
        (module_level, {"volumes": {"/v": 1}}, "`volumes` is not in Modicum yet"),
        (module_level, {"network_file_systems": {"/v": 1}}, "`network_file_systems` is not in Modicum yet"),
    ],
)
def test_what_cannot_be_a_step_is_refused_at_once(function: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        slim().run_function(function, **options)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "says"), [(sys._getframe(), "cannot be pickled"), (b"x" * 600_000, "put large ones into a file")]
)
def test_arguments_must_be_sent(argument: object, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        _ = slim().run_function(module_level, args=(argument,)).steps
    assert says in str(caught.value)
