"""Event streams: what has happened since an id, then what happens, without a gap; only so many at once."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from gridledger.api.context import Bell
from gridledger.errors import GridLedgerError, Unavailable

__all__ = ["EventStreams", "TooManyStreams"]

_LONGEST_WAIT_S = 5.0
_PING_S = 15
Document = dict[str, Any]


@dataclass(kw_only=True, eq=False)
class TooManyStreams(Unavailable):
    """As many event streams are open as the node allows, all together or for one reader; lists can still be read."""

    open_count: int
    highest: int


class EventStreams:
    """Streams of one kind; at most `highest` are open at once, and `highest_of_reader` for each reader."""

    def __init__(self, bell: Bell, *, highest: int, highest_of_reader: int) -> None:
        self._bell = bell
        self._highest = highest
        self._highest_of_reader = highest_of_reader
        self._open: Counter[str] = Counter()  # touched by the event loop's thread alone

    @property
    def open_count(self) -> int:
        """How many are open."""
        return self._open.total()

    def open(
        self,
        reader: str,
        after: int,
        read: Callable[[int], Sequence[Document]],
        until: type[GridLedgerError] | tuple[()] = (),
    ) -> EventSourceResponse:
        """A stream of the documents that `read` finds after an id, each with its `id` and `kind`.

        It ends when reading raises `until`. To be called in the event loop. Raises TooManyStreams.
        """
        for open_count, highest in (
            (self._open[reader], self._highest_of_reader),
            (self.open_count, self._highest),
        ):
            if open_count >= highest:
                raise TooManyStreams(open_count=open_count, highest=highest)
        self._open[reader] += 1
        return _CountedResponse(self._events(after, read, until), lambda: self._close(reader))

    def _close(self, reader: str) -> None:
        self._open[reader] -= 1
        if not self._open[reader]:
            del self._open[reader]

    async def _events(
        self, after: int, read: Callable[[int], Sequence[Document]], until: type[GridLedgerError] | tuple[()]
    ) -> AsyncIterator[ServerSentEvent]:
        while True:
            rings = self._bell.rings
            try:
                documents = await run_in_threadpool(read, after)
            except until:
                return
            for document in documents:
                after = document["id"]
                yield ServerSentEvent(json.dumps(document), id=str(after), event=document["kind"])
            if not documents:
                await self._bell.wait(_LONGEST_WAIT_S, rings)


class _CountedResponse(EventSourceResponse):
    """Says when it is over, however that comes about."""

    def __init__(self, events: AsyncIterator[ServerSentEvent], on_end: Callable[[], None]) -> None:
        super().__init__(events, ping=_PING_S)
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()
