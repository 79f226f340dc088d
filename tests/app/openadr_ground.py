"""A database with a zone and rules, the parts that tell OpenADR clients of it, and clocks that are moved by hand."""

import json
import queue
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from gridledger.app.openadr_follower import OpenAdrFollower
from gridledger.app.openadr_notifier import OpenAdrNotifier
from gridledger.app.openadr_worker import OpenAdrWorker
from gridledger.clock import ManualClock, SystemClock
from gridledger.dispatch.model import Schedule, ScheduleState
from gridledger.dispatch.ports import CommittedSetpoint
from gridledger.dispatch.setpoints import Direction, SetpointRow
from gridledger.mqtt.broker import OpenAdrBroker
from gridledger.relay import ChainEvent, IndexedBlock
from gridledger.store.database import Database
from gridledger.store.openadr_clients import AdrClient, ClientRole, SecretHash
from gridledger.store.openadr_deliveries import OpenAdrDelivery
from gridledger.store.openadr_model import ObjectKind, ObjectQuery, OpenAdrObject
from gridledger.store.schema import meter, policy_version, zone
from gridledger.webhooks.sealing import SecretBox
from gridledger.webhooks.targets import AllowList, TargetGuard

MTU_START, MTU_LENGTH_S, ZONE = 1_465_776_000, 900, 1
POLICY = {
    "gateClosureS": 300,
    "answerLeadS": 60,
    "replacementBearers": 0,
    "proceedWithoutAnswer": True,
    "substituteAfterS": 1,
    "correctionS": 1,
    "sellerRewardShareBp": 5_000,
    "defaultGridFactorMgco2PerKwh": 363_000,
    "gridFeeCentsPerMwh": 2_000,
    "lowCarbonReliefCentsPerMwh": 1_000,
    "feedInCentsPerMwh": 8_000,
    "retailCentsPerMwh": 32_000,
    "retailAdderCentsPerMwh": 24_000,
    "floorOffsetCentsPerMwh": 0,
    "surplusOffsetCentsPerMwh": -500,
    "capOffsetCentsPerMwh": 0,
    "shortageOffsetCentsPerMwh": 500,
}
_SECRET = SecretHash(b"salt", b"hash")


