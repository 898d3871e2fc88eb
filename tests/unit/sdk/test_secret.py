"""Secrets on the client's side: what they take, what is sent of them, and that their values stay out of all else."""

from __future__ import annotations

import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from modicum import _building, _context, _creating, secret
from modicum.app import App
from modicum.exception import ExecutionError, InvalidError
from modicum.image import Image
from modicum.secret import Secret
from modicum.wire.frames import Frame, Header
from tests.unit.sdk import driver

VALUE = "hunter2-7f3a"


class Server(driver.Server):
    """Keeps secrets, and knows variants by what they were made of."""

    def __init__(self, lose_at: tuple[int, ...] = ()) -> None:
        super().__init__(lambda: None, lose_at)
        self.kept: list[dict[str, str]] = []
        self.bound: list[Any] = []

    def secret_create(self, header: Header, payload: bytes) -> Frame:
        values = json.loads(payload)
        if values not in self.kept:
            self.kept.append(values)
        return {"secret": f"st-{self.kept.index(values)}"}, b""

    def function_bind(self, header: Header, payload: bytes) -> Frame:
        self.bound.append(header["options"])
        return {"function": f"fu-{json.dumps(header['options'], sort_keys=True)}"}, b""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr("modicum._blocking.run", lambda operation, call=None: made.run(operation))
    return made


def test_a_dict_without_what_is_none(server: Server) -> None:
    made = Secret.from_dict({"B": VALUE, "A": "", "C": None})
    assert made.hydrate() is made
    assert (made.object_id, made.name) == ("st-0", None)
    assert server.kept == [{"A": "", "B": VALUE}]
    assert json.loads(Secret.from_dict({}).text()) == {}


