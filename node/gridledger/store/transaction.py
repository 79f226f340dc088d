"""One database transaction with its repositories."""

from collections import Counter

from sqlalchemy import Connection, select

from gridledger.relay import ChainEvent, IndexedBlock
from gridledger.store.chain_log import ChainLog
from gridledger.store.challenges import BondChallenges
from gridledger.store.demand_measurements import DemandMeasurements
from gridledger.store.demand_response import DemandEvents
from gridledger.store.directory import Directory
from gridledger.store.dispatches import Dispatches
from gridledger.store.erasures import Erasures
from gridledger.store.forecasts import Forecasts
from gridledger.store.meter_events import MeterEvents, ReadingParts
from gridledger.store.mtus import Mtus
from gridledger.store.notices import Notices
from gridledger.store.openadr import OpenAdr
from gridledger.store.openadr_clients import AdrClients
from gridledger.store.openadr_deliveries import OpenAdrDeliveries
from gridledger.store.openadr_origins import OpenAdrOrigins
from gridledger.store.orders import Orders
from gridledger.store.outbox import Outbox
from gridledger.store.projections import apply_event
from gridledger.store.reading_views import ReadingViews
from gridledger.store.readings import Readings
from gridledger.store.schema import carbon_reward
from gridledger.store.sessions import Sessions
from gridledger.store.substitutes import Substitutes
from gridledger.store.trade_facts import TradeFacts
from gridledger.store.webhooks import Webhooks

__all__ = ["Transaction"]


class Transaction:
    """Repositories over one connection; whoever opened it commits."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.orders = Orders(connection)
        self.mtus = Mtus(connection)
        self.directory = Directory(connection)
        self.dispatches = Dispatches(connection)
        self.forecasts = Forecasts(connection)
        self.readings = Readings(connection)
        self.reading_views = ReadingViews(connection)
        self.trade_facts = TradeFacts(connection)
        self.meter_events = MeterEvents(connection)
        self.substitutes = Substitutes(connection)
        self.reading_parts = ReadingParts(connection)
        self.outbox = Outbox(connection)
        self.chain_log = ChainLog(connection)
        self.challenges = BondChallenges(connection)
        self.notices = Notices(connection)
        self.demand = DemandEvents(connection, self.notices)
        self.demand_measurements = DemandMeasurements(connection, self.notices, self.directory)
        self.sessions = Sessions(connection)
        self.erasures = Erasures(connection)
        self.webhooks = Webhooks(connection)
        self.openadr = OpenAdr(connection)
        self.openadr_clients = AdrClients(connection)
        self.openadr_origins = OpenAdrOrigins(connection)
        self.openadr_deliveries = OpenAdrDeliveries(connection)
        self.closed_positions: list[ChainEvent] = []  # of the settlement being indexed
        self.settled_mtu_start = 0  # of the settlement being indexed
        self.free_changes: Counter[str] = Counter()  # microcents by account, of the block being indexed

    def index_block(self, block: IndexedBlock, events: tuple[ChainEvent, ...]) -> None:
        """Keep a block with its events and bring the projections up to it."""
        self.chain_log.add(block, events)
        self.notices.forget_clearings()
        for event in events:
            apply_event(self, event, block.time_s)
        self.directory.change_free(self.free_changes)
        self.free_changes.clear()
        self.directory.forget_rules()

    def flush(self) -> None:
        """Write what the repositories have gathered; whoever opened the transaction does it before committing."""
        self.notices.flush()

    def minted_ugco2(self) -> int:
        """All low-carbon rewards granted, ug."""
        amounts = self.connection.execute(select(carbon_reward.c.amount_ugco2)).scalars()
        return sum(amount for amount in amounts if amount > 0)
