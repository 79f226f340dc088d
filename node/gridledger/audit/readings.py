"""Checks readings: signed by the registered device, exported as signed, and anchored on chain."""

import base64
import binascii
from collections import defaultdict
from collections.abc import Mapping, Sequence

from gridledger.audit.evidence import Evidence
from gridledger.audit.findings import Findings
from gridledger.audit.model import Rule, meter_name
from gridledger.audit.rows import ReadingRow
from gridledger.errors import GridLedgerError
from gridledger.metering.errors import SignatureInvalid
from gridledger.metering.merkle import MerkleTree, leaf
from gridledger.metering.model import DeviceKey, Reading
from gridledger.metering.texts import is_pair, peek_reading_meter, verify_reading

__all__ = ["check_anchors", "check_columns", "check_reading", "check_reading_intervals"]


_NO_SPARE_BITS = "without spare bits"


def check_reading(row: ReadingRow, device_keys: Mapping[int, Sequence[DeviceKey]], findings: Findings) -> None:
    """A device key of the meter named in the text signed it, and the columns say what the text says."""
    record = meter_name(row.meter, row.interval_start)
    try:
        signed, text = _signed(row.text, device_keys)
    except GridLedgerError as error:
        findings.report(Rule.READING_SIGNATURE, record, "signed by a device key of its meter", error)
        return
    spare = _spare_bits(row.text) if not is_pair(row.text) else _NO_SPARE_BITS if text == row.text else "another form"
    findings.compare(Rule.READING_SIGNATURE, record, _NO_SPARE_BITS, spare)
    _compare_columns(row, signed, findings)


def check_columns(row: ReadingRow, device_keys: Mapping[int, Sequence[DeviceKey]], findings: Findings) -> None:
    """The columns say what the text says, if a known key signed it; earlier keys of a device cannot be known here."""
    try:
        signed, _ = _signed(row.text, device_keys)
    except SignatureInvalid:
        return
    except GridLedgerError as error:
        findings.report(Rule.READING_SIGNATURE, meter_name(row.meter, row.interval_start), "a signed reading", error)
        return
    _compare_columns(row, signed, findings)


def _signed(text: str, device_keys: Mapping[int, Sequence[DeviceKey]]) -> tuple[Reading, str]:
    """The reading in the text under any key of its meter, the newest first. Raises the errors of `verify_reading`."""
    meter = peek_reading_meter(text)
    error: GridLedgerError = SignatureInvalid(meter=meter)
    for key in reversed(device_keys.get(meter, ())):
        try:
            return verify_reading(text, key)
        except SignatureInvalid as refused:
            error = refused
    raise error


def _compare_columns(row: ReadingRow, signed: Reading, findings: Findings) -> None:
    record = meter_name(signed.meter, signed.mtu_start)
    stated = (
        ("meter", row.meter, signed.meter),
        ("meter_id", row.meter_id, signed.meter_id),
        ("interval_start", row.interval_start, signed.mtu_start),
        ("interval_seconds", row.interval_seconds, signed.interval_s),
        ("import_wh", row.import_wh, signed.import_wh),
        ("export_wh", row.export_wh, signed.export_wh),
        ("counter", row.counter, signed.counter),
    )
    for column, found, expected in stated:
        if found != expected:
            findings.report(Rule.READING_COLUMN, f"{record}, {column}", expected, found)
    findings.count(Rule.READING_COLUMN)


def _spare_bits(text: str) -> str:
    """A base64url segment's last character can hold bits that mean nothing; a signer leaves them zero."""
    for segment in text.split("."):
        try:
            content = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        except (binascii.Error, ValueError):
            return "not base64url"
        if base64.urlsafe_b64encode(content).rstrip(b"=").decode() != segment:
            return "spare bits set"
    return _NO_SPARE_BITS


def check_reading_intervals(evidence: Evidence) -> None:
    """Readings cover exactly one MTU, and no meter and MTU has two."""
    length_s, findings = evidence.facts.mtu_length_s, evidence.findings
    findings.compare(
        Rule.READING_COLUMN,
        "meters and MTUs of readings.csv, each once",
        len(evidence.run.readings),
        len(evidence.readings),
    )
    seen: set[tuple[int, int]] = set()
    for row in evidence.run.readings:
        key, record = (row.meter, row.interval_start), meter_name(row.meter, row.interval_start)
        if key in seen:
            findings.report(Rule.READING_COLUMN, record, "one row", "another one")
        seen.add(key)
        if row.interval_seconds != length_s or row.interval_start % length_s:
            findings.report(Rule.READING_COLUMN, record, f"one MTU of {length_s} s", f"{row.interval_seconds} s")


def check_anchors(evidence: Evidence) -> None:
    """The Merkle root of every batch, rebuilt from the rows, is the anchored one, with as many readings."""
    findings, batches = evidence.findings, defaultdict[int, list[ReadingRow]](list)
    for row in evidence.run.readings:
        if row.anchor_sequence is not None:
            batches[row.anchor_sequence].append(row)
    gone = defaultdict[int, dict[tuple[int, int], bytes]](dict)
    for key, erased in evidence.erased.items():
        if erased.anchor_sequence is not None:
            gone[erased.anchor_sequence][key] = erased.leaf
    sequences = [anchor.sequence for anchor in evidence.history.anchors]
    findings.compare(Rule.ANCHOR, "numbers of batches", list(range(len(sequences))), sequences)
    anchors = {anchor.sequence: anchor for anchor in evidence.history.anchors}
    for sequence in sorted(anchors.keys() | batches.keys() | gone.keys()):
        anchor, batch, leaves = anchors.get(sequence), batches.get(sequence, []), gone.get(sequence, {})
        expected = None if anchor is None else (anchor.root, anchor.reading_count)
        found = (_root(batch, leaves), len(batch) + len(leaves)) if batch or leaves else None
        if not findings.compare(Rule.ANCHOR, f"batch {sequence}", expected, found):
            _name_readings(evidence, batch, anchored=anchor is not None)


def _name_readings(evidence: Evidence, batch: Sequence[ReadingRow], *, anchored: bool) -> None:
    """A root cannot say which of its readings differs, so all of them are named."""
    for row in batch:
        record = meter_name(row.meter, row.interval_start)
        expected = "part of the anchored batch" if anchored else "part of a batch on chain"
        found = f"one of {len(batch)} that give another root" if anchored else f"batch {row.anchor_sequence}"
        evidence.findings.report(Rule.ANCHOR, record, expected, found)


def _root(batch: Sequence[ReadingRow], erased_leaves: Mapping[tuple[int, int], bytes]) -> str:
    try:
        leaves = {
            (row.meter, row.interval_start): leaf(row.meter, row.interval_start, row.import_wh, row.export_wh, row.salt)
            for row in batch
        }
        return "0x" + MerkleTree(found for _, found in sorted({**leaves, **erased_leaves}.items())).root.hex()
    except GridLedgerError as error:
        return str(error)
