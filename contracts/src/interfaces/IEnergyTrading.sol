// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Match, Position, SignedOrder, Trade} from "../libraries/MarketTypes.sol";

/// @title IEnergyTrading
/// @notice Books, clearing, escrow and settlement. The market operator proposes; every signature, limit, quantity and
/// balance is checked here again, and a failed check rejects the whole proposal.
interface IEnergyTrading {
    /// @notice A proposed clearing of one zone and MTU.
    /// @param priceCentsPerMwh uniform price: the floored midpoint of the two ends
    /// @param lowerEnd index of the order whose limit is the lower end of the equilibrium interval; NO_ORDER = floor
    /// @param upperEnd index of the order whose limit is the upper end; NO_ORDER = cap
    /// @param book the committed list: per order 8 bytes running number, 32 bytes order uid, ascending
    /// @param orders orders with energy, by meter and then by place in the book, ascending
    /// @param ends at most two orders without energy that are named as interval ends; their indexes follow `orders`
    /// @param matches energy from offers to bids, indexes into `orders`
    struct Clearing {
        uint32 zone;
        uint64 mtuStart;
        int64 priceCentsPerMwh;
        uint16 lowerEnd;
        uint16 upperEnd;
        bytes book;
        SignedOrder[] orders;
        SignedOrder[] ends;
        Match[] matches;
    }

    event BookCommitted(uint32 indexed zone, uint64 indexed mtuStart, bytes32 bookHash, uint32 orderCount);
    event MarketCleared(
        uint32 indexed zone, uint64 indexed mtuStart, int64 priceCentsPerMwh, uint64 tradedWh, uint32 tradeCount
    );
    event PositionOpened(
        uint32 indexed zone,
        uint64 indexed mtuStart,
        uint32 indexed meter,
        address owner,
        int64 contractedWh,
        uint128 lockedMicrocents,
        uint128 feeMicrocents
    );
    event EnergyTraded(
        uint32 indexed zone, uint64 indexed mtuStart, bytes32 sellUid, bytes32 buyUid, uint64 energyWh
    );
    event PositionSettled(
        uint32 indexed zone,
        uint64 indexed mtuStart,
        uint32 indexed meter,
        int64 meteredWh,
        int256 tradeMicrocents,
        int256 imbalanceMicrocents
    );
    event PositionRefunded(
        uint32 indexed zone, uint64 indexed mtuStart, uint32 indexed meter, uint128 lockedMicrocents
    );
    event SettlementProgressed(uint32 indexed zone, uint64 indexed mtuStart, uint32 openPositions);
    event OrderCancelled(address indexed owner, bytes32 indexed orderUid);

    error BookAlreadyCommitted(uint32 zone, uint64 mtuStart);
    error BookMismatch(bytes32 committed, bytes32 presented);
    error BookMissing(uint32 zone, uint64 mtuStart);
    error AlreadyCleared(uint32 zone, uint64 mtuStart);
    error ClearingTooLate(uint64 mtuStart, uint64 deadline, uint64 blockTime);
    error OrdersNotAscending(uint256 index);
    error OrderNotListed(bytes32 orderUid, uint32 bookIndex);
    error OrderWithoutEnergy(bytes32 orderUid);
    error OrderExpired(bytes32 orderUid, uint64 expiry, uint64 gateClosure);
    error OrderOutsideMtu(bytes32 orderUid, uint64 mtuStart);
    error OrderIsCancelled(bytes32 orderUid);
    error OrderOverfilled(bytes32 orderUid, uint256 openWh, uint256 fillWh);
    error OrderUnsupported(bytes32 orderUid);
    error LimitOutsideBounds(bytes32 orderUid, int64 limitCentsPerMwh, int64 floor, int64 cap);
    error LimitViolated(bytes32 orderUid, int64 limitCentsPerMwh, int64 priceCentsPerMwh);
    error SignerMismatch(bytes32 orderUid, address signer, address owner);
    error ZoneMismatch(uint32 meter, uint32 meterZone, uint32 zone);
    error CapacityExceeded(uint32 meter, uint256 energyWh, uint256 capacityWh);
    error SidesMixed(uint32 meter);
    error MatchInvalid(uint256 index);
    error SelfMatch(address owner);
    error PriceNotMidpoint(int64 priceCentsPerMwh, int64 lowerEnd, int64 upperEnd);
    error EndsCrossed(int64 lowerEnd, int64 upperEnd);
    error EndInvalid(uint16 index);
    error NotCleared(uint32 zone, uint64 mtuStart);
    error StateMismatch(bytes32 kept, bytes32 presented);
    error DispatchUnanswered(uint32 zone, uint64 mtuStart);
    error ReadingsNotAnchored(uint32 zone, uint64 mtuStart);
    error PositionAlreadySettled(uint32 meter);
    error PositionUnknown(uint16 index);
    error MeteredOutOfRange(uint32 meter, int64 meteredWh);
    error ListsDiffer(uint256 indexes, uint256 values);
    error CashNotConserved(int256 sumMicrocents);
    error OrderPresentedTwice(bytes32 orderUid);
    error DispatchProceeds(uint32 zone, uint64 mtuStart);

    /// @notice Commits the closed book of a zone and MTU. Only listed orders can be filled.
    /// @param bookHash keccak256 of the list as presented in `Clearing.book`
    function commitBook(uint32 zone, uint64 mtuStart, bytes32 bookHash, uint32 orderCount) external;

    /// @notice Checks a proposed clearing, locks the money and hands the schedule to dispatch.
    function clear(Clearing calldata clearing) external;

    /// @notice Settles positions whose meters have been read, or refunds them if the dispatch is void.
    /// @param positions all positions of the clearing as last kept
    /// @param trades all trades of the clearing as last kept
    /// @param indexes positions to settle now
    /// @param meteredWh metered export minus import of each, Wh
    function settle(
        uint32 zone,
        uint64 mtuStart,
        Position[] calldata positions,
        Trade[] calldata trades,
        uint16[] calldata indexes,
        int64[] calldata meteredWh
    ) external;

    /// @notice Releases the locks of positions whose dispatch is void. Anybody may, so nobody can hold money back.
    /// @param positions all positions of the clearing as last kept
    /// @param trades all trades of the clearing as last kept
    /// @param indexes positions to refund now
    function refund(
        uint32 zone,
        uint64 mtuStart,
        Position[] calldata positions,
        Trade[] calldata trades,
        uint16[] calldata indexes
    ) external;

    /// @notice Cancels one of the caller's orders: it is not filled in any MTU whose gate has not closed yet.
    function cancel(bytes32 orderUid) external;

    /// @notice Uid of an order: its EIP-712 digest.
    function orderUid(SignedOrder calldata order, address owner) external view returns (bytes32);

    /// @notice Whether the owner has cancelled the order.
    function isCancelled(address owner, bytes32 uid) external view returns (bool);

    /// @notice Committed book hash, kept state hash, price and number of open positions.
    function clearingOf(uint32 zone, uint64 mtuStart)
        external
        view
        returns (bytes32 bookHash, bytes32 stateHash, int64 priceCentsPerMwh, bool cleared, uint32 openPositions);
}
