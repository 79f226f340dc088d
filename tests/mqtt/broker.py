"""A real mosquitto, set up by the product's own commands, and devices that use mosquitto's own clients."""

import json
import os
import queue
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner

from gridledger.cli.key_files import load_certificate, load_key, write_key
from gridledger.cli.meters import add_meter_commands
from gridledger.metering.certificates import Authority, certificate_request
from gridledger.mqtt.settings import MqttSettings, TlsFiles

HOST = "127.0.0.1"
OBSERVER = 4_000_000_000
PATIENCE_S = 20.0
_PATH = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"


def program(name: str) -> str:
    """A program of mosquitto; without it the test is skipped, or fails where the servers must be there."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        missing = f"{name} is not installed; scripts/install_servers.sh installs it"
        if os.environ.get("CI_REQUIRES_SERVERS") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def meter_command(*arguments: object) -> str:
    """Run `gridledger meter ...`; returns what it prints."""
    nothing: Any = None
    cli = typer.Typer()
    add_meter_commands(cli, nothing)
    result = CliRunner().invoke(cli, [str(one) for one in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@dataclass(frozen=True)
class Identity:
    """What a client shows: its key, its certificate."""

    key: Path
    certificate: Path


@dataclass(frozen=True)
class Ground:
    """A folder with an authority, a broker's configuration and the node's files, all made by commands."""

    path: Path
    port: int

    @property
    def ca(self) -> Path:
        return self.path / "ca"

    @property
    def broker(self) -> Path:
        return self.path / "broker"

    @property
    def settings(self) -> MqttSettings:
        """Those of a node at this broker."""
        files = TlsFiles(ca=self.broker / "ca.pem", certificate=self.broker / "node.pem", key=self.broker / "node.key")
        return MqttSettings(host=HOST, port=self.port, tls=files)

    @property
    def authority(self) -> Authority:
        return Authority(certificate=load_certificate(self.ca / "ca.pem"), key=load_key(self.ca / "ca.key"))

    def device(self, meter: int) -> Identity:
        """A device with a key of its own and a certificate of the authority, both by commands."""
        identity, request = self._identity(f"device-{meter}"), self.path / f"device-{meter}.csr"
        if not identity.key.exists():
            meter_command("keygen", "--out", identity.key, "--meter", meter, "--request", request)
            at = ("--ca", self.ca, "--meter", meter)
            meter_command("certify", "--request", request, "--out", identity.certificate, *at)
        return identity

    def signed(self, name: str, authority: Authority, meter: int, now: int, days: int) -> Identity:
        """A device's identity by any authority, for any time."""
        identity, key = self._identity(name), generate_private_key(SECP256R1())
        write_key(identity.key, key)
        certificate = authority.for_device(certificate_request(meter, key), meter, now, days)
        return self._with(identity, certificate)

    def _with(self, identity: Identity, certificate: x509.Certificate) -> Identity:
        identity.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
        return identity

    def _identity(self, name: str) -> Identity:
        return Identity(self.path / f"{name}.key", self.path / f"{name}.pem")


def make_ground(path: Path) -> Ground:
    """An authority and a broker's folder for a free port; meter `OBSERVER` may read all outcomes besides."""
    program("mosquitto")
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    user = ("--user", "root") if os.getuid() == 0 else ()
    meter_command("ca", "--out", path / "ca")
    where = ("--host", HOST, "--host", "localhost", "--port", port, "--listen", HOST)
    meter_command("broker-config", "--ca", path / "ca", "--out", path / "broker", *where, *user)
    with (path / "broker" / "acl").open("a") as acl:
        acl.write(f"\nuser {OBSERVER}\ntopic read meters/+/outcomes\n")
    return Ground(path, port)


class Broker:
    """One mosquitto process at a time."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        command = [program("mosquitto"), "-v", "-c", str(self.ground.broker / "mosquitto.conf")]
        with (self.ground.path / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._listens)

    def stop(self) -> None:
        """End in good order, with everything saved."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self) -> str:
        """What it has said so far."""
        return (self.ground.path / "broker.log").read_text()

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            socket.create_connection((HOST, self.ground.port), timeout=1).close()
        except OSError:
            return False
        return True


