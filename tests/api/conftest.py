"""Keys and one market with members are made once; every node of these tests gets a copy."""

from pathlib import Path

import pytest
from tests.api.running import Onboarded, make_keys, make_onboarded


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keystore with every role's key."""
    return make_keys(tmp_path_factory.mktemp("keystore") / "keys")


@pytest.fixture(scope="session")
def onboarded(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Onboarded:
    """A stopped market with two members."""
    return make_onboarded(tmp_path_factory.mktemp("onboarded") / "data", keys)
