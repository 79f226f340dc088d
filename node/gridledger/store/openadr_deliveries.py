"""How far each subscription has been told, and when a delivery that failed is tried again."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, tuple_, update

from gridledger.store.schema import openadr_delivery

__all__ = ["OpenAdrDeliveries", "OpenAdrDelivery"]

FIRST_DELAY_S, LONGEST_DELAY_S = 1, 3_600
DISABLED_AFTER_S = 3 * 24 * 3_600
_MOST_DOUBLINGS = 20
_LONGEST_REASON = 200


@dataclass(frozen=True, kw_only=True)
class OpenAdrDelivery:
    """Deliveries to the callback of a subscription's object operation at a position.

    `cursor` is the id of the last notification delivered or passed over; times are the machine's, Unix seconds.
    """

    subscription_id: str
    position: int
    cursor: int
    failures: int = 0
    failing_since: int | None = None
    next_attempt_at: int = 0
    disabled_at: int | None = None
    last_error: str | None = None

    @property
    def key(self) -> tuple[str, int]:
        """What there is one delivery at a time for."""
        return self.subscription_id, self.position

    def reached(self, cursor: int) -> "OpenAdrDelivery":
        """After everything up to the cursor was taken or passed over."""
        return OpenAdrDelivery(subscription_id=self.subscription_id, position=self.position, cursor=cursor)

    def failed(self, reason: str, now: int, *, gone: bool) -> "OpenAdrDelivery":
        """After a failed attempt: tried again after 1 s, 2 s, ... up to an hour.

        It is given up after three days without success, or at once when the receiver says that it is gone.
        """
        delay_s = min(FIRST_DELAY_S * 2 ** min(self.failures, _MOST_DOUBLINGS), LONGEST_DELAY_S)
        failing_since = now if self.failing_since is None else self.failing_since
        given_up = gone or now - failing_since >= DISABLED_AFTER_S
        return replace(
            self,
            failures=self.failures + 1,
            failing_since=failing_since,
            next_attempt_at=now + delay_s,
            disabled_at=now if given_up else None,
            last_error=reason[:_LONGEST_REASON],
        )


class OpenAdrDeliveries:
    """Deliveries of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self, subscription_id: str, count: int, cursor: int) -> None:
        """A subscription has so many callbacks now; new ones begin after the cursor, failed ones are tried again."""
        known = {delivery.position: delivery for delivery in self.of(subscription_id)}
        self.end(subscription_id)
        for position in range(count):
            before = known.get(position)
            reached = cursor if before is None else before.cursor
            begun = OpenAdrDelivery(subscription_id=subscription_id, position=position, cursor=reached)
            self._connection.execute(insert(openadr_delivery).values(**asdict(begun)))

    def end(self, subscription_id: str) -> None:
        """Nothing is delivered for the subscription any more."""
        gone = openadr_delivery.c.subscription_id == subscription_id
        self._connection.execute(delete(openadr_delivery).where(gone))

    def of(self, subscription_id: str) -> tuple[OpenAdrDelivery, ...]:
        """Deliveries of a subscription, by position."""
        table = openadr_delivery.c
        query = select(openadr_delivery).where(table.subscription_id == subscription_id).order_by(table.position)
        return tuple(OpenAdrDelivery(**row._asdict()) for row in self._connection.execute(query))

    def keep(self, delivery: OpenAdrDelivery) -> None:
        """Keep how a delivery went; nothing happens if its subscription was deleted meanwhile."""
        table = openadr_delivery.c
        own = (table.subscription_id == delivery.subscription_id, table.position == delivery.position)
        self._connection.execute(update(openadr_delivery).where(*own).values(**asdict(delivery)))

    def due(self, last_id: int, now: int, busy: Collection[tuple[str, int]], limit: int) -> tuple[OpenAdrDelivery, ...]:
        """Deliveries that have not reached the newest notification and may be tried, the longest waiting first."""
        table = openadr_delivery.c
        free = tuple_(table.subscription_id, table.position).not_in(list(busy))
        query = (
            select(openadr_delivery)
            .where(_behind(last_id), table.next_attempt_at <= now, free)
            .order_by(table.next_attempt_at, table.cursor, table.subscription_id, table.position)
            .limit(limit)
        )
        return tuple(OpenAdrDelivery(**row._asdict()) for row in self._connection.execute(query))

    def next_attempt_at(self, last_id: int, now: int) -> int | None:
        """When the next delivery that has to wait may be tried, Unix seconds."""
        table = openadr_delivery.c
        query = select(func.min(table.next_attempt_at)).where(_behind(last_id), table.next_attempt_at > now)
        return self._connection.execute(query).scalar()

    def lowest_cursor(self) -> int | None:
        """What every delivery that was not given up has reached; None without any."""
        table = openadr_delivery.c
        return self._connection.execute(select(func.min(table.cursor)).where(table.disabled_at.is_(None))).scalar()


def _behind(last_id: int) -> ColumnElement[bool]:
    return openadr_delivery.c.disabled_at.is_(None) & (openadr_delivery.c.cursor < last_id)