WRONG: dict[str, Any] = {
    "the env_dict argument to Secret has to be a dict[str, Union[str, None]], got list": ["A"],
    "the env_dict argument to Secret has to be a dict[str, Union[str, None]], key has type int": {1: "x"},
    "the env_dict argument to Secret has to be a dict[str, Union[str, None]], value for key 'A' has type int": {"A": 1},
    "'1A' is no name of a variable": {"1A": VALUE},
    "'A-B' is no name of a variable": {"A-B": VALUE},
    "'A=B' is no name of a variable": {"A=B": VALUE},
    "'' is no name of a variable": {"": VALUE},
    "'É' is no name of a variable": {"É": VALUE},
    "has 16,385 characters, more than 16,384": {"A" * 16_385: VALUE},
    "the value of 'A' has 32,769 characters, more than 32,768; large data belongs in a file": {"A": VALUE[:1] * 32_769},
    "the value of 'A' holds a null byte, which no environment variable can": {"A": f"{VALUE}\0"},
    "the value of 'A' is no text in UTF-8": {"A": f"{VALUE}\ud800"},
    "'A' and its value have 131,074 bytes; the kernel takes 131,070": {"A": "😀" * 32_768},
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_without_the_value(text: str) -> None:
    with pytest.raises(InvalidError, match=re.escape(text)) as caught:
        Secret.from_dict(WRONG[text])
    assert VALUE not in str(caught.value)


def test_the_largest_variables_are_fine() -> None:
    assert len(Secret.from_dict({"A" * 16_384: "b" * 32_768}).text()) > 49_152
    with pytest.raises(InvalidError, match="more than the 524,288 of a secret"):
        Secret.from_dict({f"A{n}": "b" * 32_768 for n in range(17)}).text()


def test_of_the_local_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", VALUE)
    assert json.loads(Secret.from_local_environ(["MINE"]).text()) == {"MINE": VALUE}
    with pytest.raises(
        InvalidError, match=r"Could not find local environment variable 'NOBODYS' for Secret\.from_local_environ"
    ):
        Secret.from_local_environ(["MINE", "NOBODYS"])
    with pytest.raises(InvalidError, match="env_keys must be a list of names"):
        Secret.from_local_environ("MINE")
    monkeypatch.setattr(_context, "socket_directory", "/run/modicum")
    assert json.loads(Secret.from_local_environ(["NOBODYS"]).text()) == {}


class TestDotenv:
    def test_is_found_upwards_and_read_late(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        below = tmp_path / "a" / "b"
        below.mkdir(parents=True)
        monkeypatch.chdir(below)
        made = Secret.from_dotenv()
        (tmp_path / ".env").write_text(f'A={VALUE}\nexport B="two words"\nC\n# nothing\n')
        assert json.loads(made.text()) == {"A": VALUE, "B": "two words", "C": ""}
        (tmp_path / "a" / ".env").write_text("A=nearer")
        assert json.loads(made.text()) == {"A": "nearer"}

    def test_from_a_path_and_by_another_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir("/")
        program = tmp_path / "program.py"
        program.touch()
        (tmp_path / ".env-dev").write_text(f"A={VALUE}")
        for path in (program, str(tmp_path)):
            assert json.loads(Secret.from_dotenv(path, filename=".env-dev").text()) == {"A": VALUE}

    def test_what_is_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.warns(UserWarning, match=f"no file 'no.such.env' in {tmp_path} or above it; the secret is empty"):
            assert Secret.from_dotenv(tmp_path, filename="no.such.env").text() == "{}"
        with pytest.raises(InvalidError, match="there is no /nowhere/at/all"):
            Secret.from_dotenv("/nowhere/at/all").text()
        monkeypatch.setitem(__import__("sys").modules, "dotenv", None)
        with pytest.raises(ImportError, match="running `pip install python-dotenv`"):
            Secret.from_dotenv(tmp_path).text()

    def test_names_that_no_variable_has(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("'A.B'=c")
        with pytest.raises(InvalidError, match=r"'A\.B' is no name of a variable"):
            Secret.from_dotenv(tmp_path).text()


@pytest.mark.parametrize("value", ["st-1", {"A": "b"}, [1], [Secret], 7, [None]])
def test_what_are_no_secrets(value: Any) -> None:
    with pytest.raises(InvalidError, match=r"secrets must be a list of modicum\.Secret"):
        App("a").function(secrets=value)
    with pytest.raises(InvalidError, match=r"secrets must be a list of modicum\.Secret"):
        App("a", secrets=value)


def test_what_is_no_env() -> None:
    with pytest.raises(InvalidError, match="env must be a dict of names to values, not of type 'list'"):
        App("a").function(env=["A=b"])  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="value for key 'A' has type int"):
        App("a").function(env={"A": 1})  # type: ignore[dict-item]


def test_nothing_but_names_is_shown_or_travels() -> None:
    made = Secret.from_dict({"A": VALUE, "B": None})
    assert repr(made) == "modicum.Secret.from_dict([A, B])"
    for data in (pickle.dumps(made), cloudpickle.dumps(lambda: made)):
        assert VALUE.encode() not in data
    copy = pickle.loads(pickle.dumps(made))
    assert repr(copy) == repr(made)
    with pytest.raises(ExecutionError, match=r"values of .* are not here: they stay where it was made"):
        copy.text()
    with pytest.raises(ExecutionError, match="has no id yet"):
        _ = copy.object_id


def test_one_that_the_server_has_is_named_elsewhere_by_its_id(server: Server) -> None:
    made = Secret.from_dict({"A": VALUE})
    made.hydrate()
    copy = pickle.loads(pickle.dumps(made))
    assert server.run(secret.create([copy, Secret.from_dict({"B": "c"})])) == ["st-0", "st-1"]


def test_a_lost_connection_makes_none_twice() -> None:
    server = Server(lose_at=(1, 3))
    assert server.run(secret.create([Secret.from_dict({"A": "b"})] * 2)) == ["st-0", "st-0"]
    assert (server.reconnects, len(server.kept)) == (2, 1)


def test_the_order_of_an_app_its_function_and_env(server: Server) -> None:
    one, two = Secret.from_dict({"A": "1"}), Secret.from_dict({"A": "2"})
    app = App("a", secrets=[one])
    made = app.function(serialized=True, name="f", secrets=[two], env={"A": "3"})(lambda: None)
    other = App("b", secrets=[two])
    other.include(app)
    for each in (app, other):  # what is included keeps its own app's
        found = server.run(_creating._create_secrets(each, [made]))
        ids = made.options.as_dict([each.object_id for each in found[made]])["secrets"]
        assert [server.kept[int(each[3:])] for each in ids] == [{"A": "1"}, {"A": "2"}, {"A": "3"}]


def test_variants_with_secrets(server: Server) -> None:
    app = App("a")
    made = app.function(serialized=True, name="f", timeout=5)(lambda: None)
    made.hydrate_with(f"fu-{os.urandom(4).hex()}")
    made.with_options(secrets=[Secret.from_dict({"A": VALUE})], env={"B": "c"}, timeout=7).hydrate()
    asked = len(server.sent)
    again = made.with_options(timeout=7, env={"B": "c"}, secrets=[Secret.from_dict({"A": VALUE})])
    again.hydrate()
    assert len(server.sent) == asked, "the same settings ask for nothing"
    assert server.bound == [{"timeout": 7, "secrets": ["st-0", "st-1"]}]
    chained = again.with_options(timeout=8)
    chained.hydrate()
    assert server.bound[1] == {"timeout": 8, "secrets": ["st-0", "st-1"]}
    again.with_options(env={"B": "d"}).hydrate()
    assert server.bound[2] == {"timeout": 7, "secrets": ["st-2"]}
    assert VALUE not in repr(again)
    made.with_options(secrets=[]).hydrate()
    assert server.bound[3:] == [{}]


def test_steps_of_an_image(server: Server) -> None:
    made = Secret.from_dict({"TOKEN": VALUE})
    image = Image.debian_slim("3.12").run_commands("fetch", secrets=[made]).pip_install("x")
    (steps,) = server.run(_building._with_secrets([image.resolve().steps]))
    assert [step.get("secrets") for step in steps] == [None, ["st-0"], None]
    assert VALUE not in json.dumps(steps)
    with pytest.raises(InvalidError, match=r"pip_install: secrets must be a list of modicum\.Secret"):
        Image.debian_slim("3.12").pip_install("x", secrets=["a"])
