"""From a meter's `mosquitto_pub` to money: the whole way, by a real broker and a real node."""

import shutil
from pathlib import Path

from tests.api.running import BUY_METER, BUYER, EUR, MTU_LENGTH_S, MTU_START, SELL_METER, SELLER, Onboarded, served
from tests.mqtt.broker import Broker, observing, publish, wait_until

from gridledger.app import export
from gridledger.app.audit_run import audit
from gridledger.app.node import NodeFolder
from gridledger.app.settings import NodeSettings


def test_a_reading_posted_by_mosquitto_pub_settles_also_if_the_node_was_away(
    broker: Broker, onboarded: Onboarded, tmp_path: Path
) -> None:
    ground, folder = broker.ground, NodeFolder(tmp_path / "data")
    settings = NodeSettings(mqtt=ground.settings)
    shutil.copytree(onboarded.folder.path, folder.path)
    with observing(ground) as observer:
        with served(folder, settings=settings) as node:
            node.nonces = dict(onboarded.nonces)
            node.pair()
            node.answer()
            node.advance(MTU_START + MTU_LENGTH_S)
            wait_until(lambda: node.http.get("/readyz").status_code == 200)
            sold, bought = node.reading(SELL_METER, 580), node.reading(BUY_METER, -600)
            _publish(broker, SELL_METER, sold)
            assert observer.results(SELL_METER) == ["accepted"]
        _publish(broker, BUY_METER, bought)
        with served(folder, settings=settings) as node:
            assert observer.results(BUY_METER) == ["accepted"]
            node.work()
            assert node.mtu()["phase"] == "settled"
            assert node.free(SELLER) == 10 * EUR + 600 * 15_000 - 20 * 32_500
            assert node.free(BUYER) == 10 * EUR - 600 * 16_000
            _publish(broker, BUY_METER, bought)
            assert observer.results(BUY_METER) == ["duplicate"]
            assert len(node.memory()["meter_reading"]) == 2
    export.export_run(folder.path, tmp_path / "export", lambda *_: None)
    report = audit(tmp_path / "export", None, lambda *_: None)
    assert report.ok, report.mismatches


def _publish(broker: Broker, meter: int, text: str) -> None:
    device = broker.ground.device(meter)
    assert publish(broker.ground, device, f"meters/{meter}/readings", text.encode()).returncode == 0
