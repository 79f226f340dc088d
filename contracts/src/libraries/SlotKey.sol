// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title SlotKey
/// @notice One number for a zone and an MTU: the zone above the low 64 bits, the MTU start below.
library SlotKey {
    /// @param zone zone number
    /// @param mtuStart Unix seconds, UTC
    function pack(uint32 zone, uint64 mtuStart) internal pure returns (uint256) {
        return (uint256(zone) << 64) | mtuStart;
    }
}
