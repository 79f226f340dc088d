"""From the rooms' commands to contract calls: which contract, which function, which role's key, which bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gridledger.chain.client import ChainClient
from gridledger.chain.roles import Role
from gridledger.dispatch.model import Curtailment
from gridledger.dispatch.ports import DispatchCommand, RelayAnswer, RelayCurtailment, RelayStop
from gridledger.market.book import book_bytes
from gridledger.market.defence import DefeatByCancel, DefeatByIneligibility, DefenceCommand
from gridledger.market.locking import PresentedOrder, Proposal
from gridledger.market.model import BookEntry, SignedAcceptance
from gridledger.market.packing import acceptance_words, order_words, position_words, trade_word
from gridledger.market.ports import (
    ApplyCaps,
    CommitBook,
    LedgerCommand,
    PublishPrice,
    RecordIneligible,
    SettlementKind,
    SettlePositions,
    SubmitClearing,
)
from gridledger.metering.anchoring import AnchorReadings

__all__ = [
    "NO_ORDER",
    "Call",
    "Command",
    "CommandEncoder",
    "clearing_tuple",
    "compact_signature",
    "curtailment_tuple",
    "order_tuple",
]

NO_ORDER = 2**16 - 1
MarketCommand = LedgerCommand | DefenceCommand | DispatchCommand
Command = MarketCommand | AnchorReadings


@dataclass(frozen=True, kw_only=True)
class Call:
    """A contract call to be signed by one of the node's keys."""

    kind: str
    signer: str
    to_address: str
    data: bytes
    zone: int | None
    mtu_start: int | None


def compact_signature(signature: bytes) -> tuple[bytes, bytes]:
    """R and vs of a 65-byte signature (EIP-2098)."""
    r, s, v = signature[:32], int.from_bytes(signature[32:64]), signature[64]
    return r, (s | (v - 27) << 255).to_bytes(32)


def clearing_tuple(
    zone: int, mtu_start: int, book: Sequence[BookEntry], proposal: Proposal, setpoints_root: bytes
) -> tuple[object, ...]:
    """A chunk of a clearing in the order of the contract's struct."""
    presented = {item.book_index for item in (*proposal.orders, *proposal.ends)}
    return (
        zone,
        mtu_start,
        proposal.part.chunk,
        proposal.part.last,
        proposal.merged,
        proposal.any_price_cents_per_mwh,
        proposal.low_carbon_price_cents_per_mwh,
        _ends_tuple(proposal.any_ends),
        _ends_tuple(proposal.low_carbon_ends),
        b"".join(entry.running_number.to_bytes(8) for entry in book),
        [bytes.fromhex(entry.uid[2:]) for index, entry in enumerate(book) if index not in presented],
        [order_tuple(item) for item in proposal.orders],
        [order_tuple(item) for item in proposal.ends],
        list(proposal.accepted_offers),
        sorted(proposal.part.continued),
        setpoints_root,
    )


def order_tuple(item: PresentedOrder) -> tuple[object, ...]:
    """A presented order or acceptance in the order of the contract's struct."""
    signed = item.entry.signed
    if isinstance(signed, SignedAcceptance):
        terms, guard = acceptance_words(signed.acceptance, book_index=item.book_index)
    else:
        terms, guard = order_words(signed.order, book_index=item.book_index, fill_wh=item.fill_wh)
    return (terms, guard, *compact_signature(signed.signature))


def curtailment_tuple(curtailment: Curtailment) -> tuple[object, ...]:
    """A curtailment in the order of the contract's struct."""
    return (
        curtailment.zone,
        curtailment.mtu_start,
        bytes.fromhex(curtailment.schedule_hash[2:]),
        int(curtailment.direction),
        curtailment.reason,
        curtailment.emergency,
        curtailment.sequence,
        _caps_list(curtailment.caps_wh),
    )


