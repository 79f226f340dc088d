"""Bad texts of meters that have a history, each with the exact outcome it gets; used by room and over HTTP."""

import json
from dataclasses import dataclass
from typing import Any

from tests.metering.fakes import MTU_START, NOW, Device, a_reading, a_register_reading

from gridledger.errors import GridLedgerError
from gridledger.metering.errors import (
    AboveCapacity,
    ClockNotSynchronised,
    CounterReplayed,
    FieldRefused,
    MeterFault,
    ReadingDiffers,
    ReadingInFuture,
    ReadingTooOld,
    ReadingUnreadable,
    RegisterBackwards,
    RegistersDiffer,
    SerialChanged,
    SignatureInvalid,
    UnknownMeter,
)
from gridledger.metering.model import MAX_COUNTER, Reading, ReadingStatus
from gridledger.metering.ocmf import MAX_OCMF_CHARACTERS, ocmf_moment
from gridledger.metering.registers import MAX_REGISTER_WH
from gridledger.units import OutOfRange, UnalignedMtu

SECOND, THIRD, FOURTH = MTU_START + 900, MTU_START + 1_800, MTU_START + 2_700
INTERVALS, MOMENTS = Device(2), Device(3)  # a meter that tells intervals, one that tells moments
NOT_PLAIN, TEXT = "a number not in plain digits", "a register that is a text"
NOT_OCMF = "not OCMF 1.4"
NO_JWS_EITHER = "the header is not JSON in base64url"
SECTIONS = "not three sections on one line"


def interval(**changes: Any) -> Reading:
    return a_reading(meter=2, **changes)


def part(start: int, **changes: Any) -> Reading:
    return interval(mtu_start=start, **{"interval_s": 300, "import_wh": 40, "export_wh": 10} | changes)


HISTORY = (
    INTERVALS.sign(interval(counter=10)),
    INTERVALS.sign(part(SECOND, counter=11)),
    INTERVALS.sign(interval(mtu_start=THIRD, counter=14)),
    MOMENTS.sign_registers(a_register_reading(meter=3)),
    MOMENTS.sign_registers(
        a_register_reading(meter=3, taken_at=SECOND, import_register_wh=1_100, export_register_wh=510, counter=8)
    ),
)


@dataclass(frozen=True, kw_only=True)
class BadText:
    """A text, what is said about it, and whether it is kept as a dispute."""

    name: str
    text: str
    error: GridLedgerError

    @property
    def status(self) -> ReadingStatus:
        disputed = isinstance(self.error, ReadingDiffers | RegistersDiffer)
        return ReadingStatus.DISPUTED if disputed else ReadingStatus.REFUSED


def bad(name: str, text: str | Reading, error: GridLedgerError) -> BadText:
    return BadText(name=name, text=INTERVALS.sign(text) if isinstance(text, Reading) else text, error=error)


def payload(**changes: Any) -> dict[str, Any]:
    """A third moment, as good as any; entries of `RD` take the changes of `both`, `imported`, `exported`."""
    reading = a_register_reading(meter=3, taken_at=THIRD, import_register_wh=1_200, export_register_wh=520, counter=9)
    made: dict[str, Any] = json.loads(MOMENTS.sign_registers(reading).split("|")[1])
    for entry, name in zip(made["RD"], ("imported", "exported"), strict=True):
        entry.update(changes.get("both", {}))
        entry.update(changes.get(name, {}))
    made |= {name: value for name, value in changes.items() if name not in ("both", "imported", "exported")}
    return {name: value for name, value in made.items() if value is not ...}


def moment(**changes: Any) -> str:
    """The third moment with some fields changed (... leaves one out), properly signed."""
    return MOMENTS.sign_ocmf(payload(**changes))


def both(**changes: Any) -> str:
    """The third moment with both registers' entries changed."""
    return moment(both=changes)


def signature_section(**changes: Any) -> str:
    """The third moment with its signature section changed after signing."""
    head, _, section = GOOD.rpartition("|")
    made = json.loads(section) | changes
    return head + "|" + json.dumps({name: value for name, value in made.items() if value is not ...})


def replaced(old: str, new: str) -> str:
    """The third moment with its text changed before it is signed."""
    text = GOOD.split("|")[1]
    assert old in text
    return MOMENTS.sign_text(text.replace(old, new, 1))


def unreadable(problem: str = NOT_OCMF) -> ReadingUnreadable:
    return ReadingUnreadable(problem=problem)