class OpenAdrGround:
    """What the tests change and look at."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(folder / "node.db")
        self.clock = ManualClock(MTU_START - 600)
        self.machine = ManualClock(SystemClock().now())
        self.box = SecretBox(folder / "box.key")
        self.guard = TargetGuard(AllowList.parse("127.0.0.1"))
        self.kept: queue.Queue[OpenAdrDelivery] = queue.Queue()
        self.blocks = 0
        self.limit_wh: int | None = None
        with self.database.write() as tx:
            tx.connection.execute(insert(zone).values(zone=ZONE, grid_operator="0x" + "33" * 20, halted=False))
            tx.connection.execute(insert(policy_version).values(version=1, effective_mtu_start=0, policy=dict(POLICY)))
            for number in (3, 4):
                tx.connection.execute(
                    insert(meter).values(
                        meter=number,
                        owner="0x" + "11" * 20,
                        zone=ZONE,
                        import_capacity_w=1,
                        export_capacity_w=1,
                        source=0,
                        device_key_x="",
                        device_key_y="",
                    )
                )

    # ---- what happens

    def schedule(self, mtu_start: int = MTU_START, residual_wh: int = 0) -> None:
        """Meter 3 sells 600 Wh to meter 4, and is expected to export something beyond it."""
        known = Schedule(
            zone=ZONE,
            mtu_start=mtu_start,
            schedule_hash="0x" + "aa" * 32,
            traded_wh=600,
            answer_deadline=mtu_start - 60,
            state=ScheduleState.PENDING,
            reason=0,
            result_hash="0x" + "bb" * 32,
            setpoints_root="0x" + "cc" * 32,
        )
        payload = {
            "schedule_hash": known.schedule_hash,
            "traded_wh": 600,
            "answer_deadline": known.answer_deadline,
            "transaction_hash": transaction_hash(mtu_start),
            "setpoints": [
                {"meter": 3, "contracted_wh": 600},
                {"meter": 4, "contracted_wh": -600},
            ],
        }
        rows = (
            SetpointRow(meter=3, contracted_wh=600, residual_wh=residual_wh),
            SetpointRow(meter=4, contracted_wh=-600, residual_wh=0),
        )
        with self.database.write() as tx:
            tx.dispatches.keep_setpoints(ZONE, mtu_start, [CommittedSetpoint(row=row, salt=bytes(32)) for row in rows])
            tx.dispatches.add(known, payload, self.clock.now())

    def answer(self, state: ScheduleState, mtu_start: int = MTU_START, **payload: Any) -> None:
        """The grid operator's answer, as the chain recorded it."""
        told = {"reason": 0, "transaction_hash": "0x" + "bb" * 32, **payload}
        with self.database.write() as tx:
            tx.dispatches.keep_answer(ZONE, mtu_start, state, told["reason"], told, self.clock.now())

    def curtail(
        self, direction: Direction, caps_wh: Mapping[int, int], mtu_start: int = MTU_START, **payload: Any
    ) -> None:
        """The grid operator's caps, as the chain recorded them."""
        told = {
            "reason": 1,
            "direction": direction.name.lower(),
            "emergency": False,
            "caps": [{"meter": meter, "cap_wh": cap_wh} for meter, cap_wh in caps_wh.items()],
            "transaction_hash": "0x" + "bb" * 32,
            **payload,
        }
        with self.database.write() as tx:
            tx.dispatches.keep_caps(ZONE, mtu_start, direction, told["reason"], caps_wh, told, self.clock.now())

    def stop(self, first: int = MTU_START, count: int = 1) -> None:
        """The grid operator's emergency stop, as the chain recorded it."""
        last = first + (count - 1) * MTU_LENGTH_S
        told = {"reason": 4, "last_mtu_start": last, "transaction_hash": "0x" + "cc" * 32, "block_number": 9}
        with self.database.write() as tx:
            tx.dispatches.keep_stop(ZONE, first, last, 4, told, self.clock.now())

    def block(self, name: str, **arguments: Any) -> None:
        """A block with one event."""
        self.blocks += 1
        tip = IndexedBlock(
            number=self.blocks, block_hash=f"{self.blocks:#066x}", parent_hash="0x", time_s=self.clock.now()
        )
        event = ChainEvent(
            block_number=tip.number,
            log_index=0,
            transaction_hash=f"{self.blocks:#066x}",
            contract="",
            name=name,
            arguments=arguments,
        )
        with self.database.write() as tx:
            tx.index_block(tip, (event,))

    # ---- clients

    def client(self, client_id: str, role: ClientRole, *targets: str) -> str:
        """A client; as a ven with a ven that is granted these targets. Returns the client's id."""
        with self.database.write() as tx:
            tx.openadr_clients.add(AdrClient(client_id=client_id, role=role, secret=_SECRET, created_at=1))
            if role is ClientRole.VEN:
                content = {"venName": client_id, "targets": list(targets)}
                tx.openadr.add(ObjectKind.VEN, content, now=self.clock.now(), client_id=client_id)
        return client_id

    def subscribe(
        self,
        client_id: str,
        *urls: str,
        objects: Sequence[str] = ("EVENT",),
        operations: Sequence[str] = ("CREATE", "UPDATE", "DELETE"),
        token: str | None = "the token",
        **content: Any,
    ) -> str:
        """A subscription with one object operation for each URL; returns its id."""
        wishes = [{"objects": list(objects), "operations": list(operations), "callbackUrl": url} for url in urls]
        with self.database.write() as tx:
            return tx.openadr.add(
                ObjectKind.SUBSCRIPTION,
                {"clientName": client_id, "objectOperations": wishes, **content},
                now=self.clock.now(),
                client_id=client_id,
                sealed_tokens=self.box.seal(json.dumps([token] * len(urls))),
            ).id

    # ---- what is told

    def objects(self, kind: ObjectKind, program: str | None = None) -> list[OpenAdrObject]:
        """All objects of a kind, of one program or of all."""
        with self.database.read() as tx:
            found = None if program is None else tx.openadr.find_by_name(ObjectKind.PROGRAM, program)
            program_id = None if found is None else found.id
            return list(tx.openadr.list(ObjectQuery(kind=kind, program_id=program_id, limit=1_000)))

    def events(self, program: str = f"grid-dispatch-zone-{ZONE}") -> list[OpenAdrObject]:
        """Events of a program."""
        return self.objects(ObjectKind.EVENT, program)

    def follower(self) -> OpenAdrFollower:
        """A follower as after a start of the node."""
        return OpenAdrFollower(
            database=self.database,
            clock=self.clock,
            mtu_length_s=MTU_LENGTH_S,
            chain_id=31_337,
            limit_wh=lambda _zone: self.limit_wh,
        )

    @contextmanager
    def working(self, broker: OpenAdrBroker | None = None) -> Iterator[OpenAdrWorker]:
        """A worker."""
        notifier = OpenAdrNotifier(
            database=self.database, guard=self.guard, box=self.box, clock=self.machine, on_kept=self.kept.put
        )
        worker = OpenAdrWorker(database=self.database, follower=self.follower(), notifier=notifier, broker=broker)
        worker.start()
        try:
            yield worker
        finally:
            worker.close()

    def after(self, **expected: Any) -> OpenAdrDelivery:
        """The next outcome that was kept with these values."""
        while True:
            delivery = self.kept.get(timeout=20)
            if all(getattr(delivery, name) == value for name, value in expected.items()):
                return delivery


def transaction_hash(mtu_start: int) -> str:
    """Of the schedule of an MTU."""
    return f"{mtu_start:#066x}"


def values(event: OpenAdrObject | dict[str, Any], interval: int = 0) -> dict[str, Any]:
    """Payloads of one interval, by type."""
    content = event.content if isinstance(event, OpenAdrObject) else event
    (found,) = [one for one in content["intervals"] if one["id"] == interval]
    return {payload["type"]: payload["values"][0] for payload in found["payloads"]}
