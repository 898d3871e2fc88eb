"""How settings are shown and changed from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from modicum import config
from modicum.cli.main import cli
from modicum.exception import InvalidError, NotFoundError, PermissionDeniedError


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


def test_settings_and_where_they_come_from(settings_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings_file.write_text('[work]\nactive = true\nhome = "/x"\n')
    monkeypatch.setenv("MODAL_FORCE_BUILD", "1")
    rows = {line.split()[0]: line.split()[1:] for line in run("config", "show").output.splitlines()}
    assert rows["home"] == ["/x", "profile", "work"]
    assert rows["environment"] == ["main", "default"]
    assert rows["force_build"] == ["yes", "MODAL_FORCE_BUILD"]
    assert json.loads(run("config", "show", "--json").output)["home"] == "/x"


def test_setting_keys(settings_file: Path) -> None:
    assert "environment is 'main' in the profile 'default'" in run("config", "set-environment", "main").output
    assert settings_file.read_text() == '[default]\nactive = true\nenvironment = "main"\n'
    assert settings_file.stat().st_mode & 0o777 == 0o600
    run("config", "set", "traceback", "yes")
    assert config.get("traceback") is True
    assert isinstance(run("config", "set-environment", "prod").exception, NotFoundError)
    assert "'x' is not a valid boolean" in run("config", "set", "traceback", "x").output
    assert run("config", "set", "nothing", "x").exit_code == 2


def test_choosing_a_profile(settings_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("profile", "current").output == "default\n"
    settings_file.write_text('# of mine\n[one]\nactive = true\n\n[two]\nhome = "/y"  # there\n')
    assert run("profile", "activate", "two").output == ""
    assert settings_file.read_text() == '# of mine\n[one]\n\n[two]\nhome = "/y"  # there\nactive = true\n'
    assert run("profile", "current").output == "two\n"
    assert json.loads(run("profile", "list", "--json").output) == [
        {"name": "one", "active": False, "home": "~/.modicum"},
        {"name": "two", "active": True, "home": "/y"},
    ]
    assert "•" in run("profile", "list").output.splitlines()[2]
    error = run("profile", "activate", "three").exception
    assert str(error) == f"there is no profile 'three' in {settings_file}; it has one, two"
    monkeypatch.setenv("MODICUM_PROFILE", "one")
    assert "MODICUM_PROFILE is set" in run("profile", "activate", "two").output


def test_a_broken_file_is_not_written_over(settings_file: Path) -> None:
    settings_file.write_text("[broken")
    assert isinstance(run("config", "set", "home", "/x").exception, InvalidError)
    assert settings_file.read_text() == "[broken"


def test_a_file_that_cannot_be_written(settings_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODICUM_CONFIG_PATH", str(settings_file / "below" / "x.toml"))
    error = run("config", "set", "home", "/x").exception
    assert isinstance(error, InvalidError)
    assert "x.toml cannot be written: No such file or directory" in str(error)

    def refuse(path: str, flags: int, mode: int) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("modicum.cli.profiles.os.open", refuse)
    assert isinstance(run("config", "set", "home", "/x").exception, PermissionDeniedError)
