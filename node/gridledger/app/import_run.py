"""`gridledger import`: a foreign file becomes one in the product's columns, whole, with a report of refused rows."""

import csv
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, TextIO

from gridledger.app.whole_files import whole_files
from gridledger.cli.operations import ImportRequest
from gridledger.cli.output import OnProgress
from gridledger.metering.imports.carbon import read_factors
from gridledger.metering.imports.errors import ImportOptionRefused
from gridledger.metering.imports.formats import ImportOptions, read_format
from gridledger.metering.imports.rows import ImportedRows
from gridledger.metering.imports.tables import RefusedRow
from gridledger.text_files import OpenedLines, open_lines
from gridledger.units import NotExact, parse_decimal, parse_utc

__all__ = ["refusal_json", "run_import"]

_ROWS_PER_PROGRESS = 2048


def run_import(request: ImportRequest, on_progress: OnProgress) -> dict[str, Any]:
    """Convert a file row by row; returns how many rows were read, imported and refused, by reason.

    Raises the errors of a file that is unusable as a whole; then nothing is written.
    """
    options = _options(request)
    with ExitStack() as stack:
        opened = stack.enter_context(open_lines(request.source))
        imported = read_format(request.format, str(request.source), opened.lines, options)
        reports = () if request.report is None else (request.report,)
        *report, out = stack.enter_context(whole_files(*reports, request.out))
        return _convert(imported, opened, out, report[0] if report else None, on_progress)


def refusal_json(refused: RefusedRow) -> str:
    """A line of a report."""
    values = {
        "line": refused.line_number,
        "reason": refused.reason_code,
        "value": refused.value,
        "text": refused.text,
    }
    return json.dumps(values) + "\n"


def _convert(
    imported: ImportedRows, opened: OpenedLines, out: TextIO, report: TextIO | None, on_progress: OnProgress
) -> dict[str, Any]:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(imported.columns)
    refused: Counter[str] = Counter()
    first_refused: RefusedRow | None = None
    taken = written = 0
    for number, row in enumerate(imported.rows):
        if isinstance(row, RefusedRow):
            refused[row.reason_code] += 1
            first_refused = first_refused or row
            if report is not None:
                report.write(refusal_json(row))
        else:
            taken, written = taken + len(row.line_numbers), written + 1
            writer.writerow(row.cells())
        if number % _ROWS_PER_PROGRESS == 0:
            on_progress(opened.position_bytes, opened.size_bytes, "bytes read")
    on_progress(opened.size_bytes, opened.size_bytes, "bytes read")
    return {
        "rows_read": taken + refused.total(),
        "rows_imported": taken,
        "rows_written": written,
        "rows_refused": refused.total(),
        "refused": dict(sorted(refused.items())),
        "first_refused": None if first_refused is None else json.loads(refusal_json(first_refused)),
    }


def _options(request: ImportRequest) -> ImportOptions:
    return ImportOptions(
        meter_id=request.meter_id,
        time_zone=request.time_zone,
        start=None if request.start is None else parse_utc("start", request.start),
        pv_w=None if request.pv_kwp is None else _watts(request.pv_kwp),
        market=request.market,
        interval_s=request.interval_s,
        factors=None if request.factors is None else _factors(request.factors),
    )


def _watts(pv_kwp: str) -> int:
    try:
        return parse_decimal("pv-kwp", pv_kwp, 3)
    except NotExact:
        raise ImportOptionRefused(option="pv-kwp", value=pv_kwp[:40], expected="kW with three decimals") from None


def _factors(path: Path) -> Mapping[str, Fraction | None]:
    with open_lines(path) as opened:
        return read_factors(str(path), opened.lines)
