"""Roles of the market and the one table of which role may call which restricted function."""

from enum import IntEnum

__all__ = ["EXTERNAL_ROLES", "FUNCTION_ROLES", "Role"]


class Role(IntEnum):
    """Role numbers in the access manager; 0 is its built-in admin."""

    ADMIN = 0
    REGULATOR = 1
    GRID_OPERATOR = 2
    MARKET_OPERATOR = 3
    RELAYER = 4
    ORACLE = 5
    BANK = 6
    TRADING_CONTRACT = 7
    CARBON_CONTRACT = 8
    SETTLEMENT_CONTRACT = 9


EXTERNAL_ROLES = (
    Role.REGULATOR,
    Role.GRID_OPERATOR,
    Role.MARKET_OPERATOR,
    Role.RELAYER,
    Role.ORACLE,
    Role.BANK,
)

FUNCTION_ROLES: dict[tuple[str, str], Role] = {
    ("ParticipantRegistry", "registerZone"): Role.REGULATOR,
    ("ParticipantRegistry", "registerSupplier"): Role.REGULATOR,
    ("ParticipantRegistry", "admitParticipants"): Role.GRID_OPERATOR,
    ("ParticipantRegistry", "registerMeters"): Role.GRID_OPERATOR,
    ("ParticipantRegistry", "replaceDeviceKey"): Role.GRID_OPERATOR,
    ("GridPolicy", "schedulePolicy"): Role.REGULATOR,
    ("GridPolicy", "setHalted"): Role.REGULATOR,
    ("GridPolicy", "postFeedIn"): Role.ORACLE,
    ("EnergyPricing", "publish"): Role.MARKET_OPERATOR,
    ("EnergyTrading", "commitBook"): Role.MARKET_OPERATOR,
    ("EnergyTrading", "clear"): Role.MARKET_OPERATOR,
    ("EnergyTrading", "setSuspended"): Role.REGULATOR,
    ("EnergyTrading", "applyOutcome"): Role.SETTLEMENT_CONTRACT,
    ("EnergySettlement", "settle"): Role.MARKET_OPERATOR,
    ("EnergyDispatching", "schedule"): Role.TRADING_CONTRACT,
    ("MarketBond", "deposit"): Role.MARKET_OPERATOR,
    ("MarketBond", "announceWithdrawal"): Role.MARKET_OPERATOR,
    ("MarketBond", "withdraw"): Role.MARKET_OPERATOR,
    ("MarketBond", "recordIneligible"): Role.MARKET_OPERATOR,
    ("MeterLedger", "appointAnchorer"): Role.ADMIN,
    ("MeterLedger", "registerTemplates"): Role.GRID_OPERATOR,
    ("MeterLedger", "setTransformer"): Role.REGULATOR,
    ("CarbonLedger", "setSourceFactor"): Role.REGULATOR,
    ("CarbonLedger", "publishGridFactors"): Role.ORACLE,
    ("CarbonLedger", "grantRewards"): Role.SETTLEMENT_CONTRACT,
    ("CarbonLedger", "correctRewards"): Role.SETTLEMENT_CONTRACT,
    ("LowCarbonToken", "mint"): Role.CARBON_CONTRACT,
    ("LowCarbonToken", "invalidate"): Role.CARBON_CONTRACT,
    ("SettlementToken", "issue"): Role.BANK,
}
