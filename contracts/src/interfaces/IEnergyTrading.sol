// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {SignedOrder} from "../libraries/MarketTypes.sol";

/// @title IEnergyTrading
/// @notice Books, clearing and escrow. The market operator proposes; every signature, limit, quantity and
/// balance is checked here again, and a failed check rejects the whole proposal.
interface IEnergyTrading {
    /// @notice Where a zone and MTU stands. A clearing of several chunks is Partial until its last chunk.
    enum Status {
        Open,
        Partial,
        Cleared
    }

    /// @notice The orders that set the ends of one book's equilibrium interval, by index into orders + ends; NO_ORDER
    /// stands for floor and cap.
    struct Ends {
        uint16 lower;
        uint16 upper;
    }

    /// @notice One chunk of a proposed clearing of one zone and MTU; small clearings have one.
    /// @param chunk number of this chunk, from 0
    /// @param last whether the clearing is complete with it
    /// @param merged whether one book set both prices
    /// @param anyPrice price of the product `any`: the floored midpoint of its interval, cents per MWh
    /// @param lowCarbonPrice price of the product `low_carbon`, cents per MWh
    /// @param anyEnds orders that set the interval of `any`, or of the merged book; read in chunk 0
    /// @param lowCarbonEnds orders that set the interval of `low_carbon`; read in chunk 0 of separate books
    /// @param bookNumbers running numbers of the committed book, 8 bytes each, ascending
    /// @param otherUids uids of the listed orders that are not presented, in the order of the book
    /// @param orders orders with energy, by meter and then by place in the book, ascending
    /// @param ends orders without energy that are named as ends; their indexes follow `orders`
    /// @param acceptedOffers for each acceptance among `orders`, in their order, the index of the accepted offer
    /// @param continuedMeters meters of this chunk, ascending, whose last order is filled further in a later one;
    /// nothing else of them may come later, and each must come before the clearing is complete
    /// @param setpointsRoot root of the setpoints of the zone's meters, read with the last chunk
    struct Clearing {
        uint32 zone;
        uint64 mtuStart;
        uint16 chunk;
        bool last;
        bool merged;
        int64 anyPrice;
        int64 lowCarbonPrice;
        Ends anyEnds;
        Ends lowCarbonEnds;
        bytes bookNumbers;
        bytes32[] otherUids;
        SignedOrder[] orders;
        SignedOrder[] ends;
        uint16[] acceptedOffers;
        uint32[] continuedMeters;
        bytes32 setpointsRoot;
    }

    /// @notice The outcome of a settlement, for the trading contract to carry out.
    /// @param keptHash the chunk's state hash the settlement started from
    /// @param stateHash the chunk's state hash after it
    /// @param closedPositions positions settled or refunded for the first time
    /// @param feeReceiver who gets the grid fees out of the escrow
    /// @param payments what each position moves, two words of Payments each; those of corrections release nothing
    struct Outcome {
        uint32 zone;
        uint64 mtuStart;
        uint16 chunk;
        bytes32 keptHash;
        bytes32 stateHash;
        uint32 closedPositions;
        address feeReceiver;
        uint256 feesMicrocents;
        uint256[] payments;
    }

    /// @notice What is kept of a clearing; prices in cents per MWh.
    /// @param bookHash commitment to the list of receipted orders
    /// @param resultHash commitment to the intervals and to the fills and positions of every chunk
    /// @param openPositions positions neither settled nor refunded, over all chunks
    /// @param clearedAt time of the last chunk so far, Unix seconds
    struct ClearingView {
        bytes32 bookHash;
        bytes32 resultHash;
        Status status;
        int64 anyPrice;
        int64 lowCarbonPrice;
        uint32 openPositions;
        uint16 chunkCount;
        uint64 clearedAt;
    }

    event BookCommitted(uint32 indexed zone, uint64 indexed mtuStart, bytes32 bookHash, uint32 orderCount);
    /// @notice One trade of the MarketCleared event that follows in the same transaction, in one word, for there are
    /// hundreds.
    /// @param trade from the lowest bit: selling meter 32, buying meter 32, energy 192 (Wh)
    event EnergyTraded(uint256 trade);
    event MarketCleared(
        uint32 indexed zone,
        uint64 indexed mtuStart,
        uint16 chunk,
        bool last,
        int64 anyPrice,
        int64 lowCarbonPrice,
        uint256 tradedWh,
        uint256 positionCount
    );
    event OrderCancelled(address indexed owner, bytes32 indexed orderUid);
    event OrdersCancelled(address indexed owner, uint64 upToSalt);

