// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IntegerMath} from "./IntegerMath.sol";
import {Lists} from "./Lists.sol";
import {Pairing} from "./Pairing.sol";
import {Positions} from "./Positions.sol";

/// @title SettlementRules
/// @notice The money and energy rules of locking and settling, pure and division-free. Wh x cents/MWh = microcents.
/// @dev Unchecked: energies are below 2^48 Wh, readings and prices int64, so that nothing comes near 2^255.
library SettlementRules {
    using Lists for uint256[];
    using Positions for uint256[];

    /// @notice What a buyer must lock per trade quantity, without fees: max(0, price) x energy.
    function buyerLock(uint256 energyWh, int64 price) internal pure returns (uint256 microcents) {
        unchecked {
            return energyWh * IntegerMath.positivePart(price);
        }
    }

    /// @notice What a seller must lock: (max(0, -price) + max(0, shortage - price)) x energy, so that neither a
    /// negative price nor undelivered energy can be left unpaid.
    function sellerLock(uint256 energyWh, int64 price, int64 shortage) internal pure returns (uint256 microcents) {
        unchecked {
            uint256 perMwh = IntegerMath.positivePart(-int256(price))
                + IntegerMath.positivePart(int256(shortage) - int256(price));
            return energyWh * perMwh;
        }
    }

    /// @notice Grid fee of an energy, less the relief if its source is low-carbon.
    function gridFee(uint256 energyWh, uint256 feePerMwh, uint256 reliefPerMwh, bool lowCarbon)
        internal
        pure
        returns (uint256 microcents)
    {
        // The policy holds the relief to the fee.
        unchecked {
            return energyWh * (lowCarbon ? feePerMwh - reliefPerMwh : feePerMwh);
        }
    }

    /// @notice Cash of a position's contracted energy: sellers receive, buyers pay. A seller is paid the price of its
    /// source, a buyer pays the price of its product; direct deals have their own.
    function tradeCash(uint256[] memory positions, uint256 index, int64 anyPrice, int64 lowCarbonPrice)
        internal
        pure
        returns (int256 microcents)
    {
        int256 auction = int256(positions.auctionWh(index));
        int256 deals = positions.dealMicrocents(index);
        unchecked {
            if (positions.sells(index)) {
                return deals + auction * (positions.source(index) == 0 ? anyPrice : lowCarbonPrice);
            }
            return deals - auction * anyPrice - int256(positions.lowCarbonWh(index)) * lowCarbonPrice;
        }
    }

    /// @notice Cash between a participant and its supplier for metered minus contracted energy: a surplus is sold at
    /// the surplus price, a shortage bought at the shortage price. Positive = the participant receives.
    function imbalanceCash(uint256[] memory positions, uint256 index, int256 meteredWh, int64 surplus, int64 shortage)
        internal
        pure
        returns (int256 microcents)
    {
        unchecked {
            int256 beyondWh = _shareWh(positions, index, meteredWh) - int256(positions.contractedWh(index));
            int256 imbalanceWh = positions.sells(index) ? beyondWh : -beyondWh;
            return imbalanceWh * (imbalanceWh >= 0 ? surplus : shortage);
        }
    }

    /// @notice Energy a position really delivered (seller) or consumed (buyer) of what it contracted, Wh.
    function fulfilledWh(uint256[] memory positions, uint256 index) internal pure returns (uint256) {
        if (!positions.isRead(index)) return 0;
        int256 share = _shareWh(positions, index, positions.meteredWh(index));
        return IntegerMath.min(positions.contractedWh(index), IntegerMath.positivePart(share));
    }

    /// @notice Energy of each trade that was both delivered and consumed: fulfilled energy serves a position's trades
    /// in their order, and a trade counts the smaller of its two sides. Wh, one entry per trade.
    function servedWh(uint256[] memory positions, uint256[] memory trades)
        internal
        pure
        returns (uint256[] memory served)
    {
        uint256[] memory remaining = new uint256[](positions.count());
        for (uint256 i = 0; i < remaining.length; ++i) {
            remaining.put(i, fulfilledWh(positions, i));
        }
        served = new uint256[](trades.length);
        for (uint256 i = 0; i < trades.length; ++i) {
            uint256 trade = trades.at(i);
            (uint256 sell, uint256 buy) = (Pairing.sell(trade), Pairing.buy(trade));
            (uint256 sellerWh, uint256 buyerWh) = (remaining.at(sell), remaining.at(buy));
            uint256 delivered = IntegerMath.min(Pairing.energyWh(trade), sellerWh);
            uint256 consumed = IntegerMath.min(Pairing.energyWh(trade), buyerWh);
            unchecked {
                remaining.put(sell, sellerWh - delivered);
                remaining.put(buy, buyerWh - consumed);
            }
            served.put(i, IntegerMath.min(delivered, consumed));
        }
    }

    /// @dev What of a meter's energy, counted in the direction of its contract, belongs to this position. Where a meter
    /// has positions in several chunks, earlier ones are served first and the last one bears what is beyond.
    function _shareWh(uint256[] memory positions, uint256 index, int256 meteredWh) private pure returns (int256) {
        unchecked {
            int256 energy = positions.sells(index) ? meteredWh : -meteredWh;
            int256 prior = int256(positions.priorWh(index));
            if (!positions.isContinued(index)) return prior == 0 ? energy : energy - _clamp(energy, prior);
            return _clamp(energy - prior, int256(positions.contractedWh(index)));
        }
    }

    function _clamp(int256 value, int256 highest) private pure returns (int256) {
        if (value < 0) return 0;
        return value > highest ? highest : value;
    }
}
