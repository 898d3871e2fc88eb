"""What a client is set to: by variables, by the file of profiles, and what is said of a file that makes no sense."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modicum import _context, config
from modicum.exception import InvalidError, NotFoundError

TWO = '[default]\nhome = "/one"\n\n[work]\nactive = true\nhome = "/two"\ntoken_id = "of modal\'s"\ntraceback = true\n'


def test_without_a_file(settings_file: Path) -> None:
    assert config.path() == str(settings_file)
    assert (config.get("environment"), config.get("force_build"), config.active_name()) == ("main", False, "default")
    assert config.profiles() == {}


def test_the_active_profile(settings_file: Path) -> None:
    settings_file.write_text(TWO)
    assert (config.active_name(), config.home(), config.get("traceback")) == ("work", "/two", True)
    settings_file.write_text('[default]\nhome = "/three"\n')
    os.utime(settings_file, (1, 1))  # changed within the same tick
    assert (config.active_name(), config.home()) == ("default", "/three")


def test_variables_come_first(settings_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings_file.write_text(TWO)
    monkeypatch.setenv("MODAL_HOME", "/of-modal")
    assert config.home() == "/of-modal"
    monkeypatch.setenv("MODICUM_HOME", "/ours")
    assert (config.home(), config.variable_of("home")) == ("/ours", "MODICUM_HOME")
    monkeypatch.setenv("MODAL_PROFILE", "default")
    assert config.active_name() == "default"
    monkeypatch.setenv("MODICUM_PROFILE", "nobody")
    assert config.home() == "/ours"
    with pytest.raises(NotFoundError, match=r"there is no profile 'nobody' in .*; it has default, work"):
        config.get("environment")


@pytest.mark.parametrize(("text", "meant"), [("1", True), ("true", True), ("0", False), ("no", False), ("", False)])
def test_flags(settings_file: Path, monkeypatch: pytest.MonkeyPatch, text: str, meant: bool) -> None:
    monkeypatch.setenv("MODAL_FORCE_BUILD", text)
    assert config.flag("FORCE_BUILD") is meant


def test_a_flag_that_is_neither(settings_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODAL_STRICT_NAMES", "perhaps")
    with pytest.raises(InvalidError, match="MODAL_STRICT_NAMES='perhaps' is neither true nor false; write 1 or 0"):
        config.strict_names()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[default", r"settings.toml is no TOML: "),
        ("home = '/x'", r"settings.toml: home stands outside of a profile; write it below a line such as \[default\]"),
        ("[a]\nhomes = 'x'", r"the profile 'a' has the unknown key 'homes'; keys are home, environment, "),
        ("[a]\nactive = true\n[b]\nactive = true", r"2 profiles are active \(a, b\); `active = true` is for one"),
        ("[default]\nhome = 3", r"settings.toml: home must be a text, not 3"),
        ("[default]\ntraceback = 'x'", r"settings.toml: traceback must be a true or false, not 'x'"),
    ],
)
def test_a_file_that_makes_no_sense(settings_file: Path, text: str, reason: str) -> None:
    settings_file.write_text(text)
    with pytest.raises(InvalidError, match=reason):
        config.get("home"), config.get("traceback")


def test_a_file_that_cannot_be_read(settings_file: Path) -> None:
    settings_file.mkdir()
    with pytest.raises(InvalidError, match=r"settings.toml cannot be read: Is a directory"):
        config.home()


def test_a_container_has_none(settings_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings_file.write_text("[broken")
    monkeypatch.setattr(_context, "socket_directory", "/run/modicum")
    assert config.get("environment") == "main"
