"""Checks setpoints: what a clearing committed to is what was contracted, and a forecast of what comes on top of it.

Readings that came late may or may not have been known when the setpoints were made; where it cannot be told, both
forecasts pass. Where a reading was erased its forecast is counted as no longer verifiable, and so is a setpoint of
which an erasure has left the leaf only: the root must come out right with it, and a tombstone must cover it.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from gridledger.audit.evidence import Evidence
from gridledger.audit.markets import Market
from gridledger.audit.model import Rule, Slot, meter_name, slot_name
from gridledger.audit.rows import SetpointRow
from gridledger.dispatch.setpoints import SetpointRow as Setpoint
from gridledger.dispatch.setpoints import leaves_root, make_setpoints, setpoint_leaf
from gridledger.errors import GridLedgerError
from gridledger.market.book import ordered_net_wh

__all__ = ["check_setpoints"]

DAY_S = 86_400
KNOWN_AFTER_S = 60  # what was under way when the setpoints were made is nobody's fault


def check_setpoints(evidence: Evidence) -> None:
    """Every scheduled zone and MTU has its setpoints, and no other has any."""
    markets = evidence.history.markets
    scheduled = {slot for slot, market in markets.items() if market.dispatch.schedule is not None}
    for slot in sorted(scheduled | evidence.setpoints.keys()):
        rows = evidence.setpoints.get(slot, [])
        if slot not in scheduled:
            record = f"{slot_name(slot)}, setpoints"
            evidence.findings.report(Rule.SETPOINT, record, "none without a schedule", len(rows))
            continue
        _check_erased(evidence, slot, rows)
        _check_root(evidence, slot, markets[slot], rows)
        if slot in evidence.auction_books and all(chunk.opened is not None for chunk in markets[slot].chunks):
            _check_rows(evidence, slot, markets[slot], rows)  # others are named by the book or the clearing rule


def _check_root(evidence: Evidence, slot: Slot, market: Market, rows: list[SetpointRow]) -> None:
    assert market.dispatch.schedule is not None  # its caller has seen to it
    try:
        root = "0x" + leaves_root([(row.meter, _leaf(row)) for row in rows]).hex()
    except (GridLedgerError, ValueError) as error:
        root = str(error)
    record = f"{slot_name(slot)}, root of the setpoints"
    evidence.findings.compare(Rule.SETPOINT, record, market.dispatch.schedule.setpoints_root, root)


def _leaf(row: SetpointRow) -> bytes:
    """The row's commitment. Raises ValueError, OutOfRange."""
    if row.leaf is not None:
        return row.leaf
    if row.residual_wh is None or row.salt is None:
        raise ValueError(f"meter {row.meter} has neither a leaf nor all that opens it")
    made = Setpoint(meter=row.meter, contracted_wh=row.contracted_wh, residual_wh=row.residual_wh)
    return setpoint_leaf(made, row.salt)


def _check_erased(evidence: Evidence, slot: Slot, rows: list[SetpointRow]) -> None:
    """A leaf stands in place of residual and salt, exactly where a sound tombstone covers the meter and MTU."""
    for row in rows:
        record = f"{meter_name(row.meter, slot.mtu_start)}, setpoint"
        covered, opened = evidence.lost_setpoint(row.meter, slot.mtu_start), (row.residual_wh, row.salt)
        if row.leaf is not None and not covered:
            evidence.findings.report(Rule.SETPOINT, record, "no leaf without a tombstone", "a leaf")
        if (covered or row.leaf is not None) and (row.leaf is None or opened != (None, None)):
            evidence.findings.report(Rule.TOMBSTONE, record, "erased", "still there")


