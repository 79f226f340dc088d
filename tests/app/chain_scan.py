"""Searches everything a chain holds for what must not be there: call data, events, code and storage."""

import base64
import gzip
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx

__all__ = ["Finding", "Place", "Secrets", "chain_places", "scan"]

WINDOW_BYTES = 16
WORD_BYTES, PACKED_BYTES = 32, 8


class Place(NamedTuple):
    """Some bytes of the chain, and where they are."""

    name: str
    content: bytes


class Finding(NamedTuple):
    """A secret in a place."""

    secret: str
    place: str


@dataclass
class Secrets:
    """What is searched for, by name: windows of long values, short ones as a whole."""

    needles: dict[bytes, str] = field(default_factory=dict)

    def add_bytes(self, name: str, value: bytes) -> None:
        """Every 16 bytes of a value, or all of a shorter one; also as hex text."""
        for form in (value, value.hex().encode()):
            last = max(1, len(form) - WINDOW_BYTES + 1)
            for start in range(last):
                self.needles.setdefault(form[start : start + WINDOW_BYTES], name)

    def add_text(self, name: str, text: str) -> None:
        """A text, and what its base64url segments hold."""
        self.add_bytes(name, text.encode())
        for segment in text.split(".") if text.startswith("eyJ") else ():
            self.add_bytes(name, base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))

    def add_number(self, name: str, value: int) -> None:
        """A value as the last 8 bytes of a word or a packed field; a large one in its own bytes and digits too."""
        self.needles.setdefault(value.to_bytes(PACKED_BYTES), name)
        if value >= 1 << 32:
            self.needles.setdefault(value.to_bytes((value.bit_length() + 7) // 8), name)
            for digits in (str(value), f"{value // 1_000}.{value % 1_000:03d}"):
                self.needles.setdefault(digits.encode(), name)


def scan(places: Iterable[Place], secrets: Secrets) -> set[Finding]:
    """Every secret that stands anywhere in any place."""
    by_length: defaultdict[int, dict[bytes, str]] = defaultdict(dict)
    for needle, name in secrets.needles.items():
        by_length[len(needle)][needle] = name
    return {
        Finding(found, place.name)
        for place in places
        for length, needles in by_length.items()
        for start in range(len(place.content) - length + 1)
        if (found := needles.get(place.content[start : start + length])) is not None
    }


def chain_places(url: str) -> Iterator[Place]:
    """Call data, raw events, code and storage of a chain, up to its newest block."""
    with httpx.Client(trust_env=False, timeout=60) as http:

        def call(method: str, *params: object) -> Any:
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
            answer = http.post(url, json=body).json()
            assert "result" in answer, answer
            return answer["result"]

        for number in range(int(call("eth_blockNumber"), 16) + 1):
            block = call("eth_getBlockByNumber", hex(number), True)
            yield Place(f"header of block {number}", _bytes(block["extraData"]))
            for transaction in block["transactions"]:
                yield Place(f"call data in block {number}", _bytes(transaction["input"]))
            for receipt in call("eth_getBlockReceipts", hex(number)):
                yield from _events(number, receipt["logs"])
        yield from _state(call("anvil_dumpState"))


def _events(number: int, logs: Iterable[Mapping[str, Any]]) -> Iterator[Place]:
    for log in logs:
        yield Place(f"event data in block {number}", _bytes(log["data"]))
        for topic in log["topics"]:
            yield Place(f"event topic in block {number}", _bytes(topic))


def _state(dumped: str) -> Iterator[Place]:
    accounts: Mapping[str, Any] = json.loads(gzip.decompress(_bytes(dumped)))["accounts"]
    for address, account in accounts.items():
        yield Place(f"code of {address}", _bytes(account["code"]))
        for slot, value in account["storage"].items():
            word = int(value, 16).to_bytes(WORD_BYTES)
            yield Place(f"storage of {address}", int(slot, 16).to_bytes(WORD_BYTES))
            yield Place(f"storage of {address}", word)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])
