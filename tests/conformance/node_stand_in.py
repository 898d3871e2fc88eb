"""A keeper whose node runs the runtime checks in place of the node's own program."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from modicum.node.ids import IdMaps, id_maps
from modicum.node.isolated_housing import IsolatedHousing
from modicum.node.keeper import Keeper
from modicum.node.layout import Layout, prepare
from modicum.node.namespaces import Blueprint

REPOSITORY = Path(__file__).resolve().parents[2]


class StandIn(IsolatedHousing):
    """A node's housing, in which the checks live."""

    def __init__(self, layout: Layout, maps: IdMaps, *program: str) -> None:
        super().__init__(layout, maps)
        self._program = program

    def _blueprint(self) -> Blueprint:
        plan = super()._blueprint()
        return dataclasses.replace(
            plan,
            argv=(*plan.argv[:2], *self._program),
            paths=(*plan.paths, str(REPOSITORY)),
            environ={**plan.environ, "PYTHONPATH": f"{REPOSITORY}:{plan.environ['PYTHONPATH']}"},
        )


def main(home: Path, runtime: str, root: str) -> None:
    """Run the checks to their end."""
    layout, maps = Layout(home), id_maps()
    prepare(layout, maps.root)
    program = (sys.executable, "-m", "tests.conformance.runtime_checks", "--home", str(home), runtime, root)
    Keeper(layout, StandIn(layout, maps, *program)).try_once()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
