"""What the commands ask of the application; the wiring hands the functions in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridledger.cli.output import OnProgress

__all__ = ["FleetRequest", "Operations", "ReplayRequest", "ServeRequest"]


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
    simulate: Callable[[FleetRequest, OnProgress], dict[str, Any]]
    bench: Callable[[str | None], dict[str, Any]]
    erase_prepare: Callable[[Path, str], dict[str, Any]]
    erase_sign: Callable[[Path, Path | None, str | None], dict[str, Any]]
    erase_apply: Callable[[Path, Path], dict[str, Any]]
