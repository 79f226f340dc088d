"""Curtailments of the contract tests: signed, relayed, and carried out against the node's own rules.

Energy in Wh, money in microcents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.contracts.harness import FIRST_MTU, ZONE, Actor, Kept, Market, Meter, Receipt, sign
from tests.contracts.setpoints import Setpoints
from tests.contracts.words import CAP_FIELDS, CURTAILMENT_FIELDS

from gridledger.dispatch.curtailment import Basis, allocate_caps, emission_rank
from gridledger.dispatch.setpoints import Direction, basis_wh
from gridledger.market.curtailment import Caps, CurtailmentTerms, Shrunk, apply_caps, bearer_of
from gridledger.units import cost_microcents

__all__ = ["EXPORT", "IMPORT", "OVERLOAD", "Curtailer", "applied", "apply_arguments", "cap_rows", "left_of"]

EXPORT, IMPORT = Direction.EXPORT, Direction.IMPORT
OVERLOAD = 1
SOURCE_FACTORS = {1: 41_000}  # of the tests' market; every other source stands above


def cap_rows(caps: Mapping[int, int]) -> list[dict[str, int]]:
    """Caps by meter as the contract takes them, ascending."""
    return [{"meter": meter, "capWh": caps[meter]} for meter in sorted(caps)]


@dataclass
class Curtailer:
    """The grid operator over the schedule of one zone and MTU."""

    market: Market
    setpoints: Setpoints
    mtu_start: int = FIRST_MTU
    zone: int = ZONE
    sources: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, market: Market, kepts: Sequence[Kept], meters: Sequence[Meter]) -> "Curtailer":
        """Of a clearing whose setpoints are what it contracts."""
        positions = [one for kept in kepts for one in kept.positions]
        sources = {one.number: one.source for one in meters}
        return cls(market, Setpoints.of(positions), kepts[0].mtu_start, kepts[0].zone, sources)

    def fair(self, meters: Sequence[int], total_wh: int, direction: Direction = EXPORT) -> dict[int, int]:
        """The caps by meter that the order of curtailment gives these meters for their sum."""
        rows = {row.meter: row for row in self.setpoints.rows}
        bases = [
            Basis(
                meter=meter,
                basis_wh=basis_wh(rows[meter], direction),
                rank=self._rank(meter) if direction is EXPORT else 0,
            )
            for meter in sorted(meters)
        ]
        return dict(zip(sorted(meters), allocate_caps(bases, total_wh), strict=True))

    def _rank(self, meter: int) -> int:
        source = self.sources[meter]
        return emission_rank(source, SOURCE_FACTORS.get(source))

    def message(self, caps: Mapping[int, int] | list[dict[str, int]], **changes: Any) -> dict[str, Any]:
        """A curtailment as it is signed, by default ordinary, of export and the first; any field can be changed."""
        made = {
            "zone": self.zone,
            "mtuStart": self.mtu_start,
            "scheduleHash": self.market.view("EnergyDispatching", "scheduleHashOf", self.zone, self.mtu_start),
            "direction": int(EXPORT),
            "reason": OVERLOAD,
            "emergency": False,
            "sequence": 0,
            "caps": caps if isinstance(caps, list) else cap_rows(caps),
        }
        return made | changes

    def signature(self, message: Mapping[str, Any], **changes: Any) -> tuple[bytes, bytes]:
        """By the grid operator; `signer` and `domain` can be changed."""
        signer: Actor = changes.get("signer", self.market.grid_operator)
        domain = self.market.domain("EnergyDispatching", "gridledger-dispatch") | changes.get("domain", {})
        signed = sign(signer, "Curtailment", CURTAILMENT_FIELDS, message, domain, Cap=CAP_FIELDS)
        return signed.r, signed.vs

    def arguments(self, message: Mapping[str, Any], **changes: Any) -> list[Any]:
        """Arguments of `EnergyDispatching.curtail`; `setpoints`, `root`, `result_hash` can be changed, and signing."""
        result_hash = self.market.view("EnergyTrading", "clearingOf", self.zone, self.mtu_start)["resultHash"]
        opened = changes.get("setpoints")
        if opened is None:
            opened = self.setpoints.opened(cap["meter"] for cap in message["caps"])
        return [
            dict(message),
            changes.get("result_hash", result_hash),
            changes.get("root", self.setpoints.root),
            opened,
            *self.signature(message, **changes),
        ]

    def curtail(self, caps: Mapping[int, int], **changes: Any) -> Receipt:
        """Relayed by somebody without any role; an emergency brings no setpoints unless they are given."""
        message = self.message(caps, **{key: value for key, value in changes.items() if key != "setpoints"})
        setpoints = changes.get("setpoints", [] if message["emergency"] else None)
        arguments = self.arguments(message, setpoints=setpoints)
        return self.market.send(self.market.outsider, "EnergyDispatching", "curtail", *arguments)


def apply_arguments(kept: Kept, caps: Mapping[int, int]) -> list[Any]:
    """Arguments of `EnergyCurtailment.applyCaps`."""
    return [kept.zone, kept.mtu_start, kept.chunk, kept.words(), kept.deal_words(), cap_rows(caps)]


def left_of(chunks: Sequence[Kept]) -> dict[int, int]:
    """What chunks with applied caps leave of the meters that go on, by meter."""
    return {one.meter: one.prior_wh + one.quantity_wh for kept in chunks for one in kept.positions if one.continued}


def applied(
    market: Market,
    kept: Kept,
    caps: Mapping[int, int],
    *,
    direction: Direction = EXPORT,
    reason: int = OVERLOAD,
    before: Sequence[Kept] = (),
) -> tuple[Kept, Shrunk, Receipt]:
    """Somebody applies the caps; kept hash, every account, debts, escrow and events are as the node's rules say."""
    shrunk = apply_caps(
        kept.positions,
        kept.deals,
        Caps(exports=direction is EXPORT, wh=caps),
        _terms(market, kept, reason),
        left_of(before),
    )
    operator = market.grid_operator.address
    owners = sorted({one.owner for one in kept.positions})
    expected, debts = market.accounts(), _debts(market, operator, owners)
    expected.debts.update(debts)
    expected.curtail(kept.positions, shrunk, operator)
    receipt = market.send(market.outsider, "EnergyCurtailment", "applyCaps", *apply_arguments(kept, caps))
    after = replace(kept, positions=shrunk.positions, deals=shrunk.trades)
    shown = market.view("EnergyTrading", "stateHashOf", kept.zone, kept.mtu_start, kept.chunk)
    assert shown == after.state_hash()
    assert expected.differences(market.accounts(), _debts(market, operator, owners)) == []
    market.assert_solvent()
    _assert_told(kept, shrunk, receipt, _terms(market, kept, reason))
    assert market.view("EnergyCurtailment", "appliedChunksOf", kept.zone, kept.mtu_start) == kept.chunk + 1
    return after, shrunk, receipt


