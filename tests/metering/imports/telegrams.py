"""P1 telegrams composed for the tests, with a CRC computed here."""

from collections.abc import Mapping

SERIAL = "E0044007131673016"
REGISTERS = {
    "1-0:1.8.1": "000100.500*kWh",
    "1-0:1.8.2": "000020.025*kWh",
    "1-0:2.8.1": "000003.000*kWh",
    "1-0:2.8.2": "000000.750*kWh",
}


def crc16_arc(data: bytes) -> int:
    """CRC-16/ARC, whose check value over 123456789 is 0xBB3D."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def telegram(
    time: str, registers: Mapping[str, str] = REGISTERS, *, version: int = 50, serial: str = SERIAL, more: str = ""
) -> str:
    """A telegram as a port sends it, with lines that nobody here asks for."""
    lines = [
        "/GLM5gridledger",
        "",
        f"1-3:0.2.8({version})",
        f"0-0:1.0.0({time})",
        f"0-0:96.1.1({serial.encode().hex()})",
        *(f"{obis}({value})" for obis, value in registers.items()),
        "0-0:96.14.0(0002)",
        "1-0:1.7.0(00.244*kW)",
        "1-0:99.97.0(1)(0-0:96.7.19)(000104180320W)(0000237126*s)",
        "0-1:24.1.0(003)",
        "0-1:96.1.0(3232323241424344313233343536373839)",
        "0-1:24.2.1(170102161005W)(00000.107*m3)",
        *([more] if more else []),
        "!",
    ]
    content = "\r\n".join(lines)
    return f"{content}{crc16_arc(content.encode()):04X}\r\n"
