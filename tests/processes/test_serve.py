"""`modicum serve`: what is saved takes the place of what runs, and what cannot be imported does not."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.watching import eventually, status

pytestmark = pytest.mark.usefixtures("server")

PROGRAM = """
import modal
import words

app = modal.App("served", image=modal.Image.debian_slim().add_local_python_source("words"))

@app.function(min_containers=1)
def speak():
    pass

if modal.is_local():
    print("imported")
"""
WORDS = """
import os
import modal

if not modal.is_local():
    print("words: {0}", flush=True)
"""


class Serving:
    """The command, and what it has printed."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-u", "-m", "modicum.cli.main", "serve", "served.py"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        self.printed = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line

    def wait_for(self, text: str, count: int = 1) -> None:
        eventually(lambda: self.printed.count(text) >= count or self.process.poll() is not None, within_s=30)
        assert self.printed.count(text) >= count, self.printed

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        code = self.process.wait(20)
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    (tmp_path / "served.py").write_text(PROGRAM)
    (tmp_path / "words.py").write_text(WORDS.format("one"))
    serving = Serving(tmp_path)
    yield serving
    serving.end()


def test_saved_files_are_published_and_errors_shown(serving: Serving, tmp_path: Path) -> None:
    serving.wait_for("Serving; ")
    serving.wait_for("words: one")
    (app,) = [each for each in status()["apps"] if each["name"] == "served"]
    (tmp_path / "words.py").write_text(WORDS.format("two"))
    serving.wait_for("words: two")
    (tmp_path / "served.py").write_text(PROGRAM + "def (:\n")
    serving.wait_for("SyntaxError: invalid syntax")
    serving.wait_for("the app stays as it was; save a file to try again")
    assert serving.printed.count("imported\n") == 2, serving.printed
    (tmp_path / "beside.py").write_text("it is none of the app's")
    (tmp_path / "served.py").write_text(PROGRAM.replace("imported", "mended"))
    serving.wait_for("mended")
    serving.wait_for("published anew", 2)
    assert [each["id"] for each in status()["apps"] if each["name"] == "served"] == [app["id"]]
    assert serving.end() == 0
    assert not [each for each in status()["apps"] if each["name"] == "served"]
    assert not [each for each in status()["containers"] if each["app"] == app["id"]]
    assert "Traceback" not in serving.printed
    assert serving.printed.count("without isolation") == 1, "it is said once"
