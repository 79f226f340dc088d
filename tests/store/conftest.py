"""A fresh database per test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gridledger.store.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A migrated, empty database."""
    opened = Database(tmp_path / "node.db")
    yield opened
    opened.close()
