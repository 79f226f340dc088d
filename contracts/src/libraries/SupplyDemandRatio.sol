// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IntegerMath} from "./IntegerMath.sol";

/// @title SupplyDemandRatio
/// @notice Internal price of an energy-sharing zone after Liu et al., "Energy-sharing model with price-based demand
/// response", IEEE Transactions on Power Systems 32(5), 2017: with r = supply / demand in [0, 1) the price is
/// feedIn * retail / ((retail - feedIn) * r + feedIn); at r >= 1 it is the feed-in tariff.
library SupplyDemandRatio {
    /// @notice Reference price in cents per MWh, rounded toward minus infinity.
    /// @dev Without supply the price is the retail tariff. Where the hyperbola has no meaning (feed-in <= 0 or
    /// retail <= feed-in) the price is the straight line between the two tariffs; both rules agree at r = 0 and r = 1.
    /// Operands stay below 2^192: tariffs are int64, energies uint64.
    /// @param feedIn feed-in tariff, cents per MWh
    /// @param retail retail tariff, cents per MWh
    /// @param supplyWh offered energy, Wh
    /// @param demandWh wanted energy, Wh
    function price(int64 feedIn, int64 retail, uint64 supplyWh, uint64 demandWh) internal pure returns (int64) {
        if (supplyWh == 0) return retail;
        if (supplyWh >= demandWh) return feedIn;
        int256 supply = int256(uint256(supplyWh));
        int256 demand = int256(uint256(demandWh));
        int256 spread = int256(retail) - int256(feedIn);
        // Both results lie between the two tariffs, so they fit int64.
        if (feedIn <= 0 || spread <= 0) {
            return int64(IntegerMath.floorDiv(int256(retail) * demand - spread * supply, demand));
        }
        int256 numerator = int256(feedIn) * int256(retail) * demand;
        return int64(IntegerMath.floorDiv(numerator, spread * supply + int256(feedIn) * demand));
    }
}
