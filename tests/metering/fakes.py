"""A registry, a store and devices for the metering tests; small, and honest about their ports."""

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1
from cryptography.hazmat.primitives.hashes import SHA256
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from joserfc import jws
from joserfc.jwk import ECKey

from gridledger.clock import ManualClock
from gridledger.metering.events import (
    MeterEvent,
    MeterEventKind,
    MeteringDomain,
    StoredMeterEvent,
    event_typed_data,
)
from gridledger.metering.model import DeviceKey, MeterFacts, PartialReading, Reading, StoredReading
from gridledger.metering.ocmf import sign_registers
from gridledger.metering.ports import Counted
from gridledger.metering.registers import RegisterReading, StoredRegisters
from gridledger.metering.salts import SeededSalts
from gridledger.metering.service import MeteringService
from gridledger.metering.signed_reading import READING_TYPE, key_from_seed, public_key, sign
from gridledger.metering.statements import MeterEventService

MTU_LENGTH_S = 900
MTU_START = 1_465_776_000  # 2016-06-13T00:00:00Z
NOW = MTU_START + 3600
FIRST_COUNTED = MTU_START // MTU_LENGTH_S - 1_007  # the first MTU has the counter 1007
OPERATOR: LocalAccount = Account.from_key((41).to_bytes(32))
METERING = MeteringDomain(chain_id=31_337, meter_ledger="0x" + "ab" * 20)
SALT_SEED = b"salts of the metering tests"

Payload = Mapping[str, object] | bytes


class Device:
    """A meter's device: signs what it is told to, also what it should not."""

    def __init__(self, meter: int, seed: int | None = None) -> None:
        self.meter = meter
        self._key = key_from_seed((meter if seed is None else seed).to_bytes(32))

    @property
    def key(self) -> DeviceKey:
        return public_key(self._key)

    def sign(self, reading: Reading) -> str:
        return sign(reading, self._key)

    def sign_registers(self, registers: RegisterReading) -> str:
        return sign_registers(registers, self._key)

    def sign_ocmf(self, payload: Mapping[str, object]) -> str:
        """Sign any payload as OCMF."""
        return self.sign_text(json.dumps(payload, separators=(",", ":")))

    def sign_text(self, text: str) -> str:
        """Sign any text as the payload of OCMF."""
        signature = self._key.sign(text.encode(), ECDSA(SHA256()))
        return f"OCMF|{text}|" + json.dumps({"SA": "ECDSA-secp256r1-SHA256", "SD": signature.hex()})

    def sign_by_chance(self, payload: Payload, **header: object) -> str:
        """Sign any payload under any header, with a random nonce as most devices do."""
        content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        protected = {"alg": "ES256", "typ": READING_TYPE, "kid": str(self.meter)} | header
        kept = {name: value for name, value in protected.items() if value is not None}
        registry = jws.JWSRegistry(algorithms=("ES256",), strict_check_header=False)
        return jws.serialize_compact(kept, content, ECKey.import_key(self._key), registry=registry)