def off_grid(start: int, length_s: int = 900) -> UnalignedMtu:
    return UnalignedMtu(mtu_start=start, mtu_length_s=length_s)


GOOD = moment()
HEAD, _, SIGNATURE = GOOD.rpartition("|")
EXTRA = {"TM": ocmf_moment(THIRD), "RV": 1, "RI": "1-0:1.8.1", "RU": "kWh", "RT": "AC", "EF": "", "ST": "G"}
BOTH_REGISTERS = FieldRefused(field="RD", expected="one value of 1-0:1.8.0 and one of 1-0:2.8.0")
ONE_SECOND = FieldRefused(field="TM", expected="the same whole second for both registers")
NUMBER = FieldRefused(field="GS", expected="the meter's number in the registry")
PAGINATION = FieldRefused(field="PG", expected="F and a number")
NAME = FieldRefused(field="meter_id", expected="1 to 64 printable characters without blanks around them")
VALUE = FieldRefused(field="RV", expected="a value in kWh or Wh")
FORGED = SignatureInvalid(meter=3)

OF_INTERVALS = [
    bad(
        "the counter of the reading before",
        interval(mtu_start=FOURTH, counter=14),
        CounterReplayed(meter=2, counter=14, known_counter=14),
    ),
    bad(
        "a counter from long before",
        interval(mtu_start=FOURTH, counter=0),
        CounterReplayed(meter=2, counter=0, known_counter=14),
    ),
    bad(
        "an earlier interval with a later counter",
        interval(mtu_start=MTU_START - 900, counter=10),
        CounterReplayed(meter=2, counter=10, known_counter=10),
    ),
    bad(
        "an interval between two with the counter of none",
        interval(mtu_start=SECOND, counter=14),
        CounterReplayed(meter=2, counter=14, known_counter=14),
    ),
    bad(
        "a part with the counter of the part before",
        part(SECOND + 300, counter=11),
        CounterReplayed(meter=2, counter=11, known_counter=11),
    ),
    bad(
        "a part with the counter of the interval after",
        part(SECOND + 300, counter=14),
        CounterReplayed(meter=2, counter=14, known_counter=14),
    ),
    bad(
        "a part that was told otherwise",
        part(SECOND, counter=11, import_wh=41),
        ReadingDiffers(meter=2, mtu_start=SECOND),
    ),
    bad(
        "a part of an interval told as a whole",
        part(MTU_START + 300, counter=10),
        ReadingDiffers(meter=2, mtu_start=MTU_START),
    ),
    bad(
        "a part by another device",
        part(SECOND + 300, counter=12, meter_id="load 9"),
        SerialChanged(meter=2, known="load 2", found="load 9"),
    ),
    bad(
        "a part above the connection",
        part(SECOND + 300, counter=12, import_wh=85),
        AboveCapacity(meter=2, register="import", energy_wh=85, capacity_wh=84),
    ),
    bad("a part off its own grid", part(SECOND + 100, counter=12), off_grid(SECOND + 100, 300)),
    bad("a part still running", part(NOW, counter=30), ReadingInFuture(interval_end=NOW + 300, now=NOW)),
    bad(
        "an hour with one quarter told before",
        interval(interval_s=3_600, counter=9),
        ReadingDiffers(meter=2, mtu_start=MTU_START),
    ),
    bad(
        "half an hour above the connection",
        interval(mtu_start=MTU_START - 1_800, interval_s=1_800, counter=9, export_wh=251),
        AboveCapacity(meter=2, register="export", energy_wh=251, capacity_wh=250),
    ),
    bad(
        "half an hour off its own grid",
        interval(mtu_start=MTU_START - 900, interval_s=1_800, counter=9),
        off_grid(MTU_START - 900, 1_800),
    ),
    bad(
        "half an hour with a counter from later",
        interval(mtu_start=MTU_START - 1_800, interval_s=1_800, counter=10),
        CounterReplayed(meter=2, counter=10, known_counter=10),
    ),
    bad(
        "other energy for an interval told before",
        interval(counter=10, import_wh=121),
        ReadingDiffers(meter=2, mtu_start=MTU_START),
    ),
    bad(
        "another counter for an interval told before",
        interval(counter=11),
        ReadingDiffers(meter=2, mtu_start=MTU_START),
    ),
]

