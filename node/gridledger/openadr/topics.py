"""Names of the MQTT topics that notifications are published under (OpenADR 3.1.0, MQTT notifier).

| who | reads | what is published there |
|---|---|---|
| business logic | `openadr/bl/#` | everything |
| every client | `openadr/public/#` | programs and events without targets |
| one ven's client | `openadr/clients/{clientID}/#` | the ven, its resources, what has a target granted to it |

So a broker's access list needs one line a kind of reader, and a ven's own is a pattern over its user name. A base topic
is followed by `/create`, `/update` or `/delete`.
"""

from collections.abc import Iterable, Mapping

from gridledger.openadr.routing import COLLECTIONS
from gridledger.store.openadr_model import Notification, ObjectKind, Operation

__all__ = [
    "business_topic",
    "client_topic",
    "notification_topics",
    "operation_topic",
    "operation_topics",
    "public_topic",
    "topic_client",
]

_ROOT = "openadr"
_COLLECTION = {kind: collection for collection, kind in COLLECTIONS.items()}


def business_topic(*path: str) -> str:
    """A base topic for business logic."""
    return "/".join((_ROOT, "bl", *path))


def public_topic(*path: str) -> str:
    """A base topic for every client."""
    return "/".join((_ROOT, "public", *path))


def client_topic(client_id: str, *path: str) -> str:
    """A base topic for one client."""
    return "/".join((_ROOT, "clients", client_id, *path))


def topic_client(topic: str) -> str | None:
    """The client that a topic is for alone, None for the others."""
    levels = topic.split("/")
    return levels[2] if levels[:2] == [_ROOT, "clients"] else None


def operation_topic(base: str, operation: Operation) -> str:
    """Where one operation is published."""
    return f"{base}/{operation.lower()}"


def operation_topics(base: str, *, created: bool) -> Mapping[str, str]:
    """The standard's `notifierOperationsTopics`; one object's own topic has no CREATE."""
    told = [one for one in Operation if created or one != Operation.CREATE]
    return {**{str(one): operation_topic(base, one) for one in told}, "ALL": f"{base}/+"}


def notification_topics(told: Notification, readers: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Every topic a notification goes to.

    `readers` are the clients and ids of the vens that one of its targets was granted to (`OpenAdr.vens_with`); only
    programs and events with targets need them.
    """
    collection, bases = _COLLECTION[told.kind], [business_topic(_COLLECTION[told.kind])]
    if told.kind == ObjectKind.PROGRAM:
        bases.append(business_topic("programs", told.object_id))
    elif told.kind == ObjectKind.EVENT:
        bases.append(business_topic("programs", str(told.program_id), "events"))
    if told.kind in (ObjectKind.PROGRAM, ObjectKind.EVENT):
        if told.targets:
            bases += [client_topic(client_id, "vens", ven_id, collection) for client_id, ven_id in readers]
        else:
            bases += [public_topic(*base.split("/")[2:]) for base in bases if base != business_topic("events")]
    elif told.kind in (ObjectKind.VEN, ObjectKind.RESOURCE):
        ven_id = told.object_id if told.kind == ObjectKind.VEN else str(told.object["venID"])
        own = ("vens", ven_id) if told.kind == ObjectKind.VEN else ("vens", ven_id, "resources")
        bases.append(business_topic(*own))
        bases += [] if told.client_id is None else [client_topic(told.client_id, *own)]
    return tuple(operation_topic(base, told.operation) for base in bases)
