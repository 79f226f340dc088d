"""Deposits, withdrawals, credit, debts, suspension and cancellation: what concerns one account."""

from dataclasses import replace

import pytest
from tests.contracts.harness import (
    BUY,
    EUR,
    FIRST_MTU,
    SELL,
    Market,
    Meter,
    Pair,
    actor,
    floor_midpoint,
    uid_bytes,
)
from tests.contracts.members import WITHDRAWAL_DELAY_S

from gridledger.market.model import SignedOrder

LARGEST = 2**72
ZERO = "0x" + "00" * 20


@pytest.fixture
def member(market: Market) -> Meter:
    """A member with 10 EUR."""
    return market.consumer("member")


def test_deposits_and_withdrawals_move_tokens_one_to_one(market: Market, member: Meter) -> None:
    owner = member.owner
    assert (market.free(owner), market.held()) == (10 * EUR, 10 * EUR)
    receipt = market.withdraw(owner, 3 * EUR)
    assert receipt.one("Withdrawn") == {"account": owner.address, "amountMicrocents": 3 * EUR}
    assert (market.free(owner), market.held()) == (7 * EUR, 7 * EUR)
    assert market.view("SettlementToken", "balanceOf", owner.address) == 3 * EUR
    with market.refuses("InsufficientFunds", owner.address, 7 * EUR + 1, 7 * EUR):
        market.request_withdrawal(owner, 7 * EUR + 1)
    market.withdraw(owner, 7 * EUR)
    market.assert_solvent()


def test_a_withdrawal_waits_for_its_delay_to_the_second(market: Market, member: Meter) -> None:
    owner, asked = member.owner, market.now
    receipt = market.request_withdrawal(owner, 3 * EUR)
    due = asked + WITHDRAWAL_DELAY_S
    assert receipt.one("WithdrawalRequested") == {
        "account": owner.address,
        "amountMicrocents": 3 * EUR,
        "availableAt": due,
    }
    market.move_to(due - 1)
    with market.refuses("RequestNotDue", owner.address, due, due - 1):
        market.send(owner, "EnergyTrading", "withdraw")
    market.move_to(due)
    market.send(owner, "EnergyTrading", "withdraw")
    assert market.free(owner) == 7 * EUR
    with market.refuses("NothingRequested", owner.address):
        market.send(owner, "EnergyTrading", "withdraw")
    market.assert_solvent()


def test_the_delay_covers_the_longest_clearing_any_policy_allows(market: Market) -> None:
    longest_s = market.view("GridPolicy", "LONGEST_GATE_CLOSURE_S")
    longest = replace(market.policy, gate_closure_s=longest_s, answer_lead_s=0)
    slow = Market(policy=longest)
    gate, deadline = (slow.view("GridPolicy", name, FIRST_MTU) for name in ("gateClosureAt", "clearingDeadlineAt"))
    assert slow.view("EnergyTrading", "withdrawalDelayS") == WITHDRAWAL_DELAY_S == deadline - gate + 1
    with market.refuses("PolicyRefused"):
        Market(policy=replace(longest, gate_closure_s=longest_s + 1))


def test_a_new_request_replaces_the_former_and_zero_takes_it_back(market: Market, member: Meter) -> None:
    owner, asked = member.owner, market.now
    market.request_withdrawal(owner, 10 * EUR)
    market.move_to(asked + WITHDRAWAL_DELAY_S - 1)
    market.request_withdrawal(owner, EUR)
    market.move_to(asked + WITHDRAWAL_DELAY_S)
    with market.refuses("RequestNotDue"):
        market.send(owner, "EnergyTrading", "withdraw")
    market.request_withdrawal(owner, 0)
    assert set(market.view("EnergyTrading", "requestedBy", owner.address).values()) == {0}
    with market.refuses("NothingRequested", owner.address):
        market.send(owner, "EnergyTrading", "withdraw")
    assert market.available(owner, 2**64 - 1) == 10 * EUR


def test_a_withdrawal_pays_what_free_money_is_left(market: Market) -> None:
    pair = Pair.of(market)
    owner, asked = pair.buyer.owner, market.now
    market.close_gate()
    market.request_withdrawal(owner, 10 * EUR)
    market.move_to(asked)
    pair.cleared(market)
    market.move_to(FIRST_MTU + WITHDRAWAL_DELAY_S)
    receipt = market.send(owner, "EnergyTrading", "withdraw")
    assert receipt.one("Withdrawn")["amountMicrocents"] == 10 * EUR - 9_600_000
    assert market.free(owner) == 0
    market.assert_solvent()


