"""Columns keep every digit, and the same tables serve both databases."""

from decimal import Decimal

import pytest
from sqlalchemy import insert, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from adapters.store.tables import journal, metadata, positions
from tests.adapters.store.support import database


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("text", ["0.1", "1E+3", "-0.00", "123456789012345678901234567890.123456789", "1E-30"])
def test_a_decimal_keeps_its_digits(text: str) -> None:
    engine = database()
    zero = dict.fromkeys(("avg_px", "realized_pnl", "fees"), Decimal(0))
    row = {"strategy": "s", "symbol": "A", "qty": Decimal(text), **zero, "updated": 1}
    with engine.begin() as connection:
        connection.execute(insert(positions), row)
        assert str(connection.execute(select(positions.c.qty)).scalar_one()) == text


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_a_table_can_be_made_on_postgresql(table) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    ddl = [str(CreateTable(table).compile(dialect=dialect))]
    ddl += [str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes]
    assert not any(word in "".join(ddl) for word in ("SERIAL", "NUMERIC", "FLOAT"))
    assert "".join(ddl).count("WHERE") == (2 if table is journal else 0)
