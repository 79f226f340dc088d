"""Signed register texts as the meter ledger re-verifies them: where their values stand, and what is around those.

The contract does not parse JSON. It is told where the five changing values of a text stand (`SignedRegisters.sol`), and
compares all bytes around them with a template registered for the device.
"""

import re
from dataclasses import dataclass

import sha3
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from gridledger.metering.errors import TextNotProvable
from gridledger.metering.ocmf import EXPORT_OBIS, IMPORT_OBIS, signature_of

__all__ = ["SignedEvidence", "signed_evidence"]

MAX_SPAN_END = 2**16 - 1
_VALUES = re.compile(
    rb'"PG":"F(?P<counter>[0-9]{1,16})".*?'
    rb'"TM":"(?P<import_moment>[^"]{28}) S","RV":(?P<import_value>[0-9.]{1,20}),"RI":"%b","RU":"(?P<unit>k?Wh)".*?'
    rb'"TM":"(?P<export_moment>[^"]{28}) S","RV":(?P<export_value>[0-9.]{1,20}),"RI":"%b","RU":"(?P=unit)"'
    % (re.escape(IMPORT_OBIS.encode()), re.escape(EXPORT_OBIS.encode())),
    re.DOTALL,
)
_SPANS = ("counter", "import_moment", "import_value", "export_moment", "export_value")
_DECIMALS = {b"kWh": 3, b"Wh": 0}


@dataclass(frozen=True, kw_only=True)
class SignedEvidence:
    """A signed text in the form of the contract's `SignedText`, and the hash of its device's template.

    spans: start and length of each value, 16 bits each, the first value lowest; decimals: 3 for kWh, 0 for Wh; r and s
    of the signature, 32 bytes each.
    """

    payload: bytes
    spans: int
    decimals: int
    r: bytes
    s: bytes
    template_hash: bytes


def signed_evidence(text: str) -> SignedEvidence:
    """What a contract needs to verify an OCMF text. Raises ReadingUnreadable, TextNotProvable.

    The text must hold pagination, import register and export register in this order, each with moment, value and
    register name side by side, as devices of this market write them.
    """
    signature = signature_of(text)
    payload = text.split("|", 2)[1].encode()
    found = _VALUES.search(payload)
    if found is None or found.end("export_value") > MAX_SPAN_END:
        raise TextNotProvable(expected="pagination, import register, export register, in this order")
    places = [found.span(name) for name in _SPANS]
    decimals = _DECIMALS[found["unit"]]
    r, s = decode_dss_signature(signature)
    return SignedEvidence(
        payload=payload,
        spans=sum((start | (end - start) << 16) << 32 * index for index, (start, end) in enumerate(places)),
        decimals=decimals,
        r=r.to_bytes(32),
        s=s.to_bytes(32),
        template_hash=_template_hash(payload, places, decimals),
    )


def _template_hash(payload: bytes, places: list[tuple[int, int]], decimals: int) -> bytes:
    begins, ends = [0, *(end for _, end in places)], [*(start for start, _ in places), len(payload)]
    pieces = [payload[begin:end] for begin, end in zip(begins, ends, strict=True)]
    digest: bytes = sha3.keccak_256(b"".join(piece + b"\0" for piece in pieces) + bytes((decimals,))).digest()
    return digest
