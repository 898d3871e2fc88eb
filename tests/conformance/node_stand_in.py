"""A keeper whose node runs the runtime checks in place of the node's own program."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from modicum.node.ids import id_maps
from modicum.node.keeper import Keeper
from modicum.node.layout import Layout, prepare
from modicum.node.namespaces import Blueprint

REPOSITORY = Path(__file__).resolve().parents[2]


class StandIn(Keeper):
    """Starts the checks once."""

    def __init__(self, home: Path, runtime: str, root: str) -> None:
        layout, maps = Layout(home), id_maps()
        prepare(layout, maps)
        super().__init__(layout, maps)
        program = (sys.executable, "-m", "tests.conformance.runtime_checks")
        self._program = (*program, "--home", str(home), runtime, root)

    def run(self) -> None:
        """Run the checks to their end."""
        self._run_node()
        self._slots.close()

    def _blueprint(self) -> Blueprint:
        plan = super()._blueprint()
        return dataclasses.replace(
            plan,
            argv=(*plan.argv[:2], *self._program),
            paths=(*plan.paths, str(REPOSITORY)),
            environ={**plan.environ, "PYTHONPATH": f"{REPOSITORY}:{plan.environ['PYTHONPATH']}"},
        )


if __name__ == "__main__":
    StandIn(Path(sys.argv[1]), sys.argv[2], sys.argv[3]).run()
