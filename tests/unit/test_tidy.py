"""House rules that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500

# What only one machine has: folders of its owner, and the hosts of package mirrors. (Written so as not to find itself.)
LOCAL = re.compile(
    r"/wor[k]/(main|shared)|/hom[e]/(?!USER\b)\w|/roo[t]/\.pyenv|/Use[r]s/\w|/tm[p]/brief|/op[t]/(pypi|wheels)"
    r"|pypi\.or[g]|pythonhosted\.or[g]|registry\.npmj[s]|deb\.debian\.or[g]|://(10|192\.168|172\.(1[6-9]|2\d|3[01]))\."
)


@cache
def tracked() -> tuple[Path, ...]:
    """Return the files that git tracks, and those that it soon will."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return tuple(path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file())


def sources(*folders: str) -> list[Path]:
    """Return the Python files below these folders."""
    return [path for path in tracked() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders]


def named(path: Path) -> str:
    """Name a file as the repository does."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", sources("src", "tests", "benchmarks"), ids=named)
def test_no_function_is_long(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", sources("src", "tests", "benchmarks", "examples"), ids=named)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert not text or ast.get_docstring(ast.parse(text)), "the first line is to say which question the file answers"


@pytest.mark.parametrize("path", sources("src"), ids=named)
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= FILE_LINES_MAX


def test_nothing_speaks_of_one_machine() -> None:
    found = []
    for path in tracked():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if match := LOCAL.search(line):
                found.append(f"{named(path)}:{number}: {match[0]}")
    assert not found


@pytest.mark.parametrize("page", [path for path in tracked() if path.suffix == ".md"], ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_script_runs() -> None:
    for path in tracked():
        if path.read_bytes()[:2] == b"#!":
            assert path.stat().st_mode & 0o111, f"{named(path)} is not executable"
