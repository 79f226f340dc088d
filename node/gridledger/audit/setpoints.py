"""Checks setpoints: what a clearing committed to is what was contracted, and yesterday's residual on top of it.

Readings that came late may or may not have been known when the setpoints were made; where it cannot be told, both
forecasts pass. Where a reading was erased its forecast is counted as no longer verifiable.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from gridledger.audit.evidence import Evidence
from gridledger.audit.markets import Chunk, Market
from gridledger.audit.model import Rule, Slot, meter_name, slot_name
from gridledger.audit.presented import EntryKind
from gridledger.audit.rows import SetpointRow
from gridledger.dispatch.setpoints import SetpointRow as Setpoint
from gridledger.dispatch.setpoints import make_setpoints, setpoints_root
from gridledger.errors import GridLedgerError
from gridledger.market.model import Position

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
            evidence.findings.report(
                Rule.SETPOINT, f"{slot_name(slot)}, setpoints", "none without a schedule", len(rows)
            )
            continue
        _check_root(evidence, slot, markets[slot], rows)
        _check_rows(evidence, slot, markets[slot], rows)


def _check_root(evidence: Evidence, slot: Slot, market: Market, rows: list[SetpointRow]) -> None:
    assert market.dispatch.schedule is not None  # its caller has seen to it
    made = [Setpoint(meter=row.meter, contracted_wh=row.contracted_wh, residual_wh=row.residual_wh) for row in rows]
    try:
        root = "0x" + setpoints_root(made, {row.meter: row.salt for row in rows}).hex()
    except GridLedgerError as error:
        root = str(error)
    record = f"{slot_name(slot)}, root of the setpoints"
    evidence.findings.compare(Rule.SETPOINT, record, market.dispatch.schedule.setpoints_root, root)


def _check_rows(evidence: Evidence, slot: Slot, market: Market, rows: list[SetpointRow]) -> None:
    if any(chunk.opened is None for chunk in market.chunks):
        return  # named by the clearing rule
    contracted: Counter[int] = Counter()
    for chunk in market.chunks:
        _add(contracted, () if chunk.opened is None else chunk.opened.positions)
    forecast = _Forecast.of(evidence, slot, market)
    found = {row.meter: row for row in rows}
    for meter in sorted(contracted.keys() | found.keys() | forecast.meters):
        row = found.get(meter)
        stated = (0, 0) if row is None else (row.contracted_wh, row.residual_wh)
        record = f"{meter_name(meter, slot.mtu_start)}, setpoint"
        evidence.findings.compare(Rule.SETPOINT, f"{record}, contracted Wh", contracted[meter], stated[0])
        if (meter, slot.mtu_start - DAY_S) in evidence.erased:
            evidence.unverifiable_setpoints += 1
            continue
        possible = {_residual_wh(meter, contracted[meter], wh) for wh in forecast.persisted_wh(meter)}
        expected = stated[1] if stated[1] in possible else " or ".join(map(str, sorted(possible)))
        evidence.findings.compare(Rule.SETPOINT, f"{record}, residual Wh", expected, stated[1])
        if row is not None:
            empty = "something" if any(stated) else "nothing"
            evidence.findings.compare(Rule.SETPOINT, f"{record}, of", "something", empty)


def _residual_wh(meter: int, contracted_wh: int, persisted_wh: int) -> int:
    try:
        made = make_setpoints({meter: contracted_wh}, {meter: persisted_wh})
    except GridLedgerError:
        return 0  # more than the contract can hold, which no honest node commits
    return made[0].residual_wh if made else 0


@dataclass(frozen=True, kw_only=True)
class _Forecast:
    """What could have been known of the day before while the setpoints were made: between two blocks.

    `contracts` has every state of the day before's contracts in that time, by meter, Wh, export positive; `net_wh`
    the readings, `certain` those of them that were known; `transformers` the meters left out at its begin and end.
    """

    contracts: tuple[Mapping[int, int], ...]
    net_wh: Mapping[int, int]
    certain: frozenset[int]
    transformers: tuple[int | None, int | None]

    @classmethod
    def of(cls, evidence: Evidence, slot: Slot, market: Market) -> "_Forecast":
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
            contracts=_contracts(history.markets.get(Slot(slot.zone, day_before)), first, last),
            net_wh=net_wh,
            certain=frozenset(certain),
            transformers=(_transformer(evidence, slot.zone, first - 1), _transformer(evidence, slot.zone, last)),
        )

    @property
    def meters(self) -> frozenset[int]:
        """Meters with a reading of the day before."""
        return frozenset(self.net_wh)

    def persisted_wh(self, meter: int) -> frozenset[int]:
        """What the meter can have been forecast to do beyond its contract, Wh."""
        if meter not in self.net_wh:
            return frozenset({0})
        possible = {self.net_wh[meter] - contract.get(meter, 0) for contract in self.contracts}
        if meter not in self.certain or meter in self.transformers:
            possible.add(0)
        if self.transformers == (meter, meter):
            possible = {0}
        return frozenset(possible)


def _transformer(evidence: Evidence, zone: int, block_number: int) -> int | None:
    transformer = evidence.history.transformer_at(zone, block_number)
    return None if transformer is None else transformer.meter


def _contracts(market: Market | None, first: int, last: int) -> tuple[Mapping[int, int], ...]:
    """Net contracts by meter as they stood after each block of a range in which they changed."""
    if market is None or not market.chunks:
        return ({},)
    changes = {chunk.cleared.block_number for chunk in market.chunks}
    for chunk in market.chunks:
        changes |= {step.block_number for step in chunk.steps} | {step.block_number for step in chunk.caps}
    blocks = {first, *(number for number in changes if first < number <= last)}
    return tuple(_contract_at(market, number) for number in sorted(blocks))


def _contract_at(market: Market, block_number: int) -> Mapping[int, int]:
    net_wh: Counter[int] = Counter()
    if market.cleared is None or market.cleared.block_number > block_number:
        return net_wh
    for chunk in market.chunks:
        _add(net_wh, _positions_at(chunk, block_number))
    return net_wh


def _positions_at(chunk: Chunk, block_number: int) -> list[Position]:
    """Positions that were not refunded, with what caps had left of them."""
    if chunk.opened is None:
        return []
    caps = [step.shrunk for step in chunk.caps if step.block_number <= block_number and step.shrunk is not None]
    refunded = {
        entry.meter
        for step in chunk.steps
        if step.block_number <= block_number
        for entry in step.entries
        if entry.kind is EntryKind.REFUNDED
    }
    positions = caps[-1].positions if caps else chunk.opened.positions
    return [position for position in positions if position.meter not in refunded]


def _add(net_wh: Counter[int], positions: tuple[Position, ...] | list[Position]) -> None:
    for position in positions:
        net_wh[position.meter] += position.quantity_wh if position.sells else -position.quantity_wh
