"""One node for a file's tests: they make objects of names of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api.running import make_keys
from tests.openadr.running import Surface, surface


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keystore with every role's key."""
    return make_keys(tmp_path_factory.mktemp("keystore") / "keys")


@pytest.fixture(scope="module")
def vtn(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Surface]:
    """A running node with OpenADR clients."""
    with surface(tmp_path_factory.mktemp("openadr") / "data", keys) as running:
        yield running
