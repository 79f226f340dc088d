"""Notices of the signed-in account: a list, and a stream that resumes without a gap."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.security import HTTPAuthorizationCredentials
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from gridledger.api.context import NodeContext
from gridledger.api.sessions import Bearer, SessionRequired, session_owner
from gridledger.api.streams import EventStreams
from gridledger.market.notices import notice_document
from gridledger.units import INT64_MAX

__all__ = ["MOST_STREAMS", "MOST_STREAMS_OF_ACCOUNT", "notice_routes"]

MOST_STREAMS, MOST_STREAMS_OF_ACCOUNT = 1024, 8  # at once
_NOTICES_PER_READ = 200
NoticeId = Annotated[int, Query(ge=0, le=INT64_MAX, description="Start after this notice id")]


def notice_routes(node: NodeContext) -> APIRouter:
    """Routes under /v1/notices."""
    router = APIRouter(prefix="/v1/notices", tags=["notices"])

    streams = EventStreams(node.bell, highest=MOST_STREAMS, highest_of_reader=MOST_STREAMS_OF_ACCOUNT)

    def read(bearer: HTTPAuthorizationCredentials | None, after: int, limit: int) -> list[dict[str, Any]]:
        with node.database.read() as tx:
            notices = tx.notices.after(session_owner(tx, node.clock, bearer), after, limit)
        return [notice_document(notice) for notice in notices]

    def account(bearer: HTTPAuthorizationCredentials | None) -> str:
        with node.database.read() as tx:
            return session_owner(tx, node.clock, bearer)

    @router.get("")
    def get_notices(
        bearer: Bearer,
        after: NoticeId = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, Any]:
        """The account's notices after an id, oldest first; `last` is where to go on."""
        notices = read(bearer, after, limit)
        return {
            "notices": notices,
            "last": notices[-1]["id"] if notices else after,
        }

    @router.get("/events", response_class=EventSourceResponse)
    async def get_events(
        bearer: Bearer,
        last_event_id: Annotated[int | None, Header(ge=0, le=INT64_MAX)] = None,
        after: NoticeId = 0,
    ) -> EventSourceResponse:
        """The account's notices as server-sent events; `Last-Event-ID` resumes, a notice may come again."""
        reader = await run_in_threadpool(account, bearer)  # refused before the stream begins, not in it
        return streams.open(
            reader,
            after if last_event_id is None else last_event_id,
            lambda last: read(bearer, last, _NOTICES_PER_READ),
            until=SessionRequired,
        )

    return router
