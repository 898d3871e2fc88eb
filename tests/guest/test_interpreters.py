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


SERVICE = """
import os, socket, tempfile, threading
import modicum
from modicum import _context
from modicum.agent import service
from modicum.agent.loop import Agent
from modicum.wire.frames import Decoder
from modicum.wire.values import dumps, load_exception, loads

@modicum.App("a").cls(serialized=True)
@modicum.concurrent(max_inputs=3)
class Model:
    name: str = modicum.parameter(default="x")
    @modicum.enter()
    async def load(self):
        self.inside = threading.Semaphore(0)
    @modicum.method()
    async def later(self, n):
        return self.name * n
    @modicum.method()
    def spin(self):
        self.inside.release()
        while True:
            pass
    @modicum.method()
    def wait(self):
        assert self.inside.acquire(timeout=30)
    @modicum.exit()
    async def end(self):
        print("end")

folder = tempfile.mkdtemp()
listener = socket.socket(socket.AF_UNIX)
listener.bind(folder + "/s")
listener.listen()
agent = Agent(folder)
server = listener.accept()[0]
_context.separate()
service.end_within = lambda seconds: None

def serve():
    decoder, ended = Decoder(), {}
    give("a", "later", 3)
    give("b", "spin")
    give("c", "wait")
    while len(ended) < 3:
        for header, payload in decoder.feed(server.recv(1 << 16)):
            for key, _, status, _, size, _ in header.get("outputs", ()):
                ended[key] = loads(payload[:size]) if status == "ok" else type(load_exception(payload[:size])).__name__
                payload = payload[size:]
            if "c" in ended:
                agent._on_cancel_inputs({"keys": ["b"]}, b"")
    print(sorted(ended.items()))
    agent._on_exit({"t": "exit"}, b"")

def give(key, method, *args):
    data = dumps((args, {}))
    agent._on_run({"inputs": [[key, 1, len(data), None, method]]}, data)

threading.Thread(target=serve, daemon=True).start()
spec = {"name": "Model.*", "module": "", "qualname": "Model", "class": True, "generator": False, "async": False,
        "concurrency": {"max_inputs": 3}}
import cloudpickle
service.start(agent, spec, cloudpickle.dumps(Model._shape.kind), None)()
"""


def test_a_class_runs_and_is_interrupted(python: str, guest: Path) -> None:
    """An event loop, threads beside it, an interrupt in one of them, and the hooks."""
    said = run(python, guest, SERVICE).splitlines()
    assert said == ["[('a', 'xxx'), ('b', 'InputCancellation'), ('c', None)]", "end"]
