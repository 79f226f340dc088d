"""Trade receipts as tests fetch, change and verify them."""

import copy
import json
from pathlib import Path
from typing import Any, cast

from tests.api.running import MTU_START, OUTSIDER, RunningNode, key

from gridledger.app.receipt_run import verify_receipt

REASON = "complaint 17 of the owner"
OTHER_HASH, OTHER_ADDRESS = "0x" + "ab" * 32, OUTSIDER.address
RECEIPT = f"/v1/proofs/trades/1/{MTU_START}"
Document = dict[str, Any]


def fetched(market: RunningNode, role: str | None = None, **params: Any) -> Document:
    """The receipt as somebody of this role is given it."""
    session = market.sign_in(key(role)) if role else None
    answer = market.http.get(RECEIPT, params=params, headers=session)
    assert answer.status_code == 200, answer.text
    document: Document = answer.json()
    return document


def verified(market: RunningNode, document: Document, folder: Path, deployment: Path | None = None) -> Document:
    """What the verification of a receipt comes to."""
    path = folder / "receipt.json"
    path.write_text(json.dumps(document))
    return verify_receipt(path, market.node.chain_url, deployment)


def links(result: Document, verdict: str) -> list[str]:
    """The links with a verdict."""
    return [link["link"] for link in result["links"] if link["verdict"] == verdict]


def altered(document: Document, path: tuple[str | int, ...], value: object) -> Document:
    """A copy with another value in one place."""
    changed: Any = copy.deepcopy(document)
    *way, last = path
    place = changed
    for step in way:
        place = place[step]
    assert place[last] != value
    place[last] = value
    return cast(Document, changed)
