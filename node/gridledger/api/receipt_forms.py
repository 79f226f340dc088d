"""Trade receipts as JSON documents, written and read back; numbers that may need more than 53 bits are texts."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gridledger.audit.trade_receipt import FORMAT, TradeReceipt
from gridledger.errors import InvalidInput

__all__ = ["LARGEST_RECEIPT_BYTES", "ReceiptUnreadable", "parse_receipt", "receipt_document"]

LARGEST_RECEIPT_BYTES = 4 * 1024 * 1024
_BEYOND_JSON = ("_microcents", "_ugco2", "salt")
_LONGEST_REASON = 200
_ADAPTER = TypeAdapter(TradeReceipt)


@dataclass(kw_only=True, eq=False)
class ReceiptUnreadable(InvalidInput):
    """The file is not a trade receipt of this version."""

    reason: str


def receipt_document(receipt: TradeReceipt) -> dict[str, Any]:
    """The receipt as JSON-able values."""
    document = _plain(asdict(receipt))
    assert isinstance(document, dict)
    return document


def parse_receipt(content: bytes) -> TradeReceipt:
    """The receipt in a file, which must say nothing else. Raises ReceiptUnreadable."""
    if len(content) > LARGEST_RECEIPT_BYTES:
        raise ReceiptUnreadable(reason=f"longer than {LARGEST_RECEIPT_BYTES} bytes")
    try:
        document = json.loads(content)
        receipt = _ADAPTER.validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ReceiptUnreadable(reason=f"{place}: {first['msg']}"[:_LONGEST_REASON]) from None
    except (ValueError, RecursionError):
        raise ReceiptUnreadable(reason="not JSON") from None
    if receipt.format != FORMAT:
        raise ReceiptUnreadable(reason=f"format {receipt.format!r}"[:_LONGEST_REASON])
    if receipt_document(receipt) != document:
        raise ReceiptUnreadable(reason="values in another form, or that are no part of a receipt")
    return receipt


def _plain(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry, key) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, bool) or not isinstance(value, int):
        return str(value) if isinstance(value, str) else value
    return str(int(value)) if name.endswith(_BEYOND_JSON) else int(value)