def test_a_withdrawal_of_nothing_left_is_refused_and_stays_requested(market: Market) -> None:
    pair = Pair.of(market, eur=0)
    owner = pair.buyer.owner
    market.deposit(pair.seller.owner, EUR)
    market.deposit(owner, 9_600_000)
    market.close_gate()
    market.request_withdrawal(owner, 9_600_000)
    pair.cleared(market)
    market.move_to(FIRST_MTU + WITHDRAWAL_DELAY_S)
    with market.refuses("InsufficientFunds", owner.address, 9_600_000, 0):
        market.send(owner, "EnergyTrading", "withdraw")
    market.deposit(owner, 7)
    market.send(owner, "EnergyTrading", "withdraw")
    assert (market.free(owner), market.view("SettlementToken", "balanceOf", owner.address)) == (0, 7)


@pytest.mark.parametrize(("after_the_gate", "counts"), [(-1, True), (0, False), (1, False)])
@pytest.mark.parametrize("kind", ["withdrawal", "credit cut"])
def test_a_request_counts_for_gates_after_it_and_touches_no_other(
    market: Market, kind: str, after_the_gate: int, counts: bool
) -> None:
    """An order that was funded at the gate can be cleared whatever is asked for afterwards."""
    pair = Pair.of(market, eur=0)
    market.deposit(pair.seller.owner, EUR)
    buyer = pair.buyer.owner
    if kind == "withdrawal":
        market.deposit(buyer, 9_600_000)
    else:
        market.deposit(market.supplier, EUR)
        market.set_credit(buyer, 9_600_000)
    gate = FIRST_MTU - market.policy.gate_closure_s
    market.move_to(gate + after_the_gate)
    if kind == "withdrawal":
        market.request_withdrawal(buyer, 1)
    else:
        receipt = market.set_credit(buyer, 9_599_999)
        assert not receipt.named("CreditSet")
    assert market.available(buyer, gate) == 9_600_000 - counts
    assert market.available(buyer, gate + 2) == 9_599_999
    market.move_to(max(gate, market.now))
    market.commit_book(pair.book)
    if counts:
        with market.refuses("InsufficientFunds", buyer.address, 9_600_000, 9_599_999):
            market.clear(pair.clearing(market))
    else:
        market.clear(pair.clearing(market))


def test_a_request_between_two_chunks_does_not_stop_the_second(market: Market) -> None:
    seller, buyers = market.producer("seller"), [market.consumer(name, eur=0) for name in ("one", "two")]
    for buyer in buyers:
        market.deposit(buyer.owner, 300 * 16_000)
    book = [market.order(seller, SELL, 600, 10_000), *(market.order(one, BUY, 300, 20_000) for one in buyers)]
    market.close_gate()
    market.commit_book(book)
    price = floor_midpoint(market.prices().floor, 20_000)
    first, _ = market.chunk(
        book, {0: 300, 1: 300}, number=0, last=False, continued=[seller.number], price=price, ends=(None, 1)
    )
    market.clear(first)
    market.request_withdrawal(buyers[1].owner, 300 * 16_000)
    market.set_credit(buyers[1].owner, 0)
    second, _ = market.chunk(
        book, {0: 300, 2: 300}, number=1, last=True, prior_wh={seller.number: 300}, price=price, ends=(None, None)
    )
    market.clear(second)
    market.assert_solvent()


def test_requests_work_while_everything_is_halted_and_the_owner_suspended(market: Market, member: Meter) -> None:
    market.send(market.regulator, "GridPolicy", "setHalted", 0, True)
    market.suspend(member.owner)
    market.deposit(market.supplier, EUR)
    market.set_credit(member.owner, EUR)
    market.withdraw(member.owner, 10 * EUR)
    market.cut_credit(member.owner, 0)
    market.withdraw(market.supplier, EUR)
    assert market.held() == 0


