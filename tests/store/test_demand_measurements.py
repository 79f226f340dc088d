"""Measurements in the database: made once, made anew by what comes later, never edited, closed in the end."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tests.dispatch.demands import DAY_S, HOUR_S, LENGTH_S, MONDAY, a_demand
from tests.store.builders import Chain, founding_events

from gridledger.carbon.peak_shift import PeakShift
from gridledger.clock import ManualClock
from gridledger.dispatch.baseline import BaselineRule, MeasuringTerms
from gridledger.dispatch.demand_response import CLOSED_AFTER_S, MEASURED_AFTER_S, MeterMeasurement, StoredDemand
from gridledger.dispatch.measurement import MeasurementService
from gridledger.market.notices import NoticeKind
from gridledger.metering.estimation import Calendar
from gridledger.metering.model import Reading, StoredReading
from gridledger.store.database import Database
from gridledger.store.transaction import Transaction

METER, OTHER = 1, 2
RULE = BaselineRule(working_highest=1, working_days=2, other_highest=1, other_days=1, look_back_days=5, adjustment_bp=0)
FIRST = MONDAY + 4 * DAY_S + 18 * HOUR_S
END = FIRST + LENGTH_S


@dataclass
class Measuring:
    """One transaction with two meters, and the engine's way to measure."""

    tx: Transaction
    clock: ManualClock = field(default_factory=lambda: ManualClock(MONDAY))
    anchors: int = 0

    def __post_init__(self) -> None:
        Chain().index(self.tx, *founding_events())

    def event(self, first: int = FIRST, meters: tuple[int, ...] = (METER,), number: int = 1) -> str:
        """An event of one quarter-hour."""
        stored = StoredDemand(
            number=number,
            event_id=f"0x{number:064x}",
            event=a_demand(first_mtu_start=first, mtu_count=1),
            signature=bytes(65),
            terms=MeasuringTerms(rule=RULE, civil_time="UTC", holidays=()),
            terms_signature=bytes(65),
            received_at=MONDAY,
        )
        self.tx.demand.add_event(stored, end=first + LENGTH_S)
        owners = {meter: self.tx.demand.places_of([meter])[meter].owner for meter in meters}
        self.tx.demand.note_participation(stored.event_id, owners, joined=True, standing=False, now=MONDAY)
        return stored.event_id

    def read(self, start: int, import_wh: int, meter: int = METER) -> None:
        """Accept a reading and have the chain anchor it."""
        reading = Reading(
            meter=meter,
            meter_id="a",
            mtu_start=start,
            interval_s=LENGTH_S,
            import_wh=import_wh,
            export_wh=0,
            counter=start // LENGTH_S,
        )
        kept = StoredReading(reading=reading, zone=1, text="text", salt=bytes(32), received_at=start + LENGTH_S)
        self.tx.readings.add_all([kept])
        self.tx.readings.mark_anchored(self.anchors, [(meter, start)])
        self.tx.readings.confirm_anchor(self.anchors)
        self.anchors += 1

    def measure(self, moment: int) -> int:
        """Let the engine run at a moment; how many turns it had something to do in."""
        self.clock.move_to(moment)
        service = MeasurementService(
            store=self.tx.demand_measurements, clock=self.clock, mtu_length_s=LENGTH_S, calendars=lambda _: Calendar()
        )
        turns = 0
        while service.measure_due():
            turns += 1
        return turns

    def newest(self, event_id: str, meter: int = METER) -> MeterMeasurement | None:
        return next(iter(self.tx.demand_measurements.newest(event_id, [meter])), None)

    def figures(self, event_id: str) -> tuple[int, int, int, int]:
        """Number, anchors, proofs and Wh of the newest measurement."""
        made = self.newest(event_id)
        assert made is not None
        return made.number, made.anchors, made.proofs, made.measurement.energy_wh


@pytest.fixture
def measuring(database: Database) -> Iterator[Measuring]:
    with database.write() as tx:
        yield Measuring(tx)


def test_a_meter_is_measured_once_its_readings_are_on_chain(measuring: Measuring) -> None:
    event_id = measuring.event()
    measuring.read(FIRST - DAY_S, 500)
    assert measuring.measure(END - 1) == 0
    assert measuring.measure(END) == 0  # its reading is missing, and may still come
    measuring.read(FIRST, 200)
    assert measuring.measure(END) == 1
    assert measuring.figures(event_id) == (1, 2, 0, 300)
    assert measuring.measure(END + 60) == 0
    shift = PeakShift(meter=METER, mtu_start=FIRST, energy_wh=300, event_id=event_id, number=1)
    assert measuring.tx.demand_measurements.peak_shifts(event_id) == (shift,)


def test_without_a_reading_nothing_is_measured_after_the_deadline(measuring: Measuring) -> None:
    event_id = measuring.event()
    measuring.read(FIRST - DAY_S, 500)
    assert measuring.measure(END + MEASURED_AFTER_S - 1) == 0
    assert measuring.measure(END + MEASURED_AFTER_S) == 1
    assert measuring.figures(event_id) == (1, 1, 0, 0)
    assert measuring.tx.demand_measurements.peak_shifts(event_id) == ()
    measuring.read(FIRST, 200)
    assert measuring.measure(END + MEASURED_AFTER_S + 1) == 1
    assert measuring.figures(event_id) == (2, 2, 0, 300)


