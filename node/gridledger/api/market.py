"""What everybody may know of the market: rules, prices, clearings, members' accounts."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from gridledger.api.context import NodeContext
from gridledger.api.schemas import Address, checksum
from gridledger.market.errors import NotAdmitted
from gridledger.market.ports import MtuRecord
from gridledger.units import UINT32_MAX, require_aligned

__all__ = ["market_routes"]

Zone = Annotated[int, Query(ge=1, le=UINT32_MAX)]
Moment = Annotated[int, Query(ge=0, le=UINT32_MAX)]
MtuStart = Annotated[int, Path(ge=1, le=UINT32_MAX)]


def market_routes(node: NodeContext) -> APIRouter:
    """Routes under /v1/market and /v1/participants."""
    router = APIRouter(prefix="/v1", tags=["market"])

    @router.get("/market")
    def get_market() -> dict[str, Any]:
        """Chain, contracts, EIP-712 domains, MTU length, present time and counts."""
        with node.database.read() as tx:
            tip = tx.chain_log.tip()
            return {
                **node.market_facts,
                "now": node.clock.now(),
                "block": None if tip is None else {"number": tip.number, "hash": tip.block_hash, "time": tip.time_s},
                "zones": [
                    {"zone": zone, "grid_operator": operator, "meters": tx.directory.meter_count(zone)}
                    for zone, operator in tx.directory.zones().items()
                ],
            }

    @router.get("/market/summary")
    def get_summary() -> dict[str, Any]:
        """Totals since the first block."""
        with node.database.read() as tx:
            trades, traded_wh = tx.mtus.trade_totals()
            curtailed_wh, curtailed_low_carbon_wh = tx.mtus.curtailed_totals()
            return {
                "meters": tx.directory.meter_count(),
                "orders": tx.orders.count(),
                "trades": trades,
                "traded_wh": traded_wh,
                "curtailed_wh": curtailed_wh,
                "curtailed_low_carbon_wh": curtailed_low_carbon_wh,
                "mtu_phases": tx.mtus.phase_counts(),
                "dispatch": tx.dispatches.state_counts(),
                "tokens_minted_ugco2": tx.minted_ugco2(),
                "gas_used": tx.outbox.gas_total(),
                "open_transactions": tx.outbox.open_count(),
                "failed_transactions": [
                    {"kind": row.kind, "error": row.error, "zone": row.zone, "mtu_start": row.mtu_start}
                    for row in tx.outbox.failed(20)
                ],
            }

    @router.get("/market/prices/{mtu_start}")
    def get_prices(mtu_start: MtuStart) -> dict[str, Any]:
        """Tariffs, bounds and imbalance prices of an MTU, cents per MWh, and when its gate closes."""
        require_aligned(mtu_start, node.mtu_length_s)
        with node.database.read() as tx:
            prices, policy = tx.directory.prices_at(mtu_start), tx.directory.policy_at(mtu_start)
        return {
            "mtu_start": mtu_start,
            "gate_closure": mtu_start - policy.gate_closure_s,
            "feed_in_cents_per_mwh": prices.feed_in,
            "retail_cents_per_mwh": prices.retail,
            "floor_cents_per_mwh": prices.floor,
            "cap_cents_per_mwh": prices.cap,
            "surplus_cents_per_mwh": prices.surplus,
            "shortage_cents_per_mwh": prices.shortage,
            "grid_fee_cents_per_mwh": policy.grid_fee_cents_per_mwh,
            "low_carbon_relief_cents_per_mwh": policy.low_carbon_relief_cents_per_mwh,
        }

    @router.get("/market/offers")
    def get_offers(
        zone: Zone,
        mtu_start: Annotated[int, Query(ge=1, le=UINT32_MAX)],
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> dict[str, Any]:
        """Posted limit offers that can be accepted directly (`POST /v1/deals`), cheapest first."""
        require_aligned(mtu_start, node.mtu_length_s)
        with node.database.read() as tx:
            offers = tx.orders.posted_offers(zone, mtu_start, limit)
            meters = tx.directory.meters([offer.signed.order.meter for offer, _ in offers])
        return {
            "offers": [
                {
                    "uid": offer.signed.uid,
                    "limit_cents_per_mwh": offer.signed.order.limit_cents_per_mwh,
                    "unsold_wh": unsold_wh,
                    "low_carbon": meters[offer.signed.order.meter].source != 0,
                    "expiry": offer.signed.order.expiry,
                }
                for offer, unsold_wh in offers
            ]
        }

    @router.get("/market/mtus")
    def get_mtus(
        zone: Zone,
        from_s: Annotated[Moment, Query(alias="from")] = 0,
        to_s: Annotated[Moment, Query(alias="to")] = UINT32_MAX,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, Any]:
        """Cleared MTUs of a zone with from <= start < to (Unix seconds), oldest first."""
        with node.database.read() as tx:
            return {"mtus": [_mtu_out(record) for record in tx.mtus.between(zone, from_s, to_s, limit)]}

    @router.get("/participants/{address}")
    def get_participant(address: Annotated[Address, Path()]) -> dict[str, Any]:
        """A member's supplier, meters, money and debts, as the chain states them."""
        account = checksum(address)
        with node.database.read() as tx:
            supplier = tx.directory.supplier_of(account)
            if supplier is None and not tx.directory.is_supplier(account) and account not in node.role_accounts:
                raise NotAdmitted(owner=account)
            money = tx.directory.account(account)
            return {
                "address": account,
                "supplier": supplier,
                "suspended": tx.directory.is_suspended(account),
                "meters": list(tx.directory.meters_of(account)),
                "free_microcents": str(money.free_microcents),
                "credit_microcents": str(money.credit_microcents),
                "withdrawal": _requested(money.withdrawal_microcents, money.withdrawal_at),
                "credit_cut": _requested(money.cut_microcents, money.cut_at),
                "committed_microcents": str(tx.orders.committed_microcents(account)),
                "debts_microcents": {
                    creditor: str(amount) for creditor, amount in tx.directory.debts_of(account).items()
                },
                "next_nonce": node.raw_relay.next_nonce(account, tx.outbox.highest_nonce(account)),
            }

    return router


def _requested(amount_microcents: int, requested_at: int) -> dict[str, Any] | None:
    """What has been asked for and not been carried out yet; it counts against gates that close later."""
    if not requested_at:
        return None
    return {"amount_microcents": str(amount_microcents), "requested_at": requested_at}


def _mtu_out(record: MtuRecord) -> dict[str, Any]:
    return {
        "zone": record.zone,
        "mtu_start": record.mtu_start,
        "phase": record.phase,
        "book_hash": record.book_hash,
        "orders": record.order_count,
        "supply_wh": record.supply_wh,
        "demand_wh": record.demand_wh,
        "reference_price_cents_per_mwh": record.reference_price_cents_per_mwh,
        "price_cents_per_mwh": record.price_cents_per_mwh,
        "low_carbon_price_cents_per_mwh": record.low_carbon_price_cents_per_mwh,
        "traded_wh": record.traded_wh,
        "failure": record.failure,
    }
