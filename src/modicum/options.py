"""What may be said of a function: one table of the parameters of `@app.function`, with their checks and older names.

A parameter is a row here and a keyword of `App.function`, which is where type checkers and editors look; a test
compares the two. A row without a check is one of Modal's that Modicum does not have yet: what asks for nothing is
accepted, all else is an error that says so. `@app.cls` and `with_options` take some of the same parameters.
"""

from __future__ import annotations

from modicum._old_names import Dropped, Moved, Refused, Renamed
from modicum.exception import InvalidError
from modicum.image import Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from modicum._old_names import Old

    Check = Callable[[str, Any], Any]

BATCH_SIZE_MAX = 1000
BATCH_WAIT_MS_MAX = 600_000
"""Modal's limits of a batch."""

CONCURRENT_INPUTS_MAX = 10_000
"""More at once than any container has threads or sockets for: it is a slip."""

NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class Parameter:
    """One parameter. `check` gets its name and a value and returns what is kept, or raises `InvalidError`."""

    __slots__ = ("check", "default", "name", "old")

    def __init__(
        self, name: str, default: object = None, check: Check | None = None, old: tuple[Old, ...] = ()
    ) -> None:
        self.name = name
        self.default = default
        self.check = check
        self.old = old

    def read(self, owner: str, value: Any) -> Any:
        """Return a value as it is kept. Raises `InvalidError` if it makes no sense or the parameter is yet to come."""
        if self.check is not None:
            return self.check(self.name, value)
        refuse(owner, **{self.name: value})
        return None


def refuse(owner: str, /, **given: object) -> None:
    """Raise `InvalidError` if any of these parameters, which are yet to come, asks for something."""
    for name, value in given.items():
        if value:
            raise InvalidError(f"the parameter `{name}` of {owner} is not in Modicum yet; leave it out")


