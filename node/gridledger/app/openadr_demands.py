"""Tells demand response events as OpenADR events, to the zone and to the gateways of those who take part."""

from gridledger.app.openadr_events import program_id, put_event, withdraw_event
from gridledger.dispatch.demand_response import StoredDemand, demand_signal
from gridledger.openadr.demand_events import DemandEvents, demand_program
from gridledger.openadr.dispatch_events import meter_program
from gridledger.store.openadr_origins import About, EventOrigin
from gridledger.store.transaction import Transaction

__all__ = ["DemandTeller"]

_CURSOR = "openadr_demand_cursor"
_NEWS_AT_ONCE = 50


class DemandTeller:
    """Follows events and participations; how far it has come is kept in the transaction that tells them."""

    def __init__(self, *, mtu_length_s: int, chain_id: int) -> None:
        self._mtu_length_s = mtu_length_s
        self._chain_id = chain_id

    def is_due(self, tx: Transaction) -> bool:
        """Whether an event or a participation has not been told."""
        number, noted = _cursor(tx)
        return bool(tx.demand.after(number, None, 1) or tx.demand.participations_noted_after(noted, 1))

    def tell(self, tx: Transaction, now: int, oldest: int) -> None:
        """Tell what is new of events that end after `oldest`; both in Unix seconds."""
        number, noted = _cursor(tx)
        events = tx.demand.after(number, None, _NEWS_AT_ONCE)
        notes = tx.demand.participations_noted_after(noted, _NEWS_AT_ONCE)
        for event_id in dict.fromkeys([one.event_id for one in events] + [event_id for _, event_id in notes]):
            stored = tx.demand.find(event_id)
            assert stored is not None  # somebody takes part in it
            if stored.event.window(self._mtu_length_s).end > oldest:
                self._tell(tx, stored, now)
        number, noted = events[-1].number if events else number, notes[-1][0] if notes else noted
        tx.directory.set_fact(_CURSOR, {"event": number, "participation": noted})

    def _tell(self, tx: Transaction, stored: StoredDemand, now: int) -> None:
        zone, mtu_start = stored.event.zone, stored.event.first_mtu_start
        taking_part = {one.meter for one in tx.demand.participations(stored.event_id)}
        meters = taking_part.intersection(tx.openadr_origins.gateway_meters(zone))
        events = DemandEvents(demand_signal(stored, self._mtu_length_s, sorted(meters)), chain_id=self._chain_id)
        of_zone = program_id(tx, demand_program(zone), now)
        put_event(tx, _origin(zone, mtu_start), events.of_zone(of_zone), now)
        of_meters = program_id(tx, meter_program(zone), now)
        for meter in sorted(meters):
            put_event(tx, _origin(zone, mtu_start, meter), events.of_meter(of_meters, meter), now)
        for meter in tx.openadr_origins.meters_told(About.DEMAND, zone, mtu_start):
            if meter not in taking_part:
                withdraw_event(tx, About.DEMAND, zone, mtu_start, meter, now)


def _cursor(tx: Transaction) -> tuple[int, int]:
    """Numbers of the newest event and of the newest participation that were told."""
    told = tx.directory.fact(_CURSOR) or {"event": 0, "participation": 0}
    return told["event"], told["participation"]


def _origin(zone: int, mtu_start: int, meter: int = 0) -> EventOrigin:
    return EventOrigin(event_id="", about=About.DEMAND, zone=zone, mtu_start=mtu_start, meter=meter)
