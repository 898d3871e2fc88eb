"""What the client and the agent may import: the standard library and cloudpickle, and as little of it as they can."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "modicum"
CLIENT = sorted(PACKAGE.glob("*.py"))
RING = [*CLIENT, *sorted(PACKAGE.glob("wire/**/*.py")), *sorted(PACKAGE.glob("agent/**/*.py"))]
SERVER_RING = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"wire", "agent", "__pycache__"}

# What takes tens of milliseconds to import. An agent does without it until its first input needs it.
SLOW = {"asyncio", "cloudpickle", "dataclasses", "enum", "inspect", "logging", "pathlib", "re", "subprocess", "typing"}


def module_name(path: Path) -> str:
    return ".".join(["modicum", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder with our package and cloudpickle, and nothing else."""
    os.symlink(PACKAGE, tmp_path / "modicum")
    os.symlink(Path(cloudpickle.__file__).parent, tmp_path / "cloudpickle")
    return tmp_path


def imported(bare: Path, statement: str) -> set[str]:
    """Run `statement` with nothing but the standard library and `bare` on the path; return the modules it loaded."""
    code = f"import sys; sys.path.append({str(bare)!r}); {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("path", RING, ids=module_name)
def test_imports_nothing_foreign(path: Path) -> None:
    """Those inside functions count too."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in names:
            assert name.split(".")[0] in {*sys.stdlib_module_names, "cloudpickle", "modicum"}
            assert not (name.startswith("modicum.") and name.split(".")[1] in SERVER_RING), f"{name} is the server's"


def test_client_loads_where_there_is_nothing_else(bare: Path) -> None:
    found = imported(bare, "import " + ", ".join(module_name(path) for path in RING))
    assert {name.split(".")[0] for name in found} <= {*sys.stdlib_module_names, "cloudpickle", "modicum", "__main__"}
    assert not {name for name in found if name.startswith("modicum.") and name.split(".")[1] in SERVER_RING}


def test_agent_starts_with_little(bare: Path) -> None:
    found = imported(bare, "import modicum.agent.loop")
    assert not found & SLOW
