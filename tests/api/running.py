"""A whole node in this process, served over real HTTP, with members who sign for themselves."""

import shutil
import socket
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from eth_account.signers.local import LocalAccount
from tests.metering.fakes import Device

from gridledger.app.node import Node, NodeFolder
from gridledger.app.settings import NodeSettings
from gridledger.chain.codec import ContractCodec
from gridledger.chain.compiler import load_artifacts
from gridledger.chain.keys import ACCOUNT_NAMES, Keystore, account_from_seed
from gridledger.chain.market_config import MarketConfig, save_market
from gridledger.chain.plan import PolicyParameters
from gridledger.dispatch.model import (
    Curtailment,
    DispatchDomain,
    EmergencyStop,
    answer_typed_data,
    curtailment_typed_data,
    stop_typed_data,
)
from gridledger.dispatch.setpoints import Direction
from gridledger.market.model import Acceptance, Order, Pricing, Product, Side
from gridledger.market.order_hash import (
    OrderDomain,
    acceptance_typed_data,
    acceptance_uid,
    cancel_typed_data,
    cancel_up_to_typed_data,
    order_typed_data,
    order_uid,
)
from gridledger.metering.model import Reading
from gridledger.units import format_utc

SEED = 7
MTU_START = 1_465_776_000  # 2016-06-13T00:00:00Z
MTU_LENGTH_S = 900
GATE_CLOSURE_S = 300
GENESIS_TIME_S = MTU_START - 3_600
ZONE = 1
EUR = 10**8
HIGHEST_GAS = 2**24
SELL_METER, BUY_METER = 1, 2
PROBLEM = "application/problem+json"
PROBLEM_TYPE = "urn:gridledger:problem:"


def key(name: str) -> LocalAccount:
    """The key of a role or of a member; the same in every test."""
    return account_from_seed(SEED, name)


SELLER, BUYER, OUTSIDER, NEIGHBOUR = key("the seller"), key("the buyer"), key("an outsider"), key("a neighbour")
PEOPLE: dict[str, LocalAccount] = {account.address: account for account in (SELLER, BUYER, OUTSIDER, NEIGHBOUR)}


def kwh(energy_wh: int) -> str:
    """Wh as the API's decimal text."""
    return f"{energy_wh // 1_000}.{energy_wh % 1_000:03d}"


def cents(price_cents_per_mwh: int) -> str:
    """Cents per MWh as the API's decimal text in cents per kWh."""
    sign, size = "-" if price_cents_per_mwh < 0 else "", abs(price_cents_per_mwh)
    return f"{sign}{size // 1_000}.{size % 1_000:03d}"


def make_folder(path: Path, template: Path, **changes: Any) -> NodeFolder:
    """A data folder with keys and market file; the keys are copied, as making them takes long."""
    path.mkdir(parents=True, exist_ok=True)
    shutil.copytree(template, path / "keys")
    folder = NodeFolder(path)
    accounts = {name: key(name).address for name in ACCOUNT_NAMES}
    values: dict[str, Any] = {
        "chain_id": 31_337,
        "genesis_time_s": GENESIS_TIME_S,
        "mtu_length_s": MTU_LENGTH_S,
        "policy": PolicyParameters(),
        "zones": (ZONE,),
        "suppliers": (accounts["supplier"],),
        "accounts": accounts,
        "seed": SEED,
    }
    save_market(folder.market, MarketConfig(**(values | changes)))
    return folder


def make_keys(path: Path) -> Path:
    """The keystore that every folder gets a copy of."""
    Keystore(path, {}).create_missing(seed=SEED)
    return path


@dataclass(frozen=True)
class Onboarded:
    """A stopped market with two members, to be copied; signing and deploying it anew takes longer."""

    folder: NodeFolder
    nonces: Mapping[str, int]

    @contextmanager
    def served(self, path: Path, settings: NodeSettings | None = None) -> Iterator["RunningNode"]:
        """A node on a copy of it."""
        shutil.copytree(self.folder.path, path)
        with served(NodeFolder(path), settings=settings) as running:
            running.nonces = dict(self.nonces)
            yield running


