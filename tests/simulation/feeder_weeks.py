"""Plays dispatch on a real feeder by the product's own rules, without a chain: orders, auction, setpoints, caps.

The chain adds nothing to who trades what and who is curtailed; that it computes the same is tested with the contracts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tests.market.fakes import DOMAIN, POLICY, PRICES

from gridledger.dispatch.curtailment import Basis, check_order, emission_rank
from gridledger.dispatch.limits import ZoneState, meter_limits
from gridledger.dispatch.model import Schedule, ScheduleState
from gridledger.dispatch.setpoints import Direction, SetpointRow, basis_wh, make_setpoints
from gridledger.dispatch.shares import capped_wh
from gridledger.market.auction import clear
from gridledger.market.book import auction_orders, ordered_net_wh
from gridledger.market.curtailment import Bearer, Caps, CurtailmentTerms, Shrunk, apply_caps
from gridledger.market.locking import Proposal, propose
from gridledger.market.model import BookEntry, MeterFacts
from gridledger.simulation.agents import MemberAgent, OrderWindow
from gridledger.simulation.community import Community, form_community
from gridledger.simulation.gateways import obeyed
from gridledger.simulation.inputs import MeterReading, MeterSpec, ReadingsFile
from gridledger.simulation.operator_answers import ScheduledMeter, decide

SOLAR_RANK = emission_rank(1, 45_000)
DAY_S = 86_400


@dataclass
class Outcome:
    """What became of one MTU; energies in Wh, net ones export positive."""

    mtu_start: int
    uncontrolled_wh: int
    metered_wh: int
    scheduled_wh: int | None
    caps: Caps | None
    other_left_wh: int = 0
    low_carbon_lost_wh: int = 0
    curtailed_wh: int = 0
    refunded_microcents: int = 0
    expected_microcents: int = 0


@dataclass
class FeederWeeks:
    """A feeder's readings played under a limit; `dirty` meters stand for a source without a low emission factor."""

    readings: ReadingsFile
    community: Community
    limit_kw: int
    dirty: frozenset[int]
    outcomes: list[Outcome] = field(default_factory=list)

    @classmethod
    def of(cls, readings: ReadingsFile, specs: Sequence[MeterSpec], limit_kw: int, dirty: int) -> "FeederWeeks":
        """The first `dirty` meters with generation burn something."""
        community = form_community(specs, 1)
        generating = [meter.number for meter in community.meters if meter.spec.export_capacity_w > 0]
        return cls(readings, community, limit_kw, frozenset(generating[:dirty]))

    def play(self) -> "FeederWeeks":
        """Play all MTUs of the file."""
        length_s = self.readings.mtu_length_s
        agents = [MemberAgent(one, seed=1, domain=DOMAIN, mtu_length_s=length_s) for one in self.community.members]
        agent_of = {
            meter.spec.meter_id: (meter.number, agent)
            for member, agent in zip(self.community.members, agents, strict=True)
            for meter in member.meters
        }
        metered: dict[int, dict[int, int]] = {}
        for mtu_start in self.readings.mtu_starts:
            window = OrderWindow(mtu_start=mtu_start, floor_cents_per_mwh=PRICES.floor, cap_cents_per_mwh=PRICES.cap)
            signed = sorted((one for agent in agents for one in agent.orders(window)), key=lambda one: one.order.meter)
            book = tuple(BookEntry(running_number=number, signed=one) for number, one in enumerate(signed))
            outcome, net_wh = self._mtu(mtu_start, book, metered.pop(mtu_start - DAY_S, {}))
            metered[mtu_start] = net_wh
            self.outcomes.append(outcome)
            for reading in self.readings.at(mtu_start):
                number, agent = agent_of[reading.meter_id]
                agent.learn(number, reading)
        return self

    def _mtu(
        self, mtu_start: int, book: tuple[BookEntry, ...], persisted_wh: Mapping[int, int]
    ) -> tuple[Outcome, dict[int, int]]:
        length_s = self.readings.mtu_length_s
        proposal = self._cleared(book)
        contracted_wh: Counter[int] = Counter()
        for position in proposal.positions:
            contracted_wh[position.meter] += position.contracted_wh
        scheduled = bool(proposal.positions)
        rows = make_setpoints(contracted_wh, ordered_net_wh(book), persisted_wh) if scheduled else ()
        meters = [ScheduledMeter(row=row, rank=self._rank(row.meter)) for row in rows]
        found = decide(meters, length_s, self.limit_kw)
        caps = None if found is None else Caps(exports=found.direction is Direction.EXPORT, wh=found.wh)
        net_wh = self._measured(mtu_start, rows, caps, scheduled=scheduled)
        outcome = Outcome(
            mtu_start=mtu_start,
            uncontrolled_wh=sum(one.export_wh - one.import_wh for one in self.readings.at(mtu_start)),
            metered_wh=sum(net_wh.values()),
            scheduled_wh=sum(row.setpoint_wh for row in rows) if scheduled else None,
            caps=caps,
        )
        if caps is not None:
            self._curtailed(outcome, proposal, rows, caps)
        return outcome, net_wh

    def _cleared(self, book: tuple[BookEntry, ...]) -> Proposal:
        facts = {
            meter.number: MeterFacts(
                meter=meter.number,
                owner=str(member.account.address),
                supplier="0x" + "22" * 20,
                supplier_number=1,
                zone=1,
                import_capacity_w=meter.spec.import_capacity_w,
                export_capacity_w=meter.spec.export_capacity_w,
                source=0 if meter.number in self.dirty else int(meter.spec.export_capacity_w > 0),
            )
            for member in self.community.members
            for meter in member.meters
        }
        orders = auction_orders(book, (), facts, PRICES.retail)
        result = clear(orders, floor_cents_per_mwh=PRICES.floor, cap_cents_per_mwh=PRICES.cap)
        self._prices = (result.any.price_cents_per_mwh, result.low_carbon.price_cents_per_mwh)
        return propose(result, (), book, facts, POLICY, PRICES)

    def _rank(self, meter: int) -> int:
        return emission_rank(0, None) if meter in self.dirty else SOLAR_RANK

    def _measured(
        self, mtu_start: int, rows: Sequence[SetpointRow], caps: Caps | None, *, scheduled: bool
    ) -> dict[int, int]:
        state = None if not scheduled else ScheduleState.ACKNOWLEDGED if caps is None else ScheduleState.CURTAILED
        limits = meter_limits(
            ZoneState(
                schedule=None if state is None else _schedule(mtu_start, state, caps),
                stopped=False,
                setpoints_wh={row.meter: row.setpoint_wh for row in rows},
                capacities_w={meter.number: meter.spec.export_capacity_w for meter in self.community.meters},
                caps_wh={} if caps is None else caps.wh,
                limit_wh=capped_wh(self.limit_kw * 1000, self.readings.mtu_length_s),
                mtu_length_s=self.readings.mtu_length_s,
            )
        )
        numbers = {meter.spec.meter_id: meter.number for meter in self.community.meters}
        net_wh: dict[int, int] = {}
        for reading in self.readings.at(mtu_start):
            limit = limits.get(numbers[reading.meter_id])
            kept: MeterReading = obeyed(reading, None if limit is None else limit.export_wh)
            net_wh[numbers[reading.meter_id]] = kept.export_wh - kept.import_wh
        return net_wh

    def _curtailed(self, outcome: Outcome, proposal: Proposal, rows: Sequence[SetpointRow], caps: Caps) -> None:
        direction = Direction.EXPORT if caps.exports else Direction.IMPORT
        named = [row for row in rows if row.meter in caps.wh]
        bases = [
            Basis(
                meter=row.meter,
                basis_wh=basis_wh(row, direction),
                rank=self._rank(row.meter) if caps.exports else 0,
            )
            for row in named
        ]
        check_order(bases, [caps.wh[row.meter] for row in named])
        for row in named:
            lost_wh = basis_wh(row, direction) - caps.wh[row.meter]
            if caps.exports and row.meter in self.dirty:
                outcome.other_left_wh += caps.wh[row.meter]
            elif caps.exports:
                outcome.low_carbon_lost_wh += lost_wh
        any_price, low_carbon_price = self._prices
        terms = CurtailmentTerms(
            any_price=any_price or 0,
            low_carbon_price=low_carbon_price or 0,
            shortage=PRICES.shortage,
            fee=POLICY.grid_fee_cents_per_mwh,
            relief=POLICY.low_carbon_relief_cents_per_mwh,
            bearer=Bearer.BUYER,
        )
        _count_refunds(outcome, proposal, apply_caps(proposal.positions, proposal.deals, caps, terms), terms)


