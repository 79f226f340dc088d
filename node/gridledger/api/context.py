"""What the HTTP edge works with: the node's parts, handed in by the wiring."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from gridledger.api.reading_intake import ReadingIntake
from gridledger.api.sign_in import SignIn
from gridledger.chain.answer_signatures import AnswerSignatures
from gridledger.chain.raw_relay import RawRelay
from gridledger.clock import Clock
from gridledger.dispatch.demand_service import DemandService
from gridledger.dispatch.feeder import LimitExceeded
from gridledger.dispatch.measurement import MeasurementService
from gridledger.dispatch.model import DispatchDomain
from gridledger.dispatch.service import DispatchService
from gridledger.market.defence import Defender
from gridledger.market.desk import OrderDesk
from gridledger.market.order_hash import OrderDomain
from gridledger.market.service import MarketService
from gridledger.metering.anchoring import AnchoringService
from gridledger.metering.service import MeteringService
from gridledger.metering.statements import MeterEventService
from gridledger.metering.substitutes import EstimationService
from gridledger.store.database import Database
from gridledger.store.transaction import Transaction
from gridledger.webhooks.sealing import SecretBox
from gridledger.webhooks.targets import TargetGuard

__all__ = ["Bell", "NodeContext", "Services", "ZoneGrid"]


@dataclass(frozen=True, kw_only=True)
class Services:
    """The rooms of one transaction."""

    desk: OrderDesk
    market: MarketService
    defender: Defender
    metering: MeteringService
    meter_events: MeterEventService
    estimation: EstimationService
    anchoring: AnchoringService
    dispatch: DispatchService
    demand: DemandService
    measurement: MeasurementService


class Bell:
    """Wakes the event streams from any thread when something new has been indexed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._listeners: list[Callable[[], None]] = []
        self._rings = 0

    @property
    def rings(self) -> int:
        """How often it has rung; whoever looks before reading misses no ring while waiting."""
        with self._lock:
            return self._rings

    def attach(self, listener: Callable[[], None]) -> None:
        """Call `listener` at each ring, from the thread that rings; it must neither wait nor fail."""
        with self._lock:
            self._listeners.append(listener)

    def ring(self) -> None:
        """Wake everybody who waits."""
        with self._lock:
            self._rings += 1
            for listener in self._listeners:
                listener()
            for loop, event in self._waiting:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(event.set)

    async def wait(self, timeout_s: float, seen: int | None = None) -> None:
        """Return at the next ring or after the timeout; at once if it has rung more than `seen` times."""
        entry = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            if seen is not None and self._rings != seen:
                return
            self._waiting.add(entry)
        try:
            await asyncio.wait_for(entry[1].wait(), timeout_s)
        except TimeoutError:
            pass
        finally:
            with self._lock:
                self._waiting.discard(entry)


class ZoneGrid(Protocol):
    """What the networks of the zones carry."""

    def limit_wh(self, zone: int) -> int | None:
        """The most net energy the zone's transformer carries in an MTU, Wh; None without a limit."""

    def exceeded(self, tx: Transaction, zone: int, setpoints_wh: Mapping[int, int]) -> tuple[LimitExceeded, ...]:
        """The limits that setpoints (Wh by meter, export positive) exceed."""


@dataclass(frozen=True, kw_only=True)
class NodeContext:
    """Parts of a running node as the routes see them.

    `market_facts` is the static part of `GET /v1/market`; `health` returns what is wrong, empty when ready; `wake` says
    that there is something to do; `registry` holds the metrics of all edges; `smallest_group` is how many meters a sum
    told to a grid operator has at least; `grid` knows the networks.
    """

    database: Database
    services: Callable[[Transaction], Services]
    clock: Clock
    order_domain: OrderDomain
    dispatch_domain: DispatchDomain
    mtu_length_s: int
    raw_relay: RawRelay
    role_accounts: frozenset[str]
    market_facts: Mapping[str, Any]
    health: Callable[[], tuple[str, ...]]
    wake: Callable[[], None]
    bell: Bell
    sign_in: SignIn
    webhook_guard: TargetGuard
    webhook_box: SecretBox
    readings: ReadingIntake
    registry: CollectorRegistry
    smallest_group: int
    grid: ZoneGrid
    answer_signatures: AnswerSignatures
