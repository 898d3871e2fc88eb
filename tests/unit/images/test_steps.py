"""What command a step runs."""

from __future__ import annotations

import pytest

from modicum.node.images.steps import UnknownStep, command, words


def test_pip_gets_packages_then_options() -> None:
    step = {
        "op": "pip_install",
        "packages": ["a b", "c[d]>=1"],
        "index_url": "https://i",
        "pre": True,
        "extra_options": "--no-deps --config 'x y'",
        "env": {"A": "1"},
    }
    made = command(step, {})
    arguments = ("a b", "c[d]>=1", "--index-url", "https://i", "--pre", "--no-deps", "--config", "x y")
    assert made.argv[3:] == ("pip", *arguments)
    assert made.environ == {"A": "1"}
    assert made.words == "pip install 'a b' 'c[d]>=1' --index-url https://i --pre --no-deps --config 'x y'"


def test_uv_reads_the_requirements_that_came_with_the_step() -> None:
    made = command({"op": "uv_pip_install", "packages": ["a"], "requirements": ["x\n", "y\n"], "pre": True}, {})
    assert made.files == {"requirements-0.txt": "x\n", "requirements-1.txt": "y\n"}
    assert made.argv[3:] == (
        "uv", "a", "-r", "/run/modicum-build/files/requirements-0.txt",
        "-r", "/run/modicum-build/files/requirements-1.txt", "--prerelease", "allow",
    )  # fmt: skip


def test_a_wanted_uv_is_installed_first() -> None:
    made = command({"op": "uv_pip_install", "packages": ["a"], "uv_version": "0.9.0"}, {})
    assert "pinned" in made.argv[2]
    assert made.argv[3:] == ("uv", "0.9.0", "a")


def test_steps_are_named() -> None:
    assert words({"op": "debian_slim", "python": "3.12"}) == "debian_slim 3.12"
    assert words({"op": "uv_pip_install", "packages": ["a"]}) == "uv pip install a"


def test_an_unknown_step_is_refused() -> None:
    with pytest.raises(UnknownStep, match="new_thing"):
        command({"op": "new_thing"}, {})
