"""Challenges of the operator's bond in the database; implements `market.defence.Challenges`."""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select, update

from gridledger.market.defence import Challenge, SignedCancellation
from gridledger.store.schema import bond_challenge, bulk_cancellation, market_order, order_cancellation

__all__ = ["BondChallenges"]


class BondChallenges:
    """Challenges of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, challenge: Challenge, proof: int, amount_microcents: int) -> None:
        """Somebody has challenged a clearing on chain."""
        self._connection.execute(
            insert(bond_challenge).values(
                owner=challenge.owner,
                zone=challenge.zone,
                mtu_start=challenge.mtu_start,
                order_uid=challenge.order_uid,
                proof=proof,
                amount_microcents=amount_microcents,
                respond_by=challenge.respond_by,
                answered=False,
            )
        )

    def end(self, owner: str, zone: int, mtu_start: int) -> None:
        """The challenge was defeated or upheld."""
        self._connection.execute(
            delete(bond_challenge).where(
                bond_challenge.c.owner == owner, bond_challenge.c.zone == zone, bond_challenge.c.mtu_start == mtu_start
            )
        )

    def unanswered(self, now: int) -> tuple[Challenge, ...]:
        """Open challenges that can still be answered and were not answered yet, oldest first."""
        query = (
            select(bond_challenge)
            .where(bond_challenge.c.answered.is_(False), bond_challenge.c.respond_by >= now)
            .order_by(bond_challenge.c.respond_by, bond_challenge.c.owner)
        )
        return tuple(
            Challenge(
                owner=row.owner,
                zone=row.zone,
                mtu_start=row.mtu_start,
                order_uid=row.order_uid,
                respond_by=row.respond_by,
            )
            for row in self._connection.execute(query)
        )

    def open_count(self) -> int:
        """How many challenges are open."""
        return len(self._connection.execute(select(bond_challenge.c.owner)).all())

    def mark_answered(self, challenge: Challenge) -> None:
        """Nothing more can be done about it."""
        self._connection.execute(
            update(bond_challenge)
            .where(
                bond_challenge.c.owner == challenge.owner,
                bond_challenge.c.zone == challenge.zone,
                bond_challenge.c.mtu_start == challenge.mtu_start,
            )
            .values(answered=True)
        )

    def cancellations_of(self, order_uid: str) -> Sequence[SignedCancellation]:
        """Cancellations that cover the order, oldest first."""
        order = self._connection.execute(select(market_order).where(market_order.c.uid == order_uid)).first()
        if order is None:
            return ()
        single = self._connection.execute(select(order_cancellation).where(order_cancellation.c.uid == order_uid))
        bulk = self._connection.execute(select(bulk_cancellation).where(bulk_cancellation.c.owner == order.owner))
        found = [(None, row) for row in single]
        # Salts are kept as decimal text, which the database cannot compare by value.
        found += [(row.salt, row) for row in bulk if row.salt >= order.salt]
        cancellations = [
            SignedCancellation(salt=salt, signature=bytes.fromhex(row.signature[2:]), received_at=row.received_at)
            for salt, row in found
        ]
        return sorted(cancellations, key=lambda one: one.received_at)
