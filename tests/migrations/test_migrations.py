"""Migrating gives exactly the tables that the code knows, downwards and up again too, on both databases."""

from collections.abc import Callable, Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from adapters.store.engine import downgrade, open_engine, upgrade
from adapters.store.tables import metadata
from tests.servers.postgres import Server

New = Callable[[], Engine]


@pytest.fixture(params=["sqlite", "postgresql"])
def new(request: pytest.FixtureRequest) -> Iterator[New]:
    """Opens databases without tables."""
    opened: list[Engine] = []

    def open_new() -> Engine:
        if request.param == "sqlite":
            opened.append(open_engine("sqlite://"))
        else:
            server: Server = request.getfixturevalue("postgres")
            opened.append(open_engine(server.url(server.create())))
        return opened[-1]

    yield open_new
    for engine in opened:
        engine.dispose()


# What a database itself says that it holds, but for the revision's own table.
_SAYS = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'alembic_version'",
    "postgresql": """
        SELECT attrelid::regclass || '.' || attname, format_type(atttypid, atttypmod) || ' ' || attnotnull::text
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname != 'alembic_version' AND attnum > 0
        UNION ALL SELECT indexname, indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND tablename != 'alembic_version'
        UNION ALL SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text != 'alembic_version'
    """,
}


def schema(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        return {name: " ".join(said.split()) for name, said in connection.execute(text(_SAYS[engine.dialect.name]))}


def test_migrating_up_gives_the_tables_of_the_code(new: New) -> None:
    engine = new()
    upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_a_migrated_database_is_to_the_letter_one_that_the_code_makes(new: New) -> None:
    engine, made = new(), new()
    upgrade(engine)
    metadata.create_all(made)
    assert schema(engine) == schema(made)
    assert len(schema(engine)) > len(metadata.tables)


def test_down_to_the_ground_and_up_again_is_the_same(new: New) -> None:
    engine = new()
    upgrade(engine)
    before = schema(engine)
    downgrade(engine, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    upgrade(engine)
    assert schema(engine) == before
