"""ABI encoding without checks, for tests that send a hundred thousand calls; a test holds it against the codec."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["arguments_encoder"]

WORD = 32
MODULUS = 2**256


@dataclass(frozen=True)
class _Encoder:
    """How to encode one type; a static one takes `size` bytes in the head, a dynamic one an offset."""

    encode: Callable[[Any], bytes]
    size: int = WORD
    dynamic: bool = False


def arguments_encoder(inputs: Sequence[Mapping[str, Any]]) -> Callable[[Sequence[Any]], bytes]:
    """Encoder of the arguments of an ABI entry; structs come as sequences, or as mappings in the order of the ABI."""
    parts = [_encoder(item, str(item["type"])) for item in inputs]
    return lambda values: _joined(parts, values)


def _encoder(item: Mapping[str, Any], kind: str) -> _Encoder:
    if kind.endswith("[]"):
        element = _encoder(item, kind[:-2])
        return _Encoder(lambda values: _uint(len(values)) + _joined([element] * len(values), values), dynamic=True)
    if kind == "tuple":
        parts = [_encoder(part, str(part["type"])) for part in item["components"]]
        dynamic = any(part.dynamic for part in parts)
        return _Encoder(lambda values: _joined(parts, _row(values)), sum(part.size for part in parts), dynamic)
    if kind in ("bytes", "string"):
        return _Encoder(_text, dynamic=True)
    if kind == "address":
        return _Encoder(lambda value: bytes(12) + bytes.fromhex(value[2:]))
    if kind.startswith("bytes"):
        return _Encoder(lambda value: bytes(value.ljust(WORD, b"\0")))
    return _Encoder(_uint)


def _uint(value: int) -> bytes:
    return (value % MODULUS).to_bytes(WORD)


def _row(values: Any) -> Sequence[Any]:
    return list(values.values()) if isinstance(values, Mapping) else values


def _text(value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _uint(len(data)) + data + bytes(-len(data) % WORD)


def _joined(parts: Sequence[_Encoder], values: Sequence[Any]) -> bytes:
    """Heads, then tails: dynamic values are pointed to from the head."""
    heads, tails = [], []
    offset = sum(WORD if part.dynamic else part.size for part in parts)
    for part, value in zip(parts, values, strict=True):
        data = part.encode(value)
        if not part.dynamic:
            heads.append(data)
            continue
        heads.append(_uint(offset))
        tails.append(data)
        offset += len(data)
    return b"".join((*heads, *tails))
