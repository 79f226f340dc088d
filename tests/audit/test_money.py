"""Money, tokens and yes-or-no facts replayed from events."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridledger.audit.members import Timeline
from gridledger.audit.money import Cash, TokenBook
from gridledger.audit.requests import WITHDRAWAL_DELAY_S
from gridledger.relay import ChainEvent

GATE = 10**6
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
    return held - cash.paid_in_microcents


def test_credit_is_set_aside_from_the_suppliers_money() -> None:
    cash = Cash([], {})
    cash.apply(event("Deposited", account="supplier", amountMicrocents=100), 0)
    cash.apply(event("CreditSet", account="member", supplier="supplier", creditMicrocents=60), 0)
    cash.apply(event("CreditSet", account="member", supplier="supplier", creditMicrocents=40), 0)
    assert (cash.free["supplier"], cash.credit["member"]) == (60, 40)
    assert total(cash) == 0


def test_what_cannot_be_collected_becomes_a_debt_and_its_payment_moves_it() -> None:
    cash = Cash([], {})
    cash.apply(event("Deposited", account="member", amountMicrocents=10), 0)
    assert cash.collect("member", "supplier", 17) == 7
    assert (cash.free["member"], cash.free["supplier"], cash.debts["member", "supplier"]) == (0, 10, 7)
    cash.apply(event("Deposited", account="member", amountMicrocents=5), 0)
    cash.apply(event("DebtPaid", debtor="member", creditor="supplier", amountMicrocents=5), 0)
    assert (cash.free["member"], cash.free["supplier"], cash.debts["member", "supplier"]) == (5, 15, 2)
    assert total(cash) == 0


def test_credit_is_collected_from_but_never_more() -> None:
    cash = Cash([], {})
    cash.apply(event("Deposited", account="supplier", amountMicrocents=10), 0)
    cash.apply(event("CreditSet", account="member", supplier="supplier", creditMicrocents=10), 0)
    assert cash.collect("member", "supplier", 10) == 0
    assert cash.collect("member", "supplier", 1) == 1
    assert cash.free["member"] == -10


def test_what_an_account_could_lock_is_known_for_every_block() -> None:
    cash = Cash([], {})
    cash.apply(event("Deposited", 3, account="member", amountMicrocents=10), 0)
    cash.apply(event("Deposited", 3, account="member", amountMicrocents=10), 0)
    cash.apply(event("Withdrawn", 5, account="member", amountMicrocents=4), 0)
    available = [cash.account_at("member", block).available_microcents(GATE) for block in range(2, 7)]
    assert available == [0, 20, 20, 16, 16]
    assert cash.account_at("stranger", 9).available_microcents(GATE) == 0


def honest(*events: tuple[ChainEvent, int]) -> tuple[Cash, list[tuple[str, str]]]:
    """A member of a supplier with 100 and 50 of credit, and what happens then; and what is odd about it."""
    odd: list[tuple[str, str]] = []
    cash = Cash(odd, {"member": "supplier"})
    cash.apply(event("Deposited", account="member", amountMicrocents=100), 0)
    cash.apply(event("Deposited", account="supplier", amountMicrocents=100), 0)
    cash.apply(event("CreditSet", account="member", supplier="supplier", creditMicrocents=50), 0)
    for one, time_s in events:
        cash.apply(one, time_s)
    return cash, odd


def asked(amount: int, time_s: int) -> tuple[ChainEvent, int]:
    """A requested withdrawal."""
    due = time_s + WITHDRAWAL_DELAY_S
    return event("WithdrawalRequested", account="member", amountMicrocents=amount, availableAt=due), time_s


def paid(amount: int, time_s: int) -> tuple[ChainEvent, int]:
    """A withdrawal."""
    return event("Withdrawn", account="member", amountMicrocents=amount), time_s


def wanted(credit: int, time_s: int, supplier: str = "supplier") -> tuple[ChainEvent, int]:
    """A requested credit cut."""
    values: dict[str, Any] = {"account": "member", "supplier": supplier, "creditMicrocents": credit}
    return event("CreditCutRequested", **values, availableAt=time_s + WITHDRAWAL_DELAY_S), time_s


def given_credit(credit: int, time_s: int) -> tuple[ChainEvent, int]:
    """Credit that holds."""
    return event("CreditSet", account="member", supplier="supplier", creditMicrocents=credit), time_s


def test_requests_count_for_gates_after_them_until_they_are_carried_out() -> None:
    cash, odd = honest(asked(30, 1_000), wanted(20, 2_000))
    assert [cash.account_at("member", 1).available_microcents(gate) for gate in (1_000, 1_001, 2_001)] == [150, 120, 90]
    assert cash.lowest_available_microcents("member", 0, 9, 2_001) == 0
    late = 2_000 + WITHDRAWAL_DELAY_S
    cash, odd = honest(asked(30, 1_000), wanted(20, 2_000), paid(30, late), given_credit(20, late))
    assert (cash.account_at("member", 1).available_microcents(GATE), odd, total(cash)) == (90, [], 0)


LATE = 1_000 + WITHDRAWAL_DELAY_S


@pytest.mark.parametrize(
    "events",
    [
        (asked(101, 1_000),),
        (paid(1, LATE),),
        (asked(30, 1_000), paid(30, LATE - 1)),
        (asked(30, 1_000), paid(29, LATE)),
        (asked(30, 1_000), asked(0, 1_000), paid(30, LATE)),
        (asked(30, 1_000), paid(30, LATE), paid(30, LATE)),
        (wanted(50, 1_000),),
        (wanted(20, 1_000, "another"),),
        (given_credit(20, LATE),),
        (wanted(20, 1_000), given_credit(20, LATE - 1)),
        (wanted(20, 1_000), given_credit(19, LATE)),
        (wanted(20, 1_000), given_credit(60, LATE), given_credit(20, LATE)),
    ],
)
def test_what_was_not_requested_long_enough_ago_is_odd(events: tuple[tuple[ChainEvent, int], ...]) -> None:
    assert len(honest(*events)[1]) == 1


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
    cash = Cash([], {})
    for name, one, other, amount in movements:
        if name == "lock":
            cash.lock(one, amount)
        elif name == "collect":
            cash.collect(one, other, amount)
        else:
            cash.apply(event(name, account=one, debtor=one, creditor=other, amountMicrocents=amount), 0)
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
