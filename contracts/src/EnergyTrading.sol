// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {EnergyAccounts} from "./EnergyAccounts.sol";
import {ICarbonLedger} from "./interfaces/ICarbonLedger.sol";
import {IEnergyDispatching} from "./interfaces/IEnergyDispatching.sol";
import {IEnergyTrading} from "./interfaces/IEnergyTrading.sol";
import {IGridPolicy} from "./interfaces/IGridPolicy.sol";
import {IMeterLedger} from "./interfaces/IMeterLedger.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {IntegerMath} from "./libraries/IntegerMath.sol";
import {Match, Position, Pricing, Product, Side, SignedOrder, Trade} from "./libraries/MarketTypes.sol";
import {OrderHash} from "./libraries/OrderHash.sol";
import {SettlementRules} from "./libraries/SettlementRules.sol";
import {SlotKey} from "./libraries/SlotKey.sol";

/// @title EnergyTrading
/// @dev The market operator can leave orders out of a book, clear late, or settle with readings that are not the
/// anchored ones; the receipts, the committed book and the anchors prove it. It cannot fill an order its owner did not
/// sign, beyond its limit, quantity, expiry or cancellation, nor move money otherwise than the rules say. Positions and
/// trades are kept by hash and presented again, so that one storage word carries a whole clearing.
contract EnergyTrading is IEnergyTrading, EnergyAccounts, AccessManaged, EIP712 {
    /// @dev Three slots: hash, hash, 64 + 8 + 32 bits.
    struct ClearingState {
        bytes32 bookHash;
        bytes32 stateHash;
        int64 priceCentsPerMwh;
        bool cleared;
        uint32 openPositions;
    }

    /// @dev The contracts around this one.
    struct Neighbours {
        IGridPolicy policy;
        IParticipantRegistry registry;
        IEnergyDispatching dispatching;
        IMeterLedger meterLedger;
        ICarbonLedger carbonLedger;
    }

    /// @dev Working memory of one clearing.
    struct Checked {
        IGridPolicy.Policy policy;
        IGridPolicy.Prices prices;
        uint64 gateClosure;
        IParticipantRegistry.MeterView[] meters;
        bytes32[] uids;
        uint256[] fillsWh;
        uint256[] feesMicrocents;
        uint16[] positionOf;
        uint256 tradedWh;
        int64 lowerEnd;
        int64 upperEnd;
    }

    /// @notice Stands for "no order names this end" in a clearing.
    uint16 public constant NO_ORDER = type(uint16).max;
    uint256 private constant BOOK_ENTRY_BYTES = 40;
    uint256 private constant UID_OFFSET_BYTES = 8;
    uint256 private constant MOST_ENDS = 2;
    uint256 private constant SECONDS_PER_HOUR = 3600;

    IGridPolicy private immutable _policy;
    IEnergyDispatching private immutable _dispatching;
    IMeterLedger private immutable _meterLedger;
    ICarbonLedger private immutable _carbonLedger;
    uint32 private immutable _mtuLengthS;

    mapping(uint256 slotKey => ClearingState) private _clearings;
    mapping(address owner => mapping(bytes32 orderUid => uint64)) private _cancelledAt;

    constructor(address accessManager, IERC20 settlementToken, Neighbours memory neighbours)
        EnergyAccounts(settlementToken, neighbours.registry)
        AccessManaged(accessManager)
        EIP712("gridledger", "1")
    {
        _policy = neighbours.policy;
        _dispatching = neighbours.dispatching;
        _meterLedger = neighbours.meterLedger;
        _carbonLedger = neighbours.carbonLedger;
        _mtuLengthS = neighbours.policy.mtuLengthS();
    }

    /// @inheritdoc IEnergyTrading
    function commitBook(uint32 zone, uint64 mtuStart, bytes32 bookHash, uint32 orderCount) external restricted {
        _policy.requireGateClosed(mtuStart);
        if (bookHash == 0) revert BookMissing(zone, mtuStart);
        ClearingState storage state = _clearings[SlotKey.pack(zone, mtuStart)];
        if (state.bookHash != 0) revert BookAlreadyCommitted(zone, mtuStart);
        state.bookHash = bookHash;
        emit BookCommitted(zone, mtuStart, bookHash, orderCount);
    }

    /// @inheritdoc IEnergyTrading
    function clear(Clearing calldata clearing) external restricted {
        ClearingState storage state = _clearings[SlotKey.pack(clearing.zone, clearing.mtuStart)];
        _requireClearable(clearing, state);
        Checked memory checked = _checkOrders(clearing);
        _requireInTime(clearing.mtuStart, checked);
        _checkPrice(clearing, checked);
        _applyMatches(clearing, checked);
        _checkEnds(clearing, checked);
        int256 movedBefore = _movedMicrocents;
        (Position[] memory positions, Trade[] memory trades) = _openPositions(clearing, checked);
        _requireConserved(movedBefore);
        state.priceCentsPerMwh = clearing.priceCentsPerMwh;
        state.cleared = true;
        state.openPositions = uint32(positions.length);
        bytes32 stateHash = _stateHash(positions, trades);
        state.stateHash = stateHash;
        emit MarketCleared(
            clearing.zone,
            clearing.mtuStart,
            clearing.priceCentsPerMwh,
            uint64(checked.tradedWh),
            uint32(trades.length)
        );
        if (trades.length > 0) {
            _dispatching.schedule(clearing.zone, clearing.mtuStart, stateHash, uint64(checked.tradedWh));
        }
    }

    /// @inheritdoc IEnergyTrading
    function settle(
        uint32 zone,
        uint64 mtuStart,
        Position[] calldata positions,
        Trade[] calldata trades,
        uint16[] calldata indexes,
        int64[] calldata meteredWh
    ) external restricted {
        if (indexes.length != meteredWh.length) revert ListsDiffer(indexes.length, meteredWh.length);
        ClearingState storage state = _clearings[SlotKey.pack(zone, mtuStart)];
        Position[] memory kept = positions;
        Trade[] memory keptTrades = trades;
        _requireKept(zone, mtuStart, state, kept, keptTrades);
        bool proceeds = _requireAnswered(zone, mtuStart);
        int256 movedBefore = _movedMicrocents;
        if (proceeds) {
            if (_meterLedger.anchorCount(zone, mtuStart) == 0) revert ReadingsNotAnchored(zone, mtuStart);
            _settlePositions(zone, mtuStart, state.priceCentsPerMwh, kept, indexes, meteredWh);
        } else {
            _refundPositions(zone, mtuStart, kept, indexes);
        }
        _requireConserved(movedBefore);
        state.openPositions -= uint32(indexes.length);
        if (proceeds) _reward(mtuStart, kept, keptTrades);
        state.stateHash = _stateHash(kept, keptTrades);
        emit SettlementProgressed(zone, mtuStart, state.openPositions);
    }

    /// @inheritdoc IEnergyTrading
    function refund(
        uint32 zone,
        uint64 mtuStart,
        Position[] calldata positions,
        Trade[] calldata trades,
        uint16[] calldata indexes
    ) external {
        ClearingState storage state = _clearings[SlotKey.pack(zone, mtuStart)];
        Position[] memory kept = positions;
        Trade[] memory keptTrades = trades;
        _requireKept(zone, mtuStart, state, kept, keptTrades);
        if (_requireAnswered(zone, mtuStart)) revert DispatchProceeds(zone, mtuStart);
        int256 movedBefore = _movedMicrocents;
        _refundPositions(zone, mtuStart, kept, indexes);
        _requireConserved(movedBefore);
        state.openPositions -= uint32(indexes.length);
        state.stateHash = _stateHash(kept, keptTrades);
        emit SettlementProgressed(zone, mtuStart, state.openPositions);
    }

    /// @inheritdoc IEnergyTrading
    function cancel(bytes32 uid) external {
        // The first moment counts: repeating a cancellation cannot postpone it.
        if (_cancelledAt[msg.sender][uid] == 0) _cancelledAt[msg.sender][uid] = uint64(block.timestamp);
        emit OrderCancelled(msg.sender, uid);
    }

    /// @inheritdoc IEnergyTrading
    function orderUid(SignedOrder calldata order, address owner) public view returns (bytes32) {
        return _hashTypedDataV4(OrderHash.structHash(order, owner));
    }

    /// @inheritdoc IEnergyTrading
    function isCancelled(address owner, bytes32 uid) external view returns (bool) {
        return _cancelledAt[owner][uid] != 0;
    }

    /// @inheritdoc IEnergyTrading
    function clearingOf(uint32 zone, uint64 mtuStart)
        external
        view
        returns (bytes32 bookHash, bytes32 stateHash, int64 priceCentsPerMwh, bool cleared, uint32 openPositions)
    {
        ClearingState memory state = _clearings[SlotKey.pack(zone, mtuStart)];
        return (state.bookHash, state.stateHash, state.priceCentsPerMwh, state.cleared, state.openPositions);
    }

    function _requireClearable(Clearing calldata clearing, ClearingState storage state) private view {
        _policy.requireOpen(clearing.zone);
        if (state.bookHash == 0) revert BookMissing(clearing.zone, clearing.mtuStart);
        if (state.cleared) revert AlreadyCleared(clearing.zone, clearing.mtuStart);
        bytes32 presented = keccak256(clearing.book);
        if (presented != state.bookHash) revert BookMismatch(state.bookHash, presented);
    }

    function _requireKept(
        uint32 zone,
        uint64 mtuStart,
        ClearingState storage state,
        Position[] memory positions,
        Trade[] memory trades
    ) private view {
        if (!state.cleared) revert NotCleared(zone, mtuStart);
        bytes32 presented = _stateHash(positions, trades);
        if (presented != state.stateHash) revert StateMismatch(state.stateHash, presented);
    }

    /// @dev The first half of the time between gate closure and answer deadline is the market operator's, the second
    /// half the grid operator's; else a late clearing would leave it no answer.
    function _requireInTime(uint64 mtuStart, Checked memory checked) private view {
        uint64 deadline = mtuStart - (checked.policy.gateClosureS + checked.policy.answerLeadS) / 2;
        if (block.timestamp > deadline) revert ClearingTooLate(mtuStart, deadline, uint64(block.timestamp));
    }

    function _checkOrders(Clearing calldata clearing) private view returns (Checked memory checked) {
        uint256 filled = clearing.orders.length;
        uint256 count = filled + clearing.ends.length;
        if (clearing.ends.length > MOST_ENDS || count >= NO_ORDER) revert EndInvalid(NO_ORDER);
        (checked.policy,) = _policy.policyAt(clearing.mtuStart);
        checked.prices = _policy.pricesAt(clearing.mtuStart);
        checked.gateClosure = clearing.mtuStart - checked.policy.gateClosureS;
        checked.meters = _registry.lookup(_meterNumbers(clearing));
        checked.uids = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            SignedOrder calldata order = _orderAt(clearing, i);
            if (i > 0 && i < filled) _requireAscending(clearing.orders[i - 1], order, i);
            checked.uids[i] = _checkOrder(clearing, order, checked.meters[i], checked);
            _requirePresentedOnce(clearing, checked.uids, i);
        }
    }

    /// @dev An order listed twice has two places in the book but is one order.
    function _requirePresentedOnce(Clearing calldata clearing, bytes32[] memory uids, uint256 index) private pure {
        bool filled = index < clearing.orders.length;
        for (uint256 i = index; i > 0; --i) {
            // Filled orders are by meter, so a twin stands among the neighbours of the same meter.
            if (filled && clearing.orders[i - 1].meter != clearing.orders[index].meter) return;
            if (uids[i - 1] == uids[index]) revert OrderPresentedTwice(uids[index]);
        }
    }

    /// @dev Everything about one order that does not depend on its fill.
    function _checkOrder(
        Clearing calldata clearing,
        SignedOrder calldata order,
        IParticipantRegistry.MeterView memory meter,
        Checked memory checked
    ) private view returns (bytes32 uid) {
        uid = orderUid(order, meter.owner);
        address signer = ECDSA.recover(uid, order.r, order.vs);
        if (signer != meter.owner) revert SignerMismatch(uid, signer, meter.owner);
        if (meter.zone != clearing.zone) revert ZoneMismatch(order.meter, meter.zone, clearing.zone);
        if (order.product != Product.Any || order.pricing != Pricing.Limit) revert OrderUnsupported(uid);
        if (!_isListed(clearing.book, uid, order.bookIndex)) revert OrderNotListed(uid, order.bookIndex);
        if (order.firstMtuStart > clearing.mtuStart || clearing.mtuStart > order.lastMtuStart) {
            revert OrderOutsideMtu(uid, clearing.mtuStart);
        }
        _checkStanding(order, uid, meter.owner, checked);
    }

    /// @dev Whether the order still stands: energy, expiry, cancellation, suspension, bounds.
    function _checkStanding(SignedOrder calldata order, bytes32 uid, address owner, Checked memory checked)
        private
        view
    {
        if (order.expiry < checked.gateClosure) revert OrderExpired(uid, order.expiry, checked.gateClosure);
        if (order.quantityWh == 0) revert OrderWithoutEnergy(uid);
        uint64 cancelledAt = _cancelledAt[owner][uid];
        // After the gate a cancellation counts for later MTUs only: the committed book stands.
        if (cancelledAt != 0 && cancelledAt < checked.gateClosure) revert OrderIsCancelled(uid);
        if (_policy.isSuspended(owner)) revert IGridPolicy.AccountSuspended(owner);
        int64 limit = order.limitCentsPerMwh;
        (int64 floor, int64 cap) = (checked.prices.floor, checked.prices.cap);
        if (limit < floor || limit > cap) revert LimitOutsideBounds(uid, limit, floor, cap);
    }

    /// @dev The uniform price is the floored midpoint of the limits of the two named orders, or of floor and cap.
    function _checkPrice(Clearing calldata clearing, Checked memory checked) private pure {
        int64 lower = _endLimit(clearing, clearing.lowerEnd, checked.prices.floor);
        int64 upper = _endLimit(clearing, clearing.upperEnd, checked.prices.cap);
        if (lower > upper) revert EndsCrossed(lower, upper);
        int64 price = clearing.priceCentsPerMwh;
        if (price != IntegerMath.floorMidpoint(lower, upper)) revert PriceNotMidpoint(price, lower, upper);
        (checked.lowerEnd, checked.upperEnd) = (lower, upper);
    }

    /// @dev The ends bound the prices at which exactly these fills are right: the lower end is a filled offer or a bid
    /// with energy left, the upper end a filled bid or an offer with energy left. Floor and cap stand in only where
    /// nothing is traded.
    function _checkEnds(Clearing calldata clearing, Checked memory checked) private pure {
        _checkEnd(clearing, checked, clearing.lowerEnd, Side.Sell);
        _checkEnd(clearing, checked, clearing.upperEnd, Side.Buy);
    }

    function _checkEnd(Clearing calldata clearing, Checked memory checked, uint16 index, Side filledSide)
        private
        pure
    {
        if (index == NO_ORDER) {
            if (clearing.matches.length > 0) revert EndInvalid(index);
            return;
        }
        SignedOrder calldata order = _orderAt(clearing, index);
        uint256 fillWh = index < clearing.orders.length ? checked.fillsWh[index] : 0;
        bool valid = order.side == filledSide ? fillWh > 0 : fillWh < order.quantityWh;
        if (!valid) revert EndInvalid(index);
    }

    /// @dev Adds up fills and fees from the matches and checks each order's limit and quantity against them.
    function _applyMatches(Clearing calldata clearing, Checked memory checked) private {
        uint256 filled = clearing.orders.length;
        checked.fillsWh = new uint256[](filled);
        checked.feesMicrocents = new uint256[](filled);
        for (uint256 i = 0; i < clearing.matches.length; ++i) {
            Match calldata pair = clearing.matches[i];
            _checkMatch(clearing, checked, pair, i);
            checked.fillsWh[pair.sell] += pair.energyWh;
            checked.fillsWh[pair.buy] += pair.energyWh;
            checked.feesMicrocents[pair.buy] += SettlementRules.gridFee(
                pair.energyWh,
                checked.policy.gridFeeCentsPerMwh,
                checked.policy.lowCarbonReliefCentsPerMwh,
                checked.meters[pair.sell].source != 0
            );
            checked.tradedWh += pair.energyWh;
            emit EnergyTraded(
                clearing.zone, clearing.mtuStart, checked.uids[pair.sell], checked.uids[pair.buy], pair.energyWh
            );
        }
        for (uint256 i = 0; i < filled; ++i) {
            _checkFill(clearing.orders[i], checked.uids[i], checked.fillsWh[i], checked);
        }
    }

    function _checkMatch(Clearing calldata clearing, Checked memory checked, Match calldata pair, uint256 index)
        private
        pure
    {
        uint256 filled = clearing.orders.length;
        if (pair.sell >= filled || pair.buy >= filled || pair.energyWh == 0) revert MatchInvalid(index);
        if (clearing.orders[pair.sell].side != Side.Sell || clearing.orders[pair.buy].side != Side.Buy) {
            revert MatchInvalid(index);
        }
        address seller = checked.meters[pair.sell].owner;
        if (seller == checked.meters[pair.buy].owner) revert SelfMatch(seller);
    }

    /// @dev Filled offers lie at or below the lower end, filled bids at or above the upper end, and the price between.
    function _checkFill(SignedOrder calldata order, bytes32 uid, uint256 fillWh, Checked memory checked) private pure {
        if (fillWh == 0) revert OrderWithoutEnergy(uid);
        if (fillWh > order.quantityWh) revert OrderOverfilled(uid, order.quantityWh, fillWh);
        int64 limit = order.limitCentsPerMwh;
        bool buys = order.side == Side.Buy;
        int64 end = buys ? checked.upperEnd : checked.lowerEnd;
        if (buys ? limit < end : limit > end) revert LimitViolated(uid, limit, end);
    }

    /// @dev One position per meter: consecutive orders of a meter are added up, its money is locked.
    function _openPositions(Clearing calldata clearing, Checked memory checked)
        private
        returns (Position[] memory positions, Trade[] memory trades)
    {
        uint256 filled = clearing.orders.length;
        checked.positionOf = new uint16[](filled);
        positions = new Position[](filled);
        uint256 count = 0;
        uint256 lockedMicrocents = 0;
        for (uint256 first = 0; first < filled; ++count) {
            uint256 next = first;
            for (; next < filled && clearing.orders[next].meter == clearing.orders[first].meter; ++next) {
                if (clearing.orders[next].side != clearing.orders[first].side) {
                    revert SidesMixed(clearing.orders[first].meter);
                }
                checked.positionOf[next] = uint16(count);
            }
            positions[count] = _openPosition(clearing, checked, first, next);
            lockedMicrocents += positions[count].lockedMicrocents;
            first = next;
        }
        // Shortens the array to the positions used; the length word is the only thing written.
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            mstore(positions, count)
        }
        _changeEscrow(int256(lockedMicrocents));
        trades = _trades(clearing, checked);
    }

    function _openPosition(Clearing calldata clearing, Checked memory checked, uint256 first, uint256 next)
        private
        returns (Position memory position)
    {
        IParticipantRegistry.MeterView memory meter = checked.meters[first];
        (uint256 energyWh, uint256 feeMicrocents) = (0, 0);
        for (uint256 i = first; i < next; ++i) {
            energyWh += checked.fillsWh[i];
            feeMicrocents += checked.feesMicrocents[i];
        }
        bool sells = clearing.orders[first].side == Side.Sell;
        position.meter = clearing.orders[first].meter;
        position.owner = meter.owner;
        position.supplier = meter.supplier;
        position.source = meter.source;
        _requireCapacity(position.meter, energyWh, sells ? meter.exportCapacityW : meter.importCapacityW);
        int64 price = clearing.priceCentsPerMwh;
        uint256 locked = sells
            ? SettlementRules.sellerLock(energyWh, price, checked.prices.shortage)
            : SettlementRules.buyerLock(energyWh, price) + feeMicrocents;
        // Capacity bounds the energy to 2^24 W x 1 h, prices are below 2^25: far inside int64 and uint128.
        position.contractedWh = sells ? int64(uint64(energyWh)) : -int64(uint64(energyWh));
        position.lockedMicrocents = uint128(locked);
        position.feeMicrocents = uint128(feeMicrocents);
        _lock(meter.owner, locked);
        emit PositionOpened(
            clearing.zone,
            clearing.mtuStart,
            position.meter,
            meter.owner,
            position.contractedWh,
            position.lockedMicrocents,
            position.feeMicrocents
        );
    }

    function _trades(Clearing calldata clearing, Checked memory checked)
        private
        pure
        returns (Trade[] memory trades)
    {
        trades = new Trade[](clearing.matches.length);
        for (uint256 i = 0; i < trades.length; ++i) {
            Match calldata pair = clearing.matches[i];
            trades[i].sell = checked.positionOf[pair.sell];
            trades[i].buy = checked.positionOf[pair.buy];
            trades[i].energyWh = pair.energyWh;
        }
    }

    function _settlePositions(
        uint32 zone,
        uint64 mtuStart,
        int64 price,
        Position[] memory positions,
        uint16[] calldata indexes,
        int64[] calldata meteredWh
    ) private {
        IGridPolicy.Prices memory prices = _policy.pricesAt(mtuStart);
        address gridOperator = _registry.gridOperatorOf(zone);
        IParticipantRegistry.MeterView[] memory meters = _registry.lookup(_settledMeters(positions, indexes));
        for (uint256 i = 0; i < indexes.length; ++i) {
            Position memory position = _takeOpen(positions, indexes[i]);
            int64 metered = meteredWh[i];
            _requireMeterable(meters[i], position.meter, metered);
            position.meteredWh = metered;
            int256 tradeMicrocents = SettlementRules.tradeCash(position.contractedWh, price);
            int256 imbalanceMicrocents =
                SettlementRules.imbalanceCash(metered, position.contractedWh, prices.surplus, prices.shortage);
            _payPosition(position, tradeMicrocents, imbalanceMicrocents, gridOperator);
            emit PositionSettled(
                zone, mtuStart, position.meter, metered, tradeMicrocents, imbalanceMicrocents
            );
        }
    }

    /// @dev Releases the lock, pays the trade and the fee out of the escrow, then settles the imbalance with the
    /// supplier. What the escrow pays a position is never negative: the lock covers price and fee.
    function _payPosition(
        Position memory position,
        int256 tradeMicrocents,
        int256 imbalanceMicrocents,
        address gridOperator
    ) private {
        int256 fee = int256(uint256(position.feeMicrocents));
        int256 released = int256(uint256(position.lockedMicrocents)) + tradeMicrocents - fee;
        _changeEscrow(-(released + fee));
        _change(position.owner, released);
        _change(gridOperator, fee);
        if (imbalanceMicrocents >= 0) {
            _collect(position.supplier, position.owner, uint256(imbalanceMicrocents));
        } else {
            _collect(position.owner, position.supplier, uint256(-imbalanceMicrocents));
        }
    }

    function _refundPositions(uint32 zone, uint64 mtuStart, Position[] memory positions, uint16[] calldata indexes)
        private
    {
        for (uint256 i = 0; i < indexes.length; ++i) {
            Position memory position = _takeOpen(positions, indexes[i]);
            _changeEscrow(-int256(uint256(position.lockedMicrocents)));
            _change(position.owner, int256(uint256(position.lockedMicrocents)));
            emit PositionRefunded(zone, mtuStart, position.meter, position.lockedMicrocents);
        }
    }

    /// @dev Rewards each low-carbon trade once both its sides are settled, for the energy delivered and consumed.
    function _reward(uint64 mtuStart, Position[] memory positions, Trade[] memory trades) private {
        uint256[] memory served = SettlementRules.servedWh(positions, trades);
        ICarbonLedger.Reward[] memory rewards = new ICarbonLedger.Reward[](trades.length);
        uint256 count = 0;
        for (uint256 i = 0; i < trades.length; ++i) {
            Trade memory trade = trades[i];
            Position memory seller = positions[trade.sell];
            Position memory buyer = positions[trade.buy];
            if (trade.rewarded || !seller.settled || !buyer.settled) continue;
            trade.rewarded = true;
            if (seller.source == 0 || served[i] == 0) continue;
            trade.rewardedWh = uint64(served[i]);
            rewards[count++] = ICarbonLedger.Reward({
                seller: seller.owner,
                buyer: buyer.owner,
                source: seller.source,
                energyWh: uint64(served[i])
            });
        }
        if (count == 0) return;
        // Shortens the array to the rewards used; the length word is the only thing written.
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            mstore(rewards, count)
        }
        _carbonLedger.grantRewards(mtuStart, rewards);
    }

    /// @dev Money moved since `movedBefore` sums to zero over all accounts and the escrow.
    function _requireConserved(int256 movedBefore) private view {
        if (_movedMicrocents != movedBefore) revert CashNotConserved(_movedMicrocents - movedBefore);
    }

    function _requireAnswered(uint32 zone, uint64 mtuStart) private view returns (bool proceeds) {
        IEnergyDispatching.Outcome outcome = _dispatching.outcomeOf(zone, mtuStart);
        if (outcome == IEnergyDispatching.Outcome.Pending) revert DispatchUnanswered(zone, mtuStart);
        return outcome == IEnergyDispatching.Outcome.Proceeds;
    }

    function _settledMeters(Position[] memory positions, uint16[] calldata indexes)
        private
        pure
        returns (uint32[] memory meters)
    {
        meters = new uint32[](indexes.length);
        for (uint256 i = 0; i < indexes.length; ++i) {
            if (indexes[i] >= positions.length) revert PositionUnknown(indexes[i]);
            meters[i] = positions[indexes[i]].meter;
        }
    }

    /// @dev A meter cannot have measured more than its connection carries, so no stated reading can take more.
    function _requireMeterable(IParticipantRegistry.MeterView memory meter, uint32 number, int64 metered)
        private
        view
    {
        int256 most = int256(_capacityRoundedUpWh(meter.exportCapacityW));
        int256 least = -int256(_capacityRoundedUpWh(meter.importCapacityW));
        if (metered > most || metered < least) revert MeteredOutOfRange(number, metered);
    }

    function _capacityRoundedUpWh(uint256 capacityW) private view returns (uint256) {
        return (capacityW * _mtuLengthS + SECONDS_PER_HOUR - 1) / SECONDS_PER_HOUR;
    }

    function _capacityWh(uint256 capacityW) private view returns (uint256) {
        return (capacityW * _mtuLengthS) / SECONDS_PER_HOUR;
    }

    function _requireCapacity(uint32 meter, uint256 energyWh, uint256 capacityW) private view {
        uint256 capacityWh = _capacityWh(capacityW);
        if (energyWh > capacityWh) revert CapacityExceeded(meter, energyWh, capacityWh);
    }

    function _meterNumbers(Clearing calldata clearing) private pure returns (uint32[] memory meters) {
        uint256 filled = clearing.orders.length;
        meters = new uint32[](filled + clearing.ends.length);
        for (uint256 i = 0; i < meters.length; ++i) {
            meters[i] = _orderAt(clearing, i).meter;
        }
    }

    /// @dev Orders with energy first, then the named ends without.
    function _orderAt(Clearing calldata clearing, uint256 index) private pure returns (SignedOrder calldata) {
        uint256 filled = clearing.orders.length;
        return index < filled ? clearing.orders[index] : clearing.ends[index - filled];
    }

    function _endLimit(Clearing calldata clearing, uint16 index, int64 bound) private pure returns (int64) {
        if (index == NO_ORDER) return bound;
        if (index >= clearing.orders.length + clearing.ends.length) revert EndInvalid(index);
        return _orderAt(clearing, index).limitCentsPerMwh;
    }

    function _requireAscending(SignedOrder calldata previous, SignedOrder calldata order, uint256 index) private pure {
        bool ascending = order.meter > previous.meter
            || (order.meter == previous.meter && order.bookIndex > previous.bookIndex);
        if (!ascending) revert OrdersNotAscending(index);
    }

    function _isListed(bytes calldata book, bytes32 uid, uint256 index) private pure returns (bool) {
        uint256 start = index * BOOK_ENTRY_BYTES + UID_OFFSET_BYTES;
        return start + 32 <= book.length && bytes32(book[start:start + 32]) == uid;
    }

    function _takeOpen(Position[] memory positions, uint16 index) private pure returns (Position memory position) {
        if (index >= positions.length) revert PositionUnknown(index);
        position = positions[index];
        if (position.settled) revert PositionAlreadySettled(position.meter);
        position.settled = true;
    }

    function _stateHash(Position[] memory positions, Trade[] memory trades) private pure returns (bytes32) {
        return keccak256(abi.encode(positions, trades));
    }
}
