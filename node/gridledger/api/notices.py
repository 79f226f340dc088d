"""Notices of the signed-in account: a list, and a stream that resumes without a gap."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.security import HTTPAuthorizationCredentials
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from gridledger.api.context import NodeContext
from gridledger.api.sessions import Bearer, SessionRequired, session_owner
from gridledger.market.notices import Notice, notice_document
from gridledger.units import INT64_MAX

__all__ = ["notice_routes"]

_NOTICES_PER_READ = 200
_LONGEST_WAIT_S = 5.0
NoticeId = Annotated[int, Query(ge=0, le=INT64_MAX, description="Start after this notice id")]


def notice_routes(node: NodeContext) -> APIRouter:
    """Routes under /v1/notices."""
    router = APIRouter(prefix="/v1/notices", tags=["notices"])

    def read(bearer: HTTPAuthorizationCredentials | None, after: int, limit: int) -> tuple[Notice, ...]:
        with node.database.read() as tx:
            return tx.notices.after(session_owner(tx, node.clock, bearer), after, limit)

    async def stream(bearer: HTTPAuthorizationCredentials | None, after: int) -> AsyncIterator[ServerSentEvent]:
        while True:
            rings = node.bell.rings
            try:
                notices = await run_in_threadpool(read, bearer, after, _NOTICES_PER_READ)
            except SessionRequired:
                return  # the session has ended, and the stream with it
            for notice in notices:
                after = notice.id
                yield ServerSentEvent(json.dumps(notice_document(notice)), id=str(after), event=notice.kind)
            if not notices:
                await node.bell.wait(_LONGEST_WAIT_S, rings)

    @router.get("")
    def get_notices(
        bearer: Bearer,
        after: NoticeId = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, Any]:
        """The account's notices after an id, oldest first; `last` is where to go on."""
        notices = read(bearer, after, limit)
        return {
            "notices": [notice_document(notice) for notice in notices],
            "last": notices[-1].id if notices else after,
        }

    @router.get("/events", response_class=EventSourceResponse)
    async def get_events(
        bearer: Bearer,
        last_event_id: Annotated[int | None, Header(ge=0, le=INT64_MAX)] = None,
        after: NoticeId = 0,
    ) -> EventSourceResponse:
        """The account's notices as server-sent events; `Last-Event-ID` resumes, a notice may come again."""
        await run_in_threadpool(read, bearer, 0, 1)  # refused before the stream begins, not in it
        return EventSourceResponse(stream(bearer, after if last_event_id is None else last_event_id), ping=15)

    return router
