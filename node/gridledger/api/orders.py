"""Orders: post, read, cancel."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Response

from gridledger.api.context import NodeContext
from gridledger.api.order_intake import OrderIntake
from gridledger.api.problems import problem_document
from gridledger.api.schemas import (
    CancelUpToIn,
    OrderBatchIn,
    OrderIn,
    Signature,
    Uid,
    checksum,
    fill_out,
    order_out,
    receipt_out,
)
from gridledger.errors import GridLedgerError
from gridledger.market.ports import AcceptedOrder

__all__ = ["order_routes"]


def order_routes(node: NodeContext) -> APIRouter:
    """Routes under /v1/orders."""
    router = APIRouter(prefix="/v1/orders", tags=["orders"])
    intake = OrderIntake(node)

    @router.post("", status_code=201)
    def post_order(body: OrderIn) -> dict[str, Any]:
        """Accept a signed order and answer with the market operator's receipt; the same order gets the same receipt."""
        (outcome,) = intake.accept((body,))
        if isinstance(outcome, GridLedgerError):
            raise outcome
        return order_out(outcome)

    @router.post("/batch", status_code=200)
    def post_orders(body: OrderBatchIn) -> dict[str, Any]:
        """Accept or refuse each order on its own, in order; one result per order."""
        return {"results": [_result(outcome) for outcome in intake.accept(body.orders)]}

    @router.post("/cancellations", status_code=200)
    def cancel_orders(body: CancelUpToIn) -> dict[str, Any]:
        """Cancel all open orders of an owner with a salt up to this one, by its EIP-712 `CancelUpTo` signature."""
        with node.database.write() as tx:
            desk = node.services(tx).desk
            uids, receipt = desk.cancel_up_to(checksum(body.owner), body.to_salt(), body.signature_bytes())
            return {"cancelled": list(uids), "receipt": receipt_out(receipt)}

    @router.get("/{uid}")
    def get_order(uid: Annotated[Uid, Path()]) -> dict[str, Any]:
        """An accepted order, its state and receipt."""
        with node.database.read() as tx:
            accepted = node.services(tx).desk.order(uid)
            return {**order_out(accepted), "mtus": [fill_out(*fill) for fill in tx.orders.fills(uid)]}

    @router.delete("/{uid}")
    def delete_order(
        uid: Annotated[Uid, Path()],
        gridledger_signature: Annotated[Signature, Header(description="EIP-712 `Cancel` signed by the owner")],
        response: Response,
    ) -> dict[str, Any]:
        """Cancel an open order before its gate closes."""
        response.headers["Cache-Control"] = "no-store"
        with node.database.write() as tx:
            cancelled = node.services(tx).desk.cancel(uid, bytes.fromhex(gridledger_signature[2:]))
        node.bell.ring()
        return {**order_out(cancelled.order), "cancel_receipt": receipt_out(cancelled.receipt)}

    return router


def _result(outcome: AcceptedOrder | GridLedgerError) -> dict[str, Any]:
    if isinstance(outcome, GridLedgerError):
        problem = problem_document(outcome)
        return {"status": problem["status"], "problem": problem}
    return {"status": 201, "order": order_out(outcome)}