def make_onboarded(path: Path, keys: Path) -> Onboarded:
    """The default market after onboarding."""
    folder = make_folder(path, keys)
    with served(folder) as running:
        running.onboard()
        return Onboarded(folder, running.nonces)


@dataclass
class RunningNode:
    """A node, its HTTP client, and the members' and role holders' own signatures."""

    node: Node
    folder: NodeFolder
    http: httpx.Client
    nonces: dict[str, int] = field(default_factory=dict)
    salt: int = 0
    answered: str = ""

    # ---- what everybody may ask

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The static part of GET /v1/market."""
        answer: dict[str, Any] = self.get("/v1/market")
        return answer

    def get(self, path: str, **params: Any) -> Any:
        """A good answer."""
        response = self.http.get(path, params=params)
        assert response.status_code == 200, response.text
        return response.json()

    def participant(self, account: LocalAccount | str) -> dict[str, Any]:
        """What the node says of an account."""
        address = account if isinstance(account, str) else account.address
        answer: dict[str, Any] = self.get(f"/v1/participants/{address}")
        return answer

    def free(self, account: LocalAccount | str) -> int:
        """Free money, microcents."""
        return int(self.participant(account)["free_microcents"])

    def view(self, contract: str, function: str, *arguments: object) -> tuple[Any, ...]:
        """A view, asked of the chain itself and not of the node."""
        codec = ContractCodec(load_artifacts().contract(contract))
        call = {"to": self.facts["contracts"][contract], "data": "0x" + codec.call_data(function, *arguments).hex()}
        return codec.result(function, bytes.fromhex(self.rpc("eth_call", call, "latest")[2:]))

    def rpc(self, method: str, *params: object) -> Any:
        """A good answer of the chain itself."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return httpx.post(self.node.chain_url, json=body, trust_env=False).json()["result"]

    def mtu(self, mtu_start: int = MTU_START) -> dict[str, Any]:
        """The record of an MTU."""
        (record,) = self.get("/v1/market/mtus", zone=ZONE, **{"from": mtu_start, "to": mtu_start + 1})["mtus"]
        found: dict[str, Any] = record
        return found

    # ---- time

    def advance(self, moment: int) -> None:
        """Move the clock and let the node do everything that is due."""
        assert self.node.advance(moment) >= moment

    def work(self) -> None:
        """Let the node do what is due now."""
        self.node.advance(self.node.now)

    # ---- transactions

    def raw(self, signer: LocalAccount, contract: str, function: str, *arguments: object, **changes: Any) -> str:
        """A signed transaction with the account's next nonce, 0x hex; `changes` override any field."""
        data = ContractCodec(load_artifacts().contract(contract)).call_data(function, *arguments)
        transaction: dict[str, Any] = {
            "chainId": self.facts["chain_id"],
            "nonce": self.nonces.get(signer.address, 0),
            "gas": 2_000_000,
            "maxFeePerGas": 0,
            "maxPriorityFeePerGas": 0,
            "value": 0,
            "to": self.facts["contracts"][contract],
            "data": "0x" + data.hex(),
        }
        return "0x" + bytes(signer.sign_transaction(transaction | changes).raw_transaction).hex()

    def send(self, signer: LocalAccount, contract: str, function: str, *arguments: object, **changes: Any) -> str:
        """Relay a transaction; returns its hash."""
        raw = self.raw(signer, contract, function, *arguments, **changes)
        response = self.post("/v1/transactions", {"raw_transaction": raw})
        assert response.status_code == 202, response.text
        self.nonces[signer.address] = self.nonces.get(signer.address, 0) + 1
        transaction_hash: str = response.json()["transaction_hash"]
        return transaction_hash

    def post(self, path: str, body: object) -> httpx.Response:
        """Post JSON, whatever comes back."""
        return self.http.post(path, json=body)

    def onboard(self, *, supplier_eur: int = 100) -> None:
        """Two members, solar meter 1 of the seller and meter 2 of the buyer, 10 EUR each; the supplier has money."""
        admit(self, ((SELLER, 1), (BUYER, 0)))
        for account, amount in ((SELLER, 10 * EUR), (BUYER, 10 * EUR), (key("supplier"), supplier_eur * EUR)):
            self.fund(account, amount)
        self.work()

    def fund(self, account: LocalAccount, amount_microcents: int) -> None:
        """Issue tokens to an account and let it deposit them."""
        if not amount_microcents:
            return
        self.send(key("bank"), "SettlementToken", "issue", [account.address], [amount_microcents])
        self.send(account, "SettlementToken", "approve", self.facts["contracts"]["EnergyTrading"], amount_microcents)
        self.send(account, "EnergyTrading", "deposit", amount_microcents)

    # ---- orders

    @property
    def order_domain(self) -> OrderDomain:
        """Where orders are valid."""
        contract = self.facts["contracts"]["EnergyTrading"]
        return OrderDomain(chain_id=self.facts["chain_id"], trading_contract=contract)

    def order(self, side: Side, **changes: Any) -> Order:
        """600 Wh for the first MTU, offered at 10,000 or bid at 20,000 cents per MWh, with a fresh salt."""
        self.salt += 1
        sells = side is Side.SELL
        mtu_start = changes.pop("mtu_start", MTU_START)
        values: dict[str, Any] = {
            "owner": (SELLER if sells else BUYER).address,
            "meter": SELL_METER if sells else BUY_METER,
            "side": side,
            "product": Product.ANY,
            "pricing": Pricing.LIMIT,
            "first_mtu_start": mtu_start,
            "last_mtu_start": mtu_start,
            "quantity_wh": 600,
            "limit_cents_per_mwh": 10_000 if sells else 20_000,
            "expiry": mtu_start,
            "salt": self.salt,
        }
        return Order(**(values | changes))

    def order_body(
        self,
        order: Order,
        *,
        signer: LocalAccount | None = None,
        domain: OrderDomain | None = None,
        client_id: str | None = None,
    ) -> dict[str, Any]:
        """The order as it is posted, signed by its owner unless told otherwise."""
        document = encode_typed_data(full_message=order_typed_data(domain or self.order_domain, order))
        account = signer or PEOPLE[order.owner]
        body: dict[str, Any] = {
            "owner": order.owner,
            "meter": order.meter,
            "side": order.side.name.lower(),
            "product": order.product.name.lower(),
            "pricing": order.pricing.name.lower(),
            "first_mtu_start": format_utc(order.first_mtu_start),
            "last_mtu_start": format_utc(order.last_mtu_start),
            "quantity_kwh": kwh(order.quantity_wh),
            "price_cents_per_kwh": cents(order.limit_cents_per_mwh),
            "expiry": format_utc(order.expiry),
            "salt": str(order.salt),
            "signature": signature_text(account, document),
        }
        return body if client_id is None else body | {"client_id": client_id}

    def accept(self, order: Order, **named: Any) -> dict[str, Any]:
        """Post an order that must be accepted."""
        response = self.post("/v1/orders", self.order_body(order, **named))
        assert response.status_code == 201, response.text
        answer: dict[str, Any] = response.json()
        assert answer["uid"] == order_uid(self.order_domain, order)
        return answer

    def acceptance(self, offer_uid: str, **changes: Any) -> Acceptance:
        """The buyer's acceptance of 100 Wh for the first MTU, with a fresh salt."""
        self.salt += 1
        values: dict[str, Any] = {
            "owner": BUYER.address,
            "meter": BUY_METER,
            "offer_uid": offer_uid,
            "mtu_start": MTU_START,
            "quantity_wh": 100,
            "salt": self.salt,
        }
        return Acceptance(**(values | changes))

    def deal_body(self, acceptance: Acceptance, *, signer: LocalAccount | None = None) -> dict[str, Any]:
        """The acceptance as it is posted, signed by its owner unless told otherwise."""
        document = encode_typed_data(full_message=acceptance_typed_data(self.order_domain, acceptance))
        return {
            "owner": acceptance.owner,
            "meter": acceptance.meter,
            "offer_uid": acceptance.offer_uid,
            "mtu_start": format_utc(acceptance.mtu_start),
            "quantity_kwh": kwh(acceptance.quantity_wh),
            "salt": str(acceptance.salt),
            "signature": signature_text(signer or PEOPLE[acceptance.owner], document),
        }

    def deal(self, offer_uid: str, **changes: Any) -> dict[str, Any]:
        """Post an acceptance that must be accepted."""
        acceptance = self.acceptance(offer_uid, **changes)
        response = self.post("/v1/deals", self.deal_body(acceptance))
        assert response.status_code == 201, response.text
        answer: dict[str, Any] = response.json()
        assert answer["uid"] == acceptance_uid(self.order_domain, acceptance)
        return answer

    def cancel_up_to_body(
        self, owner: LocalAccount, salt: int, *, signer: LocalAccount | None = None
    ) -> dict[str, Any]:
        """A bulk cancellation as it is posted."""
        document = encode_typed_data(full_message=cancel_up_to_typed_data(self.order_domain, owner.address, salt))
        return {"owner": owner.address, "salt": str(salt), "signature": signature_text(signer or owner, document)}

    def cancel(self, uid: str, signer: LocalAccount) -> httpx.Response:
        """Ask for a cancellation."""
        document = encode_typed_data(full_message=cancel_typed_data(self.order_domain, uid))
        headers = {"Gridledger-Signature": signature_text(signer, document)}
        return self.http.delete(f"/v1/orders/{uid}", headers=headers)

    def pair(self, mtu_start: int = MTU_START, **changes: Any) -> tuple[str, str]:
        """Post one offer and one bid that match, and clear them; returns their uids."""
        uids = self.posted_pair(mtu_start, **changes)
        self.advance(mtu_start - GATE_CLOSURE_S)
        return uids

    def posted_pair(self, mtu_start: int = MTU_START, **changes: Any) -> tuple[str, str]:
        """Post one offer and one bid that match; returns their uids."""
        sell = self.accept(self.order(Side.SELL, mtu_start=mtu_start, **changes))["uid"]
        buy = self.accept(self.order(Side.BUY, mtu_start=mtu_start, **changes))["uid"]
        return sell, buy

    # ---- sessions

    def sign_in(self, account: LocalAccount) -> dict[str, str]:
        """Sign in by EIP-4361; returns the header of the session."""
        message = sign_in_message(account.address, self.http.post("/v1/sessions/nonce").json())
        response = self.post("/v1/sessions", {"message": message, "signature": sign_text(account, message)})
        assert response.status_code == 201, response.text
        return {"Authorization": f"Bearer {response.json()['token']}"}

    # ---- dispatch

    def answer_body(
        self,
        mtu_start: int = MTU_START,
        reason: int = 0,
        *,
        signer: LocalAccount | None = None,
    ) -> dict[str, Any]:
        """The grid operator's signed acknowledgement of whatever the chain says was scheduled."""
        (schedule_hash,) = self.view("EnergyDispatching", "scheduleHashOf", ZONE, mtu_start)
        typed = answer_typed_data(self.dispatch_domain, ZONE, mtu_start, "0x" + schedule_hash.hex(), reason)
        document = encode_typed_data(full_message=typed)
        return {
            "zone": ZONE,
            "mtu_start": format_utc(mtu_start),
            "answer": "acknowledged",
            "reason": reason,
            "signature": signature_text(signer or key("grid_operator"), document),
        }

    def answer(self, mtu_start: int = MTU_START, reason: int = 0) -> None:
        """Relay the grid operator's acknowledgement and let the chain record it."""
        body = self.answer_body(mtu_start, reason)
        self.answered = body["signature"]
        response = self.post("/v1/dispatch/answers", body)
        assert response.status_code == 202, response.text
        self.work()

    def stop_body(self, mtu_start: int = MTU_START, reason: int = 4, count: int = 1) -> dict[str, Any]:
        """The grid operator's signed emergency stop."""
        stop = EmergencyStop(zone=ZONE, first_mtu_start=mtu_start, mtu_count=count, reason=reason)
        document = encode_typed_data(full_message=stop_typed_data(self.dispatch_domain, stop))
        return {
            "zone": ZONE,
            "first_mtu_start": format_utc(mtu_start),
            "mtu_count": count,
            "reason": reason,
            "signature": signature_text(key("grid_operator"), document),
        }

    def stop(self, mtu_start: int = MTU_START, reason: int = 4) -> None:
        """Relay the grid operator's emergency stop and let the chain record it."""
        response = self.post("/v1/dispatch/stops", self.stop_body(mtu_start, reason))
        assert response.status_code == 202, response.text
        self.work()

    def curtailment_body(
        self, caps_wh: Mapping[int, int], mtu_start: int = MTU_START, **changes: Any
    ) -> dict[str, Any]:
        """The grid operator's signed caps of net export; fields of the curtailment can be changed."""
        (schedule_hash,) = self.view("EnergyDispatching", "scheduleHashOf", ZONE, mtu_start)
        fields: dict[str, Any] = {
            "zone": ZONE,
            "mtu_start": mtu_start,
            "schedule_hash": "0x" + schedule_hash.hex(),
            "direction": Direction.EXPORT,
            "reason": 1,
            "emergency": False,
            "sequence": 0,
            "caps_wh": caps_wh,
        } | changes
        signed = Curtailment(**fields)
        document = encode_typed_data(full_message=curtailment_typed_data(self.dispatch_domain, signed))
        return {
            **{name: fields[name] for name in ("zone", "schedule_hash", "reason", "emergency", "sequence")},
            "mtu_start": format_utc(signed.mtu_start),
            "direction": signed.direction.name.lower(),
            "caps": [{"meter": meter, "cap_wh": cap_wh} for meter, cap_wh in sorted(signed.caps_wh.items())],
            "signature": signature_text(key("grid_operator"), document),
        }

    def curtail(self, caps_wh: Mapping[int, int], mtu_start: int = MTU_START, **changes: Any) -> None:
        """Relay the grid operator's caps and let the chain record them."""
        response = self.post("/v1/dispatch/curtailments", self.curtailment_body(caps_wh, mtu_start, **changes))
        assert response.status_code == 202, response.text
        self.work()

    @property
    def dispatch_domain(self) -> DispatchDomain:
        """Where the grid operator's answers are valid."""
        return DispatchDomain(
            chain_id=self.facts["chain_id"], dispatching_contract=self.facts["contracts"]["EnergyDispatching"]
        )

    # ---- readings

    def reading(self, meter: int, net_wh: int, mtu_start: int = MTU_START, **changes: Any) -> str:
        """A signed reading of export minus import."""
        values: dict[str, Any] = {
            "meter": meter,
            "meter_id": f"load {meter}",
            "mtu_start": mtu_start,
            "interval_s": MTU_LENGTH_S,
            "import_wh": max(0, -net_wh),
            "export_wh": max(0, net_wh),
            "counter": mtu_start // MTU_LENGTH_S,
        }
        signer = changes.pop("signer", meter)
        return Device(signer).sign(Reading(**(values | changes)))

    def read(self, net_wh: Mapping[int, int], mtu_start: int = MTU_START) -> list[dict[str, Any]]:
        """Post readings of several meters; returns the results."""
        texts = [self.reading(meter, net, mtu_start) for meter, net in net_wh.items()]
        response = self.post("/v1/readings", {"readings": texts})
        assert response.status_code == 200, response.text
        results: list[dict[str, Any]] = response.json()["results"]
        return results

    def deliver(self, net_wh: Mapping[int, int], mtu_start: int = MTU_START) -> None:
        """Move past the MTU, post good readings and let everything settle."""
        self.advance(mtu_start + MTU_LENGTH_S)
        assert self.read(net_wh, mtu_start) == [{"status": "accepted"}] * len(net_wh)
        self.work()

    # ---- everything the node remembers

    def memory(self) -> dict[str, list[tuple[object, ...]]]:
        """All rows of all tables, read beside the node."""
        return self.memory_of(self.folder)

    @staticmethod
    def memory_of(folder: NodeFolder) -> dict[str, list[tuple[object, ...]]]:
        """All rows of all tables of a folder's database, but what a thread of its own tells OpenADR clients of them."""
        with closing(sqlite3.connect(folder.database)) as connection:
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            tables = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}
        return {
            name: sorted((row for row in rows if not str(row[0]).startswith("openadr_")), key=repr)
            for name, rows in tables.items()
            if not name.startswith("openadr_")
        }

    @staticmethod
    def execute(folder: NodeFolder, statement: str) -> None:
        """Change a stopped node's database behind its back."""
        with closing(sqlite3.connect(folder.database)) as connection, connection:
            connection.execute(statement)


