"""What the commands ask of the application; the wiring hands the functions in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from gridledger.cli.output import OnProgress

__all__ = [
    "CurtailRequest",
    "DemandRequest",
    "DispatchCheckRequest",
    "FleetRequest",
    "ImportRequest",
    "Operations",
    "PostRequest",
    "ReplayRequest",
    "ServeRequest",
    "SlotRequest",
    "StopRequest",
    "TelegramRequest",
]


@dataclass(frozen=True, kw_only=True)
class ServeRequest:
    """Serve a node; port 0 means any free one."""

    data: Path
    host: str
    port: int
    chain_port: int | None
    simulated_clock: bool
    until_stdin_closes: bool


@dataclass(frozen=True, kw_only=True)
class ReplayRequest:
    """Run a market over real readings; times are ISO-8601 UTC, half-open."""

    readings: Path
    meters: Path | None
    prices: Path | None
    carbon: Path | None
    from_text: str | None
    to_text: str | None
    seed: int
    limit_kw: int | None
    data: Path | None
    export: Path | None


@dataclass(frozen=True, kw_only=True)
class FleetRequest:
    """Play readings as signed texts; speed is a multiple of real time, 0 as fast as the node takes them."""

    readings: Path
    fleet: Path
    url: str
    speed: float
    faults: list[str]
    seed: int


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """Convert a foreign file; the rest is what some formats do not say of themselves, as the user wrote it."""

    source: Path
    format: str
    out: Path
    report: Path | None
    meter_id: str | None
    time_zone: str | None
    start: str | None
    pv_kwp: str | None
    market: str | None
    interval_s: int | None
    factors: Path | None


@dataclass(frozen=True, kw_only=True)
class DispatchCheckRequest:
    """Hold readings, as nobody had curtailed them, against the limits of a feeder."""

    feeder: Path
    readings: Path
    meters: Path | None
    limit_kw: int | None
    power_flow: bool


@dataclass(frozen=True, kw_only=True)
class PostRequest:
    """Sign intervals with the keys of a fleet's file and post them."""

    readings: Path
    fleet: Path
    url: str
    report: Path | None


@dataclass(frozen=True, kw_only=True)
class TelegramRequest:
    """Sign registers of P1 telegrams; the texts go to the node at `url`, or else to the file `out`."""

    telegrams: Path
    meter: int
    key: EllipticCurvePrivateKey
    serial: str
    mtu_length_s: int
    url: str | None
    out: Path | None
    report: Path | None


@dataclass(frozen=True, kw_only=True)
class DemandRequest:
    """Ask a zone to take less from the grid (or more) in some MTUs: an energy of each MTU, or a power."""

    url: str
    keys: Path
    zone: int
    first_mtu_start: int
    mtu_count: int
    increases: bool
    energy_wh: int | None
    power_w: int | None
    reason: int


@dataclass(frozen=True, kw_only=True)
class SlotRequest:
    """A zone's MTU at a node, and the folder of the keys to ask with."""

    url: str
    keys: Path
    zone: int
    mtu_start: int


@dataclass(frozen=True, kw_only=True)
class CurtailRequest:
    """Cap meters in a slot: by caps (Wh by meter), or by a total, as energy or power, over `meters` (none: all)."""

    slot: SlotRequest
    direction: Literal["export", "import"]
    caps_wh: Mapping[int, int]
    total_wh: int | None
    total_w: int | None
    meters: tuple[int, ...]
    reason: int
    emergency: bool
    sequence: int | None


@dataclass(frozen=True, kw_only=True)
class StopRequest:
    """Stop a zone for consecutive MTUs."""

    url: str
    keys: Path
    zone: int
    first_mtu_start: int
    mtu_count: int
    reason: int


@dataclass(frozen=True, kw_only=True)
class Operations:
    """The application's functions behind the commands; results are JSON-able."""

    serve: Callable[[ServeRequest], None]
    replay: Callable[[ReplayRequest, OnProgress], dict[str, Any]]
    demo: Callable[[Path, OnProgress], dict[str, Any]]
    export: Callable[[Path, Path, OnProgress], dict[str, Any]]
    audit: Callable[[Path, str | None, OnProgress], dict[str, Any]]
    network_init: Callable[[Path, int, int | None], dict[str, Any]]
    network_up: Callable[[Path, int | None], None]
    listen: Callable[[str, Path, int | None], None]
    check_dispatch: Callable[[DispatchCheckRequest, OnProgress], dict[str, Any]]
    show_schedule: Callable[[SlotRequest], dict[str, Any]]
    curtail: Callable[[CurtailRequest], dict[str, Any]]
    stop_zone: Callable[[StopRequest], dict[str, Any]]
    issue_demand: Callable[[DemandRequest], dict[str, Any]]
    import_file: Callable[[ImportRequest, OnProgress], dict[str, Any]]
    post_readings: Callable[[PostRequest, OnProgress], dict[str, Any]]
    post_telegrams: Callable[[TelegramRequest, OnProgress], dict[str, Any]]
    simulate: Callable[[FleetRequest, OnProgress], dict[str, Any]]
    bench: Callable[[str | None], dict[str, Any]]
    verify_receipt: Callable[[Path, str, Path | None], dict[str, Any]]
    erase_prepare: Callable[[Path, str], dict[str, Any]]
    erase_sign: Callable[[Path, Path | None, str | None], dict[str, Any]]
    erase_apply: Callable[[Path, Path], dict[str, Any]]
    openadr_add: Callable[[Path, str, str], dict[str, Any]]
    openadr_list: Callable[[Path], dict[str, Any]]
    openadr_remove: Callable[[Path, str], dict[str, Any]]
