"""Turns what the node knows into OpenADR objects: each change once, in one transaction with its cursor.

What is to be done follows from the database alone, so a node that was killed neither loses nor repeats one.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gridledger.app.openadr_demands import DemandTeller
from gridledger.app.openadr_events import Document, program_id, put_event
from gridledger.clock import Clock
from gridledger.dispatch.limits import meter_limits
from gridledger.openadr.demand_events import demand_program
from gridledger.openadr.dispatch_events import DispatchEvents, dispatch_program, meter_program, stop_event
from gridledger.openadr.dispatch_facts import DispatchFacts, DispatchNews, DispatchState, StopFacts, facts_of
from gridledger.openadr.tariff_events import MtuTariff, tariff_event, tariff_program
from gridledger.store.database import Database
from gridledger.store.openadr_origins import About, EventOrigin
from gridledger.store.transaction import Transaction

__all__ = ["KEPT_S", "OpenAdrFollower"]

KEPT_S = 7 * 86_400  # events of the node are shown for so long after their end
_DAY_S = 86_400
_TOLD_DAYS = 2
_NEWS_AT_ONCE = 50
_DISPATCH_CURSOR, _TARIFF_CURSOR, _TIDIED = "openadr_dispatch_cursor", "openadr_tariff_cursor", "openadr_tidied_at"
_TIDY_EVERY_S = 3_600


class OpenAdrFollower:
    """Follows what the node has indexed."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        mtu_length_s: int,
        chain_id: int,
        limit_wh: Callable[[int], int | None],
    ) -> None:
        """`limit_wh` is a zone's highest net energy in an MTU, None without one."""
        self._database = database
        self._clock = clock
        self._mtu_length_s = mtu_length_s
        self._chain_id = chain_id
        self._limit_wh = limit_wh
        self._demands = DemandTeller(mtu_length_s=mtu_length_s, chain_id=chain_id)

    def follow(self) -> None:
        """Do everything there is to do, a few changes in each transaction."""
        for due, task in (
            (self._dispatches_due, self._tell_dispatches),
            (self._demands.is_due, self._tell_demands),
            (self._tariffs_due, self._tell_tariffs),
            (self._tidying_due, self._tidy),
        ):
            while self._is_due(due):
                with self._database.write() as tx:
                    task(tx)

    def _is_due(self, due: Callable[[Transaction], bool]) -> bool:
        """Asked in a reading transaction, for nobody is to wait for a writer that has nothing to write."""
        with self._database.read() as tx:
            return due(tx)

    # ---- dispatches

    def _dispatches_due(self, tx: Transaction) -> bool:
        return bool(tx.dispatches.events_after(tx.directory.fact(_DISPATCH_CURSOR) or 0, 1))

    def _tell_dispatches(self, tx: Transaction) -> None:
        news = tx.dispatches.events_after(tx.directory.fact(_DISPATCH_CURSOR) or 0, _NEWS_AT_ONCE)
        for one in news:
            if one["kind"] == DispatchState.STOPPED:
                self._tell_stop(tx, one)
        for zone, mtu_start in dict.fromkeys(slot for one in news for slot in _slots(tx, one)):
            if mtu_start + self._mtu_length_s > self._oldest:
                self._tell_dispatch(tx, zone, mtu_start)
        if news:
            tx.directory.set_fact(_DISPATCH_CURSOR, news[-1]["id"])

    def _tell_dispatch(self, tx: Transaction, zone: int, mtu_start: int) -> None:
        facts = self._facts(tx, zone, mtu_start)
        for about, meter, event in self._events(tx, facts):
            origin = EventOrigin(
                event_id="",
                about=about,
                zone=zone,
                mtu_start=mtu_start,
                meter=meter,
                schedule_hash=facts.schedule_hash,
                transaction_hash=facts.transaction_hash,
            )
            put_event(tx, origin, event, self._clock.now())

    def _facts(self, tx: Transaction, zone: int, mtu_start: int) -> DispatchFacts:
        """What was announced, with what setpoints and limits of single meters are now."""
        history = tx.dispatches.events_of_slot(zone, mtu_start)
        facts = facts_of(zone, mtu_start, (DispatchNews(kind=one["kind"], payload=one["payload"]) for one in history))
        assert facts is not None
        residuals_wh = {one.row.meter: one.row.residual_wh for one in tx.dispatches.setpoints(zone, mtu_start)}
        state = tx.dispatches.zone_state(zone, mtu_start, self._limit_wh(zone), self._mtu_length_s)
        return facts.with_meters(residuals_wh, meter_limits(state))

    def _tell_stop(self, tx: Transaction, news: Mapping[str, Any]) -> None:
        payload = news["payload"]
        stop = StopFacts(
            zone=news["zone"],
            first_mtu_start=news["mtu_start"],
            last_mtu_start=payload["last_mtu_start"],
            reason=payload["reason"],
            transaction_hash=payload["transaction_hash"],
            block_number=payload["block_number"],
        )
        if stop.last_mtu_start + self._mtu_length_s <= self._oldest:
            return
        for about, program in ((About.STOP, dispatch_program), (About.GATEWAYS, meter_program)):
            event = stop_event(
                self._program_id(tx, program(stop.zone)), stop, mtu_length_s=self._mtu_length_s, chain_id=self._chain_id
            )
            origin = EventOrigin(
                event_id="",
                about=about,
                zone=stop.zone,
                mtu_start=stop.first_mtu_start,
                transaction_hash=stop.transaction_hash,
            )
            put_event(tx, origin, event, self._clock.now())

    def _events(self, tx: Transaction, facts: DispatchFacts) -> Iterator[tuple[About, int, Document]]:
        """What the dispatch is told as: to everybody, to the operator if there is more, to each meter's gateway."""
        events = DispatchEvents(facts, mtu_length_s=self._mtu_length_s, chain_id=self._chain_id)
        of_zone = self._program_id(tx, dispatch_program(facts.zone))
        yield About.ZONE, 0, events.of_zone(of_zone)
        if facts.is_partly_private:
            yield About.OPERATOR, 0, events.of_operator(of_zone)
        of_meters = self._program_id(tx, meter_program(facts.zone))
        for meter in tx.openadr_origins.gateway_meters(facts.zone):
            yield About.METER, meter, events.of_meter(of_meters, meter)

    # ---- demand response

    def _tell_demands(self, tx: Transaction) -> None:
        self._demands.tell(tx, self._clock.now(), self._oldest)

    # ---- tariffs

    def _tariffs_due(self, tx: Transaction) -> bool:
        told = tx.directory.fact(_TARIFF_CURSOR)
        if told is None or told["day"] != self._today() or told["zones"] != list(tx.directory.zones()):
            return True
        return tx.openadr_origins.tariffs_changed_after(told["block"])

    def _tell_tariffs(self, tx: Transaction) -> None:
        """Today's and tomorrow's, and the programs of all zones, before anything is dispatched in them."""
        tip, zones, today = tx.chain_log.tip(), list(tx.directory.zones()), self._today()
        for zone in zones:
            for program in (dispatch_program(zone), meter_program(zone), demand_program(zone)):
                self._program_id(tx, program)
            program_id = self._program_id(tx, tariff_program(zone))
            for day in range(_TOLD_DAYS):
                self._tell_tariff(tx, program_id, zone, today + day * _DAY_S)
        block = -1 if tip is None else tip.number
        tx.directory.set_fact(_TARIFF_CURSOR, {"day": today, "zones": zones, "block": block})

    def _tell_tariff(self, tx: Transaction, program_id: str, zone: int, day: int) -> None:
        factors = tx.directory.grid_factors(day, day + _DAY_S)
        tariffs = [self._tariff(tx, mtu_start, factors.get(mtu_start)) for mtu_start in self._mtus_of(day)]
        event = tariff_event(
            program_id, zone=zone, first_mtu_start=day, mtu_length_s=self._mtu_length_s, tariffs=tariffs
        )
        put_event(tx, EventOrigin(event_id="", about=About.TARIFF, zone=zone, mtu_start=day), event, self._clock.now())

    def _tariff(self, tx: Transaction, mtu_start: int, factor: int | None) -> MtuTariff:
        prices = tx.directory.prices_at(mtu_start)
        default = tx.directory.policy_at(mtu_start).default_grid_factor_mgco2_per_kwh
        return MtuTariff(
            retail_cents_per_mwh=prices.retail,
            feed_in_cents_per_mwh=prices.feed_in,
            grid_factor_mgco2_per_kwh=default if factor is None else factor,
        )

    def _mtus_of(self, day: int) -> range:
        return range(day, day + _DAY_S, self._mtu_length_s)

    def _today(self) -> int:
        now = self._clock.now()
        return now - now % _DAY_S

    # ---- what has ended

    def _tidying_due(self, tx: Transaction) -> bool:
        tidied_at = tx.directory.fact(_TIDIED)
        return tidied_at is None or self._clock.now() - tidied_at >= _TIDY_EVERY_S

    def _tidy(self, tx: Transaction) -> None:
        now = self._clock.now()
        while tx.openadr.forget_ended(None, now - KEPT_S):
            pass
        tx.openadr_origins.forget(now - KEPT_S - _DAY_S)
        tx.directory.set_fact(_TIDIED, now)

    # ---- objects

    @property
    def _oldest(self) -> int:
        """What had ended by then is told no more."""
        return self._clock.now() - KEPT_S

    def _program_id(self, tx: Transaction, program: Document) -> str:
        return program_id(tx, program, self._clock.now())


def _slots(tx: Transaction, news: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """Zone and MTUs that news changes something scheduled of."""
    zone, mtu_start = news["zone"], news["mtu_start"]
    if news["kind"] != DispatchState.STOPPED:
        yield zone, mtu_start
        return
    for stopped in tx.dispatches.scheduled_between(zone, mtu_start, news["payload"]["last_mtu_start"]):
        yield zone, stopped
