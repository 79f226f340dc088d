"""The signed-in account's webhook: where its notices are posted, signed as Standard Webhooks says."""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Response

from gridledger.api.context import NodeContext
from gridledger.api.schemas import WebhookIn
from gridledger.api.sessions import Bearer, session_owner
from gridledger.clock import SystemClock
from gridledger.errors import NotFound
from gridledger.market.webhooks import Webhook
from gridledger.units import format_utc
from gridledger.webhooks.sealing import new_secret

__all__ = ["WebhookUnset", "webhook_routes"]


@dataclass(kw_only=True, eq=False)
class WebhookUnset(NotFound):
    """The account has set no webhook."""

    owner: str


def webhook_routes(node: NodeContext) -> APIRouter:
    """Routes under /v1/webhooks."""
    router = APIRouter(prefix="/v1/webhooks", tags=["notices"])
    machine_clock = SystemClock()  # deliveries are timed by it in a replay too

    @router.put("")
    def put_webhook(body: WebhookIn, bearer: Bearer, response: Response) -> dict[str, Any]:
        """Set the account's webhook, in place of any before; the secret to verify with is told once.

        Deliveries begin after the notice `after`, or else where those of the webhook before had come to, or else with
        the next notice. A disabled webhook is set again to enable it.
        """
        response.headers["Cache-Control"] = "no-store"
        with node.database.read() as tx:
            session_owner(tx, node.clock, bearer)
        node.webhook_guard.check(body.url)
        secret = new_secret()
        sealed = node.webhook_box.seal(secret)
        with node.database.write() as tx:
            owner = session_owner(tx, node.clock, bearer)
            before, newest = tx.webhooks.find(owner), tx.notices.last_id(owner)
            cursor = min(body.after, newest) if body.after is not None else before.cursor if before else newest
            webhook = tx.webhooks.put(owner, url=body.url, sealed_secret=sealed, cursor=cursor, now=machine_clock.now())
        node.bell.ring()
        return {**_webhook_out(webhook), "secret": secret}

    @router.get("")
    def get_webhook(bearer: Bearer) -> dict[str, Any]:
        """The account's webhook: how far it was delivered to, and what went wrong; never its secret."""
        with node.database.read() as tx:
            owner = session_owner(tx, node.clock, bearer)
            webhook = tx.webhooks.find(owner)
        if webhook is None:
            raise WebhookUnset(owner=owner)
        return _webhook_out(webhook)

    @router.delete("", status_code=204)
    def delete_webhook(bearer: Bearer) -> None:
        """Forget the account's webhook and its secret."""
        with node.database.write() as tx:
            owner = session_owner(tx, node.clock, bearer)
            if not tx.webhooks.remove(owner):
                raise WebhookUnset(owner=owner)

    return router


def _webhook_out(webhook: Webhook) -> dict[str, Any]:
    return {
        "url": webhook.url,
        "created_at": format_utc(webhook.created_at),
        "delivered_through": webhook.cursor,
        "failures": webhook.failures,
        "failing_since": _moment(webhook.failing_since),
        "next_attempt_at": format_utc(webhook.next_attempt_at) if webhook.failures else None,
        "disabled_at": _moment(webhook.disabled_at),
        "last_error": webhook.last_error,
    }


def _moment(moment: int | None) -> str | None:
    return None if moment is None else format_utc(moment)
