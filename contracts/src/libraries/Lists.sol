// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {SignedOrder} from "./MarketTypes.sol";

/// @title Lists
/// @notice Reads and writes lists without the compiler's bounds check, which costs several times the access.
/// @dev Only for indexes that are counters below the length or have been compared with it.
library Lists {
    /// @notice A copy in one piece, for the compiler's goes word by word.
    function copy(uint256[] calldata list) internal pure returns (uint256[] memory copied) {
        copied = new uint256[](list.length);
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            calldatacopy(add(copied, 0x20), list.offset, shl(5, list.length))
        }
    }

    function at(SignedOrder[] calldata list, uint256 index) internal pure returns (SignedOrder calldata entry) {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            entry := add(list.offset, shl(7, index))
        }
    }

    function at(uint256[] memory list, uint256 index) internal pure returns (uint256 entry) {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            entry := mload(add(add(list, 0x20), shl(5, index)))
        }
    }

    function at(address[] memory list, uint256 index) internal pure returns (address entry) {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            entry := mload(add(add(list, 0x20), shl(5, index)))
        }
    }

    function put(uint256[] memory list, uint256 index, uint256 entry) internal pure {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            mstore(add(add(list, 0x20), shl(5, index)), entry)
        }
    }

    function put(address[] memory list, uint256 index, address entry) internal pure {
        uint256 word = uint160(entry);
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            mstore(add(add(list, 0x20), shl(5, index)), word)
        }
    }
}
