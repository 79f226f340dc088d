"""`gridledger import`: interval data of foreign formats in the product's columns."""

from pathlib import Path
from typing import Annotated

import typer

from gridledger.cli.operations import ImportRequest, Operations
from gridledger.cli.output import fail, progress, say, write_json
from gridledger.errors import GridLedgerError
from gridledger.metering.imports.formats import FORMAT_NAMES

__all__ = ["add_import_command"]

_UNUSABLE = 2


def add_import_command(cli: typer.Typer, operations: Operations) -> None:
    """`import`: exit status 0 if every row was imported, 1 if some were refused, 2 if the file is unusable."""

    @cli.command(name="import")
    def import_file(
        source: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The file, plain or gzip.")],
        format_name: Annotated[str, typer.Option("--format", help=", ".join(FORMAT_NAMES))],
        out: Annotated[Path, typer.Option("--out", dir_okay=False, help="Where to write; gzip if it ends in .gz.")],
        report: Annotated[Path | None, typer.Option(dir_okay=False, help="A JSON line per refused row.")] = None,
        meter_id: Annotated[str | None, typer.Option(help="The home's meter, where the file names none.")] = None,
        time_zone: Annotated[str | None, typer.Option(help="Zone of local times; the format's own by default.")] = None,
        start: Annotated[str | None, typer.Option(help="Start of the first row, e.g. 2016-08-01T08:00:00Z.")] = None,
        pv_kwp: Annotated[str | None, typer.Option(help="Power of the roof, where generation is told per kW.")] = None,
        market: Annotated[str | None, typer.Option(help="Which column of prices.")] = None,
        interval: Annotated[int | None, typer.Option(help="Seconds between rows of generation: 900, 3600.")] = None,
        factors: Annotated[
            Path | None, typer.Option(exists=True, dir_okay=False, help="Emission factors by source.")
        ] = None,
    ) -> None:
        """Convert a file into the product's columns, whole; every row is imported or refused by name."""
        request = ImportRequest(
            source=source,
            format=format_name,
            out=out,
            report=report,
            meter_id=meter_id,
            time_zone=time_zone,
            start=start,
            pv_kwp=pv_kwp,
            market=market,
            interval_s=interval,
            factors=factors,
        )
        try:
            with progress("import") as on_progress:
                result = operations.import_file(request, on_progress)
        except GridLedgerError as error:
            fail(error)
            raise typer.Exit(_UNUSABLE) from None
        write_json(None, result)
        if result["rows_refused"]:
            by_reason = ", ".join(f"{count} {reason}" for reason, count in result["refused"].items())
            say(f"{result['rows_refused']} of {result['rows_read']} rows refused: {by_reason}")
            raise typer.Exit(1)
