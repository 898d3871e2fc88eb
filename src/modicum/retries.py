"""How often, and after which rest, an input that failed runs again: `modal.Retries`."""

from __future__ import annotations

from datetime import timedelta

from modicum.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DELAY_MAX_S = 60.0
COEFFICIENT_MAX = 10.0


class Retries:
    """A policy for inputs whose function raised, or ran out of time.

        @app.function(retries=modal.Retries(max_retries=3, initial_delay=1.0, backoff_coefficient=2.0))

    An input runs up to `max_retries` times more. The first of these begins `initial_delay` seconds after the failure
    (0 to 60), each further one `backoff_coefficient` times as late as the one before (1.0 to 10.0; 1.0 is a fixed
    interval), but never later than `max_delay` seconds (1 to 60). `retries=3` is short for three with a fixed second.
    Raises `InvalidError` for a value out of its range.
    """

    def __init__(
        self,
        *,
        max_retries: int,
        backoff_coefficient: float = 2.0,
        initial_delay: float = 1.0,
        max_delay: float = 60.0,
    ) -> None:
        if isinstance(max_retries, bool) or not isinstance(max_retries, int) or max_retries < 0:
            raise InvalidError(f"max_retries must be a whole number from 0 up, not {max_retries!r}")
        _check("backoff_coefficient", backoff_coefficient, 1.0, COEFFICIENT_MAX, "")
        _check("initial_delay", initial_delay, 0.0, DELAY_MAX_S, " seconds")
        _check("max_delay", max_delay, 1.0, DELAY_MAX_S, " seconds")
        self.max_retries = max_retries
        self.backoff_coefficient = backoff_coefficient
        self.initial_delay = timedelta(seconds=initial_delay)
        self.max_delay = timedelta(seconds=max_delay)

    def as_dict(self) -> dict[str, Any]:
        """Return the policy as it is sent: numbers, and seconds."""
        return {
            "max_retries": self.max_retries,
            "backoff_coefficient": float(self.backoff_coefficient),
            "initial_delay": self.initial_delay.total_seconds(),
            "max_delay": self.max_delay.total_seconds(),
        }

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:g}" for name, value in self.as_dict().items())
        return f"modicum.Retries({values})"


def _check(name: str, value: Any, least: float, most: float, unit: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise InvalidError(f"{name} must be from {least:g} to {most:g}{unit}, not {value!r}")


__all__ = ["Retries"]
