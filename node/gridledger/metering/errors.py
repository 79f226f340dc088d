"""What can be wrong with a reading, a batch of readings or an anchor."""

from dataclasses import dataclass

from gridledger.errors import Conflict, Forbidden, InvalidInput, NotFound

__all__ = [
    "AboveCapacity",
    "BatchTooLarge",
    "CertificateLifetimeRefused",
    "CertificateRequestRefused",
    "ClockNotSynchronised",
    "CounterReplayed",
    "DeviceKeyInvalid",
    "FieldRefused",
    "FieldsRefused",
    "HeaderRefused",
    "HostNameRefused",
    "IntervalLengthRefused",
    "MeterEventDiffers",
    "MeterEventInFuture",
    "MeterEventMalformed",
    "MeterEventTooLate",
    "MeterFault",
    "MeterMismatch",
    "MeterOfAnother",
    "NotTheMetersGridOperator",
    "NothingToAnchor",
    "ReadingDiffers",
    "ReadingInFuture",
    "ReadingNotAnchored",
    "ReadingTooOld",
    "ReadingUnknown",
    "ReadingUnreadable",
    "RegisterBackwards",
    "RegistersDiffer",
    "SeedTooShort",
    "SerialChanged",
    "SignatureInvalid",
    "StatementSignatureMalformed",
    "TextNotProvable",
    "TopicRefused",
    "UnknownMeter",
]


@dataclass(kw_only=True, eq=False)
class ReadingUnreadable(InvalidInput):
    """The text is not a signed reading in one of the forms."""

    problem: str


@dataclass(kw_only=True, eq=False)
class HeaderRefused(InvalidInput):
    """The header of a signed reading holds exactly alg ES256, the reading's typ and the meter's number as kid."""

    header: str


@dataclass(kw_only=True, eq=False)
class FieldsRefused(InvalidInput):
    """The payload of a signed reading has exactly the fields of the format."""

    missing: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(kw_only=True, eq=False)
class FieldRefused(InvalidInput):
    """A field of the reading is not what the format says."""

    field: str
    expected: str


@dataclass(kw_only=True, eq=False)
class SignatureInvalid(Forbidden):
    """The reading is not signed by the meter's registered device key."""

    meter: int


@dataclass(kw_only=True, eq=False)
class TextNotProvable(InvalidInput):
    """The signed text has not the form in which the meter ledger can verify it."""

    expected: str


@dataclass(kw_only=True, eq=False)
class MeterMismatch(Forbidden):
    """The reading names another meter than the one whose key signed it."""

    signing_meter: int
    meter: int


@dataclass(kw_only=True, eq=False)
class DeviceKeyInvalid(InvalidInput):
    """The device key is not a point of the curve P-256."""

    x: str
    y: str


@dataclass(kw_only=True, eq=False)
class SeedTooShort(InvalidInput):
    """The seed of a device key has too few bytes."""

    length: int
    shortest: int


@dataclass(kw_only=True, eq=False)
class UnknownMeter(NotFound):
    """No such meter is registered."""

    meter: int


@dataclass(kw_only=True, eq=False)
class IntervalLengthRefused(InvalidInput):
    """The reading's interval is not one market time unit long."""

    interval_s: int
    mtu_length_s: int


@dataclass(kw_only=True, eq=False)
class ReadingInFuture(InvalidInput):
    """The reading's interval has not ended yet."""

    interval_end: int
    now: int


@dataclass(kw_only=True, eq=False)
class ReadingTooOld(InvalidInput):
    """The reading's interval ended too long ago."""

    interval_end: int
    now: int
    greatest_age_s: int


@dataclass(kw_only=True, eq=False)
class AboveCapacity(InvalidInput):
    """The reading's energy is more than the meter's connection can carry in the interval."""

    meter: int
    register: str
    energy_wh: int
    capacity_wh: int


@dataclass(kw_only=True, eq=False)
class ReadingDiffers(Conflict):
    """Another reading of this meter and MTU was accepted before."""

    meter: int
    mtu_start: int

    @property
    def moment(self) -> int:
        """What it is about, Unix seconds."""
        return self.mtu_start


