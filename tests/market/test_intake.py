"""What an order is refused for: one typed error each, with the failing values, and the last value that passes."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.market.fakes import (
    BUYER,
    EUR,
    GATE,
    MTU_LENGTH_S,
    MTU_START,
    NOW,
    OUTSIDER,
    POLICY,
    PRICES,
    SELLER,
    an_acceptance,
    an_order,
    meter_facts,
)

from gridledger.errors import GridLedgerError
from gridledger.market.errors import (
    AccountSuspended,
    CapacityExceeded,
    FundsExceeded,
    GateClosed,
    LimitOutsideBounds,
    MarketHalted,
    MeterNotOwned,
    NotAdmitted,
    OfferNotAcceptable,
    OfferUsedUp,
    OrderExpired,
    OrderUnsupported,
    OtherSideTaken,
    OwnOffer,
    QuantityRefused,
    RangeRefused,
    SaltCancelled,
)
from gridledger.market.intake import (
    LONGEST_ORDER_S,
    IntakeContext,
    acceptance_worst_case_microcents,
    check_acceptance,
    check_order,
    order_worst_case_microcents,
)
from gridledger.market.model import CashAccount, Pricing, Product, Side
from gridledger.market.packing import LARGEST_ENERGY_WH, LARGEST_TIME_S
from gridledger.market.settlement import capacity_wh
from gridledger.units import UINT64_MAX, OutOfRange, UnalignedMtu

CONTEXT = IntakeContext(
    now=NOW,
    mtu_length_s=MTU_LENGTH_S,
    policy=POLICY,
    prices=PRICES,
    meter=meter_facts(2, BUYER.address),
    admitted=True,
    suspended=False,
    halted=False,
    account=CashAccount(free_microcents=10 * EUR, credit_microcents=0),
    committed_microcents=0,
    open_wh=0,
    other_side_open=False,
    cancelled_salt=None,
)


LAST_COVERED = (NOW + LONGEST_ORDER_S) // MTU_LENGTH_S * MTU_LENGTH_S


def context(**changes: object) -> IntakeContext:
    return replace(CONTEXT, **changes)  # type: ignore[arg-type]


def refusal(changes: dict[str, object], **facts: object) -> GridLedgerError:
    with pytest.raises(GridLedgerError) as refused:
        check_order(an_order(**changes), context(**facts))  # type: ignore[arg-type]
    return refused.value


def said(error: GridLedgerError) -> tuple[type[GridLedgerError], dict[str, object]]:
    return type(error), error.values()


def test_a_good_bid_and_a_good_offer_pass() -> None:
    check_order(an_order(), CONTEXT)
    check_order(an_order(Side.SELL), context(meter=meter_facts(1, SELLER.address)))


@pytest.mark.parametrize("mtu_start", [MTU_START + 1, MTU_START - 899, MTU_START + 450, 0])
def test_an_mtu_off_the_grid_is_refused(mtu_start: int) -> None:
    error = refusal({"first_mtu_start": mtu_start, "last_mtu_start": mtu_start})
    assert said(error) == (UnalignedMtu, {"mtu_start": mtu_start, "mtu_length_s": MTU_LENGTH_S})


def test_a_last_mtu_off_the_grid_is_refused() -> None:
    error = refusal({"last_mtu_start": MTU_START + 1})
    assert said(error) == (UnalignedMtu, {"mtu_start": MTU_START + 1, "mtu_length_s": MTU_LENGTH_S})


def test_an_offer_has_no_product_of_its_own() -> None:
    order = an_order(Side.SELL, product=Product.LOW_CARBON)
    with pytest.raises(OrderUnsupported) as refused:
        check_order(order, context(meter=meter_facts(1, SELLER.address)))
    assert refused.value.values() == {"field": "product", "value": "low_carbon"}


@pytest.mark.parametrize(
    "changes",
    [
        {"last_mtu_start": MTU_START + 900},
        {"last_mtu_start": LAST_COVERED},
        {"product": Product.LOW_CARBON},
        {"pricing": Pricing.PEGGED},
        {"pricing": Pricing.PEGGED, "product": Product.LOW_CARBON, "last_mtu_start": MTU_START + 86_400},
    ],
)
def test_standing_low_carbon_and_pegged_orders_pass(changes: dict[str, object]) -> None:
    check_order(an_order(**changes), CONTEXT)  # type: ignore[arg-type]


@pytest.mark.parametrize("last", [MTU_START - 900, LAST_COVERED + 900, 900])
def test_a_range_that_runs_backwards_or_further_than_the_bond_covers_is_refused(last: int) -> None:
    expected = {"first_mtu_start": MTU_START, "last_mtu_start": last}
    assert said(refusal({"last_mtu_start": last})) == (RangeRefused, expected)


def test_an_order_with_a_salt_its_owner_has_cancelled_is_refused_and_the_next_one_passes() -> None:
    expected = {"owner": BUYER.address, "salt": 7, "cancelled_up_to": 7}
    assert said(refusal({"salt": 7}, cancelled_salt=7)) == (SaltCancelled, expected)
    check_order(an_order(salt=8), context(cancelled_salt=7))


def test_a_standing_order_s_gate_is_that_of_its_first_mtu() -> None:
    standing = an_order(last_mtu_start=MTU_START + 9_000, expiry=GATE)
    check_order(standing, context(now=GATE - 1))
    error = refusal({"last_mtu_start": MTU_START + 9_000}, now=GATE)
    assert said(error) == (GateClosed, {"mtu_start": MTU_START, "gate_closure": GATE, "now": GATE})


@pytest.mark.parametrize("quantity_wh", [0, -1])
def test_an_order_without_energy_is_refused(quantity_wh: int) -> None:
    assert said(refusal({"quantity_wh": quantity_wh})) == (QuantityRefused, {"quantity_wh": quantity_wh})


@pytest.mark.parametrize(
    ("field", "value", "lowest", "highest"),
    [
        ("quantity_wh", LARGEST_ENERGY_WH + 1, 1, LARGEST_ENERGY_WH),
        ("salt", -1, 0, UINT64_MAX),
        ("salt", UINT64_MAX + 1, 0, UINT64_MAX),
        ("expiry", -1, 0, LARGEST_TIME_S),
        ("expiry", LARGEST_TIME_S + 1, 0, LARGEST_TIME_S),
    ],
)
def test_a_number_the_contract_cannot_hold_is_refused(field: str, value: int, lowest: int, highest: int) -> None:
    expected = {"field": field, "value": value, "lowest": lowest, "highest": highest}
    assert said(refusal({field: value})) == (OutOfRange, expected)


@pytest.mark.parametrize("changes", [{"salt": 0}, {"salt": UINT64_MAX}, {"expiry": LARGEST_TIME_S}])
def test_the_extremes_the_contract_can_hold_pass(changes: dict[str, object]) -> None:
    check_order(an_order(**changes), CONTEXT)  # type: ignore[arg-type]


def test_an_account_that_is_not_admitted_is_refused() -> None:
    assert said(refusal({}, admitted=False)) == (NotAdmitted, {"owner": BUYER.address})


def test_a_suspended_account_is_refused() -> None:
    assert said(refusal({}, suspended=True)) == (AccountSuspended, {"owner": BUYER.address})


def test_somebody_else_s_meter_is_refused() -> None:
    error = refusal({}, meter=meter_facts(2, OUTSIDER.address))
    assert said(error) == (MeterNotOwned, {"meter": 2, "owner": BUYER.address})


def test_a_halted_zone_takes_no_order() -> None:
    assert said(refusal({}, halted=True)) == (MarketHalted, {"zone": 1})


def test_an_order_is_accepted_one_second_before_the_gate_and_refused_at_it() -> None:
    check_order(an_order(), context(now=GATE - 1))
    expected = {"mtu_start": MTU_START, "gate_closure": GATE, "now": GATE}
    assert said(refusal({}, now=GATE)) == (GateClosed, expected)


def test_an_order_must_live_to_the_gate_and_not_a_second_less() -> None:
    check_order(an_order(expiry=GATE), CONTEXT)
    error = refusal({"expiry": GATE - 1})
    assert said(error) == (OrderExpired, {"expiry": GATE - 1, "gate_closure": GATE})


@pytest.mark.parametrize("limit", [PRICES.floor - 1, PRICES.cap + 1, -1])
def test_a_limit_beyond_floor_or_cap_is_refused(limit: int) -> None:
    expected = {"limit_cents_per_mwh": limit, "floor_cents_per_mwh": 8_000, "cap_cents_per_mwh": 32_000}
    assert said(refusal({"limit_cents_per_mwh": limit})) == (LimitOutsideBounds, expected)


@pytest.mark.parametrize("limit", [PRICES.floor, PRICES.cap])
def test_floor_and_cap_themselves_are_good_limits(limit: int) -> None:
    check_order(an_order(limit_cents_per_mwh=limit), CONTEXT)


def test_a_negative_limit_passes_where_the_bounds_are_negative() -> None:
    prices = replace(
        PRICES, feed_in=-30_000, retail=-6_000, floor=-30_000, cap=-6_000, surplus=-30_500, shortage=-5_500
    )
    check_order(an_order(limit_cents_per_mwh=-20_000), context(prices=prices))


@pytest.mark.parametrize(("side", "capacity"), [(Side.BUY, 1_000), (Side.SELL, 2_000)])
def test_all_open_orders_of_a_meter_share_its_capacity_of_that_direction(side: Side, capacity: int) -> None:
    order = an_order(side, quantity_wh=200)
    facts = context(meter=meter_facts(order.meter, order.owner), open_wh=capacity - 200)
    check_order(order, facts)
    with pytest.raises(CapacityExceeded) as refused:
        check_order(order, replace(facts, open_wh=capacity - 199))
    assert refused.value.values() == {
        "meter": order.meter,
        "requested_wh": 200,
        "open_wh": capacity - 199,
        "capacity_wh": capacity,
    }


@pytest.mark.parametrize(
    ("capacity_w", "length_s", "expected"), [(4_000, 900, 1_000), (3_999, 900, 999), (1, 300, 0), (1, 3600, 1)]
)
def test_a_meter_s_capacity_is_rounded_down_to_whole_wh(capacity_w: int, length_s: int, expected: int) -> None:
    facts = meter_facts(1, BUYER.address, import_capacity_w=capacity_w, export_capacity_w=0)
    assert capacity_wh(facts, Side.BUY, length_s) == expected
    assert capacity_wh(facts, Side.SELL, length_s) == 0


def test_an_owner_trades_on_one_side_of_a_zone_and_mtu() -> None:
    error = refusal({}, other_side_open=True)
    assert said(error) == (OtherSideTaken, {"owner": BUYER.address, "zone": 1, "mtu_start": MTU_START})


def test_the_last_microcent_decides_whether_an_order_is_covered() -> None:
    required = 600 * (20_000 + 2_000)
    free = CashAccount(free_microcents=required + 5, credit_microcents=0)
    check_order(an_order(), context(account=free, committed_microcents=5))
    error = refusal({}, account=free, committed_microcents=6)
    assert said(error) == (
        FundsExceeded,
        {
            "owner": BUYER.address,
            "required_microcents": required,
            "committed_microcents": 6,
            "available_microcents": required + 5,
        },
    )


@pytest.mark.parametrize(("requested_at", "accepted"), [(NOW, False), (MTU_START, True)])
@pytest.mark.parametrize("asked", ["withdrawal", "credit cut"])
def test_what_was_asked_back_covers_no_order(asked: str, requested_at: int, accepted: bool) -> None:
    required = 600 * (20_000 + 2_000)
    account = CashAccount(free_microcents=required, credit_microcents=0)
    if asked == "withdrawal":
        account = replace(account, withdrawal_microcents=1, withdrawal_at=requested_at)
    else:
        account = CashAccount(
            free_microcents=0, credit_microcents=required, cut_microcents=required - 1, cut_at=requested_at
        )
    if accepted:
        check_order(an_order(), context(account=account))
    else:
        error = refusal({}, account=account)
        assert isinstance(error, FundsExceeded)
        assert error.available_microcents == required - 1


def test_credit_covers_an_order_as_money_does() -> None:
    required = 600 * (20_000 + 2_000)
    check_order(an_order(), context(account=CashAccount(free_microcents=-7, credit_microcents=required + 7)))
    error = refusal({}, account=CashAccount(free_microcents=-7, credit_microcents=required + 6))
    assert isinstance(error, FundsExceeded)


@pytest.mark.parametrize(
    ("facts", "first"),
    [
        ({"admitted": False, "suspended": True, "halted": True, "now": GATE}, NotAdmitted),
        ({"suspended": True, "halted": True, "now": GATE}, AccountSuspended),
        ({"meter": meter_facts(2, OUTSIDER.address), "halted": True, "now": GATE}, MeterNotOwned),
        ({"halted": True, "now": GATE}, MarketHalted),
        ({"now": GATE, "open_wh": 10**9, "other_side_open": True}, GateClosed),
        ({"open_wh": 10**9, "other_side_open": True, "committed_microcents": 10**12}, CapacityExceeded),
        ({"other_side_open": True, "committed_microcents": 10**12}, OtherSideTaken),
        ({"committed_microcents": 10**12}, FundsExceeded),
    ],
)
def test_of_several_reasons_the_same_one_is_always_said_first(
    facts: dict[str, object], first: type[GridLedgerError]
) -> None:
    assert type(refusal({}, **facts)) is first


@settings(max_examples=150, deadline=None)
@given(
    side=st.sampled_from(Side),
    quantity_wh=st.integers(1, 3_000),
    limit=st.integers(7_000, 33_000),
    open_wh=st.integers(0, 2_000),
    free=st.integers(0, EUR // 2),
    committed=st.integers(0, EUR // 4),
    now=st.integers(GATE - 3, GATE + 3),
)
def test_what_passes_is_open_inside_bounds_inside_capacity_and_covered(
    side: Side, quantity_wh: int, limit: int, open_wh: int, free: int, committed: int, now: int
) -> None:
    order = an_order(side, quantity_wh=quantity_wh, limit_cents_per_mwh=limit)
    facts = context(
        meter=meter_facts(order.meter, order.owner),
        open_wh=open_wh,
        account=CashAccount(free_microcents=free, credit_microcents=0),
        committed_microcents=committed,
        now=now,
    )
    good = (
        now < GATE
        and PRICES.floor <= limit <= PRICES.cap
        and quantity_wh + open_wh <= (2_000 if side is Side.SELL else 1_000)
        and order_worst_case_microcents(order, POLICY, PRICES) + committed <= free
    )
    if good:
        check_order(order, facts)
    else:
        with pytest.raises(GridLedgerError):
            check_order(order, facts)


# ---- direct deals

OFFER_UID = "0x" + "ab" * 32
OFFER = an_order(Side.SELL)
DEAL = an_acceptance(OFFER_UID)


def deal_refusal(
    changes: dict[str, object], offer: dict[str, object] | None = None, unsold_wh: int = 600, **facts: object
) -> GridLedgerError:
    with pytest.raises(GridLedgerError) as refused:
        check_acceptance(
            replace(DEAL, **changes),  # type: ignore[arg-type]
            replace(OFFER, **(offer or {})),  # type: ignore[arg-type]
            unsold_wh,
            context(**facts),
        )
    return refused.value


def test_a_good_acceptance_passes_whole_and_in_part() -> None:
    check_acceptance(DEAL, OFFER, 600, CONTEXT)
    check_acceptance(replace(DEAL, quantity_wh=600), OFFER, 600, CONTEXT)
    check_acceptance(replace(DEAL, quantity_wh=1), OFFER, 1, CONTEXT)


@pytest.mark.parametrize(
    ("changes", "offer", "error", "values"),
    [
        ({"mtu_start": MTU_START + 1}, {}, UnalignedMtu, {"mtu_start": MTU_START + 1, "mtu_length_s": 900}),
        ({"salt": -1}, {}, OutOfRange, {"field": "salt", "lowest": 0, "highest": LARGEST_TIME_S}),
        ({"salt": LARGEST_TIME_S + 1}, {}, OutOfRange, {"field": "salt", "value": LARGEST_TIME_S + 1}),
        ({"quantity_wh": 0}, {}, OutOfRange, {"field": "quantity_wh", "value": 0, "lowest": 1}),
        ({"quantity_wh": LARGEST_ENERGY_WH + 1}, {}, OutOfRange, {"field": "quantity_wh"}),
        (
            {},
            {"side": Side.BUY},
            OfferNotAcceptable,
            {"offer_uid": OFFER_UID, "reason": "not a limit offer"},
        ),
        ({}, {"pricing": Pricing.PEGGED}, OfferNotAcceptable, {"reason": "not a limit offer"}),
        (
            {"mtu_start": MTU_START + 900},
            {},
            OfferNotAcceptable,
            {"offer_uid": OFFER_UID, "reason": "not for this MTU"},
        ),
        ({"mtu_start": MTU_START - 900}, {}, OfferNotAcceptable, {"reason": "not for this MTU"}),
        ({}, {"owner": BUYER.address}, OwnOffer, {"owner": BUYER.address}),
        ({}, {"expiry": GATE - 1}, OrderExpired, {"expiry": GATE - 1, "gate_closure": GATE}),
        (
            {"quantity_wh": 601},
            {},
            OfferUsedUp,
            {"offer_uid": OFFER_UID, "requested_wh": 601, "unsold_wh": 600},
        ),
        (
            {},
            {"limit_cents_per_mwh": PRICES.cap + 1},
            LimitOutsideBounds,
            {"limit_cents_per_mwh": PRICES.cap + 1, "floor_cents_per_mwh": 8_000, "cap_cents_per_mwh": 32_000},
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_an_acceptance_is_refused_for_what_is_wrong_with_it_or_its_offer(
    changes: dict[str, object],
    offer: dict[str, object],
    error: type[GridLedgerError],
    values: dict[str, object],
) -> None:
    refused = deal_refusal(changes, offer)
    assert type(refused) is error
    assert {name: refused.values()[name] for name in values} == values


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ({"admitted": False}, NotAdmitted),
        ({"suspended": True}, AccountSuspended),
        ({"meter": meter_facts(2, OUTSIDER.address)}, MeterNotOwned),
        ({"halted": True}, MarketHalted),
        ({"now": GATE}, GateClosed),
        ({"open_wh": 801}, CapacityExceeded),
        ({"other_side_open": True}, OtherSideTaken),
        ({"committed_microcents": 10 * EUR}, FundsExceeded),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_an_acceptance_is_refused_for_the_state_of_its_owner_meter_or_gate(
    facts: dict[str, object], error: type[GridLedgerError]
) -> None:
    with pytest.raises(error):
        check_acceptance(DEAL, OFFER, 600, context(**facts))


def test_a_deal_is_made_one_second_before_the_gate_and_refused_at_it() -> None:
    check_acceptance(DEAL, OFFER, 600, context(now=GATE - 1))
    expected = {"mtu_start": MTU_START, "gate_closure": GATE, "now": GATE}
    assert said(deal_refusal({}, now=GATE)) == (GateClosed, expected)


def test_a_deal_for_a_later_mtu_of_a_standing_offer_has_that_mtu_s_gate() -> None:
    standing, later = replace(OFFER, last_mtu_start=MTU_START + 900, expiry=GATE + 900), MTU_START + 900
    check_acceptance(replace(DEAL, mtu_start=later), standing, 600, context(now=GATE + 899))
    error = deal_refusal({"mtu_start": later}, {"last_mtu_start": later}, now=GATE + 900)
    assert said(error) == (GateClosed, {"mtu_start": later, "gate_closure": GATE + 900, "now": GATE + 900})


def test_a_standing_offer_that_expires_on_the_way_is_accepted_only_for_the_mtus_before() -> None:
    standing: dict[str, object] = {"last_mtu_start": MTU_START + 900, "expiry": GATE + 899}
    check_acceptance(DEAL, an_order(Side.SELL, **standing), 600, CONTEXT)
    error = deal_refusal({"mtu_start": MTU_START + 900}, standing)
    assert said(error) == (OrderExpired, {"expiry": GATE + 899, "gate_closure": GATE + 900})


def test_a_deal_takes_import_capacity_beside_all_open_bids() -> None:
    check_acceptance(DEAL, OFFER, 600, context(open_wh=800))
    expected = {"meter": 2, "requested_wh": 200, "open_wh": 801, "capacity_wh": 1_000}
    assert said(deal_refusal({}, open_wh=801)) == (CapacityExceeded, expected)


def test_the_last_microcent_decides_whether_a_deal_is_covered_at_the_offer_s_price_and_the_whole_fee() -> None:
    required = 200 * (10_000 + 2_000)
    assert acceptance_worst_case_microcents(DEAL, OFFER, POLICY) == required
    free = CashAccount(free_microcents=required + 5, credit_microcents=0)
    check_acceptance(DEAL, OFFER, 600, context(account=free, committed_microcents=5))
    error = deal_refusal({}, account=free, committed_microcents=6)
    assert isinstance(error, FundsExceeded)
    assert (error.required_microcents, error.committed_microcents) == (required, 6)


def test_a_deal_at_a_negative_price_still_locks_the_fee() -> None:
    offer = replace(OFFER, limit_cents_per_mwh=-5_000)
    assert acceptance_worst_case_microcents(DEAL, offer, POLICY) == 200 * 2_000
