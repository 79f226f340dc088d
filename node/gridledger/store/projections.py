"""What each contract event changes in the node's projections. Replaying all events rebuilds them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import insert

from gridledger.market.defence import Challenge
from gridledger.market.model import RECORDED_REASONS, MtuPhase, OrderState, Recording
from gridledger.market.notices import NoticeDetails, NoticeKind
from gridledger.market.omission import Proof
from gridledger.market.packing import order_from_words
from gridledger.market.ports import AcceptedOrder, PostedOrder
from gridledger.relay import ChainEvent
from gridledger.store.cash_events import CASH_HANDLERS
from gridledger.store.closings import Place, change_free, close_position
from gridledger.store.dispatch_events import DISPATCH_HANDLERS
from gridledger.store.registry_events import REGISTRY_HANDLERS
from gridledger.store.schema import carbon_reward

if TYPE_CHECKING:
    from gridledger.store.transaction import Transaction

__all__ = ["apply_event"]

Handler = Callable[["Transaction", ChainEvent, int], None]


def apply_event(tx: "Transaction", event: ChainEvent, block_time_s: int) -> None:
    """Apply one event; events without a projection change nothing."""
    handler = _HANDLERS.get(event.name)
    if handler is not None:
        handler(tx, event, block_time_s)


def _reference_price_published(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    arguments = event.arguments
    tx.mtus.set_prices(
        arguments["zone"], arguments["mtuStart"], reference_price_cents_per_mwh=arguments["priceCentsPerMwh"]
    )


def _book_committed(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    tx.mtus.move(event.arguments["zone"], event.arguments["mtuStart"], "book_committed")


def _order_cancelled(tx: "Transaction", event: ChainEvent, time: int) -> None:
    accepted = tx.orders.find(event.arguments["orderUid"])
    if accepted is not None and accepted.signed.order.owner == event.arguments["owner"]:
        _cancel_on_chain(tx, accepted, time)


def _orders_cancelled(tx: "Transaction", event: ChainEvent, time: int) -> None:
    arguments = event.arguments
    tx.orders.cancel_salt(arguments["owner"], arguments["upToSalt"])
    for accepted in tx.orders.open_with_salt_up_to(arguments["owner"], arguments["upToSalt"]):
        _cancel_on_chain(tx, accepted, time)


def _order_posted(tx: "Transaction", event: ChainEvent, time: int) -> None:
    """The owner has posted an order on chain: it counts as receipted. The engine takes it up."""
    arguments = event.arguments
    vs = int(arguments["vs"], 16)
    signature = bytes.fromhex(arguments["r"][2:]) + (vs & (1 << 255) - 1).to_bytes(32) + bytes((27 + (vs >> 255),))
    tx.orders.add_posted(
        PostedOrder(
            uid=arguments["orderUid"],
            order=order_from_words(int(arguments["terms"]), int(arguments["guard"]), arguments["owner"]),
            signature=signature,
            posted_at=time,
        )
    )


def _cancel_on_chain(tx: "Transaction", accepted: AcceptedOrder, time: int) -> None:
    """A cancellation counts for MTUs whose gate it came before, as the contract judges it.

    An order in the book of its last MTU stays there; if the contract disagrees, the clearing is refused by its uid.
    """
    if accepted.state is not OrderState.OPEN or accepted.is_listed_for_good:
        return
    mtu_start = accepted.next_mtu_start
    if time < mtu_start - tx.directory.policy_at(mtu_start).gate_closure_s:
        tx.orders.end(accepted.signed.uid, OrderState.CANCELLED, "on chain")
    elif mtu_start < accepted.final_mtu_start:
        tx.orders.end_after_next(accepted.signed.uid)
    else:
        return
    order = accepted.signed.order
    tx.notices.add(
        NoticeKind.CANCELLED,
        owner=order.owner,
        order_uid=accepted.signed.uid,
        zone=accepted.zone,
        mtu_start=mtu_start,
        meter=order.meter,
        created_at=time,
        details=NoticeDetails(energy_wh=order.quantity_wh, reason="on chain"),
    )


def _market_cleared(tx: "Transaction", event: ChainEvent, time: int) -> None:
    """A chunk is locked; with the last one the clearing is complete."""
    arguments = event.arguments
    key = (arguments["zone"], arguments["mtuStart"])
    record, chunk = tx.mtus.record(*key), arguments["chunk"]
    for opened in tx.mtus.opened_positions(*key, chunk).values():
        change_free(tx, opened.owner, -opened.locked_microcents)
    tx.mtus.lock_fills(*key)
    tx.mtus.set_chunks(*key, chunk_count=record.chunk_count, cleared_chunks=chunk + 1)
    tx.mtus.set_prices(
        *key,
        price_cents_per_mwh=arguments["anyPrice"],
        low_carbon_price_cents_per_mwh=arguments["lowCarbonPrice"],
        traded_wh=(record.traded_wh or 0) + arguments["tradedWh"],
    )
    if not arguments["last"]:
        return
    tx.mtus.move(*key, "market_cleared")
    tx.orders.move_listed(*key, OrderState.MATCHED, OrderState.LOCKED)
    tx.notices.tell_locked(*key, arguments["anyPrice"], arguments["lowCarbonPrice"], event.transaction_hash, time)
    if arguments["positionCount"] == 0 and chunk == 0:
        tx.mtus.move(*key, "positions_closed")


def _readings_anchored(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    sequence = event.arguments["sequence"]
    tx.readings.confirm_anchor(sequence)
    for zone, mtu_start in tx.readings.anchored_slots(sequence):
        _correct_if_settled(tx, zone, mtu_start)


def _reading_proven(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    """From now on the contract settles the meter's MTU on nothing else."""
    arguments = event.arguments
    zone, mtu_start = arguments["zone"], arguments["mtuStart"]
    tx.readings.add_proven(arguments["meter"], mtu_start, zone, arguments["netWh"])
    _correct_if_settled(tx, zone, mtu_start)