def admit(running: RunningNode, members: tuple[tuple[LocalAccount, int], ...]) -> None:
    """Admit members and register one meter each (4 kW in, 8 kW out) with the given source, numbered from 1."""
    accounts = [account.address for account, _ in members]
    operator = key("grid_operator")
    running.send(operator, "ParticipantRegistry", "admitParticipants", accounts, key("supplier").address)
    devices = [Device(number).key for number in range(1, len(members) + 1)]
    meters = [
        (account.address, ZONE, 4_000, 8_000, source, device.x, device.y)
        for (account, source), device in zip(members, devices, strict=True)
    ]
    running.send(operator, "ParticipantRegistry", "registerMeters", meters)
    running.work()


def sign_in_message(address: str, challenge: Mapping[str, Any], **changes: str) -> str:
    """An EIP-4361 message as a wallet writes it, by the specification and not by any library."""
    fields = {name: str(value) for name, value in challenge.items()} | changes
    lines = [
        f"{fields['domain']} wants you to sign in with your Ethereum account:",
        address,
        "",
        "Read my notices.",
        "",
        f"URI: {fields['uri']}",
        f"Version: {fields['version']}",
        f"Chain ID: {fields['chain_id']}",
        f"Nonce: {fields['nonce']}",
        f"Issued At: {fields['issued_at']}",
    ]
    lines += [
        f"{title}: {fields[name]}"
        for name, title in (("expiration_time", "Expiration Time"), ("not_before", "Not Before"))
        if name in fields
    ]
    return "\n".join(lines)


