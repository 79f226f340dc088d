"""The one way of readings into a node: exact outcomes under concurrency, dying processes and a closing node."""

import os
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path

import pytest
from tests.metering.fakes import MTU_LENGTH_S, MTU_START, Device, a_reading, a_register_reading
from tests.store.builders import Chain, meter_event

from gridledger.app.reading_intake import NodeReadingIntake, ReadingIntakeBusy, ReadingIntakeStopped
from gridledger.app.reading_worker import answer, packed, unpacked
from gridledger.app.reading_workers import ReadingCheckFailed, ReadingWorkers
from gridledger.clock import ManualClock
from gridledger.metering.errors import BatchTooLarge
from gridledger.metering.model import ReadingOutcome
from gridledger.metering.salts import SeededSalts
from gridledger.metering.service import MeteringService
from gridledger.metering.verification import check_texts
from gridledger.store.database import Database
from gridledger.store.transaction import Transaction

METERS, MTUS = 6, 5
OWNER = "0x" + "11" * 20
DEVICES = {meter: Device(meter) for meter in range(1, METERS + 1)}
NOW = MTU_START + (MTUS + 1) * MTU_LENGTH_S

GATED_WORKER = """
import pathlib, sys
from multiprocessing.connection import Connection
from gridledger.app.reading_worker import answer, packed
from gridledger.metering.model import DeviceKey
from gridledger.metering.verification import check_texts
connection = Connection(int(sys.argv[2]))
texts, coordinates = connection.recv()
gate = pathlib.Path(sys.argv[1])
gate.exists() and gate.read_bytes()
keys = {meter: DeviceKey(x=x, y=y) for meter, (x, y) in coordinates.items()}
connection.send([packed(checked) for checked in check_texts(texts, keys)])
answer(connection)
"""


def metering(tx: Transaction) -> MeteringService:
    return MeteringService(
        directory=tx.readings,
        store=tx.readings,
        parts=tx.reading_parts,
        events=tx.meter_events,
        clock=ManualClock(NOW),
        salts=SeededSalts(b"salts of the intake's tests"),
        mtu_length_s=MTU_LENGTH_S,
    )


def open_database(path: Path) -> Database:
    """A database that knows the meters."""
    database = Database(path)
    events = []
    for meter, device in DEVICES.items():
        name, arguments = meter_event(meter, OWNER)
        key = {"deviceKeyX": "0x" + device.key.x.hex(), "deviceKeyY": "0x" + device.key.y.hex()}
        events.append((name, arguments | key))
    with database.write() as tx:
        Chain().index(tx, *events)
    return database


@contextmanager
def intake_of(database: Database, workers: ReadingWorkers, most_batches: int = 64) -> Iterator[NodeReadingIntake]:
    intake = NodeReadingIntake(
        database=database, metering=metering, workers=workers, on_kept=lambda: None, most_batches=most_batches
    )
    yield intake
    intake.close()


class Gate:
    """A worker process that waits with its first batch until the test lets it through; later ones do not wait."""

    def __init__(self, path: Path) -> None:
        self._path = path
        os.mkfifo(path)
        self.program = (sys.executable, "-c", GATED_WORKER, str(path))

    @contextmanager
    def batch_arrived(self) -> Iterator[None]:
        """Wait until the worker has its first batch; it goes on when the block is left."""
        with self._path.open("w"):
            self._path.unlink()
            yield


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "node.db")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def shared_workers() -> Iterator[ReadingWorkers]:
    """Two processes for the tests that leave them alive; starting them takes longer than most tests."""
    workers = ReadingWorkers(2)
    yield workers
    workers.close()


def text(meter: int, mtu: int, import_wh: int = 100) -> str:
    reading = a_reading(meter=meter, mtu_start=MTU_START + mtu * MTU_LENGTH_S, import_wh=import_wh)
    return DEVICES[meter].sign(reading)


def all_texts(import_wh: int = 100) -> list[str]:
    return [text(meter, mtu, import_wh) for meter in DEVICES for mtu in range(MTUS)]


def said(outcomes: Sequence[ReadingOutcome]) -> list[str]:
    assert [outcome.index for outcome in outcomes] == list(range(len(outcomes)))
    return [outcome.status if outcome.error is None else outcome.error.code() for outcome in outcomes]


