"""`gridledger dispatch stop`, `curtail` and `show`: the grid operator's answers by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from gridledger.cli.operations import CurtailRequest, Operations, SlotRequest, StopRequest
from gridledger.cli.output import write_json
from gridledger.dispatch.curtailment import MOST_CAPS, emission_rank
from gridledger.dispatch.model import LARGEST_REASON, MOST_STOPPED_MTUS
from gridledger.errors import InvalidInput
from gridledger.units import UINT32_MAX, format_utc, parse_utc

__all__ = ["CapUnreadable", "OneCapping", "TooManyMeters", "add_operator_commands"]

_REASONS = "0 none, 1 overload, 2 voltage, 3 maintenance, 4 emergency, 5 security of supply, 6 other."
_MOST_DIGITS = len(str(UINT32_MAX))

Url = Annotated[str, typer.Option("--url", help="The node's API.")]
Keys = Annotated[Path, typer.Option("--keys", help="Folder of keystore files.")]
Zone = Annotated[int, typer.Option("--zone", min=1, max=UINT32_MAX, help="The grid operator's zone.")]
Mtu = Annotated[str, typer.Option("--mtu", help="Start of the MTU, e.g. 2016-06-17T18:00:00Z.")]
Reason = Annotated[int, typer.Option("--reason", min=0, max=LARGEST_REASON, help=_REASONS)]
Total = Annotated[int | None, typer.Option(min=0, max=UINT32_MAX)]
_URL = "http://127.0.0.1:8000"


@dataclass(kw_only=True, eq=False)
class CapUnreadable(InvalidInput):
    """A cap is METER=WH, both whole numbers, each meter once."""

    text: str


@dataclass(kw_only=True, eq=False)
class OneCapping(InvalidInput):
    """A curtailment wants --cap (once for each meter), --total-wh or --total-w; --meter goes with a total."""


@dataclass(kw_only=True, eq=False)
class TooManyMeters(InvalidInput):
    """More meters are named than one curtailment can hold."""

    count: int
    most: int


def add_operator_commands(cli: typer.Typer, operations: Operations, keys_folder: Path) -> None:
    """`show`, `curtail` and `stop`."""
    _add_show(cli, operations, keys_folder)
    _add_curtail(cli, operations, keys_folder)
    _add_stop(cli, operations, keys_folder)


def _add_show(cli: typer.Typer, operations: Operations, keys_folder: Path) -> None:
    @cli.command()
    def show(
        zone: Zone,
        mtu: Mtu,
        url: Url = _URL,
        keys: Keys = keys_folder,
        json_path: Annotated[Path | None, typer.Option("--json", help="Write the node's answer here.")] = None,
    ) -> None:
        """Show a schedule: each meter's setpoint, the limits exceeded with nobody curtailed, the answer's deadline."""
        result = operations.show_schedule(SlotRequest(url=url, keys=keys, zone=zone, mtu_start=parse_utc("mtu", mtu)))
        if json_path is not None:
            write_json(json_path, result)
        _print_schedule(Console(highlight=False), result)


def _add_curtail(cli: typer.Typer, operations: Operations, keys_folder: Path) -> None:
    @cli.command()
    def curtail(
        zone: Zone,
        mtu: Mtu,
        direction: Annotated[Literal["export", "import"], typer.Option(help="The flow that is capped.")],
        cap: Annotated[list[str] | None, typer.Option(help="METER=WH, once for each meter.")] = None,
        total_wh: Total = None,
        total_w: Total = None,
        meter: Annotated[
            list[int] | None,
            typer.Option(min=1, max=UINT32_MAX, help="Share the total among these; all in the direction by default."),
        ] = None,
        reason: Reason = 0,
        emergency: Annotated[bool, typer.Option("--emergency", help="Until the MTU ends, in any order.")] = False,
        sequence: Annotated[
            int | None, typer.Option(min=0, max=UINT32_MAX, help="Curtailments recorded before; asked by default.")
        ] = None,
        url: Url = _URL,
        keys: Keys = keys_folder,
    ) -> None:
        """Cap net export or import of meters in one MTU, signed with the grid operator's own key.

        A total is what the meters may still do together: it is shared out in the order of curtailment, highest emission
        factor curtailed first. A power counts as its energy in the MTU, rounded down to whole Wh.
        """
        caps, meters = cap or [], meter or []
        if bool(caps) + (total_wh is not None) + (total_w is not None) != 1 or (caps and meters):
            raise OneCapping
        if max(len(caps), len(meters)) > MOST_CAPS:
            raise TooManyMeters(count=max(len(caps), len(meters)), most=MOST_CAPS)
        request = CurtailRequest(
            slot=SlotRequest(url=url, keys=keys, zone=zone, mtu_start=parse_utc("mtu", mtu)),
            direction=direction,
            caps_wh=_caps_wh(caps),
            total_wh=total_wh,
            total_w=total_w,
            meters=tuple(meters),
            reason=reason,
            emergency=emergency,
            sequence=sequence,
        )
        write_json(None, operations.curtail(request))


def _add_stop(cli: typer.Typer, operations: Operations, keys_folder: Path) -> None:
    @cli.command()
    def stop(
        zone: Zone,
        first: Annotated[str, typer.Option("--first", help="Start of the first MTU, e.g. 2016-06-17T18:00:00Z.")],
        count: Annotated[int, typer.Option("--count", min=1, max=MOST_STOPPED_MTUS, help="How many MTUs.")],
        reason: Reason,
        url: Url = _URL,
        keys: Keys = keys_folder,
    ) -> None:
        """Stop a zone: no meter may export or import in those MTUs, scheduled yet or not. It cannot be taken back."""
        request = StopRequest(
            url=url, keys=keys, zone=zone, first_mtu_start=parse_utc("first", first), mtu_count=count, reason=reason
        )
        write_json(None, operations.stop_zone(request))


def _caps_wh(texts: Sequence[str]) -> dict[int, int]:
    caps_wh: dict[int, int] = {}
    for text in texts:
        meter, cap_wh = (_number(text, part) for part in (text + "=").split("=", 2)[:2])
        if not meter or meter in caps_wh or text.count("=") != 1:
            raise CapUnreadable(text=text[:40])
        caps_wh[meter] = cap_wh
    return caps_wh


def _number(text: str, part: str) -> int:
    if not (part.isascii() and part.isdecimal() and len(part) <= _MOST_DIGITS and int(part) <= UINT32_MAX):
        raise CapUnreadable(text=text[:40])
    return int(part)


def _print_schedule(console: Console, schedule: dict[str, Any]) -> None:
    """For people: how it stands, each meter, and each limit exceeded."""
    left_s = schedule["answer_deadline"] - schedule["now"]
    deadline = f"{left_s // 60} min {left_s % 60} s left" if left_s >= 0 else "over"
    console.print(
        f"zone {schedule['zone']}, {format_utc(schedule['mtu_start'])}: {schedule['state']}, "
        f"curtailments recorded: {schedule['curtailments']}; to be answered by "
        f"{format_utc(schedule['answer_deadline'])} ({deadline})",
        soft_wrap=True,
    )
    console.print(_setpoint_table(schedule["setpoints"]))
    if schedule["limit_wh"] is not None:
        console.print(f"limit of the zone {schedule['limit_wh']:,} Wh")
    for one in schedule["exceeded"]:
        console.print(
            f"exceeded: {one['element']}, {one['flow_w']:,} W of {one['direction']}, limit {one['limit_w']:,} W",
            markup=False,
            soft_wrap=True,
        )
    if not schedule["exceeded"]:
        known = "no limit is exceeded" if schedule["limit_wh"] is not None else "the node knows no limit of this zone"
        console.print(known)


def _setpoint_table(setpoints: Sequence[dict[str, Any]]) -> Table:
    """Those curtailed first stand first."""
    table = Table(box=None, padding=(0, 2))
    for heading in ("meter", "contract Wh", "residual Wh", "setpoint Wh", "source", "mgCO2/kWh"):
        table.add_column(heading, justify="right", no_wrap=True)
    parts = ("contracted_wh", "residual_wh", "setpoint_wh")
    ranked = sorted(
        setpoints, key=lambda one: (-emission_rank(one["source"], one["factor_mgco2_per_kwh"]), one["meter"])
    )
    for one in ranked:
        factor = one["factor_mgco2_per_kwh"]
        energies = (f"{one[part]:,}" for part in parts)
        table.add_row(str(one["meter"]), *energies, str(one["source"]), "-" if factor is None else f"{factor:,}")
    table.add_section()
    table.add_row("sum", *(f"{sum(one[part] for one in setpoints):,}" for part in parts), "", "")
    return table
