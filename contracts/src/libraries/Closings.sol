// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Closings
/// @notice What closes or corrects a position, in one word of an event, for a settlement has hundreds of them.
/// @dev From the lowest bit: MTU start 40, meter 32, version 8, energy 64 (signed, Wh, export minus import), money 112
/// (signed, microcents) = 256 bits.
library Closings {
    function pack(uint64 mtuStart, uint32 meter, uint8 version, int64 energyWh, int256 microcents)
        internal
        pure
        returns (uint256)
    {
        return mtuStart | (uint256(meter) << 40) | (uint256(version) << 72) | (uint256(uint64(energyWh)) << 80)
            | (uint256(microcents) << 144);
    }
}
