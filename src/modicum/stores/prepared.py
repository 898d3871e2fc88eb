"""How a statement runs that runs thousands of times a second: compiled once, then given to the driver as it is.

SQLAlchemy's own execution takes some 100 µs for each statement, the database some 5. The statements are the same, and
so are the databases; what is left out is the conversion of values, so bytes, texts and numbers are what may go in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.sql import ClauseElement


class Prepared:
    """A statement whose parameters are named."""

    def __init__(self, statement: ClauseElement, columns: Sequence[str] | None = None) -> None:
        self._statement = statement
        self._columns = columns
        self._compiled: dict[str, Any] = {}

    def rows(self, connection: Connection, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run it once; return all rows that it finds."""
        text, bind = self._for(connection)
        cursor = _cursor(connection)
        try:
            cursor.execute(text, bind(parameters))
            return list(cursor.fetchall())
        finally:
            cursor.close()

    def each(self, connection: Connection, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Run it for each of these."""
        if not parameters:
            return
        text, bind = self._for(connection)
        cursor = _cursor(connection)
        try:
            if len(parameters) == 1:
                cursor.execute(text, bind(parameters[0]))
            else:
                cursor.executemany(text, [bind(each) for each in parameters])
        finally:
            cursor.close()

    def _for(self, connection: Connection) -> Any:
        dialect = connection.dialect
        known = self._compiled.get(dialect.name)
        if known is None:
            compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
            known = self._compiled[dialect.name] = str(compiled), _binder(compiled)
        return known


def _binder(compiled: Any) -> Any:
    """Return what makes of named parameters those that the driver wants."""
    given = {name: value for name, value in compiled.params.items() if value is not None}
    if not compiled.positional:
        return lambda parameters: {**given, **parameters}
    names = list(compiled.positiontup)
    if not given:
        return lambda parameters: [parameters[name] for name in names]
    return lambda parameters: [parameters[name] if name in parameters else given[name] for name in names]


def _cursor(connection: Connection) -> Any:
    return connection.connection.cursor()  # the driver's own, in the transaction that SQLAlchemy began
