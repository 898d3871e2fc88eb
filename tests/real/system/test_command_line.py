"""What commands do to real containers and layers: an interrupt leaves nothing, pruning leaves what is in use."""

from __future__ import annotations

import json
import signal

import pytest

from tests.real.system.house import PROGRAMS, House

pytestmark = pytest.mark.timeout(300)  # the first one may build the image


def test_an_interrupt_ends_a_build(house: House) -> None:
    process = house.installation.start("run", str(house.installation.copy(PROGRAMS / "builds.py")))
    assert process.stderr is not None
    told: list[str] = []
    for line in process.stderr:
        told.append(line)
        if line.startswith("Step 2/2: pip install"):
            break
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=20)
    assert process.returncode == 130, "".join(told) + rest
    assert rest.endswith("interrupted\n")
    house.wait_settled()


def test_pruning_leaves_what_runs(house: House) -> None:
    with house.client() as client:
        assert client.ask("call", "called", number=1)["result"][0] == 1
        layers = house.home / "node" / "layers"
        done = json.loads(house.installation.run("image", "prune", "--yes", "--json").stdout)
        assert done["bytes"] >= 0
        kept = sorted(path.name for path in layers.iterdir())
        assert kept
        images = json.loads(house.installation.run("image", "list", "--json").stdout)
        assert [image["in_use"] for image in images] == [True]
        assert json.loads(house.installation.run("image", "prune", "--yes", "--json").stdout) == {
            "images": 0,
            "layers": 0,
            "bytes": 0,
        }
        client.tell("map", count=6, pause_s=0.2)  # more containers than before start from what is left
        client.wait("map ended")
        apps = json.loads(house.installation.run("app", "list", "--json").stdout)
        (app,) = [each for each in apps if each["app_id"] == client.app]
        assert (app["app_id"], app["name"]) == (client.app, "client")
        containers = json.loads(house.installation.run("container", "list", "--json").stdout)
        assert {each["function"] for each in containers} == {"work"}
        assert sorted(path.name for path in layers.iterdir()) == kept
        client.end()
    house.wait_settled()
