"""A whole server whose containers are plain processes: `python -m modicum.testing.process_server --home H`.

For tests of everything but isolation; it starts in a moment and needs no rights.
"""

from __future__ import annotations

from modicum.server.main import main
from modicum.testing.process_node import ProcessEngine

if __name__ == "__main__":
    main(ProcessEngine)
