"""What a refused command means for the task that submitted it."""

from collections.abc import Callable

import structlog

from gridledger.api.context import Services
from gridledger.chain.codec import ContractReverted
from gridledger.clock import Clock
from gridledger.errors import GridLedgerError
from gridledger.market.model import Ineligibility
from gridledger.relay import OutboxRow
from gridledger.store.transaction import Transaction

__all__ = ["Refusals"]

# The contract's errors that name one member's account, or one order, as the reason why a clearing cannot be.
_NAMES_ACCOUNT = {"InsufficientFunds": Ineligibility.UNFUNDED, "AccountSuspended": Ineligibility.SUSPENDED}
_NAMES_ORDER = {"OrderIsCancelled": Ineligibility.CANCELLED}
_RETRY_S = 60
_log = structlog.get_logger(__name__)


class Refusals:
    """Handles commands the contracts refused, in the transaction that records the refusal."""

    def __init__(self, services: Callable[[Transaction], Services], clock: Clock) -> None:
        self._services = services
        self._clock = clock

    def __call__(self, tx: Transaction, row: OutboxRow, error: GridLedgerError) -> None:
        """Bring the subject of a refused command back to a state from which it can go on, or close it."""
        _log.error("command_refused", kind=row.kind, zone=row.zone, mtu_start=row.mtu_start, reason=str(error))
        if row.zone is None or row.mtu_start is None:
            return
        key = (row.zone, row.mtu_start)
        match row.kind:
            case "SubmitClearing":
                self._clearing_refused(tx, key, error)
            case "CommitBook":
                self._services(tx).market.lapse(*key, "deadline_passed", str(error), _reason(error))
            case "RelayAnswer" | "RelayCurtailment":
                tx.dispatches.mark_unanswered(*key)
            case "RecordIneligible":
                self._services(tx).market.record_refused(*key)
            case "SettlePositions" | "ApplyCaps":
                if not tx.mtus.record(*key).retry_at:
                    self._services(tx).market.tell_failed(*key, _reason(error))
                tx.mtus.retry_settling(*key, str(error), self._clock.now() + _RETRY_S)

    def _clearing_refused(self, tx: Transaction, key: tuple[int, int], error: GridLedgerError) -> None:
        market, cleared_chunks = self._services(tx).market, tx.mtus.record(*key).cleared_chunks
        if cleared_chunks:
            market.stop(*key, cleared_chunks, str(error), _reason(error))
            return
        uids, reason = _orders_at_fault(tx, key, error)
        if reason is not None:
            market.exclude(*key, uids, reason)
        else:
            market.lapse(*key, "clearing_refused", str(error), _reason(error))


def _reason(error: GridLedgerError) -> str:
    """Owners are told the error's name alone: its values may be somebody else's."""
    return error.name if isinstance(error, ContractReverted) else error.title()


def _orders_at_fault(
    tx: Transaction, key: tuple[int, int], error: GridLedgerError
) -> tuple[list[str], Ineligibility | None]:
    """Eligible listed orders that the contract's error names, and why they cannot trade; None if it names none."""
    if not isinstance(error, ContractReverted) or not error.arguments:
        return [], None
    subject = error.arguments[0]
    eligible = [entry for entry in tx.mtus.book(*key) if entry.ineligible is None]
    if error.name in _NAMES_ACCOUNT:
        owner = str(subject).lower()
        uids = [entry.uid for entry in eligible if entry.owner.lower() == owner]
        return uids, _NAMES_ACCOUNT[error.name] if uids else None
    if error.name in _NAMES_ORDER and isinstance(subject, bytes):
        uids = [entry.uid for entry in eligible if entry.uid == "0x" + subject.hex()]
        return uids, _NAMES_ORDER[error.name] if uids else None
    return [], None
