"""Direct deals: accept a posted offer, read an acceptance."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from gridledger.api.context import NodeContext
from gridledger.api.schemas import DealIn, Uid, deal_out

__all__ = ["deal_routes"]


def deal_routes(node: NodeContext) -> APIRouter:
    """Routes under /v1/deals."""
    router = APIRouter(prefix="/v1/deals", tags=["orders"])

    @router.post("", status_code=201)
    def post_deal(body: DealIn) -> dict[str, Any]:
        """Accept an offer, whole or in part, at its price; the same acceptance gets the same receipt."""
        with node.database.write() as tx:
            return deal_out(node.services(tx).desk.accept_deal(body.to_acceptance(), body.signature_bytes()))

    @router.get("/{uid}")
    def get_deal(uid: Annotated[Uid, Path()]) -> dict[str, Any]:
        """An acceptance, its state and receipt."""
        with node.database.read() as tx:
            return deal_out(node.services(tx).desk.deal(uid))

    return router