def _count_refunds(outcome: Outcome, proposal: Proposal, shrunk: Shrunk, terms: CurtailmentTerms) -> None:
    """What goes back for the energy taken off trades, from the escrow and by the trades' own prices and fees."""
    outcome.curtailed_wh = sum(shrunk.curtailed_wh)
    outcome.refunded_microcents = sum(shrunk.released_microcents)
    for trade, lost_wh in zip(shrunk.trades, shrunk.curtailed_wh, strict=True):
        price = trade.price_cents_per_mwh
        fee = terms.fee - (terms.relief if proposal.positions[trade.sell].source else 0)
        seller = max(0, -price) + max(0, terms.shortage - price)
        outcome.expected_microcents += lost_wh * (max(0, price) + fee + seller)


def _schedule(mtu_start: int, state: ScheduleState, caps: Caps | None) -> Schedule:
    direction = None if caps is None else Direction.EXPORT if caps.exports else Direction.IMPORT
    schedule = Schedule(
        zone=1,
        mtu_start=mtu_start,
        schedule_hash="0x" + "00" * 32,
        traded_wh=0,
        answer_deadline=mtu_start - 60,
        state=state,
        reason=0,
        result_hash="0x" + "00" * 32,
        setpoints_root="0x" + "00" * 32,
    )
    return replace(schedule, direction=direction)
