"""Query parameters of the standard's searches; parameters it does not describe are ignored."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from starlette.datastructures import QueryParams

from gridledger.openadr.parts import LARGEST_INT32
from gridledger.openadr.requests import AdrRequestMalformed
from gridledger.store.openadr_model import ObjectKind, ObjectQuery

__all__ = ["query_of"]

MOST_PER_PAGE = 50
MOST_LISTED = 100
_ID = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_NUMBER = re.compile(r"\d{1,10}", re.ASCII)
_T = TypeVar("_T")
_BOOLEANS = {"true": True, "True": True, "false": False, "False": False}


def _id(name: str, text: str) -> str:
    if not _ID.fullmatch(text):
        raise _malformed(name, "not an object's id")
    return text


def _name(name: str, text: str) -> str:
    if not 1 <= len(text) <= 128:
        raise _malformed(name, "not of 1 to 128 characters")
    return text


def _kind(name: str, text: str) -> ObjectKind:
    try:
        return ObjectKind(text)
    except ValueError:
        raise _malformed(name, "not a type of object") from None


def _number(params: QueryParams, name: str, largest: int, default: int) -> int:
    text = params.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or int(text) > largest:
        raise _malformed(name, f"not a whole number from 0 to {largest}")
    return int(text)


def _several(params: QueryParams, name: str, read: Callable[[str, str], _T]) -> tuple[_T, ...]:
    found = params.getlist(name)
    if len(found) > MOST_LISTED:
        raise _malformed(name, f"more than {MOST_LISTED} values")
    return tuple(dict.fromkeys(read(name, text) for text in found))


# Of each kind: the standard's parameter, the field of ObjectQuery it fills, and how it is read.
_SCALARS: Mapping[ObjectKind, tuple[tuple[str, str, Callable[[str, str], str]], ...]] = {
    ObjectKind.PROGRAM: (),
    ObjectKind.EVENT: (("programID", "program_id", _id),),
    ObjectKind.REPORT: (
        ("programID", "program_id", _id),
        ("eventID", "event_id", _id),
        ("clientName", "client_name", _name),
    ),
    ObjectKind.SUBSCRIPTION: (("programID", "program_id", _id), ("clientName", "client_name", _name)),
    ObjectKind.VEN: (("venName", "name", _name),),
    ObjectKind.RESOURCE: (("resourceName", "name", _name), ("venID", "ven_id", _id)),
}
_TARGETED = (ObjectKind.PROGRAM, ObjectKind.EVENT, ObjectKind.VEN, ObjectKind.RESOURCE)


def query_of(kind: ObjectKind, params: QueryParams, now: int) -> ObjectQuery:
    """What is asked for; `now` in Unix seconds, for `active`. Raises AdrRequestMalformed."""
    conditions: dict[str, Any] = {
        field: read(name, params[name]) for name, field, read in _SCALARS[kind] if name in params
    }
    if kind in _TARGETED:
        conditions["targets"] = _several(params, "targets", _name)
    if kind == ObjectKind.SUBSCRIPTION:
        conditions["subscribed"] = _several(params, "objects", _kind)
    if kind == ObjectKind.EVENT and "active" in params:
        if params["active"] not in _BOOLEANS:
            raise _malformed("active", "neither true nor false")
        conditions["active_at"] = now if _BOOLEANS[params["active"]] else None
    return ObjectQuery(
        kind=kind,
        skip=_number(params, "skip", LARGEST_INT32, 0),
        limit=_number(params, "limit", MOST_PER_PAGE, MOST_PER_PAGE),
        **conditions,
    )


def _malformed(name: str, problem: str) -> AdrRequestMalformed:
    return AdrRequestMalformed(problems=(f"{name}: {problem}",))
