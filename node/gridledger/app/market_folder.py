"""Makes a new market's folder: its fixed facts and a key for each role."""

import time
from pathlib import Path

from gridledger.app.node import NodeFolder
from gridledger.chain.embedded import DEFAULT_CHAIN_ID
from gridledger.chain.keys import ACCOUNT_NAMES, Keystore
from gridledger.chain.market_config import MarketConfig, save_market
from gridledger.chain.plan import PolicyParameters

__all__ = ["create_market"]


def create_market(
    path: Path,
    *,
    mtu_length_s: int,
    zones: tuple[int, ...] = (1,),
    genesis_time_s: int | None = None,
    policy: PolicyParameters | None = None,
    seed: int | None = None,
) -> MarketConfig:
    """Make keys and market file where they are missing; what exists must say the same. Raises MarketDiffers.

    Without a seed keys are random. One key stands for the admin multisig and every role's key lies in this folder:
    fit for a demo; a real market gives each party its own.
    """
    folder = NodeFolder(path)
    path.mkdir(parents=True, exist_ok=True)
    keystore = Keystore(folder.keys)
    keystore.create_missing(seed=seed)
    accounts = {name: keystore.address(name) for name in ACCOUNT_NAMES}
    config = MarketConfig(
        chain_id=DEFAULT_CHAIN_ID,
        genesis_time_s=int(time.time()) if genesis_time_s is None else genesis_time_s,
        mtu_length_s=mtu_length_s,
        policy=policy or PolicyParameters(),
        zones=zones,
        suppliers=(accounts["supplier"],),
        accounts=accounts,
        seed=seed,
    )
    save_market(folder.market, config)
    return config
