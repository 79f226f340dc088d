"""A fleet signs what its registers show; faults follow from the seed and do what their names say."""

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from gridledger.errors import GridLedgerError
from gridledger.metering.ocmf import verify_registers
from gridledger.metering.registers import RegisterReading
from gridledger.metering.signed_reading import key_from_seed, public_key
from gridledger.simulation.fleet import FAULTS, FaultRefused, Fleet, FleetBatch, FleetMeter, parse_faults
from gridledger.simulation.inputs import ReadingsFile, load_readings

START = 1_465_776_000
METERS = {
    name: FleetMeter(number=number, serial=name, key=key_from_seed(bytes([number]) * 32))
    for number, name in ((1, "a"), (2, "b"))
}


@pytest.fixture
def readings(tmp_path: Path) -> ReadingsFile:
    """Forty intervals of meters a and b, and of a meter that is in no fleet."""
    rows = ["meter_id,interval_start,interval_seconds,import_wh,export_wh"]
    for index in range(40):
        hours, rest = divmod(index * 15, 60)
        rows += [f"{name},2016-06-13T{hours:02}:{rest:02}:00Z,900,{index},{2 * index}" for name in ("a", "b", "c")]
    path = tmp_path / "readings.csv"
    path.write_text("\n".join(rows) + "\n")
    return load_readings(path)


def played(readings: ReadingsFile, faults: Mapping[str, float] | None = None, seed: int = 1) -> list[FleetBatch]:
    return list(Fleet(meters=METERS, faults=faults or {}, seed=seed).play(readings))


def texts(batches: list[FleetBatch]) -> list[str]:
    return [text for batch in batches for text in batch.texts]


def read(text: str) -> RegisterReading | None:
    """What a text says; None where it was corrupted."""
    for meter in METERS.values():
        try:
            return verify_registers(text, public_key(meter.key))[0]
        except GridLedgerError:
            continue
    return None


def shown_by(meter: int, found: list[str]) -> list[RegisterReading]:
    return [one for one in map(read, found) if one is not None and one.meter == meter]


def happened(batches: list[FleetBatch]) -> Counter[str]:
    return sum((Counter(batch.faults) for batch in batches), Counter())


def test_without_faults_every_moment_of_every_meter_is_signed_once(readings: ReadingsFile) -> None:
    batches = played(readings)
    assert [batch.moment for batch in batches] == [START + 900 * index for index in range(41)]
    shown = shown_by(1, texts(batches))
    assert [one.taken_at for one in shown] == [batch.moment for batch in batches]
    assert [one.import_register_wh for one in shown] == [sum(range(index)) for index in range(41)]
    assert [one.counter for one in shown] == list(range(1, 42))
    assert happened(batches) == Counter()


def test_the_same_seed_plays_the_same_texts_and_another_one_does_not(readings: ReadingsFile) -> None:
    faults = dict.fromkeys(FAULTS, 0.1)
    assert played(readings, faults) == played(readings, faults)
    assert played(readings, faults) != played(readings, faults, seed=2)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_happens_and_is_counted(readings: ReadingsFile, fault: str) -> None:
    good, batches = texts(played(readings)), played(readings, {fault: 0.3})
    found, count = texts(batches), happened(batches)
    assert set(count) == {fault}
    match fault:
        case "drop":
            assert len(found) == len(good) - count[fault]
        case "duplicate":
            assert len(found) == len(good) + count[fault]
        case "delay" | "reorder":
            assert (found != good, sorted(found)) == (True, sorted(good))
        case "corrupt":
            assert any(read(text) is None for text in found)
        case "skew":
            skewed = [one for one in map(read, found) if one is not None and one.taken_at % 900]
            assert len(skewed) == count[fault]
        case "reset":
            pairs = pairwise(shown_by(1, found))
            assert any(later.import_register_wh < earlier.import_register_wh for earlier, later in pairs)


@pytest.mark.parametrize("text", ["drop", "drop=", "drop=2", "drop=-0.1", "lose=0.1", "drop=x"])
def test_an_unknown_fault_or_no_probability_is_refused(text: str) -> None:
    with pytest.raises(FaultRefused):
        parse_faults([text])


def test_faults_are_read_by_name() -> None:
    assert parse_faults(["drop=0.25", "skew=1"]) == {"drop": 0.25, "skew": 1.0}
