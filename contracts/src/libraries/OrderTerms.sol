// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Pricing, Product, Side} from "./MarketTypes.sol";

/// @title OrderTerms
/// @notice Reads the two packed words of a presented order. Times are Unix seconds UTC, energies Wh.
/// @dev `terms`, from the lowest bit: meter 32, side 1, product 1, pricing 1, acceptance 1, unused 4, first MTU 40,
/// last MTU 40, expiry 40, quantity 40, fill 40, place in the book 16 = 256 bits. `guard`: limit 64 (signed), salt
/// 64. Of an acceptance the first MTU is the accepted one, the last MTU field is its salt, and `guard` the offer's uid.
library OrderTerms {
    function meter(uint256 terms) internal pure returns (uint32) {
        return uint32(terms);
    }

    function side(uint256 terms) internal pure returns (Side) {
        return Side((terms >> 32) & 1);
    }

    function sells(uint256 terms) internal pure returns (bool) {
        return (terms >> 32) & 1 == 1;
    }

    function product(uint256 terms) internal pure returns (Product) {
        return Product((terms >> 33) & 1);
    }

    function pricing(uint256 terms) internal pure returns (Pricing) {
        return Pricing((terms >> 34) & 1);
    }

    function isAcceptance(uint256 terms) internal pure returns (bool) {
        return (terms >> 35) & 1 == 1;
    }

    function firstMtuStart(uint256 terms) internal pure returns (uint64) {
        return uint40(terms >> 40);
    }

    function lastMtuStart(uint256 terms) internal pure returns (uint64) {
        return uint40(terms >> 80);
    }

    function expiry(uint256 terms) internal pure returns (uint64) {
        return uint40(terms >> 120);
    }

    function quantityWh(uint256 terms) internal pure returns (uint256) {
        return uint40(terms >> 160);
    }

    function fillWh(uint256 terms) internal pure returns (uint256) {
        return uint40(terms >> 200);
    }

    function bookIndex(uint256 terms) internal pure returns (uint256) {
        return terms >> 240;
    }

    /// @notice Limit, or guard of a pegged order, cents per MWh.
    function limit(uint256 guard) internal pure returns (int64) {
        return int64(uint64(guard));
    }

    function salt(uint256 guard) internal pure returns (uint64) {
        return uint64(guard >> 64);
    }
}