class CommandEncoder:
    """Encodes commands for one deployment; `signers` maps a role to the account that sends for it."""

    def __init__(self, client: ChainClient, signers: Mapping[Role, str]) -> None:
        self._client = client
        self._signers = signers

    def encode(self, command: Command) -> Call:
        """The call that carries out a command."""
        match command:
            case RelayAnswer() | RelayCurtailment() | RelayStop():
                return self._dispatch(command)
            case DefeatByCancel() | DefeatByIneligibility():
                return self._defence(command)
            case AnchorReadings():
                root = bytes.fromhex(command.root[2:])
                data = self._client.codecs["MeterLedger"].call_data(
                    "anchor", command.sequence, root, command.reading_count
                )
                return self._with_data(command, Role.RELAYER, "MeterLedger", data)
            case _:
                return self._market(command)

    def _market(self, command: LedgerCommand) -> Call:
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
            case RecordIneligible():
                return self._record(command)
            case SubmitClearing():
                return self._clearing(command)
            case SettlePositions():
                return self._settlement(command)
            case ApplyCaps():
                words = position_words(command.positions), [trade_word(deal) for deal in command.deals]
                caps = _caps_list(command.caps_wh)
                return self._call(command, Role.RELAYER, "EnergyCurtailment", "applyCaps", command.chunk, *words, caps)

    def _dispatch(self, command: DispatchCommand) -> Call:
        r, vs = compact_signature(command.signature)
        match command:
            case RelayAnswer():
                arguments = int(command.answer), command.reason
                return self._call(command, Role.RELAYER, "EnergyDispatching", "answer", *arguments, r, vs)
            case RelayStop():
                arguments = command.stop.mtu_count, command.stop.reason
                return self._call(command, Role.RELAYER, "EnergyDispatching", "stop", *arguments, r, vs)
            case RelayCurtailment():
                return self._curtailment(command)

    def _defence(self, command: DefenceCommand) -> Call:
        if isinstance(command, DefeatByCancel):
            return self._defeat(command)
        data = self._bond_data("defeatByIneligibility", command, book_bytes(command.book))
        return self._with_data(command, Role.RELAYER, "MarketBond", data)

    def _call(self, command: MarketCommand, role: Role, contract: str, function: str, *arguments: object) -> Call:
        codec = self._client.codecs[contract]
        return self._with_data(
            command, role, contract, codec.call_data(function, command.zone, command.mtu_start, *arguments)
        )

    def _curtailment(self, command: RelayCurtailment) -> Call:
        signed = command.curtailment
        data = self._client.codecs["EnergyDispatching"].call_data(
            "curtail",
            curtailment_tuple(signed),
            bytes.fromhex(command.result_hash[2:]),
            bytes.fromhex(command.setpoints_root[2:]),
            [
                (one.row.contracted_wh, one.row.residual_wh, one.salt, list(proof))
                for one, proof in zip(command.setpoints, command.proofs, strict=True)
            ],
            *compact_signature(command.signature),
        )
        return self._with_data(command, Role.RELAYER, "EnergyDispatching", data)

    def _clearing(self, command: SubmitClearing) -> Call:
        root = bytes.fromhex(command.setpoints_root[2:])
        clearing = clearing_tuple(command.zone, command.mtu_start, command.book, command.proposal, root)
        data = self._client.codecs["EnergyTrading"].call_data("clear", clearing)
        return self._with_data(command, Role.MARKET_OPERATOR, "EnergyTrading", data)

    def _record(self, command: RecordIneligible) -> Call:
        book = list(command.book)
        places = {entry.uid: index for index, entry in enumerate(book)}

        def words(uid: str) -> tuple[object, ...]:
            return order_tuple(PresentedOrder(entry=book[places[uid]], book_index=places[uid], fill_wh=0))

        owners = [[(words(entry.uid), words(_offer_uid(entry))) for entry in lines] for lines in command.owners]
        return self._call(command, Role.MARKET_OPERATOR, "MarketBond", "recordIneligible", book_bytes(book), owners)

    def _defeat(self, command: DefeatByCancel) -> Call:
        r, vs = compact_signature(command.signature)
        if command.salt is None:
            data = self._bond_data("defeatByCancel", command, r, vs)
        else:
            data = self._bond_data("defeatByCancelUpTo", command, command.salt, r, vs)
        return self._with_data(command, Role.RELAYER, "MarketBond", data)

    def _bond_data(self, function: str, command: DefenceCommand, *arguments: object) -> bytes:
        codec = self._client.codecs["MarketBond"]
        return codec.call_data(function, command.owner, command.zone, command.mtu_start, *arguments)

    def _settlement(self, command: SettlePositions) -> Call:
        presented: tuple[object, ...] = (
            command.chunk,
            position_words(command.positions),
            [trade_word(deal) for deal in command.deals],
            list(command.indexes),
        )
        match command.kind:
            case SettlementKind.READINGS:
                presented = (*presented, list(command.metered_wh))
                return self._call(command, Role.MARKET_OPERATOR, "EnergySettlement", "settle", *presented)
            case SettlementKind.SUBSTITUTES:
                return self._call(command, Role.MARKET_OPERATOR, "EnergySettlement", "settleSubstitutes", *presented)
            case SettlementKind.REFUND:
                return self._call(command, Role.MARKET_OPERATOR, "EnergySettlement", "refund", *presented)

    def _with_data(self, command: Command, role: Role, contract: str, data: bytes) -> Call:
        return Call(
            kind=type(command).__name__,
            signer=self._signers[role],
            to_address=self._client.address(contract),
            data=data,
            zone=None if isinstance(command, AnchorReadings) else command.zone,
            mtu_start=None if isinstance(command, AnchorReadings) else command.mtu_start,
        )


def _offer_uid(entry: BookEntry) -> str:
    """Uid of the offer an acceptance is of; an order stands for itself, for the contract reads no offer of it."""
    return entry.signed.acceptance.offer_uid if isinstance(entry.signed, SignedAcceptance) else entry.uid


def _caps_list(caps_wh: Mapping[int, int]) -> list[tuple[int, int]]:
    """Caps in the order of the contract's list."""
    return sorted(caps_wh.items())


def _ends_tuple(ends: tuple[int | None, int | None]) -> tuple[int, int]:
    lower, upper = ends
    return NO_ORDER if lower is None else lower, NO_ORDER if upper is None else upper
