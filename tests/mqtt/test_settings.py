"""Which broker a node listens to, what keeps it from starting, and that without one nothing of it is loaded."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from tests.api.running import Onboarded
from tests.mqtt.broker import meter_command

from gridledger.app.node_process import NodeProcess
from gridledger.app.settings import NodeSettings
from gridledger.cli.key_files import load_key, write_key
from gridledger.mqtt.errors import MqttSettingMissing, MqttTlsUnusable, MqttUrlMalformed
from gridledger.mqtt.settings import MqttSettings, TlsFiles

FILES = {
    "GRIDLEDGER_MQTT_CA": "ca.pem",
    "GRIDLEDGER_MQTT_CERTIFICATE": "node.pem",
    "GRIDLEDGER_MQTT_KEY": "node.key",
}
TLS = TlsFiles(ca=Path("ca.pem"), certificate=Path("node.pem"), key=Path("node.key"))


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("mqtts://broker.example:8884", "broker.example", 8884, TLS),
        ("mqtts://broker.example", "broker.example", 8883, TLS),
        ("mqtts://[2001:db8::1]:8883/", "2001:db8::1", 8883, TLS),
        ("mqtt://127.0.0.1:1884", "127.0.0.1", 1884, None),
        ("mqtt://localhost", "localhost", 1883, None),
        ("mqtt://[::1]", "::1", 1883, None),
    ],
)
def test_a_broker_is_named_by_its_url(url: str, host: str, port: int, tls: TlsFiles | None) -> None:
    settings = NodeSettings.from_environment({"GRIDLEDGER_MQTT_URL": url, **FILES}, listens_at="http://127.0.0.1:1")
    assert settings.mqtt == MqttSettings(host=host, port=port, tls=tls)


@pytest.mark.parametrize("environment", [{}, {"GRIDLEDGER_MQTT_URL": ""}, FILES])
def test_without_a_url_there_is_no_broker(environment: dict[str, str]) -> None:
    assert MqttSettings.from_environment(environment) is None


@pytest.mark.parametrize(
    "url",
    [
        "broker.example",
        "https://broker.example",
        "mqtts://",
        "mqtts://broker.example:0",
        "mqtts://broker.example:70000",
        "mqtts://broker.example:x",
        "mqtts://node:secret@broker.example",
        "mqtts://broker.example/meters",
        "mqtts://broker.example?x=1",
        "mqtt://broker.example",
        "mqtt://10.0.0.1",
        "mqtt://localhost.example",
    ],
)
def test_a_url_that_is_no_broker_s_or_would_leave_this_machine_without_tls_is_refused(url: str) -> None:
    with pytest.raises(MqttUrlMalformed) as refused:
        MqttSettings.from_environment({"GRIDLEDGER_MQTT_URL": url, **FILES})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", FILES)
def test_tls_needs_all_three_files(name: str) -> None:
    with pytest.raises(MqttSettingMissing) as missing:
        MqttSettings.from_environment({"GRIDLEDGER_MQTT_URL": "mqtts://b", **FILES, name: ""})
    assert missing.value.name == name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A broker's folder, made by commands."""
    path = tmp_path_factory.mktemp("files")
    meter_command("ca", "--out", path / "ca")
    meter_command("broker-config", "--ca", path / "ca", "--out", path / "broker", "--host", "broker.example")
    write_key(path / "another.key", generate_private_key(SECP256R1()))
    write_key(path / "encrypted.key", load_key(path / "broker" / "node.key"), b"password")
    (path / "garbage.pem").write_text("no certificate")
    return path


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"ca": "nowhere.pem"}, "GRIDLEDGER_MQTT_CA"),
        ({"ca": "garbage.pem"}, "GRIDLEDGER_MQTT_CA"),
        ({"certificate": "garbage.pem"}, "GRIDLEDGER_MQTT_CERTIFICATE, GRIDLEDGER_MQTT_KEY"),
        ({"certificate": "nowhere.pem"}, "GRIDLEDGER_MQTT_CERTIFICATE, GRIDLEDGER_MQTT_KEY"),
        ({"key": "another.key"}, "GRIDLEDGER_MQTT_CERTIFICATE, GRIDLEDGER_MQTT_KEY"),
        ({"key": "encrypted.key"}, "GRIDLEDGER_MQTT_CERTIFICATE, GRIDLEDGER_MQTT_KEY"),
    ],
)
def test_files_that_cannot_be_used_are_a_typed_error(folder: Path, changes: dict[str, str], setting: str) -> None:
    files = _files(folder)
    TlsFiles(**files).context()
    with pytest.raises(MqttTlsUnusable) as unusable:
        TlsFiles(**files | {name: folder / file for name, file in changes.items()}).context()
    assert unusable.value.setting == setting
    assert str(folder) not in str(unusable.value)


def test_a_node_does_not_start_on_tls_files_that_cannot_be_used(
    folder: Path, onboarded: Onboarded, tmp_path: Path
) -> None:
    files = TlsFiles(**_files(folder) | {"key": folder / "another.key"})
    settings = NodeSettings(mqtt=MqttSettings(host="127.0.0.1", port=8883, tls=files))
    with pytest.raises(MqttTlsUnusable), onboarded.served(tmp_path / "data", settings):
        pass


def test_a_node_without_a_broker_loads_no_mqtt_client() -> None:
    code = "import gridledger.app.main, sys; print(sorted(name for name in sys.modules if 'mqtt' in name))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert loaded.strip() == str([f"gridledger.mqtt{module}" for module in ("", ".broker", ".errors", ".settings")])


def test_a_replay_s_node_does_not_take_what_a_broker_holds_for_the_running_market(
    onboarded: Onboarded, tmp_path: Path
) -> None:
    """With the setting it would not even start: the files are nowhere."""
    shutil.copytree(onboarded.folder.path, tmp_path / "data")
    environment = os.environ | {"GRIDLEDGER_MQTT_URL": "mqtts://127.0.0.1:9", **FILES}
    with NodeProcess(tmp_path / "data", environment) as node:
        assert node.base_url


def _files(folder: Path) -> dict[str, Any]:
    broker = folder / "broker"
    return {"ca": broker / "ca.pem", "certificate": broker / "node.pem", "key": broker / "node.key"}