def sign_text(account: LocalAccount, text: str) -> str:
    """EIP-191 signature over a text, 0x hex."""
    return signature_text(account, encode_defunct(text=text))


def signature_text(account: LocalAccount, document: Any) -> str:
    """65 bytes r, s, v as 0x hex."""
    return "0x" + bytes(Account.sign_message(document, account.key).signature).hex()


def assert_problem(response: httpx.Response, status: int, code: str, **values: object) -> None:
    """The answer is that problem, in RFC 9457's form, with these failing values among its members."""
    assert response.headers["content-type"] == PROBLEM, response.text
    document = response.json()
    expected = code if code == "about:blank" else PROBLEM_TYPE + code
    assert (response.status_code, document["type"], document["status"]) == (status, expected, status), response.text
    assert document["title"]
    assert {name: document.get(name) for name in values} == values


@contextmanager
def served(
    folder: NodeFolder,
    *,
    simulated: bool = True,
    settings: NodeSettings | None = None,
    listener: socket.socket | None = None,
) -> Iterator[RunningNode]:
    """A started node behind HTTP on a free port of this machine, or on one that the settings name already."""
    node = Node(folder, simulated=simulated, settings=settings)
    node.start()
    listener = socket.create_server(("127.0.0.1", 0)) if listener is None else listener
    config = uvicorn.Config(
        node.application, log_level="warning", access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="http")
    thread.start()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            yield RunningNode(node, folder, client)
    finally:
        server.should_exit = True
        thread.join()
        node.close()