@contextmanager
def running(ground: Ground) -> Iterator[Broker]:
    """A broker for the time of a test."""
    broker = Broker(ground)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@contextmanager
def anonymous_broker(folder: Path, at_port: int = 0) -> Iterator[tuple[int, Path]]:
    """A mosquitto of this machine that lets everybody in; its port and log."""
    mosquitto = program("mosquitto")
    with socket.create_server((HOST, at_port)) as probe:
        port: int = probe.getsockname()[1]
    configuration, log = folder / "mosquitto.conf", folder / "mosquitto.log"
    configuration.write_text(f"listener {port} {HOST}\nallow_anonymous true\npersistence false\n")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [mosquitto, "-v", "-c", str(configuration)], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        wait_until(lambda: "running" in log.read_text())
        yield port, log
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def publish(
    ground: Ground, identity: Identity | None, topic: str, payload: bytes, *more: str, each_line: bool = False
) -> subprocess.CompletedProcess[bytes]:
    """`mosquitto_pub` at QoS 1; its exit status says that the broker took it, not that anybody may hear it."""
    command = [*_client(ground, identity, "mosquitto_pub"), "-t", topic, "-l" if each_line else "-s", *more]
    return subprocess.run(command, input=payload, capture_output=True, timeout=PATIENCE_S, check=False)


def publish_and_hear(ground: Ground, identity: Identity, meter: int, text: str) -> tuple[str, str, dict[str, Any]]:
    """`mosquitto_rr`: publish a text and wait for what became of it, on the device's one connection.

    Returns the answer's content type, correlation data (`it` was given) and document.
    """
    command = [*_client(ground, identity, "mosquitto_rr"), "-V", "mqttv5", "-m", text, "-F", "%C %D %p"]
    command += ["-t", f"meters/{meter}/readings", "-e", f"meters/{meter}/outcomes", "-W", "10"]
    command += ["-D", "publish", "correlation-data", "it"]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True)
    content_type, correlation, document = done.stdout.decode().split(" ", 2)
    return content_type, correlation, json.loads(document)


def _client(ground: Ground, identity: Identity | None, name: str) -> list[str]:
    command = [program(name), "-h", HOST, "-p", str(ground.port), "--cafile", str(ground.ca / "ca.pem"), "-q", "1"]
    if identity is not None:
        command += ["--cert", str(identity.certificate), "--key", str(identity.key)]
    return command


@dataclass
class Observer:
    """Outcomes of all meters, in the order of their publication."""

    heard: "queue.Queue[tuple[int, dict[str, Any]]]" = field(default_factory=queue.Queue)

    def next(self, meter: int) -> dict[str, Any]:
        """The next outcome; it must be this meter's."""
        found, document = self.heard.get(timeout=PATIENCE_S)
        assert found == meter, document
        return document

    def results(self, meter: int) -> list[str]:
        """Of the next outcome: each status, or the code of the problem."""
        return [outcome(result) for result in self.next(meter)["results"]]


def outcome(result: dict[str, Any]) -> str:
    """The status, or why it is not accepted."""
    problem = result.get("problem")
    return str(result["status"] if problem is None else problem["type"].removeprefix("urn:gridledger:problem:"))


@contextmanager
def observing(ground: Ground) -> Iterator[Observer]:
    """`mosquitto_sub` on all outcomes, subscribed before the test goes on."""
    observer = Observer()
    client = _client(ground, ground.device(OBSERVER), "mosquitto_sub")
    begin = [*client, "-c", "-i", "any", "-t", "meters/+/outcomes"]
    subprocess.run([*begin, "-E"], check=True, capture_output=True, timeout=PATIENCE_S)
    process = subprocess.Popen([*begin, "-F", "%t %p"], stdout=subprocess.PIPE, text=True)

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            topic, _, document = line.partition(" ")
            observer.heard.put((int(topic.split("/")[1]), json.loads(document)))

    thread = threading.Thread(target=listen, name="observer")
    thread.start()
    try:
        yield observer
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        thread.join(PATIENCE_S)
        assert process.stdout is not None
        process.stdout.close()


def wait_until(happened: Any) -> None:
    """Poll within bounds."""
    deadline, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.02)