    error BookAlreadyCommitted(uint32 zone, uint64 mtuStart);
    error BookMismatch(bytes32 committed, bytes32 presented);
    error BookMissing(uint32 zone, uint64 mtuStart);
    error BookMalformed(uint256 numbersBytes, uint256 otherUids);
    error AlreadyCleared(uint32 zone, uint64 mtuStart);
    error ChunkOutOfSequence(uint16 expected, uint16 presented);
    error ChunkDiffers(uint32 zone, uint64 mtuStart);
    error ClearingTooLate(uint64 mtuStart, uint64 deadline, uint64 blockTime);
    error OrdersNotAscending(uint256 index);
    error OrderNotListed(bytes32 orderUid, uint256 bookIndex);
    error OrderWithoutEnergy(bytes32 orderUid);
    error OrderExpired(bytes32 orderUid, uint64 expiry, uint64 gateClosure);
    error OrderOutsideMtu(bytes32 orderUid, uint64 mtuStart);
    error OrderIsCancelled(bytes32 orderUid);
    error OrderOverfilled(bytes32 orderUid, uint256 openWh, uint256 fillWh);
    error OrderPresentedTwice(bytes32 orderUid);
    error LimitOutsideBounds(bytes32 orderUid, int64 limitCentsPerMwh, int64 floor, int64 cap);
    error LimitViolated(bytes32 orderUid, int64 limitCentsPerMwh, int64 priceCentsPerMwh);
    error SignerMismatch(bytes32 orderUid, address signer, address owner);
    error ZoneMismatch(uint32 meter, uint32 meterZone, uint32 zone);
    error CapacityExceeded(uint32 meter, uint256 energyWh, uint256 capacityWh);
    error SidesMixed(uint32 meter);
    error AcceptanceInvalid(bytes32 acceptanceUid);
    error MeterPresentedTwice(uint32 meter);
    error MeterNotContinued(uint32 meter);
    error PriceNotMidpoint(int64 priceCentsPerMwh, int64 lowerEnd, int64 upperEnd);
    error PricesDiffer(int64 anyPrice, int64 lowCarbonPrice);
    error LowCarbonNotBalanced(uint256 boughtWh, uint256 soldWh);
    error EndsCrossed(int64 lowerEnd, int64 upperEnd);
    error EndInvalid(uint16 index);
    error NotCleared(uint32 zone, uint64 mtuStart);
    error StateMismatch(bytes32 kept, bytes32 presented);
    error SaltNotAscending(uint64 upToSalt, uint64 already);
    error CashNotConserved(int256 sumMicrocents);

    /// @notice Commits the closed book of a zone and MTU. Only listed orders can be filled.
    /// @param bookHash keccak256 of the list: per order 8 bytes running number, 32 bytes uid, ascending
    function commitBook(uint32 zone, uint64 mtuStart, bytes32 bookHash, uint32 orderCount) external;

    /// @notice Checks a proposed clearing, locks the money and, with the last chunk, hands the schedule to dispatch.
    function clear(Clearing calldata clearing) external;

    /// @notice Carries out a settlement: releases locked money, collects imbalances, keeps the new state. Only the
    /// settlement contract may, and the movements must sum to zero.
    function applyOutcome(Outcome calldata outcome) external returns (uint32 openPositions);

    /// @notice Cancels one of the caller's orders: it is not filled in any MTU whose gate has not closed yet.
    function cancel(bytes32 uid) external;

    /// @notice Cancels all orders of the caller with a salt up to this one, in the same way.
    function cancelUpTo(uint64 salt) external;

    /// @notice Whether the owner had cancelled the order before a gate closure.
    function isCancelledAt(address owner, bytes32 uid, uint64 salt, uint64 gateClosure) external view returns (bool);

    /// @notice EIP-712 domain separator of orders, acceptances, cancellations and receipts.
    function domainSeparator() external view returns (bytes32);

    /// @notice Uid of an order or acceptance: its EIP-712 digest.
    function orderUid(uint256 terms, uint256 guard, address owner) external view returns (bytes32);

    /// @notice What is kept of a clearing.
    function clearingOf(uint32 zone, uint64 mtuStart) external view returns (ClearingView memory);

    /// @notice Hash of a chunk's positions and deals as last kept.
    function stateHashOf(uint32 zone, uint64 mtuStart, uint16 chunk) external view returns (bytes32);
}
