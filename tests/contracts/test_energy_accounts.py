"""Deposits, withdrawals, credit and debts: nobody but the owner takes money out, and never more than is there."""

import pytest
from tests.contracts.harness import EUR, Market, Meter, Pair, actor

LARGEST = 2**90


@pytest.fixture
def member(market: Market) -> Meter:
    """A member with 10 EUR."""
    return market.consumer("member")


def test_deposits_and_withdrawals_move_tokens_one_to_one(market: Market, member: Meter) -> None:
    owner = member.owner
    assert (market.free(owner), market.held()) == (10 * EUR, 10 * EUR)
    receipt = market.send(owner, "EnergyTrading", "withdraw", 3 * EUR)
    assert receipt.one("Withdrawn") == {"account": owner.address, "amountMicrocents": 3 * EUR}
    assert (market.free(owner), market.held()) == (7 * EUR, 7 * EUR)
    assert market.view("SettlementToken", "balanceOf", owner.address) == 3 * EUR
    with market.refuses("InsufficientFunds", owner.address, 7 * EUR + 1, 7 * EUR):
        market.send(owner, "EnergyTrading", "withdraw", 7 * EUR + 1)
    market.send(owner, "EnergyTrading", "withdraw", 7 * EUR)
    market.assert_solvent()


def test_amounts_of_zero_and_beyond_the_largest_are_refused(market: Market, member: Meter) -> None:
    for function in ("deposit", "withdraw"):
        with market.refuses("AmountIsZero"):
            market.send(member.owner, "EnergyTrading", function, 0)
        with market.refuses("AmountTooLarge", LARGEST + 1):
            market.send(member.owner, "EnergyTrading", function, LARGEST + 1)
    with market.refuses("AmountIsZero"):
        market.send(member.owner, "EnergyTrading", "payDebt", market.supplier.address, 0)
    with market.refuses("ERC20InsufficientAllowance"):
        market.send(member.owner, "EnergyTrading", "deposit", LARGEST)


def test_a_deposit_needs_tokens_and_an_approval(market: Market, member: Meter) -> None:
    market.send(market.bank, "SettlementToken", "issue", [member.owner.address], [EUR])
    with market.refuses("ERC20InsufficientAllowance"):
        market.send(member.owner, "EnergyTrading", "deposit", EUR)
    market.send(member.owner, "SettlementToken", "approve", market.at["EnergyTrading"], 2 * EUR)
    with market.refuses("ERC20InsufficientBalance"):
        market.send(member.owner, "EnergyTrading", "deposit", 2 * EUR)


def test_a_permit_replaces_the_approval_and_may_have_been_submitted_by_somebody_else(
    market: Market, member: Meter
) -> None:
    owner = member.owner
    market.send(market.bank, "SettlementToken", "issue", [owner.address], [2 * EUR])
    signature = market.permit(owner, EUR, market.now)
    market.send(owner, "EnergyTrading", "depositWithPermit", EUR, market.now, *signature)
    signature = market.permit(owner, EUR, market.now)
    arguments = (owner.address, market.at["EnergyTrading"], EUR, market.now, *signature)
    market.send(market.outsider, "SettlementToken", "permit", *arguments)
    market.send(owner, "EnergyTrading", "depositWithPermit", EUR, market.now, *signature)
    assert market.free(owner) == 12 * EUR


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
        market.send(market.supplier, "EnergyTrading", "withdraw", 2 * EUR)
    market.set_credit(member.owner, EUR // 4)
    assert market.free(market.supplier) == 2 * EUR - EUR // 4
    market.assert_solvent()


def test_credit_cannot_be_withdrawn(market: Market, member: Meter) -> None:
    market.deposit(market.supplier, EUR)
    market.set_credit(member.owner, EUR)
    with market.refuses("InsufficientFunds", member.owner.address, 10 * EUR + 1, 10 * EUR):
        market.send(member.owner, "EnergyTrading", "withdraw", 10 * EUR + 1)


def test_only_the_member_s_own_supplier_sets_its_credit(market: Market, member: Meter) -> None:
    market.deposit(market.other_supplier, EUR)
    owner, supplier, other = member.owner.address, market.supplier.address, market.other_supplier.address
    with market.refuses("NotTheSupplier", owner, supplier, other):
        market.set_credit(member.owner, 1, supplier=market.other_supplier)
    with market.refuses("NotTheSupplier", market.outsider.address, "0x" + "00" * 20, supplier):
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
    market.send(buyer, "EnergyTrading", "withdraw", 10 * EUR)
    market.set_credit(buyer, 10_000_000)
    pair.cleared(market)
    assert market.free(buyer) == -9_600_000
    with market.refuses("CreditInUse", buyer.address, -9_600_000, 9_599_999):
        market.set_credit(buyer, 9_599_999)
    market.set_credit(buyer, 9_600_000)
    with market.refuses("InsufficientFunds", buyer.address, 1, -9_600_000):
        market.send(buyer, "EnergyTrading", "withdraw", 1)
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
        market.send(market.supplier, "EnergyTrading", "withdraw", 1)
    market.assert_solvent()


def test_a_debt_is_paid_in_parts_and_never_twice(market: Market) -> None:
    pair = Pair.of(market)
    market.settle(pair.delivered(market), {0: 800, 1: -600})
    debt = 200 * 7_500
    market.deposit(market.supplier, 2 * EUR)
    seller = pair.seller.owner
    with market.refuses("DebtExceeded", market.supplier.address, seller.address, debt, debt + 1):
        market.send(market.supplier, "EnergyTrading", "payDebt", seller.address, debt + 1)
    before = market.free(seller)
    receipt = market.send(market.supplier, "EnergyTrading", "payDebt", seller.address, debt - 1)
    assert receipt.one("DebtPaid")["amountMicrocents"] == debt - 1
    assert (market.debt(market.supplier, seller), market.free(seller)) == (1, before + debt - 1)
    market.send(market.supplier, "EnergyTrading", "payDebt", seller.address, 1)
    with market.refuses("DebtExceeded", market.supplier.address, seller.address, 0, 1):
        market.send(market.supplier, "EnergyTrading", "payDebt", seller.address, 1)
    market.assert_solvent()


def test_a_debt_is_not_paid_with_money_that_is_not_there(market: Market) -> None:
    pair = Pair.of(market)
    market.settle(pair.delivered(market), {0: 800, 1: -600})
    with market.refuses("InsufficientFunds", market.supplier.address, 1, 0):
        market.send(market.supplier, "EnergyTrading", "payDebt", pair.seller.owner.address, 1)


def test_deposits_can_be_withdrawn_whatever_is_halted_or_suspended(market: Market, member: Meter) -> None:
    market.send(market.regulator, "GridPolicy", "setHalted", 0, True)
    market.send(market.regulator, "GridPolicy", "setSuspended", member.owner.address, True)
    market.send(member.owner, "EnergyTrading", "withdraw", 10 * EUR)
    assert market.held() == 0
