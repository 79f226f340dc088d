"""Accept synthetic readings of many meters into a node's database, and print time, bytes and memory: METERS [MTUS].

Meters are registered as the indexer would write them; readings come MTU by MTU, as in the field, each signed by its
meter's own key in another process, and take the node's way in: batches of 500, checked by worker processes, one
transaction each.
Prints one JSON object; memory is the sum of the peaks of all processes.
"""

import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from sqlalchemy import insert

from gridledger.app.reading_intake import NodeReadingIntake
from gridledger.app.reading_workers import ReadingWorkers
from gridledger.clock import ManualClock
from gridledger.metering.model import Reading, ReadingOutcome
from gridledger.metering.salts import RandomSalts
from gridledger.metering.service import MAX_BATCH_READINGS, MeteringService
from gridledger.metering.signed_reading import key_from_seed, public_key, sign
from gridledger.store.database import Database
from gridledger.store.schema import meter as meter_table
from gridledger.store.transaction import Transaction

MTU_LENGTH_S, FIRST_MTU_START, ZONE = 900, 1_800_009_000, 1
SIGNERS, WORKERS, AHEAD = 2, 2, 6
MOST_WH = 2_000
OWNER = "0x" + "11" * 20


def signed(first_meter: int, count: int, mtu_start: int) -> list[str]:
    """The texts of neighbouring meters for one MTU."""
    return [
        sign(
            Reading(
                meter=meter,
                meter_id=f"meter {meter:06}",
                mtu_start=mtu_start,
                interval_s=MTU_LENGTH_S,
                import_wh=(meter * 7 + mtu_start // MTU_LENGTH_S) % MOST_WH,
                export_wh=0,
                counter=mtu_start // MTU_LENGTH_S,
            ),
            _key(meter),
        )
        for meter in range(first_meter, first_meter + count)
    ]


@cache
def _key(meter: int) -> EllipticCurvePrivateKey:
    return key_from_seed(meter.to_bytes(32))


def registered(first_meter: int, count: int) -> list[dict[str, object]]:
    """Rows of the registry."""
    rows: list[dict[str, object]] = []
    for meter in range(first_meter, first_meter + count):
        key = public_key(key_from_seed(meter.to_bytes(32)))
        rows.append(
            {
                "meter": meter,
                "owner": OWNER,
                "zone": ZONE,
                "import_capacity_w": 9_000,
                "export_capacity_w": 9_000,
                "source": 0,
                "device_key_x": "0x" + key.x.hex(),
                "device_key_y": "0x" + key.y.hex(),
            }
        )
    return rows


def batches(meters: int) -> Iterator[tuple[int, int]]:
    """First meter and count of each batch of an MTU."""
    for first in range(1, meters + 1, MAX_BATCH_READINGS):
        yield first, min(MAX_BATCH_READINGS, meters + 1 - first)


def in_order(signers: ProcessPoolExecutor, meters: int, mtus: int) -> Iterator[list[str]]:
    """Batches of texts, a few of them signed ahead."""
    ahead: deque[Future[list[str]]] = deque()
    for index in range(mtus):
        for first, count in batches(meters):
            ahead.append(signers.submit(signed, first, count, FIRST_MTU_START + index * MTU_LENGTH_S))
            if len(ahead) > AHEAD:
                yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def service_over(tx: Transaction, clock: ManualClock) -> MeteringService:
    """The metering room as the node wires it."""
    return MeteringService(
        directory=tx.readings,
        store=tx.readings,
        parts=tx.reading_parts,
        events=tx.meter_events,
        clock=clock,
        salts=RandomSalts(),
        mtu_length_s=MTU_LENGTH_S,
    )


def measure(meters: int, mtus: int, folder: Path) -> dict[str, object]:
    """Fill a new database and say what it took."""
    path = folder / "node.sqlite"
    database = Database(path)
    clock = ManualClock(FIRST_MTU_START + mtus * MTU_LENGTH_S)
    outcomes: Counter[str] = Counter()
    with ProcessPoolExecutor(SIGNERS, mp_context=multiprocessing.get_context("spawn")) as signers:
        for first, count in batches(meters):
            with database.write() as tx:
                tx.connection.execute(insert(meter_table), registered(first, count))
        empty_bytes = _size_bytes(folder)
        list(signers.map(signed, (1, 1), (1, 1), (0, 0)))  # both have started
        intake = NodeReadingIntake(
            database=database,
            metering=lambda tx: service_over(tx, clock),
            workers=ReadingWorkers(WORKERS),
            on_kept=lambda: None,
        )
        started = time.perf_counter()
        with closing(intake), ThreadPoolExecutor(WORKERS) as senders:
            under_way: deque[Future[tuple[ReadingOutcome, ...]]] = deque()
            for texts in in_order(signers, meters, mtus):
                under_way.append(senders.submit(intake.accept, texts))
                if len(under_way) == WORKERS:
                    outcomes.update(outcome.status.value for outcome in under_way.popleft().result())
            for future in under_way:
                outcomes.update(outcome.status.value for outcome in future.result())
        wall_s = time.perf_counter() - started
    with database.read() as tx:
        kept = tx.readings.count()
    database.close()
    readings = meters * mtus
    own_kib, child_kib = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "meters": meters,
        "mtus": mtus,
        "readings": readings,
        "outcomes": dict(outcomes),
        "kept": kept,
        "wall_s": round(wall_s, 1),
        "readings_per_s": round(readings / wall_s),
        "bytes_per_reading": round((_size_bytes(folder) - empty_bytes) / readings),
        "node_mib": own_kib // 1024,
        "memory_mib": (own_kib + (SIGNERS + WORKERS) * child_kib) // 1024,
    }


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="gridledger-") as name:
        print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 96, Path(name))))