def a_reading(meter: int = 1, mtu_start: int = MTU_START, **changes: object) -> Reading:
    """An unremarkable reading with some fields changed."""
    reading = Reading(
        meter=meter,
        meter_id=f"load {meter}",
        mtu_start=mtu_start,
        interval_s=MTU_LENGTH_S,
        import_wh=120,
        export_wh=30,
        counter=max(0, mtu_start // MTU_LENGTH_S - FIRST_COUNTED),
    )
    return replace(reading, **changes)  # type: ignore[arg-type]


def a_register_reading(meter: int = 1, taken_at: int = MTU_START, **changes: object) -> RegisterReading:
    """An unremarkable register reading with some fields changed."""
    reading = RegisterReading(
        meter=meter,
        meter_id=f"load {meter}",
        taken_at=taken_at,
        import_register_wh=1_000,
        export_register_wh=500,
        counter=7,
    )
    return replace(reading, **changes)  # type: ignore[arg-type]


def payload_of(reading: Reading) -> dict[str, object]:
    """The payload of a reading, written down a second time."""
    hours, rest = divmod(reading.mtu_start - MTU_START, 3600)
    return {
        "meter": reading.meter,
        "meter_id": reading.meter_id,
        "interval_start": f"2016-06-13T{hours:02}:{rest // 60:02}:{rest % 60:02}Z",
        "interval_seconds": reading.interval_s,
        "import_wh": reading.import_wh,
        "export_wh": reading.export_wh,
        "counter": reading.counter,
    }


def with_other_half(text: str) -> str:
    """The same signature with s in the other half of the order: as valid, and not the signer's doing."""
    signed, _, signature = text.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    other = SECP256R1().group_order - int.from_bytes(raw[32:])
    return f"{signed}.{base64.urlsafe_b64encode(raw[:32] + other.to_bytes(32)).decode().rstrip('=')}"


class FakeDirectory:
    """Meters by number."""

    def __init__(self, facts: Sequence[MeterFacts]) -> None:
        self._facts = {entry.meter: entry for entry in facts}

    def facts_of(self, meters: Collection[int]) -> Mapping[int, MeterFacts]:
        return {meter: self._facts[meter] for meter in meters if meter in self._facts}

    def zone_meters(self, zone: int) -> set[int]:
        return {entry.meter for entry in self._facts.values() if entry.zone == zone}


class FakeStore:
    """Readings by meter and MTU."""

    def __init__(self, directory: FakeDirectory) -> None:
        self._directory = directory
        self.kept: dict[tuple[int, int], StoredReading] = {}
        self.registers: dict[tuple[int, int], StoredRegisters] = {}
        self.disputes: dict[tuple[int, int], list[str]] = {}
        self.recorded: set[int] = set()

    def find(self, meter: int, mtu_start: int) -> StoredReading | None:
        return self.kept.get((meter, mtu_start))

    def find_each(self, keys: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], StoredReading]:
        return {key: self.kept[key] for key in keys if key in self.kept}

    def counters_around(
        self, spans: Collection[tuple[int, int, int]]
    ) -> Mapping[tuple[int, int, int], tuple[Counted | None, Counted | None]]:
        def counted(meter: int) -> list[Counted]:
            return [Counted(start, kept.reading.counter) for (of, start), kept in self.kept.items() if of == meter]

        return {
            (meter, first, last): (
                max((one for one in counted(meter) if one.mtu_start < first), default=None),
                min((one for one in counted(meter) if one.mtu_start > last), default=None),
            )
            for meter, first, last in spans
        }

    def add_all(self, readings: Sequence[StoredReading]) -> None:
        for stored in readings:
            key = (stored.reading.meter, stored.reading.mtu_start)
            assert key not in self.kept
            self.kept[key] = stored

    def registers_at(self, meter: int, taken_at: int) -> StoredRegisters | None:
        return self.registers.get((meter, taken_at))

    def registers_around(self, meter: int, taken_at: int) -> tuple[StoredRegisters | None, StoredRegisters | None]:
        moments = sorted(moment for of_meter, moment in self.registers if of_meter == meter)
        before = [moment for moment in moments if moment < taken_at]
        after = [moment for moment in moments if moment > taken_at]
        return (
            self.registers[meter, before[-1]] if before else None,
            self.registers[meter, after[0]] if after else None,
        )

    def add_registers(self, stored: StoredRegisters) -> None:
        key = (stored.registers.meter, stored.registers.taken_at)
        assert key not in self.registers
        self.registers[key] = stored

    def add_dispute(self, meter: int, moment: int, text: str, received_at: int) -> None:
        self.disputes.setdefault((meter, moment), []).append(text)

    def at(self, zone: int, mtu_start: int) -> tuple[StoredReading, ...]:
        found = [kept for kept in self.kept.values() if kept.zone == zone and kept.reading.mtu_start == mtu_start]
        return tuple(sorted(found, key=lambda stored: stored.reading.meter))

    def erased_leaves(self, sequence: int) -> Mapping[tuple[int, int], bytes]:
        return {}

    def unanchored(self, zone: int, mtu_start: int) -> tuple[StoredReading, ...]:
        return tuple(stored for stored in self.at(zone, mtu_start) if stored.anchor_sequence is None)

    def missing_count(self, zone: int, mtu_start: int) -> int:
        return len(self._directory.zone_meters(zone) - {stored.reading.meter for stored in self.at(zone, mtu_start)})

    def unanchored_of(self, slots: Collection[tuple[int, int]], limit: int) -> tuple[StoredReading, ...]:
        found = [stored for slot in slots for stored in self.unanchored(*slot)]
        return tuple(sorted(found, key=lambda stored: (stored.reading.meter, stored.reading.mtu_start))[:limit])

    def next_anchor_sequence(self) -> int:
        return len({stored.anchor_sequence for stored in self.kept.values()} - {None})

    def mark_anchored(self, sequence: int, keys: Sequence[tuple[int, int]]) -> None:
        for key in keys:
            self.kept[key] = replace(self.kept[key], anchor_sequence=sequence)

    def in_anchor(self, sequence: int) -> tuple[StoredReading, ...]:
        found = [stored for stored in self.kept.values() if stored.anchor_sequence == sequence]
        return tuple(sorted(found, key=lambda stored: (stored.reading.meter, stored.reading.mtu_start)))

    def anchor_is_recorded(self, sequence: int) -> bool:
        return sequence in self.recorded


