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
SERVERS = [
    path for ring in sorted(SERVER_RING - {"cli", "testing"}) for path in sorted(PACKAGE.glob(f"{ring}/**/*.py"))
]

# What only the user's own process needs, where all of the package is installed.
LOCAL = {"_dockerfile.py": {"dockerfile_parse"}, "secret.py": {"dotenv"}}

# What takes milliseconds to import. An agent does without it until its first input needs it. (`socket` and `json` bring
# `enum` and `re`, which cost 4 ms.)
SLOW = {"asyncio", "cloudpickle", "ctypes", "dataclasses", "inspect", "logging", "pathlib", "subprocess", "typing",
        "modicum.agent.endings", "modicum.agent.service", "modicum.app"}  # fmt: skip


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


def imports(path: Path) -> set[str]:
    """Return the names of all modules that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "modicum":
            found.update(f"modicum.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def own(names: set[str]) -> set[str]:
    """Return what follows `modicum.` in names of our own modules."""
    return {name.split(".")[1] for name in names if name.startswith("modicum.")}


@pytest.mark.parametrize("path", RING, ids=module_name)
def test_imports_nothing_foreign(path: Path) -> None:
    found = imports(path) - LOCAL.get(path.name, set())
    assert {name.split(".")[0] for name in found} <= {*sys.stdlib_module_names, "cloudpickle", "modicum"}
    assert not own(found) & SERVER_RING


@pytest.mark.parametrize("path", SERVERS, ids=module_name)
def test_server_knows_no_client(path: Path) -> None:
    assert not own(imports(path)) & {module_name(client).removeprefix("modicum.") for client in CLIENT}


def test_client_loads_where_there_is_nothing_else(bare: Path) -> None:
    found = imported(bare, "import " + ", ".join(module_name(path) for path in RING))
    assert {name.split(".")[0] for name in found} <= {*sys.stdlib_module_names, "cloudpickle", "modicum", "__main__"}
    assert not own(found) & SERVER_RING


def test_agent_starts_with_little(bare: Path) -> None:
    found = imported(bare, "import modicum.agent.loop")
    assert not found & SLOW
