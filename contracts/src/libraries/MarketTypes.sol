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

/// @notice How an order states its price.
enum Pricing {
    Limit,
    Pegged
}

/// @notice An order as its owner signed it, without the owner (the meter's registered owner must have signed) and with
/// its place in the committed book.
/// @dev The signature is EIP-2098 compact: r and vs.
struct SignedOrder {
    uint32 meter;
    Side side;
    Product product;
    Pricing pricing;
    uint64 firstMtuStart;
    uint64 lastMtuStart;
    uint64 quantityWh;
    int64 limitCentsPerMwh;
    uint64 expiry;
    uint64 salt;
    uint32 bookIndex;
    bytes32 r;
    bytes32 vs;
}

/// @notice Energy moved from one listed offer to one listed bid; the indexes point into the presented orders.
struct Match {
    uint16 sell;
    uint16 buy;
    uint64 energyWh;
}

/// @notice One meter's contract for one MTU, kept on chain only by hash and presented again at settlement.
struct Position {
    uint32 meter;
    uint8 source;
    bool settled;
    address owner;
    address supplier;
    /// @dev Sold energy is positive, bought energy negative, Wh.
    int64 contractedWh;
    /// @dev Metered export minus import, Wh; zero until settled.
    int64 meteredWh;
    uint128 lockedMicrocents;
    uint128 feeMicrocents;
}

/// @notice One trade between two positions, kept on chain only by hash and presented again at settlement.
struct Trade {
    uint16 sell;
    uint16 buy;
    uint64 energyWh;
    /// @dev Energy both delivered and consumed, Wh; set once both positions are settled.
    uint64 rewardedWh;
    bool rewarded;
}
