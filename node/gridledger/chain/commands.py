"""From the rooms' commands to contract calls: which contract, which function, which role's key, which bytes."""

from collections.abc import Mapping
from dataclasses import dataclass

from gridledger.chain.client import ChainClient
from gridledger.chain.roles import Role
from gridledger.dispatch.ports import RelayAnswer
from gridledger.market.locking import ListedOrder, Proposal
from gridledger.market.model import Position, Trade
from gridledger.market.ports import CommitBook, LedgerCommand, PublishPrice, SettlePositions, SubmitClearing
from gridledger.metering.anchoring import AnchorReadings

__all__ = ["NO_ORDER", "Call", "Command", "CommandEncoder", "compact_signature", "position_tuple", "trade_tuple"]

NO_ORDER = 2**16 - 1
Command = LedgerCommand | RelayAnswer | AnchorReadings


@dataclass(frozen=True, kw_only=True)
class Call:
    """A contract call to be signed by one of the node's keys."""

    kind: str
    signer: str
    to_address: str
    data: bytes
    zone: int
    mtu_start: int


def compact_signature(signature: bytes) -> tuple[bytes, bytes]:
    """R and vs of a 65-byte signature (EIP-2098)."""
    r, s, v = signature[:32], int.from_bytes(signature[32:64]), signature[64]
    return r, (s | (v - 27) << 255).to_bytes(32)


def position_tuple(position: Position) -> tuple[object, ...]:
    """A position in the order of the contract's struct."""
    return (
        position.meter,
        position.source,
        position.settled,
        position.owner,
        position.supplier,
        position.contracted_wh,
        position.metered_wh,
        position.locked_microcents,
        position.fee_microcents,
    )


def trade_tuple(trade: Trade) -> tuple[object, ...]:
    """A trade in the order of the contract's struct."""
    return trade.sell, trade.buy, trade.energy_wh, trade.rewarded_wh, trade.rewarded


class CommandEncoder:
    """Encodes commands for one deployment; `signers` maps a role to the account that sends for it."""

    def __init__(self, client: ChainClient, signers: Mapping[Role, str]) -> None:
        self._client = client
        self._signers = signers

    def encode(self, command: Command) -> Call:
        """The call that carries out a command."""
        match command:
            case CommitBook():
                book_hash = bytes.fromhex(command.book_hash[2:])
                return self._call(
                    command, Role.MARKET_OPERATOR, "EnergyTrading", "commitBook", book_hash, command.order_count
                )
            case PublishPrice():
                return self._call(
                    command, Role.MARKET_OPERATOR, "EnergyPricing", "publish", command.supply_wh, command.demand_wh
                )
            case SubmitClearing():
                return self._clearing(command)
            case SettlePositions():
                return self._call(
                    command,
                    Role.MARKET_OPERATOR,
                    "EnergyTrading",
                    "settle",
                    [position_tuple(position) for position in command.positions],
                    [trade_tuple(trade) for trade in command.trades],
                    list(command.indexes),
                    list(command.metered_wh),
                )
            case AnchorReadings():
                root = bytes.fromhex(command.root[2:])
                return self._call(
                    command, Role.RELAYER, "MeterLedger", "anchor", command.sequence, root, command.reading_count
                )
            case RelayAnswer():
                r, vs = compact_signature(command.signature)
                return self._call(
                    command,
                    Role.RELAYER,
                    "EnergyDispatching",
                    "answer",
                    int(command.answer),
                    command.reason,
                    r,
                    vs,
                )

    def _call(self, command: Command, role: Role, contract: str, function: str, *arguments: object) -> Call:
        codec = self._client.codecs[contract]
        return self._with_data(
            command, role, contract, codec.call_data(function, command.zone, command.mtu_start, *arguments)
        )

    def _clearing(self, command: SubmitClearing) -> Call:
        proposal = command.proposal
        clearing = (
            command.zone,
            command.mtu_start,
            proposal.price_cents_per_mwh,
            NO_ORDER if proposal.lower_end is None else proposal.lower_end,
            NO_ORDER if proposal.upper_end is None else proposal.upper_end,
            command.book,
            [_order_tuple(item) for item in proposal.orders],
            [_order_tuple(item) for item in proposal.ends],
            _match_tuples(proposal),
        )
        data = self._client.codecs["EnergyTrading"].call_data("clear", clearing)
        return self._with_data(command, Role.MARKET_OPERATOR, "EnergyTrading", data)

    def _with_data(self, command: Command, role: Role, contract: str, data: bytes) -> Call:
        return Call(
            kind=type(command).__name__,
            signer=self._signers[role],
            to_address=self._client.address(contract),
            data=data,
            zone=command.zone,
            mtu_start=command.mtu_start,
        )


def _order_tuple(item: ListedOrder) -> tuple[object, ...]:
    order = item.entry.signed.order
    r, vs = compact_signature(item.entry.signed.signature)
    return (
        order.meter,
        int(order.side),
        int(order.product),
        int(order.pricing),
        order.first_mtu_start,
        order.last_mtu_start,
        order.quantity_wh,
        order.limit_cents_per_mwh,
        order.expiry,
        order.salt,
        item.book_index,
        r,
        vs,
    )


def _match_tuples(proposal: Proposal) -> list[tuple[int, int, int]]:
    return [(match.sell, match.buy, match.energy_wh) for match in proposal.matches]
