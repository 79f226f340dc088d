// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IntegerMath} from "./IntegerMath.sol";
import {Position, Trade} from "./MarketTypes.sol";

/// @title SettlementRules
/// @notice The money and energy rules of locking and settling, pure and division-free. Wh x cents/MWh = microcents.
library SettlementRules {
    /// @notice What a buyer must lock per trade quantity, without fees: max(0, price) x energy.
    function buyerLock(uint256 energyWh, int64 price) internal pure returns (uint256 microcents) {
        return energyWh * IntegerMath.positivePart(price);
    }

    /// @notice What a seller must lock: (max(0, -price) + max(0, shortage - price)) x energy, so that neither a
    /// negative price nor undelivered energy can be left unpaid.
    function sellerLock(uint256 energyWh, int64 price, int64 shortage) internal pure returns (uint256 microcents) {
        uint256 perMwh = IntegerMath.positivePart(-int256(price))
            + IntegerMath.positivePart(int256(shortage) - int256(price));
        return energyWh * perMwh;
    }

    /// @notice Grid fee of an energy, less the relief if its source is low-carbon.
    function gridFee(uint256 energyWh, uint256 feePerMwh, uint256 reliefPerMwh, bool lowCarbon)
        internal
        pure
        returns (uint256 microcents)
    {
        return energyWh * (lowCarbon ? feePerMwh - reliefPerMwh : feePerMwh);
    }

    /// @notice Cash of the contracted energy: sellers receive (contracted > 0), buyers pay.
    function tradeCash(int64 contractedWh, int64 price) internal pure returns (int256 microcents) {
        return int256(contractedWh) * price;
    }

    /// @notice Cash between a participant and its supplier for metered minus contracted energy: a surplus is sold at
    /// the surplus price, a shortage bought at the shortage price. Positive = the participant receives.
    function imbalanceCash(int64 meteredWh, int64 contractedWh, int64 surplus, int64 shortage)
        internal
        pure
        returns (int256 microcents)
    {
        int256 imbalanceWh = int256(meteredWh) - int256(contractedWh);
        return imbalanceWh * (imbalanceWh >= 0 ? surplus : shortage);
    }

    /// @notice Energy a settled position really delivered (seller) or consumed (buyer) of what it contracted, Wh.
    function fulfilledWh(Position memory position) internal pure returns (uint256) {
        if (!position.settled) return 0;
        if (position.contractedWh > 0) {
            return IntegerMath.min(uint64(position.contractedWh), IntegerMath.positivePart(position.meteredWh));
        }
        return
            IntegerMath.min(
                IntegerMath.positivePart(-int256(position.contractedWh)),
                IntegerMath.positivePart(-int256(position.meteredWh))
            );
    }

    /// @notice Energy of each trade that was both delivered and consumed: fulfilled energy serves a position's trades
    /// in their order, and a trade counts the smaller of its two sides. Wh, one entry per trade.
    function servedWh(Position[] memory positions, Trade[] memory trades)
        internal
        pure
        returns (uint256[] memory served)
    {
        uint256[] memory remaining = new uint256[](positions.length);
        for (uint256 i = 0; i < positions.length; ++i) {
            remaining[i] = fulfilledWh(positions[i]);
        }
        served = new uint256[](trades.length);
        for (uint256 i = 0; i < trades.length; ++i) {
            Trade memory trade = trades[i];
            uint256 delivered = IntegerMath.min(trade.energyWh, remaining[trade.sell]);
            uint256 consumed = IntegerMath.min(trade.energyWh, remaining[trade.buy]);
            remaining[trade.sell] -= delivered;
            remaining[trade.buy] -= consumed;
            served[i] = IntegerMath.min(delivered, consumed);
        }
    }
}
