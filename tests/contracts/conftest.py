"""A freshly deployed market for every test; deploying takes a few dozen milliseconds."""

import pytest
from tests.contracts.harness import Market


@pytest.fixture
def market() -> Market:
    """The market an hour before the first MTU."""
    return Market()
