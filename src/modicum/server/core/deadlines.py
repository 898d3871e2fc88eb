"""When must a container be looked at again?"""

from __future__ import annotations

from math import inf

from .events import FunctionSpec
from .records import Container, ContainerState, Input

SLOW_S = 0.05
"""An input that runs so long is slow: those behind it are better off elsewhere."""

ADOPTION_S = 5.0
"""How long the agent of a container that outlived a server has for its hello. It tries several times per second."""

DRAIN_S = 30.0
"""How long a container has to exit after it was asked: the grace that exit handlers are promised."""

CANCEL_GRACE_S = 30.0
"""How long code may go on running that was cancelled, before its container is killed."""


def due(container: Container, spec: FunctionSpec) -> float:
    """The next moment at which this container's time may be up, for whatever it is doing; infinity if for nothing."""
    if container.state is ContainerState.READY:
        return _due_ready(container, spec)
    match container.state:
        case ContainerState.STARTING | ContainerState.LOADING:
            return inf if is_interacting(container) else container.born + spec.startup_timeout_s
        case ContainerState.ADOPTED:
            return container.since + ADOPTION_S
        case ContainerState.DRAINING | ContainerState.STOPPING:
            return container.since + DRAIN_S
        case _:
            return inf


def timeout_of(item: Input, spec: FunctionSpec) -> float:
    """When the input that runs will have run too long. What waits in a batch for company does not run yet."""
    assert item.started is not None
    return item.started + spec.timeout_s + spec.batch_wait_s


def void_at(item: Input) -> float:
    """When an input that runs and was cancelled will have had its time to end; infinity if it was not."""
    assert item.started is not None
    return max(item.cancelled, item.started) + CANCEL_GRACE_S


def is_interacting(container: Container) -> bool:
    """Whether it speaks with its user, who takes the time that he takes."""
    return container.interacting_since < inf


def may_ask_back(container: Container) -> bool:
    """Whether inputs wait in it that it has not been asked for yet."""
    return container.unstarted > 0 and not container.slow and not container.asked


def _due_ready(container: Container, spec: FunctionSpec) -> float:
    if not container.load:
        return container.since if container.yielding else container.rest_until
    timeout = inf if is_interacting(container) else timeout_of(container.oldest, spec)
    if container.voided < inf:
        timeout = min(timeout, container.voided + CANCEL_GRACE_S)
    if may_ask_back(container):
        return min(timeout, container.moved + SLOW_S)
    return timeout