def test_amounts_of_zero_and_beyond_the_largest_are_refused(market: Market, member: Meter) -> None:
    with market.refuses("AmountIsZero"):
        market.send(member.owner, "EnergyTrading", "deposit", 0)
    for function in ("deposit", "requestWithdrawal"):
        with market.refuses("AmountTooLarge", LARGEST + 1):
            market.send(member.owner, "EnergyTrading", function, LARGEST + 1)
    for amount, error in ((0, "AmountIsZero"), (LARGEST + 1, "AmountTooLarge")):
        with market.refuses(error):
            market.send(member.owner, "EnergyTrading", "payDebt", market.supplier.address, amount)
        with market.refuses(error):
            market.send(
                member.owner, "EnergyTrading", "depositWithPermit", amount, market.now, 27, b"\1" * 32, b"\1" * 32
            )
    with market.refuses("ERC20InsufficientAllowance"):
        market.send(member.owner, "EnergyTrading", "deposit", LARGEST)


def test_the_largest_amounts_are_kept_to_the_unit(market: Market, member: Meter) -> None:
    for _ in range(3):
        market.deposit(member.owner, LARGEST)
    market.deposit(market.supplier, LARGEST)
    market.set_credit(member.owner, LARGEST)
    assert (market.free(member.owner), market.credit(member.owner)) == (10 * EUR + 3 * LARGEST, LARGEST)
    assert market.free(market.supplier) == 0
    # The parts of the account's two words keep apart.
    market.suspend(member.owner)
    market.send(member.owner, "EnergyTrading", "cancel", b"\1" * 32)
    market.request_withdrawal(member.owner, LARGEST)
    market.set_credit(member.owner, LARGEST - 1)
    assert market.view("EnergyTrading", "requestedBy", member.owner.address) == {
        "withdrawalMicrocents": LARGEST,
        "withdrawalAt": market.now,
        "cutMicrocents": LARGEST - 1,
        "cutAt": market.now,
    }
    assert market.available(member.owner, market.now) == 10 * EUR + 4 * LARGEST
    assert market.available(member.owner, market.now + 1) == 10 * EUR + 3 * LARGEST - 1
    assert (market.free(member.owner), market.credit(member.owner)) == (10 * EUR + 3 * LARGEST, LARGEST)
    assert market.view("EnergyTrading", "suspendedSince", member.owner.address) == market.now
    market.withdraw(member.owner, LARGEST)
    assert market.free(member.owner) == 10 * EUR + 2 * LARGEST
    market.assert_solvent()


def test_a_deposit_needs_tokens_and_an_approval(market: Market, member: Meter) -> None:
    market.send(market.bank, "SettlementToken", "issue", [member.owner.address], [EUR])
    with market.refuses("ERC20InsufficientAllowance"):
        market.send(member.owner, "EnergyTrading", "deposit", EUR)
    market.send(member.owner, "SettlementToken", "approve", market.at["EnergyTrading"], 2 * EUR)
    with market.refuses("ERC20InsufficientBalance"):
        market.send(member.owner, "EnergyTrading", "deposit", 2 * EUR)


def test_a_permit_replaces_the_approval(market: Market, member: Meter) -> None:
    owner = member.owner
    market.send(market.bank, "SettlementToken", "issue", [owner.address], [EUR])
    signature = market.permit(owner, EUR, market.now)
    receipt = market.send(owner, "EnergyTrading", "depositWithPermit", EUR, market.now, *signature)
    assert receipt.one("Deposited") == {"account": owner.address, "amountMicrocents": EUR}
    assert market.free(owner) == 11 * EUR
    market.assert_solvent()


def test_a_permit_somebody_else_has_already_submitted_deposits_all_the_same(market: Market, member: Meter) -> None:
    owner = member.owner
    market.send(market.bank, "SettlementToken", "issue", [owner.address], [2 * EUR])
    signature = market.permit(owner, EUR, market.now)
    arguments = (owner.address, market.at["EnergyTrading"], EUR, market.now, *signature)
    market.send(market.outsider, "SettlementToken", "permit", *arguments)
    market.send(owner, "EnergyTrading", "depositWithPermit", EUR, market.now, *signature)
    assert market.free(owner) == 11 * EUR
    # Used up: the same permit a third time moves nothing.
    with market.refuses("ERC20InsufficientAllowance"):
        market.send(owner, "EnergyTrading", "depositWithPermit", EUR, market.now, *signature)
    market.assert_solvent()


