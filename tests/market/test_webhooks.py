"""When a webhook that failed is tried again, and when no more."""

from itertools import pairwise

from gridledger.market.webhooks import DISABLED_AFTER_S, LONGEST_DELAY_S, Feed, Webhook, after_delivery, after_failure

NOW = 1_000_000
FRESH = Webhook(
    feed=Feed.NOTICES,
    id=1,
    owner="0x" + "11" * 20,
    url="https://example.org/",
    sealed_secret=b"sealed",
    cursor=4,
    created_at=NOW,
    failures=0,
    failing_since=None,
    next_attempt_at=NOW,
    disabled_at=None,
    last_error=None,
)


def test_each_failure_doubles_the_wait_up_to_an_hour() -> None:
    webhook, now, waits = FRESH, NOW, []
    for _ in range(14):
        webhook = after_failure(webhook, "status 500", now)
        waits.append(webhook.next_attempt_at - now)
        now = webhook.next_attempt_at
    assert waits[0] == 5
    assert all(later == min(2 * earlier, LONGEST_DELAY_S) for earlier, later in pairwise(waits))
    assert waits[-1] == LONGEST_DELAY_S
    assert (webhook.failures, webhook.failing_since, webhook.last_error) == (14, NOW, "status 500")
    assert (webhook.disabled_at, webhook.cursor) == (None, 4)


def test_three_days_without_success_disable_it_and_not_a_second_less() -> None:
    failing = after_failure(FRESH, "status 500", NOW)
    assert after_failure(failing, "status 500", NOW + DISABLED_AFTER_S - 1).disabled_at is None
    assert after_failure(failing, "status 500", NOW + DISABLED_AFTER_S).disabled_at == NOW + DISABLED_AFTER_S


def test_a_receiver_that_says_it_is_gone_is_believed_at_once() -> None:
    assert after_failure(FRESH, "status 410", NOW, gone=True).disabled_at == NOW


def test_a_success_forgets_all_failures() -> None:
    failing = after_failure(after_failure(FRESH, "status 500", NOW), "status 500", NOW + 5)
    well = after_delivery(failing, 9, NOW + 20)
    assert (well.cursor, well.failures, well.failing_since, well.last_error) == (9, 0, None, None)
    assert well.next_attempt_at == NOW + 20
    assert after_failure(well, "status 500", NOW + DISABLED_AFTER_S).disabled_at is None


def test_a_long_failure_or_a_long_reason_overflows_nothing() -> None:
    webhook = FRESH
    for _ in range(2_000):
        webhook = after_failure(webhook, "x" * 1_000, NOW)
    assert webhook.next_attempt_at == NOW + LONGEST_DELAY_S
    assert len(webhook.last_error or "") == 200
