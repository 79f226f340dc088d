"""`gridledger dispatch demand-response`: the grid operator asks a zone to take less from the grid, or more."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from gridledger.cli.operations import DemandRequest, Operations
from gridledger.cli.output import write_json
from gridledger.errors import InvalidInput
from gridledger.units import UINT32_MAX, parse_utc

__all__ = ["OneAmount", "add_demand_command"]

_REASONS = "1 overload, 2 voltage, 3 maintenance, 4 emergency, 5 security of supply, 6 other."
Amount = Annotated[int | None, typer.Option(min=1)]


@dataclass(kw_only=True, eq=False)
class OneAmount(InvalidInput):
    """An event wants one thing: --reduce-wh, --reduce-w, --increase-wh or --increase-w."""

    given: int


def add_demand_command(cli: typer.Typer, operations: Operations, keys_folder: Path) -> None:
    """`demand-response`."""

    @cli.command("demand-response")
    def demand_response(
        zone: Annotated[int, typer.Option("--zone", min=1, max=UINT32_MAX, help="The zone that is asked.")],
        first: Annotated[str, typer.Option("--first", help="Start of the first MTU, e.g. 2016-06-17T18:00:00Z.")],
        count: Annotated[int, typer.Option("--count", min=1, help="How many MTUs.")],
        reduce_wh: Amount = None,
        reduce_w: Amount = None,
        increase_wh: Amount = None,
        increase_w: Amount = None,
        reason: Annotated[int, typer.Option(min=0, max=6, help=_REASONS)] = 0,
        url: Annotated[str, typer.Option("--url", help="The node's API.")] = "http://127.0.0.1:8000",
        keys: Annotated[Path, typer.Option("--keys", help="Folder of keystore files.")] = keys_folder,
    ) -> None:
        """Sign an event with the grid operator's own key and post it; the amount is of the whole zone, for each MTU.

        A power counts as its energy in one MTU, rounded down to whole Wh.
        """
        given = [amount for amount in (reduce_wh, reduce_w, increase_wh, increase_w) if amount is not None]
        if len(given) != 1:
            raise OneAmount(given=len(given))
        request = DemandRequest(
            url=url,
            keys=keys,
            zone=zone,
            first_mtu_start=parse_utc("first", first),
            mtu_count=count,
            increases=reduce_wh is None and reduce_w is None,
            energy_wh=reduce_wh or increase_wh,
            power_w=reduce_w or increase_w,
            reason=reason,
        )
        write_json(None, operations.issue_demand(request))
