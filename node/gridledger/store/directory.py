"""Members and rules as the chain states them; implements `market.ports.MarketDirectory`."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, or_, select, update

from gridledger.market.model import CashAccount, MemberFacts, MeterFacts, MtuPrices, Policy
from gridledger.market.tariffs import policy_of, prices_of
from gridledger.store.lists import in_list, list_parameter
from gridledger.store.schema import (
    cash_account,
    cash_debt,
    chain_block,
    feed_in_price,
    grid_factor,
    meter,
    node_fact,
    participant,
    policy_version,
    role_member,
    supplier,
    suspension,
    zone,
)

__all__ = ["Directory"]

_WHOLE_MARKET = 0

# Statements of the intake's hot path, built once.
_METERS = (
    select(meter, participant.c.supplier, supplier.c.number.label("supplier_number"))
    .join(participant, participant.c.account == meter.c.owner)
    .join(supplier, supplier.c.account == participant.c.supplier)
    .where(meter.c.meter.in_(in_list("numbers")))
)
_MEMBERS = (
    select(
        participant.c.account.label("member"),
        suspension.c.account.is_not(None).label("suspended"),
        *(column for column in cash_account.c if column is not cash_account.c.account),
    )
    .outerjoin(suspension, suspension.c.account == participant.c.account)
    .outerjoin(cash_account, cash_account.c.account == participant.c.account)
    .where(participant.c.account.in_(in_list("accounts")))
)
_SUPPLIER_OF = select(participant.c.supplier).where(participant.c.account == bindparam("account"))
_SUSPENSION = select(suspension).where(suspension.c.account == bindparam("account"))
_HALTED = select(zone.c.zone).where(
    or_(zone.c.zone == _WHOLE_MARKET, zone.c.zone == bindparam("number")), zone.c.halted.is_(True)
)
_ACCOUNT = select(cash_account).where(cash_account.c.account == bindparam("account"))
_MONEY_VALUES: dict[str, Any] = {entry.name: bindparam(entry.name) for entry in fields(CashAccount)}
_UPDATE_ACCOUNT = update(cash_account).where(cash_account.c.account == bindparam("key")).values(**_MONEY_VALUES)
_INSERT_ACCOUNT = insert(cash_account).values(account=bindparam("key"), **_MONEY_VALUES)


class Directory:
    """Members, meters, money and rules of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._policy_values: dict[int, Mapping[str, Any]] = {}
        self._policies: dict[int, Policy] = {}
        self._prices: dict[int, MtuPrices] = {}
        self._zones: dict[int, str] | None = None
        self._zone_of: dict[int, int] = {}  # never changes
        self._latest_block_hash: str | None = None

    def meters(self, meters: Collection[int]) -> dict[int, MeterFacts]:
        """Facts of many meters; unknown ones are left out."""
        return {
            row.meter: _facts(row) for row in self._connection.execute(_METERS, {"numbers": list_parameter(meters)})
        }

    def zone_of(self, number: int) -> int:
        """Zone of a registered meter."""
        if number not in self._zone_of:
            query = select(meter.c.zone).where(meter.c.meter == number)
            self._zone_of[number] = self._connection.execute(query).scalar_one()
        return self._zone_of[number]

    def meter_row(self, number: int) -> Row[Any] | None:
        """The registry's row of a meter, with its device key."""
        return self._connection.execute(select(meter).where(meter.c.meter == number)).first()

    def meters_of(self, account: str) -> tuple[int, ...]:
        """Numbers of the account's meters, ascending."""
        query = select(meter.c.meter).where(meter.c.owner == account).order_by(meter.c.meter)
        return tuple(self._connection.execute(query).scalars())

    def meter_count(self, zone_number: int | None = None) -> int:
        """How many meters are registered, in one zone or in all."""
        query = select(func.count()).select_from(meter)
        if zone_number is not None:
            query = query.where(meter.c.zone == zone_number)
        return self._connection.execute(query).scalar_one()

    def grid_operator_of(self, zone_number: int) -> str:
        """The account that answers for a zone and receives its grid fees."""
        return self.zones()[zone_number]

    def zones(self) -> dict[int, str]:
        """Grid operator by zone."""
        if self._zones is None:
            rows = self._connection.execute(select(zone.c.zone, zone.c.grid_operator).order_by(zone.c.zone))
            self._zones = {row.zone: row.grid_operator for row in rows if row.grid_operator}
        return self._zones

    def members(self, accounts: Collection[str]) -> dict[str, MemberFacts]:
        """Facts of many accounts; those that may not trade are left out."""
        rows = self._connection.execute(_MEMBERS, {"accounts": list_parameter(accounts)})
        return {row.member: MemberFacts(suspended=row.suspended, account=_money(row)) for row in rows}

    def is_admitted(self, account: str) -> bool:
        """Whether the account may trade."""
        return self.supplier_of(account) is not None

    def supplier_of(self, account: str) -> str | None:
        """The supplier of an admitted account."""
        return self._connection.execute(_SUPPLIER_OF, {"account": account}).scalar()

    def is_supplier(self, account: str) -> bool:
        """Whether the account is a registered supplier."""
        return self._connection.execute(select(supplier).where(supplier.c.account == account)).first() is not None

    def is_grid_operator(self, account: str) -> bool:
        """Whether the account answers for a zone."""
        return account in self.zones().values()

    def holds_role(self, account: str, role: int, now: int) -> bool:
        """Whether the access manager counts the account among the members of a role at a moment, Unix seconds."""
        query = select(role_member).where(
            role_member.c.role == role, role_member.c.account == account, role_member.c.since <= now
        )
        return self._connection.execute(query).first() is not None

    def is_suspended(self, account: str) -> bool:
        """Whether the regulator has suspended the account."""
        return self._connection.execute(_SUSPENSION, {"account": account}).first() is not None

    def is_halted(self, zone_number: int) -> bool:
        """Whether the zone or the whole market is halted."""
        return self._connection.execute(_HALTED, {"number": zone_number}).first() is not None

    def account(self, account: str) -> CashAccount:
        """Free money and credit, and what of them has been asked back; zero for one that never moved money."""
        row = self._connection.execute(_ACCOUNT, {"account": account}).first()
        return CashAccount(free_microcents=0, credit_microcents=0) if row is None else _money(row)

    def accounts(self) -> dict[str, CashAccount]:
        """Every account's money."""
        return {row.account: _money(row) for row in self._connection.execute(select(cash_account))}

    def set_credit(self, account: str, credit_microcents: int) -> int:
        """Keep an account's credit limit, which ends a requested cut; returns the one before."""
        before = self.account(account)
        self._keep_account(account, replace(before, credit_microcents=credit_microcents, cut_microcents=0, cut_at=0))
        return before.credit_microcents

    def request_withdrawal(self, account: str, amount_microcents: int, requested_at: int) -> None:
        """Keep what an account wants to have paid out; zero ends an earlier request."""
        self._keep_account(
            account,
            replace(
                self.account(account),
                withdrawal_microcents=amount_microcents,
                withdrawal_at=requested_at if amount_microcents else 0,
            ),
        )

    def request_credit_cut(self, account: str, credit_microcents: int, requested_at: int) -> None:
        """Keep the lower credit limit a supplier wants."""
        wanted = replace(self.account(account), cut_microcents=credit_microcents, cut_at=requested_at)
        self._keep_account(account, wanted)

    def change_free(self, changes_microcents: Mapping[str, int]) -> None:
        """Add signed amounts to accounts' free money."""
        for account, amount in changes_microcents.items():
            if amount:
                before = self.account(account)
                self._keep_account(account, replace(before, free_microcents=before.free_microcents + amount))

    def _keep_account(self, account: str, money: CashAccount) -> None:
        values = {"key": account, **asdict(money)}
        if self._connection.execute(_UPDATE_ACCOUNT, values).rowcount == 0:
            self._connection.execute(_INSERT_ACCOUNT, values)

    def add_debt(self, debtor: str, creditor: str, amount_microcents: int) -> None:
        """Raise (or with a negative amount lower) a recorded debt."""
        where = (cash_debt.c.debtor == debtor, cash_debt.c.creditor == creditor)
        before = self._connection.execute(select(cash_debt.c.amount_microcents).where(*where)).scalar()
        if before is None:
            self._connection.execute(
                insert(cash_debt).values(debtor=debtor, creditor=creditor, amount_microcents=amount_microcents)
            )
        else:
            self._connection.execute(
                update(cash_debt).where(*where).values(amount_microcents=before + amount_microcents)
            )

    def debts_of(self, debtor: str) -> dict[str, int]:
        """Creditor to recorded debt, microcents."""
        rows = self._connection.execute(select(cash_debt).where(cash_debt.c.debtor == debtor))
        return {row.creditor: row.amount_microcents for row in rows}

    def policy_at(self, mtu_start: int) -> Policy:
        """Rules of the MTU."""
        if mtu_start not in self._policies:
            self._policies[mtu_start] = policy_of(self.policy_values_at(mtu_start))
        return self._policies[mtu_start]

    def prices_at(self, mtu_start: int) -> MtuPrices:
        """Prices of the MTU, as GridPolicy.pricesAt computes them."""
        if mtu_start not in self._prices:
            self._prices[mtu_start] = self._read_prices(mtu_start)
        return self._prices[mtu_start]

    def _read_prices(self, mtu_start: int) -> MtuPrices:
        query = select(feed_in_price.c.feed_in_cents_per_mwh).where(feed_in_price.c.mtu_start == mtu_start)
        return prices_of(self.policy_values_at(mtu_start), self._connection.execute(query).scalar())

    def grid_factors(self, from_s: int, to_s: int) -> dict[int, int]:
        """Published emission factors of the grid by MTU, from <= MTU start < to, mg CO2 per kWh."""
        query = select(grid_factor).where(grid_factor.c.mtu_start >= from_s, grid_factor.c.mtu_start < to_s)
        return {row.mtu_start: row.factor_mgco2_per_kwh for row in self._connection.execute(query)}

    def policy_values_at(self, mtu_start: int) -> Mapping[str, Any]:
        """The contract's policy struct for an MTU, by field name."""
        if mtu_start not in self._policy_values:
            self._policy_values[mtu_start] = self._read_policy_values(mtu_start)
        return self._policy_values[mtu_start]

    def forget_rules(self) -> None:
        """A block was indexed: rules and prices read before may have changed."""
        self._policy_values.clear()
        self._policies.clear()
        self._prices.clear()
        self._zones = None
        self._latest_block_hash = None

    def _read_policy_values(self, mtu_start: int) -> Mapping[str, Any]:
        query = (
            select(policy_version.c.policy)
            .where(policy_version.c.effective_mtu_start <= mtu_start)
            .order_by(policy_version.c.effective_mtu_start.desc(), policy_version.c.version.desc())
            .limit(1)
        )
        values: Mapping[str, Any] = self._connection.execute(query).scalar_one()
        return values

    def longest_gate_closure_s(self) -> int:
        """The largest gate closure of any policy version, seconds."""
        rows = self._connection.execute(select(policy_version.c.policy)).scalars()
        return max((values["gateClosureS"] for values in rows), default=0)

    def latest_block_hash(self) -> str:
        """Hash of the newest indexed block."""
        if self._latest_block_hash is None:
            query = select(chain_block.c.block_hash).order_by(chain_block.c.number.desc()).limit(1)
            self._latest_block_hash = str(self._connection.execute(query).scalar_one())
        return self._latest_block_hash

    def fact(self, name: str) -> Any:
        """One of the node's own remembered values, or None."""
        text = self._connection.execute(select(node_fact.c.value).where(node_fact.c.name == name)).scalar()
        return None if text is None else json.loads(text)

    def set_fact(self, name: str, value: object) -> None:
        """Remember a value."""
        text = json.dumps(value)
        changed = self._connection.execute(update(node_fact).where(node_fact.c.name == name).values(value=text))
        if changed.rowcount == 0:
            self._connection.execute(insert(node_fact).values(name=name, value=text))


def _money(row: Row[Any]) -> CashAccount:
    """The money of a row; zero for an account that never moved any."""
    if row.free_microcents is None:
        return CashAccount(free_microcents=0, credit_microcents=0)
    return CashAccount(
        free_microcents=row.free_microcents,
        credit_microcents=row.credit_microcents,
        withdrawal_microcents=row.withdrawal_microcents,
        withdrawal_at=row.withdrawal_at,
        cut_microcents=row.cut_microcents,
        cut_at=row.cut_at,
    )


def _facts(row: Row[Any]) -> MeterFacts:
    return MeterFacts(
        meter=row.meter,
        owner=row.owner,
        supplier=row.supplier,
        supplier_number=row.supplier_number,
        zone=row.zone,
        import_capacity_w=row.import_capacity_w,
        export_capacity_w=row.export_capacity_w,
        source=row.source,
    )
