"""Where the node keeps its own OpenADR programs and events: each made once, and brought up to date in its place."""

from typing import Any

from gridledger.store.openadr_model import ObjectKind
from gridledger.store.openadr_origins import About, EventOrigin
from gridledger.store.transaction import Transaction

__all__ = ["Document", "program_id", "put_event", "withdraw_event"]

Document = dict[str, Any]


def program_id(tx: Transaction, program: Document, now: int) -> str:
    """Id of the program of this name, which is made where there is none; `now` in Unix seconds."""
    found = tx.openadr.find_by_name(ObjectKind.PROGRAM, program["programName"])
    return (found or tx.openadr.add(ObjectKind.PROGRAM, program, now=now)).id


def put_event(tx: Transaction, origin: EventOrigin, event: Document, now: int) -> None:
    """Make the event that tells this, or bring it up to date; one that says so already is left alone."""
    known = tx.openadr_origins.find(origin.about, origin.zone, origin.mtu_start, origin.meter)
    kept = None if known is None else tx.openadr.find(ObjectKind.EVENT, known.event_id)
    if kept is None:
        told = tx.openadr.add(ObjectKind.EVENT, event, now=now)
    elif kept.content == event:
        told = kept
    else:
        told = tx.openadr.replace(ObjectKind.EVENT, kept.id, event, now=now)
    tx.openadr_origins.keep(origin.of(told.id))


def withdraw_event(tx: Transaction, about: About, zone: int, mtu_start: int, meter: int, now: int) -> None:
    """Delete the event that tells this, if there is one; its clients are told."""
    known = tx.openadr_origins.find(about, zone, mtu_start, meter)
    if known is not None and tx.openadr.find(ObjectKind.EVENT, known.event_id) is not None:
        tx.openadr.remove(ObjectKind.EVENT, known.event_id, now=now)