class FakeEvents:
    """Meter events by meter and moment."""

    def __init__(self) -> None:
        self.kept: dict[tuple[int, int], StoredMeterEvent] = {}

    def event_at(self, meter: int, happened_at: int) -> StoredMeterEvent | None:
        return self.kept.get((meter, happened_at))

    def events_between(self, meter: int, start: int, end: int) -> tuple[MeterEvent, ...]:
        found = [stored.event for (of_meter, _), stored in sorted(self.kept.items()) if of_meter == meter]
        return tuple(event for event in found if start < event.happened_at <= end)

    def add_event(self, stored: StoredMeterEvent) -> None:
        assert (stored.event.meter, stored.event.happened_at) not in self.kept
        self.kept[stored.event.meter, stored.event.happened_at] = stored


class FakeParts:
    """Parts of MTUs by meter and start."""

    def __init__(self) -> None:
        self.kept: dict[tuple[int, int], PartialReading] = {}

    def parts_of(self, meter: int, start: int, end: int) -> tuple[PartialReading, ...]:
        return tuple(part for (of, moment), part in sorted(self.kept.items()) if of == meter and start <= moment < end)

    def part_counters_around(self, meter: int, start: int) -> tuple[Counted | None, Counted | None]:
        counted = [Counted(moment, part.reading.counter) for (of, moment), part in self.kept.items() if of == meter]
        return (
            max((one for one in counted if one.mtu_start < start), default=None),
            min((one for one in counted if one.mtu_start > start), default=None),
        )

    def add_part(self, part: PartialReading) -> None:
        assert (part.reading.meter, part.reading.mtu_start) not in self.kept
        self.kept[part.reading.meter, part.reading.mtu_start] = part


class FakeOperators:
    """One grid operator for every zone."""

    def grid_operator_of(self, zone: int) -> str:
        return OPERATOR.address


@dataclass(frozen=True, kw_only=True)
class World:
    """A metering room over fakes: meters 1 to 3 in zone 1, meter 4 in zone 2; 1 kW in, 500 W out."""

    service: MeteringService
    event_service: MeterEventService
    store: FakeStore
    events: FakeEvents
    parts: FakeParts
    clock: ManualClock
    devices: Mapping[int, Device]


def a_world(now: int = NOW, mtu_length_s: int = MTU_LENGTH_S) -> World:
    """A fresh world at a moment in Unix seconds."""
    devices = {meter: Device(meter) for meter in (1, 2, 3, 4)}
    directory = FakeDirectory([facts_of(device, zone=2 if meter == 4 else 1) for meter, device in devices.items()])
    store, clock = FakeStore(directory), ManualClock(now)
    events, parts = FakeEvents(), FakeParts()
    service = MeteringService(
        directory=directory,
        store=store,
        parts=parts,
        events=events,
        clock=clock,
        salts=SeededSalts(SALT_SEED),
        mtu_length_s=mtu_length_s,
    )
    event_service = MeterEventService(
        domain=METERING,
        directory=directory,
        operators=FakeOperators(),
        registers=store,
        store=events,
        clock=clock,
        mtu_length_s=mtu_length_s,
    )
    return World(
        service=service,
        event_service=event_service,
        store=store,
        events=events,
        parts=parts,
        clock=clock,
        devices=devices,
    )


def an_event(**changes: object) -> MeterEvent:
    """Meter 1 starts anew from zero just before the end of the first MTU, with some fields changed."""
    event = MeterEvent(
        meter=1,
        kind=MeterEventKind.RESET,
        happened_at=MTU_START + 600,
        closing_serial="load 1",
        opening_serial="load 1",
        closing_import_wh=1_060,
        closing_export_wh=507,
        opening_import_wh=0,
        opening_export_wh=0,
    )
    return replace(event, **changes)  # type: ignore[arg-type]


def signed_event(event: MeterEvent, signer: LocalAccount | None = None) -> bytes:
    """The grid operator's signature over an event, made by eth-account alone."""
    document = encode_typed_data(full_message=event_typed_data(METERING, event))
    return bytes((signer or OPERATOR).sign_message(document).signature)


def facts_of(device: Device, zone: int = 1) -> MeterFacts:
    """What the registry says about a device's meter."""
    return MeterFacts(
        meter=device.meter, zone=zone, import_capacity_w=1000, export_capacity_w=500, device_key=device.key
    )
