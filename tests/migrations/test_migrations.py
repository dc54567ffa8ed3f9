"""Migrating gives exactly the tables that the code knows, downwards and up again too."""

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from adapters.store.engine import downgrade, open_engine, upgrade
from adapters.store.tables import metadata


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = open_engine("sqlite://")
    yield engine
    engine.dispose()


def schema(engine: Engine) -> dict[str, str]:
    """What the database itself says that it holds, but for the revision's own table."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
    return {row.name: " ".join(row.sql.split()) for row in rows if row.name != "alembic_version"}


def test_migrating_up_gives_the_tables_of_the_code(engine: Engine) -> None:
    upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_a_migrated_database_is_to_the_letter_one_that_the_code_makes(engine: Engine) -> None:
    upgrade(engine)
    made = open_engine("sqlite://")
    metadata.create_all(made)
    assert schema(engine) == schema(made)
    made.dispose()


def test_down_to_the_ground_and_up_again_is_the_same(engine: Engine) -> None:
    upgrade(engine)
    before = schema(engine)
    downgrade(engine, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    upgrade(engine)
    assert schema(engine) == before
