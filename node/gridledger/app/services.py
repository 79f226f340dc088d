"""Rooms wired to the repositories of one transaction."""

from dataclasses import dataclass
from typing import Any

from coincurve import PrivateKey
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount

from gridledger.api.context import Services
from gridledger.app.demand_response import calendar_of
from gridledger.chain.commands import Command, CommandEncoder
from gridledger.clock import Clock
from gridledger.dispatch.baseline import BaselineRule, MeasuringTerms
from gridledger.dispatch.committing import SetpointService
from gridledger.dispatch.demand_service import DemandService
from gridledger.dispatch.measurement import MeasurementService
from gridledger.dispatch.model import DispatchDomain
from gridledger.dispatch.ports import SetpointSalts
from gridledger.dispatch.service import DispatchService
from gridledger.market.defence import Defender
from gridledger.market.desk import DeskSettings, OrderDesk
from gridledger.market.order_hash import OrderDomain
from gridledger.market.receipts import receipt_digest
from gridledger.market.service import MarketService
from gridledger.metering.anchoring import AnchoringService
from gridledger.metering.estimation import Calendar
from gridledger.metering.events import MeteringDomain
from gridledger.metering.ports import Salts
from gridledger.metering.service import MeteringService
from gridledger.metering.statements import MeterEventService
from gridledger.metering.substitutes import EstimationService
from gridledger.store.transaction import Transaction

__all__ = ["OperatorReceipts", "OutboxLedger", "ServiceFactory"]


class OutboxLedger:
    """Keeps commands in the outbox of the transaction they belong to."""

    def __init__(self, encoder: CommandEncoder, tx: Transaction, clock: Clock) -> None:
        self._encoder = encoder
        self._tx = tx
        self._clock = clock

    def submit(self, command: Command) -> None:
        """Encode and keep a command."""
        call = self._encoder.encode(command)
        self._tx.outbox.add(
            kind=call.kind,
            signer=call.signer,
            to_address=call.to_address,
            data=call.data,
            zone=call.zone,
            mtu_start=call.mtu_start,
            created_at=self._clock.now(),
        )


class OperatorReceipts:
    """Signs receipts with the market operator's key."""

    def __init__(self, key: LocalAccount, domain: OrderDomain) -> None:
        self._account = key
        self._key = PrivateKey(bytes(key.key))
        self._domain = domain

    def sign(self, order_uid: str, running_number: int, received_at: int, block_hash: str) -> str:
        """EIP-712 signature over the receipt, 0x hex."""
        digest = receipt_digest(self._domain, order_uid, running_number, received_at, block_hash)
        compact = self._key.sign_recoverable(digest, hasher=None)
        return "0x" + compact[:64].hex() + f"{compact[64] + 27:02x}"

    def sign_document(self, document: dict[str, Any]) -> bytes:
        """65 bytes r, s, v over an EIP-712 document."""
        return bytes(self._account.sign_message(encode_typed_data(full_message=document)).signature)


@dataclass(frozen=True, kw_only=True)
class ServiceFactory:
    """Builds the rooms for a transaction."""

    desk_settings: DeskSettings
    dispatch_domain: DispatchDomain
    metering_domain: MeteringDomain
    clock: Clock
    encoder: CommandEncoder
    receipts: OperatorReceipts
    salts: Salts
    setpoint_salts: SetpointSalts
    calendar: Calendar
    baseline: BaselineRule

    @property
    def demand_terms(self) -> MeasuringTerms:
        """What demand response is measured by from now on."""
        days = tuple(sorted(self.calendar.holidays))
        return MeasuringTerms(rule=self.baseline, civil_time=str(self.calendar.civil_time), holidays=days)

    def __call__(self, tx: Transaction) -> Services:
        """Rooms over the repositories of `tx`."""
        ledger = OutboxLedger(self.encoder, tx, self.clock)
        metering = MeteringService(
            directory=tx.readings,
            store=tx.readings,
            parts=tx.reading_parts,
            events=tx.meter_events,
            clock=self.clock,
            salts=self.salts,
            mtu_length_s=self.desk_settings.mtu_length_s,
        )
        return Services(
            desk=OrderDesk(
                settings=self.desk_settings,
                clock=self.clock,
                directory=tx.directory,
                orders=tx.orders,
                receipts=self.receipts,
                notices=tx.notices,
            ),
            market=MarketService(
                mtu_length_s=self.desk_settings.mtu_length_s,
                clock=self.clock,
                directory=tx.directory,
                orders=tx.orders,
                mtus=tx.mtus,
                ledger=ledger,
                notices=tx.notices,
                schedules=SetpointService(store=tx.dispatches, salts=self.setpoint_salts),
            ),
            defender=Defender(
                clock=self.clock, directory=tx.directory, mtus=tx.mtus, challenges=tx.challenges, ledger=ledger
            ),
            metering=metering,
            meter_events=MeterEventService(
                domain=self.metering_domain,
                directory=tx.readings,
                operators=tx.directory,
                registers=tx.readings,
                store=tx.meter_events,
                clock=self.clock,
                mtu_length_s=self.desk_settings.mtu_length_s,
            ),
            estimation=EstimationService(
                store=tx.substitutes,
                clock=self.clock,
                mtu_length_s=self.desk_settings.mtu_length_s,
                calendar=self.calendar,
            ),
            anchoring=AnchoringService(store=tx.readings, ledger=ledger),
            dispatch=DispatchService(
                domain=self.dispatch_domain,
                mtu_length_s=self.desk_settings.mtu_length_s,
                clock=self.clock,
                schedules=tx.dispatches,
                ledger=ledger,
            ),
            demand=DemandService(
                domain=self.dispatch_domain,
                zones=tx.directory,
                store=tx.demand,
                clock=self.clock,
                mtu_length_s=self.desk_settings.mtu_length_s,
                terms=self.demand_terms,
                signer=self.receipts,
            ),
            measurement=MeasurementService(
                store=tx.demand_measurements,
                clock=self.clock,
                mtu_length_s=self.desk_settings.mtu_length_s,
                calendars=calendar_of,
            ),
        )