def read(owner: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the values of all parameters, checked; what is not given has its default.

    Raises `InvalidError` naming the first that makes no sense.
    """
    return {each.name: each.read(owner, given.get(each.name, each.default)) for each in PARAMETERS}


def read_overrides(owner: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return what replaces the settings of a function, as it is sent: None and empty collections replace nothing.

    Raises `InvalidError` naming the first that makes no sense.
    """
    kept = {each.name: each.read(owner, given[each.name]) for each in PARAMETERS if given.get(each.name) is not None}
    placement = _placement(kept)
    kept["secrets"] = _all_secrets(kept) or None
    settings = {name: value for name, value in kept.items() if value is not None and name in Options.__slots__}
    return settings if placement is None else {**settings, "placement": placement}


def read_some(owner: str, given: dict[str, Any]) -> None:
    """Check the values of some parameters."""
    for each in PARAMETERS:
        if each.name in given:
            each.read(owner, given[each.name])


def is_app_id(name: str) -> bool:
    """Return whether a name looks like an app's id."""
    return name.startswith("ap-") and len(name) == 25 and name[3:].isalnum()


def is_name(name: object, length_max: int = 64) -> bool:
    """Return whether this may be the name of something: some letters, digits, `.`, `_` and `-`."""
    return isinstance(name, str) and 0 < len(name) <= length_max and NAME_CHARACTERS.issuperset(name)


def check_image(name: str, value: Any) -> Any:
    """Accept an image or None."""
    if value is None or isinstance(value, Image):
        return value
    hint = "; call it: Image.debian_slim()" if callable(value) else ""
    raise InvalidError(f"{name} must be a modicum.Image, not {value!r}{hint}")


def check_flag(name: str, value: Any) -> Any:
    """Accept True and False."""
    if isinstance(value, bool):
        return value
    raise InvalidError(f"{name} must be True or False, not {value!r}")


def check_tags(name: str, value: Any) -> dict[str, str]:
    """Accept a dict of short names to short names, or None."""
    tags = {} if value is None else value
    if not isinstance(tags, dict) or not all(is_name(part, 63) for pair in tags.items() for part in pair):
        raise InvalidError(
            f"{name} must be a dict whose keys and values are 1 to 63 letters, digits, '.', '_' or '-', not {value!r}"
        )
    return dict(tags)


def read_secrets(name: str, value: Any) -> Any:
    """Return the secrets that are given, a list. Raises `InvalidError`."""
    if not value:
        return []
    from modicum.secret import read

    return read(name, value)


def _env(name: str, value: Any) -> Any:
    if value is None:
        return None
    from modicum.secret import read_env

    return read_env(name, value)


def _all_secrets(settings: dict[str, Any]) -> list[Any]:
    """Return what gives a function its variables; the later one wins."""
    env = settings.get("env")
    return [*settings.get("secrets", ()), *([] if env is None else [env])]


def _maybe_flag(name: str, value: Any) -> Any:
    return None if value is None else check_flag(name, value)


def _function_name(name: str, value: Any) -> Any:
    if value is None or is_name(value):
        return value
    raise InvalidError(f"{value!r} is no name for a function: 1 to 64 letters, digits, '.', '_' or '-'")


def _at_least(least: int) -> Check:
    def check(name: str, value: Any) -> Any:
        if value is not None and (not isinstance(value, int) or value < least):
            raise InvalidError(f"{name} must be a whole number from {least} up, not {value!r}")
        return value

    return check


def _window(name: str, value: Any) -> Any:
    if value is not None and (not isinstance(value, (int, float)) or not 2 <= value <= 3600):
        raise InvalidError(f"{name} must be from 2 to 3600 seconds, not {value!r}")
    return value


def _limit(name: str, value: Any) -> Any:
    if not isinstance(value, (int, float)) or value <= 0:
        raise InvalidError(f"{name} must be a number of seconds above 0, not {value!r}")
    return value


def _maybe_limit(name: str, value: Any) -> Any:
    return None if value is None else _limit(name, value)


def _retries(name: str, value: Any) -> dict[str, Any] | None:
    """Return a policy as it is sent; a number stands for that many, each a second after the failure."""
    if value is None:
        return None
    from modicum.retries import Retries

    if isinstance(value, int) and not isinstance(value, bool):
        value = Retries(max_retries=value, initial_delay=1.0, backoff_coefficient=1.0)
    if not isinstance(value, Retries):
        raise InvalidError(f"{name} must be a whole number or a modicum.Retries, not {value!r}")
    return value.as_dict()


def _schedule(name: str, value: Any) -> dict[str, Any] | None:
    """Return a schedule as it is sent."""
    if value is None:
        return None
    from modicum.schedule import Schedule

    if not isinstance(value, Schedule):
        raise InvalidError(f"{name} must be a modicum.Cron or a modicum.Period, not {value!r}")
    return value.as_dict()


def _maybe_text(name: str, value: Any) -> Any:
    if value is None or (isinstance(value, str) and value):
        return value
    raise InvalidError(f"{name} must be a name, not {value!r}")


def _regions(name: str, value: Any) -> list[str] | None:
    if value is None:
        return None
    regions = [value] if isinstance(value, str) else value
    if not isinstance(regions, (list, tuple)) or not all(isinstance(each, str) and each for each in regions):
        raise InvalidError(f"{name} must be a name or a list of names, not {value!r}")
    return list(regions) or None


def _placement(settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return the wishes where a function may run, as they are sent: they are told, and have no effect here."""
    wishes = {
        "cloud": settings.get("cloud"),
        "regions": settings.get("region"),
        "routing_region": settings.get("routing_region"),
        "nonpreemptible": settings.get("nonpreemptible"),
    }
    return {name: value for name, value in wishes.items() if value} or None


def _resource(name: str, value: Any) -> Any:
    """Return how much of a machine is asked for, as it is sent."""
    if value is None:
        return None
    from modicum import _resources

    return getattr(_resources, name)(name, value)


def _gpu(name: str, value: Any) -> Any:
    """Return the GPUs that are asked for, ranked, as they are sent."""
    if value is None:
        return None
    from modicum import _gpu

    return _gpu.read(name, value)


def _single_use(inputs: Any) -> Any:
    if inputs not in (None, 1):
        raise InvalidError(f"max_inputs can only be 1, which is now single_use_containers=True, not {inputs!r}")
    return True if inputs else None


def read_concurrency(owner: str, max_inputs: Any, target_inputs: Any = None) -> dict[str, Any]:
    """Return how many inputs a container runs at once, as it is sent. Raises `InvalidError`; `TypeError` for none."""
    if max_inputs is None:
        raise TypeError(f"{owner} needs max_inputs=…: how many inputs a container may run at once")
    _count("max_inputs", max_inputs, 1, CONCURRENT_INPUTS_MAX)
    if target_inputs is not None:
        _count("target_inputs", target_inputs, 1, CONCURRENT_INPUTS_MAX)
        if target_inputs > max_inputs:
            raise InvalidError(f"target_inputs ({target_inputs}) is larger than max_inputs ({max_inputs})")
    return {"max_inputs": max_inputs, "target_inputs": target_inputs}


def read_batching(max_batch_size: Any, wait_ms: Any) -> dict[str, Any]:
    """Return how inputs are taken together, as it is sent. Raises `InvalidError`."""
    _count("max_batch_size", max_batch_size, 1, BATCH_SIZE_MAX)
    _count("wait_ms", wait_ms, 0, BATCH_WAIT_MS_MAX)
    return {"max_batch_size": max_batch_size, "wait_ms": wait_ms}


def _count(name: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidError(f"{name} must be a whole number from {least} to {most}, not {value!r}")


def _concurrently(decorator: Any, inputs: Any) -> Any:
    """Return a decorator that has `@modal.concurrent` below it."""
    if inputs in (None, 0):
        return decorator
    import modicum

    concurrent: Any = modicum.concurrent(max_inputs=inputs, target_inputs=inputs)
    return lambda raw: decorator(concurrent(raw))


PARAMETERS = (
    Parameter("image", None, check_image),
    Parameter("schedule", None, _schedule),
    Parameter("env", None, _env),
    Parameter("secrets", None, read_secrets, (Renamed("secret", "secrets", lambda one: [one] if one else None),)),
    Parameter("gpu", None, _gpu),
    Parameter("serialized", False, check_flag),
    Parameter("network_file_systems", {}),
    Parameter("volumes", {}),
    Parameter("cpu", None, _resource),
    Parameter("memory", None, _resource),
    Parameter("ephemeral_disk", None, _resource),
    Parameter("min_containers", None, _at_least(0), (Renamed("keep_warm", "min_containers"),)),
    Parameter("max_containers", None, _at_least(1), (Renamed("concurrency_limit", "max_containers"),)),
    Parameter(
        "buffer_containers", None, _at_least(0), (Renamed("_experimental_buffer_containers", "buffer_containers"),)
    ),
    Parameter("scaledown_window", None, _window, (Renamed("container_idle_timeout", "scaledown_window"),)),
    Parameter("proxy"),
    Parameter("retries", None, _retries),
    Parameter("timeout", 300, _limit),
    Parameter("startup_timeout", None, _maybe_limit),
    Parameter("name", None, _function_name),
    Parameter("is_generator", None, _maybe_flag),
    Parameter("cloud", None, _maybe_text),
    Parameter("region", None, _regions),
    Parameter("routing_region", None, _maybe_text),
    Parameter("nonpreemptible", False, check_flag),
    Parameter(
        "enable_memory_snapshot", False, check_flag, (Renamed("checkpointing_enabled", "enable_memory_snapshot"),)
    ),
    Parameter("block_network", False, check_flag),
    Parameter("restrict_modal_access", False, check_flag),
    Parameter(
        "single_use_containers", False, check_flag, (Renamed("max_inputs", "single_use_containers", _single_use),)
    ),
    Parameter("i6pn"),
    Parameter("include_source", None, _maybe_flag),
    Parameter("experimental_options"),
    Parameter("_experimental_restrict_output", False, check_flag),
)
"""The parameters of `@app.function`, in the order of its signature."""

WITHOUT_EFFECT = {
    "cloud": "every container runs on your own machines",
    "region": "every container runs on your own machines",
    "routing_region": "every call is routed by your own server",
    "nonpreemptible": "no container that runs an input is preempted",
    "enable_memory_snapshot": "no snapshot is taken: every container runs its imports and all its enter methods",
}
"""What a hosted service is told and has no meaning here. It is accepted: the same program runs in both places."""

GONE = (
    Moved("allow_concurrent_inputs", "@modal.concurrent(max_inputs=…)", _concurrently),
    Refused("interactive", "it is now `modal run -i`"),
    Refused(
        "mounts",
        "local files are part of the image now: `image.add_local_dir(…)`, `image.add_local_file(…)` or "
        "`image.add_local_python_source(…)`",
    ),
    Refused("shared_volumes", "it is now `volumes` with `modal.Volume`, which is not in Modicum yet"),
    Refused(
        "_allow_background_volume_commits",
        "volumes are always committed in the background; leave it out",
        lambda value: value is False,
    ),
    Dropped("allow_cross_region_volumes"),
)
"""Older parameters that have no present name."""

APP_OLD_NAMES = tuple(old for old in GONE if old.old == "mounts")
"""Older parameters of `App`."""

OLD_NAMES = (*(old for each in PARAMETERS for old in each.old), *GONE)


class Options:
    """What a function asks of the platform; all of it goes to the server. Made of what `read` returns."""

    __slots__ = (
        "batching", "block_network", "buffer_containers", "concurrency", "cpu", "ephemeral_disk", "gpu",
        "max_containers", "memory", "min_containers", "placement", "restrict_modal_access", "restrict_output",
        "retries", "scaledown_window", "schedule", "secrets", "single_use_containers", "startup_timeout", "timeout",
    )  # fmt: skip

    def __init__(
        self,
        settings: dict[str, Any],
        concurrency: dict[str, Any] | None = None,
        batching: dict[str, Any] | None = None,
    ) -> None:
        self.min_containers = settings["min_containers"] or 0
        self.max_containers = settings["max_containers"]
        self.buffer_containers = settings["buffer_containers"] or 0
        self.scaledown_window = 60 if settings["scaledown_window"] is None else settings["scaledown_window"]
        self.timeout = settings["timeout"]
        self.startup_timeout = self.timeout if settings["startup_timeout"] is None else settings["startup_timeout"]
        self.retries = settings["retries"]
        self.schedule = settings["schedule"]
        self.cpu = settings["cpu"]
        self.memory = settings["memory"]
        self.gpu = settings["gpu"]
        self.ephemeral_disk = settings["ephemeral_disk"]
        self.single_use_containers = settings["single_use_containers"]
        self.block_network = settings["block_network"]
        self.restrict_modal_access = settings["restrict_modal_access"]
        self.restrict_output = settings["_experimental_restrict_output"]
        self.secrets = _all_secrets(settings)
        self.placement = _placement(settings)
        self.concurrency = concurrency
        self.batching = batching
        if self.max_containers is not None and self.min_containers > self.max_containers:
            raise InvalidError(
                f"min_containers ({self.min_containers}) is larger than max_containers ({self.max_containers})"
            )

    def decorated(self, concurrency: dict[str, Any] | None, batching: dict[str, Any] | None) -> Options:
        """Return these options with what `@concurrent` and `@batched` below the decorator say."""
        if concurrency is None and batching is None:
            return self
        decorated: Options = object.__new__(Options)
        for name in self.__slots__:
            setattr(decorated, name, getattr(self, name))
        decorated.concurrency, decorated.batching = concurrency, batching
        return decorated

    def as_dict(self, secrets: Sequence[str] = ()) -> dict[str, Any]:
        """Return the options as they are sent, with the ids of all secrets in the place of the function's own."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "secrets": list(secrets)}
