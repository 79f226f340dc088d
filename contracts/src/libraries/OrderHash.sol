// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {SignedOrder} from "./MarketTypes.sol";

/// @title OrderHash
/// @notice EIP-712 struct hash of an order.
library OrderHash {
    bytes32 internal constant ORDER_TYPEHASH = keccak256(
        "Order(address owner,uint32 meter,uint8 side,uint8 product,uint8 pricing,uint64 firstMtuStart,"
        "uint64 lastMtuStart,uint64 quantityWh,int64 limitCentsPerMwh,uint64 expiry,uint64 salt)"
    );

    /// @notice Struct hash of `order` as signed by `owner`.
    function structHash(SignedOrder calldata order, address owner) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                ORDER_TYPEHASH,
                owner,
                order.meter,
                order.side,
                order.product,
                order.pricing,
                order.firstMtuStart,
                order.lastMtuStart,
                order.quantityWh,
                order.limitCentsPerMwh,
                order.expiry,
                order.salt
            )
        );
    }
}