def mixed_texts() -> list[str]:
    """Good and bad ones of both forms, a duplicate and a contradiction."""
    moments = [a_register_reading(taken_at=MTU_START + n * MTU_LENGTH_S, counter=n + 1) for n in range(3)]
    return [
        text(2, 0),
        "no reading",
        text(2, 0),
        text(2, 0, import_wh=101),
        *(DEVICES[1].sign_registers(moment) for moment in moments),
        DEVICES[3].sign(a_reading(meter=4)),
        DEVICES[3].sign(a_reading(meter=99)),
        DEVICES[3].sign_by_chance({"meter": 3}),
        DEVICES[4].sign_registers(a_register_reading(meter=5)),
        text(5, 1, import_wh=10**6),
        text(6, 9),
        text(6, 2),
    ]


def test_processes_answer_as_the_function_itself_and_in_order(
    database: Database, tmp_path: Path, shared_workers: ReadingWorkers
) -> None:
    other = open_database(tmp_path / "other.db")
    intake = NodeReadingIntake(database=database, metering=metering, workers=shared_workers, on_kept=lambda: None)
    with intake_of(other, ReadingWorkers(0)) as plain:
        outcomes, expected = intake.accept(mixed_texts()), plain.accept(mixed_texts())
        with database.read() as one, other.read() as two:
            assert one.readings.all_rows() == two.readings.all_rows()
            assert one.readings.disputes(2, MTU_START) == two.readings.disputes(2, MTU_START) != ()
    other.close()
    assert shared_workers.pids
    assert [str(outcome.error) for outcome in outcomes] == [str(outcome.error) for outcome in expected]
    assert said(outcomes) == [
        *("accepted", "reading-unreadable", "duplicate", "reading-differs", "accepted", "accepted", "accepted"),
        *("signature-invalid", "unknown-meter", "fields-refused", "signature-invalid"),
        *("above-capacity", "reading-in-future", "accepted"),
    ]


def test_what_was_checked_is_the_same_after_its_way_between_processes() -> None:
    keys = {meter: device.key for meter, device in DEVICES.items()}
    texts = mixed_texts()
    checked = check_texts(texts, keys)
    again = unpacked([packed(one) for one in checked], texts, keys)
    assert [str(one) for one in again] == [str(one) for one in checked]
    assert again[0] == checked[0]
    assert again[4] == checked[4]


def test_a_process_ends_when_the_node_is_gone() -> None:
    own, others = Pipe()
    worker = threading.Thread(target=answer, args=(others,))
    worker.start()
    own.send(([text(1, 0)], {1: (DEVICES[1].key.x, DEVICES[1].key.y)}))
    assert own.recv()[0][0] is None
    own.close()
    worker.join(timeout=20)
    assert not worker.is_alive()


def test_many_overlapping_batches_at_once_keep_each_reading_once(
    database: Database, shared_workers: ReadingWorkers
) -> None:
    """Three values of each meter and MTU, each sent four times by eight senders in orders of their own."""
    intake = NodeReadingIntake(database=database, metering=metering, workers=shared_workers, on_kept=lambda: None)
    values = (100, 101, 102)
    sent = [text for import_wh in values for text in all_texts(import_wh)] * 4
    random.Random(5).shuffle(sent)
    batches = [sent[begin : begin + 15] for begin in range(0, len(sent), 15)]
    with ThreadPoolExecutor(8) as senders:
        outcomes = [said(answer) for answer in senders.map(intake.accept, batches)]
    with database.read() as tx:
        kept = {stored.text for stored in tx.readings.all_rows()}
        counted = tx.readings.count()
    pairs = Counter(
        (one, answer)
        for batch, answers in zip(batches, outcomes, strict=True)
        for one, answer in zip(batch, answers, strict=True)
    )
    assert counted == len(kept) == METERS * MTUS
    for one in set(sent):
        expected = {"accepted": 1, "duplicate": 3} if one in kept else {"reading-differs": 4}
        assert {answer: times for (of, answer), times in pairs.items() if of == one} == expected


def test_a_batch_that_fails_keeps_nothing_and_harms_no_other(
    database: Database, shared_workers: ReadingWorkers
) -> None:
    intake = NodeReadingIntake(database=database, metering=metering, workers=shared_workers, on_kept=lambda: None)
    with ThreadPoolExecutor(2) as senders:
        large = senders.submit(intake.accept, [text(1, 0)] * 501)
        good = senders.submit(intake.accept, all_texts())
        assert set(said(good.result())) == {"accepted"}
        with pytest.raises(BatchTooLarge):
            large.result()


