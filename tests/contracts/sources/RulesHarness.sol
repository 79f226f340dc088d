// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IntegerMath} from "./libraries/IntegerMath.sol";
import {Position, Trade} from "./libraries/MarketTypes.sol";
import {SettlementRules} from "./libraries/SettlementRules.sol";
import {SupplyDemandRatio} from "./libraries/SupplyDemandRatio.sol";

/// @notice Opens the libraries' rules to the tests, many cases in one call.
contract RulesHarness {
    function floorDiv(int256[] calldata numerators, int256[] calldata denominators)
        external
        pure
        returns (int256[] memory quotients)
    {
        quotients = new int256[](numerators.length);
        for (uint256 i = 0; i < numerators.length; ++i) {
            quotients[i] = IntegerMath.floorDiv(numerators[i], denominators[i]);
        }
    }

    function floorMidpoint(int64[] calldata lowers, int64[] calldata uppers)
        external
        pure
        returns (int64[] memory midpoints)
    {
        midpoints = new int64[](lowers.length);
        for (uint256 i = 0; i < lowers.length; ++i) {
            midpoints[i] = IntegerMath.floorMidpoint(lowers[i], uppers[i]);
        }
    }

    function ratioPrice(
        int64[] calldata feedIns,
        int64[] calldata retails,
        uint64[] calldata suppliesWh,
        uint64[] calldata demandsWh
    ) external pure returns (int64[] memory prices) {
        prices = new int64[](feedIns.length);
        for (uint256 i = 0; i < feedIns.length; ++i) {
            prices[i] = SupplyDemandRatio.price(feedIns[i], retails[i], suppliesWh[i], demandsWh[i]);
        }
    }

    /// @return both buyer's lock and seller's lock of each case
    function locks(uint256[] calldata energiesWh, int64[] calldata prices, int64[] calldata shortages)
        external
        pure
        returns (uint256[2][] memory both)
    {
        both = new uint256[2][](energiesWh.length);
        for (uint256 i = 0; i < energiesWh.length; ++i) {
            both[i][0] = SettlementRules.buyerLock(energiesWh[i], prices[i]);
            both[i][1] = SettlementRules.sellerLock(energiesWh[i], prices[i], shortages[i]);
        }
    }

    /// @return both trade cash and imbalance cash of each case
    function cash(
        int64[] calldata contractedWh,
        int64[] calldata meteredWh,
        int64[] calldata prices,
        int64[] calldata surpluses,
        int64[] calldata shortages
    ) external pure returns (int256[2][] memory both) {
        both = new int256[2][](contractedWh.length);
        for (uint256 i = 0; i < contractedWh.length; ++i) {
            both[i][0] = SettlementRules.tradeCash(contractedWh[i], prices[i]);
            both[i][1] = SettlementRules.imbalanceCash(meteredWh[i], contractedWh[i], surpluses[i], shortages[i]);
        }
    }

    function servedWh(Position[] calldata positions, Trade[] calldata trades)
        external
        pure
        returns (uint256[] memory)
    {
        return SettlementRules.servedWh(positions, trades);
    }
}