def _check_rows(evidence: Evidence, slot: Slot, market: Market, rows: list[SetpointRow]) -> None:
    contracted: Counter[int] = Counter()
    for chunk in market.chunks:
        for position in () if chunk.opened is None else chunk.opened.positions:
            contracted[position.meter] += position.contracted_wh
    ordered, done = ordered_net_wh(evidence.auction_books[slot]), _Persisted.of(evidence, slot, market)
    found = {row.meter: row for row in rows}
    for meter in sorted(contracted.keys() | found.keys() | ordered.keys() | done.net_wh.keys()):
        row = found.get(meter)
        stated = (0, 0) if row is None else (row.contracted_wh, row.residual_wh or 0)
        left = row is not None and row.leaf is not None
        record = f"{meter_name(meter, slot.mtu_start)}, setpoint"
        evidence.findings.compare(Rule.SETPOINT, f"{record}, contracted Wh", contracted[meter], stated[0])
        if row is not None and not left and not any(stated):
            evidence.findings.report(Rule.SETPOINT, record, "no row of nothing", "a row")
        if left or (meter, slot.mtu_start - DAY_S) in evidence.erased:
            evidence.unverifiable_setpoints += 1
            continue
        possible = {_residual_wh(meter, contracted[meter], ordered.get(meter, 0), wh) for wh in done.possible_wh(meter)}
        expected = stated[1] if stated[1] in possible else " or ".join(map(str, sorted(possible)))
        evidence.findings.compare(Rule.SETPOINT, f"{record}, residual Wh", expected, stated[1])


def _residual_wh(meter: int, contracted_wh: int, ordered_wh: int, done_wh: int) -> int:
    try:
        made = make_setpoints({meter: contracted_wh}, {meter: ordered_wh}, {meter: done_wh})
    except GridLedgerError:
        return 0  # more than the contract can hold, which no honest node commits
    return made[0].residual_wh if made else 0


@dataclass(frozen=True, kw_only=True)
class _Persisted:
    """What could have been known of the day before while the setpoints were made: between two blocks.

    `net_wh` has the readings, `certain` those of them that were known; `transformers` are the meters left out at the
    begin and the end of that time.
    """

    net_wh: Mapping[int, int]
    certain: frozenset[int]
    transformers: tuple[int | None, int | None]

    @classmethod
    def of(cls, evidence: Evidence, slot: Slot, market: Market) -> "_Persisted":
        """From shortly before the book was committed to the block of the schedule."""
        history, day_before = evidence.history, slot.mtu_start - DAY_S
        assert market.dispatch.schedule is not None  # its caller has seen to it
        last = market.dispatch.schedule.block_number
        book = last if market.book is None else min(last, market.book.block_number)
        begun_s = history.blocks[book].time_s - KNOWN_AFTER_S
        first = min(book, bisect_left(history.blocks, begun_s, key=lambda block: block.time_s))
        net_wh: dict[int, int] = {}
        certain = set[int]()
        for meter, facts in history.members.meters.items():
            reading = evidence.readings.get((meter, day_before))
            if reading is None or facts.zone != slot.zone:
                continue
            net_wh[meter] = reading.export_wh - reading.import_wh
            sequence = reading.anchor_sequence
            anchor = None if sequence is None or sequence >= len(history.anchors) else history.anchors[sequence]
            if anchor is not None and anchor.time_s <= begun_s:
                certain.add(meter)
        return cls(
            net_wh=net_wh,
            certain=frozenset(certain),
            transformers=(_transformer(evidence, slot.zone, first - 1), _transformer(evidence, slot.zone, last)),
        )

    def possible_wh(self, meter: int) -> frozenset[int]:
        """What the meter can have been known to have done, net Wh; nothing where it had no reading."""
        if meter not in self.net_wh or self.transformers == (meter, meter):
            return frozenset({0})
        if meter in self.certain and meter not in self.transformers:
            return frozenset({self.net_wh[meter]})
        return frozenset({self.net_wh[meter], 0})


def _transformer(evidence: Evidence, zone: int, block_number: int) -> int | None:
    transformer = evidence.history.transformer_at(zone, block_number)
    return None if transformer is None else transformer.meter
