"""Where an owner wants a feed delivered, and when a delivery is tried again. Times are the machine's, Unix seconds."""

from dataclasses import dataclass, replace
from enum import StrEnum

__all__ = ["Feed", "Webhook", "WebhookState", "after_delivery", "after_failure"]

FIRST_DELAY_S, LONGEST_DELAY_S = 5, 3_600
DISABLED_AFTER_S = 3 * 24 * 3_600
_MOST_DOUBLINGS = 20
_LONGEST_REASON = 200


class Feed(StrEnum):
    """What is delivered; each has its own ascending ids."""

    NOTICES = "notices"
    DISPATCH = "dispatch"


class WebhookState(StrEnum):
    """How deliveries go. A paused webhook keeps its cursor, and so loses nothing, until its owner sets it again."""

    DELIVERING = "delivering"
    RETRYING = "retrying"
    PAUSED = "paused"


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """One owner's webhook for one feed. `cursor` is the id of the last entry delivered; the secret is sealed."""

    id: int
    owner: str
    feed: Feed
    url: str
    sealed_secret: bytes
    cursor: int
    created_at: int
    failures: int
    failing_since: int | None
    next_attempt_at: int
    disabled_at: int | None
    last_error: str | None

    @property
    def state(self) -> WebhookState:
        """How deliveries go."""
        if self.disabled_at is not None:
            return WebhookState.PAUSED
        return WebhookState.RETRYING if self.failures else WebhookState.DELIVERING


def after_delivery(webhook: Webhook, cursor: int, now: int) -> Webhook:
    """The webhook after everything up to `cursor` was taken."""
    return replace(
        webhook, cursor=cursor, failures=0, failing_since=None, next_attempt_at=now, disabled_at=None, last_error=None
    )


def after_failure(webhook: Webhook, reason: str, now: int, *, gone: bool = False) -> Webhook:
    """The webhook after a failed attempt: tried again after 5 s, 10 s, ... up to an hour.

    It is disabled after three days without success, or at once when its receiver says that it is gone.
    """
    failing_since = now if webhook.failing_since is None else webhook.failing_since
    delay_s = min(FIRST_DELAY_S * 2 ** min(webhook.failures, _MOST_DOUBLINGS), LONGEST_DELAY_S)
    given_up = gone or now - failing_since >= DISABLED_AFTER_S
    return replace(
        webhook,
        failures=webhook.failures + 1,
        failing_since=failing_since,
        next_attempt_at=now + delay_s,
        disabled_at=now if given_up else None,
        last_error=reason[:_LONGEST_REASON],
    )
