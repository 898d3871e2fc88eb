"""How are GPUs shown?"""

from __future__ import annotations

from modicum.cli import functions, server


def test_settings_of_a_variant() -> None:
    asked = [{"type": "H100", "count": 8}, {"type": "ANY", "count": 1}]
    assert functions._words({"gpu": asked, "timeout": 5}) == "gpu=H100:8 or ANY:1, timeout=5"


def test_the_servers_status() -> None:
    assert server._gpus({}) == "none"
    gpus = [{"type": "H100", "count": 8, "free": 3}, {"type": "T4", "count": 1, "free": 1}]
    assert server._gpus({"gpus": gpus, "gpus_note": ""}) == "H100:8 (3 free), T4:1 (1 free)"
    assert server._gpus({"gpus": [], "gpus_note": "left out: GPU 0"}) == "none; left out: GPU 0"
