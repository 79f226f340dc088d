"""The OpenADR surface in a node."""

from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI

from gridledger.clock import Clock, SystemClock
from gridledger.mqtt.broker import OpenAdrBroker
from gridledger.openadr.application import BASE_PATH, create_openadr_application
from gridledger.openadr.context import MqttBinding, OpenAdrContext
from gridledger.openadr.tokens import Tokens
from gridledger.store.database import Database
from gridledger.webhooks.sealing import SecretBox
from gridledger.webhooks.targets import TargetGuard

__all__ = ["mount_openadr"]

KEY_FILE = "openadr.key"


def mount_openadr(
    application: FastAPI,
    *,
    database: Database,
    clock: Clock,
    keys: Path,
    guard: TargetGuard,
    box: SecretBox,
    public_url: str,
    changed: Callable[[], None],
    broker: OpenAdrBroker | None,
) -> None:
    """Serve the surface beside the node's own API; tokens are signed with a key in the folder `keys`."""
    base_url = public_url.rstrip("/") + BASE_PATH
    context = OpenAdrContext(
        database=database,
        clock=clock,
        tokens=Tokens(key_file=keys / KEY_FILE, issuer=base_url, clock=SystemClock()),
        guard=guard,
        box=box,
        base_url=base_url,
        changed=changed,
        mqtt=None if broker is None else MqttBinding(uris=(broker.client_url,), authentication=broker.authentication),
    )
    application.mount(BASE_PATH, create_openadr_application(context))
