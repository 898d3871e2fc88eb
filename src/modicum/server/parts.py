"""What the API's handlers work with: the parts of a server, put together in `main.py`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from modicum.blobs.local import LocalBlobs
from modicum.engines.base import Engine
from modicum.server.apps import Apps
from modicum.server.backlog import Backlog
from modicum.server.builds import Builds
from modicum.server.controller import Controller
from modicum.server.deliveries import Deliveries
from modicum.server.dicts import Dicts
from modicum.server.execs import Execs
from modicum.server.filesets import FileSets
from modicum.server.fleet import Fleet
from modicum.server.history import History
from modicum.server.logs import Logs
from modicum.server.objects import Objects
from modicum.server.publishing import Publishing
from modicum.server.queues import Queues
from modicum.server.requests import Requests
from modicum.server.schedules import Schedules
from modicum.server.secrets import Secrets
from modicum.server.settings import Settings
from modicum.server.usage import Usage
from modicum.server.variants import Variants
from modicum.stores.database import Database


@dataclass(slots=True)
class Parts:
    """A server's parts."""

    settings: Settings
    database: Database
    blobs: LocalBlobs
    files: FileSets
    logs: Logs
    deliveries: Deliveries
    fleet: Fleet
    controller: Controller
    backlog: Backlog
    apps: Apps
    publishing: Publishing
    schedules: Schedules
    variants: Variants
    history: History
    secrets: Secrets
    usage: Usage
    builds: Builds
    execs: Execs
    objects: Objects
    dicts: Dicts
    queues: Queues
    requests: Requests
    engine: Engine
    stop: asyncio.Future[bool]
    """Resolved with whether containers are to end too."""
