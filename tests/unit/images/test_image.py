"""What programs may say of an image, and what is sent of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modicum.exception import InvalidError
from modicum.image import PYTHON_VERSIONS, Image

ROOT = str(Path(sys.modules[Image.__module__].__file__ or "").parents[1])


def slim() -> Image:
    return Image.debian_slim("3.12")


@pytest.mark.parametrize("version", PYTHON_VERSIONS)
def test_each_version_is_one_step(version: str) -> None:
    assert Image.debian_slim(version).steps == [{"op": "debian_slim", "python": version}]


def test_the_default_version_is_the_local_one() -> None:
    assert Image.debian_slim().steps[0]["python"] == f"3.{sys.version_info.minor}"


def test_an_unsupported_local_version_is_refused_only_when_it_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    image = Image.debian_slim()
    with pytest.raises(InvalidError, match=r"Python '3\.9'.*one of 3\.11"):
        _ = image.steps


def test_a_float_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"must be a string like '3\.12', not 3\.1"):
        Image.debian_slim(3.10)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", ["3.7", "4.0", "3", "", "latest", "3.12.1"])
def test_an_unknown_version_is_invalid(version: str) -> None:
    with pytest.raises(InvalidError, match="one of"):
        Image.debian_slim(version)


def test_images_are_immutable() -> None:
    base = slim()
    first, second = base.pip_install("a"), base.pip_install("b")
    assert [len(image.steps) for image in (base, first, second)] == [1, 2, 2]
    assert first.steps[1]["packages"] == ["a"]
    assert second.steps[1]["packages"] == ["b"]


def test_packages_come_singly_and_in_lists() -> None:
    step = slim().pip_install("numpy", ["pandas", "attrs==23.1"]).steps[1]
    assert step == {"op": "pip_install", "packages": ["attrs==23.1", "numpy", "pandas"]}


@pytest.mark.parametrize("method", ["pip_install", "uv_pip_install"])
def test_options_are_sent_when_given(method: str) -> None:
    step = getattr(slim(), method)(
        "a",
        find_links="/wheels",
        index_url="https://i",
        extra_index_url="https://e",
        pre=True,
        extra_options="--no-deps",
        env={"A": "1", "B": None},
        force_build=True,
    ).steps[1]
    assert step == {
        "op": method,
        "packages": ["a"],
        "find_links": "/wheels",
        "index_url": "https://i",
        "extra_index_url": "https://e",
        "pre": True,
        "extra_options": "--no-deps",
        "env": {"A": "1"},
        "force_build": True,
    }


@pytest.mark.parametrize("method", ["pip_install", "uv_pip_install"])
@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (("-r", "x"), {}, "'-r' is an option"),
        ((1,), {}, "must be strings"),
        ((["a", 2],), {}, "must be strings"),
        (("a",), {"index_url": 3}, "`index_url` must be a string"),
        (("a",), {"extra_options": "'"}, "cannot be split"),
        (("a",), {"env": {"A": 1}}, "`env` must map strings"),
    ],
)
def test_mistakes_are_named(method: str, arguments: tuple[object], options: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidError, match=says):
        getattr(slim(), method)(*arguments, **options)


@pytest.mark.parametrize("method", ["pip_install", "uv_pip_install"])
def test_no_package_is_no_step(method: str) -> None:
    image = slim()
    assert getattr(image, method)() is image


@pytest.mark.parametrize("later", [{"gpu": "T4"}])
def test_what_cannot_be_honoured_yet_is_refused(later: dict[str, Any]) -> None:
    (name,) = later
    with pytest.raises(InvalidError, match=f"pip_install: `{name}` is not in Modicum yet"):
        slim().pip_install("a", **later)
    slim().pip_install("a", secrets=[], gpu=None)


def test_requirements_are_read_when_the_steps_are_needed(tmp_path: Path) -> None:
    """A container imports the program too, and has no such file."""
    path = tmp_path / "requirements.txt"
    image = slim().uv_pip_install(requirements=[str(path)], uv_version="0.9.0")
    with pytest.raises(InvalidError, match=r"requirements\.txt"):
        _ = image.steps
    path.write_text("attrs\n")
    assert image.steps[1] == {
        "op": "uv_pip_install",
        "packages": [],
        "requirements": ["attrs\n"],
        "uv_version": "0.9.0",
    }


@pytest.mark.parametrize("call", [Image, lambda: slim().uv_pip_install(requirements="x")])  # type: ignore[arg-type]
def test_misuse_is_invalid(call: Callable[[], Image]) -> None:
    with pytest.raises(InvalidError):
        call()


def test_importing_it_loads_nothing_slow() -> None:
    package = Path(str(sys.modules[Image.__module__].__file__)).parent.parent
    code = f"import sys; sys.path.append({str(package)!r}); known = set(sys.modules); import modicum.image; "
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code + "print(*set(sys.modules) - known)"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"re", "typing", "pathlib", "functools", "enum", "json"}
    assert {name for name in loaded if name.startswith("modicum.")} == {
        "modicum._image_packages",
        "modicum._missing",
        "modicum.file_pattern_matcher",
        "modicum.image",
    }
