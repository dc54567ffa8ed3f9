"""Many writes in few statements leave what they would leave one by one."""

import re
from decimal import Decimal

import pytest
from hypothesis import given, settings
from sqlalchemy import select

from adapters.store.projections import Op, Write, project
from adapters.store.tables import meta
from adapters.store.upserts import ROWS, _groups, _statement, apply
from core.events import Event
from core.orders import OrdStatus
from tests.adapters.store import examples
from tests.adapters.store.support import SEQUENCES, contents, database, isolated


@pytest.mark.usefixtures("both")
@settings(max_examples=40)
@given(SEQUENCES)
@isolated
def test_grouped_writes_equal_writes_one_by_one(entries: list[tuple[int, Event]]) -> None:
    writes = [write for seq, event in entries for write in project(seq, event)]
    grouped, single = database(), database()
    with grouped.begin() as connection:
        apply(connection, writes)
    with single.begin() as connection:
        for write in writes:
            apply(connection, [write])
    assert contents(grouped) == contents(single)


def test_children_that_move_in_turn_share_two_statements() -> None:
    events: list[Event] = []
    for i in range(50):
        events += [examples.approved(i, f"C{i}"), examples.updated(i, f"C{i}", OrdStatus.NEW, Decimal(0))]
    writes = [write for seq, event in enumerate(events) for write in project(seq, event)]
    orders = [(op, len(rows)) for (table, op, _), rows in _groups(writes) if table.name == "orders"]
    assert orders == [(Op.INSERT, 50), (Op.UPSERT, 50)]


def test_a_key_written_by_another_kind_in_between_is_not_overtaken() -> None:
    upsert, insert = (Write(meta, op, {"key": "k", "value": op.value}) for op in (Op.UPSERT, Op.INSERT))
    assert [op for (_, op, _), _ in _groups([upsert, insert, upsert])] == [Op.UPSERT, Op.INSERT, Op.UPSERT]


@pytest.mark.parametrize(
    "dialect,op,sql",
    [
        ("sqlite", Op.INSERT, 'INSERT INTO meta ("key", value) VALUES (?, ?) ON CONFLICT ("key") DO NOTHING'),
        (
            "postgresql",
            Op.UPSERT,
            (
                "INSERT INTO meta (key, value) VALUES ($1::VARCHAR, $2::VARCHAR) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
            ),
        ),
    ],
)
def test_a_statement_is_spelled_for_its_database(dialect: str, op: Op, sql: str) -> None:
    statement = _statement(dialect, meta, op, ("value", "key"))
    assert statement.columns == ("key", "value")
    assert list(statement._sizes) == list(ROWS)
    assert statement._sizes[1] == sql


def test_the_rows_of_a_statement_are_numbered_through() -> None:
    sql = _statement("postgresql", meta, Op.INSERT, ("key", "value"))._sizes[8]
    assert re.findall(r"\$\d+", sql) == [f"${n}" for n in range(1, 17)]
    assert sql.count("VALUES") == 1


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("count", [0, 1, 7, 8, 63, 64, 65, 200])
def test_any_number_of_rows_is_written(count: int) -> None:
    engine = database()
    with engine.begin() as connection:
        rows = [(f"k{i}", str(i)) for i in range(count)]
        _statement(engine.dialect.name, meta, Op.INSERT, ("key", "value")).run(connection, rows)
        found = connection.execute(select(meta.c.key, meta.c.value)).all()
    assert sorted(map(tuple, found)) == sorted(rows)
