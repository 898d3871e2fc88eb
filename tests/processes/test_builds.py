"""How images are built on request, through a whole server."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

import modicum
from modicum.image import Image

pytestmark = pytest.mark.usefixtures("server")

MINOR = "{}.{}".format(*sys.version_info[:2])


def with_a_layer() -> Image:
    """Return an image with a step that plain processes can keep, and that needs no network."""
    return Image.debian_slim(MINOR).add_local_file(Path(__file__), "/root/a_file", copy=True)


def test_an_image_is_built_within_an_app_and_without_one() -> None:
    image = with_a_layer().env({"A": "1"})
    app = modicum.App("builder")
    with app.run():
        assert image.build(app) is image
        built = image.object_id
    assert built.startswith("im-")
    assert image.build().object_id == built
    assert image.env({"A": "2"}).build().object_id != built


def test_it_is_built_from_a_coroutine() -> None:
    image = with_a_layer()
    assert asyncio.run(image.build.aio()).object_id.startswith("im-")


def test_what_is_forced_or_ignored_is_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    image = with_a_layer()
    plain = image.build().object_id
    monkeypatch.setenv("MODAL_IGNORE_CACHE", "1")
    own = image.build().object_id
    monkeypatch.delenv("MODAL_IGNORE_CACHE")
    assert image.build().object_id == plain != own
    monkeypatch.setenv("MODAL_FORCE_BUILD", "1")
    forced = image.build().object_id
    monkeypatch.delenv("MODAL_FORCE_BUILD")
    assert image.build().object_id == forced
    assert len({plain, own, forced}) == 3
