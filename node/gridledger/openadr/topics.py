"""Where notifications are published at the MQTT broker, and what may be published there at all.

    openadr3/3.1.0/events/create                        all events, of whichever program
    openadr3/3.1.0/programs/P/update                    program P
    openadr3/3.1.0/programs/P/events/create             events of program P that have no targets
    openadr3/3.1.0/clients/C/vens/V/events/create       events that ven V of client C has a target of

A broker that lets anybody in cannot keep one client from what is meant for another. There only programs and events
without targets are published: all else goes by webhook. A broker that knows its clients (their id as user name, their
token as password) gets everything, and needs this access list, in the words of mosquitto:

    pattern read openadr3/3.1.0/programs/#
    pattern read openadr3/3.1.0/clients/%u/#
    user <each client of the grid operator>
    topic read openadr3/3.1.0/#

Source: OpenADR 3.1.0 Definition, MQTT notifier binding.
"""

from collections.abc import Iterator
from urllib.parse import quote

from gridledger.store.openadr_model import Notification, ObjectKind, Operation

__all__ = [
    "is_public",
    "operation_topics",
    "shared_topics",
    "topics_of_all",
    "topics_of_program",
    "topics_of_ven",
    "ven_topic",
]

_ROOT = "openadr3/3.1.0"
_COLLECTIONS = {kind: f"{kind.lower()}s" for kind in ObjectKind}
_EVERY_OPERATION = "ALL"


def operation_topics(base: str, *, with_create: bool = True) -> dict[str, str]:
    """The topic of each operation and of all, as the standard names them; what has an id is not created any more."""
    told = [operation for operation in Operation if with_create or operation is not Operation.CREATE]
    return {str(operation): f"{base}/{operation.lower()}" for operation in told} | {_EVERY_OPERATION: f"{base}/+"}


def topics_of_all(kind: ObjectKind) -> str:
    """Where every object of a kind is told of."""
    return f"{_ROOT}/{_COLLECTIONS[kind]}"


def topics_of_program(program_id: str, kind: ObjectKind | None = None) -> str:
    """Where a program is told of, or objects of a kind that belong to it."""
    base = f"{_ROOT}/programs/{_level(program_id)}"
    return base if kind is None else f"{base}/{_COLLECTIONS[kind]}"


def topics_of_ven(client_id: str, ven_id: str, kind: ObjectKind | None = None) -> str:
    """Where a client's ven is told of, or objects of a kind that concern it."""
    base = f"{_ROOT}/clients/{_level(client_id)}/vens/{_level(ven_id)}"
    return base if kind is None else f"{base}/{_COLLECTIONS[kind]}"


def is_public(notification: Notification) -> bool:
    """Whether every client may be told."""
    return notification.kind in (ObjectKind.PROGRAM, ObjectKind.EVENT) and not notification.targets


def shared_topics(notification: Notification, *, broker_knows_clients: bool) -> tuple[str, ...]:
    """The topics that tell more than one client of a change; none where a broker would let the wrong one read."""
    if not broker_knows_clients and not is_public(notification):
        return ()
    bases = (topics_of_all(notification.kind), *_of_program(notification))
    return tuple(f"{base}/{notification.operation.lower()}" for base in bases)


def ven_topic(notification: Notification, client_id: str, ven_id: str) -> str:
    """The topic that tells a ven alone of a change that concerns it."""
    kind = None if notification.kind is ObjectKind.VEN else notification.kind
    return f"{topics_of_ven(client_id, ven_id, kind)}/{notification.operation.lower()}"


def _of_program(notification: Notification) -> Iterator[str]:
    if notification.kind is ObjectKind.PROGRAM and not notification.targets:
        yield topics_of_program(notification.object_id)
    if notification.kind is ObjectKind.EVENT and not notification.targets and notification.program_id is not None:
        yield topics_of_program(notification.program_id, ObjectKind.EVENT)


def _level(text: str) -> str:
    """A level of a topic of its own, whatever the text."""
    return quote(text, safe="")
