"""`gridledger meter post` and `meter p1`: a gateway signs what a file of intervals or telegrams says, and sends it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from gridledger.app.gateway import Outbound, Send, node_sender, read_fleet
from gridledger.app.whole_files import whole_files
from gridledger.cli.operations import PostRequest, TelegramRequest
from gridledger.cli.output import OnProgress
from gridledger.errors import GridLedgerError
from gridledger.metering.imports.p1 import P1Telegram, read_telegram, split_telegrams
from gridledger.metering.imports.rows import IntervalRow
from gridledger.metering.imports.standard import read_standard
from gridledger.metering.imports.tables import RefusedRow
from gridledger.metering.model import Reading
from gridledger.metering.ocmf import sign_registers
from gridledger.metering.signed_reading import sign
from gridledger.simulation.fleet import FleetMeter
from gridledger.text_files import OpenedLines, open_lines
from gridledger.units import format_utc

__all__ = ["run_post", "run_telegrams"]

_ROWS_PER_PROGRESS = 512


def run_post(request: PostRequest, on_progress: OnProgress) -> dict[str, Any]:
    """Sign each interval of a file and post it; returns how many were sent, and the outcomes with their counts.

    A row that is refused here is never sent; what was sent before is a duplicate. Raises the errors of a file that is
    unusable as a whole, FleetFileRefused, NodeRefusesReadings.
    """
    meters = read_fleet(request.fleet)
    with _outbound(request.readings, request.url, None, request.report) as (opened, outbound):
        rows = read_standard(str(request.readings), opened.lines).rows
        for number, row in enumerate(rows):
            if isinstance(row, IntervalRow):
                _send_interval(row, meters, outbound)
            elif isinstance(row, RefusedRow):
                outbound.refuse({"line": row.line_number, "value": row.value, "text": row.text}, row.reason_code)
            if number % _ROWS_PER_PROGRESS == 0:
                on_progress(opened.position_bytes, opened.size_bytes, f"bytes read, {outbound.sent} readings sent")
        outbound.flush()
        on_progress(opened.size_bytes, opened.size_bytes, f"bytes read, {outbound.sent} readings sent")
        return {"texts": outbound.sent, "outcomes": dict(sorted(outbound.outcomes.items()))}


def run_telegrams(request: TelegramRequest, on_progress: OnProgress) -> dict[str, Any]:
    """Sign the registers of each telegram that stands where MTUs meet, and post the texts or write them to a file.

    Returns how many telegrams there were, how many of them between two MTUs, and the outcomes of the others.
    """
    between = telegrams = 0
    source, report = request.telegrams, request.report
    with _outbound(source, request.url, request.out, report, encoding="latin-1", newline="") as (opened, outbound):
        for telegram in split_telegrams(opened.lines):
            telegrams += 1
            between += _send_telegram(telegram, request, outbound)
            if telegrams % _ROWS_PER_PROGRESS == 0:
                on_progress(opened.position_bytes, opened.size_bytes, f"bytes read, {outbound.sent} readings signed")
        outbound.flush()
        on_progress(opened.size_bytes, opened.size_bytes, f"bytes read, {outbound.sent} readings signed")
        return {
            "telegrams": telegrams,
            "between": between,
            "texts": outbound.sent,
            "outcomes": dict(sorted(outbound.outcomes.items())),
        }


def _send_interval(row: IntervalRow, meters: dict[str, FleetMeter], outbound: Outbound) -> None:
    told = {"line": row.line_number, "meter_id": row.meter_id, "interval_start": format_utc(row.mtu_start)}
    device = meters.get(row.meter_id)
    if device is None:
        outbound.refuse(told, "no-device")
        return
    reading = Reading(
        meter=device.number,
        meter_id=device.serial,
        mtu_start=row.mtu_start,
        interval_s=row.interval_s,
        import_wh=row.import_wh,
        export_wh=row.export_wh,
        counter=row.mtu_start // row.interval_s,
    )
    outbound.add(told, sign(reading, device.key))


def _send_telegram(telegram: P1Telegram, request: TelegramRequest, outbound: Outbound) -> bool:
    """Whether it stands between two MTUs, so that nothing comes of it."""
    told: dict[str, object] = {"line": telegram.line_number}
    try:
        registers = read_telegram(
            telegram.text, meter=request.meter, serial=request.serial, mtu_length_s=request.mtu_length_s
        )
    except GridLedgerError as error:
        outbound.refuse({**told, "text": str(error)}, error.code())
        return False
    if registers is None:
        return True
    outbound.add({**told, "taken_at": format_utc(registers.taken_at)}, sign_registers(registers, request.key))
    return False


@contextmanager
def _outbound(
    source: Path,
    url: str | None,
    out: Path | None,
    report: Path | None,
    *,
    encoding: str = "utf-8-sig",
    newline: str | None = None,
) -> Iterator[tuple[OpenedLines, Outbound]]:
    """An open file, and the way out: to a node, else to a file of a text a line."""
    places = [path for path in (report, out) if path is not None]
    with ExitStack() as stack:
        opened = stack.enter_context(open_lines(source, encoding=encoding, newline=newline))
        files = dict(zip(places, stack.enter_context(whole_files(*places)), strict=True)) if places else {}
        send = _writer(files[out]) if out is not None else stack.enter_context(node_sender(url or ""))
        yield opened, Outbound(send=send, report=None if report is None else files[report], outcomes=Counter())


def _writer(file: TextIO) -> Send:
    def write(texts: Sequence[str]) -> list[str]:
        file.writelines(text + "\n" for text in texts)
        return ["written"] * len(texts)

    return write
