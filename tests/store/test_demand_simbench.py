"""A real feeder's evening peak, shaved by its homes: what the database measures against two weeks of real readings."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from tests.dispatch.demands import a_demand
from tests.store.builders import Chain, founding_events

from gridledger.clock import ManualClock
from gridledger.dispatch.baseline import BaselineRule, MeasuringPlan, MeasuringTerms
from gridledger.dispatch.demand_response import DemandDirection, StoredDemand, measuring_plan
from gridledger.dispatch.measurement import MeasurementService
from gridledger.metering.estimation import Calendar
from gridledger.metering.model import Reading, StoredReading
from gridledger.simulation.inputs import ReadingsFile, data_folder, load_readings
from gridledger.store.database import Database

LENGTH_S, DAY_S = 900, 86_400
BERLIN = Calendar.named("Europe/Berlin", ())
THURSDAY = int(datetime(2016, 6, 23, tzinfo=UTC).timestamp())
EVENING = range(THURSDAY + 15 * 3_600, THURSDAY + 21 * 3_600, LENGTH_S)
MTUS = 4
Shave = Callable[[int], int]


@pytest.fixture(scope="module")
def feeder() -> ReadingsFile:
    folder = data_folder(os.environ)
    if folder is None:
        pytest.skip("the outside data sets are absent; GRIDLEDGER_DATA says where they are")
    return load_readings(folder / "readings_simbench_rural2_15min.csv.gz", from_s=THURSDAY - 10 * DAY_S)


@dataclass(frozen=True)
class Shaved:
    """What was measured, and what the homes have really done, Wh."""

    measured_wh: int
    true_wh: int
    meters: int
    days: frozenset[date]
    baseline_wh: int


def net_wh(feeder: ReadingsFile, start: int) -> int:
    """Import less export of the whole feeder."""
    return sum(row.import_wh - row.export_wh for row in feeder.at(start))


def peak(feeder: ReadingsFile) -> int:
    """Where the evening's hour with the highest net import begins."""
    return max(EVENING, key=lambda start: sum(net_wh(feeder, start + place * LENGTH_S) for place in range(MTUS)))


def run(database: Database, feeder: ReadingsFile, shave: Shave) -> Shaved:
    """Play the peak's hour with every home importing what `shave` leaves of its import, and measure it."""
    first = peak(feeder)
    event = a_demand(
        first_mtu_start=first,
        mtu_count=MTUS,
        direction=DemandDirection.REDUCE,
        energy_wh=5_000,
    )
    terms = MeasuringTerms(rule=BaselineRule(), civil_time="Europe/Berlin", holidays=())
    plan = measuring_plan(event, terms, BERLIN, LENGTH_S)
    stored = StoredDemand(
        number=1,
        event_id="0x" + "12" * 32,
        event=event,
        signature=bytes(65),
        terms=terms,
        terms_signature=bytes(65),
        received_at=first - 3_600,
    )
    clock = ManualClock(plan.window.end)
    numbers = {meter_id: number for number, meter_id in enumerate(feeder.meter_ids, 1)}
    with database.write() as tx:
        chain = Chain()
        chain.index(tx, *founding_events()[:5], *(meter(number) for number in numbers.values()))
        tx.demand.add_event(stored, end=plan.window.end)
        owners = dict.fromkeys(numbers.values(), OWNER)
        tx.demand.note_participation(stored.event_id, owners, joined=True, standing=True, now=first - 3_600)
        readings = tuple(_readings(feeder, plan, numbers, shave))
        tx.readings.add_all(readings)
        keys = [(one.reading.meter, one.reading.mtu_start) for one in readings]
        tx.readings.mark_anchored(0, keys)
        service = MeasurementService(
            store=tx.demand_measurements, clock=clock, mtu_length_s=LENGTH_S, calendars=lambda _: BERLIN
        )
        assert not service.measure_due()  # the chain has not anchored them
        tx.readings.confirm_anchor(0)
        turns = 0
        while service.measure_due():
            turns += 1
        assert turns == -(-len(numbers) // 50)  # so many meters at once
        assert not service.measure_due()
        found = tx.demand_measurements.newest_of_all(stored.event_id, 0, 1_000)
        shifts = tx.demand_measurements.peak_shifts(stored.event_id)
    assert sum(one.measurement.energy_wh for one in found) == sum(one.energy_wh for one in shifts)
    before = sum(net_wh(feeder, start) for start in plan.window.starts)
    after = -sum(one.reading.net_wh for one in readings if one.reading.mtu_start in plan.window.starts)
    days = {datetime.fromtimestamp(day, BERLIN.civil_time).date() for one in found for day in one.measurement.days}
    return Shaved(
        measured_wh=sum(one.measurement.energy_wh for one in found),
        true_wh=before - after,
        meters=len(found),
        days=frozenset(days),
        baseline_wh=sum(mtu.baseline_import_wh or 0 for one in found for mtu in one.measurement.mtus),
    )


OWNER = "0x" + "12" * 20


def meter(number: int) -> tuple[str, dict[str, object]]:
    """A meter whose connection carries any of the readings."""
    key = ("0x" + "66" * 32, "0x" + "77" * 32)
    values = {"importCapacityW": 100_000, "exportCapacityW": 100_000, "source": 0}
    place = {"meter": number, "owner": OWNER, "zone": 1, "deviceKeyX": key[0], "deviceKeyY": key[1]}
    return "MeterRegistered", values | place


def _readings(
    feeder: ReadingsFile, plan: MeasuringPlan, numbers: dict[str, int], shave: Shave
) -> Iterator[StoredReading]:
    for start in sorted(plan.needed_starts & set(feeder.mtu_starts)):
        for row in feeder.at(start):
            imported = shave(row.import_wh) if start in plan.window.starts else row.import_wh
            reading = Reading(
                meter=numbers[row.meter_id],
                meter_id=row.meter_id,
                mtu_start=start,
                interval_s=LENGTH_S,
                import_wh=imported,
                export_wh=row.export_wh,
                counter=start // LENGTH_S,
            )
            yield StoredReading(reading=reading, zone=1, text="text", salt=bytes(32), received_at=start + LENGTH_S)


def test_a_shaved_peak_is_measured(database: Database, tmp_path: Path, feeder: ReadingsFile) -> None:
    """Single homes vary more from day to day than they shave, and what varies upward is cut off at zero.

    So a peak that nobody shaves measures something too: what counts is how much more it is when they do.
    """
    idle = run(database, feeder, lambda wh: wh)
    with closing(Database(tmp_path / "shaved.db")) as other:
        shaved = run(other, feeder, lambda wh: wh * 6 // 10)
    assert (idle.meters, shaved.meters) == (118, 118)
    assert (idle.true_wh, shaved.true_wh) == (0, 13_287)
    assert idle.days == shaved.days  # eight working days lie before; each home has five of them
    assert len(shaved.days) == 8
    assert shaved.baseline_wh == idle.baseline_wh
    assert (idle.measured_wh, shaved.measured_wh) == (13_609, 22_941)
    assert 0.6 * shaved.true_wh < shaved.measured_wh - idle.measured_wh <= shaved.true_wh
