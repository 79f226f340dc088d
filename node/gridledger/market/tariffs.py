"""The rules and prices of one MTU, from the values of the contract's policy struct (`IGridPolicy.Policy`)."""

from collections.abc import Mapping
from typing import Any

from gridledger.market.model import MtuPrices, Policy

__all__ = ["policy_of", "prices_of"]


def policy_of(values: Mapping[str, Any]) -> Policy:
    """The rules as far as the market needs them; `values` by the contract's field names."""
    return Policy(
        gate_closure_s=values["gateClosureS"],
        answer_lead_s=values["answerLeadS"],
        proceed_without_answer=values["proceedWithoutAnswer"],
        substitute_after_s=values["substituteAfterS"],
        correction_s=values["correctionS"],
        seller_reward_share_bp=values["sellerRewardShareBp"],
        default_grid_factor_mgco2_per_kwh=values["defaultGridFactorMgco2PerKwh"],
        grid_fee_cents_per_mwh=values["gridFeeCentsPerMwh"],
        low_carbon_relief_cents_per_mwh=values["lowCarbonReliefCentsPerMwh"],
        replacement_bearers=values["replacementBearers"],
    )


def prices_of(values: Mapping[str, Any], posted_feed_in_cents_per_mwh: int | None) -> MtuPrices:
    """The prices as GridPolicy.pricesAt computes them, cents per MWh.

    They follow the policy's tariffs, or the feed-in price posted for the MTU and the policy's retail adder.
    """
    feed_in, retail = values["feedInCentsPerMwh"], values["retailCentsPerMwh"]
    if posted_feed_in_cents_per_mwh is not None:
        feed_in = posted_feed_in_cents_per_mwh
        retail = feed_in + values["retailAdderCentsPerMwh"]
    return MtuPrices(
        feed_in=feed_in,
        retail=retail,
        floor=feed_in + values["floorOffsetCentsPerMwh"],
        cap=retail + values["capOffsetCentsPerMwh"],
        surplus=feed_in + values["surplusOffsetCentsPerMwh"],
        shortage=retail + values["shortageOffsetCentsPerMwh"],
    )
