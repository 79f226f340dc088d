"""What events of the cash accounts change in the projections. A part of projections."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from gridledger.relay import ChainEvent
from gridledger.store.closings import change_free

if TYPE_CHECKING:
    from gridledger.store.transaction import Transaction

__all__ = ["CASH_HANDLERS"]


def _deposited(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    change_free(tx, event.arguments["account"], event.arguments["amountMicrocents"])


def _withdrawal_requested(tx: "Transaction", event: ChainEvent, time: int) -> None:
    tx.directory.request_withdrawal(event.arguments["account"], event.arguments["amountMicrocents"], time)


def _withdrawn(tx: "Transaction", event: ChainEvent, time: int) -> None:
    account = event.arguments["account"]
    tx.directory.request_withdrawal(account, 0, time)
    change_free(tx, account, -event.arguments["amountMicrocents"])


def _credit_cut_requested(tx: "Transaction", event: ChainEvent, time: int) -> None:
    tx.directory.request_credit_cut(event.arguments["account"], event.arguments["creditMicrocents"], time)


def _credit_set(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    account, credit = event.arguments["account"], event.arguments["creditMicrocents"]
    before = tx.directory.set_credit(account, credit)
    change_free(tx, event.arguments["supplier"], before - credit)


def _debt_recorded(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    """The imbalance event that follows moves the full amount, so what was not collected is moved back here."""
    arguments = event.arguments
    debtor, creditor, amount = arguments["debtor"], arguments["creditor"], arguments["amountMicrocents"]
    tx.directory.add_debt(debtor, creditor, amount)
    change_free(tx, debtor, amount)
    change_free(tx, creditor, -amount)


def _debt_paid(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    """The debtor pays from its wallet, not from its free money."""
    arguments = event.arguments
    debtor, creditor, amount = arguments["debtor"], arguments["creditor"], arguments["amountMicrocents"]
    tx.directory.add_debt(debtor, creditor, -amount)
    change_free(tx, creditor, amount)


CASH_HANDLERS: dict[str, Callable[["Transaction", ChainEvent, int], None]] = {
    "Deposited": _deposited,
    "WithdrawalRequested": _withdrawal_requested,
    "Withdrawn": _withdrawn,
    "CreditCutRequested": _credit_cut_requested,
    "CreditSet": _credit_set,
    "DebtRecorded": _debt_recorded,
    "DebtPaid": _debt_paid,
}
