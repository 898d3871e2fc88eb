"""What does it cost to use a machine? In US dollars by the hour: of a core, of a GiB of memory, of a GPU of a type."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from modicum.wire.gpus import ALIASES

CPU, MEMORY, GPU = "cpu", "memory", "gpu:"
"""Resources as they are kept; a GPU's type follows."""

DEFAULTS = {
    # What Modal's guide says.
    "cpu": Decimal("0.192"),
    "memory": Decimal("0.024"),
    # What Modal asked for in 2026, by the hour.
    "T4": Decimal("0.59"),
    "L4": Decimal("0.80"),
    "A10": Decimal("1.10"),
    "L40S": Decimal("1.95"),
    "A100-40GB": Decimal("2.10"),
    "A100-80GB": Decimal("2.50"),
    "RTX-PRO-6000": Decimal("3.03"),
    "H100": Decimal("3.95"),
    "H200": Decimal("4.54"),
    "B200": Decimal("6.25"),
}

RATE_MAX = 1_000_000
SECONDS_PER_HOUR = 3600

Rates = dict[str, Decimal]


def read(text: str) -> Rates:
    """Return the prices, those in a text (`cpu=0.05,H100=2.5`) instead of the defaults. Raises `ValueError`."""
    given: Rates = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, equals, number = (each.strip() for each in part.partition("="))
        try:
            price = Decimal(number)
        except InvalidOperation:
            price = Decimal(-1)
        if not name or not equals or not (price.is_finite() and 0 <= price <= RATE_MAX):
            raise ValueError(f"{part!r} is no price: say cpu=…, memory=… or a GPU's type=…, in dollars by the hour")
        given[name.lower() if name.lower() in (CPU, MEMORY) else ALIASES.get(name.upper(), name.upper())] = price
    return {**DEFAULTS, **given}


def cost(rates: Rates, resource: str, seconds: float) -> Decimal:
    """Return what it costs to have a core, a MiB or a GPU for so many seconds. Who has no price costs nothing."""
    if resource == MEMORY:
        hourly = rates[MEMORY] / 1024
    elif resource.startswith(GPU):
        kind = resource.removeprefix(GPU)
        hourly = rates.get(ALIASES.get(kind, kind), Decimal(0))
    else:
        hourly = rates[resource]
    return Decimal(repr(seconds)) * hourly / SECONDS_PER_HOUR
