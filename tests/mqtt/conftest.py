"""Keys, one market with two members and one broker's folder are made once."""

from collections.abc import Iterator

import pytest
from tests.api.running import MTU_START, Onboarded, RunningNode, make_keys, make_onboarded
from tests.mqtt.broker import Broker, Ground, Observer, make_ground, observing, running, wait_until

from gridledger.app.settings import NodeSettings


@pytest.fixture(scope="session")
def onboarded(tmp_path_factory: pytest.TempPathFactory) -> Onboarded:
    """A stopped market with two members."""
    keys = make_keys(tmp_path_factory.mktemp("keystore") / "keys")
    return make_onboarded(tmp_path_factory.mktemp("onboarded") / "data", keys)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """An authority, a broker's configuration, and devices."""
    return make_ground(tmp_path_factory.mktemp("ground"))


@pytest.fixture(scope="module")
def broker(ground: Ground) -> Iterator[Broker]:
    """A broker for all tests of a file."""
    with running(ground) as broker:
        yield broker


@pytest.fixture(scope="module")
def node(broker: Broker, onboarded: Onboarded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A connected node for all tests of a file, two days into its market."""
    settings = NodeSettings(mqtt=broker.ground.settings)
    with onboarded.served(tmp_path_factory.mktemp("node") / "data", settings) as node:
        node.advance(MTU_START + 2 * 86_400)
        wait_until(lambda: node.http.get("/readyz").status_code == 200)
        yield node


@pytest.fixture
def observer(broker: Broker) -> Iterator[Observer]:
    """Who hears all outcomes."""
    with observing(broker.ground) as observer:
        yield observer
