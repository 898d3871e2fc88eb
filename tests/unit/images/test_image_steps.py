"""What each method of an image sends, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from modicum import App, _building
from modicum.exception import ExecutionError, InvalidError, NotFoundError
from modicum.image import Image

Make = Callable[[Image], Image]
Steps = list[dict[str, Any]]

SLIM = Image.debian_slim("3.12")

SENT: list[tuple[Make, Steps]] = [
    (lambda i: i.apt_install("git", ["curl"]), [{"op": "apt_install", "packages": ["curl", "git"]}]),
    (lambda i: i.run_commands("a", ["b", "c"]), [{"op": "run_commands", "commands": ["a", "b", "c"]}]),
    (
        lambda i: i.run_commands("a", env={"X": "1", "Y": None}, force_build=True),
        [{"op": "run_commands", "commands": ["a"], "env": {"X": "1"}, "force_build": True}],
    ),
    (lambda i: i.env({"A": "1"}), [{"op": "configure", "env": {"A": "1"}}]),
    (lambda i: i.workdir("/srv"), [{"op": "configure", "workdir": "/srv"}]),
    (lambda i: i.workdir(PurePosixPath("/srv")), [{"op": "configure", "workdir": "/srv"}]),
    (lambda i: i.entrypoint(["a", "b"]), [{"op": "configure", "entrypoint": ["a", "b"]}]),
    (lambda i: i.entrypoint([]), [{"op": "configure", "entrypoint": []}]),
    (lambda i: i.cmd(["a"]), [{"op": "configure", "cmd": ["a"]}]),
    (lambda i: i.shell(["/bin/bash", "-c"]), [{"op": "configure", "shell": ["/bin/bash", "-c"]}]),
    (lambda i: i.pipe(lambda image, x: image.env({"A": x}), "2"), [{"op": "configure", "env": {"A": "2"}}]),
    (lambda i: i.run_commands().apt_install([]).dockerfile_commands(), []),
    (lambda i: i.run_commands("a", secrets=[], volumes={}, gpu=None), [{"op": "run_commands", "commands": ["a"]}]),
]


@pytest.mark.parametrize(("make", "steps"), SENT)
def test_what_is_sent(make: Make, steps: Steps) -> None:
    assert make(SLIM).steps == [*SLIM.steps, *steps]


REFUSED: list[tuple[Make, str]] = [
    (lambda i: i.apt_install("--yes"), "apt_install: '--yes' is an option, not a package."),
    (lambda i: i.apt_install(1), "apt_install: packages must be strings"),  # type: ignore[arg-type]
    (lambda i: i.run_commands(["a", 1]), "run_commands: commands must be strings"),  # type: ignore[list-item]
    (lambda i: i.run_commands("a", volumes={"/v": 1}), "run_commands: `volumes` is not in Modicum yet; leave it out."),
    (lambda i: i.env({"A": 1}), "env: `vars` must map strings to strings"),  # type: ignore[dict-item]
    (lambda i: i.env("A"), "env: `vars` must map strings to strings"),  # type: ignore[arg-type]
    (lambda i: i.env({"A=B": "1"}), "'A=B' cannot be an environment variable's name"),
    (lambda i: i.run_commands("a", env=["A"]), "`env` must map strings"),  # type: ignore[arg-type]
    (lambda i: i.workdir(""), "workdir: `path` must be the path of a directory"),
    (lambda i: i.workdir(3), "workdir: `path` must be the path of a directory"),  # type: ignore[arg-type]
    (lambda i: i.entrypoint("a"), "`entrypoint_commands` must be a list of strings"),  # type: ignore[arg-type]
    (lambda i: i.cmd(["a", 1]), "`cmd` must be a list of strings"),  # type: ignore[list-item]
    (lambda i: i.shell([]), "shell: `shell_commands` must name a program"),
    (lambda i: i.uv_sync(groups="a"), "uv_sync: `groups` must be a list of strings"),  # type: ignore[arg-type]
    (lambda i: i.uv_sync(extra_options="'"), '`extra_options` "\'" cannot be split into words'),
    (lambda i: i.dockerfile_commands("RUN a", build_args={"A": 1}), "`build_args` must"),  # type: ignore[dict-item]
    (lambda i: i.dockerfile_commands(3), "dockerfile_commands must be strings"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "says"), REFUSED)
def test_what_is_refused(make: Make, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        make(SLIM)
    assert says in str(caught.value)


@pytest.fixture
def project(tmp_path: Path) -> str:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["b", "a"]\n[project.optional-dependencies]\nmore = ["c"]\n'
    )
    return str(tmp_path / "pyproject.toml")


def test_a_pyprojects_dependencies_are_packages(project: str) -> None:
    made = SLIM.pip_install_from_pyproject(project, ["more"], pre=True).steps[1:]
    assert made == [{"op": "pip_install", "packages": ["a", "b", "c"], "pre": True}]
    with pytest.raises(InvalidError, match="no optional dependencies 'less'; it has more"):
        _ = SLIM.pip_install_from_pyproject(project, ["less"]).steps


def test_requirements_go_along(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("six\n")
    made = SLIM.pip_install_from_requirements(str(tmp_path / "r.txt"), "/wheels").steps[1:]
    assert made == [{"op": "pip_install", "packages": [], "requirements": ["six\n"], "find_links": "/wheels"}]


def test_a_uv_project_is_its_files_a_step_and_a_place_on_the_path(project: str) -> None:
    folder = Path(project).parent
    resolution = SLIM.uv_sync(str(folder), groups=["g"], force_build=True).resolve()
    (files,) = resolution.uploads.values()
    assert [entry[0] for entry in files.entries] == [".uv/pyproject.toml"]
    assert resolution.steps[1:] == [
        {"op": "add_files", "files": files.id, "words": "uv_sync: pyproject.toml", "force_build": True},
        {"op": "uv_sync", "groups": ["g"], "force_build": True},
        {"op": "configure", "env": {"PATH": "/.uv/.venv/bin:$PATH"}, "expand": {}},
    ]
    (folder / "uv.lock").write_text("locked")
    added, synced, _ = SLIM.uv_sync(str(folder)).steps[1:]
    assert (added["words"], synced) == ("uv_sync: pyproject.toml, uv.lock", {"op": "uv_sync", "frozen": True})
    assert SLIM.uv_sync(str(folder), frozen=False).steps[2] == {"op": "uv_sync"}
    Path(project).write_text("[tool.uv.workspace]\n")
    with pytest.raises(InvalidError, match="uv workspace, which is not supported"):
        _ = SLIM.uv_sync(str(folder)).steps


def test_a_poetry_project_needs_its_lock_unless_it_is_ignored(project: str) -> None:
    made = SLIM.poetry_install_from_file(project, ignore_lockfile=True, with_=["dev"]).steps[1:]
    assert made[0]["words"] == "poetry_install_from_file: pyproject.toml"
    assert made[1] == {"op": "poetry_install", "with_": ["dev"], "poetry_version": "latest"}
    with pytest.raises(NotFoundError, match=r"There is no .*/poetry\.lock; without a lock file, pass"):
        _ = SLIM.poetry_install_from_file(project).steps
    Path(project).with_name("poetry.lock").write_text("locked")
    made = SLIM.poetry_install_from_file(project, poetry_version=None).steps[1:]
    assert (made[0]["words"].endswith("toml, poetry.lock"), made[1]) == (True, {"op": "poetry_install"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[project]\n", r"has no `dependencies` in \[project\]\. If it has \[tool\.poetry\.dependencies\]"),
        ("[project\n", "is no valid TOML"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_bad_pyproject_is_named(tmp_path: Path, text: str | None, says: str) -> None:
    path = tmp_path / "pyproject.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidError, match=says):
        _ = SLIM.pip_install_from_pyproject(str(path)).steps


@pytest.mark.parametrize(("variable", "value"), [("MODAL_FORCE_BUILD", "1"), ("MODICUM_FORCE_BUILD", "true")])
def test_all_layers_can_be_forced(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    image = SLIM.env({"A": "1"}).run_commands("a")
    assert not any("force_build" in step for step in image.steps)
    monkeypatch.setenv(variable, value)
    assert [step.get("force_build") for step in image.steps] == [True, None, True]
    monkeypatch.setenv("MODICUM_FORCE_BUILD", "0")
    assert not any("force_build" in step for step in image.steps)


def test_an_image_has_its_id_once_it_is_built() -> None:
    image = SLIM.env({"A": "1"})
    with pytest.raises(ExecutionError, match="has not been built"):
        _ = image.object_id
    image.set_built("im-1")
    assert image.object_id == "im-1"
    with pytest.raises(ExecutionError):
        _ = image.env({}).object_id


def test_an_image_is_built_in_an_app_that_runs() -> None:
    with pytest.raises(InvalidError, match="the app does not run, so no image can be built in it"):
        SLIM.build(App("a"))


def test_what_does_not_fit_a_frame_is_refused() -> None:
    _building._check_size([SLIM.run_commands("x" * 1_000_000).steps])
    with pytest.raises(InvalidError, match=r"steps of an image are 1,100,... bytes.*add_local_file"):
        _building._check_size([SLIM.steps, SLIM.run_commands("x" * 1_100_000).steps])
