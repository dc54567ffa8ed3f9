"""Row operations as SQL: each kind of write is one prepared statement, and many rows go through it at once."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table, literal_column
from sqlalchemy.dialects import postgresql, sqlite

from adapters.store import tables
from adapters.store.projections import Op, Write

# An upsert passes over rows for which this is false: a repeat of an accepted signal does not make it an ignored one.
_CHANGEABLE = {tables.signals: tables.signals.c.state != literal_column("'accepted'")}

# Positional parameters, so that both drivers take the same tuples.
_DIALECTS: dict[str, Any] = {
    "sqlite": sqlite.dialect(paramstyle="qmark"),
    "postgresql": postgresql.dialect(paramstyle="format"),  # type: ignore[no-untyped-call]  # ships half typed
}
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

_Kind = tuple[Table, Op, tuple[str, ...]]


def insertion(table: Table, dialect: str) -> str:
    """INSERT of whole rows, values in the order of the table's columns."""
    return str(_INSERTS[dialect](table).compile(dialect=_DIALECTS[dialect]))


def apply(connection: Connection, writes: Iterable[Write]) -> None:
    """Write the rows; what is written to one key stays in order."""
    for (table, op, columns), rows in _groups(_merged(writes)):
        sql, order = _statement(connection.dialect.name, table, op, columns)
        connection.exec_driver_sql(sql, [tuple(values[name] for name in order) for values in rows])


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
    """Runs of one kind of write, few of them: a write joins the newest run of its kind unless its key came after it."""
    groups: list[tuple[_Kind, list[dict[str, Any]]]] = []
    newest: dict[_Kind, int] = {}
    touched: dict[tuple[Any, ...], int] = {}
    for table, op, values in writes:
        kind = (table, op, tuple(values))
        key = (table, *(values[name] for name in _key(table)))
        at = newest.get(kind, -1)
        if at < touched.get(key, 0):
            at = newest[kind] = len(groups)
            groups.append((kind, []))
        groups[at][1].append(values)
        touched[key] = at
    return groups


@cache
def _key(table: Table) -> tuple[str, ...]:
    return tuple(table.primary_key.columns.keys())


@cache
def _statement(dialect: str, table: Table, op: Op, columns: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """SQL and the order of its parameters."""
    insert = _INSERTS[dialect](table)
    changed = {name: insert.excluded[name] for name in columns if name not in _key(table)}
    if op is Op.INSERT:
        insert = insert.on_conflict_do_nothing(index_elements=_key(table))
    else:
        insert = insert.on_conflict_do_update(index_elements=_key(table), set_=changed, where=_CHANGEABLE.get(table))
    compiled = insert.compile(dialect=_DIALECTS[dialect], column_keys=columns)
    return str(compiled), tuple(compiled.positiontup)
