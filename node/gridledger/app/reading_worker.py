"""A process that checks signed readings for the node: `python -m gridledger.app.reading_worker DESCRIPTOR`.

It remembers nothing but public keys, and ends when the node closes its end of the socket. Between the two what was
checked travels as plain tuples, without what the node has anyway; objects of their own would cost more than that.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from multiprocessing.connection import Connection
from operator import attrgetter
from typing import Any

from gridledger.errors import GridLedgerError
from gridledger.metering.model import DeviceKey, Reading
from gridledger.metering.registers import RegisterReading
from gridledger.metering.verification import CheckedText, GenuineReading, GenuineRegisters, check_texts

__all__ = ["PackedText", "answer", "packed", "unpacked"]

_READING = tuple(field.name for field in fields(Reading))
_REGISTERS = tuple(field.name for field in fields(RegisterReading))
_reading_values, _register_values = attrgetter(*_READING), attrgetter(*_REGISTERS)

PackedText = GridLedgerError | tuple[str | None, tuple[Any, ...]]  # values, and the form it is kept in if another


def packed(checked: CheckedText) -> PackedText:
    """What the node cannot know of a checked text."""
    if isinstance(checked, GridLedgerError):
        return checked
    if isinstance(checked, GenuineRegisters):
        return checked.kept_text, _register_values(checked.registers)
    return None, _reading_values(checked.reading)


def unpacked(answers: Sequence[PackedText], texts: Sequence[str], keys: Mapping[int, DeviceKey]) -> list[CheckedText]:
    """The checked texts behind the answers about them."""
    return [_unpacked(one, text, keys) for one, text in zip(answers, texts, strict=True)]


def answer(connection: Connection) -> None:
    """Check batch after batch until the other end is closed: texts, and x and y of their meters' device keys."""
    while True:
        try:
            texts, coordinates = connection.recv()
            keys = {meter: DeviceKey(x=x, y=y) for meter, (x, y) in coordinates.items()}
            connection.send([packed(checked) for checked in check_texts(texts, keys)])
        except (EOFError, OSError):
            return


def _unpacked(answer: PackedText, text: str, keys: Mapping[int, DeviceKey]) -> CheckedText:
    if isinstance(answer, GridLedgerError):
        return answer
    kept_text, values = answer
    if kept_text is None:
        reading = Reading(**dict(zip(_READING, values, strict=True)))
        return GenuineReading(text=text, device_key=keys[reading.meter], reading=reading)
    registers = RegisterReading(**dict(zip(_REGISTERS, values, strict=True)))
    return GenuineRegisters(text=text, device_key=keys[registers.meter], registers=registers, kept_text=kept_text)


if __name__ == "__main__":
    answer(Connection(int(sys.argv[1])))
