"""OpenADR notifications for the MQTT broker, in their order; how far it has come is kept in the database."""

import json
from collections.abc import Sequence

from gridledger.mqtt.publisher import Outgoing
from gridledger.openadr.notifications import Reader, notification_document
from gridledger.openadr.topics import notification_topics, topic_client
from gridledger.store.database import Database
from gridledger.store.openadr_model import Notification, ObjectKind
from gridledger.store.transaction import Transaction

__all__ = ["NotificationSource"]

_PER_TURN = 50
_PUBLIC_KINDS = (ObjectKind.PROGRAM, ObjectKind.EVENT)


class NotificationSource:
    """Implements `mqtt.publisher.MessageSource`."""

    def __init__(self, database: Database, *, cursor: str, broker_knows_clients: bool) -> None:
        """`cursor` is the name under which the node remembers how far it has come."""
        self._database = database
        self._cursor = cursor
        self._broker_knows_clients = broker_knows_clients

    def waiting(self) -> tuple[Sequence[Outgoing], int | None]:
        """The next notifications as messages, and the id of the last; those nobody may be told are passed over."""
        with self._database.read() as tx:
            news = tx.openadr.notifications_after(tx.directory.fact(self._cursor) or 0, _PER_TURN)
            messages = [message for one in news for message in self._messages(tx, one)]
        return messages, news[-1].id if news else None

    def keep(self, cursor: int) -> None:
        """Everything up to the notification was taken."""
        with self._database.write() as tx:
            tx.directory.set_fact(self._cursor, cursor)

    def _messages(self, tx: Transaction, told: Notification) -> list[Outgoing]:
        """A ven's own topic hides the targets that were granted to others."""
        public = told.kind in _PUBLIC_KINDS and not told.targets
        if not public and not self._broker_knows_clients:
            return []
        readers = tx.openadr.vens_with(told.targets) if told.kind in _PUBLIC_KINDS and told.targets else ()
        messages = []
        for topic in notification_topics(told, readers):
            reader = _reader(tx, topic)
            document = notification_document(told, reader)
            payload = json.dumps(document, separators=(",", ":")).encode()
            messages.append(Outgoing(id=told.id, topic=topic, payload=payload))
        return messages


def _reader(tx: Transaction, topic: str) -> Reader | None:
    """Whom a topic is for, None if for business logic or everybody."""
    client_id = topic_client(topic)
    if client_id is None:
        return None
    return Reader(client_id=client_id, sees_all=False, granted=tx.openadr.targets_of(client_id))
