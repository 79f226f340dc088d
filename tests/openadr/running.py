"""A node with OpenADR clients of both roles, served over real HTTP."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from tests.api.running import make_folder

from gridledger.app.node import Node, NodeFolder
from gridledger.app.openadr_clients import add_openadr_client
from gridledger.app.settings import NodeSettings
from gridledger.mqtt.broker import OpenAdrBroker
from gridledger.openadr.application import BASE_PATH
from gridledger.webhooks.targets import AllowList

__all__ = ["OPERATOR", "OTHER", "OWN_CALLBACK", "VEN", "Surface", "surface"]

OPERATOR, VEN, OTHER = "operator", "ven1", "ven2"
OWN_CALLBACK = "http://127.0.0.1:9/callback"  # allowed, and nobody listens there


@dataclass
class Surface:
    """The surface of a running node, and the clients' secrets and tokens."""

    node: Node
    folder: NodeFolder
    http: httpx.Client
    secrets: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the surface is reached."""
        return str(self.http.base_url).rstrip("/")

    def token(self, client_id: str) -> str:
        """A token of a client, with all its role has."""
        if client_id not in self.tokens:
            form = {
                "grant_type": "client_credentials",
                "client_id": client_id,
                "client_secret": self.secrets[client_id],
            }
            answer = self.http.post("/auth/token", data=form)
            assert answer.status_code == 200, answer.text
            self.tokens[client_id] = answer.json()["access_token"]
        return self.tokens[client_id]

    def ask(self, who: str, method: str, path: str, **more: Any) -> httpx.Response:
        """A client's request, whatever the answer."""
        return self.http.request(method, path, headers={"Authorization": f"Bearer {self.token(who)}"}, **more)

    def get(self, who: str, path: str, **params: Any) -> Any:
        """A good answer's content."""
        answer = self.ask(who, "GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, who: str, path: str, **content: Any) -> dict[str, Any]:
        """A new object."""
        answer = self.ask(who, "POST", path, json=content)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def program(self, name: str, **content: Any) -> str:
        """A new program's id."""
        return str(self.post(OPERATOR, "/programs", programName=name, **content)["id"])


@contextmanager
def surface(path: Path, keys: Path, broker: OpenAdrBroker | None = None) -> Iterator[Surface]:
    """A started node with an operator's client and two vens'."""
    folder = make_folder(path, keys)
    secrets = {
        client_id: add_openadr_client(path, client_id, role)["client_secret"]
        for client_id, role in ((OPERATOR, "bl"), (VEN, "ven"), (OTHER, "ven"))
    }
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = NodeSettings(public_url=url, webhook_allow=AllowList.parse("127.0.0.1"), openadr_broker=broker)
    node = Node(folder, simulated=True, settings=settings)
    node.start()
    config = uvicorn.Config(
        node.application, log_level="warning", access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="http")
    thread.start()
    try:
        with httpx.Client(base_url=url + BASE_PATH, trust_env=False, timeout=30) as client:
            yield Surface(node, folder, client, secrets)
    finally:
        server.should_exit = True
        thread.join()
        node.close()
