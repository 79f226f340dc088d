"""`gridledger dispatch`: the grid operator's side."""

from pathlib import Path
from typing import Annotated

import typer

from gridledger.cli.operations import DispatchCheckRequest, Operations
from gridledger.cli.output import progress, say, write_json

__all__ = ["add_dispatch_commands"]

_File = typer.Option(exists=True, dir_okay=False, readable=True)


def add_dispatch_commands(dispatch: typer.Typer, operations: Operations, keys_folder: Path) -> None:
    """`listen` and `check`."""

    @dispatch.command()
    def listen(
        url: Annotated[str, typer.Option(help="The node's API.")] = "http://127.0.0.1:8000",
        keys: Annotated[Path, typer.Option(help="Folder of keystore files.")] = keys_folder,
        limit_kw: Annotated[
            int | None,
            typer.Option(
                min=0,
                help="Curtail schedules above this net flow, either way; half of what flows against it counts.",
            ),
        ] = None,
    ) -> None:
        """Receive schedules and answer them with the grid operator's own key."""
        operations.listen(url, keys, limit_kw)

    @dispatch.command()
    def check(
        feeder: Annotated[
            Path,
            typer.Option(
                exists=True, file_okay=False, help="Folder of transformer.csv, lines.csv, buses.csv, meters.csv."
            ),
        ],
        readings: Annotated[Path, _File],
        meters: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Instead of meters.csv.")] = None,
        limit_kw: Annotated[int | None, typer.Option(min=0, help="The transformer's limit, kW.")] = None,
        power_flow: Annotated[bool, typer.Option("--power-flow", help="By a power flow: needs pandapower.")] = False,
        json_path: Annotated[
            Path | None, typer.Option("--json", help="Write the result here instead of standard output.")
        ] = None,
    ) -> None:
        """Say which limits of a feeder readings exceed, MTU by MTU, with nobody curtailed."""
        request = DispatchCheckRequest(
            feeder=feeder, readings=readings, meters=meters, limit_kw=limit_kw, power_flow=power_flow
        )
        with progress("check") as on_progress:
            result = operations.check_dispatch(request, on_progress)
        write_json(json_path, result)
        say(
            f"{result['mtus_exceeding']} of {result['mtus']} MTUs exceed a limit: "
            f"{result['mtus_exceeding_by_import']} by import, {result['mtus_exceeding_by_export']} by export"
        )
        if result["rows_refused"] or result["readings_missing"]:
            say(f"{result['rows_refused']} rows refused, {result['readings_missing']} readings missing, taken as 0")
