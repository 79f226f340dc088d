"""The node's heartbeat: does whatever is due, one small transaction at a time, until nothing is.

What is due follows from the database alone, so a node that was killed continues where its last transaction ended.
"""

from collections.abc import Callable, Mapping

import structlog

from gridledger.api.context import Services
from gridledger.app.demand_response import measure_demand_response
from gridledger.chain.sender import Sender
from gridledger.clock import Clock
from gridledger.dispatch.model import ScheduleState
from gridledger.market.model import MtuPhase
from gridledger.market.ports import MtuRecord
from gridledger.metering.anchoring import MAX_ANCHORED_MTUS
from gridledger.metering.substitutes import ESTIMATION_DELAY_S
from gridledger.metering.validation import GREATEST_AGE_S
from gridledger.store.database import Database
from gridledger.store.transaction import Transaction

__all__ = ["Engine"]

IMPLAUSIBLE_RETRY_S = 60
_ESTIMATED_FACT = "estimated_until"
_ESTIMATED_AT_ONCE = 16
_log = structlog.get_logger(__name__)


class Engine:
    """Closes gates, matches, anchors and settles as time passes."""

    def __init__(
        self,
        *,
        database: Database,
        sender: Sender[Transaction],
        clock: Clock,
        services: Callable[[Transaction], Services],
        mtu_length_s: int,
        anchor_delay_s: int,
    ) -> None:
        self._database = database
        self._sender = sender
        self._clock = clock
        self._services = services
        self._mtu_length_s = mtu_length_s
        self._anchor_delay_s = anchor_delay_s

    def run_until_idle(self) -> None:
        """Do everything that is due now."""
        while self._sender.step() or self._advance():
            pass

    def _advance(self) -> bool:
        """Start the next due tasks in one transaction; returns whether there were any."""
        with self._database.write() as tx:
            services = self._services(tx)
            tasks = (
                self._take_posted,
                self._close_gates,
                self._match,
                self._go_on,
                self._anchor,
                self._settle,
                self._correct,
                self._defend,
                self._estimate,
                measure_demand_response,
            )
            return sum(task(tx, services) for task in tasks) > 0  # every task has its turn

    def _take_posted(self, tx: Transaction, services: Services) -> bool:
        """Receipt what was posted on chain, before any gate is closed."""
        posted = tx.orders.posted()
        for one in posted:
            services.desk.accept_posted(one)
        return bool(posted)

    def _close_gates(self, tx: Transaction, services: Services) -> bool:
        now = self._clock.now()
        due = [
            (zone, mtu_start)
            for zone, mtu_start in tx.orders.unlisted_mtus(now, tx.directory.longest_gate_closure_s())
            if mtu_start - tx.directory.policy_at(mtu_start).gate_closure_s <= now
        ]
        for zone, mtu_start in due:
            services.market.close_gate(zone, mtu_start)
        return bool(due)

    def _match(self, tx: Transaction, services: Services) -> bool:
        listed = [
            (record.zone, record.mtu_start)
            for record in tx.mtus.in_phase(MtuPhase.LISTED)
            if not tx.outbox.has_open("RecordIneligible", record.zone, record.mtu_start)
        ]
        for key in listed:
            services.market.match(*key)
        return bool(listed)

    def _go_on(self, tx: Transaction, services: Services) -> bool:
        """Propose the next chunk of clearings of which the chain has some."""
        partial = [
            record
            for record in tx.mtus.in_phase(MtuPhase.MATCHED)
            if record.cleared_chunks and not tx.outbox.has_open("SubmitClearing", record.zone, record.mtu_start)
        ]
        for record in partial:
            services.market.go_on(record.zone, record.mtu_start, record.cleared_chunks)
        return bool(partial)

    def _anchor(self, tx: Transaction, services: Services) -> bool:
        """Anchor the readings of MTUs whose meters have all reported, or whose delay has passed, in one batch."""
        now, due = self._clock.now(), []
        for zone, mtu_start in tx.readings.unanchored_mtus():
            mtu_end = mtu_start + self._mtu_length_s
            complete = tx.readings.missing_count(zone, mtu_start) == 0
            if now >= mtu_end and (complete or now >= mtu_end + self._anchor_delay_s):
                due.append((zone, mtu_start))
        if due:
            services.anchoring.anchor(due[:MAX_ANCHORED_MTUS])
        return bool(due)

    def _settle(self, tx: Transaction, services: Services) -> bool:
        done = False
        for record in (*tx.mtus.in_phase(MtuPhase.CLEARED), *tx.mtus.in_phase(MtuPhase.STOPPED)):
            proceeds = self._proceeds(tx, record)
            if proceeds is None or not self._may_settle(tx, record):
                continue
            key = (record.zone, record.mtu_start)
            if not proceeds:
                done |= services.market.refund(*key)
                continue
            if self._has_open_caps(tx, record):
                done |= self._apply_caps(tx, services, record)
                continue
            metered_wh = tx.readings.anchored_net_wh(*key)
            if not self._is_plausible(tx, record, metered_wh):
                continue
            held = {stored.reading.meter for stored in tx.readings.unanchored(*key)}
            done |= services.market.settle(*key, metered_wh) or services.market.substitute(*key, held)
        return done

    def _correct(self, tx: Transaction, services: Services) -> bool:
        """Settle anew where readings were anchored after everything had been settled."""
        done = False
        for record in tx.mtus.to_correct():
            if self._may_settle(tx, record):
                key = (record.zone, record.mtu_start)
                metered_wh = tx.readings.anchored_net_wh(*key)
                if self._is_plausible(tx, record, metered_wh):
                    tx.mtus.set_to_correct(*key, to_correct=False)
                    done |= services.market.settle(*key, metered_wh)
        return done

    def _is_plausible(self, tx: Transaction, record: MtuRecord, metered_wh: Mapping[int, int]) -> bool:
        """Whether the zone may be settled: its meters do not miss its transformer's by more than the loss tolerated.

        A zone that does waits; it is looked at again every minute.
        """
        balance = tx.readings.balance_of(record.zone, metered_wh)
        if balance is None or balance.is_plausible:
            return True
        failure = (
            f"transformer supplied {balance.supplied_wh} Wh, meters took {balance.taken_wh} Wh, "
            f"tolerance {balance.tolerance_wh} Wh"
        )
        if record.failure != failure:
            _log.error("zone_implausible", zone=record.zone, mtu_start=record.mtu_start, failure=failure)
        tx.mtus.retry_settling(record.zone, record.mtu_start, failure, self._clock.now() + IMPLAUSIBLE_RETRY_S)
        return False

    def _defend(self, _tx: Transaction, services: Services) -> bool:
        """Answer challenges of the bond with what the node has kept."""
        challenges = services.defender.answer()
        for challenge in challenges:
            _log.error("clearing_challenged", zone=challenge.zone, mtu_start=challenge.mtu_start)
        return bool(challenges)

    def _estimate(self, tx: Transaction, services: Services) -> bool:
        """Estimate what is still missing of the MTUs that ended long enough ago, each once, a few at a time."""
        due = self._clock.now() - ESTIMATION_DELAY_S - self._mtu_length_s
        last = due - due % self._mtu_length_s
        known = tx.directory.fact(_ESTIMATED_FACT)
        first = last if known is None else max(known + self._mtu_length_s, last - GREATEST_AGE_S)
        starts = range(first, last + 1, self._mtu_length_s)[:_ESTIMATED_AT_ONCE]
        for mtu_start in starts:
            for zone in tx.directory.zones():
                services.estimation.estimate_missing(zone, mtu_start)
        if starts:
            tx.directory.set_fact(_ESTIMATED_FACT, starts[-1])
        return len(starts) > 0

    def _has_open_caps(self, tx: Transaction, record: MtuRecord) -> bool:
        """Whether caps are still to be applied, before anything is settled."""
        schedule = tx.dispatches.find(record.zone, record.mtu_start)
        curtailed = schedule is not None and schedule.state is ScheduleState.CURTAILED
        return curtailed and schedule is not None and schedule.applied_chunks < record.chunk_count

    def _apply_caps(self, tx: Transaction, services: Services, record: MtuRecord) -> bool:
        """Have the caps applied to the next chunk, once the MTU is over and no further ones can come."""
        key = (record.zone, record.mtu_start)
        schedule = tx.dispatches.find(*key)
        assert schedule is not None  # its caller has found caps
        over = self._clock.now() >= record.mtu_start + self._mtu_length_s
        if not over or tx.outbox.has_open("ApplyCaps", *key):
            return False
        services.market.apply_caps(*key, schedule.applied_chunks, tx.dispatches.caps_wh(*key))
        return True

    def _may_settle(self, tx: Transaction, record: MtuRecord) -> bool:
        """One settlement of an MTU at a time, and not at once again after a refusal."""
        return record.retry_at <= self._clock.now() and not tx.mtus.is_settling(record.zone, record.mtu_start)

    def _proceeds(self, tx: Transaction, record: MtuRecord) -> bool | None:
        """Whether the dispatch proceeds; None while it may still be answered. A stopped clearing never does."""
        if record.phase is MtuPhase.STOPPED:
            deadline = tx.directory.policy_at(record.mtu_start).clearing_deadline(record.mtu_start)
            return False if self._clock.now() > deadline else None
        schedule = tx.dispatches.find(record.zone, record.mtu_start)
        if schedule is None:
            return None
        if schedule.state is not ScheduleState.PENDING:
            return schedule.state is not ScheduleState.STOPPED
        if self._clock.now() <= schedule.answer_deadline:
            return None
        return tx.directory.policy_at(record.mtu_start).proceed_without_answer
