"""Readings in, proofs of their anchoring out."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse

from gridledger.api.context import NodeContext
from gridledger.api.schemas import ReadingsIn
from gridledger.units import UINT32_MAX

__all__ = ["reading_routes"]


def reading_routes(node: NodeContext) -> APIRouter:
    """Routes of readings and their proofs."""
    router = APIRouter(prefix="/v1", tags=["readings"])

    @router.post("/readings")
    def post_readings(body: ReadingsIn) -> JSONResponse:
        """Accept or refuse each signed reading on its own; one result per reading, in order.

        A reading is a JWS of an interval or an OCMF text of a moment. One that contradicts an accepted one is kept as
        `disputed`, and the accepted one stands. `notes` say what is odd about an accepted one, with a count:
        `counter-skipped` (of the device's numbers), `interval-split` (of MTUs), `parts-missing` (of seconds until the
        MTU is whole).
        """
        return JSONResponse({"results": node.readings.accept(body.readings)})

    @router.get("/proofs/readings/{meter}/{mtu_start}")
    def get_reading_proof(
        meter: Annotated[int, Path(ge=1, le=UINT32_MAX)], mtu_start: Annotated[int, Path(ge=1, le=UINT32_MAX)]
    ) -> dict[str, Any]:
        """Merkle proof that a reading's commitment is anchored; check it with `MeterLedger.verify`.

        The proof shows no energy: whoever holds the reading and its salt recomputes the leaf.
        """
        with node.database.read() as tx:
            proof = node.services(tx).anchoring.proof(meter, mtu_start)
        return {
            "zone": proof.zone,
            "mtu_start": mtu_start,
            "meter": meter,
            "sequence": proof.sequence,
            "root": "0x" + proof.root.hex(),
            "leaf": "0x" + proof.leaf.hex(),
            "proof": ["0x" + node_hash.hex() for node_hash in proof.path],
        }

    return router
