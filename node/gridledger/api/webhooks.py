"""The signed-in account's webhooks: where its notices, and for a grid operator dispatch events, are posted."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from gridledger.api.context import NodeContext
from gridledger.api.schemas import RewindIn, WebhookIn
from gridledger.api.sessions import Bearer, session_owner
from gridledger.clock import SystemClock
from gridledger.dispatch.errors import GridOperatorRequired
from gridledger.errors import NotFound
from gridledger.market.webhooks import Feed, Webhook, WebhookState
from gridledger.store.transaction import Transaction
from gridledger.units import format_utc
from gridledger.webhooks.sealing import new_secret

__all__ = ["WebhookUnset", "webhook_routes"]

_Feed = Annotated[Feed, Path(description="`notices` of one's own, or `dispatch` events of one's zones")]


@dataclass(kw_only=True, eq=False)
class WebhookUnset(NotFound):
    """The account has set no webhook for this feed."""

    owner: str
    feed: str


def webhook_routes(node: NodeContext) -> APIRouter:
    """Routes under /v1/webhooks; those without a feed are about notices."""
    router = APIRouter(prefix="/v1/webhooks", tags=["notices", "dispatch"])
    webhooks = _Webhooks(node)

    @router.put("")
    def put_webhook(body: WebhookIn, bearer: Bearer, response: Response) -> dict[str, Any]:
        """Set the account's webhook for its notices; as `PUT /v1/webhooks/notices`."""
        return webhooks.put(Feed.NOTICES, body, bearer, response)

    @router.get("")
    def get_webhook(bearer: Bearer) -> dict[str, Any]:
        """The account's webhook for its notices; as `GET /v1/webhooks/notices`."""
        return webhooks.get(Feed.NOTICES, bearer)

    @router.delete("", status_code=204)
    def delete_webhook(bearer: Bearer) -> None:
        """Forget the account's webhook for its notices, and its secret."""
        webhooks.delete(Feed.NOTICES, bearer)

    @router.put("/{feed}")
    def put_feed(feed: _Feed, body: WebhookIn, bearer: Bearer, response: Response) -> dict[str, Any]:
        """Set the account's webhook for a feed, in place of any before; the secret to verify with is told once.

        Deliveries begin after the entry `after`, or else where those of the webhook before had come to, or else with
        the next entry. `dispatch` is for grid operators: the events of `GET /v1/dispatch/events` of their zones.
        """
        return webhooks.put(feed, body, bearer, response)

    @router.get("/{feed}")
    def get_feed(feed: _Feed, bearer: Bearer) -> dict[str, Any]:
        """The account's webhook for a feed: how far it was delivered to, and what went wrong; never its secret."""
        return webhooks.get(feed, bearer)

    @router.delete("/{feed}", status_code=204)
    def delete_feed(feed: _Feed, bearer: Bearer) -> None:
        """Forget the account's webhook for a feed, and its secret."""
        webhooks.delete(feed, bearer)

    @router.post("/{feed}/rewind")
    def post_rewind(feed: _Feed, body: RewindIn, bearer: Bearer) -> dict[str, Any]:
        """Deliver from after an id on, now, by the same webhook and secret; a paused one goes on.

        Without `after` it goes on where it had come to. An id beyond the newest means the newest.
        """
        return webhooks.rewind(feed, body.after, bearer)

    return router


class _Webhooks:
    """What the routes do, for any feed."""

    def __init__(self, node: NodeContext) -> None:
        self._node = node
        self._machine_clock = SystemClock()  # deliveries are timed by it in a replay too

    def put(self, feed: Feed, body: WebhookIn, bearer: Bearer, response: Response) -> dict[str, Any]:
        response.headers["Cache-Control"] = "no-store"
        node = self._node
        with node.database.read() as tx:
            self._owner(tx, feed, bearer)
        node.webhook_guard.check(body.url)
        secret = new_secret()
        sealed = node.webhook_box.seal(secret)
        with node.database.write() as tx:
            owner = self._owner(tx, feed, bearer)
            before, newest = tx.webhooks.find(owner, feed), _newest(tx, owner, feed)
            cursor = min(body.after, newest) if body.after is not None else before.cursor if before else newest
            webhook = self._set(tx, owner, feed, url=body.url, sealed_secret=sealed, cursor=cursor)
        node.bell.ring()
        return {**_webhook_out(webhook, newest), "secret": secret}

    def get(self, feed: Feed, bearer: Bearer) -> dict[str, Any]:
        with self._node.database.read() as tx:
            owner = self._owner(tx, feed, bearer)
            return _webhook_out(_found(tx, owner, feed), _newest(tx, owner, feed))

    def delete(self, feed: Feed, bearer: Bearer) -> None:
        with self._node.database.write() as tx:
            owner = session_owner(tx, self._node.clock, bearer)
            if not tx.webhooks.remove(owner, feed):
                raise WebhookUnset(owner=owner, feed=feed)

    def rewind(self, feed: Feed, after: int | None, bearer: Bearer) -> dict[str, Any]:
        with self._node.database.write() as tx:
            owner = self._owner(tx, feed, bearer)
            before, newest = _found(tx, owner, feed), _newest(tx, owner, feed)
            cursor = before.cursor if after is None else min(after, newest)
            # Set anew, so that the outcome of a delivery under way is not kept over it.
            webhook = self._set(tx, owner, feed, url=before.url, sealed_secret=before.sealed_secret, cursor=cursor)
        self._node.bell.ring()
        return _webhook_out(webhook, newest)

    def _owner(self, tx: Transaction, feed: Feed, bearer: Bearer) -> str:
        """The account of the session. Raises SessionRequired, GridOperatorRequired."""
        owner = session_owner(tx, self._node.clock, bearer)
        if feed is Feed.DISPATCH and not tx.directory.is_grid_operator(owner):
            raise GridOperatorRequired(account=owner)
        return owner

    def _set(self, tx: Transaction, owner: str, feed: Feed, *, url: str, sealed_secret: bytes, cursor: int) -> Webhook:
        now = self._machine_clock.now()
        return tx.webhooks.put(owner, feed, url=url, sealed_secret=sealed_secret, cursor=cursor, now=now)


def _found(tx: Transaction, owner: str, feed: Feed) -> Webhook:
    webhook = tx.webhooks.find(owner, feed)
    if webhook is None:
        raise WebhookUnset(owner=owner, feed=feed)
    return webhook


def _newest(tx: Transaction, owner: str, feed: Feed) -> int:
    return tx.notices.last_id(owner) if feed is Feed.NOTICES else tx.dispatches.last_event_id(owner)


def _webhook_out(webhook: Webhook, newest: int) -> dict[str, Any]:
    return {
        "feed": webhook.feed,
        "url": webhook.url,
        "created_at": format_utc(webhook.created_at),
        "state": webhook.state,
        "delivered_through": webhook.cursor,
        "newest": newest,
        "failures": webhook.failures,
        "failing_since": _moment(webhook.failing_since),
        "next_attempt_at": format_utc(webhook.next_attempt_at) if webhook.state is WebhookState.RETRYING else None,
        "disabled_at": _moment(webhook.disabled_at),
        "last_error": webhook.last_error,
    }


def _moment(moment: int | None) -> str | None:
    return None if moment is None else format_utc(moment)
