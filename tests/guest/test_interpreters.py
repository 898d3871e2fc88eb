"""Do the client and the agent work on every interpreter that an image may bring."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
from pathlib import Path

import cloudpickle
import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "modicum"
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
PLACES = ("~/.pyenv/versions/*/bin", "~/.local/share/uv/python/*/bin", "/opt/python*/bin", "/usr/local/bin", "/usr/bin")


def find(version: str) -> str | None:
    """Return the path of a Python of this version, None when this machine has none."""
    places = [folder for place in PLACES for folder in sorted(glob.glob(os.path.expanduser(place)))]
    return shutil.which(f"python{version}", path=os.pathsep.join(places))


@pytest.fixture(params=VERSIONS)
def python(request: pytest.FixtureRequest) -> str:
    found = find(request.param)
    if found is None:
        pytest.skip(f"no Python {request.param} on this machine")
    return found


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """What a container sees of us: the client, the wire, the agent and cloudpickle."""
    package = tmp_path / "modicum"
    package.mkdir()
    for path in [*PACKAGE.glob("*.py"), PACKAGE / "wire", PACKAGE / "agent"]:
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, package / path.name)
    shutil.copytree(Path(cloudpickle.__file__).parent, tmp_path / "cloudpickle")
    return tmp_path


def run(python: str, guest: Path, code: str) -> str:
    """Run `code` where nothing but the standard library and `guest` can be imported; return what it printed."""
    command = [python, "-I", "-S", "-W", "error", "-c", f"import sys; sys.path.append({str(guest)!r})\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_compiles(python: str, guest: Path) -> None:
    run(python, guest, f"import compileall; sys.exit(not compileall.compile_dir({str(guest)!r}, quiet=1))")


def test_everything_imports(python: str, guest: Path) -> None:
    names = [".".join(path.relative_to(guest).with_suffix("").parts) for path in sorted(guest.glob("modicum/**/*.py"))]
    names = [name.removesuffix(".__init__") for name in names if not name.endswith("boot")]
    run(python, guest, f"import importlib\nfor name in {names!r}: importlib.import_module(name)")


def test_values_travel(python: str, guest: Path) -> None:
    """Plain values, and a function, which needs cloudpickle."""
    code = """
import json
from modicum.wire import values
plain = {"a": [1, 2.5, None, b"x", "y"], "b": (True, {3})}
assert values.loads(values.dumps(plain)) == plain
twice = values.loads(values.dumps(lambda x: 2 * x))
print(json.dumps(twice(21)))
"""
    assert json.loads(run(python, guest, code)) == 42