def test_few_texts_start_no_process(database: Database) -> None:
    workers = ReadingWorkers(2)
    with intake_of(database, workers) as intake:
        assert said(intake.accept([text(1, 0), text(1, 1)])) == ["accepted"] * 2
        assert workers.pids == ()


def test_readings_are_accepted_after_all_processes_have_died(database: Database) -> None:
    workers = ReadingWorkers(1)
    with intake_of(database, workers) as intake:
        assert set(said(intake.accept(all_texts()))) == {"accepted"}
        (first,) = workers.pids
        os.kill(first, signal.SIGKILL)
        assert set(said(intake.accept(all_texts()))) == {"duplicate"}
        assert workers.pids not in ((first,), ())


def test_readings_whose_process_dies_of_checking_them_are_checked_by_another(database: Database, gate: Gate) -> None:
    workers = ReadingWorkers(1, program=gate.program)
    with intake_of(database, workers) as intake, ThreadPoolExecutor(1) as sender:
        under_way = sender.submit(intake.accept, all_texts())
        with gate.batch_arrived():
            (first,) = workers.pids
            os.kill(first, signal.SIGKILL)
        assert set(said(under_way.result(timeout=20))) == {"accepted"}
        assert workers.pids not in ((first,), ())


@pytest.mark.parametrize("program", ["pass", "import time; time.sleep(60)"], ids=["dies", "hangs"])
def test_readings_that_no_process_survives_are_refused_with_nothing_kept(database: Database, program: str) -> None:
    workers = ReadingWorkers(1, program=(sys.executable, "-c", program), longest_check_s=1)
    with intake_of(database, workers) as intake:
        with pytest.raises(ReadingCheckFailed) as refused:
            intake.accept(all_texts())
        assert (refused.value.category, refused.value.count) == ("unavailable", METERS * MTUS)
        with database.read() as tx:
            assert tx.readings.count() == 0
        assert said(intake.accept([text(1, 0)])) == ["accepted"]  # the place is free again


def test_where_no_process_can_be_started_the_node_checks_by_itself(database: Database, tmp_path: Path) -> None:
    with intake_of(database, ReadingWorkers(1, program=(str(tmp_path / "missing"),))) as intake:
        assert set(said(intake.accept(all_texts()))) == {"accepted"}


def test_a_batch_too_many_is_refused_at_once_and_the_others_are_finished(database: Database, gate: Gate) -> None:
    workers = ReadingWorkers(1, program=gate.program)
    with intake_of(database, workers, most_batches=1) as intake, ThreadPoolExecutor(1) as sender:
        under_way = sender.submit(intake.accept, all_texts())
        with gate.batch_arrived(), pytest.raises(ReadingIntakeBusy) as refused:
            intake.accept([text(1, 0)])
        assert (refused.value.category, refused.value.most_batches) == ("unavailable", 1)
        assert set(said(under_way.result(timeout=20))) == {"accepted"}
        assert said(intake.accept([text(1, 0)])) == ["duplicate"]


def test_a_closing_intake_finishes_what_it_has_begun_and_takes_nothing_more(database: Database, gate: Gate) -> None:
    workers = ReadingWorkers(1, program=gate.program)
    with intake_of(database, workers) as intake, ThreadPoolExecutor(2) as threads:
        under_way = threads.submit(intake.accept, all_texts())
        with gate.batch_arrived():
            (pid,) = workers.pids
            closing = threads.submit(intake.close)
        assert set(said(under_way.result(timeout=20))) == {"accepted"}
        closing.result(timeout=20)
        with pytest.raises(ReadingIntakeStopped):
            intake.accept([text(1, 0)])
    assert workers.pids == ()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_key_replaced_while_readings_are_checked_counts(database: Database, gate: Gate) -> None:
    chain = Chain()
    other = Device(1, seed=77).key
    replaced = {"meter": 1, "deviceKeyX": "0x" + other.x.hex(), "deviceKeyY": "0x" + other.y.hex()}
    with intake_of(database, ReadingWorkers(1, program=gate.program)) as intake, ThreadPoolExecutor(1) as sender:
        under_way = sender.submit(intake.accept, all_texts())
        with gate.batch_arrived(), database.write() as tx:
            chain.number, chain.last_hash = 0, f"0x{1:064x}"  # after the block that registered the meters
            chain.index(tx, ("DeviceKeyReplaced", replaced))
        outcomes = said(under_way.result(timeout=20))
    assert outcomes == ["signature-invalid"] * MTUS + ["accepted"] * (METERS - 1) * MTUS
