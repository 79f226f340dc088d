"""P1 telegrams become register readings where MTUs meet; everything else is named."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.metering.imports.telegrams import REGISTERS, SERIAL, crc16_arc, telegram

from gridledger.errors import GridLedgerError
from gridledger.metering.imports.p1 import MAX_TELEGRAM_CHARACTERS, read_telegram, split_telegrams
from gridledger.metering.registers import RegisterReading
from gridledger.text_files import bounded_lines
from gridledger.units import format_utc

WINTER, SUMMER = "170102192000W", "170702192000S"


def read(text: str, serial: str = SERIAL) -> RegisterReading | None:
    return read_telegram(text, meter=7, serial=serial, mtu_length_s=900)


def split(text: str) -> list[tuple[int, str]]:
    source = io.StringIO(text, newline="")
    return [(one.line_number, one.text) for one in split_telegrams(bounded_lines(source))]


def without(name: str) -> dict[str, str]:
    return {obis: value for obis, value in REGISTERS.items() if obis != name}


def test_the_tests_crc_is_the_one_the_standard_names() -> None:
    assert crc16_arc(b"123456789") == 0xBB3D


@pytest.mark.parametrize("version", [42, 50])
@pytest.mark.parametrize(
    ("time", "moment"),
    [
        (WINTER, "2017-01-02T18:20:00Z"),
        (SUMMER, "2017-07-02T17:20:00Z"),
        ("171029023000S", "2017-10-29T00:30:00Z"),
        ("171029023000W", "2017-10-29T01:30:00Z"),
    ],
)
def test_both_tariffs_are_summed_at_the_moment_the_telegram_says(version: int, time: str, moment: str) -> None:
    registers = read_telegram(telegram(time, version=version), meter=7, serial=SERIAL, mtu_length_s=300)
    assert registers is not None
    assert (registers.import_register_wh, registers.export_register_wh) == (120_525, 3_750)
    assert (registers.meter, registers.meter_id, format_utc(registers.taken_at)) == (7, SERIAL, moment)
    assert registers.counter == registers.taken_at // 300


def test_between_two_mtus_nothing_comes_of_it() -> None:
    assert read(telegram("170102192001W")) is None
    assert read(telegram("170102192000W")) is None
    assert read(telegram("170102191500W")) is not None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (telegram("170102191500W").replace("100.500", "100.501"), "TelegramChecksumWrong"),
        (telegram("170102191500W").replace("\r\n", "\n"), "TelegramChecksumWrong"),
        (telegram("170102191500W")[:-6] + "\r\n", "TelegramUnreadable"),
        (telegram("170102191500W")[:200], "TelegramUnreadable"),
        (telegram("170102191500W")[1:], "TelegramUnreadable"),
        (telegram("170102191500W", serial="E1"), "P1SerialForeign"),
        (telegram("170102191500W", without("1-0:1.8.2")), "P1RegistersMissing"),
        (telegram("170102191500W", without("1-0:2.8.1")), "P1RegistersMissing"),
        (telegram("170102191500W", REGISTERS | {"1-0:1.8.1": "000100500*Wh"}), "TelegramUnreadable"),
        (telegram("170102191500W", REGISTERS | {"1-0:1.8.1": "000100.5005*kWh"}), "TelegramUnreadable"),
        (telegram("170102191500W", REGISTERS | {"1-0:1.8.1": "-00100.500*kWh"}), "TelegramUnreadable"),
        (telegram("170102191500W", REGISTERS | {"1-0:1.8.1": "1e5*kWh*kWh"}), "TelegramUnreadable"),
        (telegram("170102191500W", REGISTERS | {"1-0:1.8.1": "nan*kWh"}), "TelegramUnreadable"),
        (telegram("170102191500W", REGISTERS | {"1-0:1.8.1": ""}), "TelegramUnreadable"),
        (telegram("170102191500W", REGISTERS | {"1-0:1.8.1": "999999999999*kWh"}), "OutOfRange"),
        (telegram("170102191500S"), "P1TimeRefused"),
        (telegram("170702191500W"), "P1TimeRefused"),
        (telegram("170326023000S"), "P1TimeRefused"),
        (telegram("170102191500"), "P1TimeRefused"),
        (telegram("171302191500W"), "P1TimeRefused"),
        (telegram("170102191500W", more="0-0:96.13.0(" + "30" * MAX_TELEGRAM_CHARACTERS + ")"), "TelegramUnreadable"),
        ("", "TelegramUnreadable"),
    ],
)
def test_a_bad_telegram_is_a_typed_error(text: str, error: str) -> None:
    with pytest.raises(GridLedgerError) as raised:
        read(text)
    assert type(raised.value).__name__ == error


def test_telegrams_are_told_apart_and_what_is_cut_off_is_not_lost() -> None:
    one, other = telegram(WINTER), telegram(SUMMER)
    cut = one[:120]
    lines = one.count("\r\n")
    assert split(one + other) == [(1, one), (lines + 1, other)]
    assert split(f"\r\n{one}\r\n") == [(2, one)]
    assert split(f"{cut}\r\n{one}") == [(1, f"{cut}\r\n"), (cut.count("\r\n") + 2, one)]
    assert split(one[40:] + other)[1:] == [(one[40:].count("\r\n") + 1, other)]
    assert split(one + cut) == [(1, one), (lines + 1, cut)]


def test_a_telegram_without_an_end_takes_no_memory() -> None:
    ((_, text),) = split("/x\r\n" + "a" * 50 * MAX_TELEGRAM_CHARACTERS)
    assert len(text) <= MAX_TELEGRAM_CHARACTERS + 1


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_changed_telegram_says_the_same_or_is_a_typed_error(data: st.DataObject) -> None:
    text = telegram("170102191500W")
    place = data.draw(st.integers(0, len(text) - 1))
    changed = text[:place] + data.draw(st.characters(codec="latin-1")) + text[place + 1 :]
    try:
        assert read(changed) == read(text)
    except GridLedgerError:
        return


@given(st.dictionaries(st.sampled_from([*REGISTERS, "0-0:1.0.0", "0-0:96.1.1", "1-0:1.8.0"]), st.text(max_size=20)))
@settings(max_examples=300, deadline=None)
def test_no_content_makes_an_untyped_error(registers: dict[str, str]) -> None:
    content = "\r\n".join(["/x", *(f"{obis}({value})" for obis, value in registers.items()), "!"])
    signed = f"{content}{crc16_arc(bytes(ord(one) & 0xFF for one in content)):04X}\r\n"
    for text in (signed, content):
        try:
            read(text)
        except GridLedgerError:
            continue
