"""What a container runs that is more than one plain function: methods of an object, its hooks, and the engine for them.

The engine is the main thread if all is sync and one input runs at a time, threads (`threads.py`) if several do or if
inputs are taken together, and an event loop (`aio.py`) if anything is async.
"""

from __future__ import annotations

from modicum.agent.loop import inputs_at_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from modicum.agent.loop import Agent, Input

EXIT_S = 30.0
"""All hooks that run at a container's end have so long, as with Modal."""


class Target:
    """What runs an input."""

    __slots__ = ("function", "is_async", "is_generator")

    def __init__(self, function: Callable[..., Any], is_generator: bool, is_async: bool) -> None:
        self.function = function
        self.is_generator = is_generator
        self.is_async = is_async


class Service:
    """All that one container runs."""

    def __init__(self, targets: dict[str | None, Target], spec: dict[str, Any]) -> None:
        self.targets = targets
        self.enters: list[Callable[..., Any]] = []
        self.exits: list[Callable[..., Any]] = []
        self.name = str(spec.get("name"))
        self.limit = inputs_at_once(spec)
        self.batching: dict[str, Any] | None = spec.get("batching")

    @property
    def is_async(self) -> bool:
        """Whether something of it needs an event loop."""
        from modicum.partial_function import is_async

        hooks = any(is_async(hook) for hook in (*self.enters, *self.exits))
        return hooks or any(target.is_async for target in self.targets.values())

    def target(self, item: Input) -> Target:
        """Return what runs an input."""
        name = item[4] if len(item) > 4 else None
        found = self.targets.get(name)
        return found or Target(_unknown(self.name, name), is_generator=False, is_async=False)

    def enter(self, wait: Callable[[Any], Any]) -> None:
        """Run the hooks that come before all inputs; `wait` waits for what async ones give. Raises what they raise."""
        for hook in self.enters:
            _finish(hook(), wait)

    def leave(self, wait: Callable[[Any], Any]) -> None:
        """Run the hooks at the end: all of them, whatever the others raise."""
        if not self.exits:
            return
        end_within(EXIT_S)
        for hook in self.exits:
            try:
                _finish(_exit(hook), wait)
            except BaseException as error:  # noqa: BLE001 - the user's, and the container ends anyway
                from modicum.agent.endings import show

                show(error)


def start(agent: Agent, spec: dict[str, Any], code: bytes | None, parameters: str | None) -> Callable[[], None]:
    """Load what a container runs and do all that comes before its first input; return what works to its end."""
    from modicum.agent.loader import load, load_class

    if spec.get("class"):
        service = _of_class(load_class(spec, code), spec, parameters)
    else:
        service = Service({None: Target(load(spec, code), spec["generator"], spec["async"])}, spec)
    if service.is_async:
        from modicum.agent.aio import Loop

        return Loop(agent, service).start()
    service.enter(_wait_here)
    if service.limit > 1 or service.batching is not None:
        from modicum.agent.threads import Threads

        serve = Threads(agent, service).serve
    else:
        serve = _one_at_a_time(agent, service)

    def work() -> None:
        serve()
        service.leave(_wait_here)

    return work


def _of_class(cls: Any, spec: dict[str, Any], parameters: str | None) -> Service:
    """Make the object that the container is for."""
    values: dict[str, Any] = {}
    if parameters:
        from binascii import a2b_base64

        from modicum import _parameters

        values = _parameters.decode(a2b_base64(parameters))
    local = cls(**values)._here()
    local.entered = True  # by us: `self.method.local()` is not to do it again
    shape, instance = local.shape, local.instance

    def bound(partial: Any) -> Any:
        return partial.raw.__get__(instance)

    targets: dict[str | None, Target] = {
        name: Target(bound(each), each.is_generator, each.is_async) for name, each in shape.methods.items()
    }
    service = Service(targets, spec)
    service.enters = [bound(each) for each in shape.enters]
    service.exits = [bound(each) for each in shape.exits]
    return service


def _one_at_a_time(agent: Agent, service: Service) -> Callable[[], None]:
    def choose(item: Input) -> tuple[Callable[..., Any], bool]:
        target = service.target(item)
        return target.function, target.is_generator

    return lambda: agent.serve(choose)


def _exit(hook: Callable[..., Any]) -> Any:
    code = getattr(hook, "__code__", None)
    # Ones of earlier years take what `__exit__` takes.
    return hook(None, None, None) if code is not None and code.co_argcount > 1 else hook()


def _finish(result: Any, wait: Callable[[Any], Any]) -> None:
    if hasattr(result, "__await__"):
        wait(result)


def _wait_here(coroutine: Any) -> None:
    """Wait for what a sync hook has returned to be awaited."""
    import asyncio

    asyncio.run(coroutine)


def _unknown(owner: str, name: str | None) -> Callable[..., Any]:
    def refuse(*args: object, **kwargs: object) -> None:
        from modicum.exception import NotFoundError

        raise NotFoundError(f"{owner!r} has no method {name!r} in this container's version of it")

    return refuse


def end_within(seconds: float) -> None:
    """End the process then, if it has not ended by itself."""
    import os
    import sys
    import threading
    import time

    def end() -> None:
        time.sleep(seconds)
        left = [each.name for each in threading.enumerate() if not each.daemon and each is not threading.main_thread()]
        said = f"its threads {', '.join(left)} still run" if left else "its exit hooks still run"
        print(f"modicum: the container ends now, {seconds:g} s after its last input; {said}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)

    threading.Thread(target=end, name="modicum-end", daemon=True).start()
