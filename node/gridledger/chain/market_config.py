"""What a market is from its first block on: chain, rules, zones and accounts. Written once into the data folder."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gridledger.chain.plan import DeploymentParameters, PolicyParameters, SourceFactor
from gridledger.chain.roles import EXTERNAL_ROLES, Role
from gridledger.errors import Conflict, NotFound, Unavailable

__all__ = [
    "DEFAULT_SOURCE_FACTORS",
    "SOURCE_NONE",
    "SOURCE_SOLAR",
    "ConfigUnreadable",
    "MarketConfig",
    "MarketDiffers",
    "MarketMissing",
    "load_market",
    "save_market",
]

SOURCE_NONE, SOURCE_SOLAR = 0, 1
DEFAULT_SOURCE_FACTORS = (
    SourceFactor(
        source=SOURCE_SOLAR,
        factor_mgco2_per_kwh=41_000,
        citation="Solar PV, rooftop, lifecycle median: IPCC AR5 WG3 Annex III Table A.III.2",
    ),
)


@dataclass(kw_only=True, eq=False)
class MarketMissing(NotFound):
    """The folder holds no market."""

    folder: str


@dataclass(kw_only=True, eq=False)
class MarketDiffers(Conflict):
    """The folder holds another market."""

    folder: str
    field: str


@dataclass(kw_only=True, eq=False)
class ConfigUnreadable(Unavailable):
    """The market's file is damaged."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class MarketConfig:
    """A market's fixed facts. `accounts` maps role names to addresses; `seed` is set for replays only."""

    chain_id: int
    genesis_time_s: int
    mtu_length_s: int
    policy: PolicyParameters
    zones: tuple[int, ...]
    suppliers: tuple[str, ...]
    accounts: dict[str, str]
    source_factors: tuple[SourceFactor, ...] = DEFAULT_SOURCE_FACTORS
    seed: int | None = None

    def deployment_parameters(self) -> DeploymentParameters:
        """What the deployment plan needs."""
        return DeploymentParameters(
            mtu_length_s=self.mtu_length_s,
            policy=self.policy,
            accounts={role: self.account(role) for role in EXTERNAL_ROLES},
            suppliers=self.suppliers,
            zones=self.zones,
            source_factors=self.source_factors,
        )

    def account(self, role: Role) -> str:
        """Address that holds a role."""
        return self.accounts[role.name.lower()]


def save_market(path: Path, config: MarketConfig) -> None:
    """Write the market's file; an existing one must say the same. Raises MarketDiffers."""
    if path.exists():
        kept = load_market(path)
        for field, value in asdict(config).items():
            if asdict(kept)[field] != value:
                raise MarketDiffers(folder=path.parent.name, field=field)
        return
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w") as file:
        file.write(json.dumps(asdict(config), indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_market(path: Path) -> MarketConfig:
    """Read the market's file. Raises MarketMissing, ConfigUnreadable."""
    if not path.exists():
        raise MarketMissing(folder=path.parent.name)
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        return MarketConfig(
            **{
                **values,
                "policy": PolicyParameters(**values["policy"]),
                "zones": tuple(values["zones"]),
                "suppliers": tuple(values["suppliers"]),
                "source_factors": tuple(SourceFactor(**entry) for entry in values["source_factors"]),
            }
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigUnreadable(path=path.name, reason=str(error)) from None
