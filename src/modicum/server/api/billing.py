"""What did apps use in a range of time, and what does that cost?"""

from __future__ import annotations

from typing import Any

from modicum.server import rates as prices
from modicum.server.api.fields import patience
from modicum.server.parts import Parts
from modicum.stores import usage as stored
from modicum.stores.usage import HourRow
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header

HOURS = {"h": 1, "d": 24}
"""How long an interval is. Days are those of UTC."""


async def report(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell what apps used in each of the whole intervals that begin in a range of time."""
    length, names = HOURS[header["resolution"]], [str(each) for each in header["tags"]]
    first, last = (int(patience(header[name], 1e12) // (3600 * length)) * length for name in ("since", "until"))
    if header["since"] >= header["until"]:
        raise RemoteFailure("invalid", "the range of time ends before it begins")
    await parts.usage.write()
    found = await parts.database.submit(stored.between(first, last))
    rates = prices.read(parts.settings.rates)
    rows: dict[tuple[int, str], dict[str, Any]] = {}
    for each in found:
        start = each.hour // length * length
        row = rows.setdefault((start, each.app), {"app": each.app, "start": start * 3600, "resources": {}})
        row["app_name"] = each.app_name or row.get("app_name", "")
        row["tags"] = {name: value for name, value in each.tags.items() if name in names or "*" in names}
        _add(row["resources"], each)
    for row in rows.values():
        for resource, amount in row["resources"].items():
            amount["cost"] = str(round(prices.cost(rates, resource, amount["seconds"]), 9))
    return {"rows": list(rows.values())}


def _add(resources: dict[str, Any], hour: HourRow) -> None:
    amount = resources.setdefault(hour.resource, {"seconds": 0.0, "used": 0.0})
    amount["seconds"] += hour.billed
    amount["used"] += hour.used


def rates(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell the prices."""
    return {"rates": {name: str(price) for name, price in prices.read(parts.settings.rates).items()}}


HANDLERS = {"billing.report": report, "billing.rates": rates}