OF_MOMENTS = [
    # not a text of three sections
    bad("OCMF and nothing more", "OCMF|", unreadable(SECTIONS)),
    bad("OCMF without a signature", HEAD, unreadable(SECTIONS)),
    bad("OCMF with a key behind", GOOD + "|04ab", unreadable(SECTIONS)),
    bad("OCMF on two lines", HEAD + "\n|" + SIGNATURE, unreadable(SECTIONS)),
    bad("OCMF with a line break at the end", GOOD + "\n", unreadable(SECTIONS)),
    bad("OCMF with a blank before", " " + GOOD, unreadable(NO_JWS_EITHER)),
    bad("OCMF in lower case", GOOD.replace("OCMF", "ocmf"), unreadable(NO_JWS_EITHER)),
    bad("OCMF without a payload", "OCMF||" + SIGNATURE, unreadable()),
    bad("OCMF of an empty object", MOMENTS.sign_text("{}"), unreadable()),
    bad("OCMF of a list", MOMENTS.sign_text("[1]"), unreadable()),
    bad("OCMF nested deeply", MOMENTS.sign_text("[" * 900), unreadable()),
    bad("OCMF that is cut off", GOOD[:-5], unreadable()),
    bad("OCMF that is too long", GOOD + " " * MAX_OCMF_CHARACTERS, unreadable("longer than 2048 characters")),
    bad("OCMF with a byte order mark inside", MOMENTS.sign_text("\ufeff" + HEAD.split("|")[1]), unreadable()),
    bad("OCMF with a field twice", replaced('"PG":"F9"', '"PG":"F8","PG":"F9"'), unreadable("a field twice")),
    bad("OCMF with a value twice", replaced('"RV":1.2', '"RV":1.1,"RV":1.2'), unreadable("a field twice")),
    # another signature
    bad("a digit of the import register flipped", GOOD.replace('"RV":1.2', '"RV":1.3'), FORGED),
    bad("a digit of the counter flipped", GOOD.replace('"PG":"F9"', '"PG":"F8"'), FORGED),
    bad("a digit of the time flipped", GOOD.replace("00:30:00", "00:45:00"), FORGED),
    bad("the unit changed", GOOD.replace('"RU":"kWh"', '"RU":"Wh"', 1), FORGED),
    bad(
        "the registry's number changed to another meter's",
        GOOD.replace('"GS":"3"', '"GS":"2"'),
        SignatureInvalid(meter=2),
    ),
    bad("a blank put into the payload", GOOD.replace('"FV":"1.4",', '"FV":"1.4", '), FORGED),
    bad(
        "the signature of another text",
        signature_section(SD=json.loads(moment(PG="F10").rpartition("|")[2])["SD"]),
        FORGED,
    ),
    bad("another device's moment", INTERVALS.sign_ocmf(payload()), FORGED),
    bad(
        "another algorithm named",
        signature_section(SA="ECDSA-secp256k1-SHA256"),
        FieldRefused(field="SA", expected="ECDSA-secp256r1-SHA256"),
    ),
    bad("an unknown algorithm", signature_section(SA="none"), unreadable()),
    bad("a signature that is not hex", signature_section(SD="so sure"), unreadable()),
    bad("a signature of nothing", signature_section(SD=""), FORGED),
    bad("no signature data", signature_section(SD=...), unreadable()),
    bad("half a signature", signature_section(SD=json.loads(SIGNATURE)["SD"][:60]), FORGED),
    bad("a signature of zeros", signature_section(SD="00" * 70), FORGED),
    bad("a signature in base64", signature_section(SE="base64"), FORGED),
    # another meter
    bad("no number of the registry", moment(GS=...), NUMBER),
    bad("a name instead of the number", moment(GS="gateway 7"), NUMBER),
    bad("the number zero", moment(GS="0"), NUMBER),
    bad("a number with a zero before", moment(GS="03"), NUMBER),
    bad("a number in other digits", moment(GS="٣"), NUMBER),
    bad("a number above 32 bits", moment(GS=str(2**32)), NUMBER),
    bad("a meter nobody registered", moment(GS="77"), UnknownMeter(meter=77)),
    bad("no serial", moment(MS=...), NAME),
    bad("an empty serial", moment(MS=""), NAME),
    bad("a serial too long", moment(MS="m" * 65), NAME),
    bad("a serial with a zero byte", moment(MS="load\u0000 3"), NAME),
    bad("a serial with half a character", moment(MS="load \ud800"), NAME),
    bad("OCMF with half a character", GOOD.replace("load 3", "load \ud800"), unreadable()),
    bad("another serial", moment(MS="load 9"), SerialChanged(meter=3, known="load 3", found="load 9")),
    # the counter
    bad("no pagination", moment(PG=...), unreadable()),
    bad("the pagination of a transaction", moment(PG="T9"), PAGINATION),
    bad("a pagination without a number", moment(PG="F"), unreadable()),
    bad("a pagination in other digits", moment(PG="F٩"), unreadable()),
    bad("the moment before's pagination", moment(PG="F8"), CounterReplayed(meter=3, counter=8, known_counter=8)),
    bad("a pagination from long before", moment(PG="F0"), CounterReplayed(meter=3, counter=0, known_counter=8)),
    bad(
        "a pagination too large",
        moment(PG=f"F{2**53}"),
        OutOfRange(field="counter", value=2**53, lowest=0, highest=MAX_COUNTER),
    ),
    # the registers
    bad("no registers", moment(RD=[]), BOTH_REGISTERS),
    bad("one register", moment(RD=payload()["RD"][:1]), BOTH_REGISTERS),
    bad("three registers", moment(RD=[*payload()["RD"], EXTRA]), BOTH_REGISTERS),
    bad("the import register twice", moment(exported={"RI": "1-0:1.8.0"}), BOTH_REGISTERS),
    bad("a register of power", moment(exported={"RI": "1-0:1.7.0"}), BOTH_REGISTERS),
    bad("a register of a tariff", moment(imported={"RI": "1-0:1.8.1"}), BOTH_REGISTERS),
    bad(
        "import that fell",
        moment(imported={"RV": 1.099}),
        RegisterBackwards(meter=3, register="import", before_wh=1_100, after_wh=1_099),
    ),
    bad(
        "export that fell",
        moment(exported={"RV": 0.509}),
        RegisterBackwards(meter=3, register="export", before_wh=510, after_wh=509),
    ),
    bad(
        "registers reset to zero without a statement",
        both(RV=0),
        RegisterBackwards(meter=3, register="import", before_wh=1_100, after_wh=0),
    ),
    bad(
        "import beyond the connection",
        moment(imported={"RV": 1.351}),
        AboveCapacity(meter=3, register="import", energy_wh=251, capacity_wh=250),
    ),
    bad(
        "export beyond the connection",
        moment(exported={"RV": 0.636}),
        AboveCapacity(meter=3, register="export", energy_wh=126, capacity_wh=125),
    ),
    bad(
        "import beyond the connection after a gap",
        moment(both={"TM": ocmf_moment(FOURTH)}, imported={"RV": 1.601}),
        AboveCapacity(meter=3, register="import", energy_wh=501, capacity_wh=500),
    ),
    bad(
        "a negative register",
        moment(imported={"RV": -1}),
        OutOfRange(field="import_register_wh", value=-1_000, lowest=0, highest=MAX_REGISTER_WH),
    ),
    bad(
        "a register of 13 digits",
        moment(imported={"RV": 10**9}),
        OutOfRange(field="import_register_wh", value=10**12, lowest=0, highest=MAX_REGISTER_WH),
    ),
    bad("a register that is a word", moment(imported={"RV": "much"}), unreadable(TEXT)),
    bad("a register that is missing a value", moment(imported={"RV": None}), VALUE),
    bad("a register that is not a number", moment(imported={"RV": float("nan")}), unreadable(NOT_PLAIN)),
    bad("a register without end", moment(imported={"RV": float("inf")}), unreadable(NOT_PLAIN)),
    bad("a register that is true", moment(imported={"RV": True}), unreadable()),
    bad("a register in other digits", replaced('"RV":1.2', '"RV":"٣.٣"'), unreadable(TEXT)),
    bad("a register with an underscore", replaced('"RV":1.2', '"RV":"1_2"'), unreadable(TEXT)),
    bad("a register beyond all decimals", replaced('"RV":1.2', '"RV":1e999999'), unreadable(NOT_PLAIN)),
    bad("a register with an exponent", replaced('"RV":1.2', '"RV":12e-1'), unreadable(NOT_PLAIN)),
    bad("a register of a thousand digits", replaced('"RV":1.2', '"RV":' + "9" * 1_000), unreadable(NOT_PLAIN)),
    bad("reactive energy", moment(imported={"RU": "kvarh"}), unreadable()),
    bad("a resistance", moment(imported={"RU": "mOhm"}), VALUE),
    bad("no unit", moment(imported={"RU": None}), unreadable()),
    # what the device says of itself
    bad(
        "a value the device timed out on", moment(imported={"ST": "T"}), MeterFault(meter=3, status="T", error_flags="")
    ),
    bad("a value of a broken meter", moment(exported={"ST": "F"}), MeterFault(meter=3, status="F", error_flags="")),
    bad("a value that was manipulated", both(ST="M"), MeterFault(meter=3, status="M", error_flags="")),
    bad("a status nobody knows", moment(imported={"ST": "g"}), unreadable()),
    bad("an error flag of the energy", moment(imported={"EF": "E"}), MeterFault(meter=3, status="G", error_flags="E")),
    bad("an error flag of the time", moment(exported={"EF": "t"}), MeterFault(meter=3, status="G", error_flags="t")),
    bad("an error flag that is half a character", moment(imported={"EF": "\ud800"}), unreadable()),
    bad("a status that is half a character", moment(imported={"ST": "\ud800"}), unreadable()),
    # the moment
    bad("a clock never set", both(TM="2016-06-13T00:30:00,000+0000 U"), ClockNotSynchronised(meter=3, status="U")),
    bad("an informative clock", both(TM="2016-06-13T00:30:00,000+0000 I"), ClockNotSynchronised(meter=3, status="I")),
    bad("a relative clock", both(TM="2016-06-13T00:30:00,000+0000 R"), ClockNotSynchronised(meter=3, status="R")),
    bad(
        "a clock that says nothing of itself",
        both(TM="2016-06-13T00:30:00,000+0000"),
        ClockNotSynchronised(meter=3, status="U"),
    ),
    bad(
        "a time without an offset",
        both(TM="2016-06-13T00:30:00,000 S"),
        FieldRefused(field="TM", expected="a time with its offset from UTC"),
    ),
    bad("a day that does not exist", both(TM="2016-06-31T00:30:00,000+0000 S"), unreadable()),
    bad("an hour that does not exist", both(TM="2016-06-13T24:30:00,000+0000 S"), unreadable()),
    bad("two moments in one text", moment(exported={"TM": ocmf_moment(FOURTH)}), ONE_SECOND),
    bad("a fraction of a second", both(TM="2016-06-13T00:30:00,500+0000 S"), ONE_SECOND),
    bad("a second off the grid", both(TM="2016-06-13T00:30:01,000+0000 S"), off_grid(THIRD + 1)),
    bad("an offset that leaves the grid", both(TM="2016-06-13T00:37:00,000+0006 S"), off_grid(THIRD + 60)),
    bad("a moment to come", both(TM=ocmf_moment(NOW + 900)), ReadingInFuture(interval_end=NOW + 900, now=NOW)),
    bad(
        "a moment too long ago",
        both(TM=ocmf_moment(NOW - 604_800 - 900)),
        ReadingTooOld(interval_end=NOW - 604_800 - 900, now=NOW, greatest_age_s=604_800),
    ),
    bad(
        "the last moment of time",
        both(TM="9999-12-31T23:45:00,000+0000 S"),
        ReadingInFuture(interval_end=253_402_299_900, now=NOW),
    ),
    bad("the beginning of time", both(TM="1970-01-01T00:00:00,000+0000 S"), off_grid(0)),
    # what was told before
    bad(
        "other registers of a moment told before",
        moment(PG="F8", both={"TM": ocmf_moment(SECOND)}),
        RegistersDiffer(meter=3, taken_at=SECOND),
    ),
    bad(
        "the same registers under another counter",
        moment(PG="F9", both={"TM": ocmf_moment(SECOND)}, imported={"RV": 1.1}, exported={"RV": 0.51}),
        RegistersDiffer(meter=3, taken_at=SECOND),
    ),
]

BAD_TEXTS = [*OF_INTERVALS, *OF_MOMENTS]


def as_expected(error: GridLedgerError, expected: GridLedgerError) -> bool:
    """The same error with the same values; of pyocmf's own words only that they are pyocmf's."""
    if type(error) is not type(expected):
        return False
    if isinstance(error, ReadingUnreadable) and isinstance(expected, ReadingUnreadable):
        return error.problem.startswith(expected.problem)
    return error.values() == expected.values()
