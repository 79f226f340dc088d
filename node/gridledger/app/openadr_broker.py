"""OpenADR notifications for the MQTT broker, in their order; how far it has come is kept in the database."""

import json
from collections.abc import Sequence

from gridledger.mqtt.publisher import Outgoing
from gridledger.openadr.notifications import Reader, notification_document
from gridledger.openadr.topics import is_public, shared_topics, ven_topic
from gridledger.store.database import Database
from gridledger.store.openadr_model import Notification, ObjectKind
from gridledger.store.transaction import Transaction

__all__ = ["NotificationSource"]

_PER_TURN = 50


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

    def _messages(self, tx: Transaction, notification: Notification) -> list[Outgoing]:
        topics = shared_topics(notification, broker_knows_clients=self._broker_knows_clients)
        messages = [Outgoing(topic=topic, payload=_payload(notification, None)) for topic in topics]
        if self._broker_knows_clients and not is_public(notification):
            for client_id, ven_id in _vens(tx, notification):
                reader = Reader(client_id=client_id, sees_all=False, granted=tx.openadr.targets_of(client_id))
                topic = ven_topic(notification, client_id, ven_id)
                messages.append(Outgoing(topic=topic, payload=_payload(notification, reader)))
        return messages


def _payload(notification: Notification, reader: Reader | None) -> bytes:
    return json.dumps(notification_document(notification, reader), separators=(",", ":")).encode()


def _vens(tx: Transaction, notification: Notification) -> tuple[tuple[str, str], ...]:
    """Client and id of the vens that the changed object concerns."""
    if notification.kind in (ObjectKind.PROGRAM, ObjectKind.EVENT):
        return tx.openadr.vens_with(notification.targets)
    if notification.client_id is None:
        return ()
    if notification.kind is ObjectKind.VEN:
        return ((notification.client_id, notification.object_id),)
    if notification.kind is ObjectKind.RESOURCE:
        return ((notification.client_id, notification.object["venID"]),)
    return ()
