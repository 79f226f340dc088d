"""Keys are made once; every node of these tests gets a copy."""

from pathlib import Path

import pytest
from tests.api.running import make_keys


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keystore with every role's key."""
    return make_keys(tmp_path_factory.mktemp("keystore") / "keys")