@dataclass(kw_only=True, eq=False)
class BatchTooLarge(InvalidInput):
    """The batch holds too many readings."""

    count: int
    highest: int


@dataclass(kw_only=True, eq=False)
class NothingToAnchor(InvalidInput):
    """An anchor holds at least one reading."""


@dataclass(kw_only=True, eq=False)
class ReadingNotAnchored(NotFound):
    """No anchored reading of that meter and MTU is known."""

    meter: int
    mtu_start: int


@dataclass(kw_only=True, eq=False)
class MeterFault(InvalidInput):
    """The device itself flags the value as not good."""

    meter: int
    status: str
    error_flags: str


@dataclass(kw_only=True, eq=False)
class ClockNotSynchronised(InvalidInput):
    """The device says that its clock is not synchronised, so nobody knows which interval the value belongs to."""

    meter: int
    status: str


@dataclass(kw_only=True, eq=False)
class SerialChanged(Conflict):
    """The text names another device than the meter's earlier ones; a replacement has to be registered first."""

    meter: int
    known: str
    found: str


@dataclass(kw_only=True, eq=False)
class CounterReplayed(Conflict):
    """The device's counter does not rise with time."""

    meter: int
    counter: int
    known_counter: int


@dataclass(kw_only=True, eq=False)
class RegisterBackwards(Conflict):
    """A register shows less than before; a reset has to be registered first."""

    meter: int
    register: str
    before_wh: int
    after_wh: int


@dataclass(kw_only=True, eq=False)
class RegistersDiffer(Conflict):
    """There are other registers of this meter and moment."""

    meter: int
    taken_at: int

    @property
    def moment(self) -> int:
        """What it is about, Unix seconds."""
        return self.taken_at


@dataclass(kw_only=True, eq=False)
class TopicRefused(InvalidInput):
    """The topic is not that of a meter's readings."""

    topic: str


@dataclass(kw_only=True, eq=False)
class CertificateRequestRefused(InvalidInput):
    """The request is not one of this device for its own P-256 key."""

    meter: int
    problem: str


@dataclass(kw_only=True, eq=False)
class CertificateLifetimeRefused(InvalidInput):
    """The authority itself is not valid at the moment it should sign; times are ISO 8601."""

    not_before: str
    not_after: str
    now: str


@dataclass(kw_only=True, eq=False)
class HostNameRefused(InvalidInput):
    """The host is neither a DNS name in ASCII nor an IP address."""

    host: str


@dataclass(kw_only=True, eq=False)
class MeterEventMalformed(InvalidInput):
    """The registers or serials of the event do not fit its kind."""

    kind: str
    problem: str


@dataclass(kw_only=True, eq=False)
class MeterEventInFuture(InvalidInput):
    """The event has not happened yet."""

    happened_at: int
    now: int


@dataclass(kw_only=True, eq=False)
class MeterEventTooLate(Conflict):
    """A reading across the moment of the event was accepted before."""

    meter: int
    happened_at: int
    read_until: int


@dataclass(kw_only=True, eq=False)
class MeterEventDiffers(Conflict):
    """Another event of this meter and moment was accepted before."""

    meter: int
    happened_at: int


@dataclass(kw_only=True, eq=False)
class StatementSignatureMalformed(InvalidInput):
    """The signature is not 65 bytes r, s, v over the statement, with s in the lower half."""

    meter: int


@dataclass(kw_only=True, eq=False)
class NotTheMetersGridOperator(Forbidden):
    """The statement is not signed by the grid operator of the meter's zone."""

    meter: int
    signer: str
    grid_operator: str


@dataclass(kw_only=True, eq=False)
class MeterOfAnother(Forbidden):
    """The meter's readings are for its owner."""

    meter: int


@dataclass(kw_only=True, eq=False)
class ReadingUnknown(NotFound):
    """There is neither a reading nor an estimate of that meter and MTU."""

    meter: int
    mtu_start: int
