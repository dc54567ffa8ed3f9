"""The story's report, read once."""

import pytest

from adapters.report.data import RunReport, load
from tests.adapters.report import story


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    """The report of the whole story."""
    tape_dir = tmp_path_factory.mktemp("tape")
    engine = story.record(story.entries(), tape_dir)
    try:
        return load(engine, tape_dir)
    finally:
        engine.dispose()
