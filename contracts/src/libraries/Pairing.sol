// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IntegerMath} from "./IntegerMath.sol";
import {Lists} from "./Lists.sol";
import {Positions} from "./Positions.sol";

/// @title Pairing
/// @notice Which seller's energy serves which buyer. At one price any pairing is worth the same, so it is not
/// proposed but derived: positions stand by meter; low-carbon buyers are served from low-carbon sellers first, then
/// all others from what is left, each seller used up before the next.
library Pairing {
    using Lists for uint256[];
    using Positions for uint256[];

    error EnergyNotBalanced(uint256 unservedWh, uint256 unsoldWh);
    error SelfMatch(address owner);

    /// @notice The trades of a list of positions, each as seller's index 16 bits, buyer's index 16 bits, energy 64 bits
    /// (Wh). Those that are kept have their price above: 64 bits (signed, cents per MWh).
    function derive(uint256[] memory positions) internal pure returns (uint256[] memory trades) {
        uint256 count = positions.count();
        // Every step uses up a seller or a buyer's part; a buyer has two parts.
        trades = new uint256[](2 * count);
        uint256[] memory leftWh = new uint256[](count);
        uint256 unsoldWh = 0;
        uint256 lowCarbonWh = 0;
        for (uint256 i = 0; i < count; ++i) {
            // 2^16 energies of less than 2^48 Wh.
            unchecked {
                if (positions.sells(i)) {
                    uint256 offeredWh = positions.auctionWh(i);
                    leftWh.put(i, offeredWh);
                    unsoldWh += offeredWh;
                } else {
                    lowCarbonWh += positions.lowCarbonWh(i);
                }
            }
        }
        uint256 made;
        uint256 servedWh;
        if (lowCarbonWh > 0) (made, servedWh) = _serve(positions, leftWh, trades, 0, true);
        unsoldWh -= servedWh;
        (made, servedWh) = _serve(positions, leftWh, trades, made, false);
        if (unsoldWh != servedWh) revert EnergyNotBalanced(0, unsoldWh - servedWh);
        // Shortens the array to the trades made; the length word is the only thing written.
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            mstore(trades, made)
        }
    }

    function sell(uint256 trade) internal pure returns (uint256) {
        return uint16(trade);
    }

    function buy(uint256 trade) internal pure returns (uint256) {
        return uint16(trade >> 16);
    }

    function priceCentsPerMwh(uint256 trade) internal pure returns (int64) {
        return int64(uint64(trade >> 96));
    }

    function pack(uint256 sell_, uint256 buy_, uint256 energyWh_, int64 price) internal pure returns (uint256) {
        return sell_ | (buy_ << 16) | (energyWh_ << 32) | (uint256(uint64(price)) << 96);
    }

    function energyWh(uint256 trade) internal pure returns (uint256) {
        return uint64(trade >> 32);
    }

    /// @dev One pass over the buyers: of the low-carbon part from low-carbon sellers, or of the rest from everybody.
    function _serve(
        uint256[] memory positions,
        uint256[] memory leftWh,
        uint256[] memory trades,
        uint256 made,
        bool lowCarbon
    ) private pure returns (uint256, uint256 servedWh) {
        uint256 count = leftWh.length;
        uint256 seller = 0;
        for (uint256 buyer = 0; buyer < count; ++buyer) {
            if (positions.sells(buyer)) continue;
            uint256 wantedWh = lowCarbon ? positions.lowCarbonWh(buyer) : positions.auctionWh(buyer);
            while (wantedWh > 0) {
                seller = _nextSeller(positions, leftWh, seller, lowCarbon);
                if (seller == count) revert EnergyNotBalanced(wantedWh, 0);
                address owner = positions.owner(buyer);
                if (positions.owner(seller) == owner) revert SelfMatch(owner);
                uint256 availableWh = leftWh.at(seller);
                uint256 energy = IntegerMath.min(wantedWh, availableWh);
                // The smaller of both is taken from either.
                unchecked {
                    leftWh.put(seller, availableWh - energy);
                    wantedWh -= energy;
                    servedWh += energy;
                    trades.put(made++, seller | (buyer << 16) | (energy << 32));
                }
            }
        }
        return (made, servedWh);
    }

    /// @dev The first seller from `seller` on with energy left, of low-carbon energy only if need be; else the count.
    function _nextSeller(uint256[] memory positions, uint256[] memory leftWh, uint256 seller, bool lowCarbon)
        private
        pure
        returns (uint256)
    {
        unchecked {
            uint256 count = leftWh.length;
            while (seller < count && (leftWh.at(seller) == 0 || (lowCarbon && positions.source(seller) == 0))) {
                ++seller;
            }
        }
        return seller;
    }
}
