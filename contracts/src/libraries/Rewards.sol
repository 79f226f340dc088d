// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Rewards
/// @notice Energy of a settlement that was traded, delivered and consumed, two words per trade: the seller's, then the
/// buyer's account. Packed, for hundreds of structs cost twice as much to make, send and read.
/// @dev The seller's word, from the lowest bit: account 160, energy 64 (Wh), source of its generation 8 = 232 bits. The
/// buyer's word: account 160, energy rewarded before 64 (Wh; not 0 in corrections only) = 224 bits.
library Rewards {
    uint256 internal constant WORDS = 2;

    function packSeller(address seller, uint256 energyWh_, uint8 source_) internal pure returns (uint256) {
        return uint256(uint160(seller)) | (energyWh_ << 160) | (uint256(source_) << 224);
    }

    function packBuyer(address buyer, uint256 rewardedWh_) internal pure returns (uint256) {
        return uint256(uint160(buyer)) | (rewardedWh_ << 160);
    }

    function account(uint256 word) internal pure returns (address) {
        return address(uint160(word));
    }

    function energyWh(uint256 sellerWord) internal pure returns (uint256) {
        return uint64(sellerWord >> 160);
    }

    function rewardedWh(uint256 buyerWord) internal pure returns (uint256) {
        return uint64(buyerWord >> 160);
    }

    function source(uint256 sellerWord) internal pure returns (uint8) {
        return uint8(sellerWord >> 224);
    }
}
