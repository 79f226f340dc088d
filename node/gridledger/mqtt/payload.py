"""The texts in a message: one, one on each line (plain or as JSON strings), or a JSON array of them."""

import json

from gridledger.metering.errors import BatchTooLarge
from gridledger.metering.service import MAX_BATCH_READINGS
from gridledger.mqtt.errors import PayloadTooLarge, PayloadUnreadable

__all__ = ["MAX_PAYLOAD_BYTES", "texts_of"]

MAX_PAYLOAD_BYTES = 1024 * 1024
_BLANKS = " \t\r\n"


def texts_of(payload: bytes) -> tuple[str, ...]:
    """1 to 500 texts, whatever they say. Raises PayloadTooLarge (above 1 MiB), PayloadUnreadable, BatchTooLarge."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise PayloadTooLarge(length_bytes=len(payload), highest_bytes=MAX_PAYLOAD_BYTES)
    try:
        content = payload.decode().strip(_BLANKS)
    except UnicodeDecodeError as error:
        raise PayloadUnreadable(problem=f"byte {error.start} is not UTF-8") from None
    texts = _array(content) if content.startswith("[") else _lines(content)
    if not texts:
        raise PayloadUnreadable(problem="nothing in it")
    if len(texts) > MAX_BATCH_READINGS:
        raise BatchTooLarge(count=len(texts), highest=MAX_BATCH_READINGS)
    return texts


def _array(content: str) -> tuple[str, ...]:
    texts = _json(content)
    if not isinstance(texts, list):
        raise PayloadUnreadable(problem="not an array")
    return tuple(_string(text) for text in texts)


def _lines(content: str) -> tuple[str, ...]:
    lines = (line.strip(_BLANKS) for line in content.split("\n"))
    return tuple(_string(_json(line)) if line.startswith('"') else line for line in lines if line)


def _json(content: str) -> object:
    try:
        value: object = json.loads(content)
    except (ValueError, RecursionError):
        raise PayloadUnreadable(problem="not JSON") from None
    return value


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise PayloadUnreadable(problem="an element that is no text")
    return value
