// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Payments
/// @notice Money of the positions of a settlement, two words each: what leaves the escrow for the owner, and what goes
/// between the owner and its supplier (positive: to the owner). Packed, for hundreds of structs cost twice as much to
/// make, send and read.
/// @dev From the lowest bit: account 160, microcents 96 (signed) = 256 bits. The owner's word comes first, then the
/// supplier's.
library Payments {
    uint256 internal constant WORDS = 2;

    /// @dev Amounts stay far below their field: locks < 2^88, metered energy < 2^48 x price < 2^26.
    function pack(address account_, int256 microcents_) internal pure returns (uint256) {
        return uint256(uint160(account_)) | (uint256(microcents_) << 160);
    }

    function account(uint256 word) internal pure returns (address) {
        return address(uint160(word));
    }

    function microcents(uint256 word) internal pure returns (int256) {
        return int256(word) >> 160;
    }
}
