"""Databases that a test opened are closed behind it."""

from collections.abc import Iterator

import pytest

from tests.adapters.store.support import close_databases


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_databases()