def test_a_late_reading_of_a_compared_day_and_a_proof_make_new_numbers(measuring: Measuring) -> None:
    event_id = measuring.event()
    for start, wh in ((FIRST - DAY_S, 500), (FIRST, 200)):
        measuring.read(start, wh)
    measuring.measure(END)
    measuring.read(FIRST - 2 * DAY_S, 900)
    assert measuring.measure(END + HOUR_S) == 1
    assert measuring.figures(event_id) == (2, 3, 0, 700)
    measuring.tx.readings.add_proven(METER, FIRST, 1, -650)
    assert measuring.measure(END + 2 * HOUR_S) == 1
    assert measuring.figures(event_id) == (3, 3, 1, 250)
    assert measuring.measure(END + 3 * HOUR_S) == 0
    told = measuring.tx.notices.after(measuring.tx.demand.participations(event_id)[0].owner, 0, 100)
    measured = [(one.details.sequence, one.details.energy_wh) for one in told if one.kind is NoticeKind.MEASURED]
    assert measured == [(1, 300), (2, 700), (3, 250)]


def test_what_changes_nothing_makes_no_new_number(measuring: Measuring) -> None:
    event_id = measuring.event(meters=(METER, OTHER))
    for meter in (METER, OTHER):
        for start, wh in ((FIRST - DAY_S, 500), (FIRST, 200)):
            measuring.read(start, wh, meter)
    measuring.measure(END)
    measuring.read(FIRST - 2 * DAY_S, 10)  # not one of the highest
    measuring.read(FIRST + LENGTH_S, 10)  # after the event
    measuring.read(FIRST - 3 * LENGTH_S, 10, OTHER)  # at no time that is compared
    measuring.measure(END + HOUR_S)
    assert measuring.figures(event_id)[0] == 1
    assert measuring.measure(END + HOUR_S) == 0


def test_days_of_earlier_events_do_not_count_for_their_participants(measuring: Measuring) -> None:
    earlier = measuring.event(FIRST - DAY_S, (METER,), number=1)
    event_id = measuring.event(FIRST, (METER, OTHER), number=2)
    for meter in (METER, OTHER):
        for start, wh in ((FIRST - 2 * DAY_S, 400), (FIRST - DAY_S, 900), (FIRST, 200)):
            measuring.read(start, wh, meter)
    measuring.measure(END)
    assert measuring.newest(earlier) is not None
    other = measuring.newest(event_id, OTHER)
    assert other is not None
    assert (measuring.figures(event_id)[3], other.measurement.energy_wh) == (200, 700)


def test_an_event_that_is_closed_is_measured_no_more(measuring: Measuring) -> None:
    event_id = measuring.event()
    for start, wh in ((FIRST - DAY_S, 500), (FIRST, 200)):
        measuring.read(start, wh)
    measuring.measure(END)
    measuring.measure(END + CLOSED_AFTER_S + 1)
    measuring.read(FIRST - 2 * DAY_S, 900)
    assert measuring.measure(END + CLOSED_AFTER_S + 2) == 0
    assert measuring.figures(event_id)[0] == 1


def test_a_node_that_was_away_for_long_still_measures(measuring: Measuring) -> None:
    event_id = measuring.event()
    for start, wh in ((FIRST - DAY_S, 500), (FIRST, 200)):
        measuring.read(start, wh)
    assert measuring.measure(END + 100 * DAY_S) == 1
    assert measuring.figures(event_id) == (1, 2, 0, 300)


def test_who_leaves_is_not_measured(measuring: Measuring) -> None:
    event_id = measuring.event()
    (part,) = measuring.tx.demand.participations(event_id)
    measuring.tx.demand.note_participation(event_id, {METER: part.owner}, joined=False, standing=False, now=MONDAY)
    for start in (FIRST - DAY_S, FIRST):
        measuring.read(start, 500)
    assert measuring.measure(END + DAY_S) == 0


def test_an_erased_participant_leaves_a_note_without_a_name(measuring: Measuring) -> None:
    event_id = measuring.event(meters=(METER, OTHER))
    owner = measuring.tx.demand.places_of([METER])[METER].owner
    measuring.tx.demand.note_consent(METER, owner, given=True, now=MONDAY)
    for meter in (METER, OTHER):
        for start, wh in ((FIRST - DAY_S, 500), (FIRST, 200)):
            measuring.read(start, wh, meter)
    measuring.measure(END)
    scope = measuring.tx.erasures.scope(owner, LENGTH_S)
    kinds = ("consents", "participations", "measurements", "shifts", "measuring states")
    assert [scope.rows[kind] for kind in kinds] == [1, 1, 1, 1, 1]
    measuring.tx.erasures.apply(scope, {"account": owner}, "0x" + "11" * 65, END)
    assert [one.meter for one in measuring.tx.demand.participations(event_id)] == [OTHER]
    assert measuring.tx.demand.erased_participations(event_id) == 1
    assert measuring.tx.demand.consent_of(METER) is None
    assert measuring.newest(event_id) is None
    assert measuring.measure(END + DAY_S) == 0