def _terms(market: Market, kept: Kept, reason: int) -> CurtailmentTerms:
    cleared = market.view("EnergyTrading", "clearingOf", kept.zone, kept.mtu_start)
    return CurtailmentTerms(
        any_price=cleared["anyPrice"],
        low_carbon_price=cleared["lowCarbonPrice"],
        shortage=market.prices(kept.mtu_start).shortage,
        fee=market.policy.grid_fee_cents_per_mwh,
        relief=market.policy.low_carbon_relief_cents_per_mwh,
        bearer=bearer_of(market.policy.replacement_bearers, reason),
    )


def _debts(market: Market, operator: str, owners: Sequence[str]) -> dict[tuple[str, str], int]:
    return {(operator, owner): int(market.view("EnergyTrading", "debtOf", operator, owner)) for owner in owners}


def _assert_told(kept: Kept, shrunk: Shrunk, receipt: Receipt, terms: CurtailmentTerms) -> None:
    """The events say which trades became smaller, and the sums."""
    lost = [(trade, wh) for trade, wh in zip(shrunk.trades, shrunk.curtailed_wh, strict=True) if wh]
    positions = kept.positions
    meters = [(positions[one.sell].meter, positions[one.buy].meter, wh) for one, wh in lost]
    told = [event.arguments for event in receipt.named("TradeCurtailed")]
    assert [(values["sellMeter"], values["buyMeter"], values["energyWh"]) for values in told] == meters
    event = receipt.one("CapsApplied")
    cost = sum(cost_microcents(wh, max(0, terms.shortage - trade.price_cents_per_mwh)) for trade, wh in lost)
    assert (event["zone"], event["mtuStart"], event["chunk"]) == (kept.zone, kept.mtu_start, kept.chunk)
    assert event["curtailedWh"] == sum(wh for _, wh in lost)
    assert event["lowCarbonWh"] == sum(wh for trade, wh in lost if positions[trade.sell].source)
    assert event["refundedMicrocents"] == sum(shrunk.released_microcents)
    assert event["compensatedMicrocents"] == (0 if terms.bearer == 0 else cost)
