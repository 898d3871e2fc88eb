"""What command a step runs."""

from __future__ import annotations

import subprocess

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
    assert made.words == "uv pip install a -r requirements-0.txt -r requirements-1.txt --prerelease allow"
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


def test_commands_run_by_the_images_shell_until_one_fails() -> None:
    step = {"op": "run_commands", "commands": ["exit 3"], "env": {"A": "1"}}
    assert command(step, {}).argv == ("/bin/sh", "-c", "/bin/sh -c 'exit 3' || exit\n")
    assert command(step, {"shell": ["/bin/bash", "-lc"]}).argv[2] == "/bin/bash -lc 'exit 3' || exit\n"
    assert (command(step, {}).words, command(step, {}).environ) == ("exit 3", {"A": "1"})


def test_of_several_commands_each_is_announced() -> None:
    script = command({"op": "run_commands", "commands": ["echo 'one'", "echo two; exit 4", "echo three"]}, {}).argv
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "$ echo 'one'\none\n$ echo two; exit 4\ntwo\n")


def test_uv_sync_gets_what_is_wanted_of_the_project() -> None:
    step = {"op": "uv_sync", "frozen": True, "groups": ["g"], "extras": ["e"]}
    made = command({**step, "extra_options": "--no-dev"}, {})
    assert made.argv[3:] == ("uv", "", "--group=g", "--extra=e", "--frozen", "--no-dev")
    assert command({**step, "uv_version": "0.9.0"}, {}).argv[4] == "0.9.0"


def test_poetry_is_installed_if_a_version_is_wanted() -> None:
    step = {"op": "poetry_install", "with_": ["a", "b"], "only": ["c"]}
    assert command(step, {}).argv[3:] == ("poetry", "", "", "--with", "a,b", "--only", "c")
    assert command({**step, "poetry_version": "latest", "old_installer": True}, {}).argv[4:6] == ("poetry", "old")
    assert command({**step, "poetry_version": "2.0.0"}, {}).argv[4] == "poetry==2.0.0"


def test_a_function_runs_by_our_code() -> None:
    shipped = {"arguments": "AAE=", "module": "pkg.mod", "files": "la-1"}
    made = command({"op": "run_function", "function": "f", "timeout": 7, "shipped": shipped, "env": {"A": "1"}}, {})
    assert made.argv[3:] == ("/root", "pkg.mod", "f", "/run/modicum-build/files/arguments")
    assert made.files == {"arguments": b"\0\1"}
    assert (made.needs_agent, made.timeout_s, made.environ["A"]) == (True, 7, "1")


def test_debian_packages_are_named() -> None:
    made = command({"op": "apt_install", "packages": ["git", "libpq-dev"]}, {})
    assert (made.words, made.argv[3:]) == ("apt-get install git libpq-dev", ("apt", "git", "libpq-dev"))
