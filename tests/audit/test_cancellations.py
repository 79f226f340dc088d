"""Which cancellation takes an order out of which MTU's book, and where the node may have seen it either way."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gridledger.audit.cancellations import Withdrawals
from gridledger.audit.evidence import Evidence
from gridledger.audit.history import Cancellations
from gridledger.audit.rows import AcceptanceRow, BulkCancellationRow, CancellationRow, OrderRow
from gridledger.market.model import Pricing, Product, Side
from gridledger.relay import ChainEvent

LENGTH_S, GATE_S = 900, 300
FIRST = 1_888_889 * LENGTH_S
OWNER, OTHER = "0x" + "1" * 40, "0x" + "2" * 40
UID = "0x" + "a" * 64


def _order(received_at: int = FIRST - 2_000, last: int = FIRST + 4 * LENGTH_S) -> OrderRow:
    return OrderRow(
        running_number=1,
        uid=UID,
        owner=OWNER,
        meter=1,
        zone=1,
        side=Side.SELL,
        product=Product.ANY,
        pricing=Pricing.LIMIT,
        first_mtu_start=FIRST,
        last_mtu_start=last,
        quantity_wh=100,
        limit_cents_per_mwh=10_000,
        expiry=last,
        salt=7,
        signature=bytes(65),
        received_at=received_at,
        receipt_block_hash="0x",
        receipt_signature=bytes(65),
    )


def _acceptance(mtu_start: int, received_at: int) -> AcceptanceRow:
    return AcceptanceRow(
        running_number=2,
        uid="0x" + "b" * 64,
        owner=OTHER,
        meter=2,
        zone=1,
        offer_uid=UID,
        mtu_start=mtu_start,
        quantity_wh=50,
        salt=1,
        signature=bytes(65),
        received_at=received_at,
        receipt_block_hash="0x",
        receipt_signature=bytes(65),
    )


def _gate(mtu_start: int) -> int:
    return mtu_start - GATE_S


def _withdrawals(
    *,
    single: int | None = None,
    bulk: tuple[int, int] | None = None,
    accepted: tuple[int, int] | None = None,
    events: tuple[tuple[str, int, dict[str, Any]], ...] = (),
) -> Withdrawals:
    """`single` is a moment, `bulk` (salt, moment), `accepted` (MTU, moment), `events` (name, time, arguments)."""
    on_chain = Cancellations()
    for name, time_s, arguments in events:
        on_chain.apply(
            ChainEvent(
                block_number=1,
                log_index=0,
                transaction_hash="0x",
                contract="EnergyTrading",
                name=name,
                arguments=arguments,
            ),
            time_s,
        )
    bulks = [] if bulk is None else [BulkCancellationRow(2, OWNER, bulk[0], bytes(65), bulk[1], "0x", bytes(65))]
    acceptances = [] if accepted is None else [_acceptance(*accepted)]
    evidence = SimpleNamespace(
        run=SimpleNamespace(
            bulk_cancellations=bulks,
            acceptances=acceptances,
        ),
        cancelled={} if single is None else {UID: CancellationRow(2, UID, bytes(65), single, "0x", bytes(65))},
        history=SimpleNamespace(cancellations=on_chain, rules=SimpleNamespace(gate_closure=_gate)),
        facts=SimpleNamespace(mtu_length_s=LENGTH_S),
    )
    return Withdrawals(evidence=cast(Evidence, evidence))


def _answers(withdrawals: Withdrawals, order: OrderRow) -> list[bool | None]:
    """Whether the order was withdrawn from each of its MTUs."""
    mtus = range(order.first_mtu_start, order.last_mtu_start + 1, LENGTH_S)
    return [withdrawals.withdrawn(order, _gate(mtu_start)) for mtu_start in mtus]


def test_without_a_cancellation_an_order_stays() -> None:
    assert _answers(_withdrawals(), _order()) == [False] * 5


@pytest.mark.parametrize("delay_s", [0, 1, 500])
def test_a_cancellation_counts_for_gates_after_it(delay_s: int) -> None:
    moment = _gate(FIRST + LENGTH_S) + delay_s
    assert _answers(_withdrawals(single=moment), _order()) == [False, False, True, True, True]


def test_a_bulk_cancellation_takes_orders_up_to_its_salt() -> None:
    moment = _gate(FIRST + LENGTH_S) + 500
    assert _answers(_withdrawals(bulk=(7, moment)), _order()) == [False, False, True, True, True]
    assert _answers(_withdrawals(bulk=(6, moment)), _order()) == [False] * 5


def test_a_bulk_cancellation_leaves_orders_that_came_after_it() -> None:
    assert _answers(_withdrawals(bulk=(7, FIRST - 2_001)), _order()) == [False] * 5


def test_within_one_second_the_node_may_have_seen_either_first() -> None:
    assert _answers(_withdrawals(bulk=(7, FIRST - 2_000)), _order()) == [None] * 5


def test_while_a_gate_was_closing_the_order_may_have_stayed() -> None:
    moment = _gate(FIRST) + 10
    assert _answers(_withdrawals(bulk=(7, moment)), _order()) == [False, None, None, None, None]


def test_an_offer_with_a_deal_to_come_stays_in_spite_of_a_bulk_cancellation() -> None:
    accepted = (FIRST + 3 * LENGTH_S, FIRST - 1_500)
    assert _answers(_withdrawals(bulk=(7, FIRST - 1_000), accepted=accepted), _order()) == [False] * 5
    late = _gate(FIRST + 3 * LENGTH_S) + 200
    assert _answers(_withdrawals(bulk=(7, late), accepted=accepted), _order())[-1] is True


def test_a_cancellation_on_chain_leaves_the_node_time_to_see_it() -> None:
    event = ("OrderCancelled", _gate(FIRST), {"owner": OWNER, "orderUid": UID})
    assert _answers(_withdrawals(events=(event,)), _order()) == [False, None, None, None, None]
    repeated = (event, ("OrderCancelled", _gate(FIRST) + 5_000, {"owner": OWNER, "orderUid": UID}))
    assert _answers(_withdrawals(events=repeated), _order()) == [False, None, None, None, None]


@pytest.mark.parametrize(("salt", "expected"), [(6, False), (7, None), (8, None)])
def test_a_bulk_cancellation_on_chain_counts_up_to_its_salt(salt: int, expected: bool | None) -> None:
    events = (
        ("OrdersCancelled", _gate(FIRST) + 1, {"owner": OWNER, "upToSalt": salt}),
        ("OrdersCancelled", _gate(FIRST) + 1, {"owner": OTHER, "upToSalt": 99}),
    )
    assert _answers(_withdrawals(events=events), _order()) == [False, *[expected] * 4]
