"""What asking for information returns: plain data, named as in `modal.types`."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class InputStatus(enum.IntEnum):
    """What has become of an input."""

    PENDING = 0
    SUCCESS = 1
    FAILURE = 2
    INIT_FAILURE = 5
    TERMINATED = 3
    TIMEOUT = 4

    @classmethod
    def _missing_(cls, value: object) -> InputStatus:
        return cls.PENDING


@dataclass
class InputInfo:
    """An input in a call graph. `task_id` is the container that it was last given to, empty if there was none."""

    input_id: str
    function_call_id: str
    task_id: str
    status: InputStatus
    function_name: str
    module_name: str
    children: list[InputInfo]


__all__ = ["InputInfo", "InputStatus"]
