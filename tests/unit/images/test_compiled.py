"""Is nothing but modules' compiled files put beside the agent's source?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from modicum.node.images import compiled


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def agent_in(folder: Path) -> Path:
    agent = folder / "agent"
    (agent / "package").mkdir(parents=True)
    (agent / "package/module.py").write_text("x = 1\n")
    return agent


def test_compiled_files_of_modules_are_taken(tmp_path: Path) -> None:
    agent, made = agent_in(tmp_path), tmp_path / "made"
    place = made / "run/modicum-agent/package"
    place.mkdir(parents=True)
    for name in ("module.cpython-311.pyc", "other.cpython-311.pyc", "module.py", "module.so"):
        (place / name).write_text("made")
    (place / "module.cpython-311.pyc").chmod(0o4777)
    (made / "module.pyc").write_text("elsewhere")
    compiled.take(made, agent)
    assert tree(agent) == ["package/__pycache__/module.cpython-311.pyc", "package/module.py"]
    assert (agent / "package/__pycache__/module.cpython-311.pyc").stat().st_mode & 0o7777 == 0o644


def test_no_link_is_followed(tmp_path: Path) -> None:
    agent, made, secret = agent_in(tmp_path), tmp_path / "made", tmp_path / "secret"
    secret.mkdir()
    (secret / "module.cpython-311.pyc").write_text("secret")
    (made / "run/modicum-agent").mkdir(parents=True)
    (made / "run/modicum-agent/package").symlink_to(secret)
    compiled.take(made, agent)
    (made / "run/modicum-agent/package").unlink()
    (made / "run/modicum-agent/package").mkdir()
    (made / "run/modicum-agent/package/module.cpython-311.pyc").symlink_to(secret / "module.cpython-311.pyc")
    compiled.take(made, agent)
    assert tree(agent) == ["package/module.py"]
    assert os.listdir(secret) == ["module.cpython-311.pyc"]


def test_the_program_compiles_into_the_second_directory(tmp_path: Path) -> None:
    agent, made = agent_in(tmp_path), tmp_path / "made"
    subprocess.run([sys.executable, "-I", "-B", "-c", compiled.PROGRAM, str(agent), str(made)], check=True)
    assert tree(agent) == ["package/module.py"]
    assert [Path(name).parent for name in tree(made)] == [Path(str(agent).lstrip("/"), "package")]
