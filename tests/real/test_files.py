"""Local files in real containers: attached, baked and imported, over an image that stays as it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.real.installation import Installation

pytestmark = pytest.mark.timeout(600)  # the first one may build the base

PROGRAM = """
import os
import modicum

HERE = os.path.dirname(os.path.abspath(__file__))
image = (
    modicum.Image.debian_slim()
    .add_local_dir(f"{HERE}/data", "/baked", copy=True, ignore=["*.log"])
    .run_commands("cat /baked/deep/* > /joined")
    .add_local_dir(f"{HERE}/data", "/bin/attached")
    .add_local_file(f"{HERE}/data/tool.sh", "/tmp/tools/")
    .add_local_python_source("my_module")
)
app = modicum.App("files", image=image)

@app.function(max_containers=1)
def look():
    import my_module
    before = open("/bin/attached/one").read()
    with open("/bin/attached/one", "w") as file:
        file.write("changed here")
    return [
        my_module.VALUE,
        open("/joined").read(),
        before,
        sorted(os.listdir("/baked")),
        os.popen("/tmp/tools/tool.sh").read().strip(),
        [oct(os.stat(path).st_mode & 0o7777) for path in ("/tmp", "/root", "/usr/bin")],
        os.readlink("/bin"),
        os.path.exists("/usr/bin/env"),
    ]

@app.function()
def forgotten():
    import forgotten_module

@app.local_entrypoint()
def main(what: str):
    print(look.remote() if what == "look" else forgotten.remote())
"""


@pytest.fixture
def folder(installation: Installation) -> Path:
    """A program with a tree beside it, where its person can read it."""
    folder = installation.home / "programs" / "tree"
    texts = {
        "program.py": PROGRAM,
        "my_module.py": "VALUE = 'mine'\n",
        "forgotten_module.py": "",
        "data/one": "1",
        "data/deep/a": "a",
        "data/deep/b": "b",
        "data/two.log": "2",
        "data/tool.sh": "#!/bin/sh\necho ran",
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in (folder.parent, folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.suffix == ".sh" else 0o644)
    return folder


def test_attached_baked_and_imported(installation: Installation, folder: Path) -> None:
    seen = [
        *("mine", "ab", "1", ["deep", "one", "tool.sh"], "ran"),
        *(["0o1777", "0o700", "0o755"], "usr/bin", True),
    ]
    for _ in range(2):  # what a container wrote stays its own
        done = installation.run("run", f"{folder}/program.py", "--what", "look")
        assert repr(seen) in done.stdout.splitlines(), done.stdout
    (folder / "data" / "deep" / "b").write_text("c")
    os.utime(folder / "data" / "one", (1, 1))
    done = installation.run("run", f"{folder}/program.py", "--what", "look")
    assert repr(seen).replace("'ab'", "'ac'") in done.stdout.splitlines(), done.stdout


def test_a_module_that_was_not_sent(installation: Installation, folder: Path) -> None:
    done = installation.run("run", f"{folder}/program.py", "--what", "forgotten", code=1)
    assert "ModuleNotFoundError: No module named 'forgotten_module'" in done.stderr
    assert 'image.add_local_python_source("forgotten_module")' in done.stderr
