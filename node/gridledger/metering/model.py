"""Words of metering: readings, their signed texts, what is known about a meter."""

from dataclasses import dataclass
from enum import StrEnum

from gridledger.errors import GridLedgerError
from gridledger.metering.errors import FieldRefused
from gridledger.units import UINT32_MAX, check_range

__all__ = [
    "MAX_COUNTER",
    "MAX_ENERGY_WH",
    "MAX_INTERVAL_S",
    "MAX_METER_ID_CHARACTERS",
    "MAX_MTU_START",
    "DeviceKey",
    "MeterFacts",
    "NoteName",
    "PartialReading",
    "Reading",
    "ReadingNote",
    "ReadingOutcome",
    "ReadingStatus",
    "SignedReading",
    "StoredReading",
]

MAX_ENERGY_WH = 2**40
MAX_COUNTER = 2**53 - 1  # the largest whole number every JSON reader keeps exactly
MAX_INTERVAL_S = 86_400
MAX_MTU_START = 253_402_300_799  # 9999-12-31T23:59:59Z, the last moment an ISO-8601 text of four year digits can say
MAX_METER_ID_CHARACTERS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What one meter measured in one interval. It cannot exist outside these ranges: OutOfRange, FieldRefused.

    meter 1..2**32-1 (the registry's number); meter_id 1..64 printable characters without outer blanks;
    mtu_start in Unix seconds, 0..9999-12-31; interval_s 1..86400; energies in Wh, 0..2**40;
    counter 0..2**53-1 (the device's own number of the reading).
    """

    meter: int
    meter_id: str
    mtu_start: int
    interval_s: int
    import_wh: int
    export_wh: int
    counter: int

    def __post_init__(self) -> None:
        check_range("meter", self.meter, 1, UINT32_MAX)
        check_range("mtu_start", self.mtu_start, 0, MAX_MTU_START)
        check_range("interval_s", self.interval_s, 1, MAX_INTERVAL_S)
        check_range("import_wh", self.import_wh, 0, MAX_ENERGY_WH)
        check_range("export_wh", self.export_wh, 0, MAX_ENERGY_WH)
        check_range("counter", self.counter, 0, MAX_COUNTER)
        name = self.meter_id
        if not 0 < len(name) <= MAX_METER_ID_CHARACTERS or name != name.strip() or not name.isprintable():
            raise FieldRefused(field="meter_id", expected="1 to 64 printable characters without blanks around them")

    @property
    def net_wh(self) -> int:
        """Export minus import, Wh, signed; what settlement compares with the contracted energy."""
        return self.export_wh - self.import_wh

    @property
    def interval_end(self) -> int:
        """First moment after the interval, Unix seconds."""
        return self.mtu_start + self.interval_s


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedReading:
    """A reading with the text its device signed (JWS compact)."""

    reading: Reading
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredReading:
    """An accepted reading as the node keeps it.

    zone as registered when it was accepted; salt of 32 bytes, secret; received_at in Unix seconds;
    anchor_sequence is the number of the batch it was anchored in, None before.
    """

    reading: Reading
    zone: int
    text: str
    salt: bytes
    received_at: int
    anchor_sequence: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PartialReading:
    """An accepted reading of a part of an MTU, with its signed text; received_at in Unix seconds."""

    reading: Reading
    text: str
    received_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceKey:
    """A device's public key: the coordinates of a P-256 point, 32 bytes each, big-endian."""

    x: bytes
    y: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class MeterFacts:
    """What the registry says about a meter; capacities in W."""

    meter: int
    zone: int
    import_capacity_w: int
    export_capacity_w: int
    device_key: DeviceKey


class ReadingStatus(StrEnum):
    """What became of one reading of a batch."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    DISPUTED = "disputed"
    REFUSED = "refused"


class NoteName(StrEnum):
    """What is said of a reading that was accepted all the same."""

    COUNTER_SKIPPED = "counter-skipped"
    INTERVAL_SPLIT = "interval-split"
    PARTS_MISSING = "parts-missing"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingNote:
    """A remark on an accepted reading.

    count: of the device's numbers that nobody has seen, of the MTUs that share the interval, or of the seconds of the
    MTU that other parts have still to cover.
    """

    name: NoteName
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingOutcome:
    """The answer to the reading at `index` (from 0) of a batch; `error` says why one was refused or is disputed.

    A disputed text is genuine and contradicts what was accepted before: that stands, and the text is kept beside it.
    """

    index: int
    status: ReadingStatus
    error: GridLedgerError | None = None
    notes: tuple[ReadingNote, ...] = ()