def test_a_seen_permit_gives_the_deposit_to_nobody_else(market: Market, member: Meter) -> None:
    owner, thief = member.owner, market.consumer("thief", eur=0).owner
    market.send(market.bank, "SettlementToken", "issue", [owner.address], [EUR])
    signature = market.permit(owner, EUR, market.now)
    with market.refuses("ERC20InsufficientAllowance"):
        market.send(thief, "EnergyTrading", "depositWithPermit", EUR, market.now, *signature)


def test_a_permit_that_expired_or_was_signed_by_another_deposits_nothing(market: Market, member: Meter) -> None:
    owner = member.owner
    market.send(market.bank, "SettlementToken", "issue", [owner.address], [EUR])
    late = market.permit(owner, EUR, market.now - 1)
    with market.refuses("ERC20InsufficientAllowance"):
        market.send(owner, "EnergyTrading", "depositWithPermit", EUR, market.now - 1, *late)
    foreign = market.permit(actor("thief"), EUR, market.now)
    with market.refuses("ERC20InsufficientAllowance"):
        market.send(owner, "EnergyTrading", "depositWithPermit", EUR, market.now, *foreign)


def test_credit_is_backed_by_the_supplier_s_own_money(market: Market, member: Meter) -> None:
    with market.refuses("InsufficientFunds", market.supplier.address, EUR, 0):
        market.set_credit(member.owner, EUR)
    market.deposit(market.supplier, 2 * EUR)
    receipt = market.set_credit(member.owner, EUR)
    assert receipt.one("CreditSet")["creditMicrocents"] == EUR
    assert (market.free(market.supplier), market.credit(member.owner)) == (EUR, EUR)
    with market.refuses("InsufficientFunds", market.supplier.address, 2 * EUR, EUR):
        market.request_withdrawal(market.supplier, 2 * EUR)
    receipt = market.cut_credit(member.owner, EUR // 4)
    assert receipt.one("CreditSet") == {
        "account": member.owner.address,
        "supplier": market.supplier.address,
        "creditMicrocents": EUR // 4,
    }
    assert market.free(market.supplier) == 2 * EUR - EUR // 4
    market.cut_credit(member.owner, 0)
    assert (market.free(market.supplier), market.credit(member.owner)) == (2 * EUR, 0)
    market.assert_solvent()


def test_a_credit_cut_is_noted_and_carried_out_after_the_delay_by_anybody(market: Market, member: Meter) -> None:
    market.deposit(market.supplier, EUR)
    market.set_credit(member.owner, EUR)
    owner, supplier, asked = member.owner, market.supplier, market.now
    due = asked + WITHDRAWAL_DELAY_S
    assert market.set_credit(owner, 7).one("CreditCutRequested") == {
        "account": owner.address,
        "supplier": supplier.address,
        "creditMicrocents": 7,
        "availableAt": due,
    }
    assert (market.credit(owner), market.free(supplier)) == (EUR, 0)
    market.move_to(due - 1)
    with market.refuses("RequestNotDue", owner.address, due, due - 1):
        market.send(supplier, "EnergyTrading", "applyCreditCut", owner.address)
    market.move_to(due)
    market.send(market.outsider, "EnergyTrading", "applyCreditCut", owner.address)
    assert (market.credit(owner), market.free(supplier)) == (7, EUR - 7)
    with market.refuses("NothingRequested", owner.address):
        market.send(market.outsider, "EnergyTrading", "applyCreditCut", owner.address)
    market.assert_solvent()


@pytest.mark.parametrize("credit", [EUR, EUR + 1])
def test_credit_that_is_not_lower_takes_a_noted_cut_back(market: Market, member: Meter, credit: int) -> None:
    market.deposit(market.supplier, 2 * EUR)
    market.set_credit(member.owner, EUR)
    market.request_withdrawal(member.owner, EUR)
    market.set_credit(member.owner, 0)
    market.set_credit(member.owner, credit)
    assert market.available(member.owner, 2**64 - 1) == 9 * EUR + credit
    market.move_to(market.now + WITHDRAWAL_DELAY_S)
    with market.refuses("NothingRequested", member.owner.address):
        market.send(market.supplier, "EnergyTrading", "applyCreditCut", member.owner.address)
    market.send(member.owner, "EnergyTrading", "withdraw")
    market.assert_solvent()


def test_what_a_supplier_has_asked_for_backs_no_credit(market: Market, member: Meter) -> None:
    market.deposit(market.supplier, EUR)
    market.request_withdrawal(market.supplier, EUR)
    with market.refuses("InsufficientFunds", market.supplier.address, 1, 0):
        market.set_credit(member.owner, 1)


def test_many_credits_are_set_in_one_call_or_none_at_all(market: Market, member: Meter) -> None:
    other = market.consumer("other")
    market.deposit(market.supplier, EUR)
    both = [member.owner.address, other.owner.address]
    receipt = market.send(market.supplier, "EnergyTrading", "setCredit", both, [EUR // 4, EUR // 2])
    assert [event.arguments["account"] for event in receipt.named("CreditSet")] == both
    assert market.free(market.supplier) == EUR // 4
    with market.refuses("InsufficientFunds", market.supplier.address, EUR, EUR // 4):
        market.send(market.supplier, "EnergyTrading", "setCredit", both, [0, 3 * EUR // 2])
    assert market.credit(member.owner) == EUR // 4
    assert set(market.view("EnergyTrading", "requestedBy", member.owner.address).values()) == {0}
    market.assert_solvent()


def test_a_supplier_on_credit_of_its_own_cannot_give_more_than_it_may_lock(market: Market) -> None:
    market.send(
        market.grid_operator,
        "ParticipantRegistry",
        "admitParticipants",
        [market.supplier.address],
        market.other_supplier.address,
    )
    member = market.consumer("member")
    market.deposit(market.other_supplier, EUR)
    market.set_credit(market.supplier, EUR, supplier=market.other_supplier)
    market.set_credit(member.owner, EUR)
    assert market.free(market.supplier) == -EUR
    with market.refuses("InsufficientFunds", market.supplier.address, 1, 0):
        market.set_credit(member.owner, EUR + 1)
    with market.refuses("CreditInUse", market.supplier.address, -EUR, EUR - 1):
        market.cut_credit(market.supplier, EUR - 1, supplier=market.other_supplier)
    market.assert_solvent()


def test_credit_cannot_be_withdrawn(market: Market, member: Meter) -> None:
    market.deposit(market.supplier, EUR)
    market.set_credit(member.owner, EUR)
    with market.refuses("InsufficientFunds", member.owner.address, 10 * EUR + 1, 10 * EUR):
        market.request_withdrawal(member.owner, 10 * EUR + 1)


def test_only_the_member_s_own_supplier_sets_its_credit(market: Market, member: Meter) -> None:
    market.deposit(market.other_supplier, EUR)
    owner, supplier, other = member.owner.address, market.supplier.address, market.other_supplier.address
    with market.refuses("NotTheSupplier", owner, supplier, other):
        market.set_credit(member.owner, 1, supplier=market.other_supplier)
    with market.refuses("NotTheSupplier", market.outsider.address, ZERO, supplier):
        market.set_credit(market.outsider, 1)
    with market.refuses("NotTheSupplier", owner, supplier, owner):
        market.set_credit(member.owner, 1, supplier=member.owner)


def test_credit_lists_must_match_and_amounts_be_bounded(market: Market, member: Meter) -> None:
    with market.refuses("AccountListsDiffer", 1, 2):
        market.send(market.supplier, "EnergyTrading", "setCredit", [member.owner.address], [1, 2])
    with market.refuses("AmountTooLarge", LARGEST + 1):
        market.set_credit(member.owner, LARGEST + 1)


def test_credit_in_use_is_not_withdrawn_by_the_supplier(market: Market) -> None:
    market.deposit(market.supplier, EUR)
    pair = Pair.of(market)
    buyer = pair.buyer.owner
    market.withdraw(buyer, 10 * EUR)
    market.set_credit(buyer, 10_000_000)
    pair.cleared(market)
    assert market.free(buyer) == -9_600_000
    with market.refuses("CreditInUse", buyer.address, -9_600_000, 9_599_999):
        market.cut_credit(buyer, 9_599_999)
    market.cut_credit(buyer, 9_600_000)
    with market.refuses("InsufficientFunds", buyer.address, 1, -9_600_000):
        market.request_withdrawal(buyer, 1)
    market.request_withdrawal(buyer, 0)
    market.assert_solvent()


def test_a_supplier_that_supplies_itself_gains_nothing(market: Market) -> None:
    market.send(
        market.grid_operator,
        "ParticipantRegistry",
        "admitParticipants",
        [market.supplier.address],
        market.supplier.address,
    )
    market.deposit(market.supplier, EUR)
    market.set_credit(market.supplier, 5 * EUR)
    assert (market.free(market.supplier), market.credit(market.supplier)) == (-4 * EUR, 5 * EUR)
    with market.refuses("InsufficientFunds"):
        market.request_withdrawal(market.supplier, 1)
    market.assert_solvent()


def test_a_debt_is_paid_in_parts_and_never_twice(market: Market) -> None:
    pair = Pair.of(market)
    market.settle(pair.delivered(market), {0: 800, 1: -600})
    debt = 200 * 7_500
    market.fund(market.supplier, 2 * EUR)
    seller = pair.seller.owner
    with market.refuses("DebtExceeded", market.supplier.address, seller.address, debt, debt + 1):
        market.send(market.supplier, "EnergyTrading", "payDebt", seller.address, debt + 1)
    before = market.free(seller)
    receipt = market.send(market.supplier, "EnergyTrading", "payDebt", seller.address, debt - 1)
    assert receipt.one("DebtPaid")["amountMicrocents"] == debt - 1
    assert (market.debt(market.supplier, seller), market.free(seller)) == (1, before + debt - 1)
    assert market.view("SettlementToken", "balanceOf", market.supplier.address) == 2 * EUR - debt + 1
    market.send(market.supplier, "EnergyTrading", "payDebt", seller.address, 1)
    with market.refuses("DebtExceeded", market.supplier.address, seller.address, 0, 1):
        market.send(market.supplier, "EnergyTrading", "payDebt", seller.address, 1)
    market.assert_solvent()


def test_a_debt_is_paid_from_the_wallet_and_not_from_what_is_deposited(market: Market) -> None:
    pair = Pair.of(market)
    market.settle(pair.delivered(market), {0: 800, 1: -600})
    market.deposit(market.supplier, EUR)
    with market.refuses("ERC20InsufficientAllowance"):
        market.send(market.supplier, "EnergyTrading", "payDebt", pair.seller.owner.address, 1)
    assert market.free(market.supplier) == EUR


def test_deposits_can_be_withdrawn_whatever_is_halted_or_suspended(market: Market, member: Meter) -> None:
    market.send(market.regulator, "GridPolicy", "setHalted", 0, True)
    market.suspend(member.owner)
    market.withdraw(member.owner, 10 * EUR)
    assert market.held() == 0


def test_suspension_acts_at_once_and_its_first_moment_is_known(market: Market, member: Meter) -> None:
    owner, first = member.owner, market.now
    assert market.view("EnergyTrading", "suspendedSince", owner.address) == 0
    receipt = market.suspend(owner)
    assert receipt.one("ParticipantSuspended") == {"account": owner.address, "suspended": True}
    assert market.view("EnergyTrading", "suspendedSince", owner.address) == first
    market.move_to(first + 100)
    market.suspend(owner)
    assert market.view("EnergyTrading", "suspendedSince", owner.address) == first
    market.suspend(owner, suspended=False)
    assert market.view("EnergyTrading", "suspendedSince", owner.address) == 0
    market.suspend(owner)
    assert market.view("EnergyTrading", "suspendedSince", owner.address) == first + 100
    assert (market.free(owner), market.credit(owner)) == (10 * EUR, 0)


@pytest.mark.parametrize("side", [BUY, SELL])
def test_a_suspended_member_trades_in_no_clearing_until_it_is_readmitted(market: Market, side: int) -> None:
    pair = Pair.of(market)
    owner = (pair.seller if side == SELL else pair.buyer).owner
    market.close_gate()
    market.commit_book(pair.book)
    clearing = pair.clearing(market)
    market.suspend(owner)
    with market.refuses("AccountSuspended", owner.address):
        market.clear(clearing)
    market.suspend(owner, suspended=False)
    market.clear(clearing)


def test_open_positions_of_a_suspended_member_settle(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.delivered(market)
    market.suspend(pair.seller.owner)
    market.settle(kept, {0: 600, 1: -600})
    assert market.free(pair.seller.owner) == 10 * EUR + 600 * 15_000


def is_cancelled(market: Market, order: SignedOrder, gate: int) -> bool:
    """Whether the order was cancelled before that gate."""
    arguments = (order.order.owner, uid_bytes(order), order.order.salt, gate)
    return bool(market.view("EnergyTrading", "isCancelledAt", *arguments))


def test_a_cancellation_counts_for_gates_after_its_own_second(market: Market, member: Meter) -> None:
    order = market.order(member, BUY, 1, 10_000)
    now = market.now
    assert not is_cancelled(market, order, now + 10**6)
    receipt = market.send(member.owner, "EnergyTrading", "cancel", uid_bytes(order))
    assert receipt.one("OrderCancelled") == {"owner": member.owner.address, "orderUid": uid_bytes(order)}
    assert [is_cancelled(market, order, now + step) for step in (-1, 0, 1)] == [False, False, True]
    market.move_to(now + 50)
    market.send(member.owner, "EnergyTrading", "cancel", uid_bytes(order))
    assert [is_cancelled(market, order, now + step) for step in (0, 1)] == [False, True]


def test_nobody_cancels_another_s_order(market: Market, member: Meter) -> None:
    order = market.order(member, BUY, 1, 10_000)
    market.send(market.outsider, "EnergyTrading", "cancel", uid_bytes(order))
    market.send(market.outsider, "EnergyTrading", "cancelUpTo", 2**64 - 1)
    assert not is_cancelled(market, order, market.now + 10**6)


def test_a_bulk_cancellation_reaches_its_salt_and_no_other(market: Market, member: Meter) -> None:
    orders = [market.order(member, BUY, 1, 10_000, salt=salt) for salt in (0, 6, 7, 8, 2**64 - 1)]
    now = market.now
    receipt = market.send(member.owner, "EnergyTrading", "cancelUpTo", 7)
    assert receipt.one("OrdersCancelled") == {"owner": member.owner.address, "upToSalt": 7}
    assert [is_cancelled(market, one, now + 1) for one in orders] == [True, True, True, False, False]
    assert not any(is_cancelled(market, one, now) for one in orders)


def test_bulk_cancellations_ascend_and_each_counts_from_its_own_time(market: Market, member: Meter) -> None:
    orders = [market.order(member, BUY, 1, 10_000, salt=salt) for salt in (0, 5, 100, 2**64 - 1)]
    cancel_up_to = (member.owner, "EnergyTrading", "cancelUpTo")
    first = market.now
    market.send(*cancel_up_to, 0)
    for salt, already in ((0, 0),):
        with market.refuses("SaltNotAscending", salt, already):
            market.send(*cancel_up_to, salt)
    market.move_to(first + 10)
    market.send(*cancel_up_to, 5)
    # Twice in one second is two marks.
    market.send(*cancel_up_to, 100)
    with market.refuses("SaltNotAscending", 100, 100):
        market.send(*cancel_up_to, 100)
    with market.refuses("SaltNotAscending", 7, 100):
        market.send(*cancel_up_to, 7)
    market.move_to(first + 20)
    market.send(*cancel_up_to, 2**64 - 1)
    with market.refuses("SaltNotAscending", 2**64 - 1, 2**64 - 1):
        market.send(*cancel_up_to, 2**64 - 1)
    seen = {step: [is_cancelled(market, one, first + step) for one in orders] for step in (0, 1, 10, 11, 20, 21)}
    assert seen == {
        0: [False, False, False, False],
        1: [True, False, False, False],
        10: [True, False, False, False],
        11: [True, True, True, False],
        20: [True, True, True, False],
        21: [True, True, True, True],
    }


@pytest.mark.parametrize("in_bulk", [False, True])
@pytest.mark.parametrize(("seconds_before_gate", "fillable"), [(1, False), (0, True)])
def test_a_cancelled_order_is_not_filled_unless_its_gate_had_closed(
    market: Market, seconds_before_gate: int, *, in_bulk: bool, fillable: bool
) -> None:
    pair = Pair.of(market)
    market.close_gate()
    market.move_to(market.now - seconds_before_gate)
    call = ("cancelUpTo", pair.bid.order.salt) if in_bulk else ("cancel", uid_bytes(pair.bid))
    market.send(pair.buyer.owner, "EnergyTrading", *call)
    market.close_gate()
    market.commit_book(pair.book)
    clearing = pair.clearing(market)
    if fillable:
        market.clear(clearing)
        return
    with market.refuses("OrderIsCancelled", uid_bytes(pair.bid)):
        market.clear(clearing)
