// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title MeterWord
/// @notice All the market needs to know of a meter in one word, so that it is looked up once.
/// @dev From the lowest bit: owner 160, zone 24, import capacity 24, export capacity 24 (W), source 8, supplier
/// number 16 = 256 bits.
library MeterWord {
    function pack(
        address owner_,
        uint24 zone_,
        uint24 importCapacityW_,
        uint24 exportCapacityW_,
        uint8 source_,
        uint16 supplier_
    ) internal pure returns (uint256) {
        return uint256(uint160(owner_)) | (uint256(zone_) << 160) | (uint256(importCapacityW_) << 184)
            | (uint256(exportCapacityW_) << 208) | (uint256(source_) << 232) | (uint256(supplier_) << 240);
    }

    function owner(uint256 word) internal pure returns (address) {
        return address(uint160(word));
    }

    function zone(uint256 word) internal pure returns (uint32) {
        return uint24(word >> 160);
    }

    function importCapacityW(uint256 word) internal pure returns (uint24) {
        return uint24(word >> 184);
    }

    function exportCapacityW(uint256 word) internal pure returns (uint24) {
        return uint24(word >> 208);
    }

    /// @notice Kind of generation; 0 = not low-carbon.
    function source(uint256 word) internal pure returns (uint8) {
        return uint8(word >> 232);
    }

    function supplier(uint256 word) internal pure returns (uint16) {
        return uint16(word >> 240);
    }
}
