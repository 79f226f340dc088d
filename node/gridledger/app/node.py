"""A running node: embedded chain, database, sender, engine and API put together."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from gridledger.api.application import create_application
from gridledger.api.context import Bell, NodeContext
from gridledger.api.reading_intake import ReadingIntake
from gridledger.api.sign_in import SignIn
from gridledger.app.bond import BondKeeper
from gridledger.app.chain_blocks import ChainBlocks
from gridledger.app.engine import Engine
from gridledger.app.grid_limits import GridLimits
from gridledger.app.node_clock import NodeClock
from gridledger.app.node_folder import NodeFolder
from gridledger.app.openadr import mount_openadr
from gridledger.app.openadr_worker import openadr_worker
from gridledger.app.reading_intake import NodeReadingIntake
from gridledger.app.reading_workers import ReadingWorkers
from gridledger.app.refusals import Refusals
from gridledger.app.services import OperatorReceipts, ServiceFactory
from gridledger.app.settings import NodeSettings
from gridledger.app.webhook_worker import WebhookWorker
from gridledger.chain.answer_signatures import AnswerSignatures
from gridledger.chain.client import ChainClient
from gridledger.chain.commands import CommandEncoder
from gridledger.chain.compiler import Artifacts, load_artifacts
from gridledger.chain.deployment import (
    Deployment,
    DeploymentMismatch,
    load_deployment,
    record_deployment,
    save_deployment,
    signed_plan,
    verify_deployment,
)
from gridledger.chain.embedded import EmbeddedChain
from gridledger.chain.indexer import Indexer
from gridledger.chain.keys import Keystore
from gridledger.chain.market_config import MarketConfig, load_market
from gridledger.chain.plan import contract_addresses
from gridledger.chain.raw_relay import RawRelay
from gridledger.chain.roles import Role
from gridledger.chain.sender import Sender
from gridledger.chain.toolchain import find_anvil
from gridledger.dispatch.model import DispatchDomain
from gridledger.dispatch.salts import RandomSetpointSalts, SeededSetpointSalts
from gridledger.errors import GridLedgerError
from gridledger.market.desk import DeskSettings
from gridledger.market.order_hash import OrderDomain
from gridledger.metering.events import MeteringDomain
from gridledger.metering.salts import RandomSalts, SeededSalts
from gridledger.store.database import Database
from gridledger.store.transaction import Transaction
from gridledger.webhooks.sealing import SecretBox
from gridledger.webhooks.targets import TargetGuard

__all__ = ["Node", "NodeFolder"]

ANCHOR_DELAY_S = 120
_LONGEST_UNMINED_S = 600
_TICK_S = 1.0
_log = structlog.get_logger(__name__)


class Node:
    """Everything one node process holds. `start` brings it up, `close` takes it down; nothing is lost between."""

    def __init__(
        self,
        folder: NodeFolder,
        *,
        simulated: bool,
        chain_port: int | None = None,
        settings: NodeSettings | None = None,
    ) -> None:
        self._folder = folder
        self._simulated = simulated
        self._chain_port = chain_port
        self._settings = NodeSettings() if settings is None else settings
        self._closing = contextlib.ExitStack()
        self._due = threading.Event()
        self._engine_lock = threading.Lock()
        self._failure: Exception | None = None
        self._elsewhere: list[Callable[[], tuple[str, ...]]] = []

    def start(self) -> None:
        """Open the folder, rebuild the chain, deploy if it is new, index, and finish what was interrupted.

        Raises the typed errors of chain and store; the node is closed then.
        """
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop the heartbeat and release everything."""
        self._closing.close()

    @property
    def application(self) -> FastAPI:
        """The HTTP API."""
        return self._application

    @property
    def chain_url(self) -> str:
        """JSON-RPC endpoint of the embedded chain."""
        return self._chain.url

    @property
    def now(self) -> int:
        """The node's present time."""
        return self._clock.now()

    def advance(self, moment: int) -> int:
        """Move a simulated clock and do everything that is due by then; returns the present time."""
        with self._engine_lock:
            self._clock.move_to(moment)
            self._run_engine()
            return self._clock.now()

    def _start(self) -> None:
        folder = self._folder
        config = load_market(folder.market)
        artifacts = load_artifacts()
        keystore = Keystore(folder.keys)
        self._chain = EmbeddedChain(
            folder.chain,
            anvil=find_anvil(),
            chain_id=config.chain_id,
            genesis_time_s=config.genesis_time_s,
            port=self._chain_port,
        )
        self._chain.start()
        self._closing.callback(self._chain.stop)
        deployment = self._deployed(config, artifacts, keystore)
        self._database = Database(folder.database)
        self._closing.callback(self._database.close)
        client = ChainClient(self._chain.url, artifacts, deployment.addresses)
        verify_deployment(client, artifacts, deployment)
        self._clock = NodeClock(self._database, config.genesis_time_s, simulated=self._simulated)
        indexer = self._wire(config, deployment, client, keystore)
        self._start_webhooks()
        indexer.catch_up()
        self._run_engine()
        self._start_mqtt()
        self._start_openadr(config)
        if not self._simulated:
            self._start_heartbeat()

    def _deployed(self, config: MarketConfig, artifacts: Artifacts, keystore: Keystore) -> Deployment:
        """The folder's deployment; a new chain gets one in its first block."""
        known = load_deployment(self._folder.deployment)
        if known is not None:
            return known
        deployer = keystore.load("deployer")
        client = ChainClient(self._chain.url, artifacts, contract_addresses(deployer.address))
        head = self._chain.head()
        if head is None:
            plan = signed_plan(artifacts, config.deployment_parameters(), deployer, config.chain_id)
            head = self._chain.mine(config.genesis_time_s + 1, plan)
        elif client.nonce(deployer.address) == 0:
            raise DeploymentMismatch(field="deployer", expected=deployer.address, found="a chain of another deployer")
        deployment = record_deployment(client, artifacts, deployer.address, 1)
        save_deployment(self._folder.deployment, deployment)
        return deployment

    def _wire(
        self, config: MarketConfig, deployment: Deployment, client: ChainClient, keystore: Keystore
    ) -> Indexer[Transaction]:
        """Join rooms, sender, engine and API; returns the indexer."""
        keys = {role: keystore.load(role.name.lower()) for role in (Role.MARKET_OPERATOR, Role.RELAYER)}
        order_domain = OrderDomain(chain_id=config.chain_id, trading_contract=deployment.addresses["EnergyTrading"])
        dispatch_domain = DispatchDomain(
            chain_id=config.chain_id, dispatching_contract=deployment.addresses["EnergyDispatching"]
        )
        seed = None if config.seed is None else f"replay seed {config.seed:064d}".encode()
        services = ServiceFactory(
            desk_settings=DeskSettings(domain=order_domain, mtu_length_s=config.mtu_length_s),
            dispatch_domain=dispatch_domain,
            metering_domain=MeteringDomain(chain_id=config.chain_id, meter_ledger=deployment.addresses["MeterLedger"]),
            clock=self._clock,
            encoder=CommandEncoder(client, {role: key.address for role, key in keys.items()}),
            receipts=OperatorReceipts(keys[Role.MARKET_OPERATOR], order_domain),
            calendar=self._settings.calendar,
            baseline=self._settings.baseline,
            salts=RandomSalts() if seed is None else SeededSalts(seed),
            setpoint_salts=RandomSetpointSalts() if seed is None else SeededSetpointSalts(seed),
        )
        refusals = Refusals(services, self._clock)
        indexer = Indexer(client, self._database, refusals)
        sender = Sender(
            client=client,
            database=self._database,
            indexer=indexer,
            block_maker=ChainBlocks(self._chain),
            clock=self._clock,
            keys={key.address: key for key in keys.values()},
            on_refused=refusals,
        )
        self._bond = BondKeeper(
            client=client,
            database=self._database,
            clock=self._clock,
            operator=keys[Role.MARKET_OPERATOR].address,
            target_microcents=self._settings.bond_microcents,
        )
        self._engine = Engine(
            database=self._database,
            sender=sender,
            clock=self._clock,
            services=services,
            mtu_length_s=config.mtu_length_s,
            anchor_delay_s=ANCHOR_DELAY_S,
        )
        metering, workers = (lambda tx: services(tx).metering), ReadingWorkers()
        readings = NodeReadingIntake(database=self._database, metering=metering, workers=workers, on_kept=self._due.set)
        self._closing.callback(readings.close)
        self._bell = Bell()
        self._webhook_guard = TargetGuard(self._settings.webhook_allow)
        self._webhook_box = SecretBox(self._folder.webhook_key)
        self._registry = CollectorRegistry()
        self._grid = GridLimits.load(self._settings, config.mtu_length_s)
        self._readings = ReadingIntake(acceptor=readings, registry=self._registry)
        self._application = create_application(
            NodeContext(
                database=self._database,
                services=services,
                clock=self._clock,
                order_domain=order_domain,
                dispatch_domain=dispatch_domain,
                mtu_length_s=config.mtu_length_s,
                raw_relay=RawRelay(client, deployment.addresses),
                role_accounts=frozenset(config.accounts.values()),
                market_facts=_market_facts(config, deployment),
                health=self._health,
                wake=self._due.set,
                bell=self._bell,
                sign_in=SignIn(public_url=self._settings.public_url, chain_id=config.chain_id, clock=self._clock),
                webhook_guard=self._webhook_guard,
                webhook_box=self._webhook_box,
                readings=self._readings,
                registry=self._registry,
                smallest_group=self._settings.smallest_group,
                grid=self._grid,
                answer_signatures=AnswerSignatures(client),
            )
        )
        self._mount_openadr()
        return indexer

    def _mount_openadr(self) -> None:
        mount_openadr(
            self._application,
            database=self._database,
            clock=self._clock,
            keys=self._folder.keys,
            guard=self._webhook_guard,
            box=self._webhook_box,
            public_url=self._settings.public_url,
            changed=self._bell.ring,
            broker=self._settings.openadr_broker,
        )

    def _start_webhooks(self) -> None:
        worker = WebhookWorker(database=self._database, guard=self._webhook_guard, box=self._webhook_box)
        worker.start()
        self._closing.callback(worker.close)
        self._bell.attach(worker.wake)

    def _start_mqtt(self) -> None:
        """Listen to the broker, if there is one; meters must be known by now, or their readings would be refused."""
        if self._settings.mqtt is None:
            return
        from gridledger.app.mqtt_worker import MqttWorker  # noqa: PLC0415 - only who wants it loads an MQTT client

        worker = MqttWorker(settings=self._settings.mqtt, readings=self._readings, registry=self._registry)
        worker.start()
        self._closing.callback(worker.close)
        self._elsewhere.append(worker.problems)

    def _start_openadr(self, config: MarketConfig) -> None:
        worker = openadr_worker(
            database=self._database,
            clock=self._clock,
            config=config,
            guard=self._webhook_guard,
            box=self._webhook_box,
            broker=self._settings.openadr_broker,
            limit_wh=self._grid.limit_wh,
        )
        worker.start()
        self._closing.callback(worker.close)
        self._bell.attach(worker.wake)
        self._elsewhere.append(worker.problems)

    def _run_engine(self) -> None:
        self._bond.top_up()
        self._engine.run_until_idle()
        self._bell.ring()

    def _start_heartbeat(self) -> None:
        stop = threading.Event()

        def beat() -> None:
            while not stop.is_set():
                self._due.wait(_TICK_S)
                self._due.clear()
                try:
                    with self._engine_lock:
                        self._run_engine()
                    self._failure = None
                except Exception as error:  # noqa: BLE001 - the heartbeat outlives every failure and tells it
                    self._failure = error
                    _log.error("heartbeat_failed", error=f"{type(error).__name__}: {error}")

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()

        def finish() -> None:
            stop.set()
            self._due.set()
            thread.join(timeout=30)

        self._closing.callback(finish)

    def _health(self) -> tuple[str, ...]:
        reasons: list[str] = []
        if self._failure is not None:
            reasons.append(f"{type(self._failure).__name__}: {self._failure}")
        try:
            self._chain.head()
        except GridLedgerError as error:
            reasons.append(str(error))
        with self._database.read() as tx:
            oldest = tx.outbox.oldest_open_at()
        if not self._simulated and oldest is not None and self._clock.now() - oldest > _LONGEST_UNMINED_S:
            reasons.append(f"a transaction waits since {oldest}")
        return (*reasons, *(problem for part in self._elsewhere for problem in part()))


def _market_facts(config: MarketConfig, deployment: Deployment) -> dict[str, Any]:
    return {
        "chain_id": deployment.chain_id,
        "genesis_hash": deployment.genesis_hash,
        "contracts": dict(deployment.addresses),
        "code_hashes": dict(deployment.code_hashes),
        "mtu_length_s": config.mtu_length_s,
        "accounts": dict(config.accounts),
        "order_domain": {
            "name": "gridledger",
            "version": "1",
            "chainId": deployment.chain_id,
            "verifyingContract": deployment.addresses["EnergyTrading"],
        },
        "dispatch_domain": {
            "name": "gridledger-dispatch",
            "version": "1",
            "chainId": deployment.chain_id,
            "verifyingContract": deployment.addresses["EnergyDispatching"],
        },
        "metering_domain": {
            "name": "gridledger-metering",
            "version": "1",
            "chainId": deployment.chain_id,
            "verifyingContract": deployment.addresses["MeterLedger"],
        },
        "embedded_chain": True,
        "promise": "On the embedded chain the node also orders blocks: tampering is detectable by the block hashes in "
        "everybody's receipts, not impossible.",
    }
