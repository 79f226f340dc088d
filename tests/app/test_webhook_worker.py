"""The worker: repeats what failed, continues after a restart, gives up after days, and lets nobody wait for another."""

import queue
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert
from tests.webhooks.receiving import Receiver, receiver

from gridledger.app.webhook_worker import WebhookWorker
from gridledger.clock import ManualClock, SystemClock
from gridledger.dispatch.model import Schedule, ScheduleState
from gridledger.market.notices import NoticeDetails, NoticeKind
from gridledger.market.webhooks import DISABLED_AFTER_S, Feed, Webhook, WebhookState
from gridledger.store.database import Database
from gridledger.store.schema import zone
from gridledger.webhooks.sealing import SecretBox, new_secret
from gridledger.webhooks.targets import AllowList, TargetGuard

DISPATCHES = 100
OWNER, OTHER = "0x" + "11" * 20, "0x" + "22" * 20


class Setting:
    """A database, a worker's parts, and a clock that is moved by hand."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.clock = ManualClock(SystemClock().now())
        self.box = SecretBox(folder / "box.key")
        self.guard = TargetGuard(AllowList.parse("127.0.0.1"))
        self.kept: queue.Queue[Webhook] = queue.Queue()

    def set(self, url: str, owner: str = OWNER, feed: Feed = Feed.NOTICES) -> Webhook:
        with self.database.write() as tx:
            sealed = self.box.seal(new_secret())
            return tx.webhooks.put(owner, feed, url=url, sealed_secret=sealed, cursor=0, now=self.clock.now())

    def notify(self, count: int = 1, owner: str = OWNER) -> None:
        with self.database.write() as tx:
            for _ in range(count):
                tx.notices.add(
                    NoticeKind.ACCEPTED,
                    owner=owner,
                    order_uid=None,
                    zone=1,
                    mtu_start=900,
                    meter=1,
                    created_at=1,
                    details=NoticeDetails(),
                )

    def dispatch(self, count: int) -> None:
        """Schedules of the zone that OWNER operates, one for each MTU."""
        with self.database.write() as tx:
            first = tx.dispatches.last_event_id(OWNER)
            if not first:
                tx.connection.execute(insert(zone).values(zone=1, grid_operator=OWNER))
            for number in range(first, first + count):
                schedule = Schedule(
                    zone=1,
                    mtu_start=900 * number,
                    schedule_hash="0x",
                    traded_wh=1,
                    answer_deadline=0,
                    state=ScheduleState.PENDING,
                    reason=0,
                    result_hash="0x" + "bb" * 32,
                    setpoints_root="0x" + "cc" * 32,
                )
                tx.dispatches.add(schedule, {}, 1)

    def webhook(self, owner: str = OWNER, feed: Feed = Feed.NOTICES) -> Webhook:
        with self.database.read() as tx:
            found = tx.webhooks.find(owner, feed)
        assert found is not None
        return found

    def after(self, *, cursor: int | None = None, failures: int | None = None) -> Webhook:
        """The next outcome the worker keeps with this cursor or number of failures."""
        while True:
            webhook = self.kept.get(timeout=20)
            if cursor in (None, webhook.cursor) and failures in (None, webhook.failures):
                return webhook

    @contextmanager
    def working(self) -> Iterator[WebhookWorker]:
        worker = WebhookWorker(
            database=self.database, guard=self.guard, box=self.box, clock=self.clock, on_kept=self.kept.put
        )
        worker.start()
        try:
            yield worker
        finally:
            worker.close()


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    database = Database(tmp_path / "node.db")
    yield Setting(database, tmp_path)
    database.close()


def ids(server: Receiver, count: int) -> list[int]:
    return [int(one.headers["webhook-id"]) for one in server.take(count)]


def test_what_failed_is_sent_again_after_the_wait_and_before_everything_later(setting: Setting) -> None:
    with receiver([500, 503, 204]) as server:
        setting.set(server.url)
        setting.notify(2)
        with setting.working() as worker:
            for failures, wait_s in ((1, 5), (2, 10)):
                failed = setting.after(failures=failures)
                assert failed.next_attempt_at == setting.clock.now() + wait_s
                assert ids(server, 1) == [1]
                setting.clock.move_to(failed.next_attempt_at)
                worker.wake()
            delivered = setting.after(cursor=2)
            assert ids(server, 2) == [1, 2]
    assert (delivered.failures, delivered.failing_since, delivered.last_error) == (0, None, None)
    assert setting.webhook() == delivered


def test_many_notices_arrive_in_their_order_each_once(setting: Setting) -> None:
    with receiver() as server:
        setting.set(server.url)
        with setting.working() as worker:
            for _ in range(5):
                setting.notify(13)
                worker.wake()
            assert setting.after(cursor=65).failures == 0
            assert ids(server, 65) == list(range(1, 66))
        assert server.received.empty()


def test_a_worker_continues_after_what_the_one_before_has_kept(setting: Setting) -> None:
    with receiver() as server:
        setting.set(server.url)
        setting.notify(3)
        with setting.working():
            setting.after(cursor=3)
        setting.notify(2)
        with setting.working():
            setting.after(cursor=5)
        assert ids(server, 5) == [1, 2, 3, 4, 5]
        assert server.received.empty()


def test_what_was_not_kept_when_the_worker_was_killed_is_sent_again_with_the_same_id(setting: Setting) -> None:
    with receiver() as server:
        setting.set(server.url)
        setting.notify(2)
        with setting.working():
            setting.after(cursor=2)
        with setting.database.write() as tx:
            tx.connection.exec_driver_sql("UPDATE webhook SET cursor = 0")  # as if it had died before keeping it
        with setting.working():
            setting.after(cursor=2)
        assert ids(server, 4) == [1, 2, 1, 2]


def test_what_was_taken_before_a_failure_in_the_middle_is_not_sent_again(setting: Setting) -> None:
    with receiver([204, 204, 500, 204]) as server:
        setting.set(server.url)
        setting.notify(4)
        with setting.working() as worker:
            failed = setting.after(failures=1)
            assert failed.cursor == 2
            setting.clock.move_to(failed.next_attempt_at)
            worker.wake()
            setting.after(cursor=4)
        assert ids(server, 5) == [1, 2, 3, 3, 4]


def test_a_receiver_that_is_gone_is_disabled_at_once_and_left_alone(setting: Setting) -> None:
    with receiver([410]) as server:
        setting.set(server.url)
        setting.notify(2)
        with setting.working():
            webhook = setting.after(failures=1)
        assert (webhook.disabled_at, webhook.last_error) == (setting.clock.now(), "status 410")
        setting.clock.move_to(setting.clock.now() + DISABLED_AFTER_S)
        with setting.database.read() as tx:
            assert tx.webhooks.due(setting.clock.now(), 10, ()) == ()
            assert tx.webhooks.next_attempt_at(setting.clock.now()) is None


def test_a_receiver_that_fails_for_three_days_is_disabled_until_it_is_set_again(setting: Setting) -> None:
    with receiver([500, 500, 204]) as server:
        setting.set(server.url)
        setting.notify()
        with setting.working() as worker:
            assert setting.after(failures=1).disabled_at is None
            setting.clock.move_to(setting.clock.now() + DISABLED_AFTER_S)
            worker.wake()
            assert setting.after(failures=2).disabled_at == setting.clock.now()
            setting.set(server.url)
            worker.wake()
            assert setting.after(cursor=1).disabled_at is None


def test_an_owner_whose_receiver_is_silent_makes_nobody_wait(setting: Setting) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, receiver() as server:
        setting.set(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        setting.set(server.url, OTHER)
        setting.notify(3)
        setting.notify(3, owner=OTHER)
        with setting.working():
            assert setting.after(cursor=6).owner == OTHER
        assert ids(server, 3) == [4, 5, 6]
    assert setting.webhook().cursor == 0


def test_a_name_that_has_come_to_lead_elsewhere_is_not_called_any_more(setting: Setting) -> None:
    answers = ["127.0.0.1"]
    setting.guard = TargetGuard(AllowList.parse("127.0.0.1"), lambda _host, _port: list(answers))
    with receiver() as server:
        setting.set(f"http://name.invalid:{server.port}/")
        setting.notify()
        with setting.working() as worker:
            setting.after(cursor=1)
            answers[:] = ["127.0.0.2"]
            setting.notify()
            worker.wake()
            refused = setting.after(failures=1)
        assert ids(server, 1) == [1]
        assert server.received.empty()
    assert (refused.cursor, refused.last_error) == (1, "only https is called")


def test_a_lost_key_is_a_failure_its_owner_can_read(setting: Setting, tmp_path: Path) -> None:
    with receiver() as server:
        setting.set(server.url)
        setting.notify()
        (tmp_path / "box.key").unlink()
        with setting.working():
            failed = setting.after(failures=1)
        assert server.received.empty()
    assert "set the webhook again" in (failed.last_error or "")


def test_the_outcome_of_a_delivery_is_not_kept_for_the_webhook_that_replaced_it(setting: Setting) -> None:
    old = setting.set("https://one.invalid/")
    new = setting.set("https://two.invalid/")
    assert new.id > old.id
    with setting.database.write() as tx:
        tx.webhooks.keep(replace(old, cursor=9))
    assert setting.webhook() == new


def test_a_listener_that_comes_back_after_days_gets_all_dispatches_in_their_order(setting: Setting) -> None:
    with receiver([500] * 4 + [204]) as server:
        setting.set(server.url, feed=Feed.DISPATCH)
        setting.dispatch(50)
        with setting.working() as worker:
            for failures in (1, 2, 3):
                setting.clock.move_to(setting.after(failures=failures).next_attempt_at)
                worker.wake()
            setting.after(failures=4)
        setting.dispatch(50)
        setting.clock.move_to(setting.clock.now() + DISABLED_AFTER_S - 3_600)
        with setting.working():
            assert setting.after(cursor=DISPATCHES).state is WebhookState.DELIVERING
        assert ids(server, 4 + DISPATCHES) == [1] * 4 + list(range(1, DISPATCHES + 1))
        assert server.received.empty()


def test_feeds_of_one_owner_are_delivered_side_by_side(setting: Setting) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, receiver() as server:
        setting.set(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        setting.set(server.url, feed=Feed.DISPATCH)
        setting.notify(3)
        setting.dispatch(3)
        with setting.working():
            assert setting.after(cursor=3).feed is Feed.DISPATCH
        assert ids(server, 3) == [1, 2, 3]
    assert setting.webhook().cursor == 0


def test_a_worker_without_anything_to_do_ends_when_it_is_told_to(setting: Setting) -> None:
    with setting.working() as worker:
        worker.wake()
    worker.wake()  # of no use any more, and no harm