def _correct_if_settled(tx: "Transaction", zone: int, mtu_start: int) -> None:
    record = tx.mtus.find(zone, mtu_start)
    if record is not None and record.phase is MtuPhase.SETTLED:
        tx.mtus.set_to_correct(zone, mtu_start, to_correct=True)


def _position_closed(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    """The event that follows the positions of a settlement says which chunk they belong to."""
    tx.closed_positions.append(event)


def _settlement_progressed(tx: "Transaction", event: ChainEvent, time: int) -> None:
    arguments = event.arguments
    key = (arguments["zone"], arguments["mtuStart"])
    closed, tx.closed_positions = tx.closed_positions, []
    tx.settled_mtu_start = arguments["mtuStart"]
    for one in closed:
        close_position(tx, one, Place(*key, arguments["chunk"]), time)
    if arguments["openPositions"] == 0 and tx.mtus.record(*key).phase in (MtuPhase.CLEARED, MtuPhase.STOPPED):
        tx.mtus.move(*key, "positions_closed")


def _eligibility_recorded(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    """The contract has judged a listed order: its word counts for the clearing."""
    arguments = event.arguments
    key, uids = (arguments["zone"], arguments["mtuStart"]), [arguments["orderUid"]]
    reason = RECORDED_REASONS[arguments["reason"]]
    tx.mtus.mark_ineligible(*key, uids, reason)
    tx.mtus.mark_recording(*key, uids, Recording.NONE if reason is None else Recording.RECORDED)


def _challenge_opened(tx: "Transaction", event: ChainEvent, time: int) -> None:
    arguments = event.arguments
    challenge = Challenge(
        owner=arguments["owner"],
        zone=arguments["zone"],
        mtu_start=arguments["mtuStart"],
        order_uid=arguments["orderUid"],
        respond_by=arguments["respondBy"],
    )
    tx.challenges.add(challenge, arguments["proof"], int(arguments["amountMicrocents"]))
    key = (challenge.zone, challenge.mtu_start)
    tx.notices.tell_challenged(*key, _PROOFS[arguments["proof"]], event.transaction_hash, time)


def _challenge_ended(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    tx.challenges.end(event.arguments["owner"], event.arguments["zone"], event.arguments["mtuStart"])


def _token_transfer(tx: "Transaction", event: ChainEvent, time: int) -> None:
    arguments = event.arguments
    if event.contract != "LowCarbonToken" or int(arguments["from"], 16) != 0:
        return
    holder, amount_ugco2 = arguments["to"], arguments["value"]
    _keep_reward(tx, event, holder, amount_ugco2)
    zones = tuple(tx.directory.zones())
    tx.notices.tell_rewarded(tx.settled_mtu_start, zones, holder, amount_ugco2, event.transaction_hash, time)


def _tokens_invalidated(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    """What a debt collects was taken off the rewards when it was owed."""
    if event.arguments["reason"] == "correction":
        _keep_reward(tx, event, event.arguments["holder"], -event.arguments["amountUgco2"])


def _tokens_owed(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    _keep_reward(tx, event, event.arguments["holder"], -event.arguments["amountUgco2"])


def _keep_reward(tx: "Transaction", event: ChainEvent, holder: str, amount_ugco2: int) -> None:
    """Tokens granted or taken back by the settlement whose events come before in the same transaction."""
    tx.connection.execute(
        insert(carbon_reward).values(
            block_number=event.block_number,
            log_index=event.log_index,
            mtu_start=tx.settled_mtu_start,
            holder=holder,
            amount_ugco2=amount_ugco2,
        )
    )


_PROOFS = tuple(proof.name.lower().replace("_", " ") for proof in Proof)
_HANDLERS: dict[str, Handler] = {
    **REGISTRY_HANDLERS,
    **CASH_HANDLERS,
    **DISPATCH_HANDLERS,
    "ReferencePricePublished": _reference_price_published,
    "BookCommitted": _book_committed,
    "OrderCancelled": _order_cancelled,
    "OrdersCancelled": _orders_cancelled,
    "OrderPosted": _order_posted,
    "ChallengeOpened": _challenge_opened,
    "ChallengeDefeated": _challenge_ended,
    "ChallengeUpheld": _challenge_ended,
    "MarketCleared": _market_cleared,
    "ReadingsAnchored": _readings_anchored,
    "ReadingProven": _reading_proven,
    "EligibilityRecorded": _eligibility_recorded,
    "PositionSettled": _position_closed,
    "PositionRefunded": _position_closed,
    "PositionSubstituted": _position_closed,
    "PositionResettled": _position_closed,
    "SettlementProgressed": _settlement_progressed,
    "Transfer": _token_transfer,
    "Invalidated": _tokens_invalidated,
    "TokensOwed": _tokens_owed,
}
