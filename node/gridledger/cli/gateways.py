"""`gridledger meter post` and `meter p1`: a gateway that holds keys of devices."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from gridledger.cli.key_files import load_key
from gridledger.cli.operations import Operations, PostRequest, TelegramRequest
from gridledger.cli.output import progress, write_json
from gridledger.errors import InvalidInput
from gridledger.units import MTU_LENGTHS_S

__all__ = ["OneWayOut", "add_gateway_commands"]

_GOOD = {"accepted", "duplicate", "written"}
Report = Annotated[
    Path | None, typer.Option("--report", dir_okay=False, help="A JSON line per row, with what became of it.")
]


@dataclass(kw_only=True, eq=False)
class OneWayOut(InvalidInput):
    """Texts go to a node, by its URL, or to a file: to one of the two."""


def add_gateway_commands(cli: typer.Typer, operations: Operations) -> None:
    """`post` and `p1`: exit status 0 if all was accepted, or had been before, 1 otherwise."""
    _add_post_command(cli, operations)
    _add_p1_command(cli, operations)


def _add_post_command(cli: typer.Typer, operations: Operations) -> None:
    @cli.command()
    def post(
        readings: Annotated[
            Path, typer.Option("--readings", exists=True, dir_okay=False, help="Intervals, CSV or gzip.")
        ],
        fleet: Annotated[
            Path, typer.Option("--fleet", exists=True, dir_okay=False, help="CSV of meter_id, meter, key (PEM file).")
        ],
        url: Annotated[str, typer.Option("--url", help="The node's API.")] = "http://127.0.0.1:8000",
        report: Report = None,
    ) -> None:
        """Sign each interval of a file with its meter's key and post it; what was posted before is a duplicate."""
        request = PostRequest(readings=readings, fleet=fleet, url=url, report=report)
        with progress("post") as on_progress:
            result = operations.post_readings(request, on_progress)
        _tell(result)


def _add_p1_command(cli: typer.Typer, operations: Operations) -> None:
    @cli.command()
    def p1(
        telegrams: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="DSMR 4 or 5, one or many.")],
        meter: Annotated[
            int, typer.Option("--meter", min=1, max=2**32 - 1, help="The meter's number in the registry.")
        ],
        key: Annotated[
            Path, typer.Option("--key", exists=True, dir_okay=False, help="The key registered for it, PEM.")
        ],
        serial: Annotated[str, typer.Option("--serial", help="The device's serial, as 0-0:96.1.1 says it.")],
        mtu_length: Annotated[int, typer.Option("--mtu-length", help="300, 900, 1800 or 3600 seconds.")] = 900,
        url: Annotated[str | None, typer.Option("--url", help="The node's API.")] = None,
        out: Annotated[Path | None, typer.Option("--out", dir_okay=False, help="Or a file of a text a line.")] = None,
        report: Report = None,
    ) -> None:
        """Sign the registers that P1 telegrams show where MTUs meet, as OCMF."""
        if (url is None) == (out is None):
            raise OneWayOut
        if mtu_length not in MTU_LENGTHS_S:
            raise typer.BadParameter(f"one of {MTU_LENGTHS_S}", param_hint="--mtu-length")
        request = TelegramRequest(
            telegrams=telegrams,
            meter=meter,
            key=load_key(key),
            serial=serial,
            mtu_length_s=mtu_length,
            url=url,
            out=out,
            report=report,
        )
        with progress("p1") as on_progress:
            result = operations.post_telegrams(request, on_progress)
        _tell(result)


def _tell(result: dict[str, Any]) -> None:
    write_json(None, result)
    if not result["outcomes"].keys() <= _GOOD:
        raise typer.Exit(1)
