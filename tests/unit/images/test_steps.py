"""What command a step runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from modicum.node.images.mounts import BUILD
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


APT_GET = """\
#!/bin/sh
# Trusts what it finds, as apt-get does if the size is right, and says what it downloads and what it installs.
for word; do case $word in Dir::Cache::archives=*) archives=${word#*=};; esac; done
case "$*" in
update) ;;
*--print-uris*)
    for deb in $MIRROR/*; do
        sum=$(sha256sum <$deb)
        echo "'http://m/a%253a/${deb##*/}' ${deb##*/} $(stat -c %s $deb) SHA256:${sum%% *}"
    done;;
*--download-only*)
    for deb in $MIRROR/*; do
        [ -e $archives/${deb##*/} ] || { echo "gets ${deb##*/}"; cp $deb $archives; }
    done;;
*) for deb in $archives/*.deb; do echo "installs $(cat $deb)"; done;;
esac
"""


@pytest.fixture
def apt_build(tmp_path: Path) -> Path:
    """Make what a step finds at `BUILD`: beside it two packages at a mirror, and an `apt-get`."""
    for name in ("mirror", "bin", "build/cache/apt"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "bin/apt-get").write_text(APT_GET)
    (tmp_path / "bin/apt-get").chmod(0o755)
    (tmp_path / "mirror/one_1%3a2-1_all.deb").write_text("good one")
    (tmp_path / "mirror/two_1_all.deb").write_text("good two")
    return tmp_path / "build"


def install_debian_packages(build: Path) -> list[str]:
    """Run a step, with archives of its own as each has; return what its `apt-get` said."""
    argv = [word.replace(BUILD, str(build)) for word in command({"op": "apt_install", "packages": ["p"]}, {}).argv]
    environ = {"PATH": f"{build.parent}/bin:{os.environ['PATH']}", "MIRROR": f"{build.parent}/mirror"}
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    shutil.rmtree(build / "archives", ignore_errors=True)
    return done.stdout.splitlines()


INSTALLS = ["installs good one", "installs good two"]


def test_debian_packages_are_downloaded_once(apt_build: Path) -> None:
    assert install_debian_packages(apt_build) == ["gets one_1%3a2-1_all.deb", "gets two_1_all.deb", *INSTALLS]
    assert install_debian_packages(apt_build) == INSTALLS
    kept = {path.name: path.read_text() for path in (apt_build / "cache/apt").iterdir()}
    assert kept == {"one_1%3a2-1_all.deb": "good one", "two_1_all.deb": "good two"}


def test_what_another_step_left_in_the_cache_is_not_believed(apt_build: Path) -> None:
    cache = apt_build / "cache/apt"
    (cache / "one_1%3a2-1_all.deb").write_text("evil one")
    victim = apt_build.parent / "victim"
    victim.write_text("evil two")
    (cache / "two_1_all.deb").symlink_to(victim)
    assert install_debian_packages(apt_build)[-2:] == INSTALLS
    assert victim.read_text() == "evil two"
    assert [path.read_text() for path in sorted(cache.iterdir())] == ["good one", "good two"]
    assert not (cache / "two_1_all.deb").is_symlink()
