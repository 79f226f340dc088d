"""Money, tokens and yes-or-no facts replayed from events."""

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gridledger.audit.members import Timeline
from gridledger.audit.money import Cash, TokenBook
from gridledger.relay import ChainEvent

NOBODY = "0x" + "0" * 40


def event(name: str, block: int = 1, **arguments: Any) -> ChainEvent:
    """An event of any contract."""
    values: Mapping[str, Any] = arguments
    return ChainEvent(
        block_number=block, log_index=0, transaction_hash="0x", contract="any", name=name, arguments=values
    )


def total(cash: Cash) -> int:
    """Everything held, less what was paid in."""
    held = sum(cash.free.values()) + sum(cash.credit.values()) + cash.escrow_microcents
    return held - cash.deposited_microcents + cash.withdrawn_microcents


def test_credit_is_set_aside_from_the_suppliers_money() -> None:
    cash = Cash()
    cash.apply(event("Deposited", account="supplier", amountMicrocents=100))
    cash.apply(event("CreditSet", account="member", supplier="supplier", creditMicrocents=60))
    cash.apply(event("CreditSet", account="member", supplier="supplier", creditMicrocents=40))
    assert (cash.free["supplier"], cash.credit["member"]) == (60, 40)
    assert total(cash) == 0


def test_what_cannot_be_collected_becomes_a_debt_and_its_payment_moves_it() -> None:
    cash = Cash()
    cash.apply(event("Deposited", account="member", amountMicrocents=10))
    assert cash.collect("member", "supplier", 17) == 7
    assert (cash.free["member"], cash.free["supplier"], cash.debts["member", "supplier"]) == (0, 10, 7)
    cash.apply(event("Deposited", account="member", amountMicrocents=5))
    cash.apply(event("DebtPaid", debtor="member", creditor="supplier", amountMicrocents=5))
    assert (cash.free["member"], cash.free["supplier"], cash.debts["member", "supplier"]) == (0, 15, 2)


def test_credit_is_collected_from_but_never_more() -> None:
    cash = Cash()
    cash.apply(event("Deposited", account="supplier", amountMicrocents=10))
    cash.apply(event("CreditSet", account="member", supplier="supplier", creditMicrocents=10))
    assert cash.collect("member", "supplier", 10) == 0
    assert cash.collect("member", "supplier", 1) == 1
    assert cash.free["member"] == -10


def test_what_an_account_could_lock_is_known_for_every_block() -> None:
    cash = Cash()
    cash.apply(event("Deposited", 3, account="member", amountMicrocents=10))
    cash.apply(event("Deposited", 3, account="member", amountMicrocents=10))
    cash.apply(event("Withdrawn", 5, account="member", amountMicrocents=4))
    available = [cash.available_at("member", block).available_microcents for block in range(2, 7)]
    assert available == [0, 20, 20, 16, 16]
    assert cash.available_at("stranger", 9).available_microcents == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Deposited", "Withdrawn", "DebtPaid", "collect", "lock"]),
            st.sampled_from("abc"),
            st.sampled_from("abc"),
            st.integers(0, 2**90),
        )
    )
)
def test_no_movement_makes_or_loses_money(movements: list[tuple[str, str, str, int]]) -> None:
    cash = Cash()
    for name, one, other, amount in movements:
        if name == "lock":
            cash.lock(one, amount)
        elif name == "collect":
            cash.collect(one, other, amount)
        else:
            cash.apply(event(name, account=one, debtor=one, creditor=other, amountMicrocents=amount))
    assert total(cash) == 0


def test_a_tokens_supply_is_what_was_minted_less_what_was_burned() -> None:
    book = TokenBook()
    for sender, receiver, value in ((NOBODY, "a", 9), ("a", "b", 4), ("b", NOBODY, 1)):
        arguments: dict[str, Any] = {"from": sender, "to": receiver, "value": value}
        book.apply(event("Transfer", **arguments))
    assert (book.supply, book.balances["a"], book.balances["b"]) == (8, 5, 3)
    assert sum(book.balances.values()) == book.supply


def test_a_timeline_knows_its_value_after_every_block_and_between_blocks() -> None:
    timeline = Timeline()
    timeline.change(4, to=True)
    timeline.change(6, to=False)
    assert [timeline.at(block) for block in range(3, 8)] == [False, True, True, False, False]
    assert timeline.ever_between(1, 4)
    assert timeline.ever_between(5, 9)
    assert not timeline.ever_between(6, 9)
    assert not timeline.ever_between(1, 3)
