"""Checks readings: signed by the registered device, exported as signed, and anchored on chain."""

import base64
import binascii
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gridledger.audit.evidence import Evidence
from gridledger.audit.findings import Findings
from gridledger.audit.model import Rule, meter_name
from gridledger.audit.rows import MeterEventRow, ReadingRow
from gridledger.errors import GridLedgerError
from gridledger.merkle import MerkleTree
from gridledger.metering.errors import SignatureInvalid
from gridledger.metering.events import MeterEvent, MeteringDomain, event_signer
from gridledger.metering.lengths import split_reading
from gridledger.metering.merkle import leaf
from gridledger.metering.model import DeviceKey, Reading
from gridledger.metering.texts import is_pair, peek_reading_meter, verify_reading

__all__ = [
    "MeterHistory",
    "check_anchors",
    "check_columns",
    "check_reading",
    "check_reading_intervals",
    "stated_events",
]


_NO_SPARE_BITS = "without spare bits"


@dataclass(frozen=True, kw_only=True)
class MeterHistory:
    """What is known of meters, by their numbers: device keys with the newest last, and stated events."""

    device_keys: Mapping[int, Sequence[DeviceKey]]
    events: Mapping[int, Sequence[MeterEvent]]
    mtu_length_s: int | None

    def read(self, row: ReadingRow) -> tuple[Reading, str]:
        """What the text of a row says of its MTU, and its one form. Raises the errors of `verify_reading`."""
        meter = peek_reading_meter(row.text)
        keys = tuple(reversed(self.device_keys.get(meter, ())))
        signed, text = verify_reading(row.text, *keys, events=self.events.get(meter, ()))
        length_s = self.mtu_length_s or row.interval_seconds
        aligned = not (length_s < 1 or signed.interval_s % length_s or signed.mtu_start % signed.interval_s)
        if aligned and signed.interval_s > length_s:
            shares = {share.mtu_start: share for share in split_reading(signed, length_s)}
            signed = shares.get(row.interval_start, signed)
        return signed, text


def check_reading(row: ReadingRow, known: MeterHistory, findings: Findings) -> None:
    """Device keys of the meter named in the text signed it, and the columns say what the text says of the MTU."""
    record = meter_name(row.meter, row.interval_start)
    try:
        signed, text = known.read(row)
    except GridLedgerError as error:
        findings.report(Rule.READING_SIGNATURE, record, "signed by a device key of its meter", error)
        return
    spare = _spare_bits(row.text) if not is_pair(row.text) else _NO_SPARE_BITS if text == row.text else "another form"
    findings.compare(Rule.READING_SIGNATURE, record, _NO_SPARE_BITS, spare)
    _compare_columns(row, signed, findings)


def check_columns(row: ReadingRow, known: MeterHistory, findings: Findings) -> None:
    """The columns say what the text says, if a known key signed it; earlier keys of a device cannot be known here."""
    try:
        signed, _ = known.read(row)
    except SignatureInvalid:
        return
    except GridLedgerError as error:
        findings.report(Rule.READING_SIGNATURE, meter_name(row.meter, row.interval_start), "a signed reading", error)
        return
    _compare_columns(row, signed, findings)


def stated_events(
    rows: Sequence[MeterEventRow], domain: MeteringDomain | None, operator_of: Mapping[int, str], findings: Findings
) -> dict[int, list[MeterEvent]]:
    """The events by meter, each checked: possible, the only one of its moment, and signed by the grid operator.

    `operator_of` names the grid operator by meter; where it names none, only what can be judged is.
    """
    events: defaultdict[int, dict[int, MeterEvent]] = defaultdict(dict)
    for row in rows:
        record = f"{meter_name(row.meter, row.happened_at)}, {row.kind.name.lower()}"
        try:
            event = row.event()
            signer = None if domain is None else event_signer(domain, event, row.signature)
        except GridLedgerError as error:
            findings.report(Rule.METER_EVENT, record, "a signed event", error)
            continue
        if domain is not None:
            findings.compare(Rule.METER_EVENT, record, operator_of.get(row.meter), signer)
        if row.happened_at in events[row.meter]:
            findings.report(Rule.METER_EVENT, record, "one row", "another one")
        events[row.meter][row.happened_at] = event
    return {meter: list(found.values()) for meter, found in events.items()}


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
    for segment in text.replace("+", ".").split("."):
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
