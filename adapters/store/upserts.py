"""Row operations as SQL: each kind of write is one prepared statement, and many rows go through it at once.

Many rows are one statement with many VALUES, not many runs of one statement: sqlite3 hands the interpreter lock over at
every run, and while the event loop computes, each hand-over makes the writer's thread wait for a switch interval.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain, count
from typing import Any

from sqlalchemy import Connection, Table, literal_column
from sqlalchemy.dialects import postgresql, sqlite

from adapters.store import postgres, tables
from adapters.store.projections import Op, Write

# An upsert passes over rows for which this is false: a repeat of an accepted signal does not make it an ignored one.
_CHANGEABLE = {tables.signals: tables.signals.c.state != literal_column("'accepted'")}

# Positional parameters, so that both drivers take the same tuples. PostgreSQL's get their numbers by `_numbered`.
_DIALECTS: dict[str, Any] = {
    "sqlite": sqlite.dialect(paramstyle="qmark"),
    "postgresql": postgresql.dialect(paramstyle="format"),  # type: ignore[no-untyped-call]  # ships half typed
}
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

_Kind = tuple[Table, Op, tuple[str, ...]]


ROWS = (64, 8, 1)  # of one statement; few sizes, so that the drivers' caches hold them all


class Statement:
    """An INSERT that takes any number of rows, as tuples in the order of `columns`."""

    __slots__ = ("_execute", "_sizes", "columns")

    def __init__(self, dialect: str, sql: str, columns: tuple[str, ...]) -> None:
        head, row, tail = re.fullmatch(r"(.*? VALUES )(\(.*?\))(.*)", sql, re.DOTALL).groups()  # type: ignore[union-attr]
        self._sizes = {size: _numbered(head + ", ".join([row] * size) + tail) for size in ROWS}
        self._execute = postgres.execute if dialect == "postgresql" else Connection.exec_driver_sql
        self.columns = columns

    def run(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert the rows."""
        start = 0
        for size, sql in self._sizes.items():
            while len(rows) - start >= size:
                self._execute(connection, sql, tuple(chain.from_iterable(rows[start : start + size])))
                start += size


def _numbered(sql: str) -> str:
    """The statement with `$1` and on for each `%s`; SQLite has none of those."""
    numbers = count(1)
    return re.sub("%s", lambda _: f"${next(numbers)}", sql)


def insertion(table: Table, dialect: str) -> Statement:
    """INSERT of whole rows, values in the order of the table's columns."""
    sql = str(_INSERTS[dialect](table).compile(dialect=_DIALECTS[dialect]))
    return Statement(dialect, sql, tuple(table.columns.keys()))


def apply(connection: Connection, writes: Iterable[Write]) -> None:
    """Write the rows; what is written to one key stays in order."""
    for (table, op, columns), rows in _groups(_merged(writes)):
        statement = _statement(connection.dialect.name, table, op, columns)
        statement.run(connection, [tuple(values[name] for name in statement.columns) for values in rows])


def _merged(writes: Iterable[Write]) -> Iterable[Write]:
    """One write a key for what one transaction writes to it several times: nobody could have seen the ones between.

    Where an upsert follows the insert of a key, both become one upsert: it says again what the insert said.
    """
    merged: dict[tuple[Any, ...], Write] = {}
    for number, write in enumerate(writes):
        table, op, values = write
        if table in _CHANGEABLE:  # its rows may refuse a write: all of them go through
            merged[number,] = write
            continue
        key = (table, *(values[name] for name in _key(table)))
        before = merged.get(key)
        if before is None:
            merged[key] = write
        elif op is Op.UPSERT:
            merged[key] = Write(table, op, before.values | values)
    return merged.values()


def _groups(writes: Iterable[Write]) -> list[tuple[_Kind, list[dict[str, Any]]]]:
    """Runs of one kind of write, few of them: a write joins the newest of its kind if its key is not there or later.

    One statement must not touch a key twice: PostgreSQL refuses that.
    """
    groups: list[tuple[_Kind, list[dict[str, Any]]]] = []
    newest: dict[_Kind, int] = {}
    touched: dict[tuple[Any, ...], int] = {}
    for table, op, values in writes:
        kind = (table, op, tuple(values))
        key = (table, *(values[name] for name in _key(table)))
        at = newest.get(kind, -1)
        if at <= touched.get(key, -1):
            at = newest[kind] = len(groups)
            groups.append((kind, []))
        groups[at][1].append(values)
        touched[key] = at
    return groups


@cache
def _key(table: Table) -> tuple[str, ...]:
    return tuple(table.primary_key.columns.keys())


@cache
def _statement(dialect: str, table: Table, op: Op, columns: tuple[str, ...]) -> Statement:
    insert = _INSERTS[dialect](table)
    changed = {name: insert.excluded[name] for name in columns if name not in _key(table)}
    if op is Op.INSERT:
        insert = insert.on_conflict_do_nothing(index_elements=_key(table))
    else:
        insert = insert.on_conflict_do_update(index_elements=_key(table), set_=changed, where=_CHANGEABLE.get(table))
    compiled = insert.compile(dialect=_DIALECTS[dialect], column_keys=columns)
    return Statement(dialect, str(compiled), tuple(compiled.positiontup))
