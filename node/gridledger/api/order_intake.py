"""Takes posted orders: signatures are checked by several threads, then all orders are accepted in one transaction."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from gridledger.api.context import NodeContext
from gridledger.api.schemas import OrderIn
from gridledger.errors import GridLedgerError
from gridledger.market.order_hash import OrderDomain
from gridledger.market.ports import AcceptedOrder
from gridledger.market.submission import Submission

__all__ = ["OrderIntake"]


class OrderIntake:
    """The way of orders from the request to the desk. Recovering a signer lets go of the interpreter lock."""

    def __init__(self, node: NodeContext) -> None:
        self._node = node
        self._threads = os.cpu_count() or 1
        self._checkers = ThreadPoolExecutor(self._threads, thread_name_prefix="signatures")

    def accept(self, bodies: Sequence[OrderIn]) -> list[AcceptedOrder | GridLedgerError]:
        """Accept or refuse each order on its own, in order; what is accepted is on disk when this returns."""
        checked = self._checked(bodies)
        submissions = [one for one in checked if isinstance(one, Submission)]
        outcomes = iter(self._decided(submissions) if submissions else ())  # forged orders alone keep no writer waiting
        return [next(outcomes) if isinstance(one, Submission) else one for one in checked]

    def _decided(self, submissions: Sequence[Submission]) -> Sequence[AcceptedOrder | GridLedgerError]:
        with self._node.database.write() as tx:
            outcomes = self._node.services(tx).desk.accept_all(submissions)
        self._node.bell.ring()
        return outcomes

    def _checked(self, bodies: Sequence[OrderIn]) -> list[Submission | GridLedgerError]:
        """What needs no database, before the transaction begins, so that no other writer waits for it."""
        size = -(-len(bodies) // self._threads)
        slices = [bodies[begin : begin + size] for begin in range(0, len(bodies), size)]
        check = partial(_check, self._node.order_domain)
        return [one for part in self._checkers.map(check, slices) for one in part]


def _check(domain: OrderDomain, bodies: Sequence[OrderIn]) -> list[Submission | GridLedgerError]:
    checked: list[Submission | GridLedgerError] = []
    for body in bodies:
        try:
            checked.append(Submission.checked(domain, body.to_order(), body.signature_bytes(), body.client_id))
        except GridLedgerError as refusal:
            checked.append(refusal)
    return checked
