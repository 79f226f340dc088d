// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice Which side of the market an order takes.
enum Side {
    Buy,
    Sell
}

/// @notice A buyer's source preference; low-carbon offers may serve both.
enum Product {
    Any,
    LowCarbon
}

/// @notice How an order states its price: a limit, or the zone's reference price guarded by a limit.
enum Pricing {
    Limit,
    Pegged
}

/// @notice An order, or a buyer's acceptance of an offer, as it is presented to be filled: what its owner signed,
/// packed, with its place in the committed book and its fill. The owner is the meter's registered owner.
/// @dev `terms` and `guard` are read by OrderTerms; the signature is EIP-2098 compact.
struct SignedOrder {
    uint256 terms;
    uint256 guard;
    bytes32 r;
    bytes32 vs;
}
